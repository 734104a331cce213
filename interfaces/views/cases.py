"""Cases: what matches nothing here, and what a person does about it."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Max
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from interfaces import actions, cases, causes, effects, worklists
from interfaces.access import case_for
from interfaces.forms import NoteForm, ReasonForm
from interfaces.hl7 import held
from interfaces.models import Case, CaseKind, CaseStatus, OutboundMessage
from interfaces.states import InboundState
from interfaces.views.alarms import banner
from ris.accounts.doors import UserRequest, needs
from ris.accounts.permissions import allowed
from ris.audit.trail import record_access
from ris.core.errors import BadValue, Conflict, IllegalTransition, MissingData, NotFound
from ris.core.pages import is_live, see_other, unchanged
from ris.orders.models import Order
from ris.patients.models import Patient
from ris.patients.search import search_patients

#: How many messages of one cause are read again at one go.
_AT_ONCE = 200


@require_safe
@needs("message.view")
def case_list(request: UserRequest) -> HttpResponse:
    """Open cases, the oldest first; or the closed ones."""
    kind = request.GET.get("kind", "")
    closed = request.GET.get("closed") == "1"
    every = Case.objects.filter(status=CaseStatus.OPEN)
    rows = (
        Case.objects.exclude(status=CaseStatus.OPEN).order_by("-closed_at")
        if closed
        else every.order_by("opened_at")
    )
    rows = rows.select_related("endpoint", "owner", "closed_by")
    if kind in CaseKind.values:
        rows = rows.filter(kind=kind)
    newest = every.aggregate(
        number=Count("pk"), seen=Max("last_seen_at"), last=Max("pk"), mine=Count("owner")
    )
    version = (
        f"{newest['number']}.{newest['last']}.{newest['mine']}.{newest['seen']:%H%M%S}"
        if newest["number"]
        else "none"
    )
    if unchanged(request, version):
        return HttpResponse(status=204)
    kinds = dict(every.values_list("kind").annotate(number=Count("pk")).order_by("kind"))
    context = {
        "page": Paginator(rows, 50).get_page(request.GET.get("page")), "kind": kind, "closed": closed, "version": version,
        "kinds": [(one, CaseKind(one).label, number) for one, number in kinds.items()], "total": sum(kinds.values()),
        "may_act": allowed(request.user, "case.settle"), **({} if is_live(request) else banner()),
    }  # fmt: skip
    return render(request, f"interfaces/{'_' if is_live(request) else ''}cases.html", context)


@require_safe
@needs("message.view")
def case_page(request: UserRequest, pk: int) -> HttpResponse:
    return _page(request, case_for(request.user, pk))


def _page(request: UserRequest, case: Case, *, problem: str = "") -> HttpResponse:
    message = case.inbound or case.outbound
    alike = cases.refused_alike(case).count() if case.kind == CaseKind.REFUSED and case.inbound else 0
    refused = case.inbound is not None and case.inbound.status in (InboundState.REJECTED, InboundState.FAILED)
    is_open = case.status == CaseStatus.OPEN
    context: dict[str, Any] = {
        "case": case, "message": message, "cause": causes.of(message) if message else None,
        "alike": alike, "problem": problem, "is_open": is_open,
        "refused": refused, "url": _url(case), "note": NoteForm(initial={"note": case.note}),
        "may_act": allowed(request.user, "case.settle") and is_open,
        "may_read": allowed(request.user, "message.act") and is_open and refused,
        "match": is_open and refused and _MATCHES.get(CaseKind(case.kind), ""),
        "may_apply": allowed(request.user, "case.settle") and is_open and case.kind in held.HELD,
        "ways": [*_ways_out(case, request), *_records(case, request)],
        "effects": effects.of(message, request.user) if message else [],
    }  # fmt: skip
    return render(request, "interfaces/case.html", context, status=409 if problem else 200)


#: What a person may say the message means.
_MATCHES = {
    CaseKind.UNKNOWN_ORDER: "order",
    CaseKind.UNKNOWN_APPOINTMENT: "order",  # an appointment is found by its order
    CaseKind.UNKNOWN_PATIENT: "patient",
}


def _url(case: Case) -> str:
    if case.inbound_id:
        return reverse("message_in", args=[case.inbound_id])
    return reverse("message_out", args=[case.outbound_id]) if case.outbound_id else ""


def _ways_out(case: Case, request: UserRequest) -> list[tuple[str, str]]:
    """(address, words) of the page where this kind of case is put right."""
    pages = {
        CaseKind.UNKNOWN_EXAM: ("/orders?view=codes", "Match the exam code", "order.map_procedure"),
        CaseKind.UNKNOWN_CODE: (_partner(case), "Map the code for this partner", "endpoint.change"),
        CaseKind.WRONG_FACILITY: (_partner(case), "Open the partner's settings", "endpoint.change"),
    }
    url, words, right = pages.get(CaseKind(case.kind), ("", "", "message.view"))
    return [(url, words)] if url and case.status == CaseStatus.OPEN and allowed(request.user, right) else []


def _records(case: Case, request: UserRequest) -> list[tuple[str, str]]:
    """The order and the patient that the case speaks of, for whoever may look."""
    found = []
    if case.accession_number and allowed(request.user, "order.view"):
        orders = Order.objects.filter(accession_number=case.accession_number)
        found += [
            (reverse("order", args=[pk]), "Open the order") for pk in orders.values_list("pk", flat=True)
        ]
    if case.patient_id and allowed(request.user, "patient.view"):
        found.append((reverse("patient", args=[case.patient_id]), "Open the patient"))
    return found


def _partner(case: Case) -> str:
    return reverse("admin_partner", args=[case.endpoint_id]) if case.endpoint_id else ""


@require_POST
@needs("case.settle")
def find(request: UserRequest, pk: int) -> HttpResponse:
    """Orders or patients as one types. The text may be a name, so it comes by POST and is not kept."""
    case = case_for(request.user, pk)
    text = request.POST.get("q", "").strip()[:80]
    kind = _MATCHES.get(CaseKind(case.kind), "")
    patients = search_patients(text, limit=8) if len(text) > 1 else []
    context: dict[str, Any] = {"text": text, "kind": kind, "patients": patients if kind == "patient" else []}
    if kind == "order":
        number = text.replace(" ", "").replace("-", "")
        orders = Order.objects.select_related("patient").prefetch_related(
            "patient__identifiers", "procedures__procedure_type"
        )
        known = list(orders.filter(accession_number=number)) if number else []
        context["orders"] = known or list(orders.filter(patient__in=patients).order_by("-ordered_at")[:8])
    record_access(request.user, "case.searched", subject=f"case:{pk}")
    return render(request, "interfaces/_matches.html", context)


@require_POST
@needs("case.settle")
def match(request: UserRequest, pk: int) -> HttpResponse:
    """Apply the message to the order, or for the patient, that was picked."""
    case = case_for(request.user, pk)
    chosen = request.POST.get("record", "")
    number = int(chosen) if chosen.isdigit() else 0
    order = patient = None
    if _MATCHES.get(CaseKind(case.kind)) == "order":
        order = Order.objects.select_related("patient").filter(pk=number).first()
    else:
        patient = Patient.objects.filter(pk=number).first()
    if order is None and patient is None:
        return _page(request, case, problem="Pick the one the message means.")
    applied = actions.match(case, order, patient, by=request.user)
    return _told(request, case, applied.pk, applied.status == InboundState.PROCESSED, applied.error_text)


def _told(request: UserRequest, case: Case, message: int, done: bool, error: str) -> HttpResponse:
    """Say what came of it: the facts, in words."""
    if not done:
        return _page(request, case_for(request.user, case.pk), problem=f"It was refused again: {error}")
    found = worklists.inbound().filter(pk=message).first()
    said = effects.records_of(effects.events_of(found)) if found else ""
    return see_other(request, reverse("case", args=[case.pk]), f"Applied: {said}" if said else "Applied")


@require_POST
@needs("case.settle")
def apply(request: UserRequest, pk: int) -> HttpResponse:
    """Do what an accepted message asks for and was not done by itself (`held`)."""
    case = case_for(request.user, pk)
    try:
        held.apply_case(case, by=request.user)
    except (Conflict, MissingData, BadValue) as refused:
        return _page(request, case, problem=refused.message)
    return see_other(request, reverse("case", args=[pk]), "Applied")


@require_POST
@needs("message.act")
def read_again(request: UserRequest, pk: int) -> HttpResponse:
    """Read the message of the case again, and every other that was refused for the same cause."""
    case = case_for(request.user, pk)
    if case.inbound is None:
        raise NotFound("This case has no message that came in.")
    refused = [case.inbound]
    if case.kind == CaseKind.REFUSED:
        refused = list(cases.refused_alike(case)[:_AT_ONCE]) or refused
    done, error = 0, ""
    for message in refused:
        read = actions.reprocess(message, by=request.user)
        done += read.status == InboundState.PROCESSED
        error = read.error_text or error
    cases.settle(case.inbound)
    if len(refused) == 1:
        return _told(request, case, refused[0].pk, bool(done), error)
    said = f"{done} of {len(refused)} messages were applied"
    return see_other(request, reverse("case", args=[pk]), said)


@require_POST
@needs("case.settle")
def take(request: UserRequest, pk: int) -> HttpResponse:
    case = case_for(request.user, pk)
    cases.take_case(case, by=request.user)
    return see_other(
        request, _back(request, pk), "The case is yours", undo=reverse("case_release", args=[pk])
    )


@require_POST
@needs("case.settle")
def release(request: UserRequest, pk: int) -> HttpResponse:
    cases.release_case(case_for(request.user, pk), by=request.user)
    return see_other(
        request, _back(request, pk), "The case is nobody's", undo=reverse("case_take", args=[pk])
    )


def _back(request: UserRequest, pk: int) -> str:
    pages = {"cases": reverse("cases"), "dead": reverse("dead_letters")}
    return pages.get(request.POST.get("back", ""), reverse("case", args=[pk]))


@require_POST
@needs("case.settle")
def note(request: UserRequest, pk: int) -> HttpResponse:
    form = NoteForm(request.POST)
    if form.is_valid():
        cases.note_case(case_for(request.user, pk), form.cleaned_data["note"], by=request.user)
    return see_other(request, reverse("case", args=[pk]), "Noted")


@require_http_methods(["GET", "HEAD", "POST"])
@needs("case.settle")
def dismiss(request: UserRequest, pk: int) -> HttpResponse:
    """Close the case without its effect."""
    case = case_for(request.user, pk)
    form = ReasonForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            cases.dismiss_case(case, form.cleaned_data["reason"], by=request.user)
        except (MissingData, BadValue) as refused:
            form.add_error("reason", refused.message)
        else:
            undo = reverse("case_reopen", args=[pk])
            return see_other(request, reverse("cases"), "The case is dismissed", undo=undo)
    context = {
        "form": form, "heading": "Dismiss the case", "button": "Dismiss",
        "hint": "What the message asked for is not done. Say why nothing needs to be.",
    }  # fmt: skip
    return render(request, "interfaces/reason.html", context, status=422 if form.errors else 200)


@require_POST
@needs("case.settle")
def reopen(request: UserRequest, pk: int) -> HttpResponse:
    cases.reopen_case(case_for(request.user, pk), by=request.user)
    return see_other(request, reverse("case", args=[pk]), "The case is open again")


# Dead letters


@require_safe
@needs("message.view")
def dead_letters(request: UserRequest) -> HttpResponse:
    """What a partner refused, or somebody holds: who sees to it, and how far it has come."""
    rows = worklists.dead_letters()
    version = "-".join(
        f"{one.message.pk}.{one.message.status}.{one.case.owner_id if one.case else ''}.{one.case.note if one.case else ''}"
        for one in rows
    )
    if unchanged(request, version):
        return HttpResponse(status=204)
    record_access(request.user, "message.list", count=len(rows))
    context = {
        "rows": rows, "version": version, "may_act": allowed(request.user, "case.settle"),
        **({} if is_live(request) else banner()),
    }  # fmt: skip
    return render(request, f"interfaces/{'_' if is_live(request) else ''}dead_letters.html", context)


@require_POST
@needs("case.settle")
def take_letter(request: UserRequest, pk: int) -> HttpResponse:
    """See to a dead letter: it gets a case, with an owner and a note."""
    message = OutboundMessage.objects.select_related("endpoint").filter(pk=pk).first()
    if message is None:
        raise NotFound("There is no such message.")
    if message.status not in worklists.STUCK:
        raise IllegalTransition("The message does not wait for a person any more.")
    case = cases.case_of_message(message, by=request.user)
    cases.take_case(case, by=request.user)
    undo = reverse("case_release", args=[case.pk])
    return see_other(request, reverse("dead_letters"), "It is yours", undo=undo)
