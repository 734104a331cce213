"""Planning: booking, moving, checking in, cancelling."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise

from django.db import IntegrityError, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.utils import timezone

from ris.accounts.models import User
from ris.accounts.permissions import allowed, require
from ris.core.errors import BadValue, Conflict, IllegalTransition, MissingData, RisError
from ris.core.identifiers import new_step_id
from ris.department.models import Laterality, Practitioner, ProcedureType, Room
from ris.events.outbox import record
from ris.orders import actions as orders
from ris.orders.models import Order, RequestedProcedure
from ris.orders.states import OrderStatus
from ris.patients.models import Patient
from scheduling.models import Appointment, Block, Opening, ScheduledProcedureStep
from scheduling.slots import find_slots, local_zone, opening_spans
from scheduling.states import LIVE, ON_WORKLIST, AppointmentStatus, StepStatus


@dataclass(frozen=True)
class Outside:
    """How an outside scheduler knows an appointment: see Appointment.source."""

    source: str
    placer_number: str = ""
    filler_number: str = ""


@transaction.atomic
def book(
    order: Order,
    *,
    room: Room,
    start: datetime,
    by: User,
    minutes: int | None = None,
    note: str = "",
    overbook_reason: str = "",
    outside: Outside | None = None,
    at: datetime | None = None,
) -> Appointment:
    """Plan `order` in `room` from `start` on for as long as its exam takes, or for `minutes`.

    Raises Conflict when the room or the patient is taken (naming who took it and the next time that fits),
    BadValue outside the room's hours, MissingData while the exam or its side is not known.
    `overbook_reason` lets a holder of `schedule.overbook` share the room's time; a patient's never.
    """
    require(by, "appointment.book")
    if overbook_reason:
        require(by, "schedule.overbook")
    order = orders.locked(order)
    if order.status != OrderStatus.REQUESTED:
        raise IllegalTransition(
            f"This order is {order.get_status_display().lower()}; only a requested one can be booked."
        )
    exam_type, during = _fitting(
        order, room, start, minutes=minutes, outside_hours=bool(overbook_reason), by=by, at=at
    )
    room = _hold_resources(order.patient, room)
    known = outside or Outside("")
    try:
        with transaction.atomic():
            appointment = Appointment.objects.create(
                order=order, patient=order.patient, room=room, during=during, note=note[:200],
                overbook_reason=overbook_reason[:200], booked_by=by, source=known.source[:64],
                placer_number=known.placer_number[:120], filler_number=known.filler_number[:120],
            )  # fmt: skip
    except IntegrityError as problem:
        raise _taken(problem, order, room, during, exam_type) from None
    _plan_steps(appointment)
    orders.mark_scheduled(order, at=at)
    _tell("appointment.booked", appointment, order, by=by)
    return appointment


def _fitting(
    order: Order, room: Room, start: datetime, *, minutes: int | None, outside_hours: bool, by: User,
    at: datetime | None,
) -> tuple[ProcedureType, DateTimeTZRange]:  # fmt: skip
    """The exam and the time it would take, or the refusal that tells what stands in the way."""
    procedures = list(order.procedures.select_related("procedure_type"))
    types = [one.procedure_type for one in procedures]
    if not types or None in types:
        raise MissingData(
            "The exam code of this order is not known yet. Match it first.", location="procedure_type"
        )
    exam_type = types[0]
    assert exam_type is not None
    for one in procedures:
        if one.procedure_type and one.procedure_type.laterality == Laterality.REQUIRED and not one.side:
            raise MissingData("Pick the side of the exam before booking it.", location="side")
    if room.modality != exam_type.modality or not room.active:
        raise BadValue(f"{room.name} does not do {exam_type.name}.", location="room")
    if start < (at or timezone.now()) - timedelta(days=1):
        raise BadValue("That time has passed.", location="start")
    if minutes is not None and not 5 <= minutes <= 480:
        raise BadValue("An appointment takes 5 to 480 minutes.", location="minutes")
    # In UTC: on a local clock that is set back meanwhile, half an hour would be ninety minutes.
    end = start.astimezone(UTC) + timedelta(
        minutes=minutes or sum(one.duration_minutes for one in types if one)
    )
    if not outside_hours:
        _check_open(room, start, end, by)
    return exam_type, DateTimeTZRange(start, end)


def _check_open(room: Room, start: datetime, end: datetime, by: User) -> None:
    """Opening hours bind everybody but those who may set them aside; so do blocks."""
    if allowed(by, "schedule.outside_hours"):
        return
    zone = local_zone(room)
    spans = opening_spans(room, start.astimezone(zone).date())
    if not any(opens <= start and end <= closes for opens, closes in spans):
        hours = " and ".join(f"{opens:%H:%M}–{closes:%H:%M}" for opens, closes in spans) or "not at all"
        raise BadValue(
            f"{room.name} is open {hours} that day. This exam needs {start.astimezone(zone):%H:%M}–"
            f"{end.astimezone(zone):%H:%M}.",
            location="start",
        )
    block = Block.objects.filter(room=room, during__overlap=(start, end)).first()
    if block:
        raise Conflict(f"{room.name} is blocked then: {block.reason}.", location="start")


def _hold_resources(patient: Patient, room: Room) -> Room:
    """Lock patient, then room. Without it two bookers could deadlock on the exclusion constraint."""
    Patient.objects.select_for_update(no_key=True).get(pk=patient.pk)
    return (
        Room.objects.select_for_update(no_key=True, of=("self",)).select_related("facility").get(pk=room.pk)
    )


def _taken(
    problem: IntegrityError, order: Order, room: Room, during: DateTimeTZRange, exam_type: ProcedureType
) -> Conflict:
    """Who has the time, and the next that fits."""
    if "patient_not_double_booked" in str(problem):
        other = (
            Appointment.objects.filter(patient=order.patient, status__in=LIVE, during__overlap=during)
            .select_related("room__facility")
            .first()
        )
        where = f"at {_clock(other)} in {other.room.name}" if other else "then"
        return Conflict(f"This patient already has an exam {where}.", location="start")
    if "room_not_double_booked" not in str(problem):
        raise problem
    other = (
        Appointment.objects.filter(room=room, status__in=LIVE, during__overlap=during)
        .select_related("booked_by", "room__facility")
        .first()
    )
    zone = local_zone(room)
    told = f"Somebody booked {during.lower.astimezone(zone):%H:%M} in {room.name}"
    if other:
        told += f" at {other.booked_at.astimezone(zone):%H:%M} ({other.booked_by.short})"
    free = find_slots(exam_type, start=during.lower, patient=order.patient, limit=1)
    if free:
        slot = free[0]
        begins = slot.start.astimezone(local_zone(slot.room))
        told += f". Next that fits: {begins:%a %d-%b %H:%M} {slot.room.name}"
    return Conflict(f"{told}.", location="start")


def _clock(appointment: Appointment) -> str:
    return f"{appointment.starts_at.astimezone(local_zone(appointment.room)):%H:%M}"


def _plan_steps(appointment: Appointment) -> None:
    """An entry on the worklist for each machine that each procedure needs."""
    stations = list(appointment.room.stations.filter(active=True))
    for procedure in RequestedProcedure.objects.filter(order=appointment.order).select_related(
        "procedure_type"
    ):
        exam_type = procedure.procedure_type
        assert exam_type is not None, "an unknown code is never booked"
        for modality in dict.fromkeys((exam_type.modality, *exam_type.also_on)):
            # In a room with machines of that kind those do it; else whichever there are.
            of_kind = [one for one in stations if one.modality == modality] if exam_type.also_on else []
            ScheduledProcedureStep.objects.create(
                appointment=appointment, procedure=procedure, step_id=new_step_id(), modality=modality,
                station_ae_titles=[one.ae_title for one in of_kind or stations],
                starts_at=appointment.starts_at, description=procedure.label[:64],
                protocol_code=exam_type.code, protocol_scheme=exam_type.scheme,
            )  # fmt: skip


def _locked(appointment: Appointment) -> tuple[Appointment, Order]:
    """Order first, then appointment: every verb locks in this order."""
    order = orders.locked(appointment.order)
    fresh = (
        Appointment.objects.select_for_update(of=("self",))
        .select_related("room__facility", "patient")
        .get(pk=appointment.pk)
    )
    fresh.order = order
    return fresh, order


def _tell(fact: str, appointment: Appointment, order: Order, *, by: User, **facts: object) -> None:
    record(
        fact, order.subject, by=by, patient=order.patient_id, order=order.pk, appointment=appointment.pk, **facts
    )  # fmt: skip


def _check_version(appointment: Appointment, version: int | None) -> None:
    if version is not None and version != appointment.version:
        raise Conflict("Somebody changed this appointment since you saw it. Look again, then decide.")


def _move_steps(
    appointment: Appointment, to: str, *, only: Collection[int] | None = None, at: datetime | None
) -> None:
    for step in ScheduledProcedureStep.objects.select_for_update().filter(appointment=appointment):
        if only is not None and step.pk not in only:
            continue
        if step.status != to and step.flow.allows(step.status, to):
            step.move(to, at=at)


@transaction.atomic
def reschedule(
    appointment: Appointment,
    *,
    room: Room,
    start: datetime,
    by: User,
    minutes: int | None = None,
    version: int | None = None,
    overbook_reason: str = "",
    at: datetime | None = None,
) -> Appointment:
    """Move a pending appointment; refusals as for `book`."""
    require(by, "appointment.change")
    if overbook_reason:
        require(by, "schedule.overbook")
    appointment, order = _locked(appointment)
    _check_version(appointment, version)
    if appointment.status not in {AppointmentStatus.BOOKED, AppointmentStatus.CONFIRMED}:
        raise IllegalTransition(
            f"This patient is {appointment.get_status_display().lower()}; the time can no longer move."
        )
    exam_type, during = _fitting(
        order, room, start, minutes=minutes, outside_hours=bool(overbook_reason), by=by, at=at
    )
    room = _hold_resources(appointment.patient, room)
    appointment.room = room
    appointment.during = during
    appointment.overbook_reason = overbook_reason[:200]
    appointment.version += 1
    try:
        with transaction.atomic():
            appointment.save(update_fields=["room", "during", "overbook_reason", "version"])
    except IntegrityError as problem:
        raise _taken(problem, order, room, during, exam_type) from None
    stations = [one.ae_title for one in room.stations.filter(active=True)]
    ScheduledProcedureStep.objects.filter(appointment=appointment, status__in=ON_WORKLIST).update(
        starts_at=start, station_ae_titles=stations
    )
    if appointment.status == AppointmentStatus.CONFIRMED:  # what was confirmed was the old time
        appointment.move(AppointmentStatus.BOOKED, at=at)
    _tell("appointment.rescheduled", appointment, order, by=by)
    return appointment


@transaction.atomic
def change_appointment(
    appointment: Appointment,
    *,
    by: User,
    note: str | None = None,
    outside: Outside | None = None,
    version: int | None = None,
) -> Appointment:
    """Change what goes with an appointment and leave its time; recorded only when something differs."""
    require(by, "appointment.change")
    appointment, order = _locked(appointment)
    _check_version(appointment, version)
    if appointment.status not in LIVE:
        raise IllegalTransition(f"This appointment is {appointment.get_status_display().lower()}.")
    values = {} if note is None else {"note": note[:200]}
    if outside is not None:
        values.update(
            source=outside.source[:64], placer_number=outside.placer_number[:120],
            filler_number=outside.filler_number[:120],
        )  # fmt: skip
    changed = sorted(column for column, value in values.items() if getattr(appointment, column) != value)
    for column in changed:
        setattr(appointment, column, values[column])
    if changed:
        appointment.version += 1
        appointment.save(update_fields=[*changed, "version"])
        _tell("appointment.changed", appointment, order, by=by, changed=changed)
    return appointment


@transaction.atomic
def assign_performer(
    appointment: Appointment, performer: Practitioner | None, *, by: User, version: int | None = None
) -> Appointment:
    """Say who is planned to perform it (Scheduled Performing Physician, OBR-34); None: nobody in particular."""
    require(by, "appointment.change")
    appointment, order = _locked(appointment)
    _check_version(appointment, version)
    if appointment.status not in LIVE:
        raise IllegalTransition(f"This appointment is {appointment.get_status_display().lower()}.")
    if performer is not None and not performer.active:
        raise BadValue(f"{performer} does not work here any more.", location="performer")
    if appointment.performer_id != (performer.pk if performer else None):
        appointment.performer = performer
        appointment.version += 1
        appointment.save(update_fields=["performer", "version"])
        _tell("appointment.changed", appointment, order, by=by, changed=["performer"])
    return appointment


@transaction.atomic
def cancel_appointment(
    appointment: Appointment, *, reason: str, by: User, version: int | None = None, at: datetime | None = None
) -> Appointment:
    """Give the time back; the order waits to be booked again."""
    require(by, "appointment.change")
    if not reason.strip():
        raise MissingData("Pick the reason for cancelling.", location="reason")
    appointment, order = _locked(appointment)
    _check_version(appointment, version)
    _end(appointment, AppointmentStatus.CANCELLED, reason=reason, at=at)
    orders.mark_unscheduled(order, at=at)
    _tell("appointment.cancelled", appointment, order, by=by)
    return appointment


def _end(appointment: Appointment, to: str, *, reason: str, at: datetime | None) -> None:
    appointment.move(to, at=at)
    appointment.cancel_reason = reason.strip()[:200]
    appointment.save(update_fields=["cancel_reason"])
    _move_steps(appointment, StepStatus.CANCELLED, at=at)


@transaction.atomic
def mark_no_show(appointment: Appointment, *, by: User, at: datetime | None = None) -> Appointment:
    """The patient did not come; the order waits to be booked again."""
    require(by, "appointment.change")
    appointment, order = _locked(appointment)
    if appointment.starts_at > (at or timezone.now()):
        raise IllegalTransition("The appointment is still to come.")
    _end(appointment, AppointmentStatus.NO_SHOW, reason="No-show", at=at)
    orders.mark_unscheduled(order, at=at)
    _tell("patient.no_show", appointment, order, by=by)
    return appointment


@transaction.atomic
def restore_appointment(appointment: Appointment, *, by: User, at: datetime | None = None) -> Appointment:
    """Undo a cancellation or no-show. Raises Conflict when the time has been given to somebody else."""
    require(by, "appointment.change")
    appointment, order = _locked(appointment)
    if order.status != OrderStatus.REQUESTED:
        raise IllegalTransition(f"The order is {order.get_status_display().lower()} by now.")
    _hold_resources(appointment.patient, appointment.room)
    try:
        with transaction.atomic():
            appointment.move(AppointmentStatus.BOOKED, at=at)
    except IntegrityError as problem:
        exam_type = order.procedures.select_related("procedure_type").first()
        assert exam_type is not None
        assert exam_type.procedure_type is not None
        raise _taken(problem, order, appointment.room, appointment.during, exam_type.procedure_type) from None
    _plan_steps(appointment)
    orders.mark_scheduled(order, at=at)
    _tell("appointment.booked", appointment, order, by=by)
    return appointment


@transaction.atomic
def confirm(appointment: Appointment, *, by: User, at: datetime | None = None) -> Appointment:
    """The patient has said they will come."""
    require(by, "appointment.change")
    appointment, order = _locked(appointment)
    appointment.move(AppointmentStatus.CONFIRMED, at=at)
    _tell("appointment.confirmed", appointment, order, by=by)
    return appointment


@transaction.atomic
def check_in(
    appointment: Appointment, *, by: User, version: int | None = None, at: datetime | None = None
) -> Appointment:
    """Record that the patient has come."""
    require(by, "appointment.check_in")
    appointment, order = _locked(appointment)
    _check_version(appointment, version)
    appointment.move(AppointmentStatus.ARRIVED, at=at)
    _move_steps(appointment, StepStatus.ARRIVED, at=at)
    _tell("patient.arrived", appointment, order, by=by)
    return appointment


@transaction.atomic
def undo_check_in(appointment: Appointment, *, by: User, at: datetime | None = None) -> Appointment:
    """Take back a check-in made on the wrong row."""
    require(by, "appointment.check_in")
    appointment, order = _locked(appointment)
    if appointment.status not in {AppointmentStatus.ARRIVED}:
        raise IllegalTransition(
            f"This patient is {appointment.get_status_display().lower()}; the check-in stands."
        )
    appointment.move(AppointmentStatus.BOOKED, at=at)
    appointment.arrived_at = None
    appointment.save(update_fields=["arrived_at"])
    _move_steps(appointment, StepStatus.SCHEDULED, at=at)
    _tell("patient.arrival_undone", appointment, order, by=by)
    return appointment


@transaction.atomic
def make_ready(appointment: Appointment, *, by: User, at: datetime | None = None) -> Appointment:
    """The patient is prepared and may be called to the room."""
    require(by, "appointment.check_in")
    appointment, order = _locked(appointment)
    appointment.move(AppointmentStatus.READY, at=at)
    _move_steps(appointment, StepStatus.READY, at=at)
    _tell("patient.ready", appointment, order, by=by)
    return appointment


@transaction.atomic
def undo_ready(appointment: Appointment, *, by: User, at: datetime | None = None) -> Appointment:
    """Take back a call to the room: the patient waits on."""
    require(by, "appointment.check_in")
    appointment, order = _locked(appointment)
    if appointment.status != AppointmentStatus.READY:
        raise IllegalTransition(f"This patient is {appointment.get_status_display().lower()} by now.")
    _back_to_waiting(appointment, at=at)
    _tell("patient.ready_undone", appointment, order, by=by)
    return appointment


def _back_to_waiting(appointment: Appointment, *, at: datetime | None) -> None:
    """Arrived again, since when they first came: the wait goes on."""
    came = appointment.arrived_at
    appointment.move(AppointmentStatus.ARRIVED, at=at)
    if came:
        appointment.arrived_at = came
        appointment.save(update_fields=["arrived_at"])
    _move_steps(appointment, StepStatus.ARRIVED, at=at)


@transaction.atomic
def cancel_order(order: Order, *, reason: str, by: User, at: datetime | None = None) -> Order:
    """Withdraw a request and its plan in one step, so that it leaves every worklist at once.

    Raises IllegalTransition once the exam has started (HL7: ORC-1 UC).
    """
    require(by, "order.cancel")
    if not reason.strip():
        raise MissingData("Pick the reason for cancelling.", location="reason")
    order = orders.locked(order)
    orders.mark_cancelled(order, reason=reason, at=at)
    for appointment in Appointment.objects.select_for_update().filter(order=order, status__in=LIVE):
        _end(appointment, AppointmentStatus.CANCELLED, reason=reason, at=at)
    record("order.cancelled", order.subject, by=by, patient=order.patient_id, order=order.pk)
    return order


@transaction.atomic
def replace_order(
    order: Order, new: orders.NewOrder, *, by: User, reason: str = "Replaced", at: datetime | None = None
) -> Order:
    """Withdraw `order` and place `new` instead, in the same room at the same time where that fits.

    Returns the new order. Raises IllegalTransition once the exam has started (HL7: ORC-1 UM).
    """
    require(by, "order.cancel")
    order = orders.locked(order)
    planned = order.appointments.select_related("room").filter(
        status__in=[AppointmentStatus.BOOKED, AppointmentStatus.CONFIRMED]
    ).first()  # fmt: skip
    orders.mark_cancelled(order, reason=reason, at=at)
    for appointment in Appointment.objects.select_for_update().filter(order=order, status__in=LIVE):
        _end(appointment, AppointmentStatus.CANCELLED, reason=reason, at=at)
    record("order.cancelled", order.subject, by=by, patient=order.patient_id, order=order.pk)
    placed = orders.place_order(replace(new, replaces=order), by=by, at=at)
    if planned is not None:
        try:
            with transaction.atomic():
                book(placed, room=planned.room, start=planned.starts_at, by=by, note=planned.note, at=at)
        except RisError:
            pass  # another room or a longer time is needed: the desk books it
    return Order.objects.select_related("patient", "facility").get(pk=placed.pk)


@transaction.atomic
def block_room(room: Room, *, start: datetime, end: datetime, reason: str, by: User) -> Block:
    """Keep a room free. What is booked there stays; the caller sees it listed."""
    require(by, "schedule.block")
    if not reason.strip():
        raise MissingData("Say why the room is blocked.", location="reason")
    if end <= start:
        raise BadValue("The block ends before it begins.", location="end")
    block = Block.objects.create(room=room, during=DateTimeTZRange(start, end), reason=reason.strip()[:80])
    _tell_block("room.blocked", block, by=by)
    return block


def _tell_block(fact: str, block: Block, *, by: User) -> None:
    """With its time and reason: when it is told of, the block may be gone."""
    starts, ends = block.span
    record(
        fact, f"room:{block.room_id}", by=by, block=block.pk, room=block.room_id, starts=starts.isoformat(),
        ends=ends.isoformat(), reason=block.reason,
    )  # fmt: skip


@transaction.atomic
def unblock_room(block: Block, *, by: User) -> None:
    require(by, "schedule.block")
    _tell_block("room.unblocked", block, by=by)
    block.delete()


def start_steps(order: Order, *, only: Collection[int] | None = None, at: datetime | None = None) -> None:
    """The exam has begun: the plan is fulfilled. Called by the exam's verbs, which hold the order's lock.

    `only` are the keys of the steps a modality has begun; None: all of them.
    """
    for appointment in Appointment.objects.select_for_update().filter(order=order, status__in=LIVE):
        if appointment.status != AppointmentStatus.FULFILLED:
            appointment.move(AppointmentStatus.FULFILLED, at=at)
        _move_steps(appointment, StepStatus.STARTED, only=only, at=at)


def reopen_steps(order: Order, *, at: datetime | None = None) -> bool:
    """The wrong entry was started (110514): back on the worklist. Whether there was a plan to go back to."""
    appointment = (
        Appointment.objects.select_for_update()
        .filter(order=order, status=AppointmentStatus.FULFILLED)
        .first()
    )
    if appointment is None:
        return False
    _move_steps(appointment, StepStatus.STARTED, at=at)  # one of several may have been completed
    _back_to_waiting(appointment, at=at)
    return True


def resume_steps(order: Order, *, at: datetime | None = None) -> None:
    """The exam had been ended too early: what was completed goes on."""
    for appointment in Appointment.objects.filter(order=order, status=AppointmentStatus.FULFILLED):
        _move_steps(appointment, StepStatus.STARTED, at=at)


def end_steps(order: Order, to: str, *, at: datetime | None = None) -> None:
    """The exam has ended: its steps are completed or discontinued; what was never begun leaves the worklist."""
    for appointment in Appointment.objects.filter(order=order, status=AppointmentStatus.FULFILLED):
        _move_steps(appointment, to, at=at)
        _move_steps(appointment, StepStatus.CANCELLED, at=at)


def end_some_steps(order: Order, keys: Collection[int], *, at: datetime | None = None) -> None:
    """A modality has completed these; the exam may need others yet."""
    for appointment in Appointment.objects.filter(order=order, status=AppointmentStatus.FULFILLED):
        _move_steps(appointment, StepStatus.COMPLETED, only=keys, at=at)


@transaction.atomic
def set_openings(room: Room, hours: Sequence[tuple[int, time, time]], *, by: User) -> None:
    """Replace a room's weekly hours, as (weekday, opens, closes). What is booked outside them stays booked.

    Raises BadValue for hours that end before they begin or overlap on one day.
    """
    require(by, "department.change")
    for weekday, opens, closes in hours:
        if opens >= closes:
            raise BadValue(f"{opens:%H:%M}–{closes:%H:%M} ends before it begins.", location=f"day{weekday}")
    planned = sorted(hours)
    for (day, _, until), (next_day, since, _) in pairwise(planned):
        if day == next_day and since < until:
            raise BadValue(f"Two spans overlap at {since:%H:%M}.", location=f"day{day}")
    Room.objects.select_for_update().get(pk=room.pk)
    Opening.objects.filter(room=room).delete()
    Opening.objects.bulk_create(
        Opening(room=room, weekday=weekday, opens=opens, closes=closes) for weekday, opens, closes in planned
    )
    record("department.changed", f"department:room:{room.pk}", by=by, record=room.pk, changed=["hours"])
