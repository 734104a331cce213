"""Messages: to find one, to see what became of it, and what a person may do to it."""

import re
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from interfaces import actions, causes, effects, worklists
from interfaces.access import inbound_for, outbound_for
from interfaces.forms import EditForm, ReasonForm, SearchForm
from interfaces.hl7 import comparing, editing, masking
from interfaces.models import Case, CaseStatus, Endpoint, InboundMessage, OutboundMessage, Protocol
from interfaces.states import InboundState, OutboundState
from interfaces.views.alarms import banner
from ris.accounts.doors import UserRequest, needs
from ris.accounts.models import User
from ris.accounts.permissions import allowed, require
from ris.audit.trail import record_access
from ris.core.errors import Conflict, IllegalTransition, MissingData, RisError
from ris.core.pages import is_live, see_other, unchanged

Message = InboundMessage | OutboundMessage

#: More than this nobody pages through; the search is narrowed instead.
_MOST = 2000

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
#: What is looked for most: words and the rest of the address.
_QUICK = {
    "in": [("Refused today", "status=rejected,failed&hours=24"), ("Unknown sender", "endpoint=0"), ("Orders", "type=ORM"),
           ("Patients", "type=ADT")],
    "out": [("Refused today", "status=rejected&hours=24"), ("Waiting for a person", "status=rejected,held"),
            ("Results", "type=ORU"), ("Last hour", "hours=1")],
}  # fmt: skip


def _search(request: HttpRequest) -> SearchForm:
    """A search by text comes by POST: it may be a patient's number."""
    return SearchForm(request.POST if request.method == "POST" else request.GET)


@require_http_methods(["GET", "HEAD", "POST"])
@needs("message.view")
def messages(request: UserRequest, way: str) -> HttpResponse:
    """Messages of one direction."""
    form = _search(request)
    wanted = form.wanted
    rows: Any = worklists.inbound(wanted) if way == "in" else worklists.outbound(wanted)
    newest = rows.first() if not wanted.text else None
    version = f"{newest.pk}.{newest.status}" if newest else "none"
    if unchanged(request, version):
        return HttpResponse(status=204)
    page = Paginator(rows[:_MOST], 50).get_page(request.GET.get("page"))
    record_access(request.user, "message.list", count=len(page.object_list))
    context = {
        "way": way, "page": page, "wanted": wanted, "views": _VIEWS[way], "search": form, "version": version,
        "quick": _QUICK[way], "endpoints": Endpoint.objects.filter(direction=way), "more": page.paginator.count == _MOST,
        "may_resend": way == "out" and allowed(request.user, "message.act"), **({} if is_live(request) else banner()),
    }  # fmt: skip
    return render(request, f"interfaces/{'_' if is_live(request) else ''}messages.html", context)


# One message

_TABS = {"raw": "Raw", "tree": "Fields", "did": "What we did", "diff": "Differences to the last good one"}

#: A data set has no fields of HL7.
_DICOM_TABS = {"raw": "Data set", "did": "What we did"}


def _message_page(request: UserRequest, way: str, message: Message, *, show: bool = False) -> HttpResponse:
    """The message, masked unless it is shown: what it says of a patient is seen on demand, and each time noted."""
    is_dicom = message.endpoint is not None and message.endpoint.protocol != Protocol.MLLP
    tabs = _DICOM_TABS if is_dicom else _TABS
    tab = request.POST.get("tab") or request.GET.get("tab", "raw")
    tab = tab if tab in tabs else "raw"
    is_in = isinstance(message, InboundMessage)
    context = {
        "way": way, "message": message, "tab": tab, "tabs": tabs.items(), "show": show,
        "is_dicom": is_dicom, "size": len(message.raw),
        "may_show": allowed(request.user, "message.reveal"), "may_act": allowed(request.user, "message.act"),
        "cause": causes.of(message),
        "cases": Case.objects.filter(**{"inbound" if is_in else "outbound": message}).select_related("owner"),
        "open": CaseStatus.OPEN, "removed": None if message.raw else message.bytes_removed_at,
        "kin": _kin(message), "behind": 0 if is_in else _behind(message),
        **_of_tab(tab, message, request.user, show=show),
    }  # fmt: skip
    return render(request, "interfaces/message.html", context)


