"""The day drawn: a column for each room, everything in minutes from the top."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Q

from ris.core import formats
from ris.department.models import Room
from scheduling.models import Block
from scheduling.slots import Slot, Span, free_spans, opening_spans
from scheduling.states import AppointmentStatus
from scheduling.worklists import Entry, Plan, day_span, entries_of

#: What is shown of a day on which nothing is open and nothing is booked.
_FROM, _UNTIL = timedelta(hours=7), timedelta(hours=18)

#: Status -> class and icon of its block (ux.md 3.4).
_LOOKS = {
    "booked": ("is-booked", "scheduled"),
    "confirmed": ("is-confirmed", "confirmed"),
    "late": ("is-late", "late"),
    "arrived": ("is-arrived", "arrived"),
    "ready": ("is-ready", "ready"),
    "started": ("is-started", "started"),
    "completed": ("is-done", "completed"),
    "discontinued": ("is-done", "stopped"),
    "no_show": ("is-noshow", "noshow"),
}


@dataclass(frozen=True)
class Box:
    """Something that takes room in a column."""

    top: int
    length: int
    #: closed, blocked, booked, gap or held.
    kind: str
    words: str = ""
    entry: Entry | None = None
    block: Block | None = None
    slot: Slot | None = None
    #: How many earlier ones it overlaps, and by how many minutes.
    shift: int = 0
    overlap: int = 0
    mine: bool = False

    @property
    def look(self) -> str:
        return _LOOKS[self.entry.status][0] if self.entry else ""

    @property
    def marks(self) -> list[tuple[str, str, str]]:
        """As many flags as fit beside the name."""
        return self.entry.marks[: 1 + (self.length >= 30) + (self.length >= 45)] if self.entry else []

    @property
    def icon(self) -> str:
        return _LOOKS[self.entry.status][1] if self.entry else ""


@dataclass(frozen=True)
class Column:
    room: Room
    boxes: list[Box]
    entries: list[Entry]
    #: Booked share of the open time, in per cent; None while the room is closed.
    share: int | None


@dataclass(frozen=True)
class Grid:
    start: datetime
    hours: list[tuple[int, datetime]]
    columns: list[Column]
    count: int


def day_grid(
    day: date,
    now: datetime,
    *,
    modalities: list[str],
    plan: Plan | None = None,
    chosen: Slot | None = None,
) -> Grid:
    """The rooms of `modalities` (all when empty) on `day`, with the free starts of a `plan`."""
    entries = entries_of(day, now)
    rooms = (
        Room.objects.filter(Q(active=True) | Q(pk__in={one.appointment.room_id for one in entries}))
        .select_related("facility")
        .prefetch_related("openings")
    )
    if modalities:
        rooms = rooms.filter(modality__in=modalities)
    shown = list(rooms)
    span = day_span(day)
    blocks = list(Block.objects.filter(room__in=shown, during__overlap=span).select_related("room"))
    openings = {room.pk: opening_spans(room, day) for room in shown}
    kept = {room.pk for room in shown}
    entries = [one for one in entries if one.appointment.room_id in kept]
    taken = [(one.appointment.starts_at, one.appointment.ends_at) for one in entries]
    start, end = _frame(span, [*taken, *(one for spans in openings.values() for one in spans)])
    draw = _Drawing(start, end, entries, blocks, plan, chosen)
    return Grid(
        start,
        [(at * 60, start + timedelta(hours=at)) for at in range(_minutes(end - start) // 60)],
        [draw.column(room, openings[room.pk]) for room in shown],
        len(entries),
    )


def _frame(day: Span, spans: list[Span]) -> Span:
    """Full hours from the first that is open or booked to the last."""
    first = min((start for start, _ in spans), default=day[0] + _FROM)
    last = max((end for _, end in spans), default=day[0] + _UNTIL)
    start = max(first, day[0])
    start -= timedelta(minutes=formats.local(start).minute, seconds=start.second)
    hours = -(-_minutes(min(last, day[1]) - start) // 60)
    return start, start + timedelta(hours=max(hours, 1))


def _minutes(gap: timedelta) -> int:
    return round(gap.total_seconds() / 60)


@dataclass(frozen=True)
class _Drawing:
    start: datetime
    end: datetime
    entries: list[Entry]
    blocks: list[Block]
    plan: Plan | None
    chosen: Slot | None

    def column(self, room: Room, openings: list[Span]) -> Column:
        entries = [one for one in self.entries if one.appointment.room_id == room.pk]
        live = [one for one in entries if one.status != AppointmentStatus.NO_SHOW]
        blocks = [one for one in self.blocks if one.room_id == room.pk]
        boxes = [
            *self._closed(openings),
            *(self._box(one.span, "blocked", one.reason, block=one) for one in blocks),
            *self._gaps(room),
            *self._missed(entries, live),
            *self._booked(live),
        ]  # fmt: skip
        if self.chosen and self.chosen.room.pk == room.pk:
            boxes.append(self._box((self.chosen.start, self.chosen.end), "held", slot=self.chosen))
        boxes.sort(key=lambda box: box.top)
        return Column(room, boxes, entries, _share(openings, live, blocks))

    def _box(self, span: Span, kind: str, words: str = "", **more: object) -> Box:
        top, end = max(span[0], self.start), min(span[1], self.end)
        return Box(_minutes(top - self.start), max(_minutes(end - top), 5), kind, words, **more)  # type: ignore[arg-type]

    def _closed(self, openings: list[Span]) -> list[Box]:
        if not openings:
            return [self._box((self.start, self.end), "closed", "Closed")]
        shut = free_spans([(self.start, self.end)], openings)
        return [
            self._box((since, until), "closed", f"Closed until {formats.clock(until)}" if until < self.end else "Closed")
            for since, until in shut
            if until - since >= timedelta(minutes=5)
        ]  # fmt: skip

    def _gaps(self, room: Room) -> list[Box]:
        step = timedelta(minutes=15)
        return [
            self._box((slot.start, slot.start + step), "gap", slot=slot)
            for slot in (self.plan.gaps if self.plan else [])
            if slot.room.pk == room.pk and slot != self.chosen
        ]

    def _missed(self, entries: list[Entry], live: list[Entry]) -> list[Box]:
        """Those who did not come, unless the time has been given to somebody else."""
        return [
            self._box(_span(one), "booked", entry=one)
            for one in entries
            if one.status == AppointmentStatus.NO_SHOW
            and not any(_overlap(_span(one), _span(other)) for other in live)
        ]

    def _booked(self, live: list[Entry]) -> list[Box]:
        moving = self.plan.appointment if self.plan else None
        boxes = []
        for at, one in enumerate(live):
            others = [_overlap(_span(one), _span(other)) for other in live if other is not one]
            boxes.append(
                self._box(
                    _span(one),
                    "booked",
                    entry=one,
                    shift=min(sum(_overlap(_span(one), _span(other)) > 0 for other in live[:at]), 2),
                    overlap=max(others, default=0),
                    mine=bool(moving and moving.pk == one.appointment.pk),
                )
            )
        return boxes


def _span(entry: Entry) -> Span:
    return entry.appointment.starts_at, entry.appointment.ends_at


def _overlap(one: Span, other: Span) -> int:
    """Minutes that both take."""
    return max(_minutes(min(one[1], other[1]) - max(one[0], other[0])), 0)


def _share(openings: list[Span], live: list[Entry], blocks: list[Block]) -> int | None:
    """Booked minutes of those that are open and not blocked."""
    shut = [one.span for one in blocks]
    open_minutes = sum(_minutes(end - start) for start, end in free_spans(openings, shut))
    booked = sum(_minutes(end - start) for start, end in map(_span, live))
    return min(round(100 * booked / open_minutes), 100) if open_minutes else None
