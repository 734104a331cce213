"""OMI^O23 out: RAD-4 and RAD-13 for image managers of 2.5.1 (HL7 2.5.1 4.4.10; RAD TF-2 4.4)."""

from dataclasses import replace

from interfaces.hl7 import er7
from interfaces.hl7.er7 import Raw, Value
from interfaces.hl7.outbound import orm, parts
from interfaces.hl7.outbound.parts import Writer
from ris.orders.models import Order, RequestedProcedure
from scheduling.models import ScheduledProcedureStep

_KIND = ("OMI", "O23", "OMI_O23")


def writer_for(writer: Writer) -> Writer:
    """IPC is of 2.5: a partner whose other messages are older gets this one in 2.5.1."""
    return writer if writer.modern else replace(writer, version_here="2.5.1")


def procedure_message(
    procedure: RequestedProcedure,
    steps: list[ScheduledProcedureStep],
    control: str,
    status: str,
    writer: Writer,
) -> bytes:
    """One requested procedure: one ORC, TQ1 and OBR, and an IPC for each of its steps (PRO-01)."""
    order = procedure.order
    start = steps[0].starts_at if steps else order.wanted_at or order.ordered_at
    fields: dict[int, Value | Raw] = {
        1: control,
        5: parts.status(status, writer),
        16: ["", order.cancel_reason] if order.cancel_reason else "",
        28: ["R", "Restricted", "HL70177"] if order.patient.restricted else "",
    }
    request: dict[int, Value | Raw] = {
        1: "1",
        2: parts.placer(order),
        3: parts.filler(order, writer),
        4: parts.ordered(procedure, writer),
        12: order.danger_code,
        13: order.clinical_info,
        15: orm.side(procedure),
        16: parts.xcn(order.ordering, writer),
        18: order.accession_number,
        19: procedure.requested_procedure_id,
        24: orm.modality_of(procedure, steps[0] if steps else None, writer),
        30: order.transport,
        31: parts.reason(order),
        34: parts.performer(steps[0].appointment if steps else None, writer),
        41: order.transport_arranged,
        44: parts.ordered(procedure, writer),
    }
    segments = [
        parts.pid(order.patient, order.visit, writer),
        parts.pv1(order.visit, writer),
        parts.common_order(order, writer, fields),
        orm.timing_segment(order, start, writer),
        er7.segment("OBR", request),
        *_measures(order),
    ]
    for step in steps:
        segments += _steps(procedure, step, writer)
    if not steps:
        segments.append(_control(procedure, None, "", writer))
    return writer.message(_KIND, segments)


def procedure_control(order: Order, writer: Writer) -> list[str]:
    """IPC of an order's procedures, as ORI^O24 needs them."""
    found = []
    for procedure in order.procedures.select_related("procedure_type").order_by("number"):
        procedure.order = order
        found.append(_control(procedure, None, "", writer))
    return found


def _measures(order: Order) -> list[str]:
    found = [
        (["29463-7", "Body weight", "LN"], order.weight_kg, "kg"),
        (["8302-2", "Body height", "LN"], order.height_m, "m"),
    ]
    return [
        er7.segment("OBX", {1: str(number), 2: "NM", 3: code, 5: str(value), 6: [unit, "", "UCUM"], 11: "F"})
        for number, (code, value, unit) in enumerate([one for one in found if one[1] is not None], 1)
    ]


def _steps(procedure: RequestedProcedure, step: ScheduledProcedureStep, writer: Writer) -> list[str]:
    """IPC-9 does not repeat in the grammar: a step that several machines may do gets an IPC for each, or the
    repetition that some image managers read (profile `stations`; SCH-26)."""
    titles = step.station_ae_titles or [""]
    if writer.option("stations") == "repeat":
        return [_control(procedure, step, er7.repeat(titles), writer)]
    return [_control(procedure, step, title, writer) for title in titles]


def _control(
    procedure: RequestedProcedure, step: ScheduledProcedureStep | None, station: Value | Raw, writer: Writer
) -> str:
    order = procedure.order
    room = step.appointment.room if step else None
    return er7.segment(
        "IPC",
        {
            1: [order.accession_number, writer.endpoint.sending_application or "LIGHTBOX"],
            2: procedure.requested_procedure_id,
            3: [orm.study_uid(procedure), "", "", "ISO"],
            # Required; what nobody planned has no step of its own.
            4: step.step_id if step else procedure.requested_procedure_id,
            5: orm.modality_of(procedure, step, writer),
            6: orm.protocol(procedure, step),
            7: room.name if room else "",
            8: ["", room.facility.name] if room else "",
            9: station,
        },
    )
