"""The radar: whatever waits longer for its next event than the rules allow, by one statement a kind."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any
from zlib import crc32
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import Max, Min
from django.utils import timezone

from ris.accounts.models import Role, User
from ris.accounts.permissions import RIGHTS, allowed
from ris.core.formats import minutes
from ris.core.stuck import Fix, Kind, Stuck, kinds
from ris.department.models import Facility
from ris.desk.models import RadarAct, RadarNote, RadarRule
from ris.patients.models import Patient
from scheduling.models import Opening

#: Of each kind the oldest are shown; a list that is longer says so.
MOST = 100


@dataclass(frozen=True)
class Deadline:
    """A kind's minutes at one site, by priority."""

    routine: int
    urgent: int
    stat: int
    active: bool = True

    def of(self, priority: str) -> int:
        return {"stat": self.stat, "routine": self.routine, "": self.routine}.get(priority, self.urgent)


@dataclass
class Item:
    """A row of the radar."""

    kind: Kind
    row: Stuck
    due_at: datetime
    words: str
    fix: Fix | None
    priority: str
    facility: str
    exam: str
    patient: Patient | None = None
    owner: User | None = None
    snoozed: RadarNote | None = None
    #: Whether the reader's role is the one to act.
    mine: bool = False

    @property
    def key(self) -> str:
        return f"{self.kind.name}:{self.row.id}"

    def late(self, now: datetime) -> str:
        """2 h: what is late for days needs no minutes."""
        gone = max(round((now - self.due_at).total_seconds() / 60), 0)
        unit = 1 if gone < 60 else 60 if gone < 1440 else 1440
        return minutes(gone // unit * unit)


@dataclass
class Look:
    """What one look found."""

    at: datetime
    items: list[Item]
    #: Kinds of which more wait than are shown.
    cut: list[Kind] = field(default_factory=list)

    @property
    def version(self) -> str:
        """Changes with whatever the list shows; the minute counts, because lateness does."""
        shown = "|".join(
            f"{one.key},{one.owner.pk if one.owner else 0},{bool(one.snoozed)}" for one in self.items
        )
        return f"{self.at:%H%M}-{crc32(shown.encode()):x}"


# Rows of a kind, held against the deadline of their site and priority. The longest late stand first.
_LATE = """
(WITH waiting AS MATERIALIZED ({sql})
SELECT '{name}', waiting.id, waiting.order_id, waiting.since, waiting.detail, o.accession_number, o.priority,
       o.patient_id, facility.id, facility.name
FROM waiting
LEFT JOIN orders_order o ON o.id = waiting.order_id
LEFT JOIN department_facility facility ON facility.id = COALESCE(waiting.facility_id, o.facility_id)
LEFT JOIN jsonb_to_recordset(%(sites{n})s) AS site (id bigint, routine int, urgent int, stat int)
    ON site.id = facility.id
WHERE waiting.since <= %(now)s - interval '1 minute' * CASE COALESCE(o.priority, 'routine')
    WHEN 'routine' THEN COALESCE(site.routine, %(routine{n})s)
    WHEN 'stat' THEN COALESCE(site.stat, %(stat{n})s)
    ELSE COALESCE(site.urgent, %(urgent{n})s) END
ORDER BY waiting.since, waiting.id LIMIT %(limit)s)
"""

_EXAMS = """
SELECT p.order_id, string_agg(COALESCE(t.name, NULLIF(p.code_text, ''), p.code), ', ' ORDER BY p.number)
FROM orders_requestedprocedure p LEFT JOIN department_proceduretype t ON t.id = p.procedure_type_id
WHERE p.order_id = ANY(%s) GROUP BY p.order_id
"""


def look(
    user: User, *, mine: bool = False, role: str = "", site: int | None = None, kind: str = "", snoozed: bool = False,
    now: datetime | None = None,
) -> Look:  # fmt: skip
    """What is late. `mine`: what the user's own roles put right; `role`: what that role does."""
    moment = now or timezone.now()
    found = _found(wanted(user, mine=mine, role=role, kind=kind), moment)
    found.items = [
        item
        for item in found.items
        if bool(item.snoozed) == snoozed and (site is None or item.row.detail["facility"] == site)
    ]
    found.items.sort(key=lambda item: (_RANK.get(item.priority, 1), item.due_at, item.key))
    _name(found.items)
    for one in {item.kind.name: item.kind for item in found.items}.values():
        rows = [item for item in found.items if item.kind is one]
        if one.prepare is not None:
            one.prepare([item.row for item in rows], moment)
        for item in rows:
            item.words, item.fix, item.mine = one.words(item.row), one.fix(item.row), allowed(user, one.right)
    return found


_RANK = {"stat": 0, "routine": 2, "": 2}


def wanted(user: User, *, mine: bool = False, role: str = "", kind: str = "") -> list[Kind]:
    """The kinds a look is for."""
    chosen = [one for one in kinds().values() if kind in ("", one.name)]
    if mine:
        chosen = [one for one in chosen if allowed(user, one.right)]
    if role in Role.values:
        chosen = [one for one in chosen if role in RIGHTS[one.right]]
    return chosen


def waiting_for(user: User) -> int:
    """How many late records the user's roles put right, for the number in the rail."""
    return sum(not item.snoozed for item in _found(wanted(user, mine=True), timezone.now()).items)


def _rules() -> dict[tuple[str, int | None], Deadline]:
    return {
        (rule.kind, rule.facility_id): Deadline(
            rule.minutes, rule.urgent_minutes, rule.stat_minutes, rule.active
        )
        for rule in RadarRule.objects.all()
    }


def usual(kind: Kind, rules: dict[tuple[str, int | None], Deadline]) -> Deadline:
    """The deadline of a kind where no site has its own."""
    return rules.get((kind.name, None)) or Deadline(kind.within.routine, kind.within.urgent, kind.within.stat)


#: Longer than anything waits: a site that does not want to be told.
_NEVER = 200 * 365 * 1440


def _found(wanted: Sequence[Kind], now: datetime) -> Look:
    """All that is late of these kinds, in one statement, with what was said about it."""
    rules = _rules() if wanted else {}
    statements, values, sites = [], dict[str, Any](now=now, limit=MOST + 1), {}
    for place, kind in enumerate(wanted):
        everywhere = usual(kind, rules)
        own = {site: rule for (name, site), rule in rules.items() if name == kind.name and site is not None}
        told = [one for one in (everywhere, *own.values()) if one.active]
        if not told:
            continue
        sites[kind.name] = (everywhere, own)
        before = now - timedelta(minutes=min(one.stat for one in told))
        listed = json.dumps([{"id": site, **_minutes(rule)} for site, rule in own.items()])
        mine = {"before": before, "sites": listed, **_minutes(everywhere)}
        values |= {f"{name}{place}": value for name, value in mine.items()}
        sql = kind.sql.replace("%(before)s", f"%(before{place})s")
        statements.append(_LATE.format(sql=sql, name=kind.name, n=place))
    found = Look(now, [])
    if not statements:
        return found
    with connection.cursor() as cursor:
        cursor.execute("UNION ALL".join(statements), values)
        rows = cursor.fetchall()
    by_name, hours, counted = {kind.name: kind for kind in wanted}, _Hours(now), Counter[str]()
    for name, pk, order, since, detail, accession, priority, patient, facility, where in rows:
        counted[name] += 1
        if counted[name] > MOST:
            found.cut.append(by_name[name])
            continue
        kind, (everywhere, own) = by_name[name], sites[name]
        known = json.loads(detail) if isinstance(detail, str) else detail
        row = Stuck(pk, order, since, {**known, "patient": patient, "facility": facility}, accession or "")
        allowance = timedelta(minutes=own.get(facility, everywhere).of(priority or "routine"))
        due = hours.after(facility, since, allowance) if kind.in_hours else since + allowance
        if due <= now:
            found.items.append(Item(kind, row, due, "", None, priority or "", where or "", ""))
    _annotate(found.items, now)
    return found


def _name(items: Sequence[Item]) -> None:
    """Whose, and of which exam."""
    if not items:
        return
    with connection.cursor() as cursor:
        cursor.execute(_EXAMS, [[item.row.order for item in items if item.row.order]])
        exams = dict(cursor.fetchall())
    patients = Patient.objects.prefetch_related("identifiers").in_bulk(
        [item.row.detail["patient"] for item in items if item.row.detail["patient"]]
    )
    for item in items:
        item.patient = patients.get(item.row.detail["patient"] or 0)
        item.exam = exams.get(item.row.order or 0, "")


def _minutes(rule: Deadline) -> dict[str, int]:
    if not rule.active:
        return {"routine": _NEVER, "urgent": _NEVER, "stat": _NEVER}
    return {"routine": rule.routine, "urgent": rule.urgent, "stat": rule.stat}


def _annotate(items: Sequence[Item], now: datetime) -> None:
    """Who has taken what, and what sleeps."""
    if not items:
        return
    by_key = {(item.kind.name, item.row.id): item for item in items}
    notes = (
        RadarNote.objects.filter(
            kind__in={name for name, _ in by_key}, record__in={record for _, record in by_key}
        )
        .select_related("by")
        .order_by("pk")
    )
    for note in notes:
        item = by_key.get((note.kind, note.record))
        if item is None:
            continue
        match note.act:
            case RadarAct.TAKEN:
                item.owner = note.by
            case RadarAct.LEFT:
                item.owner = None
            case RadarAct.SNOOZED:
                item.snoozed = note if note.until and note.until > now else None
            case RadarAct.WOKEN:
                item.snoozed = None


# Working hours


class _Hours:
    """When a facility is open: from the first of its rooms to the last, each day of the week."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._zones: dict[int, ZoneInfo] = {}
        self._open: dict[tuple[int, int], tuple[time, time]] | None = None

    def after(self, facility: int | None, since: datetime, allowance: timedelta) -> datetime:
        """When so much open time has passed; by the clock where no hours are known."""
        self._load()
        assert self._open is not None
        if facility is None or not any(site == facility for site, _ in self._open):
            return since + allowance
        at, left, zone = since.astimezone(self._zones[facility]), allowance, self._zones[facility]
        while at <= self._now + timedelta(days=1):
            opens, closes = self._open.get((facility, at.weekday()), (time.min, time.min))
            begins = max(at, datetime.combine(at.date(), opens, tzinfo=zone))
            open_for = datetime.combine(at.date(), closes, tzinfo=zone) - begins
            if open_for >= left:
                return begins + left
            left -= max(open_for, timedelta())
            at = datetime.combine(at.date() + timedelta(days=1), time.min, tzinfo=zone)
        return at

    def _load(self) -> None:
        if self._open is not None:
            return
        self._zones = {
            pk: ZoneInfo(zone) for pk, zone in Facility.objects.values_list("pk", "timezone")
        }  # fmt: skip
        rows = Opening.objects.values_list("room__facility", "weekday").annotate(
            Min("opens"), Max("closes")
        )  # fmt: skip
        self._open = {(site, day): (opens, closes) for site, day, opens, closes in rows.order_by()}


def in_workflow(items: Iterable[Item]) -> dict[str, int]:
    """How many of each kind, in the order of the workflow."""
    counted = dict.fromkeys(kinds(), 0)
    for item in items:
        counted[item.kind.name] += 1
    return {name: count for name, count in counted.items() if count}
