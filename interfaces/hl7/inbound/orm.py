"""ORM^O01, OMG^O19 and OMI^O23: the placer's conversation about orders (RAD-2; HL7 2.5.1 4.2, 4.4).

Each order control (ORC-1, table 0119) is one act. A message is all of its orders or none.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from django.db import transaction

from interfaces.cases import NewCase, open_case
from interfaces.hl7 import codemaps, codes, profile, reading, requests
from interfaces.hl7.ack import NotInTable
from interfaces.hl7.er7 import BadSegment, Message
from interfaces.hl7.inbound import orr as replies
from interfaces.hl7.outbound import orr
from interfaces.hl7.outbound.orr import Told
from interfaces.hl7.reading import Context, Outcome
from interfaces.hl7.requests import Group, WrongFacility, entity, groups
from interfaces.models import CaseKind, CodeTable
from ris.core.errors import BadValue, IllegalTransition, MissingData, NotFound
from ris.department.actions import find_procedure_type
from ris.department.models import Laterality, ProcedureType
from ris.exams.actions import discontinue_exam
from ris.exams.states import ExamStatus
from ris.orders.actions import (
    NewOrder,
    change_order,
    find_by_filler,
    find_by_placer,
    hold_order,
    place_order,
    release_order,
    set_side,
)
from ris.orders.models import Order, Side
from ris.orders.states import OrderStatus
from ris.orders.worklists import find_exams
from ris.patients.actions import register_patient
from ris.patients.models import Patient
from scheduling.actions import cancel_order, replace_order


def order(message: Message, context: Context) -> Outcome:
    """Do what each ORC asks (ORD-10), and tell what became of it as the profile `replies` has it.

    What the department cannot do any more is an AE without replies; with them the message is taken and ORC-1
    says "unable" (UA, UC, UX ...), for each of its orders, as none of them was touched.
    """
    found = groups(message)
    acts = [_act(group) for group in found]
    told: list[Told] = []
    try:
        with transaction.atomic():
            for group, act in zip(found, acts, strict=True):
                told.append(act(message, group, context, told))
            if any(one.code == "RQ" for one in told) and not any(one.group.control == "RO" for one in told):
                raise BadSegment(
                    "A replaced order (RP) needs the one that takes its place (RO).", location="ORC"
                )
    except (IllegalTransition, WrongFacility) as refusal:
        if profile.option(context.endpoint.profile, "replies") == "no":
            raise
        told = [_unable(message, group, context, refusal.message) for group in found]
    return orr.outcome(told, context)


Act = Callable[[Message, Group, Context, Sequence[Told]], Told]


def _act(group: Group) -> Act:
    """Raises MissingData and NotInTable before anything is done."""
    location = group.orc.location(1)
    if not group.control:
        raise MissingData("The order has no order control.", location=location)
    act = _ACTS.get(group.control)
    if act is None:
        raise NotInTable(
            f"Order control {group.control[:4]} is not taken here; {', '.join(_ACTS)} are.", location=location
        )
    return act


#: ORC-1 of the answer when it cannot be done.
_UNABLE = {"NW": "UA", "RO": "UA", "PA": "UA", "CH": "UA", "CA": "UC", "DC": "UD", "XO": "UX", "HD": "UH", "RL": "UR",
           "RP": "UM"}  # fmt: skip


def _unable(message: Message, group: Group, context: Context, why: str) -> Told:
    try:
        known: Order | None = _find(message, group, context)
    except (NotFound, MissingData):
        known = None
    return Told(group, _UNABLE.get(group.control, "UA"), known, why)


# New


def _new(message: Message, group: Group, context: Context, so_far: Sequence[Told]) -> Told:
    """NW. A number in use is refused (205) or changes the order it is of (`repeated_order`, ORD-11)."""
    if profile.option(context.endpoint.profile, "repeated_order") == "change":
        number, authority = entity(group.orc, 2)
        if number and find_by_placer(number, authority, source=context.endpoint.name):
            return Told(group, "OK", _changed(message, group, context))
    return Told(group, "OK", _place(message, group, context, parent=_parent(group, context)))


def _place(
    message: Message, group: Group, context: Context, *, parent: Order | None = None, replaced: Order | None = None
) -> Order:  # fmt: skip
    """Accept an order. An exam code that nobody has matched yet does not stop it (ORD-01)."""
    new = _requested(message, group, context, parent)
    if replaced is not None:
        placed = replace_order(
            replaced, new, reason=group.reason_given or "Replaced by the placer", by=context.by
        )
    else:
        placed = place_order(new, by=context.by)
    if new.procedure_type is None:
        _ask_for_exam(group, placed, new, context)
    return placed


def _requested(message: Message, group: Group, context: Context, parent: Order | None) -> NewOrder:
    orc, obr = group.orc, group.obr
    if obr is None:
        raise BadSegment("A new order needs an OBR segment.", location="OBR")
    number, authority = entity(orc, 2)
    if not number:
        raise MissingData("A new order needs its placer order number.", location=orc.location(2))
    if len(number) > 64:
        raise BadValue("The placer order number is longer than 64 characters.", location=orc.location(2))
    code, text, scheme = requests.exam(group)
    if not code:
        raise MissingData("The order does not say which exam.", location=obr.location(4))
    facility = requests.facility(group, context)
    patient = _patient(message, context)
    exam = _known_exam(code, context)
    wanted, priority = requests.timing(group, context)
    measures = requests.measures(group)
    return NewOrder(
        patient=patient,
        facility=facility,
        procedure_type=exam,
        code=code,
        code_text=text,
        code_scheme=scheme,
        # A catalogue exam without sides has none, whatever the sender's form always fills in.
        side=Side.NONE if exam and exam.laterality == Laterality.NONE else requests.side(group),
        side_may_follow=True,
        priority=priority or codes.priority("", location=""),
        reason=requests.reason(group),
        clinical_info=requests.clinical_info(group),
        danger_code=requests.danger(group),
        answers=requests.answers(group),
        diagnoses=requests.diagnoses(group),
        weight_kg=measures.get("weight_kg"),
        height_m=measures.get("height_m"),
        ordering=reading.practitioner(orc.first(12) or obr.first(16), context),
        copies_to=[
            known for one in obr.repetitions(28) if (known := reading.practitioner(one, context)) is not None
        ],
        visit=reading.visit(message, patient, context),
        ordered_at=reading.ordered_at(message, orc, context),
        wanted_at=wanted,
        transport=obr.get(30)[:20],
        transport_arranged=obr.get(41)[:1].upper(),
        callback_phone=orc.get(14) or orc.get(14, 12) or obr.get(17),
        entered_at_organization=requests.coded(orc, 17),
        placer_order_number=number,
        placer_authority=authority,
        placer_group_number=requests.coded(orc, 4)[:64],
        source=context.endpoint.name,
        parent=parent,
    )


def _known_exam(code: str, context: Context) -> ProcedureType | None:
    """By the sender's code map, by what a person matched, or because it is our own code."""
    return find_procedure_type(
        codemaps.ours(context.endpoint, CodeTable.EXAM, code), sender=context.endpoint.name
    )


