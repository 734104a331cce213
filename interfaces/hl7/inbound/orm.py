"""ORM^O01 and OMG^O19: orders from the placer (RAD-2; HL7 2.5.1 4.4)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from interfaces.hl7 import codes, reading, times
from interfaces.hl7.ack import NotInTable
from interfaces.hl7.er7 import BadSegment, Message, Segment
from interfaces.hl7.reading import Context, Outcome
from ris.core.errors import BadValue, MissingData, NotFound
from ris.department.actions import find_procedure_type
from ris.department.models import Laterality
from ris.orders.actions import (
    NewOrder,
    change_order,
    find_by_filler,
    find_by_placer,
    hold_order,
    place_order,
    release_order,
)
from ris.orders.models import Order, Side
from ris.patients.actions import register_patient
from ris.patients.models import Patient
from scheduling.actions import cancel_order


@dataclass(slots=True)
class Group:
    """One ORC with what follows it: one order."""

    orc: Segment
    obr: Segment | None = None
    tq1: Segment | None = None
    notes: list[str] = field(default_factory=list)


def groups(message: Message) -> list[Group]:
    """The ORC/OBR pairs in order. Raises BadSegment for an OBR that no ORC announces."""
    found: list[Group] = []
    for segment in message.segments:
        if segment.name == "ORC":
            found.append(Group(segment))
        elif segment.name == "OBR":
            if not found or found[-1].obr is not None:
                raise BadSegment("Each OBR needs an ORC of its own before it.", location=segment.location(1))
            found[-1].obr = segment
        elif segment.name == "TQ1" and found and found[-1].tq1 is None:
            found[-1].tq1 = segment
        elif segment.name == "NTE" and found:
            found[-1].notes.extend(one.text() for one in segment.repetitions(3) if one)
    if not found:
        raise BadSegment("The message has no ORC segment.", location="ORC")
    return found


def order(message: Message, context: Context) -> Outcome:
    """Each ORC is one order, and the message is all of them or none (ORD-10)."""
    outcome = Outcome()
    for group in groups(message):
        control = group.orc.get(1).upper()
        if not control:
            raise MissingData("The order has no order control.", location=group.orc.location(1))
        act = _ACTS.get(control)
        if act is None:
            raise NotInTable(
                f"Order control {control[:4]} is not taken here; {', '.join(_ACTS)} are.",
                location=group.orc.location(1),
            )
        told = act(message, group, context)
        outcome = Outcome(told.patient, outcome.accession_number or told.accession_number)
    return outcome


# New


def _new(message: Message, group: Group, context: Context) -> Outcome:
    """NW. An exam code that nobody has matched yet does not stop the order (ORD-01)."""
    orc, obr = group.orc, group.obr
    if obr is None:
        raise BadSegment("A new order needs an OBR segment.", location="OBR")
    number, authority = entity(orc, 2)
    if not number:
        raise MissingData("A new order needs its placer order number.", location=orc.location(2))
    if len(number) > 64:
        raise BadValue("The placer order number is longer than 64 characters.", location=orc.location(2))
    code = obr.get(4) or obr.get(4, 2)
    if not code:
        raise MissingData("The order does not say which exam.", location=obr.location(4))
    patient = _patient(message, context)
    exam = find_procedure_type(code[:64], sender=context.endpoint.name)
    wanted, priority = _timing(group, context)
    placed = place_order(
        NewOrder(
            patient=patient,
            facility=context.facility,
            procedure_type=exam,
            code=code[:64],
            code_text=(obr.get(4, 2) or obr.get(4))[:200],
            code_scheme=obr.get(4, 3)[:64],
            # A catalogue exam without sides has none, whatever the sender's form always fills in.
            side=Side.NONE if exam and exam.laterality == Laterality.NONE else _side(obr),
            side_may_follow=True,
            priority=priority,
            reason=_reason(group),
            clinical_info=_clinical_info(group),
            danger_code=obr.get(12, 2) or obr.get(12),
            ordering=reading.practitioner(orc.first(12) or obr.first(16), context),
            visit=reading.visit(message, patient, context),
            ordered_at=reading.ordered_at(message, orc, context),
            wanted_at=wanted,
            transport=obr.get(30)[:20],
            callback_phone=orc.get(14) or orc.get(14, 12) or obr.get(17),
            entered_at_organization=_coded(orc, 17),
            placer_order_number=number,
            placer_authority=authority,
            placer_group_number=_coded(orc, 4)[:64],
            source=context.endpoint.name,
        ),
        by=context.by,
    )
    return Outcome(placed.patient, placed.accession_number)


#: Older than any message: an order's PID registers an unknown patient, but every ADT knows better.
_LEAST = datetime.fromisoformat("1900-01-01T00:00:00+00:00")


def _patient(message: Message, context: Context) -> Patient:
    reading.required(message, "PID")
    known = reading.known_patient(message, context)
    new = reading.new_patient(message, context)
    return known or register_patient(new, by=context.by, at=_LEAST)


def entity(segment: Segment, position: int) -> tuple[str, str]:
    """EI as (number, namespace as received): components 2 to 4, joined by "^"."""
    ei = segment.first(position)
    namespace = "^".join(ei.get(component) for component in (2, 3, 4)).rstrip("^")
    return ei.get(1), namespace[:120]


def _coded(segment: Segment, position: int) -> str:
    """CE or EI with its components, to be sent back as it came."""
    value = segment.first(position)
    return "^".join(value.get(component) for component in range(1, 7)).rstrip("^") if value else ""


def _timing(group: Group, context: Context) -> tuple[datetime | None, str]:
    """Wanted start and priority from TQ1 (2.5 on) or ORC-7, OBR-27."""
    wanted: datetime | None = None
    priority = ""
    where = group.orc.location(7, 6)
    places: list[tuple[Segment, int, int, int, int]] = []
    if group.tq1 is not None:
        places.append((group.tq1, 7, 1, 9, 1))
    places.append((group.orc, 7, 4, 7, 6))
    if group.obr is not None:
        places.append((group.obr, 27, 4, 27, 6))
    for segment, start, start_part, urgency, urgency_part in places:
        text = segment.get(start, start_part)
        if wanted is None and text:
            part = start_part if start_part > 1 else 0
            wanted = times.moment(text, context.zone, location=segment.location(start, part))
        if not priority and segment.get(urgency, urgency_part):
            priority = segment.get(urgency, urgency_part)
            where = segment.location(urgency, urgency_part if urgency_part > 1 else 0)
    return wanted, codes.priority(priority, location=where)


def _side(obr: Segment) -> Side:
    """OBR-15.5 site modifier, or a modifier LT, RT, 50 in OBR-44 or OBR-45."""
    modifiers = [one.get(1) for position in (45, 44) for one in obr.repetitions(position)]
    return codes.side(obr.get(15, 5), *modifiers)


def _reason(group: Group) -> str:
    assert group.obr is not None
    reasons = [one.get(2) or one.get(1) for one in group.obr.repetitions(31)]
    return "; ".join(filter(None, reasons)) or group.orc.get(16, 2) or group.orc.get(16)


def _clinical_info(group: Group) -> str:
    assert group.obr is not None
    lines = [one.text() for one in group.obr.repetitions(13)]
    return "\n".join(filter(None, [*lines, *group.notes]))


# Changes to a known order


def _find(message: Message, group: Group, context: Context) -> Order:
    """By the placer's number with its namespace, else by ours; never by patient and exam alone (ORD-12)."""
    orc, obr = group.orc, group.obr
    number, authority = entity(orc, 2)
    if not number and obr is not None:
        number, authority = entity(obr, 2)
    filler = orc.get(3) or (obr.get(3) if obr is not None else "")
    if not number and not filler:
        raise MissingData("The message does not say which order.", location=orc.location(2))
    found = find_by_placer(number, authority, source=context.endpoint.name) if number else None
    if found is None and filler:
        found = find_by_filler(filler)
    if found is None:
        raise NotFound("This order is not known here.", location=orc.location(2 if number else 3))
    named = reading.known_patient(message, context)
    if named is not None and named.pk != found.patient_id:
        raise BadValue("This order belongs to another patient.", location="PID-3")
    return found


