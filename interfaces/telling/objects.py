"""Reports as objects for the archive: Basic Text SR, Encapsulated PDF, and a note that rejects what was withdrawn.

pydicom is loaded when the first partner wants an object: most processes never make one.
"""

from interfaces import cases, engine
from interfaces.cases import NewCase
from interfaces.engine import NewMessage
from interfaces.hl7 import profile
from interfaces.models import CaseKind, Endpoint, OutboundMessage, Protocol
from interfaces.telling.base import concerns, order_of
from ris.audit.trail import record_access, working_for
from ris.core.identifiers import uid_of
from ris.events.models import Event
from ris.exams.models import Exam
from ris.orders.models import Order
from ris.reporting.models import ReportedExam, ReportPart
from ris.reporting.states import TAKING_BACK, PartKind

#: The facts told.
KINDS = (
    "report.preliminary", "report.signed", "report.addended", "report.corrected", "report.cancelled", "report.withdrawn",
)  # fmt: skip

_SHAPES = {"sr": ("sr",), "pdf": ("pdf",), "both": ("sr", "pdf")}
_WORDS = {"sr": "SR", "pdf": "PDF", "ko": "rejection note"}


def tell(event: Event) -> None:
    """One object for each study the report reads; the fact names its exam."""
    if "part" not in event.facts:
        return  # a draft was cancelled: nobody had heard of it
    partners = engine.subscribers("results", Protocol.DICOM, Protocol.DICOMWEB)
    if not partners:
        return
    order = order_of(event.facts["order"])
    part = ReportPart.objects.select_related(
        "report", "author__practitioner", "signed_by__practitioner"
    ).get(pk=event.facts["part"])  # fmt: skip
    exams = _exams_of(part)
    exam = next(one for one in exams if one.pk == event.facts["exam"])
    for endpoint in partners:
        if concerns(endpoint, order):
            _Telling(endpoint, event, order, exam, exams, part).tell()


def _exams_of(part: ReportPart) -> list[Exam]:
    """Those the report reads, in the order in which their facts come."""
    rows = (
        ReportedExam.objects.filter(report=part.report_id)
        .select_related(
            "exam__order__patient", "exam__order__facility", "exam__order__ordering", "exam__procedure__procedure_type"
        )
        .prefetch_related("exam__order__patient__identifiers", "exam__performed_steps")
        .order_by("exam_id")
    )  # fmt: skip
    return [one.exam for one in rows]


class _Telling:
    """One part of a report on its way to one archive."""

    def __init__(
        self, endpoint: Endpoint, event: Event, order: Order, exam: Exam, exams: list[Exam], part: ReportPart
    ) -> None:
        from interfaces.dicom.objects import Told

        self.endpoint = endpoint
        self.event = event
        self.order = order
        self.told = Told(exam, part, exams)

    def _option(self, key: str) -> str:
        return profile.option(self.endpoint.profile, key)

    @property
    def _kept(self) -> list[OutboundMessage]:
        """What this archive was sent of the report before, and was not given up."""
        exam = self.told.exam
        return [
            one
            for shape in ("sr", "pdf")
            for one in OutboundMessage.objects.filter(
                endpoint=self.endpoint, key=self.order.subject, purpose__startswith=f"{shape} {exam.pk} "
            ).exclude(status="discarded").order_by("pk")
        ]  # fmt: skip

    def tell(self) -> None:
        kind = self.told.part.kind
        if kind in TAKING_BACK:
            self._reject()
        elif kind != PartKind.PRELIMINARY or self._option("preliminary_objects") == "yes":
            for shape in _SHAPES[self._option("objects")]:
                self._store(shape)

    def _earlier(self, shape: str) -> list[ReportPart]:
        """The part whose object this one takes the place of, if the archive has it."""
        numbers = [int(one.purpose.split()[2]) for one in self._kept if one.purpose.startswith(f"{shape} ")]
        parts = self.told.part.report.parts.filter(number__in=numbers, number__lt=self.told.part.number)
        return list(parts.order_by("-number")[:1])

    def _store(self, shape: str) -> None:
        from interfaces.dicom import objects
        from ris.reporting.documents import pdf_for

        told = self.told
        if shape == "sr":
            ds = objects.basic_text_sr(told, self._earlier(shape))
        else:
            ds = objects.encapsulated_pdf(told, pdf_for(told.part), self._earlier(shape))
        self._send(shape, objects.file_of(ds), objects.reference_of(told, shape))

    def _reject(self) -> None:
        from interfaces.dicom import objects

        told = self.told
        parts = {one.number: one for one in told.part.report.parts.all()}
        rejected = [
            objects.reference_of(told.of(parts[int(number)]), shape)
            for shape, _, number in (one.purpose.split() for one in self._kept)
        ]
        if not rejected:
            return
        if self._option("rejection_notes") == "no":
            cases.open_case(
                NewCase(
                    CaseKind.SIGNED_REPORT, f"withdrawn:{self.endpoint.pk}:{told.part.report_id}",
                    f"A report that was taken back lies at {self.endpoint.name}, which takes no rejection notes.",
                    "Have it removed there by hand.", self.order.patient_id, self.order.accession_number,
                ),
                endpoint=self.endpoint,
            )  # fmt: skip
            return
        note = objects.rejection_note(told, rejected)
        self._send("ko", objects.file_of(note), objects.reference_of(told, "ko"))

    def _send(self, shape: str, raw: bytes, where: object) -> None:
        from interfaces.dicom import scu, store_commitment
        from interfaces.dicom.objects import Reference

        assert isinstance(where, Reference)
        part, exam = self.told.part, self.told.exam
        by_web = self.endpoint.protocol == Protocol.DICOMWEB
        how = "STOW-RS" if by_web else scu.C_STORE
        self._enqueue(f"{shape} {exam.pk} {part.number}", f"{how} {_WORDS[shape]}", raw)
        if not by_web and self._option("commitment") == "yes":
            asked = uid_of(f"commitment of {where.instance} by {self.endpoint.pk}")
            body = store_commitment.request(asked, [where])
            self._enqueue(store_commitment.purpose_of(asked), store_commitment.TYPE, body)

    def _enqueue(self, purpose: str, type_: str, raw: bytes) -> None:
        message = engine.enqueue(
            NewMessage(
                endpoint=self.endpoint, event=self.event, purpose=purpose, type=type_, key=self.order.subject,
                render=lambda _: raw, patient_id=self.order.patient_id, accession_number=self.order.accession_number,
            )
        )  # fmt: skip
        if message is not None:
            with working_for(self.endpoint.name):
                record_access(
                    self.endpoint.user, "message.sent", patient=self.order.patient_id, subject=self.order.subject,
                    message=message.pk,
                )  # fmt: skip
