"""What the reading hears of itself: a released text gets its document; and what it says to others' plans."""

from ris.events.models import Event
from ris.events.outbox import subscriber
from ris.exams.actions import objects_to_reopening
from ris.exams.models import Exam
from ris.patients.merge_actions import objects_to_unmerge
from ris.patients.models import Merge
from ris.reporting.documents import pdf_for
from ris.reporting.models import ReportedExam, ReportPart
from ris.reporting.states import ENDED


@subscriber(
    "reporting.document",
    *("report.preliminary", "report.signed", "report.addended", "report.corrected", "report.withdrawn"),
)
def make_document(event: Event) -> None:
    pdf_for(ReportPart.objects.select_related("report", "author").get(pk=event.facts["part"]))


@objects_to_unmerge
def released_for_the_survivor(merge: Merge) -> str:
    """A released text names its patient: it cannot become another person's."""
    parts = ReportPart.objects.filter(
        report__reported__exam__order__in=merge.moved.get("orders.Order", []), patient=merge.survivor
    ).exclude(report__status__in=ENDED)
    if parts.exists():
        return "A report that came with this merge has since been released for the surviving record. Withdraw it first."
    return ""


@objects_to_reopening
def being_read(exam: Exam) -> str:
    """What somebody reads is not changed under their eyes."""
    reading = ReportedExam.objects.filter(current=exam).select_related("report__reader").first()
    if reading is None:
        return ""
    who = reading.report.reader
    return f"{who or 'Somebody'} has begun to read this exam; it stays complete."
