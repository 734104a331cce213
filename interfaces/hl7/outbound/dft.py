"""DFT^P03 out: charges (RAD-35; HL7 2.5.1 6.4.1)."""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from billing.models import Charge, Fee
from billing.states import Component
from interfaces.hl7 import er7
from interfaces.hl7.er7 import Raw, Value
from interfaces.hl7.outbound import parts
from interfaces.hl7.outbound.parts import Writer
from ris.exams.models import Exam
from ris.exams.states import AdministrationStatus
from ris.orders.models import Side
from ris.patients.models import PatientClass, Visit
from ris.reporting.models import ReportPart
from ris.reporting.states import PartKind

_KIND = ("DFT", "P03", "DFT_P03")

#: PR1-16, FT1-26: which half of the service is charged; both halves together say nothing.
_HALVES = {Component.TECHNICAL: "TC", Component.PROFESSIONAL: "26"}
_SIDES = {Side.LEFT: "LT", Side.RIGHT: "RT", Side.BOTH: "50"}


@dataclass(frozen=True, slots=True)
class Line:
    """One FT1 with its PR1."""

    number: str
    code: list[str]
    procedure: list[str]
    quantity: str = "1"
    modifiers: list[str] = field(default_factory=list)
    amount: Value | Raw = ""


def charge_message(charges: Sequence[Charge], kind: str, writer: Writer) -> bytes:
    """One charge, or both halves of a service as one; `kind` is FT1-6, CG or CD.

    A credit (CD) repeats the lines of the charge it takes back, under their numbers in FT1-2 (CHG-15).
    """
    exam = charges[0].exam
    order = exam.order
    visit = _with_account(order.visit)
    moment = writer.time(writer.at)
    segments = [
        er7.segment("EVN", {1: "P03", 2: moment, 6: moment}),
        parts.pid(order.patient, visit, writer),
        parts.pv1(visit, writer),
    ]
    performer = _performer(charges, exam, writer)
    for number, line in enumerate(_lines(charges, writer), 1):
        segments += _transaction(str(number), line, exam, kind, performer, writer)
    for number, diagnosis in enumerate(order.diagnoses, 1):
        code = [diagnosis["code"], diagnosis["text"], diagnosis["scheme"]]
        segments.append(er7.segment("DG1", {1: str(number), 3: code, 4: diagnosis["text"], 6: "W"}))
    return writer.message(_KIND, segments)


def number_of(charges: Sequence[Charge]) -> str:
    """FT1-2. Of two halves the newer one's: charged again, the service has another number."""
    return str(max(charge.pk for charge in charges))


def _with_account(visit: Visit | None) -> Visit | None:
    """PID-18: where the hospital numbers no accounts, the visit is the account."""
    if visit is None or visit.account:
        return visit
    named = copy(visit)
    named.account = visit.number
    return named


def _transaction(
    set_id: str, line: Line, exam: Exam, kind: str, performer: Value, writer: Writer
) -> list[str]:
    order = exam.order
    facility, room, visit = order.facility, exam.room, order.visit
    service_date = writer.time(exam.ended_at or exam.started_at)
    place: Value = ["", room.code, "", facility.code] if room else ""
    diagnoses = er7.repeat([one["code"], one["text"], one["scheme"]] for one in order.diagnoses)
    modifiers = er7.repeat(line.modifiers)
    return [
        er7.segment(
            "FT1",
            {
                1: set_id,
                2: line.number,
                4: service_date,
                5: writer.time(writer.at),
                6: kind,
                7: line.code,
                10: line.quantity,
                11: line.amount,
                13: [facility.code, facility.name, "L"],
                16: visit.location.split("^") if visit and visit.location else place,
                18: visit.patient_class if visit else PatientClass.OUTPATIENT.value,
                19: diagnoses,
                20: performer,
                21: parts.xcn(order.ordering, writer),
                23: parts.filler(order, writer),
                25: line.procedure,
                26: modifiers,
            },
        ),
        er7.segment(
            "PR1",
            {
                1: set_id,
                3: line.procedure,
                4: line.procedure[1],
                5: writer.time(exam.started_at),
                6: "D",
                16: modifiers,
            },
        ),
    ]


