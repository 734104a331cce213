"""Finding free time: opening hours less blocks less live appointments."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.utils import timezone

from ris.department.models import ProcedureType, Room
from ris.patients.models import Patient
from scheduling.models import Appointment, Block, Opening
from scheduling.states import LIVE

#: Starts offered to people lie on this grid.
GRID = timedelta(minutes=15)

Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Slot:
    room: Room
    start: datetime
    end: datetime


def local_zone(room: Room) -> ZoneInfo:
    return ZoneInfo(room.facility.timezone)


def opening_spans(room: Room, day: date, openings: Iterable[Opening] | None = None) -> list[Span]:
    """When the room is open on `day` of its own calendar, as aware datetimes."""
    zone = local_zone(room)
    hours = openings if openings is not None else room.openings.all()
    return [
        (datetime.combine(day, opening.opens, zone), datetime.combine(day, opening.closes, zone))
        for opening in hours
        if opening.weekday == day.weekday()
    ]


def free_spans(spans: Iterable[Span], taken: Iterable[Span]) -> Iterator[Span]:
    """`spans` less `taken`; both as (start, end)."""
    busy = sorted(taken)
    for start, end in sorted(spans):
        at = start
        for taken_from, taken_until in busy:
            if taken_until <= at or taken_from >= end:
                continue
            if taken_from > at:
                yield at, taken_from
            at = max(at, taken_until)
        if at < end:
            yield at, end


def rooms_for(procedure_type: ProcedureType) -> list[Room]:
    """The rooms that can do the exam."""
    return list(
        Room.objects.filter(modality=procedure_type.modality, active=True)
        .select_related("facility")
        .prefetch_related("openings")
    )


def find_slots(
    procedure_type: ProcedureType,
    *,
    start: datetime,
    days: int = 14,
    room: Room | None = None,
    patient: Patient | None = None,
    moving: Appointment | None = None,
    between: tuple[time, time] = (time.min, time.max),
    step: timedelta | None = None,
    limit: int = 6,
    now: datetime | None = None,
) -> list[Slot]:
    """The first `limit` free times from `start` on, soonest first, over every room that can do the exam.

    Times when `patient` is elsewhere in the department are left out; `moving` does not stand in its own
    way. `between` keeps the starts of each day within these hours. In a longer gap starts follow each other
    by the exam's length, or by `step`.
    """
    earliest = max(start, now or timezone.now())
    rooms = [one for one in rooms_for(procedure_type) if room is None or one.pk == room.pk]
    # A day more on both ends: the last day is searched to its end, in whichever zone its room lies.
    until = earliest + timedelta(days=days + 2)
    live = Appointment.objects.filter(status__in=LIVE, during__overlap=(earliest, until)).only(
        "room", "during"
    )
    if moving:
        live = live.exclude(pk=moving.pk)
    taken: dict[int, list[Span]] = {one.pk: [] for one in rooms}
    for appointment in live.filter(room__in=rooms):
        taken[appointment.room_id].append((appointment.starts_at, appointment.ends_at))
    for block in Block.objects.filter(room__in=rooms, during__overlap=(earliest, until)):
        taken[block.room_id].append(block.span)
    if patient:
        elsewhere = [(one.starts_at, one.ends_at) for one in live.filter(patient=patient)]
        for spans in taken.values():
            spans.extend(elsewhere)
    search = _Search(
        earliest,
        days,
        timedelta(minutes=procedure_type.duration_minutes),
        step or timedelta(),
        between,
        limit,
    )
    found = [slot for one in rooms for slot in search.slots_of(one, taken[one.pk])]
    found.sort(key=lambda slot: (slot.start, slot.room.position))
    return found[:limit]


@dataclass(frozen=True)
class _Search:
    """What `find_slots` looks for in each room."""

    earliest: datetime
    days: int
    needed: timedelta
    step: timedelta
    between: tuple[time, time]
    limit: int

    def slots_of(self, room: Room, taken: list[Span]) -> Iterator[Slot]:
        zone = local_zone(room)
        first_day = self.earliest.astimezone(zone).date()
        openings = list(room.openings.all())
        given = 0
        for offset in range(self.days + 1):
            spans = opening_spans(room, first_day + timedelta(days=offset), openings)
            for free_from, free_until in free_spans(spans, taken):
                at = _on_grid(max(free_from, self.earliest), zone)
                while at + self.needed <= free_until and given < self.limit:
                    if self.between[0] <= at.time() < self.between[1]:
                        yield Slot(room, at, at + self.needed)
                        given += 1
                    at = _on_grid(at + (self.step or self.needed), zone)


def _on_grid(moment: datetime, zone: ZoneInfo) -> datetime:
    """The first quarter of an hour at or after `moment`, in the room's zone."""
    over = (moment.minute * 60 + moment.second) % int(GRID.total_seconds())
    rounded = moment.replace(microsecond=0)
    if over or moment.microsecond:
        rounded += GRID - timedelta(seconds=over)
    return rounded.astimezone(zone)
