"""Messages: to find one, to see what became of it, and what a person may do to it."""

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from interfaces import actions, worklists
from interfaces.access import inbound_for, outbound_for
from interfaces.forms import ReasonForm
from interfaces.hl7 import er7, names
from interfaces.models import Endpoint, InboundMessage, OutboundMessage
from interfaces.states import InboundState, OutboundState
from ris.accounts.doors import UserRequest, needs
from ris.audit.trail import record_access
from ris.core.errors import MissingData, RisError
from ris.core.pages import is_live, see_other, unchanged

#: A line longer than this is a picture or a PDF; nobody reads it.
_LONGEST_LINE = 2000


_VIEWS = {
    "in": [
        ("", "All"),
        (InboundState.REJECTED, "Refused"),
        (InboundState.FAILED, "Our error"),
        (InboundState.RECEIVED, "Not applied yet"),
        (InboundState.PROCESSED, "Applied"),
    ],
    "out": [
        ("", "All"),
        (OutboundState.REJECTED, "Refused"),
        (OutboundState.QUEUED, "Queued"),
        (OutboundState.SENT, "No answer yet"),
        (OutboundState.HELD, "Held"),
        (OutboundState.ACCEPTED, "Accepted"),
        (OutboundState.DISCARDED, "Discarded"),
    ],
}


@require_http_methods(["GET", "HEAD", "POST"])
@needs("message.view")
def messages(request: UserRequest, way: str) -> HttpResponse:
    """Messages of one direction. What is searched for comes by POST: it may be a patient's number."""
    status = request.GET.get("status", "")
    chosen = request.GET.get("endpoint", "")
    text = request.POST.get("text", "").strip()
    find = worklists.inbound if way == "in" else worklists.outbound
    rows: Any = find(status, int(chosen) if chosen.isdigit() else None, text)
    newest = rows.first() if not text else None
    version = f"{newest.pk}.{newest.status}" if newest else "none"
    if unchanged(request, version):
        return HttpResponse(status=204)
    page = Paginator(rows, 50).get_page(request.GET.get("page"))
    record_access(request.user, "message.list", count=len(page.object_list))
    context = {
        "way": way, "page": page, "status": status, "views": _VIEWS[way], "text": text, "version": version,
        "endpoints": Endpoint.objects.filter(direction=way), "chosen": chosen,
    }  # fmt: skip
    return render(request, f"interfaces/{'_' if is_live(request) else ''}messages.html", context)


def _readable(raw: bytes) -> list[tuple[str, str]]:
    """(segment name, rest) of each line, whatever the bytes are."""
    try:
        text = er7.decode_bytes(raw)
    except RisError:
        text = raw.decode("latin-1")
    result = []
    for line in text.replace("\r\n", "\r").replace("\n", "\r").split("\r"):
        if line:
            more = len(line) - _LONGEST_LINE
            shown = f"{line[:_LONGEST_LINE]} … {more:,} more characters" if more > 0 else line
            result.append((shown[:3], shown[3:]))
    return result


def _parsed(raw: bytes) -> tuple[list[names.SegmentRow], str]:
    try:
        return names.parsed(raw), ""
    except RisError as problem:
        return [], problem.message


def _message_page(request: HttpRequest, way: str, message: InboundMessage | OutboundMessage) -> HttpResponse:
    answer = message.ack if isinstance(message, InboundMessage) else message.answer
    segments, unreadable = _parsed(bytes(message.raw))
    context = {
        "way": way, "message": message, "raw": _readable(bytes(message.raw)), "segments": segments,
        "unreadable": unreadable, "answer": _readable(bytes(answer)) if answer else [],
        "related": worklists.of_accession(message.accession_number) if message.accession_number else [],
        "size": len(message.raw),
    }  # fmt: skip
    return render(request, "interfaces/message.html", context)


@require_safe
@needs("message.view")
def message_in(request: UserRequest, pk: int) -> HttpResponse:
    return _message_page(request, "in", inbound_for(request.user, pk))


@require_safe
@needs("message.view")
def message_out(request: UserRequest, pk: int) -> HttpResponse:
    return _message_page(request, "out", outbound_for(request.user, pk))


@require_POST
@needs("message.act")
def reprocess(request: UserRequest, pk: int) -> HttpResponse:
    message = actions.reprocess(inbound_for(request.user, pk), by=request.user)
    done = "The message was applied" if message.status == InboundState.PROCESSED else "It was refused again"
    return see_other(request, reverse("message_in", args=[pk]), done)


@require_POST
@needs("message.act")
def resend(request: UserRequest, pk: int) -> HttpResponse:
    actions.resend(outbound_for(request.user, pk), by=request.user)
    return see_other(request, reverse("message_out", args=[pk]), "The message is queued to be sent again")


@require_POST
@needs("message.act")
def release(request: UserRequest, pk: int) -> HttpResponse:
    actions.release(outbound_for(request.user, pk), by=request.user)
    return see_other(request, reverse("message_out", args=[pk]), "The message is queued")


_ASK = {
    "hold": ("Hold the message", "Later messages of the same order wait behind it.", "Hold"),
    "discard": ("Discard the message", "It is not sent; later messages of the same order go on.", "Discard"),
}


@require_http_methods(["GET", "HEAD", "POST"])
@needs("message.act")
def stop(request: UserRequest, pk: int, act: str) -> HttpResponse:
    """Hold or discard a message, with a reason."""
    message = outbound_for(request.user, pk)
    form = ReasonForm(request.POST or None)
    heading, hint, button = _ASK[act]
    if request.method == "POST" and form.is_valid():
        reason = form.cleaned_data["reason"]
        try:
            if act == "hold":
                actions.hold(message, by=request.user, reason=reason)
            else:
                actions.discard(message, reason, by=request.user)
        except MissingData as problem:
            form.add_error("reason", problem.message)
        else:
            done = "The message is held" if act == "hold" else "The message is discarded"
            return see_other(request, reverse("message_out", args=[pk]), done)
    context = {"form": form, "heading": heading, "hint": hint, "button": button, "message": message}
    return render(request, "interfaces/reason.html", context, status=422 if form.errors else 200)
