"""MDM out: the report as a document (HL7 2.5.1 chapter 9), beside ORU or instead of it.

A document begins with a text (T02), is changed while it is preliminary (T08), becomes final (T04), gets
addenda (T06, documents of their own), is replaced by a correction (T10) or cancelled (T11).
"""

from dataclasses import dataclass

from interfaces.hl7 import er7
from interfaces.hl7.er7 import Raw, Value
from interfaces.hl7.outbound import oru, parts
from interfaces.hl7.outbound.oru import Result
from interfaces.hl7.outbound.parts import Writer
from ris.exams.models import Exam
from ris.reporting.models import ReportPart
from ris.reporting.signing import current_parts
from ris.reporting.states import TAKING_BACK, PartKind

#: PPN.15, the time of the signature (2.5.1 2.A.51).
_PPN_TIME = 15


@dataclass(frozen=True, slots=True)
class Document:
    """One document, and what happens to it with a part of its report."""

    exam: Exam
    part: ReportPart
    pdf: bytes | None
    event: str
    #: The part it began with: it gives the document its number.
    began: ReportPart
    #: The document it adds to or replaces.
    parent: ReportPart | None = None

    @property
    def type(self) -> str:
        return f"MDM^{self.event}"


def documents(exam: Exam, part: ReportPart, pdf: bytes | None) -> list[Document]:
    """What `part` does to the documents of its report; taking it back cancels each that still stands."""
    before = current_parts(part.report, part.number - 1)
    if part.kind in TAKING_BACK:
        standing = {_began(one).pk: _began(one) for one in before}
        return [Document(exam, part, None, "T11", one) for one in standing.values()]
    base = _began(before[0]) if before else None
    if part.kind == PartKind.ADDENDUM:
        return [Document(exam, part, pdf, "T06", part, base)]
    if part.kind == PartKind.CORRECTION:
        return [Document(exam, part, pdf, "T10", part, base)]
    if base is None:
        return [Document(exam, part, pdf, "T02", part)]
    return [Document(exam, part, pdf, "T08" if part.kind == PartKind.PRELIMINARY else "T04", base)]


def _began(part: ReportPart) -> ReportPart:
    """The part with which the document began that `part` belongs to: the first preliminary text, or itself."""
    if part.kind not in (PartKind.PRELIMINARY, PartKind.FINAL):
        return part
    earlier = [one for one in part.report.parts.all() if one.kind == PartKind.PRELIMINARY]
    return earlier[0] if earlier else part


def document_message(document: Document, writer: Writer) -> bytes:
    exam, order, part = document.exam, document.exam.order, document.part
    principal = part.signed_by or part.author
    with_content = document.event != "T11"
    segments = [
        er7.segment("EVN", {1: document.event, 2: writer.time(writer.at)}),
        parts.pid(order.patient, order.visit, writer),
        parts.pv1(order.visit, writer),
    ]
    result = Result([exam], part, document.pdf)
    if writer.modern and with_content:
        # The common order group came with 2.5; MDM_T01 has it too, but a cancellation says it in TXA.
        segments += oru.order_segments(result, exam, 1, {}, writer)
    signed: Value = ""
    if part.signed_by is not None:
        name = [*parts.xcn_of(part.signed_by, writer)]
        signed = [*name, *[""] * (_PPN_TIME - 1 - len(name)), writer.time(part.released_at)]
    segments.append(
        er7.segment(
            "TXA",
            {
                1: "1",
                2: "DI",
                3: "AP" if document.pdf is not None else "FT" if writer.option("text") == "ft" else "TX",
                4: writer.time(exam.started_at),
                5: parts.xcn_of(principal, writer),
                6: writer.time(document.began.released_at),
                8: writer.time(part.released_at) if document.event in ("T04", "T08") else "",
                9: parts.xcn_of(part.author, writer),
                12: _number(exam, document.began, writer),
                13: _number(exam, document.parent, writer) if document.parent else "",
                14: parts.placer(order),
                15: parts.filler(order, writer),
                16: f"{order.accession_number}.pdf" if document.pdf is not None else "",
                17: "PA" if part.kind == PartKind.PRELIMINARY else "LA",
                18: "U",
                19: "CA" if not with_content else "AV",
                20: "AC",
                21: part.sections[0]["text"] if not with_content else "",
                22: signed,
            },
        )
    )
    if with_content:
        found = list(oru.observations(result, exam, writer))
        segments += oru.observation_segments(part, exam, found, writer)
    structure = "MDM_T02" if with_content else "MDM_T01"
    return writer.message(("MDM", document.event, structure), segments)


def _number(exam: Exam, part: ReportPart, writer: Writer) -> Value | Raw:
    """TXA-12: the order, the report (a withdrawn one has a successor), and the part it began with."""
    application = writer.endpoint.sending_application or "LIGHTBOX"
    return [f"{exam.order.accession_number}-{part.report_id}-{part.number}", application]
