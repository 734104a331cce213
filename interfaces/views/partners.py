"""Partners on the admin pages: whom we exchange messages with, and how each wants to be spoken to."""

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from interfaces import actions
from interfaces.access import partner_for
from interfaces.forms import PartnerForm
from interfaces.models import Endpoint
from ris.accounts.doors import UserRequest, needs
from ris.accounts.permissions import allowed
from ris.core.errors import BadValue
from ris.core.pages import see_other
from ris.department.sections import sections_for


@require_safe
@needs("message.view")
def partners(request: UserRequest) -> HttpResponse:
    """Whom we exchange messages with, for the admin pages."""
    context = {
        "rows": Endpoint.objects.filter(active=True).order_by("direction", "name"),
        "may_change": allowed(request.user, "endpoint.change"),
        "sections": sections_for(request.user, request.path),
    }
    return render(request, "interfaces/partners.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@needs("endpoint.change")
def partner(request: UserRequest, pk: int | None = None) -> HttpResponse:
    """One partner in its form; a changed one is tried at once."""
    known = partner_for(pk) if pk else None
    form = PartnerForm(request.POST if request.method == "POST" else None, endpoint=known)
    if request.method == "POST" and form.is_valid():
        name = form.cleaned_data["name"]
        try:
            if known is None and Endpoint.objects.filter(name=name, active=True).exists():
                raise BadValue("Another partner has this name.", location="name")
            actions.save_endpoint(name, form.values, by=request.user)
        except BadValue as problem:
            field = next(
                (one for one in (problem.location, f"profile_{problem.location}") if one in form.fields), None
            )
            form.add_error(field, problem.message)
        else:
            return see_other(request, reverse("admin_partners"), f"{name} is saved")
    context = {
        "form": form, "partner": known, "groups": form.groups, "sections": sections_for(request.user, request.path),
    }  # fmt: skip
    return render(request, "interfaces/partner.html", context, status=422 if form.errors else 200)


@require_POST
@needs("endpoint.change")
def remove_partner(request: UserRequest, pk: int) -> HttpResponse:
    known = partner_for(pk)
    actions.remove_endpoint(known, by=request.user)
    return see_other(request, reverse("admin_partners"), f"{known.name} gets and sends nothing more")
