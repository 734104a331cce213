"""The passport on others' pages: `{% include "safety/_passport.html" %}` with a `passport`, or the tag by order."""

from typing import Any

from django import template

from ris.accounts.permissions import allowed
from ris.orders.models import Order
from ris.patients.models import Patient
from ris.safety.passport import Passport, passport_for
from ris.safety.worklists import facts_of

register = template.Library()


@register.filter
def may(user: object, right: str) -> bool:
    return allowed(user, right)


@register.inclusion_tag("safety/_passport.html", takes_context=True)
def passport(context: template.Context, order: Order) -> dict[str, Any]:
    """The passport card of one order, for a page that has not asked for it."""
    found: Passport = passport_for(order)
    return {"request": context["request"], "csrf_token": context.get("csrf_token"), "passport": found}


@register.inclusion_tag("safety/_facts.html")
def safety_facts(patient: Patient) -> dict[str, Any]:
    """What lasts of a patient, in a few lines for the chart."""
    return {"patient": patient, "facts": facts_of(patient)}
