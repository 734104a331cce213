"""Reading: opening, drafting, releasing, signing, addending."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.core import faults
from ris.core.errors import Conflict, IllegalTransition, MissingData
from ris.core.formats import day
from ris.department.models import ProcedureType
from ris.events.outbox import record
from ris.exams.models import Exam
from ris.exams.states import ExamStatus
from ris.orders import actions as orders
from ris.orders.models import Order
from ris.orders.states import OrderStatus
from ris.reporting import sections as text
from ris.reporting.models import Draft, Report, ReportDocument, ReportedExam, ReportPart, ReportTemplate
from ris.reporting.sections import Section
from ris.reporting.signing import current_parts, digest
from ris.reporting.states import SIGNED, PartKind, ReportStatus
from ris.reporting.worklists import signed_exams

LEASE = timedelta(minutes=15)


@transaction.atomic
def open_report(exam: Exam, *, by: User, at: datetime | None = None) -> Report:
    """Begin or go on reading `exam`; nobody else may write while the lease of 15 minutes runs.

    Raises Conflict, naming the reader, when somebody else has it; IllegalTransition before the exam is complete.
    """
    require(by, "report.write")
    moment = at or timezone.now()
    order = orders.locked(exam.order)
    exam = (
        Exam.objects.select_for_update(of=("self",))
        .select_related("procedure__procedure_type")
        .get(pk=exam.pk)
    )
    exam.order = order
    if exam.status != ExamStatus.COMPLETED:
        raise IllegalTransition(
            f"This exam is {exam.get_status_display().lower()}; it can be read once it is complete."
        )
    reported = ReportedExam.objects.select_related("report").filter(exam=exam).first()
    if reported:
        report = _locked(reported.report)
    else:
        report = Report.objects.create()
        ReportedExam.objects.create(report=report, exam=exam)
    if report.status in SIGNED and not Draft.objects.filter(report=report).exists():
        return report
    _take_lease(report, by, moment)
    Draft.objects.get_or_create(report=report, defaults={"sections": starting_text(exam), "author": by})
    if not reported:
        record(
            "report.opened", order.subject, by=by, patient=order.patient_id, exam=exam.pk, report=report.pk
        )
    return report


def _locked(report: Report) -> Report:
    """Orders first, in key order, then the report: every verb locks in this order."""
    for order in Order.objects.filter(exams__reported__report=report).distinct().order_by("pk"):
        orders.locked(order)
    return Report.objects.select_for_update(of=("self",)).select_related("reader").get(pk=report.pk)


def _take_lease(report: Report, by: User, at: datetime) -> None:
    _check_lease(report, by, at)
    report.reader = by
    report.leased_until = at + LEASE
    report.save(update_fields=["reader", "leased_until"])


def _check_lease(report: Report, by: User, at: datetime) -> None:
    if report.reader is not None and report.reader != by and report.leased_until and report.leased_until > at:
        raise Conflict(f"{report.reader} is reading this.")


def template_for(kind: ProcedureType) -> list[Section]:
    """The wording for an exam: its own, or that of its modality and body part, of its modality, of any exam."""
    templates = list(ReportTemplate.objects.filter(active=True))
    part = kind.body_part.casefold()
    fitting = [one for one in templates if one.procedure_type_id == kind.pk] or [
        one
        for modality, body_part in ((kind.modality, part), (kind.modality, ""), ("", ""))
        for one in templates
        if not one.procedure_type_id and (one.modality, one.body_part.casefold()) == (modality, body_part)
    ]
    wording: list[Section] = (
        fitting[0].sections if fitting else [text.section(heading) for heading in text.STANDARD]
    )
    return wording


def starting_text(exam: Exam) -> list[Section]:
    """The template of the exam, filled with what the record says: the clinical question, the newest prior."""
    kind = exam.procedure.procedure_type
    assert kind is not None, "an exam of an unknown code is never started"
    filled = []
    for one in template_for(kind):
        body = one["text"]
        if one["code"] == text.CLINICAL[0] and not body:
            body = "\n".join(part for part in (exam.order.reason, exam.order.clinical_info) if part)
        if one["code"] == text.COMPARISON[0] and not body:
            body = comparison(exam)
        filled.append(Section(code=one["code"], title=one["title"], text=body))
    return filled


def comparison(exam: Exam) -> str:
    """The newest earlier report of the patient on the same modality."""
    prior = (
        signed_exams(exam.order.patient)
        .exclude(pk=exam.pk)
        .filter(procedure__procedure_type__modality=exam.procedure.procedure_type.modality)  # type: ignore[union-attr]
        .first()
    )
    return f"{prior.procedure.label} {day(prior.started_at)}." if prior else "None."


def _draft(report: Report, version: int | None) -> Draft:
    draft = Draft.objects.select_for_update().filter(report=report).first()
    if draft is None:
        signed = report.parts.order_by("-number").first()
        if signed is not None and signed.signed_by is not None:
            raise IllegalTransition(
                f"This report was signed by {signed.signed_name}; nothing is open to write."
            )
        raise IllegalTransition("Nothing is open to write. Open the exam from the reading list.")
    if version is not None and version != draft.version:
        raise Conflict(
            "This text was changed in another window. Reload to see it; your words are still here."
        )
    return draft


@transaction.atomic
def save_draft(
    report: Report, sections: Sequence[Section], *, version: int, by: User, at: datetime | None = None
) -> Draft:
    """Keep the working text; `version` is the one the writer began from.

    Raises Conflict when the text has moved on, unless it moved to these very words of the same writer: a
    click on Sign overtakes the autosave that leaving the field set off.
    """
    require(by, "report.write")
    moment = at or timezone.now()
    report = Report.objects.select_for_update(of=("self",)).select_related("reader").get(pk=report.pk)
    draft = _draft(report, None)
    wording = text.checked(sections)
    if draft.sections == wording and draft.author_id == by.pk:
        _take_lease(report, by, moment)
        return draft
    draft = _draft(report, version)
    _take_lease(report, by, moment)
    draft.sections = wording
    draft.author = by
    draft.version += 1
    draft.save()
    return draft


@transaction.atomic
def release_lease(report: Report, *, by: User) -> Report:
    """Park the report: the text stays, others may take it."""
    require(by, "report.write")
    report = Report.objects.select_for_update(of=("self",)).get(pk=report.pk)
    if report.reader_id == by.pk:
        report.reader = None
        report.leased_until = None
        report.save(update_fields=["reader", "leased_until"])
    return report


def _orders_of(report: Report) -> list[Order]:
    return list(Order.objects.filter(exams__reported__report=report).distinct().order_by("pk"))


def _add_part(report: Report, draft: Draft, kind: str, *, signed_by: User | None, at: datetime) -> ReportPart:
    part = ReportPart(
        report=report, number=report.parts.count() + 1, kind=kind, sections=draft.sections, author=draft.author,
        signed_by=signed_by, signed_name=printed_name(signed_by) if signed_by else "", released_at=at,
    )  # fmt: skip
    part.digest = digest(part)
    part.save(force_insert=True)
    return part


def printed_name(user: User) -> str:
    practitioner = getattr(user, "practitioner", None)
    return str(practitioner.name.display) if practitioner else str(user)


def _tell(kind: str, report: Report, part: ReportPart, *, by: User) -> None:
    for one in report.reported.select_related("exam__order").order_by("exam_id"):
        order = one.exam.order
        record(
            kind, order.subject, by=by, patient=order.patient_id, order=order.pk, exam=one.exam_id, report=report.pk,
            part=part.pk,
        )  # fmt: skip


@transaction.atomic
def make_preliminary(report: Report, *, version: int, by: User, at: datetime | None = None) -> ReportPart:
    """Release the text unsigned (OBR-25 P). The draft goes on; a second release replaces the first."""
    require(by, "report.preliminary")
    moment = at or timezone.now()
    report = _locked(report)
    draft = _draft(report, version)
    _check_lease(report, by, moment)
    if report.status not in {ReportStatus.DRAFT, ReportStatus.PRELIMINARY}:
        raise IllegalTransition("This report is signed; a preliminary text can no longer be released.")
    _check_complete(draft.sections)
    part = _add_part(report, draft, PartKind.PRELIMINARY, signed_by=None, at=moment)
    if report.status == ReportStatus.DRAFT:
        report.move(ReportStatus.PRELIMINARY, at=moment)
    _tell("report.preliminary", report, part, by=by)
    return part


def _check_complete(sections: Sequence[Section]) -> None:
    still_open = text.open_fields(sections)
    if still_open:
        title, found = still_open[0]
        raise MissingData(
            f"{len(still_open)} field{'s are' if len(still_open) > 1 else ' is'} open: {found} in {title}.",
            location="open_field",
        )
    if not text.text_of(sections, text.IMPRESSION).strip():
        raise MissingData("Write the impression.", location=text.IMPRESSION[0])


@transaction.atomic
def sign_report(report: Report, *, version: int, by: User, at: datetime | None = None) -> ReportPart:
    """Sign the working text: the part is frozen, the orders are reported, the result goes out.

    `version` is the text the signer saw. Raises IllegalTransition when it has been signed (in another tab,
    by somebody else), Conflict when the text has changed, MissingData while a field is open or the
    impression is empty.
    """
    require(by, "report.sign")
    moment = at or timezone.now()
    report = _locked(report)
    draft = _draft(report, version)
    _check_lease(report, by, moment)
    if draft.kind == PartKind.ADDENDUM:
        return _sign_later(report, draft, ReportStatus.ADDENDED, "report.addended", by=by, at=moment)
    _check_complete(draft.sections)
    if draft.kind == PartKind.CORRECTION:
        return _sign_later(report, draft, ReportStatus.CORRECTED, "report.corrected", by=by, at=moment)
    report.move(ReportStatus.FINAL, at=moment)
    part = _add_part(report, draft, PartKind.FINAL, signed_by=by, at=moment)
    _close(report, draft)
    for order in _orders_of(report):
        unread = order.exams.filter(status=ExamStatus.COMPLETED).exclude(reported__report__status__in=SIGNED)
        if order.status == OrderStatus.PERFORMED and not unread.exists():
            orders.mark_reported(order, at=moment)
    faults.point("after_sign_before_outbox")
    _tell("report.signed", report, part, by=by)
    return part


def _close(report: Report, draft: Draft) -> None:
    draft.delete()
    report.reader = None
    report.leased_until = None
    report.save(update_fields=["reader", "leased_until"])


def _sign_later(report: Report, draft: Draft, to: str, fact: str, *, by: User, at: datetime) -> ReportPart:
    if not text.plain_text(draft.sections).strip():
        raise MissingData("Write the addendum.", location=text.ADDENDUM[0])
    part = _add_part(report, draft, draft.kind, signed_by=by, at=at)
    if report.status != to:
        report.move(to, at=at)
    _close(report, draft)
    _tell(fact, report, part, by=by)
    return part


@transaction.atomic
def begin_addendum(report: Report, *, by: User, at: datetime | None = None) -> Report:
    """Open a further part below the signed text."""
    return _begin_later(report, PartKind.ADDENDUM, [text.section(text.ADDENDUM)], by=by, at=at)


@transaction.atomic
def begin_correction(report: Report, *, by: User, at: datetime | None = None) -> Report:
    """Open the whole text again; signing it replaces what was sent, and the old text stays one click away."""
    parts = current_parts(report)
    return _begin_later(report, PartKind.CORRECTION, parts[0].sections if parts else [], by=by, at=at)


def _begin_later(
    report: Report, kind: str, sections: list[Section], *, by: User, at: datetime | None
) -> Report:
    require(by, "report.sign")
    moment = at or timezone.now()
    report = _locked(report)
    if report.status not in SIGNED:
        raise IllegalTransition("This report is not signed yet; change its text instead.")
    _take_lease(report, by, moment)
    draft = Draft.objects.filter(report=report).first()
    if draft is not None and draft.kind != kind:
        raise Conflict(
            f"The {draft.get_kind_display().lower()} of this report is open. Sign or discard it first."
        )
    if draft is None:
        Draft.objects.create(report=report, kind=kind, sections=sections, author=by)
    return report


@transaction.atomic
def discard_draft(report: Report, *, by: User, at: datetime | None = None) -> Report:
    """Throw away an addendum or correction that was not signed."""
    require(by, "report.write")
    report = _locked(report)
    draft = _draft(report, None)
    _check_lease(report, by, at or timezone.now())
    if draft.kind == PartKind.FINAL:
        raise IllegalTransition("The report itself cannot be discarded; park it instead.")
    _close(report, draft)
    return report


def keep_document(part: ReportPart, pdf: bytes) -> ReportDocument:
    """Store what was made of a part; the first one stays when two were made at once."""
    document, _ = ReportDocument.objects.get_or_create(part=part, defaults={"pdf": pdf})
    return document


@dataclass(frozen=True)
class NewTemplate:
    """For one exam (`procedure_type`), or a modality (with a body part as the catalogue writes it), or any."""

    name: str
    sections: Sequence[Section]
    modality: str = ""
    body_part: str = ""
    procedure_type: ProcedureType | None = None


@transaction.atomic
def keep_template(new: NewTemplate, *, by: User) -> ReportTemplate:
    """Add the template, or change the one of the same name; reports already begun keep their wording."""
    require(by, "department.change")
    template, _ = ReportTemplate.objects.update_or_create(
        name=new.name,
        defaults={
            "sections": text.checked(new.sections), "modality": new.modality, "body_part": new.body_part,
            "procedure_type": new.procedure_type, "active": True,
        },
    )  # fmt: skip
    record("department.changed", f"department:reporttemplate:{template.pk}", by=by, record=template.pk)
    return template


@transaction.atomic
def retire_template(template: ReportTemplate, *, by: User) -> None:
    """Begin no more reports with it; `keep_template` brings it back."""
    require(by, "department.change")
    ReportTemplate.objects.filter(pk=template.pk).update(active=False)
    record("department.changed", f"department:reporttemplate:{template.pk}", by=by, record=template.pk)
