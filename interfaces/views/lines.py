"""The channels page: how every partner's line is doing."""

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from interfaces import actions, worklists
from interfaces.access import partner_for
from ris.accounts.doors import UserRequest, needs
from ris.core.pages import is_live, see_other, unchanged


@require_safe
@needs("message.view")
def lines(request: UserRequest) -> HttpResponse:
    """Every partner: is its line up, how long is its queue."""
    rows = worklists.channels()
    version = "-".join(
        f"{one.endpoint.pk}.{one.state}.{one.queue}.{one.refused}.{one.last:%H%M%S}" if one.last
        else f"{one.endpoint.pk}.{one.state}.{one.queue}.{one.refused}"
        for one in rows
    )  # fmt: skip
    if unchanged(request, version):
        return HttpResponse(status=204)
    page = "interfaces/_lines.html" if is_live(request) else "interfaces/lines.html"
    return render(request, page, {"rows": rows, "version": version})


@require_POST
@needs("endpoint.change")
def pause(request: UserRequest, pk: int) -> HttpResponse:
    actions.pause_endpoint(partner_for(pk), by=request.user)
    return see_other(
        request, reverse("lines"), "Paused; messages queue up", undo=reverse("line_resume", args=[pk])
    )


@require_POST
@needs("endpoint.change")
def resume(request: UserRequest, pk: int) -> HttpResponse:
    actions.resume_endpoint(partner_for(pk), by=request.user)
    return see_other(request, reverse("lines"), "Sending again", undo=reverse("line_pause", args=[pk]))
