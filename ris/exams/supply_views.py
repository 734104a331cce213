"""Contrast and consumables of an exam by barcode, and who received a lot (ux.md 1.2, 2.10)."""

from datetime import timedelta

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe

from ris.accounts.doors import UserRequest, needs
from ris.accounts.permissions import allowed
from ris.audit.trail import record_access
from ris.core.errors import BadValue, Conflict, IllegalTransition, MissingData, NotAllowed, NotFound
from ris.core.formats import day, moment
from ris.core.pages import is_htmx, see_other, toast, trigger
from ris.core.tables import as_csv
from ris.exams.access import exam_for
from ris.exams.actions import administer, withdraw_administration
from ris.exams.models import Administration, Exam
from ris.exams.supply_forms import WASTE_REASONS, GiveForm
from ris.exams.supplying import Panel, panel, recipients, usual
from ris.supplies import actions as supplies
from ris.supplies.actions import Found
from ris.supplies.models import Lot
from ris.supplies.worklists import movements_of, places_of

#: How long an entry is taken back without a word, by whoever made it.
_UNDO = timedelta(minutes=1)
_REFUSALS = (BadValue, Conflict, MissingData, NotFound, NotAllowed, IllegalTransition)


def _shown(request: UserRequest, exam: Exam, shown: Panel, status: int = 200) -> HttpResponse:
    template = "exams/_contrast.html" if is_htmx(request) else "exams/contrast.html"
    context = {"exam": exam, "contrast": shown, "patient": exam.order.patient, "waste_reasons": WASTE_REASONS}
    return render(request, template, context, status=status)


@needs("exam.view")
@require_GET
def contrast(request: UserRequest, pk: int) -> HttpResponse:
    exam = exam_for(request.user, pk)
    return _shown(request, exam, panel(exam, request.user))


@needs("supply.give")
@require_POST
def scan(request: UserRequest, pk: int) -> HttpResponse:
    """What the label says, with the dose the protocol asks for; nothing is written yet."""
    exam = exam_for(request.user, pk)
    scanned, chosen = request.POST.get("scan", ""), request.POST.get("lot", "")
    try:
        found = _found(scanned, chosen)
    except _REFUSALS as problem:
        shown = panel(exam, request.user, problem=problem.message, scanned=scanned.strip()[:60])
        return _shown(request, exam, shown, 422)
    shown = panel(exam, request.user, found=found)
    begins = {**usual(shown), "scan": scanned, "lot": chosen, "number": found.lot.number if found.lot else ""}
    shown.form = GiveForm(initial=begins, item=found.item)
    return _shown(request, exam, shown)


def _found(scanned: str, chosen: str) -> Found:
    if chosen:
        lot = Lot.objects.select_related("item").filter(pk=int(chosen) if chosen.isdecimal() else 0).first()
        if lot is None:
            raise NotFound("Pick one of the lots.")
        return Found(lot.item, lot)
    return supplies.find(scanned)


@needs("supply.give")
@require_POST
def give(request: UserRequest, pk: int) -> HttpResponse:
    """Save what was given: the entry, the stock and the charge at once."""
    exam = exam_for(request.user, pk)
    try:
        found = _found(request.POST.get("scan", ""), request.POST.get("lot", ""))
    except _REFUSALS as problem:
        return _shown(request, exam, panel(exam, request.user, problem=problem.message), 422)
    form = GiveForm(request.POST, item=found.item)
    if form.is_valid():
        try:
            given = administer(exam, form.given, by=request.user)
        except _REFUSALS as problem:
            place = problem.location if problem.location in form.fields else None
            if place != "acknowledged":
                form.add_error(place, problem.message)
        else:
            return _given(request, exam, given)
    shown = panel(exam, request.user, found=found)
    shown.form = form
    return _shown(request, exam, shown, 422)


def _given(request: UserRequest, exam: Exam, given: Administration) -> HttpResponse:
    text = f"{given.lot.item.label}, {given.amount}, is entered"
    undo = reverse("exam_contrast_withdraw", args=[exam.pk, given.pk])
    if not is_htmx(request):
        return see_other(request, reverse("exam", args=[exam.pk]), text, undo=undo)
    return toast(request, _shown(request, exam, panel(exam, request.user)), text, undo=undo)


