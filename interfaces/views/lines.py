"""The channels page: how every partner's line is doing."""

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from interfaces import actions, probe, worklists
from interfaces.access import partner_for
from interfaces.views.alarms import banner
from ris.accounts.doors import UserRequest, needs
from ris.accounts.permissions import allowed
from ris.audit.trail import record_access
from ris.core.pages import is_live, see_other, toast, unchanged


@require_safe
@needs("message.view")
def lines(request: UserRequest) -> HttpResponse:
    """Every partner: is its line up, how fast, how long is its queue, what stops it."""
    rows = worklists.channels()
    dicom = worklists.dicom_service()
    version = "-".join(
        f"{one.endpoint.pk}.{one.state}.{one.queue}.{one.refused}.{one.failing}.{one.per_minute:g}.{one.passed}"
        f".{one.last:%H%M%S}" if one.last else f"{one.endpoint.pk}.{one.state}.{one.queue}.{one.refused}.{one.failing}"
        for one in rows
    )  # fmt: skip
    version += f"-{dicom.queries}.{dicom.told}"
    if unchanged(request, version):
        return HttpResponse(status=204)
    page = "interfaces/_lines.html" if is_live(request) else "interfaces/lines.html"
    context = {
        "rows": rows, "dicom": dicom, "version": version, "may_change": allowed(request.user, "endpoint.change"),
        **({} if is_live(request) else banner()),
    }  # fmt: skip
    return render(request, page, context)


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


@require_POST
@needs("endpoint.change")
def test(request: UserRequest, pk: int) -> HttpResponse:
    """Try to connect, and say what came of it."""
    endpoint = partner_for(pk)
    found = probe.probe(endpoint)
    record_access(
        request.user, "endpoint.tested", subject=f"endpoint:{pk}", outcome="ok" if found.reached else "failed"
    )
    if request.headers.get("HX-Request") == "true":
        return toast(request, HttpResponse(status=204), found.words)
    return see_other(request, reverse("lines"), found.words)
