"""The passport on others' pages: `{% include "safety/_passport.html" %}` with a `passport`, or the tag by order."""

from typing import Any

from django import template

from ris.accounts.permissions import allowed
from ris.orders.models import Order
from ris.safety.passport import Passport, passport_for

register = template.Library()


@register.filter
def may(user: object, right: str) -> bool:
    return allowed(user, right)


@register.inclusion_tag("safety/_passport.html", takes_context=True)
def passport(context: template.Context, order: Order) -> dict[str, Any]:
    """The passport card of one order, for a page that has not asked for it."""
    found: Passport = passport_for(order)
    return {"request": context["request"], "csrf_token": context.get("csrf_token"), "passport": found}
