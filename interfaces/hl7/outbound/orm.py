"""ORM^O01 out: procedures for the image manager (RAD-4, RAD-13) and order status for the placer (RAD-3)."""

from datetime import datetime

from interfaces.hl7 import codes, er7
from interfaces.hl7.er7 import Raw, Value
from interfaces.hl7.outbound import parts
from interfaces.hl7.outbound.parts import Writer
from ris.exams.models import PerformedProcedureStep
from ris.orders.models import Order, RequestedProcedure, Side
from scheduling.models import ScheduledProcedureStep

_KIND = ("ORM", "O01", "ORM_O01")


def study_uid(procedure: RequestedProcedure) -> str:
    """The UID the images have: of an unscheduled exam the one its modality made (PRO-05)."""
    performed = (
        PerformedProcedureStep.objects.filter(exams__procedure=procedure)
        .exclude(study_instance_uid="")
        .order_by("pk")
        .values_list("study_instance_uid", flat=True)
        .first()
    )
    return performed or procedure.study_instance_uid


def _timing(order: Order, start: datetime | None, writer: Writer) -> Value:
    """ORC-7 and OBR-27: quantity 1, once, start, priority."""
    return ["1", "once", "", writer.time(start), "", codes.priority_code(order.priority)]


def _reason(reason: str) -> Value:
    return ["", reason] if reason else ""


def _request(
    procedure: RequestedProcedure,
    writer: Writer,
    *,
    number: int,
    step: ScheduledProcedureStep | None,
    timing: Value,
) -> str:
    """OBR as RAD-4 has it: OBR-4 holds the ordered procedure and, in components 4 to 6, the protocol."""
    order = procedure.order
    exam = procedure.procedure_type
    protocol = (
        [step.protocol_code, step.description, step.protocol_scheme]
        if step is not None and step.protocol_code
        else [exam.code, exam.name, exam.scheme] if exam is not None else []
    )  # fmt: skip
    modality = step.modality if step is not None else exam.modality if exam is not None else ""
    return er7.segment(
        "OBR",
        {
            1: str(number),
            2: parts.placer(order),
            3: parts.filler(order, writer),
            4: [*parts.ordered(procedure), *protocol],
            12: order.danger_code,
            13: order.clinical_info,
            15: ["", "", "", "", procedure.side] if procedure.side != Side.NONE else "",
            16: parts.xcn(order.ordering, writer),
            18: order.accession_number,
            19: procedure.requested_procedure_id,
            20: step.step_id if step is not None else "",
            24: codes.modality_code(modality),
            27: timing,
            30: order.transport,
            31: _reason(order.reason),
            36: writer.time(step.starts_at) if step is not None else "",
            44: parts.ordered(procedure),
        },
    )


def procedure_message(
    procedure: RequestedProcedure,
    steps: list[ScheduledProcedureStep],
    control: str,
    status: str,
    writer: Writer,
) -> bytes:
    """RAD-4 (NW) and RAD-13 (XO, CA, DC) for one requested procedure: an ORC/OBR pair a step, then one ZDS."""
    order = procedure.order
    segments = [parts.pid(order.patient, order.visit), parts.pv1(order.visit, writer)]
    for number, step in enumerate(steps or [None], 1):
        timing = _timing(order, step.starts_at if step else order.wanted_at or order.ordered_at, writer)
        segments.append(
            parts.common_order(
                order, writer, {1: control, 5: status, 7: timing, 16: _reason(order.cancel_reason)}
            )
        )
        segments.append(_request(procedure, writer, number=number, step=step, timing=timing))
    # ZDS-1 RP: UID, application, type of data, subtype (RAD TF-2 4.4).
    application = writer.endpoint.sending_application or "LIGHTBOX"
    segments.append(er7.segment("ZDS", {1: [study_uid(procedure), application, "Application", "DICOM"]}))
    return writer.message(_KIND, segments)


def status_message(order: Order, status: str, start: datetime | None, writer: Writer) -> bytes:
    """ORC-1 SC with ORC-5 SC, IP, CM, CA, DC; PID, PV1 and OBR go along for those who file by them (FIL-05)."""
    timing = _timing(order, start or order.wanted_at, writer)
    fields: dict[int, Value | Raw] = {1: "SC", 5: status, 7: timing, 16: _reason(order.cancel_reason)}
    procedure = order.procedures.select_related("procedure_type").order_by("number").first()
    assert procedure is not None, "an order is placed with its procedure"
    request = er7.segment(
        "OBR",
        {
            1: "1",
            2: parts.placer(order),
            3: parts.filler(order, writer),
            4: parts.ordered(procedure),
            16: parts.xcn(order.ordering, writer),
            18: order.accession_number,
            27: timing,
            31: _reason(order.reason),
            36: writer.time(start),
        },
    )
    return writer.message(
        _KIND,
        [
            parts.pid(order.patient, order.visit),
            parts.pv1(order.visit, writer),
            parts.common_order(order, writer, fields),
            request,
        ],
    )