@needs("supply.give")
@require_POST
def withdraw(request: UserRequest, pk: int, given_pk: int) -> HttpResponse:
    """The entry was a mistake. Within a minute whoever made it takes it back without a word."""
    exam = exam_for(request.user, pk)
    given = Administration.objects.filter(exam=exam, pk=given_pk).select_related("exam__order").first()
    if given is None:
        raise NotFound("There is no such entry.")
    reason = request.POST.get("reason", "").strip()
    at_once = given.given_by_id == request.user.pk and timezone.now() - given.given_at < _UNDO
    withdraw_administration(
        given, reason=reason or ("Taken back at once" if at_once else ""), by=request.user
    )
    if not is_htmx(request):
        return see_other(request, reverse("exam", args=[exam.pk]), "The entry is withdrawn")
    answer = _shown(request, exam, panel(exam, request.user))
    return toast(request, trigger(answer, **{"contrast-changed": {}}), "The entry is withdrawn")


# ---- recall


@needs("supply.recall")
@require_http_methods(["GET", "HEAD", "POST"])
def recall(request: UserRequest) -> HttpResponse:
    """The lots of a number, as a maker's letter or the label names it."""
    text = request.POST.get("q", "").strip()[:200]
    lots: list[Lot] = []
    problem = ""
    if text:
        try:
            found = supplies.find(text)
            lots = [found.lot] if found.lot and found.lot.pk else list(found.item.lots.all()[:50])
        except _REFUSALS as refused:
            lots = list(Lot.objects.select_related("item").filter(number__icontains=text[:20])[:50])
            problem = "" if lots else refused.message
        if len(lots) == 1:
            return see_other(request, reverse("lot", args=[lots[0].pk]))
    context = {
        "text": text, "lots": lots, "problem": problem, "may_stock": allowed(request.user, "supply.view"),
    }  # fmt: skip
    return render(request, "supplies/recall.html", context, status=422 if problem else 200)


@needs("supply.recall")
@require_safe
def lot(request: UserRequest, pk: int) -> HttpResponse:
    """A lot: how many are where, and everybody who received it."""
    found = _lot(pk)
    page = Paginator(recipients(found), 500).get_page(request.GET.get("page"))
    _note(request, found, list(page.object_list), "lot.recall")
    context = {"lot": found, "page": page, "places": places_of(found), "movements": movements_of(found)[:50]}
    return render(request, "supplies/lot.html", context)


@needs("supply.recall")
@require_safe
def recall_csv(request: UserRequest, pk: int) -> HttpResponse:
    """The recall list to take along; who took it is in the trail."""
    found = _lot(pk)
    rows = list(recipients(found))
    _note(request, found, rows, "lot.recall.export")
    header = ["MRN", "Family name", "Given name", "Born", "Phone", "Exam", "Accession", "Given at", "Amount",
              "Referrer", "Lot", "Item"]  # fmt: skip
    body = (
        [
            one.exam.order.patient.mrn, one.exam.order.patient.family, one.exam.order.patient.given,
            one.exam.order.patient.birth_date, one.exam.order.patient.mobile or one.exam.order.patient.phone,
            one.exam.procedure.label, one.exam.order.accession_number, moment(one.given_at), one.amount,
            one.exam.order.ordering or "", found.number, str(found.item),
        ]
        for one in rows
    )  # fmt: skip
    return HttpResponse(
        as_csv(header, body),
        content_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="recall-{found.pk}-{day(timezone.now())}.csv"'
        },
    )


def _lot(pk: int) -> Lot:
    found = Lot.objects.select_related("item").filter(pk=pk).first()
    if found is None:
        raise NotFound("There is no such lot.")
    return found


def _note(request: UserRequest, lot: Lot, rows: list[Administration], action: str) -> None:
    """Whose exams the list showed."""
    patients = sorted({one.exam.order.patient_id for one in rows})
    record_access(request.user, action, subject=f"lot:{lot.pk}", count=len(rows), patients=patients)
