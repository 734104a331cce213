"""What the board and the schedule show of a day; reads only."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import cached_property
from statistics import median
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Case, Count, IntegerField, Max, Prefetch, QuerySet, Sum, Value, When
from django.utils import timezone

from ris.accounts.models import User
from ris.core import formats
from ris.core.errors import NotFound
from ris.core.names import fold
from ris.department.models import Laterality, Modality, ProcedureType, Room
from ris.orders.access import orders_for
from ris.orders.models import Order, RequestedProcedure
from ris.orders.states import OrderStatus, Priority
from ris.patients.models import PatientClass
from ris.safety.passport import Passport, fingerprint, passports_for
from scheduling.models import Appointment, Block
from scheduling.slots import GRID, Slot, Span, find_slots, local_zone, opening_spans
from scheduling.states import LIVE, PENDING, AppointmentStatus

# Own figures, in minutes; no source gives any.
LATE_AFTER = timedelta(minutes=5)
NO_SHOW_AFTER = timedelta(minutes=20)
SOON = timedelta(minutes=90)
JUST_LEFT = timedelta(minutes=60)
WAIT_TARGET, WAIT_TARGET_STAT = 20, 10
WAIT_TARGETS = {Modality.XR: 15, Modality.CR: 15}

#: Rows a list of waiting requests holds; the rest is told by number.
REQUESTS_SHOWN = 60
PROPOSALS, HEAT_DAYS = 6, 14
PARTS_OF_DAY = {"": (time.min, time.max), "am": (time.min, time(12)), "pm": (time(12), time.max)}

_TRANSPORT = {
    "WHLC": ("wheel", "Wheelchair", "mut"),
    "CART": ("bed", "Stretcher", "mut"),
    "PORT": ("bed", "Portable", "mut"),
}
#: Where an exam stands once the appointment has begun.
_BEGUN = {OrderStatus.IN_PROGRESS: "started", OrderStatus.DISCONTINUED: "discontinued"}


def modality_word(code: str) -> str:
    """XR: what people call DX."""
    return "XR" if code == Modality.XR else code


def modalities() -> list[tuple[str, str]]:
    """(code, word) of what the department has rooms for, in the order of its rooms."""
    found = Room.objects.filter(active=True).values_list("modality", flat=True)
    return [(code, modality_word(code)) for code in dict.fromkeys(found)]


def day_span(day: date) -> Span:
    """The facility's calendar day; 23 or 25 hours when the clocks change."""
    zone = ZoneInfo(settings.RIS_FACILITY_TZ)
    return datetime.combine(day, time.min, zone), datetime.combine(day + timedelta(days=1), time.min, zone)


def appointments_of(day: date) -> QuerySet[Appointment]:
    """All that hold a room on `day`, and those who did not come."""
    return (
        Appointment.objects.filter(
            during__overlap=day_span(day), status__in=[*LIVE, AppointmentStatus.NO_SHOW]
        )
        .select_related("patient", "room__facility", "order__visit", "order__ordering")
        .prefetch_related(
            "patient__identifiers",
            Prefetch("order__procedures", RequestedProcedure.objects.select_related("procedure_type")),
        )
        .order_by("during", "pk")
    )


