"""Reading: opening, drafting, releasing, signing, addending, and taking back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.core import faults
from ris.core.errors import BadValue, Conflict, IllegalTransition, MissingData, NotAllowed
from ris.core.formats import day
from ris.department.models import ProcedureType
from ris.events.outbox import record
from ris.exams.models import Exam
from ris.exams.states import ExamStatus
from ris.orders import actions as orders
from ris.orders.models import Order
from ris.orders.states import OrderStatus
from ris.reporting import sections as text
from ris.reporting.models import (
    Discrepancy,
    Draft,
    Report,
    ReportDocument,
    ReportedExam,
    ReportPart,
    ReportTemplate,
)
from ris.reporting.sections import Section
from ris.reporting.signing import current_parts, digest
from ris.reporting.states import (
    ENDED,
    SIGNED,
    Finding,
    PartKind,
    ReportStatus,
    Significance,
    WithdrawalReason,
)
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
    reported = ReportedExam.objects.select_related("report").filter(current=exam).first()
    if reported:
        report = _locked(reported.report)
    else:
        report = Report.objects.create()
        ReportedExam.objects.create(report=report, exam=exam, current=exam)
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
    for order in _orders_of(report):
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
    report: Report, sections: Sequence[Section], *, version: int, by: User, finding: str | None = None,
    at: datetime | None = None,
) -> Draft:  # fmt: skip
    """Keep the working text; `version` is the one the writer began from. Without `finding` that one stays.

    Raises Conflict when the text has moved on, unless it moved to these very words of the same writer: a
    click on Sign overtakes the autosave that leaving the field set off.
    """
    require(by, "report.write")
    moment = at or timezone.now()
    report = Report.objects.select_for_update(of=("self",)).select_related("reader").get(pk=report.pk)
    draft = _draft(report, None)
    wording = text.checked(sections)
    if finding is not None and finding not in Finding.values:
        raise BadValue(f"A finding is one of {', '.join(filter(None, Finding.values))}.", location="finding")
    kept = draft.finding if finding is None else finding
    if (draft.sections, draft.finding, draft.author_id) == (wording, kept, by.pk):
        _take_lease(report, by, moment)
        return draft
    draft = _draft(report, version)
    _take_lease(report, by, moment)
    draft.sections = wording
    draft.finding = kept
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
    return list(Order.objects.filter(exams__readings__report=report).distinct().order_by("pk"))


def _add_part(report: Report, draft: Draft, kind: str, *, signed_by: User | None, at: datetime) -> ReportPart:
    return _freeze(
        ReportPart(
            report=report, kind=kind, sections=draft.sections, finding=draft.finding, author=draft.author,
            signed_by=signed_by, released_at=at,
        )
    )  # fmt: skip


def _freeze(part: ReportPart) -> ReportPart:
    """Give the part its number, its owner and its seal, and keep it for good."""
    report = part.report
    part.number = report.parts.count() + 1
    part.patient = _orders_of(report)[0].patient
    part.signed_name = printed_name(part.signed_by) if part.signed_by else ""
    part.digest = digest(part)
    part.save(force_insert=True)
    return part


def printed_name(user: User) -> str:
    practitioner = getattr(user, "practitioner", None)
    return str(practitioner.name.display) if practitioner else str(user)


def _tell(kind: str, report: Report, part: ReportPart | None, *, by: User, **more: str) -> None:
    """One fact an exam, in the exams' order."""
    released = {"part": part.pk} if part is not None else {}
    for one in report.reported.select_related("exam__order").order_by("exam_id"):
        order = one.exam.order
        record(
            kind, order.subject, by=by, patient=order.patient_id, order=order.pk, exam=one.exam_id, report=report.pk,
            **released, **more,
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
def sign_report(
    report: Report, *, version: int, by: User, significance: str = Significance.UNRATED, note: str = "",
    at: datetime | None = None,
) -> ReportPart:  # fmt: skip
    """Sign the working text: the part is frozen, the orders are reported, the result goes out.

    `version` is the text the signer saw; `significance` rates how it differs from the preliminary one. Raises
    IllegalTransition when it has been signed (in another tab, by somebody else), Conflict when the text has
    changed, MissingData while a field is open or the impression is empty.
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
    _note_discrepancy(report, part, significance, note, by=by)
    _close(report, draft)
    for order in _orders_of(report):
        unread = order.exams.filter(status=ExamStatus.COMPLETED).exclude(reported__report__status__in=SIGNED)
        if order.status == OrderStatus.PERFORMED and not unread.exists():
            orders.mark_reported(order, at=moment)
    faults.point("after_sign_before_outbox")
    _tell("report.signed", report, part, by=by)
    return part


def _note_discrepancy(report: Report, part: ReportPart, significance: str, note: str, *, by: User) -> None:
    """Nobody has to rate it to sign, but it is kept, and the EMR is told, whoever wrote the preliminary text."""
    before = report.parts.filter(kind=PartKind.PRELIMINARY).last()
    if before is None or text.plain_text(before.sections) == text.plain_text(part.sections):
        return
    found = Discrepancy.objects.create(final=part, preliminary=before)
    if significance:
        _rate(found, significance, note, by=by)


@transaction.atomic
def rate_discrepancy(discrepancy: Discrepancy, significance: str, *, by: User, note: str = "") -> Discrepancy:
    """Say what a change of the preliminary text means for the patient; the author of that text is to see it."""
    require(by, "report.sign")
    found = Discrepancy.objects.select_for_update().get(pk=discrepancy.pk)
    _rate(found, significance, note, by=by)
    _tell("report.discrepancy_rated", found.final.report, found.final, by=by, significance=significance)
    return found


def _rate(found: Discrepancy, significance: str, note: str, *, by: User) -> None:
    if significance not in Significance.values or not significance:
        raise BadValue("Pick what the change means.", location="significance")
    found.significance, found.note, found.rated_by = significance, " ".join(note.split())[:400], by
    found.save(update_fields=["significance", "note", "rated_by"])


@transaction.atomic
def see_discrepancy(discrepancy: Discrepancy, *, by: User) -> Discrepancy:
    """Whoever wrote the preliminary text has seen what was signed. Raises NotAllowed for anybody else."""
    require(by, "report.write")
    found = Discrepancy.objects.select_for_update().get(pk=discrepancy.pk)
    if found.preliminary.author_id != by.pk:
        raise NotAllowed("Only who wrote the preliminary text can say that they have seen this.")
    if found.seen_at is None:
        found.seen_at = timezone.now()
        found.save(update_fields=["seen_at"])
        _tell("report.discrepancy_seen", found.final.report, found.final, by=by)
    return found


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


@transaction.atomic
def add_exam(report: Report, exam: Exam, *, by: User, at: datetime | None = None) -> Report:
    """Read a further exam of the same patient in this report; every order of it gets its result.

    Raises IllegalTransition once a text has been released (its signature names the exams), or when the exam
    is not complete or has a report of its own; Conflict while somebody else writes.
    """
    require(by, "report.write")
    _lock_orders(Order.objects.filter(Q(exams__readings__report=report) | Q(pk=exam.order_id)))
    report = _locked(report)
    exam = Exam.objects.select_for_update(of=("self",)).select_related("order").get(pk=exam.pk)
    _check_lease(report, by, at or timezone.now())
    if report.status != ReportStatus.DRAFT:
        raise IllegalTransition("A text of this report has been released; it can take no further exam.")
    if exam.status != ExamStatus.COMPLETED:
        raise IllegalTransition("That exam is not complete.")
    if exam.order.patient_id not in {order.patient_id for order in _orders_of(report)}:
        raise BadValue("That is another patient's exam.", location="exam")
    other = ReportedExam.objects.select_related("report").filter(current=exam).first()
    if other is not None:
        if other.report_id == report.pk:
            return report
        raise IllegalTransition("That exam has a report of its own. Cancel it there first.")
    ReportedExam.objects.create(report=report, exam=exam, current=exam)
    order = exam.order
    record(
        "report.exam_added", order.subject, by=by, patient=order.patient_id, exam=exam.pk, report=report.pk
    )
    return report


def _lock_orders(found: QuerySet[Order]) -> None:
    for order in found.distinct().order_by("pk"):
        orders.locked(order)


@transaction.atomic
def cancel_report(report: Report, *, words: str = "", by: User, at: datetime | None = None) -> Report:
    """End a report before it is signed (OBR-25 X); its exams wait to be read anew.

    Raises MissingData without `words` when a preliminary text is out: who has it is told why it goes.
    """
    require(by, "report.preliminary")
    moment = at or timezone.now()
    report = _locked(report)
    _check_lease(report, by, moment)
    if report.status in SIGNED:
        raise IllegalTransition("This report is signed; withdraw it instead.")
    released = report.status == ReportStatus.PRELIMINARY
    if released and not words.strip():
        raise MissingData("Say why the preliminary report is cancelled.", location="words")
    report.move(ReportStatus.CANCELLED, at=moment)
    part = _take_back(report, PartKind.CANCELLATION, "", words, by=by, at=moment) if released else None
    _free_exams(report)
    _tell("report.cancelled", report, part, by=by)
    return report


@transaction.atomic
def withdraw_report(
    report: Report, reason: str, *, words: str = "", by: User, at: datetime | None = None
) -> ReportPart:
    """Take a signed report back: its parts stay as they were signed, and it says nothing any more.

    The exams wait to be read anew, and their orders are not reported any more. An addendum or correction
    that was open is thrown away. Raises BadValue for a reason that is none of `WithdrawalReason`.
    """
    require(by, "report.sign")
    moment = at or timezone.now()
    if reason not in WithdrawalReason.values:
        raise BadValue("Pick why the report is withdrawn.", location="reason")
    report = _locked(report)
    _check_lease(report, by, moment)
    if report.status in ENDED:
        raise IllegalTransition(f"This report is {report.get_status_display().lower()} already.")
    if report.status not in SIGNED:
        raise IllegalTransition("This report is not signed; cancel it instead.")
    report.ended_because = reason
    report.save(update_fields=["ended_because"])
    report.move(ReportStatus.WITHDRAWN, at=moment)
    part = _take_back(
        report, PartKind.WITHDRAWAL, WithdrawalReason(reason).label, words, by=by, at=moment
    )  # fmt: skip
    _free_exams(report)
    for order in _orders_of(report):
        orders.mark_unreported(order, at=moment)
    _tell("report.withdrawn", report, part, by=by, reason=reason)
    return part


@transaction.atomic
def move_report(
    report: Report, to_exam: Exam, *, words: str = "", by: User, at: datetime | None = None
) -> Report:
    """Withdraw a report that was signed under the wrong exam; its text becomes the draft of the right one.

    Nothing is signed there by this: the reader looks at the text with the right patient and signs. Raises
    IllegalTransition when the right exam has a signed report, Conflict when its draft holds words already.
    """
    require(by, "report.sign")
    old = [one.exam for one in report.reported.select_related("exam__order")]
    if to_exam.pk in {exam.pk for exam in old}:
        raise BadValue("The report is this exam's already.", location="exam")
    same_patient = to_exam.order.patient_id in {exam.order.patient_id for exam in old}
    reason = WithdrawalReason.WRONG_EXAM if same_patient else WithdrawalReason.WRONG_PATIENT
    _lock_orders(Order.objects.filter(Q(exams__readings__report=report) | Q(pk=to_exam.order_id)))
    dictated = [one for part in current_parts(report) for one in part.sections]
    begun = Draft.objects.filter(report__reported__current=to_exam, version__gt=1).exists()
    if begun:
        raise Conflict("Somebody has begun to read that exam. Cancel that reading first.", location="exam")
    withdraw_report(report, reason, words=words, by=by, at=at)
    right = open_report(to_exam, by=by, at=at)
    if right.status != ReportStatus.DRAFT:
        raise IllegalTransition("That exam has a released report already.", location="exam")
    draft = _draft(right, None)
    # What the record says is the right exam's; what the reader said is kept.
    filled = {
        one["code"]: one for one in draft.sections if one["code"] in (text.CLINICAL[0], text.COMPARISON[0])
    }
    wording = [filled.get(one["code"], one) for one in dictated]
    save_draft(right, wording, version=draft.version, by=by, at=at)
    return right


def _take_back(
    report: Report, kind: PartKind, because: str, words: str, *, by: User, at: datetime
) -> ReportPart:
    told = ". ".join(filter(None, (because, words.strip().rstrip(".")[:500]))) + "."
    return _freeze(
        ReportPart(
            report=report, kind=kind, sections=[text.section(("", kind.label), told)], author=by, signed_by=by,
            released_at=at,
        )
    )  # fmt: skip


def _free_exams(report: Report) -> None:
    draft = Draft.objects.filter(report=report).first()
    if draft is not None:
        _close(report, draft)
    report.reported.update(current=None)


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
