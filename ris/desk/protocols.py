"""Protocolling (ux.md 2.6): the queue, and beside it the request with what is suggested; all by keyboard."""

from collections.abc import Callable
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ris.accounts.doors import UserRequest, needs
from ris.accounts.permissions import allowed
from ris.audit.trail import record_access
from ris.core.errors import BadValue
from ris.core.pages import is_htmx, is_live, see_other, toast, unchanged
from ris.desk import protocol_queue
from ris.desk.protocol_queue import VIEWS
from ris.orders.forms import ReasonForm
from ris.protocolling import actions
from ris.protocolling.access import request_for
from ris.protocolling.forms import ASK_REASONS, RETURN_REASONS
from ris.protocolling.models import Protocol, ProtocolRequest
from ris.protocolling.states import DECIDED, RequestStatus
from ris.protocolling.suggestions import SHOWN, prior_of, suggestions_for
from ris.safety.passport import passport_for
from scheduling.worklists import modality_word


@needs("protocol.view")
@require_safe
def protocols(request: UserRequest) -> HttpResponse:
    """The requests of a view."""
    view = request.GET.get("view", "")
    view = view if view in VIEWS else "to-protocol"
    seen = protocol_queue.version(view)
    if unchanged(request, seen):
        return HttpResponse(status=204)
    modality = request.GET.get("m", "")
    page = Paginator(protocol_queue.queue(view, modality), 60).get_page(request.GET.get("page"))
    context: dict[str, Any] = {
        "view": view, "views": VIEWS, "page": page, "modality": modality, "version": seen,
        "chart": allowed(request.user, "patient.view"), "counts": protocol_queue.counts(),
        "modalities": [(code, modality_word(code), n) for code, n in protocol_queue.modalities(view)],
    }  # fmt: skip
    if not is_live(request):
        record_access(request.user, "protocol.list", count=len(page.object_list))
    return render(request, f"desk/{'_' if is_live(request) else ''}protocols.html", context)


@needs("protocol.view")
@require_safe
def protocol(request: UserRequest, pk: int) -> HttpResponse:
    return _sheet(request, request_for(request.user, pk))


def _sheet(request: UserRequest, found: ProtocolRequest, problem: str = "") -> HttpResponse:
    may_decide = allowed(request.user, "protocol.decide")
    can_approve = may_decide and found.status in {RequestStatus.WANTED, RequestStatus.BYPASSED}
    suggestions = suggestions_for(found)[:SHOWN] if can_approve else []
    context = {
        "heading": "Protocol", "request_": found, "order": found.order, "patient": found.order.patient,
        "suggestions": suggestions, "can_approve": can_approve, "problem": problem,
        "picked": request.POST.get("protocol", ""), "note": request.POST.get("note", ""),
        "can_hand_back": may_decide and found.status == RequestStatus.WANTED,
        "can_undo": may_decide and found.status in {*DECIDED, RequestStatus.ASKED, RequestStatus.REJECTED},
        "prior": prior_of(found) if can_approve else None, "passport": passport_for(found.order),
        "priors": protocol_queue.priors_of(request.user, found),
    }  # fmt: skip
    return render(request, "desk/protocol.html", context, status=422 if problem else 200)


@needs("protocol.decide")
@require_POST
def approve(request: UserRequest, pk: int) -> HttpResponse:
    """The first suggestion, the one picked, or the one of before."""
    found = request_for(request.user, pk)
    chosen = request.POST.get("prior") or request.POST.get("protocol", "")
    protocol = Protocol.objects.filter(pk=int(chosen)).first() if chosen.isdecimal() else None
    if protocol is None:
        return _sheet(request, found, "Pick the protocol.")
    try:
        actions.approve_protocol(
            found, protocol, by=request.user, note=request.POST.get("note", ""), version=_version(request)
        )
    except BadValue as problem:
        return _sheet(request, found, problem.message)
    return _decided(request, found, f"{found.procedure.label}: {protocol.name}")


def _version(request: UserRequest) -> int | None:
    seen = request.POST.get("version", "")
    return int(seen) if seen.isdecimal() else None


@needs("protocol.decide")
@require_http_methods(["GET", "HEAD", "POST"])
def reject(request: UserRequest, pk: int) -> HttpResponse:
    return _hand_back(
        request, pk, actions.reject_request, RETURN_REASONS, "Return to the referrer", "protocol_reject",
        "The order is held and the referrer sees these words.", "goes back to the referrer",
    )  # fmt: skip


@needs("protocol.decide")
@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: UserRequest, pk: int) -> HttpResponse:
    return _hand_back(
        request, pk, actions.ask_referrer, ASK_REASONS, "Ask the referrer", "protocol_ask",
        "The order is held until the answer is there.", "waits for the referrer's answer",
    )  # fmt: skip


def _hand_back(
    request: UserRequest, pk: int, verb: Callable[..., ProtocolRequest], reasons: list[str], heading: str, route: str,
    warning: str, done: str,
) -> HttpResponse:  # fmt: skip
    found = request_for(request.user, pk)
    form = ReasonForm(reasons, request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        verb(found, form.cleaned_data["why"], by=request.user)
        return _decided(request, found, f"{found.procedure.label} {done}")
    booked = found.order.status == "scheduled"
    context = {
        "heading": heading, "order": found.order, "form": form, "act": heading, "url": reverse(route, args=[pk]),
        "warning": "It is booked and keeps its time until the desk cancels it." if booked else warning,
    }  # fmt: skip
    return render(request, "orders/reason.html", context, status=422 if form.is_bound else 200)


def _decided(request: UserRequest, found: ProtocolRequest, text: str) -> HttpResponse:
    undo = reverse("protocol_undo", args=[found.pk])
    if is_htmx(request):
        return toast(request, HttpResponse(), text, undo=undo)
    return see_other(request, reverse("protocols"), text, undo=undo)


@needs("protocol.decide")
@require_POST
def undo(request: UserRequest, pk: int) -> HttpResponse:
    """Somebody has to look at it again."""
    found = request_for(request.user, pk)
    actions.undo_decision(found, by=request.user)
    text = f"{found.procedure.label} waits for its protocol again"
    if is_htmx(request):
        return toast(request, HttpResponse(), text)
    return see_other(request, reverse("protocols"), text)
