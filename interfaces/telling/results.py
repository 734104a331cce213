"""Reports: ORU^R01 with P, F, and C with the full text."""

from functools import partial

from interfaces import engine
from interfaces.hl7 import profile
from interfaces.hl7.outbound import oru
from interfaces.telling.base import Telling, concerns, order_of
from ris.events.models import Event
from ris.exams.models import Exam
from ris.reporting.models import ReportPart

KINDS = ("report.preliminary", "report.signed", "report.addended", "report.corrected")


def tell(event: Event) -> None:
    order = order_of(event.facts["order"])
    exam = Exam.objects.select_related("procedure__procedure_type", "technologist__practitioner").get(
        pk=event.facts["exam"]
    )
    exam.order = order
    part = ReportPart.objects.select_related("report", "author__practitioner", "signed_by__practitioner").get(
        pk=event.facts["part"]
    )
    for endpoint in engine.subscribers("results"):
        if concerns(endpoint, order):
            pdf = _pdf(part) if profile.option(endpoint.profile, "pdf") == "yes" else None
            render = partial(oru.result_message, exam, part, pdf)
            Telling(endpoint, event, order).tell(f"result {exam.pk}", "ORU^R01", render)


def _pdf(part: ReportPart) -> bytes:
    from ris.reporting.documents import pdf_for

    return pdf_for(part)
