"""ORM^O01 out: procedures for the image manager (RAD-4, RAD-13), and orders and their status for the placer (RAD-3).

The placer's messages go as OMG^O19 to a partner that wants them so (profile `orders_as`).
"""

from datetime import datetime

from interfaces.hl7 import er7
from interfaces.hl7.er7 import Raw, Value
from interfaces.hl7.outbound import parts
from interfaces.hl7.outbound.parts import Writer
from ris.exams.models import PerformedProcedureStep
from ris.orders.models import Order, RequestedProcedure, Side
from scheduling.models import Appointment, ScheduledProcedureStep

ORM = ("ORM", "O01", "ORM_O01")
OMG = ("OMG", "O19", "OMG_O19")


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


def start_of(order: Order) -> datetime | None:
    """When it is, or was, planned."""
    appointment = Appointment.objects.filter(order=order).order_by("-pk").first()
    return appointment.starts_at if appointment else None


def timing(order: Order, start: datetime | None, writer: Writer) -> Value:
    """ORC-7 and OBR-27: quantity 1, once, start, priority."""
    return ["1", "once", "", writer.time(start or order.wanted_at), "", parts.priority(order, writer)]


def timing_segment(order: Order, start: datetime | None, writer: Writer) -> str:
    """TQ1, which holds the same in OMG and OMI."""
    fields: dict[int, Value | Raw] = {
        1: "1", 2: "1", 7: writer.time(start or order.wanted_at), 9: parts.priority(order, writer)
    }  # fmt: skip
    return er7.segment("TQ1", fields)


def _why(text: str) -> Value:
    """ORC-16."""
    return ["", text] if text else ""


def side(procedure: RequestedProcedure) -> Value:
    """OBR-15.5, site modifier."""
    return ["", "", "", "", procedure.side] if procedure.side != Side.NONE else ""


def protocol(procedure: RequestedProcedure, step: ScheduledProcedureStep | None) -> list[str]:
    """Code, text and scheme of the scheduled protocol."""
    exam = procedure.procedure_type
    if step is not None and step.protocol_code:
        return [step.protocol_code, step.description, step.protocol_scheme]
    return [exam.code, exam.name, exam.scheme] if exam is not None else []


def modality_of(procedure: RequestedProcedure, step: ScheduledProcedureStep | None, writer: Writer) -> str:
    exam = procedure.procedure_type
    return parts.modality(step.modality if step else exam.modality if exam else "", writer)


def _request(
    procedure: RequestedProcedure,
    writer: Writer,
    *,
    number: int,
    step: ScheduledProcedureStep | None,
    when: Value,
) -> str:
    """OBR as RAD-4 has it: OBR-4 holds the ordered procedure and, in components 4 to 6, the protocol."""
    order = procedure.order
    return er7.segment(
        "OBR",
        {
            1: str(number),
            2: parts.placer(order),
            3: parts.filler(order, writer),
            4: [*parts.ordered(procedure, writer), *protocol(procedure, step)],
            12: order.danger_code,
            13: order.clinical_info,
            15: side(procedure),
            16: parts.xcn(order.ordering, writer),
            18: order.accession_number,
            19: procedure.requested_procedure_id,
            20: step.step_id if step is not None else "",
            24: modality_of(procedure, step, writer),
            27: when,
            30: order.transport,
            31: parts.reason(order),
            34: parts.performer(step.appointment if step is not None else None, writer),
            36: writer.time(step.starts_at) if step is not None else "",
            41: order.transport_arranged,
            44: parts.ordered(procedure, writer),
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
    segments = [parts.pid(order.patient, order.visit, writer), parts.pv1(order.visit, writer)]
    for number, step in enumerate(steps or [None], 1):
        when = timing(order, step.starts_at if step else order.wanted_at or order.ordered_at, writer)
        fields: dict[int, Value | Raw] = {
            1: control, 5: parts.status(status, writer), 7: when, 16: _why(order.cancel_reason)
        }  # fmt: skip
        segments.append(parts.common_order(order, writer, fields))
        segments.append(_request(procedure, writer, number=number, step=step, when=when))
    # ZDS-1 RP: UID, application, type of data, subtype (RAD TF-2 4.4).
    application = writer.endpoint.sending_application or "LIGHTBOX"
    segments.append(er7.segment("ZDS", {1: [study_uid(procedure), application, "Application", "DICOM"]}))
    return writer.message(ORM, segments)


def plain_request(
    order: Order,
    start: datetime | None,
    writer: Writer,
    number: int = 1,
    *,
    status: str = "",
    timed: bool = True,
) -> str:
    """OBR as the placer needs it; `status` is OBR-25."""
    procedure = order.procedures.select_related("procedure_type").order_by("number").first()
    assert procedure is not None, "an order is placed with its procedure"
    procedure.order = order
    return er7.segment(
        "OBR",
        {
            1: str(number),
            2: parts.placer(order),
            3: parts.filler(order, writer),
            4: parts.ordered(procedure, writer),
            12: order.danger_code,
            13: order.clinical_info,
            15: side(procedure) if timed else "",
            16: parts.xcn(order.ordering, writer),
            18: order.accession_number,
            24: modality_of(procedure, None, writer),
            25: status,
            27: timing(order, start, writer) if timed else "",
            30: order.transport,
            31: parts.reason(order),
            36: writer.time(start),
            41: order.transport_arranged,
        },
    )  # fmt: skip


def placer_message(
    order: Order,
    control: str,
    status: str,
    start: datetime | None,
    writer: Writer,
    *,
    modifier: str = "",
    result_status: str = "",
) -> bytes:
    """RAD-3 with ORC-1 SN, SC, OC or XX (FIL-01, 04, 05, 09); PID, PV1 and OBR go along for those who file by them.

    `modifier` is ORC-25, for a status that table 0038 has no code for (FIL-08); `result_status` OBR-25.
    """
    omg = writer.option("orders_as") == "omg"
    fields: dict[int, Value | Raw] = {
        1: control, 5: status, 7: "" if omg else timing(order, start, writer), 16: _why(order.cancel_reason)
    }  # fmt: skip
    if modifier and writer.version >= "2.4":
        fields[25] = ["", modifier]
    request = plain_request(order, start, writer, status=result_status, timed=not omg)
    common = parts.common_order(order, writer, fields)
    segments = [
        parts.pid(order.patient, order.visit, writer),
        parts.pv1(order.visit, writer),
        common,
        *([timing_segment(order, start, writer)] if omg else []),
        request,
    ]
    return writer.message(OMG if omg else ORM, segments)