def _of_tab(tab: str, message: Message, user: User, *, show: bool) -> dict[str, Any]:
    raw = bytes(message.raw)
    if tab == "did":
        related = worklists.of_accession(message.accession_number) if message.accession_number else []
        return {"effects": effects.of(message, user), "related": related}
    if tab == "tree":
        try:
            return {"segments": masking.tree(raw, show=show)}
        except RisError as problem:
            return {"unreadable": problem.message}
    if tab == "diff":
        good = worklists.last_good(message)
        try:
            found = comparing.differences(bytes(good.raw), raw, show=show) if good else []
        except RisError as problem:
            return {"unreadable": problem.message, "good": good}
        return {"good": good, "good_url": _page_of(good) if good else "", "differences": found}
    answer = message.ack if isinstance(message, InboundMessage) else message.answer
    if message.endpoint is not None and message.endpoint.protocol != Protocol.MLLP:
        # Loaded here: few pages show a data set.
        from interfaces.dicom import dump

        said = [dump.Line("", line) for line in bytes(answer or b"").decode().splitlines()]
        return {"raw": dump.lines(raw, show=show), "answer": said}
    return {"raw": masking.lines(raw, show=show), "answer": masking.lines(bytes(answer or b""), show=show)}


def _page_of(message: Message) -> str:
    return reverse("message_in" if isinstance(message, InboundMessage) else "message_out", args=[message.pk])


def _kin(message: Message) -> list[tuple[str, str]]:
    """(words, address) of what it is a copy of, and of what came under the same control id."""
    if isinstance(message, InboundMessage):
        found = [(f"{one.get_status_display()} {one.peer}", _page_of(one)) for one in
                 InboundMessage.objects.filter(sender=message.sender, control_id=message.control_id).exclude(pk=message.pk)
                 .order_by("pk")[:5]] if message.control_id else []  # fmt: skip
        return [(f"The same control id: {words}", url) for words, url in found]
    named = re.findall(r"(?:copy of|Replaced by) (\w+)", message.note)
    return [
        (message.note, _page_of(one))
        for one in (OutboundMessage.objects.filter(control_id__in=named) if named else [])
    ]


def _behind(message: Message) -> int:
    """How many later messages of the same order wait for it."""
    if not isinstance(message, OutboundMessage) or message.status not in worklists.STUCK:
        return 0
    return worklists.blocked(message.endpoint_id).filter(key=message.key, pk__gt=message.pk).count()


@require_safe
@needs("message.view")
def message_in(request: UserRequest, pk: int) -> HttpResponse:
    return _message_page(request, "in", inbound_for(request.user, pk))


@require_safe
@needs("message.view")
def message_out(request: UserRequest, pk: int) -> HttpResponse:
    return _message_page(request, "out", outbound_for(request.user, pk))


@require_POST
@needs("message.reveal")
def show(request: UserRequest, way: str, pk: int) -> HttpResponse:
    """The same page unmasked, once: nothing remembers it."""
    message: Message = inbound_for(request.user, pk) if way == "in" else outbound_for(request.user, pk)
    record_access(request.user, "message.revealed", patient=message.patient_id, subject=f"{way}:{pk}")
    return _message_page(request, way, message, show=True)


# Acting on one


@require_POST
@needs("message.act")
def reprocess(request: UserRequest, pk: int) -> HttpResponse:
    message = actions.reprocess(inbound_for(request.user, pk), by=request.user)
    return see_other(request, reverse("message_in", args=[pk]), _outcome(message))


def _outcome(message: InboundMessage) -> str:
    """What a message that was read again did: "Applied: Order cancelled"."""
    if message.status != InboundState.PROCESSED:
        return f"It was refused again: {message.error_text}"
    found = worklists.inbound().filter(pk=message.pk).first()
    facts = effects.records_of(effects.events_of(found)) if found else ""
    return f"Applied: {facts}" if facts else "The message was applied"


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
    "hold": ("Set the message aside", "Later messages of the same order wait behind it; all others go on.", "Set aside"),
    "discard": ("Discard the message", "It is not sent; later messages of the same order go on.", "Discard"),
}  # fmt: skip


