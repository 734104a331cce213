"""SIU in: an enterprise scheduler plans our orders (HL7 2.5.1 10.3). Not IHE, but common.

The order is known by its numbers (SCH-26, SCH-27), the appointment by the scheduler's (SCH-1, SCH-2) or ours
(SCH-2). What the message changes is told to everybody else by the ordinary facts.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from interfaces.hl7 import codemaps, reading, times
from interfaces.hl7.ack import NotInTable
from interfaces.hl7.er7 import Message, Repetition, Segment
from interfaces.hl7.reading import Context, Outcome
from interfaces.models import CodeTable
from ris.core.errors import BadValue, Conflict, Duplicate, MissingData, NotFound, RisError
from ris.department.models import ProcedureType, Room
from ris.orders.actions import find_by_filler, find_by_placer
from ris.orders.models import Order
from scheduling import actions as scheduling
from scheduling.actions import Outside
from scheduling.models import Appointment
from scheduling.slots import find_slots, rooms_for
from scheduling.states import LIVE, AppointmentStatus


@dataclass(frozen=True, slots=True)
class Asked:
    """What the message says of the time; None where it says nothing."""

    start: datetime | None
    minutes: int | None
    room: Room | None
    note: str | None
    reason: str
    outside: Outside


def book(message: Message, context: Context) -> Outcome:
    """S12. The same booking told twice is one; another time for a known number is S13's to say."""
    sch = reading.required(message, "SCH")
    orders = _orders(message, sch, context)
    if not orders:
        raise MissingData("The message does not say which order is booked.", location="SCH-26")
    asked = _asked(message, sch, context)
    services = message.all("AIS")
    start = asked.start
    for position, order in enumerate(orders):
        # One service an order: each at its own time, else one after the other.
        own = services[position] if len(services) == len(orders) > 1 else None
        begins = (_time(own, 4, context) if own else None) or start
        if begins is None:
            raise MissingData("The message does not say when.", location="SCH-11")
        planned = _book_one(
            order, begins, asked, context, minutes=asked.minutes if len(orders) == 1 else None
        )
        start = planned.ends_at
    return Outcome(orders[0].patient, orders[0].accession_number)


def _book_one(
    order: Order, start: datetime, asked: Asked, context: Context, *, minutes: int | None
) -> Appointment:
    live = order.appointments.filter(status__in=LIVE).select_related("room__facility").first()
    if live is not None:
        same = live.starts_at == start and asked.room in (None, live.room)
        if same:
            # Told before, or booked here at the same time: from now on under the scheduler's number too.
            return scheduling.change_appointment(live, outside=asked.outside, by=context.by)
        if asked.outside.placer_number and live.placer_number == asked.outside.placer_number:
            raise Duplicate("This appointment is booked at another time; S13 moves it.", location="SCH-1")
    room = asked.room or _free_room(order, start)
    return _placed(
        lambda reason: scheduling.book(
            order, room=room, start=start, minutes=minutes, note=asked.note or "", outside=asked.outside,
            overbook_reason=reason, by=context.by,
        ),
        context,
    )  # fmt: skip


def move(message: Message, context: Context) -> Outcome:
    """S13, S14: another time, room or note."""
    sch = reading.required(message, "SCH")
    appointment = _find(message, sch, context)
    asked = _asked(message, sch, context)
    room = asked.room or appointment.room
    start = asked.start or appointment.starts_at
    length = appointment.ends_at - appointment.starts_at
    minutes = asked.minutes or round(length.total_seconds() / 60)
    if (room, start, timedelta(minutes=minutes)) != (appointment.room, appointment.starts_at, length):
        appointment = _placed(
            lambda reason: scheduling.reschedule(
                appointment, room=room, start=start, minutes=minutes, overbook_reason=reason, by=context.by
            ),
            context,
        )
    if appointment.status in LIVE:
        # Numbers that this message leaves out stay.
        outside = Outside(
            asked.outside.source,
            asked.outside.placer_number or appointment.placer_number,
            asked.outside.filler_number or appointment.filler_number,
        )
        scheduling.change_appointment(appointment, note=asked.note, outside=outside, by=context.by)
    return _outcome(appointment)


