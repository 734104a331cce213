"""The radiologist's pages (ux.md 2.11, 2.12): the reading list, the report and its verbs, the PDF."""

from typing import Any
from uuid import uuid4

from django.db.models import prefetch_related_objects
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ris.accounts.doors import UserRequest, needs
from ris.accounts.models import User
from ris.accounts.permissions import allowed
from ris.audit.trail import record_access
from ris.core.errors import BadValue, Conflict, IllegalTransition, MissingData, NotFound, RisError
from ris.core.formats import accession
from ris.core.pages import is_live, see_other, unchanged
from ris.department.models import Modality
from ris.exams.access import exam_for
from ris.exams.models import Exam
from ris.patients.models import Patient
from ris.reporting import actions, worklists
from ris.reporting.access import discrepancy_for, report_for
from ris.reporting.documents import pdf_now
from ris.reporting.forms import CancelForm, WithdrawForm, version_of, written
from ris.reporting.models import Draft, Report, ReportPart
from ris.reporting.proofreading import checks
from ris.reporting.sections import Section, rows
from ris.reporting.signing import current_parts, digest
from ris.reporting.states import ENDED, SIGNED, TAKING_BACK, Finding, PartKind, Significance


def _filter(request: HttpRequest) -> tuple[str, str]:
    """?v= and ?m= of the list the reader works through."""
    view = request.GET.get("v", "all")
    modality = request.GET.get("m", "")
    return view if view in worklists.VIEWS else "all", modality if modality in Modality.values else ""


def _query(view: str, modality: str) -> str:
    kept = {"v": "" if view == "all" else view, "m": modality}
    asked = urlencode({key: value for key, value in kept.items() if value})
    return f"?{asked}" if asked else ""


def _list(request: UserRequest, opened: int = 0, limit: int = 100) -> dict[str, Any]:
    """What both the list's page and the list beside a report show."""
    view, modality = _filter(request)
    now = timezone.now()
    counts = worklists.counts(request.user, now)
    return {
        "cases": worklists.reading_list(request.user, view, modality, limit=limit, now=now),
        "views": _named(counts),
        "modalities": [(name, Modality(name).label, number) for name, number in counts.modalities.items()],
        "view": view,
        "modality": modality,
        "query": _query(view, modality),
        "opened": opened,
        "version": counts.version,
        "signed_today": worklists.signed_today(request.user, now),
        "auto_next": request.session.get("auto_next", True),
    }


@needs("report.write")
@require_GET
def reading(request: UserRequest) -> HttpResponse:
    if is_live(request) and unchanged(request, worklists.counts(request.user).version):
        return HttpResponse(status=204)
    context = _list(request)
    if not is_live(request):
        record_access(request.user, "reading.list", count=len(context["cases"]))
    template = "reporting/_reading.html" if is_live(request) else "reporting/reading.html"
    return render(request, template, context)


@needs("report.write")
@require_GET
def pane(request: UserRequest) -> HttpResponse:
    """The list beside an open report, asking for news of itself."""
    if unchanged(request, worklists.counts(request.user).version):
        return HttpResponse(status=204)
    opened = request.GET.get("open", "")
    context = _list(request, opened=int(opened) if opened.isdecimal() else 0, limit=60)
    return render(request, "reporting/_pane.html", context)


@needs("report.write")
@require_GET
def views(request: UserRequest) -> HttpResponse:
    """The names of the views with their numbers, asking for news of themselves."""
    view, _ = _filter(request)
    counts = worklists.counts(request.user)
    if unchanged(request, counts.version):
        return HttpResponse(status=204)
    return render(
        request, "reporting/_views.html", {"views": _named(counts), "view": view, "version": counts.version}
    )


def _named(counts: worklists.Counts) -> list[tuple[str, str, int]]:
    return [(name, word, counts.views[name]) for name, word in worklists.VIEWS.items()]


@needs("report.write")
@require_POST
def auto_next(request: UserRequest) -> HttpResponse:
    """Whether signing opens the next case."""
    request.session["auto_next"] = not request.session.get("auto_next", True)
    back = request.POST.get("back", "")
    return see_other(request, back if back.startswith(("/reading", "/reports/")) else "/reading")


@needs("report.write")
@require_POST
def read(request: UserRequest, pk: int) -> HttpResponse:
    """Take an exam to read. What somebody else reads is shown, and stays theirs."""
    exam = exam_for(request.user, pk)
    try:
        report = actions.open_report(exam, by=request.user)
    except Conflict as taken:
        held = Report.objects.get(reported__exam=exam)
        return see_other(request, f"/reports/{held.pk}{_query(*_filter(request))}", taken.message)
    return see_other(request, f"/reports/{report.pk}{_query(*_filter(request))}")


