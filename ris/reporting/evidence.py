"""What a report shows of an exam that its modality never ended."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from ris.exams.completion import Evidence, shows_the_end, when
from ris.exams.models import Exam
from ris.exams.models_completion import EvidenceKind
from ris.reporting.models import ReportedExam
from ris.reporting.states import ENDED, SIGNED


@shows_the_end
def read_with_another(exams: Sequence[Exam], now: datetime) -> Mapping[int, Evidence]:
    """Another exam of the same order is being read or has been: nobody reads half an order at the scanner."""
    orders = {exam.order_id for exam in exams}
    read = (
        ReportedExam.objects.filter(exam__order__in=orders, report__created_at__lte=now)
        .exclude(report__status__in=ENDED)
        .select_related("report", "exam")
        .order_by("report__created_at", "pk")
    )
    found: dict[int, Evidence] = {}
    for reading in read:
        signed = reading.report.status in SIGNED and reading.report.final_at is not None
        at = reading.report.final_at if signed else reading.report.created_at
        assert at is not None
        words = f"the report of the same order was {'signed' if signed else 'begun'} {when(at)}"
        for exam in exams:
            if exam.order_id == reading.exam.order_id and exam.pk not in found:
                ended = reading.exam.ended_at or at
                found[exam.pk] = Evidence(EvidenceKind.REPORT, words, ended_at=ended, still_since=at)
    return found