def _ask_for_exam(group: Group, placed: Order, new: NewOrder, context: Context) -> None:
    wanted = requests.modality(group, context)
    near = find_exams(new.code_text)
    near.sort(key=lambda one: one.modality != wanted)
    open_case(
        NewCase(
            CaseKind.UNKNOWN_EXAM, f"exam:{context.endpoint.name}|{new.code}",
            f"{context.endpoint.name} orders the exam {new.code}, which is not known here.",
            "; ".join(f"{one.name} ({one.code})" for one in near[:3]),
            patient_id=placed.patient_id, accession_number=placed.accession_number,
        ),
        endpoint=context.endpoint, inbound=context.inbound,
    )  # fmt: skip


#: Older than any message: an order's PID registers an unknown patient, but every ADT knows better.
_LEAST = datetime.fromisoformat("1900-01-01T00:00:00+00:00")


def _patient(message: Message, context: Context) -> Patient:
    reading.required(message, "PID")
    known = reading.known_patient(message, context)
    new = reading.new_patient(message, context)
    return known or register_patient(new, by=context.by, at=_LEAST)


# Families (ORD-08) and replacements (ORD-05)


def _parent(group: Group, context: Context) -> Order | None:
    number, authority, filler = requests.parent_numbers(group)
    if number and (known := find_by_placer(number, authority, source=context.endpoint.name)):
        return known
    return find_by_filler(filler) if filler else None