def day_version(day: date, now: datetime) -> str:
    """Changes with every appointment, order and block of the day, and each minute: waits are told in minutes."""
    span = day_span(day)
    row = Appointment.objects.filter(during__overlap=span).aggregate(
        n=Count("pk"), moves=Sum("version"), orders=Sum("order__version"), last=Max("status_at")
    )
    blocks = Block.objects.filter(during__overlap=span).aggregate(n=Count("pk"), last=Max("pk"))
    minute = int(now.timestamp() // 60) if span[0] <= now < span[1] else 0
    newest = row["last"].timestamp() if row["last"] else 0
    return f"{row['n']}-{row['moves']}-{row['orders']}-{newest:.3f}-{blocks['n']}-{blocks['last']}-{minute}"


def board_version(day: date, now: datetime) -> str:
    """The day's, and whatever is known of safety: the board shows both."""
    return f"{day_version(day, now)}-{fingerprint()}"


@dataclass(frozen=True)
class Entry:
    """One appointment as it stands at `now`."""

    appointment: Appointment
    now: datetime
    namesake: str = ""
    #: Where the list shows whether the exam may go on today.
    passport: Passport | None = None

    @cached_property
    def status(self) -> str:
        """The word of ux.md 3.4; "late" is told by the clock, not stored."""
        stored = self.appointment.status
        if stored == AppointmentStatus.FULFILLED:
            return _BEGUN.get(OrderStatus(self.appointment.order.status), "completed")
        return "late" if self.is_late else stored

    @property
    def is_expected(self) -> bool:
        return self.appointment.status in {AppointmentStatus.BOOKED, AppointmentStatus.CONFIRMED}

    @property
    def is_waiting(self) -> bool:
        return self.appointment.status in {AppointmentStatus.ARRIVED, AppointmentStatus.READY}

    @property
    def is_over(self) -> bool:
        return self.status in {"completed", "discontinued"}

    @property
    def has_come(self) -> bool:
        return not self.is_expected and self.status != AppointmentStatus.NO_SHOW

    @property
    def is_late(self) -> bool:
        return self.is_expected and self.now > self.appointment.starts_at + LATE_AFTER

    @property
    def seems_lost(self) -> bool:
        """Late beyond the grace time: the row offers the no-show."""
        return self.is_expected and self.now > self.no_show_at

    @property
    def no_show_at(self) -> datetime:
        return self.appointment.starts_at + NO_SHOW_AFTER

    @property
    def late_minutes(self) -> int:
        return _minutes(self.now - self.appointment.starts_at)

    @property
    def length(self) -> int:
        return _minutes(self.appointment.ends_at - self.appointment.starts_at)

    @cached_property
    def procedures(self) -> list[RequestedProcedure]:
        return list(self.appointment.order.procedures.all())

    @property
    def exam(self) -> str:
        return ", ".join(one.label for one in self.procedures)

    @property
    def contrast(self) -> bool:
        return any(one.procedure_type and one.procedure_type.contrast for one in self.procedures)

    @property
    def came_at(self) -> datetime | None:
        return self.appointment.arrived_at

    @property
    def ended_at(self) -> datetime | None:
        order = self.appointment.order
        return (order.performed_at or order.status_at) if self.is_over else None

    @property
    def wait(self) -> int | None:
        """Minutes since the patient came, while they wait."""
        return _minutes(self.now - self.came_at) if self.is_waiting and self.came_at else None

    @property
    def target(self) -> int:
        if self.appointment.order.priority == Priority.STAT:
            return WAIT_TARGET_STAT
        return WAIT_TARGETS.get(Modality(self.appointment.room.modality), WAIT_TARGET)

    @property
    def wait_tone(self) -> str:
        wait = self.wait or 0
        if wait > self.target:
            return "stop"
        return "wait" if wait > self.target * 0.8 else "info"

    @property
    def edge(self) -> str:
        """The bar at the left of the row."""
        if self.is_waiting and self.wait_tone == "stop":
            return "edge-stop"
        return "edge-wait" if self.is_late else ""

    @property
    def checks(self) -> list[tuple[str, str]]:
        """What the record itself can tell to be ready; nothing is assumed."""
        sided = any(
            one.procedure_type and one.procedure_type.laterality != Laterality.NONE for one in self.procedures
        )
        order = self.appointment.order
        return [
            ("Identity", "done" if self.has_come else "todo"),
            (
                "Side",
                ("done" if all(one.side for one in self.procedures) else "progress") if sided else "none",
            ),
            *([("Safety", self.passport.check)] if self.passport else []),
            ("Reason", "done" if order.reason else "progress"),
            ("Referrer", "done" if order.ordering_id else "progress"),
        ]

    @property
    def needs_you(self) -> bool:
        """Something about the request is still open and the patient has not left."""
        open_ones = {what for what, state in self.checks if state == "progress"}
        return not self.is_over and bool(open_ones - {"Safety"})

    @property
    def flags(self) -> list[tuple[str, str, str]]:
        """(icon, words, tone), the dangerous first."""
        patient, order = self.appointment.patient, self.appointment.order
        found = [("warn", words, "") for words in (patient.allergies, patient.alerts) if words]
        if patient.language and not patient.language.lower().startswith("en"):
            found.append(("globe", patient.language, "wait"))
        if order.transport in _TRANSPORT:
            found.append(_TRANSPORT[order.transport])
        if self.namesake:
            found.append(("people", self.namesake, "wait"))
        return found

    @property
    def marks(self) -> list[tuple[str, str, str]]:
        """The flags of a block in the grid."""
        drop = [("drop", "Contrast", "wait")] if self.contrast else []
        return [*self.flags[:2], *drop]

    @property
    def ward(self) -> str:
        """ED, or where an inpatient lies."""
        visit = self.appointment.order.visit
        if visit is None:
            return ""
        if visit.patient_class == PatientClass.EMERGENCY:
            return "ED"
        return (visit.location or "Inpatient") if visit.patient_class == PatientClass.INPATIENT else ""


def _minutes(gap: timedelta) -> int:
    return int(gap.total_seconds() // 60)


def entries_of(day: date, now: datetime) -> list[Entry]:
    """The day's appointments, those easily mixed up marked: same surname, or same birthday, other patient."""
    rows = list(appointments_of(day))
    present = [row for row in rows if row.status in PENDING]
    families = Counter({(fold(row.patient.family), row.patient_id) for row in present})
    surnames = Counter(family for family, _ in families)
    birthdays = Counter(born for born, _ in {(row.patient.birth_date, row.patient_id) for row in present})

    def namesake(row: Appointment) -> str:
        if row.status not in PENDING:
            return ""
        family, born = fold(row.patient.family), row.patient.birth_date
        if surnames[family] > 1:
            return f"Same surname{_where(present, row, lambda one: fold(one.patient.family) == family)}"
        if len(born) == 10 and birthdays[born] > 1:
            return f"Same birthday{_where(present, row, lambda one: one.patient.birth_date == born)}"
        return ""

    return [Entry(row, now, namesake(row)) for row in rows]


def with_safety(entries: list[Entry]) -> list[Entry]:
    """The same with their passports, those of patients who are still to be examined."""
    passports = passports_for(one.appointment.order for one in entries if not one.is_over)
    return [replace(one, passport=passports.get(one.appointment.order_id)) for one in entries]


def _where(present: list[Appointment], row: Appointment, alike: Callable[[Appointment], bool]) -> str:
    other = next(one for one in present if one.patient_id != row.patient_id and alike(one))
    return f" in {other.room.name}"


@dataclass(frozen=True)
class Kpi:
    key: str
    number: int
    word: str
    note: str
    tone: str = ""


@dataclass(frozen=True)
class Group:
    key: str
    title: str
    note: str
    entries: list[Entry]
    #: How many more there are, behind a link.
    more: int = 0


@dataclass(frozen=True)
class Board:
    kpis: list[Kpi]
    groups: list[Group]
    count: int


_FILTERS: dict[str, Callable[[Entry], bool]] = {
    "in": lambda entry: entry.has_come,
    "waiting": lambda entry: entry.is_waiting,
    "over": lambda entry: entry.wait_tone == "stop",
    "late": lambda entry: entry.is_late or entry.status == AppointmentStatus.NO_SHOW,
    "rooms": lambda entry: entry.status == "started",
    "needs": lambda entry: entry.needs_you,
}


def board(
    entries: list[Entry], now: datetime, *, modality: str = "", only: str = "", whole: bool = False
) -> Board:
    """The arrivals of a day. `only` names a figure of the strip; `whole` shows what is far off or long gone."""
    entries = [entry for entry in entries if not modality or entry.appointment.room.modality == modality]
    kpis = _kpis(entries)
    chosen = [entry for entry in entries if only not in _FILTERS or _FILTERS[only](entry)]
    waiting = sorted((one for one in chosen if one.is_waiting), key=lambda one: one.came_at or now)
    expected = [one for one in chosen if one.is_expected]
    gone = sorted((one for one in chosen if one.is_over), key=lambda one: one.ended_at or now, reverse=True)
    everything = whole or only in _FILTERS
    soon = [one for one in expected if everything or one.appointment.starts_at <= now + SOON]
    left = [one for one in gone if everything or (one.ended_at or now) >= now - JUST_LEFT]
    groups = [
        Group("waiting", "Waiting", _waiting_note(waiting), waiting),
        Group(
            "expected", "Expected" if everything else "Expected next 90 min", _expected_note(soon), soon,
            len(expected) - len(soon),
        ),
        Group("rooms", "In rooms", "", [one for one in chosen if one.status == "started"] if everything else []),
        Group("leaving", "Leaving", f"{len(gone)} done today" if gone else "", left, len(gone) - len(left)),
        Group("lost", "No-show", "", [one for one in chosen if one.status == "no_show"] if everything else []),
    ]  # fmt: skip
    return Board(kpis, [group for group in groups if group.entries or group.more], len(entries))


def _waiting_note(waiting: list[Entry]) -> str:
    longest = max((one.wait or 0 for one in waiting), default=0)
    return f"{len(waiting)} · longest {formats.minutes(longest)}"


def _expected_note(expected: list[Entry]) -> str:
    late = sum(one.is_late for one in expected)
    return f"{len(expected)} · {late} late" if late else str(len(expected))


def _kpis(entries: list[Entry]) -> list[Kpi]:
    by = {key: [entry for entry in entries if test(entry)] for key, test in _FILTERS.items()}
    waits = [entry.wait or 0 for entry in by["waiting"]]
    lost = sum(entry.status == AppointmentStatus.NO_SHOW for entry in entries)
    late = len(by["late"]) - lost
    done = sum(entry.is_over for entry in entries)
    return [
        Kpi("in", len(by["in"]), "Checked in", f"of {len(entries) - lost} today"),
        Kpi("waiting", len(waits), "Waiting", f"median {formats.minutes(median(waits))}" if waits else "nobody"),
        Kpi("over", len(by["over"]), "Over target", "target none", "stop" if by["over"] else ""),
        Kpi("late", late, "Late", f"{lost} no-show{'' if lost == 1 else 's'} so far", "wait" if late else ""),
        Kpi("rooms", len(by["rooms"]), "In rooms", f"{done} done today"),
        Kpi("needs", len(by["needs"]), "Need you", "reason or referrer open", "wait" if by["needs"] else ""),
    ]  # fmt: skip


@dataclass(frozen=True)
class RoomCard:
    """What happens in a room right now: busy, free, closed or down."""

    room: Room
    state: str
    end: str
    line: str
    elapsed: int = 0
    planned: int = 0
    tone: str = "info"


def room_cards(entries: list[Entry], now: datetime, *, modality: str = "") -> list[RoomCard]:
    rooms = Room.objects.filter(active=True).select_related("facility").prefetch_related("openings")
    if modality:
        rooms = rooms.filter(modality=modality)
    down = {block.room_id: block for block in Block.objects.filter(during__contains=now)}
    by_room: dict[int, list[Entry]] = {}
    for entry in entries:
        by_room.setdefault(entry.appointment.room_id, []).append(entry)
    return [_room_card(room, by_room.get(room.pk, []), down.get(room.pk), now) for room in rooms]


def _room_card(room: Room, entries: list[Entry], block: Block | None, now: datetime) -> RoomCard:
    inside = next((entry for entry in entries if entry.status == "started"), None)
    if inside:
        elapsed = _minutes(now - (inside.appointment.fulfilled_at or now))
        over = elapsed > inside.length
        end = f"{elapsed - inside.length} min over" if over else f"{elapsed} of {inside.length} min"
        line = f"{_short(inside)} · {inside.exam}"
        return RoomCard(room, "busy", end, line, elapsed, inside.length, "wait" if over else "info")
    if block:
        return RoomCard(room, "down", f"until {formats.clock(block.span[1])}", block.reason)
    following = min(
        (entry for entry in entries if entry.is_waiting or entry.is_expected),
        key=lambda entry: (not entry.is_waiting, entry.came_at or entry.appointment.starts_at),
        default=None,
    )
    if following is None:
        line = "Nobody more today"
    elif following.is_waiting:
        line = f"Next {_short(following)} · {following.appointment.get_status_display().lower()}"
    else:
        line = f"Next {_short(following)} · {formats.clock(following.appointment.starts_at)}"
    spans = opening_spans(room, now.astimezone(local_zone(room)).date())
    if not any(opens <= now < closes for opens, closes in spans):
        opens_at = next((opens for opens, _ in sorted(spans) if opens > now), None)
        return RoomCard(room, "closed", f"opens {formats.clock(opens_at)}" if opens_at else "Closed", line)
    left = max((entry.ended_at for entry in entries if entry.ended_at), default=None)
    return RoomCard(room, "free", f"Free {formats.minutes(now - left)}" if left else "Free", line)


def _short(entry: Entry) -> str:
    name = entry.appointment.patient.name
    return ", ".join(part for part in (name.family.upper(), name.given) if part)


def waiting_requests(user: User, *, chosen: Iterable[str] = ()) -> QuerySet[Order]:
    """Orders that wait to be booked: STAT first, then by priority and age."""
    rank = Case(
        *[When(priority=code, then=Value(at)) for at, code in enumerate(Priority.values)],
        default=Value(len(Priority.values)),
        output_field=IntegerField(),
    )
    orders = orders_for(user).filter(status=OrderStatus.REQUESTED)
    if wanted := list(chosen):
        # A subquery: a join would repeat an order of two exams.
        of_them = RequestedProcedure.objects.filter(procedure_type__modality__in=wanted)
        orders = orders.filter(pk__in=of_them.values("order"))
    return orders.order_by(rank, "ordered_at", "pk")


def requests_version(user: User) -> str:
    row = (
        waiting_requests(user).order_by().aggregate(n=Count("pk"), sum=Sum("version"), last=Max("status_at"))
    )
    return f"{row['n']}-{row['sum']}-{row['last'].timestamp() if row['last'] else 0:.3f}"


@dataclass(frozen=True)
class Proposal:
    number: int
    slot: Slot
    #: What speaks for it.
    note: str

    @property
    def day(self) -> date:
        return formats.local(self.slot.start).date()


@dataclass(frozen=True)
class Plan:
    """Finding a time for an order; with an `appointment`, a better one."""

    order: Order
    appointment: Appointment | None
    exam: ProcedureType | None
    #: Why no time can be looked for.
    problem: str
    proposals: list[Proposal]
    #: Free times by day, from the first on.
    heat: list[tuple[date, int]]
    #: Every start that would fit on the day shown.
    gaps: list[Slot]

    @property
    def label(self) -> str:
        return ", ".join(one.label for one in self.order.procedures.all())


def plan_for(
    order: Order,
    *,
    day: date,
    since: date,
    now: datetime,
    appointment: Appointment | None = None,
    part: str = "",
) -> Plan:
    """Where `order` would fit: proposals from `since` on, and each free start of `day`."""
    procedures = list(order.procedures.all())
    exam = procedures[0].procedure_type if procedures else None
    problem = ""
    if appointment is None and order.status != OrderStatus.REQUESTED:
        problem = f"This order is {order.get_status_display().lower()}. Only a requested one can be booked."
    elif appointment and appointment.status not in {AppointmentStatus.BOOKED, AppointmentStatus.CONFIRMED}:
        problem = f"This patient is {appointment.get_status_display().lower()}; the time can no longer move."
    elif exam is None:
        problem = "The exam code of this order is not known yet. Match it first."
    elif exam.laterality == Laterality.REQUIRED and not procedures[0].side:
        problem = "The side of the exam is missing. Give it before booking."
    if problem or exam is None:
        return Plan(order, appointment, exam, problem, [], [], [])
    between = PARTS_OF_DAY.get(part, PARTS_OF_DAY[""])
    found = find_slots(
        exam, start=day_span(since)[0], days=HEAT_DAYS - 1, patient=order.patient, moving=appointment,
        between=between, limit=5000, now=now,
    )  # fmt: skip
    per_day = Counter(formats.local(slot.start).date() for slot in found)
    heat = [(since + timedelta(days=n), per_day[since + timedelta(days=n)]) for n in range(HEAT_DAYS)]
    visits = {
        formats.local(one.starts_at).date(): one
        for one in Appointment.objects.filter(patient=order.patient, status__in=PENDING)
        .exclude(order=order)
        .select_related("room")
    }
    proposals = [
        Proposal(number, slot, _note(slot, visits.get(formats.local(slot.start).date()), now))
        for number, slot in enumerate(found[:PROPOSALS], 1)
    ]
    starts, ends = day_span(day)
    gaps = [
        slot
        for slot in find_slots(
            exam,
            start=starts,
            days=0,
            patient=order.patient,
            moving=appointment,
            step=GRID,
            limit=5000,
            now=now,
        )
        if starts <= slot.start < ends
    ]
    return Plan(order, appointment, exam, "", proposals, heat, gaps)


def _note(slot: Slot, same_day: Appointment | None, now: datetime) -> str:
    if same_day:
        return f"same day as {formats.clock(same_day.starts_at)} {same_day.room.name}"
    days = (formats.local(slot.start).date() - formats.local(now).date()).days
    when = formats.relative(slot.start, now) if not days else "tomorrow" if days == 1 else f"in {days} days"
    return " · ".join(part for part in (when, slot.room.detail) if part)


def slot_at(room_id: int, start: datetime, exam: ProcedureType) -> Slot:
    """The time a person points at. Raises NotFound for a room that is not there."""
    room = Room.objects.select_related("facility").filter(pk=room_id, active=True).first()
    if room is None:
        raise NotFound("There is no such room.")
    return Slot(room, start, start + timedelta(minutes=exam.duration_minutes))


def affected_by(block: Block) -> list[Entry]:
    """Who is booked while the room is blocked."""
    rows = (
        Appointment.objects.filter(room=block.room_id, during__overlap=block.during, status__in=PENDING)
        .select_related("patient", "order", "room")
        .prefetch_related(
            "patient__identifiers",
            Prefetch("order__procedures", RequestedProcedure.objects.select_related("procedure_type")),
        )
        .order_by("during")
    )
    now = timezone.now()
    return [Entry(row, now) for row in rows]