@require_http_methods(["GET", "HEAD", "POST"])
@needs("message.act")
def stop(request: UserRequest, pk: int, act: str) -> HttpResponse:
    """Hold or discard a message, with a reason."""
    message = outbound_for(request.user, pk)
    form = ReasonForm(request.POST or None)
    heading, hint, button = _ASK[act]
    if request.method == "POST" and form.is_valid():
        reason = form.cleaned_data["reason"]
        back = reverse("message_out", args=[pk])
        try:
            if act == "hold":
                actions.hold(message, by=request.user, reason=reason)
            else:
                actions.discard(message, reason, by=request.user)
        except MissingData as problem:
            form.add_error("reason", problem.message)
        else:
            if act == "discard":
                return see_other(request, back, "The message is discarded")
            return see_other(request, back, "The message is held", undo=reverse("message_release", args=[pk]))
    context = {"form": form, "heading": heading, "hint": hint, "button": button, "message": message}
    return render(request, "interfaces/reason.html", context, status=422 if form.errors else 200)


# A changed copy


@require_http_methods(["GET", "HEAD", "POST"])
@needs("message.act")
def edit(request: UserRequest, way: str, pk: int) -> HttpResponse:
    """Change the text, look at what was changed, then have it sent or read."""
    require(request.user, "message.reveal")
    message: Message = inbound_for(request.user, pk) if way == "in" else outbound_for(request.user, pk)
    if message.endpoint is not None and message.endpoint.protocol != Protocol.MLLP:
        raise Conflict("An object is not edited by hand: correct the report, and it is made anew.")
    default = message.endpoint.encoding if message.endpoint else "UNICODE UTF-8"
    original = editing.text_of(bytes(message.raw), default)
    record_access(
        request.user,
        "message.revealed",
        patient=message.patient_id,
        subject=f"{way}:{pk}",
        reason="To be edited",
    )
    form = EditForm(request.POST if request.method == "POST" else None, initial={"text": original})
    changes: list[editing.Change] = []
    if request.method == "POST" and form.is_valid():
        text = form.cleaned_data["text"]
        changes = editing.changes(original, text)
        try:
            raw = editing.raw_of(text, default)
            if not changes:
                raise MissingData("Nothing was changed; send it again as it is.", location="text")
            if form.cleaned_data["confirmed"]:
                return _take_copy(request, message, raw)
        except (IllegalTransition, Conflict) as problem:
            form.add_error(None, problem.message)
        except RisError as problem:
            form.add_error("text", problem.message)
    context = {
        "way": way, "message": message, "form": form, "changes": [] if form.errors else changes,
        "later": 0 if way == "in" else _behind(message),
    }  # fmt: skip
    return render(request, "interfaces/edit.html", context, status=422 if form.errors else 200)


def _take_copy(request: UserRequest, message: Message, raw: bytes) -> HttpResponse:
    if isinstance(message, OutboundMessage):
        sent = actions.send_edited(message, raw, by=request.user)
        return see_other(request, _page_of(sent), "The changed copy is queued")
    read = actions.apply_edited(message, raw, by=request.user)
    return see_other(request, _page_of(read), _outcome(read))


# Many at once


@require_http_methods(["GET", "HEAD", "POST"])
@needs("message.act")
def resend_many(request: UserRequest) -> HttpResponse:
    """Send everything that fits a search again: first how many and to whom, then in steps that show."""
    form = _search(request)
    wanted = form.wanted
    number = {name: int(value) if (value := request.POST.get(name, "")).isdigit() else 0
              for name in ("upto", "after", "done", "count")}  # fmt: skip
    plan = worklists.rerun(wanted, number["upto"] or None)
    context = {"search": form, "plan": plan, "wanted": wanted}
    if request.method != "POST" or request.POST.get("go") != "1":
        return render(request, "interfaces/resend.html", context)
    rows = worklists.outbound(wanted).filter(status__in=worklists.RESENDABLE)
    done, after = actions.resend_some(rows, after=number["after"], upto=number["upto"], by=request.user)
    done += number["done"]
    if rows.filter(pk__gt=after, pk__lte=number["upto"]).exists() and after > number["after"]:
        steps = {"done": done, "after": after, "count": number["count"], "upto": number["upto"]}
        return render(request, "interfaces/resend.html", {**context, "steps": steps})
    return see_other(request, reverse("messages_out"), f"{done} messages are queued to be sent again")