def _parents(message: Message, group: Group, context: Context, so_far: Sequence[Told]) -> Told:
    """PA: the order that the children after it belong to; placed if it is not known yet."""
    number, authority = entity(group.orc, 2)
    known = find_by_placer(number, authority, source=context.endpoint.name) if number else None
    return Told(group, "OK", known or _place(message, group, context))


def _child(message: Message, group: Group, context: Context, so_far: Sequence[Told]) -> Told:
    """CH: an order of its own, to be seen together with its parent."""
    announced = next((one.order for one in reversed(so_far) if one.group.control == "PA"), None)
    parent = _parent(group, context) or announced
    if parent is None:
        raise NotFound("The order this one is a part of is not known here.", location=group.orc.location(8))
    return Told(group, "OK", _place(message, group, context, parent=parent))


def _replaced(message: Message, group: Group, context: Context, so_far: Sequence[Told]) -> Told:
    """RP: withdrawn with the RO that follows."""
    return Told(group, "RQ", _find(message, group, context))


def _replacing(message: Message, group: Group, context: Context, so_far: Sequence[Told]) -> Told:
    """RO: takes the place and, where it fits, the time of the orders replaced before it."""
    done = sum(one.group.control == "RO" for one in so_far)
    old = [one.order for one in so_far if one.group.control == "RP" and one.order is not None]
    if not old:
        raise BadSegment("RO needs the order it replaces (RP) before it.", location=group.orc.location(1))
    if done:
        return Told(group, "RO", _place(message, group, context))
    placed = _place(message, group, context, replaced=old[0])
    for other in old[1:]:
        cancel_order(other, reason=group.reason_given or "Replaced by the placer", by=context.by)
    return Told(group, "RO", placed)


# Changes to a known order


def _find(message: Message, group: Group, context: Context) -> Order:
    """By the placer's number with its namespace, else by ours; never by patient and exam alone (ORD-12)."""
    number, authority = requests.placer_number(group)
    filler = requests.filler_number(group)
    if not number and not filler:
        raise MissingData("The message does not say which order.", location=group.orc.location(2))
    found = find_by_placer(number, authority, source=context.endpoint.name) if number else None
    if found is None and filler:
        found = find_by_filler(filler)
    if found is None:
        raise NotFound("This order is not known here.", location=group.orc.location(2 if number else 3))
    named = reading.known_patient(message, context)
    if named is not None and named.pk != found.patient_id:
        raise BadValue("This order belongs to another patient.", location="PID-3")
    return found


def _cancel(message: Message, group: Group, context: Context, so_far: Sequence[Told]) -> Told:
    """CA, with MSH and ORC alone if need be (ORD-09). Once the exam has started it is too late (UC)."""
    return Told(group, "CR", _withdraw(_find(message, group, context), group, context))


def _withdraw(known: Order, group: Group, context: Context) -> Order:
    return cancel_order(known, reason=group.reason_given or "Cancelled by the placer", by=context.by)


#: CID 9301: Doctor cancelled procedure.
_DOCTOR_CANCELLED = "110500"


def _discontinue(message: Message, group: Group, context: Context, so_far: Sequence[Told]) -> Told:
    """DC: what has not begun is cancelled, what has is stopped (ORD-03)."""
    known = _find(message, group, context)
    if known.status != OrderStatus.IN_PROGRESS:
        return Told(group, "DR", _withdraw(known, group, context))
    for exam in known.exams.filter(status=ExamStatus.IN_PROGRESS).order_by("pk"):
        discontinue_exam(exam, code=_DOCTOR_CANCELLED, comment=group.reason_given, by=context.by)
    known.refresh_from_db()
    return Told(group, "DR", known)