@needs("report.view")
@never_cache
@require_GET
def report(request: UserRequest, pk: int) -> HttpResponse:
    return _page(request, report_for(request.user, pk))


def _page(
    request: UserRequest,
    found: Report,
    *,
    refused: RisError | None = None,
    typed: list[Section] | None = None,
) -> HttpResponse:
    """The report as this user may see it: to write, to read, or taken by somebody else.

    `typed` are words that a refused save has left on the page.
    """
    user = request.user
    exams = sorted((one.exam for one in found.reported.all()), key=lambda exam: exam.pk)
    writer = allowed(user, "report.write")
    draft = worklists.draft_of(found) if writer else None
    held = found.leased_until is not None and found.leased_until > timezone.now()
    taken_by = found.reader if draft and held and found.reader != user else None
    writing = draft is not None and taken_by is None
    prefetch_related_objects([found], "parts__author")
    current = current_parts(found) if draft is None or draft.kind == PartKind.ADDENDUM else []
    context: dict[str, Any] = {
        "report": found,
        "exam": exams[0],
        "exams": exams,
        "order": exams[0].order,
        "patient": exams[0].order.patient,
        "draft": draft,
        "taken_by": taken_by,
        "writing": writing,
        "parts": _shown(current, exams),
        "older": _shown([one for one in found.parts.all() if one not in current], exams),
        "signed": found.status in SIGNED,
        "ended": found.status in ENDED,
        "before": worklists.taken_back(exams) if found.status not in ENDED else [],
        "can_sign": allowed(user, "report.sign"),
        "can_write": writer,
        "can_see_messages": allowed(user, "message.view"),
        "priors": [
            (prior, current_parts(prior.reported.report))
            for prior in worklists.priors(exams[0].order.patient, besides=[exam.pk for exam in exams])
        ],
        "refused": refused.message if refused else "",
        "jump": refused is not None and refused.location == "open_field",
        "lost": typed if typed and not writing else None,
        "query": _query(*_filter(request)),
        "form_keys": [uuid4() for _ in range(3)],
    }
    if draft is not None:
        words = typed or draft.sections
        context["sections"] = _fields(words, actions.starting_text(exams[0]))
        context["findings"] = Finding.choices
        context["finding"] = request.POST.get("finding", draft.finding)
        if draft.kind == PartKind.FINAL and any(
            one.kind == PartKind.PRELIMINARY for one in found.parts.all()
        ):
            context["significances"] = Significance.choices
            context["significance"] = request.POST.get("significance", "")
        if draft.kind == PartKind.FINAL and not found.parts.all():
            context["together"] = worklists.together_with(exams[0].order.patient)
        looks = checks({exam.procedure.side for exam in exams}, exams[0].order.patient.sex)
        context["checks"] = [check.look(words) for check in looks]
        conflict = isinstance(refused, Conflict) and writing
        context["theirs"] = draft if conflict and typed != draft.sections else None
        context["seen"] = request.POST.get("version") if conflict else draft.version
    if writer:
        context |= _list(request, opened=found.pk, limit=60)
    status = 200 if refused is None else 422 if isinstance(refused, MissingData | BadValue) else 409
    return render(request, "reporting/report.html", context, status=status)


def _shown(parts: list[ReportPart], exams: list[Exam]) -> list[dict[str, Any]]:
    return [
        {
            "part": part,
            "whole": digest(part, exams) == part.digest,
            "takes_back": part.kind in TAKING_BACK,
            "sections": [
                (one["title"], one["text"], rows(one["text"])) for one in part.sections if one["text"]
            ],
        }
        for part in parts
    ]


def _fields(sections: list[Section], began: list[Section]) -> list[dict[str, Any]]:
    """The sections as fields: whole, or organ by organ, each with the words it began with to tell what was edited."""
    normal = {one["code"]: one["text"] for one in began}
    fields = []
    for one in sections:
        usual = normal.get(one["code"], "")
        by_organ = dict(rows(usual))
        found = rows(one["text"])
        # A row more, for what has no line of its own.
        organs = [(label, words, by_organ.get(label, "")) for label, words in found] + [("", "", "")]
        fields.append({"section": one, "rows": organs if found else [], "normal": usual})
    return fields


def _keep(request: UserRequest, found: Report) -> Draft:
    """Keep the words that came with a verb, so that it acts on what its user saw."""
    return actions.save_draft(
        found, _typed(request, found), version=version_of(request.POST), by=request.user,
        finding=request.POST.get("finding"),
    )  # fmt: skip


