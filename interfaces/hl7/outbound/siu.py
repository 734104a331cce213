"""SIU out: appointments for the order placer (RAD-48; HL7 2.4 10.3)."""

from dataclasses import dataclass, replace
from datetime import datetime

from interfaces.hl7 import codemaps, er7
from interfaces.hl7.er7 import Value
from interfaces.hl7.outbound import parts
from interfaces.hl7.outbound.parts import Writer
from interfaces.models import CodeTable
from ris.accounts.models import User
from ris.department.models import Room
from ris.orders.states import Priority
from scheduling.models import Appointment, ScheduledProcedureStep


@dataclass(frozen=True, slots=True)
class News:
    """What a fact says of an appointment, however it stands by now."""

    trigger: str
    #: SCH-25, AIS-10: table 0278.
    status: str
    #: SCH-6, in words.
    reason: str
    by: User


#: RGS-2, AIS-2 ...: table 0206.
_ACTIONS = {"S12": "A", "S13": "U", "S14": "U", "S15": "D", "S23": "A", "S24": "D", "S26": "U"}
_MINUTES = "MIN"


def appointment_message(appointment: Appointment, news: News, writer: Writer) -> bytes:
    """One SCH, and a resource group for each procedure: its service, machines, room and technologist."""
    writer = _as_sent(writer)
    order = appointment.order
    segments = [_sch(appointment, news, writer)]
    if writer.modern:
        segments.append(
            er7.segment(
                "TQ1",
                {
                    1: "1",
                    7: writer.time(appointment.starts_at),
                    8: writer.time(appointment.ends_at),
                    9: parts.priority(order, writer),
                },
            )
        )
    if appointment.note:
        segments.append(er7.segment("NTE", {1: "1", 3: appointment.note}))
    segments += [parts.pid(order.patient, order.visit, writer), parts.pv1(order.visit, writer)]
    for number, step in enumerate(_steps(appointment), 1):
        segments += _resources(appointment, step, str(number), news, writer)
    return writer.message(("SIU", news.trigger, "SIU_S12"), segments)


def _as_sent(writer: Writer) -> Writer:
    """To a partner of a version before 2.4 these go out in a later one (RAD-48)."""
    if writer.version < "2.4":
        return replace(writer, version_here=writer.option("schedule_version"))
    return writer


def _steps(appointment: Appointment) -> list[ScheduledProcedureStep]:
    """The newest step of each procedure: a booking taken back and made again has planned anew."""
    steps = appointment.steps.select_related("procedure__procedure_type").order_by("procedure__number", "pk")
    return list({step.procedure_id: step for step in steps}.values())


def _sch(appointment: Appointment, news: News, writer: Writer) -> str:
    order, room = appointment.order, appointment.room
    minutes = _minutes(appointment)
    urgent = order.priority in (Priority.STAT, Priority.ASAP)
    timing: Value = [
        "1",
        "",
        f"M{minutes}",
        writer.time(appointment.starts_at),
        writer.time(appointment.ends_at),
        parts.priority(order, writer),
    ]
    return er7.segment(
        "SCH",
        {
            1: appointment.placer_number.split("^"),
            2: number(appointment, writer),
            4: room.code,
            6: ["", news.reason],
            7: ["EMERGENCY", "Urgent", "HL70276"] if urgent else ["ROUTINE", "Routine", "HL70276"],
            8: ["NORMAL", "Routine schedule request", "HL70277"],
            9: str(minutes),
            10: _MINUTES,
            11: timing,
            16: _person(appointment.booked_by, writer),
            17: room.facility.phone,
            20: _person(news.by, writer),
            25: news.status,
            26: parts.placer(order),
            27: parts.filler(order, writer),
        },
    )


def number(appointment: Appointment, writer: Writer) -> list[str]:
    """SCH-2: it stays the same through every change of the time."""
    return [str(appointment.pk), writer.endpoint.sending_application or "LIGHTBOX"]


