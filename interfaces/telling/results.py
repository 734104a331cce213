"""Reports: ORU^R01 and MDM, from "not yet read" to withdrawn (conformance table RST)."""

from collections.abc import Callable
from functools import partial

from django.db.models import QuerySet

from interfaces import engine
from interfaces.hl7 import profile
from interfaces.hl7.outbound import mdm, oru
from interfaces.hl7.outbound.oru import Result
from interfaces.telling.base import Telling, concerns, order_of
from ris.events.models import Event
from ris.exams.models import Exam
from ris.exams.states import ExamStatus
from ris.orders.models import Order
from ris.patients.models import Merge
from ris.reporting.models import ReportedExam, ReportPart
from ris.reporting.states import SIGNED, PartKind


def tell(event: Event) -> None:
    if event.kind in _MERGES:
        _tell_of_merge(event)
        return
    order = order_of(event.facts["order"])
    for endpoint in engine.subscribers("results"):
        if concerns(endpoint, order):
            _TELLINGS[event.kind](_Telling(endpoint, event, order))


class _Telling(Telling):
    def option(self, key: str) -> str:
        return profile.option(self.endpoint.profile, key)

    @property
    def waits(self) -> bool:
        """The partner could not file it: the placer has not numbered the order yet (RES-30)."""
        return self.option("result_needs_placer") == "yes" and not self.order.placer_order_number

    def part(self, exam: Exam, part: ReportPart) -> None:
        """A released part, in the shapes the partner takes."""
        shape = self.option("results_as")
        pdf = _pdf(part) if self.option("pdf") == "yes" else None
        if shape in ("oru", "both"):
            self._as_result(exam, part, pdf)
        if shape in ("mdm", "both"):
            for one in mdm.documents(exam, part, pdf):
                purpose = f"document {exam.pk} {part.number} {one.began.number}"
                self.tell(purpose, one.type, partial(mdm.document_message, one))

    def moved(self, exam: Exam, part: ReportPart) -> None:
        """The same text under another patient, as a correction."""
        if self.option("results_as") != "mdm" and not self.waits:
            self._as_result(exam, part, _pdf(part) if self.option("pdf") == "yes" else None, moved=True)

    def _as_result(self, exam: Exam, part: ReportPart, pdf: bytes | None, *, moved: bool = False) -> None:
        exams = [exam]
        if self.option("grouped") == "one":
            exams = [one for one in _exams_of(part, exam) if concerns(self.endpoint, one.order)]
            if exams[0].pk != exam.pk:
                return  # the first one's message tells this one too
        more = self.option("partial") == "yes" and _unread(self.order).exists()
        render = partial(oru.result_message, Result(exams, part, pdf, partial=more, moved=moved))
        self.tell(f"result {exam.pk} {part.number}", "ORU^R01", render)

    def unread(self, exam: Exam) -> None:
        render = partial(oru.result_message, Result([exam], None))
        self.tell(f"result {exam.pk}", "ORU^R01", render)


def _tell_of_merge(event: Event) -> None:
    """No report changes its patient in silence: who filed it under the one number gets it anew under the other."""
    merge = Merge.objects.get(pk=event.facts["merge"])
    moved = ReportedExam.objects.filter(current__order__in=merge.moved.get("orders.Order", []))
    for one in moved.select_related("exam").order_by("exam_id"):
        part = ReportPart.objects.filter(report=one.report_id).order_by("number").last()
        if part is None:
            continue  # a draft: nobody has heard of it
        order = order_of(one.exam.order_id)
        for endpoint in engine.subscribers("results"):
            if concerns(endpoint, order):
                _Telling(endpoint, event, order).moved(_exam(one.exam_id, order), _part(part.pk))


def _exam(pk: int, order: Order) -> Exam:
    exam = Exam.objects.select_related("procedure__procedure_type", "technologist__practitioner").get(pk=pk)
    exam.order = order
    return exam


def _part(pk: int) -> ReportPart:
    return ReportPart.objects.select_related("report", "author__practitioner", "signed_by__practitioner").get(
        pk=pk
    )


def _exams_of(part: ReportPart, told: Exam) -> list[Exam]:
    """Those the report reads, in the order in which their facts come."""
    rows = part.report.reported.order_by("exam_id").values_list("exam_id", "exam__order_id")
    return [told if pk == told.pk else _exam(pk, order_of(order_pk)) for pk, order_pk in rows]


def _unread(order: Order) -> QuerySet[Exam]:
    running = [ExamStatus.IN_PROGRESS, ExamStatus.COMPLETED]
    return Exam.objects.filter(order=order, status__in=running).exclude(reported__report__status__in=SIGNED)


def _released(telling: _Telling) -> None:
    facts = telling.event.facts
    if "part" not in facts or telling.waits:
        return  # a draft was cancelled: nobody had heard of it
    exam = _exam(facts["exam"], telling.order)
    telling.part(exam, _part(facts["part"]))
    if telling.event.kind == "report.signed" and telling.option("partial") == "yes":
        _complete(telling, exam)


def _complete(telling: _Telling, last: Exam) -> None:
    """The last exam of the order is read: what was told as partial is told as final."""
    later = ReportedExam.objects.filter(
        current__order=telling.order, report__reported__exam=last, exam__gt=last
    )
    if _unread(telling.order).exists() or later.exists():
        return
    others = ReportedExam.objects.filter(current__order=telling.order).exclude(
        report__reported__exam=last
    ).order_by("exam_id")  # fmt: skip
    for one in others:
        signed = ReportPart.objects.filter(report=one.report_id).exclude(kind=PartKind.PRELIMINARY).last()
        if signed is not None:
            telling.part(_exam(one.exam_id, telling.order), _part(signed.pk))


def _completed(telling: _Telling) -> None:
    if telling.option("unread_status") == "yes" and not telling.waits:
        telling.unread(_exam(telling.event.facts["exam"], telling.order))


def _numbered(telling: _Telling) -> None:
    """What waited for the placer's number is told, as it was released; what was taken back meanwhile is not."""
    if telling.option("result_needs_placer") != "yes":
        return
    for one in ReportedExam.objects.filter(current__order=telling.order).order_by("exam_id"):
        exam = _exam(one.exam_id, telling.order)
        for pk in ReportPart.objects.filter(report=one.report_id).values_list("pk", flat=True):
            telling.part(exam, _part(pk))


def _pdf(part: ReportPart) -> bytes:
    from ris.reporting.documents import pdf_for

    return pdf_for(part)


_TELLINGS: dict[str, Callable[[_Telling], None]] = {
    "exam.completed": _completed,
    "report.preliminary": _released,
    "report.signed": _released,
    "report.addended": _released,
    "report.corrected": _released,
    "report.cancelled": _released,
    "report.withdrawn": _released,
    "order.numbered": _numbered,
}

_MERGES = ("patient.merged", "patient.unmerged")

#: The facts told.
KINDS = (*_TELLINGS, *_MERGES)