def _cancel(message: Message, group: Group, context: Context) -> Outcome:
    """CA, DC. Once the exam has started only the department can stop it (ORC-1 UC, UD)."""
    known = _find(message, group, context)
    reason = group.orc.get(16, 2) or group.orc.get(16) or "Cancelled by the placer"
    cancelled = cancel_order(known, reason=reason, by=context.by)
    return Outcome(cancelled.patient, cancelled.accession_number)


def _change(message: Message, group: Group, context: Context) -> Outcome:
    """XO: what the message values changes; another exam is a new order (RP/RO are not taken)."""
    known = _find(message, group, context)
    orc, obr = group.orc, group.obr
    wanted, priority = _timing(group, context)
    changes: dict[str, object] = {}
    if wanted is not None:
        changes["wanted_at"] = wanted
    if orc.get(7, 6) or (group.tq1 and group.tq1.get(9)) or (obr and obr.get(27, 6)):
        changes["priority"] = priority
    ordering = reading.practitioner(orc.first(12) or (obr.first(16) if obr else orc.first(12)), context)
    if ordering is not None:
        changes["ordering"] = ordering
    if orc.get(14):
        changes["callback_phone"] = orc.get(14)
    if obr is not None:
        asked = obr.get(4)
        procedure = known.procedures.first()
        if asked and procedure is not None and asked not in (procedure.code, _own_code(known)):
            raise BadValue(
                "The exam of an order cannot be changed; cancel it and place a new one.",
                location=obr.location(4),
            )
        texts = {
            "reason": _reason(group) if obr.raw(31) else None,
            "clinical_info": _clinical_info(group) if obr.raw(13) or group.notes else None,
            "danger_code": (obr.get(12, 2) or obr.get(12)) if obr.raw(12) else None,
            "transport": obr.get(30)[:20] if obr.raw(30) else None,
        }
        changes.update({column: value for column, value in texts.items() if value is not None})
    changed = change_order(known, changes, by=context.by)
    return Outcome(changed.patient, changed.accession_number)


def _own_code(known: Order) -> str:
    procedure = known.procedures.select_related("procedure_type").first()
    return procedure.procedure_type.code if procedure and procedure.procedure_type else ""


def _hold(message: Message, group: Group, context: Context) -> Outcome:
    known = _find(message, group, context)
    reason = group.orc.get(16, 2) or group.orc.get(16) or "Held by the placer"
    held = hold_order(known, reason=reason, by=context.by)
    return Outcome(held.patient, held.accession_number)


def _release(message: Message, group: Group, context: Context) -> Outcome:
    released = release_order(_find(message, group, context), by=context.by)
    return Outcome(released.patient, released.accession_number)


#: ORC-1, table 0119.
_ACTS: dict[str, Callable[[Message, Group, Context], Outcome]] = {
    "NW": _new,
    "CA": _cancel,
    "DC": _cancel,
    "XO": _change,
    "HD": _hold,
    "RL": _release,
}