def _typed(request: UserRequest, found: Report) -> list[Section]:
    draft = worklists.draft_of(found)
    if draft is not None:
        return written(request.POST, draft.sections)
    # Signed meanwhile: the headings are gone, the words need not be.
    words = [str(text) for name, text in request.POST.items() if name.startswith(("text-", "row-"))]
    return [Section(code="", title="Your words", text="\n".join(words))]


@needs("report.write")
@require_POST
def save(request: UserRequest, pk: int) -> HttpResponse:
    """Autosave, or Keep mine after a conflict."""
    found = report_for(request.user, pk)
    draft = _keep(request, found)
    if request.POST.get("over"):
        return see_other(request, f"/reports/{pk}{_query(*_filter(request))}", "Your text is kept.")
    return HttpResponse(status=204, headers={"X-Version": str(draft.version)})


@needs("report.write")
@require_POST
def park(request: UserRequest, pk: int) -> HttpResponse:
    """Put it aside: the words stay, others may take it."""
    found = report_for(request.user, pk)
    try:
        _keep(request, found)
    except RisError as refused:
        return _page(request, found, refused=refused, typed=_typed(request, found))
    actions.release_lease(found, by=request.user)
    return see_other(request, f"/reading{_query(*_filter(request))}", f"{_whose(found)} is parked.")


@needs("report.preliminary")
@require_POST
def preliminary(request: UserRequest, pk: int) -> HttpResponse:
    found = report_for(request.user, pk)
    try:
        draft = _keep(request, found)
        actions.make_preliminary(found, version=draft.version, by=request.user)
    except RisError as refused:
        return _page(request, report_for(request.user, pk), refused=refused, typed=_typed(request, found))
    actions.release_lease(found, by=request.user)
    return _onwards(request, found, f"{_whose(found)} is released as preliminary.")


@needs("report.sign")
@require_POST
def sign(request: UserRequest, pk: int) -> HttpResponse:
    """Keep what is on the page, then sign exactly that."""
    found = report_for(request.user, pk)
    try:
        draft = _keep(request, found)
        actions.sign_report(
            found, version=draft.version, by=request.user, significance=request.POST.get("significance", "")
        )
    except RisError as refused:
        return _page(request, report_for(request.user, pk), refused=refused, typed=_typed(request, found))
    return _onwards(request, found, f"{_whose(found)} is signed.")


@needs("report.write")
@require_GET
def discrepancies(request: UserRequest) -> HttpResponse:
    """What was signed otherwise than it was released, for those who wrote and those who signed."""
    shown = request.GET.get("show", "open")
    found = worklists.discrepancies(request.user, shown)
    record_access(request.user, "discrepancies.list", count=len(found))
    context = {
        "found": found,
        "show": shown if shown in worklists.DISCREPANCIES else "open",
        "shows": worklists.DISCREPANCIES.items(),
        "significances": [choice for choice in Significance.choices if choice[0]],
        "can_rate": allowed(request.user, "report.sign"),
    }
    return render(request, "reporting/discrepancies.html", context)


@needs("report.sign")
@require_POST
def rate(request: UserRequest, pk: int) -> HttpResponse:
    found = discrepancy_for(request.user, pk)
    try:
        actions.rate_discrepancy(
            found, request.POST.get("significance", ""), note=request.POST.get("note", ""), by=request.user
        )
    except BadValue as refused:
        return see_other(request, "/reading/discrepancies", refused.message)
    return see_other(request, "/reading/discrepancies", "Rated. Who wrote the preliminary text will see it.")


@needs("report.write")
@require_POST
def seen(request: UserRequest, pk: int) -> HttpResponse:
    actions.see_discrepancy(discrepancy_for(request.user, pk), by=request.user)
    return see_other(request, "/reading/discrepancies", "Seen.")


def _patient(found: Report) -> Patient:
    return found.reported.all()[0].exam.order.patient


def _whose(found: Report) -> str:
    patient = _patient(found)
    return f"{patient.family.upper()}, {patient.given}" if patient.given else patient.family.upper()


def _onwards(request: UserRequest, found: Report, said: str) -> HttpResponse:
    """To the next due case of the list the reader works through, else back to it."""
    view, modality = _filter(request)
    query = _query(view, modality)
    if request.session.get("auto_next", True):
        exam = _open_next(request.user, view, modality, besides=found.pk)
        if exam is not None:
            url = f"/reports/{exam.pk}{query}"
            return see_other(request, url, f"{said} Next: {_whose(exam)}.")
    return see_other(request, f"/reading{query}", said)


def _open_next(user: User, view: str, modality: str, *, besides: int) -> Report | None:
    for case in worklists.reading_list(user, view, modality, limit=20):
        ours = case.report is not None and case.report.pk == besides
        if ours or (case.reader is not None and case.reader != user):
            continue
        try:
            opened = actions.open_report(case.exam, by=user)
        except (Conflict, IllegalTransition):  # somebody was quicker
            continue
        return Report.objects.prefetch_related("reported__exam__order__patient").get(pk=opened.pk)
    return None