def _change(message: Message, group: Group, context: Context, so_far: Sequence[Told]) -> Told:
    """XO."""
    return Told(group, "XR", _changed(message, group, context))


def _changed(message: Message, group: Group, context: Context) -> Order:
    """What the message values changes (ORD-04); another exam is a new order (RP and RO)."""
    known = _find(message, group, context)
    orc, obr = group.orc, group.obr
    wanted, priority = requests.timing(group, context)
    changes: dict[str, object] = dict(requests.measures(group))
    if wanted is not None:
        changes["wanted_at"] = wanted
    if priority:
        changes["priority"] = priority
    ordering = reading.practitioner(orc.first(12) or (obr.first(16) if obr else orc.first(12)), context)
    if ordering is not None:
        changes["ordering"] = ordering
    if orc.get(14):
        changes["callback_phone"] = orc.get(14)
    if told := requests.answers(group):
        changes["answers"] = list(told)
    if told_diagnoses := requests.diagnoses(group):
        changes["diagnoses"] = list(told_diagnoses)
    if obr is not None:
        texts = {
            "reason": requests.reason(group) if obr.raw(31) else None,
            "clinical_info": requests.clinical_info(group) if obr.raw(13) or group.notes else None,
            "danger_code": requests.danger(group) if obr.raw(12) else None,
            "transport": obr.get(30)[:20] if obr.raw(30) else None,
            "transport_arranged": obr.get(41)[:1].upper() if obr.raw(41) else None,
        }
        changes.update({column: value for column, value in texts.items() if value is not None})
        _check_exam(known, group, context)
    return change_order(known, changes, by=context.by)


def _check_exam(known: Order, group: Group, context: Context) -> None:
    """Another exam is refused; another side of the same exam is taken until it starts."""
    assert group.obr is not None
    procedure = known.procedures.select_related("procedure_type").first()
    assert procedure is not None, "an order is placed with its procedure"
    kind = procedure.procedure_type
    asked = group.obr.get(4)
    names = {procedure.code, kind.code if kind else ""}
    if asked and asked not in names and codemaps.ours(context.endpoint, CodeTable.EXAM, asked) not in names:
        raise BadValue(
            "The exam of an order cannot be changed; cancel it and place a new one.",
            location=group.obr.location(4),
        )
    side = requests.side(group)
    if side and side != procedure.side and (kind is None or kind.laterality != Laterality.NONE):
        set_side(procedure, side, by=context.by)


def _hold(message: Message, group: Group, context: Context, so_far: Sequence[Told]) -> Told:
    known = _find(message, group, context)
    return Told(
        group, "HR", hold_order(known, reason=group.reason_given or "Held by the placer", by=context.by)
    )


def _release(message: Message, group: Group, context: Context, so_far: Sequence[Told]) -> Told:
    return Told(group, "OR", release_order(_find(message, group, context), by=context.by))


def _status(message: Message, group: Group, context: Context, so_far: Sequence[Told]) -> Told:
    """SS: how it stands is always answered (ORD-07)."""
    return Told(group, "SR", _find(message, group, context))


def _numbered(message: Message, group: Group, context: Context, so_far: Sequence[Told]) -> Told:
    """NA: the placer's number for an order that was born here, from senders that write it as an order (FIL-02)."""
    return Told(group, "OK", replies.number(group, context))


#: ORC-1, table 0119.
_ACTS: dict[str, Act] = {
    "NW": _new,
    "CA": _cancel,
    "DC": _discontinue,
    "XO": _change,
    "RP": _replaced,
    "RO": _replacing,
    "HD": _hold,
    "RL": _release,
    "SS": _status,
    "PA": _parents,
    "CH": _child,
    "NA": _numbered,
}