def cancel(message: Message, context: Context) -> Outcome:
    """S15, and S16 and S17, which for an appointment not yet begun come to the same."""
    sch = reading.required(message, "SCH")
    appointment = _find(message, sch, context, ended=True)
    if appointment.status not in (AppointmentStatus.CANCELLED, AppointmentStatus.NO_SHOW):
        reason = sch.get(6, 2) or sch.get(6) or "Cancelled by the scheduler"
        scheduling.cancel_appointment(appointment, reason=reason, by=context.by)
    return _outcome(appointment)


def missed(message: Message, context: Context) -> Outcome:
    """S26: the patient did not come."""
    appointment = _find(message, reading.required(message, "SCH"), context, ended=True)
    if appointment.status != AppointmentStatus.NO_SHOW:
        scheduling.mark_no_show(appointment, by=context.by)
    return _outcome(appointment)


def _outcome(appointment: Appointment) -> Outcome:
    return Outcome(appointment.order.patient, appointment.order.accession_number)


# Which order, which appointment


def _orders(message: Message, sch: Segment, context: Context) -> list[Order]:
    """SCH-26 and SCH-27, which repeat together: one order each (APT-07)."""
    placers, fillers = sch.repetitions(26), sch.repetitions(27)
    found = []
    for position in range(max(len(placers), len(fillers))):
        placer = placers[position] if position < len(placers) else None
        filler = fillers[position] if position < len(fillers) else None
        order = None
        if placer:
            order = find_by_placer(placer.get(1), _namespace(placer), source=context.endpoint.name)
        if order is None and filler:
            order = find_by_filler(filler.get(1))
        if order is None:
            raise NotFound("This order is not known here.", location="SCH-26" if placer else "SCH-27")
        found.append(order)
    named = reading.known_patient(message, context)
    if named is not None and any(order.patient_id != named.pk for order in found):
        raise BadValue("This order belongs to another patient.", location="PID-3")
    return found


def _namespace(ei: Repetition) -> str:
    return "^".join(ei.get(component) for component in (2, 3, 4)).rstrip("^")[:120]


def _find(message: Message, sch: Segment, context: Context, *, ended: bool = False) -> Appointment:
    """By the scheduler's number, then by ours, then the one of the order. Raises NotFound (204).

    `ended`: what ended before is found too, so that the same end told twice is one.
    """
    rows = Appointment.objects.select_related("room__facility", "order__patient").order_by("-pk")
    orders = _orders(message, sch, context)
    if orders:
        rows = rows.filter(order=orders[0])
    outside = _outside(sch, context)
    found = None
    for number, column in (
        (outside.placer_number, "placer_number"),
        (outside.filler_number, "filler_number"),
    ):
        if found is None and number:
            found = rows.filter(source=outside.source, **{column: number}).first()
    ours = sch.first(2)
    if found is None and _is_ours(ours, context):
        found = rows.filter(pk=int(ours.get(1))).first()
    if found is None and orders:
        # One that was booked here, or under a number it does not go by.
        found = rows.filter(status__in=LIVE).first() or (rows.first() if ended else None)
    if found is None:
        raise NotFound("This appointment is not known here.", location="SCH-1" if sch.raw(1) else "SCH-2")
    named = reading.known_patient(message, context)
    if named is not None and named.pk != found.patient_id:
        raise BadValue("This appointment belongs to another patient.", location="PID-3")
    return found


# What it says


def _asked(message: Message, sch: Segment, context: Context) -> Asked:
    notes = [one.text() for note in message.all("NTE") for one in note.repetitions(3) if one]
    return Asked(
        start=_start(message, sch, context),
        minutes=_minutes(message, sch),
        room=_room(message, context),
        note=" ".join(filter(None, notes)) or None,
        reason=sch.get(6, 2) or sch.get(6),
        outside=_outside(sch, context),
    )


def _outside(sch: Segment, context: Context) -> Outside:
    placer, filler = sch.first(1), sch.first(2)
    own = _is_ours(filler, context)
    return Outside(context.endpoint.name, _number(placer), "" if own else _number(filler))


def _number(ei: Repetition) -> str:
    return "^".join(filter(None, (ei.get(1), _namespace(ei))))[:120]


def _is_ours(ei: Repetition, context: Context) -> bool:
    """Whether SCH-2 is the number under which we told the appointment (`outbound.siu.number`)."""
    names = {"LIGHTBOX", context.header.receiving_application}
    return bool(_OWN_NUMBER.fullmatch(ei.get(1))) and ei.get(2) in names