@needs("report.sign")
@require_POST
def addendum(request: UserRequest, pk: int) -> HttpResponse:
    actions.begin_addendum(report_for(request.user, pk), by=request.user)
    return see_other(request, f"/reports/{pk}{_query(*_filter(request))}")


@needs("report.sign")
@require_POST
def correction(request: UserRequest, pk: int) -> HttpResponse:
    actions.begin_correction(report_for(request.user, pk), by=request.user)
    return see_other(request, f"/reports/{pk}{_query(*_filter(request))}")


@needs("report.write")
@require_POST
def discard(request: UserRequest, pk: int) -> HttpResponse:
    """Throw away an addendum or correction nobody signed."""
    actions.discard_draft(report_for(request.user, pk), by=request.user)
    return see_other(
        request, f"/reports/{pk}{_query(*_filter(request))}", "Thrown away. The signed text stands."
    )


@needs("report.write")
@require_POST
def together(request: UserRequest, pk: int) -> HttpResponse:
    """Read a further exam of the patient in this report."""
    found = report_for(request.user, pk)
    picked = request.POST.get("exam", "")
    if not picked.isdecimal():
        raise BadValue("Pick the exam to read together with this one.", location="exam")
    exam = exam_for(request.user, int(picked))
    try:
        _keep(request, found)
    except RisError as refused:
        return _page(request, found, refused=refused, typed=_typed(request, found))
    actions.add_exam(found, exam, by=request.user)
    said = f"{exam.procedure.label} is read in this report too."
    return see_other(request, f"/reports/{pk}{_query(*_filter(request))}", said)


@needs("report.preliminary")
@require_http_methods(["GET", "POST"])
def cancel(request: UserRequest, pk: int) -> HttpResponse:
    """End a report before it is signed."""
    found = report_for(request.user, pk)
    form = CancelForm(request.POST if request.method == "POST" else None, report=found)
    if request.method == "POST" and form.is_valid():
        try:
            actions.cancel_report(found, words=form.cleaned_data["words"], by=request.user)
        except MissingData as refused:
            form.add_error("words", refused.message)
        else:
            said = f"The report of {_whose(found)} is cancelled; the exam waits to be read."
            return see_other(request, f"/reading{_query(*_filter(request))}", said)
    context = {"report": found, "form": form, "heading": "Cancel this report", "patient": _patient(found)}
    return render(request, "reporting/cancel.html", context, status=422 if form.errors else 200)


@needs("report.sign")
@require_http_methods(["GET", "POST"])
def withdraw(request: UserRequest, pk: int) -> HttpResponse:
    """Take a signed report back; with the right exam named, its report begins with the text."""
    found = report_for(request.user, pk)
    form = WithdrawForm(request.POST if request.method == "POST" else None, report=found)
    if request.method == "POST" and form.is_valid():
        words, right = form.cleaned_data["words"], form.cleaned_data["right"]
        if right is None:
            actions.withdraw_report(found, form.cleaned_data["reason"], words=words, by=request.user)
            said = f"The report of {_whose(found)} is withdrawn; the exam waits to be read."
            return see_other(request, f"/reports/{pk}", said)
        try:
            moved = actions.move_report(found, right, words=words, by=request.user)
        except RisError as refused:
            form.add_error("right", refused.message)
        else:
            said = f"The report of {_whose(found)} is withdrawn. Check its text here, then sign."
            return see_other(request, f"/reports/{moved.pk}", said)
    context = {"report": found, "form": form, "heading": "Withdraw this report", "patient": _patient(found)}
    return render(request, "reporting/withdraw.html", context, status=422 if form.errors else 200)


@needs("report.view")
@require_GET
def pdf(request: UserRequest, pk: int) -> HttpResponse:
    """The report on paper as it reads now, or with ?part= as it read then."""
    found = report_for(request.user, pk)
    parts = found.parts.select_related("report", "author")
    number = request.GET.get("part", "")
    part = parts.filter(number=int(number)).first() if number.isdecimal() else parts.last()
    if part is None:
        raise NotFound("Nothing of this report has been released yet.")
    order = found.reported.all()[0].exam.order
    record_access(
        request.user,
        "report.export",
        patient=order.patient_id,
        subject=order.accession_number,
        part=part.number,
    )
    return HttpResponse(
        pdf_now(part),
        content_type="application/pdf",
        headers={
            "Content-Disposition": f'inline; filename="{accession(order.accession_number)}.pdf"',
            "Cache-Control": "private, no-store",
        },
    )