def _minutes(appointment: Appointment) -> int:
    return round((appointment.ends_at - appointment.starts_at).total_seconds() / 60)


def _person(user: User, writer: Writer) -> Value:
    """SCH-16 and SCH-20 are required: a system is named by its name."""
    return parts.xcn_of(user, writer) or ["", user.last_name or user.username]


def _resources(
    appointment: Appointment, step: ScheduledProcedureStep, set_id: str, news: News, writer: Writer
) -> list[str]:
    procedure, room = step.procedure, appointment.room
    exam_type = procedure.procedure_type
    assert exam_type is not None, "an unknown code is never booked"
    action = _ACTIONS[news.trigger]
    start = writer.time(step.starts_at)
    minutes = str(_minutes(appointment))
    service = [*parts.ordered(procedure, writer), exam_type.code, exam_type.name, exam_type.scheme]
    segments = [
        er7.segment("RGS", {1: set_id, 2: action}),
        er7.segment(
            "AIS",
            {
                1: set_id, 2: action, 3: service, 4: start, 7: str(exam_type.duration_minutes), 8: _MINUTES,
                9: "No", 10: news.status,
            },
        ),
    ]  # fmt: skip
    if exam_type.prep:
        segments.append(er7.segment("NTE", {1: "1", 3: exam_type.prep}))
    segments += _place(room, action, start, minutes, news.status, writer)
    exam = procedure.exams.select_related("technologist__practitioner").order_by("-pk").first()
    technologist = parts.xcn_of(exam.technologist, writer) if exam else ""
    if technologist:
        segments.append(
            er7.segment(
                "AIP",
                {
                    1: "1", 2: action, 3: technologist, 4: ["TECH", "Technologist"], 6: start, 9: minutes,
                    10: _MINUTES, 12: news.status,
                },
            )
        )  # fmt: skip
    return segments


def _place(room: Room, action: str, start: str, minutes: str, status: str, writer: Writer) -> list[str]:
    """AIG for each machine of the room, then AIL for the room itself, by the partner's name for it."""
    machines = [
        er7.segment(
            "AIG",
            {
                1: str(position), 2: action, 3: [station.ae_title, station.name],
                4: [station.modality, station.get_modality_display(), "DCM"], 8: start, 11: minutes, 12: _MINUTES,
                14: status,
            },
        )
        for position, station in enumerate(room.stations.filter(active=True), 1)
    ]  # fmt: skip
    theirs = codemaps.theirs(writer.endpoint, CodeTable.DEPARTMENT, room.code)
    location = er7.segment(
        "AIL",
        {
            1: "1", 2: action, 3: ["", theirs, "", room.facility.code], 4: ["R", room.name], 6: start, 9: minutes,
            10: _MINUTES, 12: status,
        },
    )  # fmt: skip
    return [*machines, location]


@dataclass(frozen=True, slots=True)
class Blocked:
    """A time in which a room is not to be booked, or is again."""

    number: int
    room: Room
    start: datetime
    end: datetime
    reason: str


def block_message(blocked: Blocked, news: News, writer: Writer) -> bytes:
    """S23 and S24: a time of a room, of no patient."""
    writer = _as_sent(writer)
    start, end = writer.time(blocked.start), writer.time(blocked.end)
    minutes = str(round((blocked.end - blocked.start).total_seconds() / 60))
    action = _ACTIONS[news.trigger]
    sch = er7.segment(
        "SCH",
        {
            2: [f"B{blocked.number}", writer.endpoint.sending_application or "LIGHTBOX"],
            4: blocked.room.code,
            6: ["", blocked.reason],
            9: minutes,
            10: _MINUTES,
            11: ["1", "", f"M{minutes}", start, end],
            16: _person(news.by, writer),
            20: _person(news.by, writer),
            25: news.status,
        },
    )
    place = _place(blocked.room, action, start, minutes, news.status, writer)
    segments = [sch, er7.segment("RGS", {1: "1", 2: action}), *place]
    return writer.message(("SIU", news.trigger, "SIU_S12"), segments)