_OWN_NUMBER = re.compile(r"[0-9]{1,18}")


#: Where the start may stand: the appointment's own before its service's and its resources'.
_STARTS = (("SCH", 11, 4), ("TQ1", 7, 1), ("AIS", 4, 1), ("AIL", 6, 1), ("AIG", 8, 1))


def _start(message: Message, sch: Segment, context: Context) -> datetime | None:
    for name, field, component in _STARTS:
        segment = message.find(name)
        found = _time(segment, field, context, component) if segment else None
        if found is not None:
            return found
    return None


def _time(segment: Segment, field: int, context: Context, component: int = 1) -> datetime | None:
    part = component if component > 1 else 0
    return times.moment(
        segment.get(field, component), context.zone, location=segment.location(field, part)
    )  # fmt: skip


#: Units of SCH-10 and AIS-8, in minutes.
_UNITS = {"": 1, "M": 1, "MIN": 1, "MINUTE": 1, "MINUTES": 1, "H": 60, "HR": 60, "HOUR": 60, "S": 0}


def _minutes(message: Message, sch: Segment) -> int | None:
    """SCH-9 with SCH-10, the duration of SCH-11 ("M30"), or AIS-7; None leaves it to the exam's own length."""
    ais = message.find("AIS")
    pairs = [(sch.get(9), sch.get(10)), (sch.get(11, 3).lstrip("MH"), sch.get(11, 3)[:1])]
    if ais is not None and len(message.all("AIS")) == 1:
        pairs.append((ais.get(7), ais.get(8)))
    for number, unit in pairs:
        factor = _UNITS.get(unit.upper().rstrip("0123456789"), 0)
        if number.isascii() and number.isdecimal() and len(number) < 5 and factor and int(number):
            return int(number) * factor
    return None


def _room(message: Message, context: Context) -> Room | None:
    """AIL-3, else AIG-3: by the endpoint's department map, our room code, its name, or a machine's AE title."""
    said = ""
    for segment in [*message.all("AIL"), *message.all("AIG")]:
        for word in dict.fromkeys(segment.get(3, component) for component in (2, 1, 9)):
            found = _room_called(word, context) if word else None
            if found is not None:
                return found
            if word and segment.name == "AIL":
                said = said or segment.location(3)
    if said:
        raise NotInTable("This room is not known here.", location=said)
    return None


def _room_called(word: str, context: Context) -> Room | None:
    name = codemaps.ours(context.endpoint, CodeTable.DEPARTMENT, word)
    rooms = Room.objects.select_related("facility").filter(active=True)
    for lookup in ("code__iexact", "name__iexact", "stations__ae_title"):
        found = list(rooms.filter(**{lookup: name}).distinct()[:5])
        # Two sites may have a room of one name: the sender's own is meant.
        own = [room for room in found if room.facility_id == context.facility.pk]
        if own or len(found) == 1:
            return (own or found)[0]
    return None


def _free_room(order: Order, start: datetime) -> Room:
    """The scheduler names none: one that can do the exam and is free then, else the first that can."""
    exam_type = _exam_type(order)
    for slot in find_slots(exam_type, start=start, days=0, patient=order.patient, limit=50):
        if slot.start == start:
            return slot.room
    rooms = rooms_for(exam_type)
    if not rooms:
        raise MissingData("The message does not say where.", location="AIL-3")
    return rooms[0]


def _exam_type(order: Order) -> ProcedureType:
    procedure = order.procedures.select_related("procedure_type").first()
    if procedure is None or procedure.procedure_type is None:
        raise MissingData("The exam code of this order is not known here yet.", location="AIS-3")
    return procedure.procedure_type


#: The verbs' own names for what the message said.
_PLACES = {"start": "SCH-11", "minutes": "SCH-9", "room": "AIL-3", "procedure_type": "AIS-3", "side": "AIS-3"}


def _placed(act: Callable[[str], Appointment], context: Context) -> Appointment:
    """Book or move; where the profile says so, a time that is taken or closed is shared (`siu_overbook`)."""
    try:
        try:
            return act("")
        except (Conflict, BadValue) as refusal:
            if context.endpoint.option("siu_overbook") != "yes" or refusal.location != "start":
                raise
        return act(f"Booked by {context.endpoint.name}")
    except RisError as refusal:
        refusal.location = _PLACES.get(refusal.location, refusal.location)
        raise
