"""What the reading hears of itself: a released text gets its document."""

from ris.events.models import Event
from ris.events.outbox import subscriber
from ris.reporting.documents import pdf_for
from ris.reporting.models import ReportPart


@subscriber(
    "reporting.document",
    *("report.preliminary", "report.signed", "report.addended", "report.corrected", "report.withdrawn"),
)
def make_document(event: Event) -> None:
    pdf_for(ReportPart.objects.select_related("report", "author").get(pk=event.facts["part"]))