def _lines(charges: Sequence[Charge], writer: Writer) -> Iterator[Line]:
    first = charges[0]
    procedure, number = first.procedure, number_of(charges)
    exam_type = procedure.procedure_type
    assert exam_type is not None, "what is charged has been performed as an exam of the catalogue"
    half = _HALVES.get(Component(first.component))
    modifiers = [half] if half and len(charges) == 1 else []
    modifiers += first.modifiers.split()
    quantity = f"{first.quantity.normalize():f}"
    side = Side(procedure.side if half else Side.NONE)
    if side == Side.BOTH and writer.option("bilateral") == "quantity":
        quantity = "2"
    elif side:
        modifiers.append(_SIDES[side])
    fee = Fee.objects.filter(code=first.code).first()
    yield Line(
        number=number,
        # Our own names: the texts of CPT are not ours to send.
        code=[first.code, fee.name if fee and fee.name else procedure.label, "L"],
        procedure=[exam_type.code, exam_type.name, exam_type.scheme],
        quantity=quantity,
        modifiers=modifiers,
        amount=[[str(sum(one.amount for one in charges)), first.currency]],
    )
    if first.component == Component.TECHNICAL:
        for position, (code, used) in enumerate(_supplies(first.exam), 1):
            yield Line(number=f"{number}.{position}", code=code, procedure=code, quantity=used)


# What the modality says was used (CHG-16)


def _supplies(exam: Exam) -> Iterator[tuple[list[str], str]]:
    """(code, quantity) of billing procedure steps, supplies and films of the exam's MPPS (PS3.3 C.4.17).

    What was scanned in the room has charges of its own; the machine's word on supplies would charge it again.
    """
    scanned = exam.administrations.filter(status=AdministrationStatus.GIVEN).exists()
    for step in exam.performed_steps.order_by("pk"):
        for item in _items(step.attributes, "00400320"):
            yield _code(item), "1"
        for item in [] if scanned else _items(step.attributes, "00400324"):
            used = next((_number(one, "00400294") for one in _items(item, "00400293")), "1")
            for code in _items(item, "00400296"):
                yield _code(code), used
        for item in _items(step.attributes, "00400321"):
            film = " ".join(filter(None, (_text(item, "20000030"), _text(item, "20100050"))))
            yield ["FILM", film, "L"], _number(item, "21000170")


def _items(dataset: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    return [item for item in dataset.get(tag, {}).get("Value", []) if item]


def _text(item: dict[str, Any], tag: str) -> str:
    values = item.get(tag, {}).get("Value", [])
    return str(values[0]).strip() if values and values[0] is not None else ""


def _number(item: dict[str, Any], tag: str) -> str:
    return _text(item, tag) or "1"


def _code(item: dict[str, Any]) -> list[str]:
    return [_text(item, "00080100"), _text(item, "00080104"), _text(item, "00080102")]


# Who did it


def _performer(charges: Sequence[Charge], exam: Exam, writer: Writer) -> Value:
    """FT1-20: who read it for the professional half or both, else who examined."""
    if charges[-1].component == Component.PROFESSIONAL:
        part = (
            ReportPart.objects.filter(report__reported__exam=exam, kind=PartKind.FINAL)
            .select_related("signed_by__practitioner")
            .order_by("-pk")
            .first()
        )
        return parts.xcn_of(part.signed_by, writer) if part else ""
    return parts.xcn_of(exam.technologist, writer) or _operator(exam)


def _operator(exam: Exam) -> Value:
    """Operators' Name (0008,1070) of the first series, where the exam was begun and ended at the modality."""
    for step in exam.performed_steps.order_by("pk"):
        for model in (step.attributes, *_items(step.attributes, "00400340")):
            names = model.get("00081070", {}).get("Value", [])
            written = names[0].get("Alphabetic", "") if names and isinstance(names[0], dict) else ""
            if written:
                family, given, middle, prefix, suffix = [*written.split("^"), "", "", "", ""][:5]
                return ["", family, given, middle, suffix, prefix]
    return ""
