"""Finding free time: opening hours less blocks less live appointments."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.utils import timezone

from ris.department.models import ProcedureType, Room
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
    limit: int = 6,
    now: datetime | None = None,
) -> list[Slot]:
    """The first `limit` free times from `start` on, soonest first, over every room that can do the exam."""
    earliest = max(start, now or timezone.now())
    rooms = [one for one in rooms_for(procedure_type) if room is None or one.pk == room.pk]
    until = earliest + timedelta(days=days)
    taken: dict[int, list[Span]] = {one.pk: [] for one in rooms}
    for model, extra in ((Appointment, {"status__in": LIVE}), (Block, {})):
        rows = model._default_manager.filter(room__in=rooms, during__overlap=(earliest, until), **extra)
        for room_id, during in rows.values_list("room_id", "during"):
            assert during.lower is not None, "the database refuses open ends"
            assert during.upper is not None, "the database refuses open ends"
            taken[room_id].append((during.lower, during.upper))
    needed = timedelta(minutes=procedure_type.duration_minutes)
    found: list[Slot] = []
    for one in rooms:
        found.extend(_slots_of_room(one, earliest, days, needed, taken[one.pk], limit))
    found.sort(key=lambda slot: (slot.start, slot.room.position))
    return found[:limit]


def _slots_of_room(
    room: Room, earliest: datetime, days: int, needed: timedelta, taken: list[Span], limit: int
) -> Iterator[Slot]:
    zone = local_zone(room)
    first_day = earliest.astimezone(zone).date()
    openings = list(room.openings.all())
    given = 0
    for offset in range(days + 1):
        for free_from, free_until in free_spans(
            opening_spans(room, first_day + timedelta(days=offset), openings), taken
        ):
            at = _on_grid(max(free_from, earliest), zone)
            while at + needed <= free_until and given < limit:
                yield Slot(room, at, at + needed)
                given += 1
                at = _on_grid(at + needed, zone)


def _on_grid(moment: datetime, zone: ZoneInfo) -> datetime:
    """The first quarter of an hour at or after `moment`, in the room's zone."""
    over = (moment.minute * 60 + moment.second) % int(GRID.total_seconds())
    rounded = moment.replace(microsecond=0)
    if over or moment.microsecond:
        rounded += GRID - timedelta(seconds=over)
    return rounded.astimezone(zone)
