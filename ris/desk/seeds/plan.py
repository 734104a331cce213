"""What happens in the invented department: which patient has which exam where and when, and how far it has come.

Pure thought, no rows: the same random numbers over the same patients at the same moment give the same plan.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from random import Random
from zoneinfo import ZoneInfo

from ris.department.models import Laterality, ProcedureType, Room
from ris.desk.seeds.texts import UNKNOWN_CODES
from ris.patients.models import Patient
from scheduling.slots import Span, free_spans, opening_spans

DAYS_BACK = 7
DAYS_AHEAD = 28
#: From this many patients on the rooms are full; with fewer they are as much emptier, but for today.
FULL_FROM = 2000


class Stage(StrEnum):
    """How far a case has come. The order of the names is the order of the work."""

    REQUESTED = "requested"
    HELD = "held"
    UNKNOWN_CODE = "unknown_code"
    CANCELLED = "cancelled"
    BOOKED = "booked"
    CONFIRMED = "confirmed"
    NO_SHOW = "no_show"
    ARRIVED = "arrived"
    READY = "ready"
    STARTED = "started"
    DISCONTINUED = "discontinued"
    UNREAD = "unread"
    DRAFT = "draft"
    PRELIMINARY = "preliminary"
    FINAL = "final"
    ADDENDED = "addended"
    CORRECTED = "corrected"


COMPLETED = {
    Stage.UNREAD,
    Stage.DRAFT,
    Stage.PRELIMINARY,
    Stage.FINAL,
    Stage.ADDENDED,
    Stage.CORRECTED,
}
SIGNED = {Stage.FINAL, Stage.ADDENDED, Stage.CORRECTED}


@dataclass
class Case:
    """One order with its one exam. `start` and `room` are empty while nothing is booked."""

    patient: Patient
    exam: ProcedureType
    stage: Stage
    ordered_at: datetime
    side: str = ""
    priority: str = "routine"
    #: HL7 table 0004: E, I, or blank for somebody who comes from home.
    patient_class: str = ""
    room: Room | None = None
    start: datetime | None = None
    #: Whether a room was booked for it; exams of former years came without their appointments.
    planned: bool = True
    booked_at: datetime | None = None
    arrived_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    preliminary_at: datetime | None = None
    signed_at: datetime | None = None
    amended_at: datetime | None = None
    #: The newest earlier exam of the patient, when it was planned first.
    prior: "Case | None" = field(default=None, repr=False)

    @property
    def length(self) -> timedelta:
        return timedelta(minutes=self.exam.duration_minutes)


#: How often each exam is asked for; what is not named here comes once in a while.
_OFTEN = {
    "CT-HEAD": 8,
    "CT-CHEST": 4,
    "CT-CHESTC": 5,
    "CT-PE": 3,
    "CT-ABPELC": 9,
    "CT-CAPC": 6,
    "CT-KUB": 3,
    "MR-HEAD": 4,
    "MR-HEADC": 4,
    "MR-LSPINE": 5,
    "MR-KNEE": 6,
    "MR-SHLDR": 3,
    "MR-CSPINE": 2,
    "US-ABD": 7,
    "US-RUQ": 4,
    "US-KIDNEY": 3,
    "US-THYR": 4,
    "US-PELVIS": 3,
    "US-DVTLEG": 3,
    "US-BREAST": 3,
    "XR-CHEST2": 10,
    "XR-CHEST1": 4,
    "XR-KNEE": 4,
    "XR-HIP": 3,
    "XR-ANKLE": 3,
    "XR-WRIST": 3,
    "XR-HAND": 3,
    "XR-FOOT": 3,
    "XR-SHLDR": 3,
    "XR-LSPINE": 3,
    "MG-SCREEN": 12,
    "MG-DIAGB": 3,
}
#: What an emergency room sends.
_EMERGENCY = {
    "CT1": ("CT-HEAD", "CT-HEAD", "CT-PE", "CT-ABPELC", "CT-KUB", "CT-CSPINE", "CT-ANGHN"),
    "XR1": ("XR-CHEST1", "XR-CHEST2", "XR-WRIST", "XR-ANKLE", "XR-HIP", "XR-HAND", "XR-ELBOW"),
    "US1": ("US-RUQ", "US-DVTLEG", "US-SCROT"),
}
#: Who comes for what: sexes, youngest, oldest. All others: everybody from 16 on.
_WHO = {
    "MG-": ("F", 40, 75),
    "US-BREAST": ("F", 20, 90),
    "MR-BRSTC": ("F", 25, 70),
    "US-OB": ("F", 18, 43),
    "US-PELVIS": ("F", 14, 60),
    "MR-PROSTC": ("M", 48, 80),
    "US-SCROT": ("M", 8, 60),
    "CT-LUNGSC": ("MF", 50, 78),
    "CT-CORO": ("MF", 40, 80),
    "XR-BONEAG": ("MF", 5, 16),
    "XR-SCOLI": ("MF", 8, 18),
    "XR-": ("MFOU", 1, 105),
    "US-ABD": ("MFOU", 3, 100),
}


class Planner:
    def __init__(
        self,
        rng: Random,
        now: datetime,
        *,
        zone: ZoneInfo,
        rooms: Sequence[Room],
        exams: Sequence[ProcedureType],
        patients: Sequence[Patient],
        blocks: dict[int, list[Span]],
    ) -> None:
        self.rng = rng
        self.now = now
        self.zone = zone
        self.today = now.astimezone(zone).date()
        self.rooms = rooms
        self.by_code = {exam.code: exam for exam in exams}
        self.offered = {room.pk: [exam for exam in exams if exam.modality == room.modality] for room in rooms}
        self.blocks = blocks
        self.kept: dict[int, Stage | None] = {}
        self.share = min(1.0, len(patients) / FULL_FROM)
        self.suited = {exam.code: [one for one in patients if self._suits(exam.code, one)] for exam in exams}
        self.suited_ids = {code: {one.pk for one in them} for code, them in self.suited.items()}
        self.busy: set[tuple[int, date]] = set()

    def _suits(self, code: str, patient: Patient) -> bool:
        age = self.today.year - int(patient.birth_date[:4])
        sexes, youngest, oldest = next(
            (who for start, who in _WHO.items() if code.startswith(start)), ("MFOU", 16, 105)
        )
        return patient.sex in sexes and youngest <= age <= oldest

    def _patient(self, exam: ProcedureType, day: date) -> Patient | None:
        """Somebody the exam suits who has nothing else that day: nobody can be in two rooms at once."""
        for _ in range(60):
            if not self.suited[exam.code]:
                return None
            patient = self.rng.choice(self.suited[exam.code])
            if (patient.pk, day) not in self.busy:
                self.busy.add((patient.pk, day))
                return patient
        return None

    def cases(self) -> list[Case]:
        """All of them, in the order they were asked for."""
        booked = [*self._schedule(), *self._emergencies()]
        self._keep_some_open(booked)
        for case in booked:
            self._read(case)
        waiting = list(self._waiting())
        former = list(self._former(booked))
        return sorted([*former, *booked, *waiting], key=lambda case: case.ordered_at)

    # The schedule

    def _schedule(self) -> Iterator[Case]:
        for offset in range(-DAYS_BACK, DAYS_AHEAD + 1):
            day = self.today + timedelta(days=offset)
            for room in self.rooms:
                spans = free_spans(opening_spans(room, day), self.blocks.get(room.pk, []))
                for opens, closes in spans:
                    yield from self._fill(room, day, opens, closes)

    def _fill(self, room: Room, day: date, opens: datetime, closes: datetime) -> Iterator[Case]:
        """Place exams one after the other, with gaps so that the room stays a little under full."""
        target = self.rng.uniform(0.82, 0.94)
        at, taken = opens, timedelta()
        while at < closes:
            fitting = [one for one in self.offered[room.pk] if at + _length(one) <= closes]
            if not fitting:
                return
            exam = self.rng.choices(fitting, [_OFTEN.get(one.code, 1) for one in fitting])[0]
            if taken + _length(exam) > target * (at + _length(exam) - opens) and at > opens:
                at += timedelta(minutes=self.rng.choice((5, 5, 10, 15)))
                continue
            taken += _length(exam)
            if day == self.today or self.rng.random() < self.share:
                case = self._booked(exam, room, at, day)
                if case:
                    yield case
            at += _length(exam)

    def _booked(self, exam: ProcedureType, room: Room, start: datetime, day: date) -> Case | None:
        soon = start < self.now + timedelta(minutes=30)
        if soon and room.code in _EMERGENCY and self.rng.random() < 0.16:
            return self._emergency(self.by_code[self._emergency_code(exam, room)], room, start, day)
        patient = self._patient(exam, day)
        if patient is None:
            return None
        ordered_at = min(start - timedelta(hours=20), self.now) - timedelta(
            minutes=self.rng.randrange(60, 30 * 1440)
        )
        case = Case(
            patient,
            exam,
            Stage.BOOKED,
            ordered_at,
            side=self._side(exam),
            priority=self._priority(),
            room=room,
            start=start,
        )
        case.booked_at = ordered_at + timedelta(minutes=self.rng.randrange(5, 50))
        self._live(case)
        return case

    def _emergency_code(self, exam: ProcedureType, room: Room) -> str:
        """An emergency exam no longer than the slot it takes."""
        short = [
            code
            for code in _EMERGENCY[room.code]
            if self.by_code[code].duration_minutes <= exam.duration_minutes
        ]
        return self.rng.choice(short) if short else exam.code

    def _emergencies(self) -> Iterator[Case]:
        """At night and on Sundays the emergency room goes on, more of it just now than hours ago."""
        for offset in range(-DAYS_BACK, 2):
            day = self.today + timedelta(days=offset)
            midnight = datetime.combine(day, time(), self.zone)
            for room in self.rooms:
                if room.code not in _EMERGENCY:
                    continue
                closed = free_spans([(midnight, midnight + timedelta(days=1))], opening_spans(room, day))
                for since, until in closed:
                    yield from self._night(room, day, since, until)

    def _night(self, room: Room, day: date, since: datetime, until: datetime) -> Iterator[Case]:
        at = since + timedelta(minutes=self.rng.randrange(0, 20))
        while at < min(until, self.now + timedelta(minutes=70)):
            exam = self.by_code[self.rng.choice(_EMERGENCY[room.code])]
            if at + _length(exam) > until:
                return
            case = self._emergency(exam, room, at, day)
            if case:
                yield case
            recent = at > self.now - timedelta(hours=4)
            at += _length(exam) + timedelta(
                minutes=self.rng.randrange(2, 16) if recent else self.rng.randrange(30, 110)
            )

    def _emergency(self, exam: ProcedureType, room: Room, start: datetime, day: date) -> Case | None:
        patient = self._patient(exam, day)
        if patient is None:
            return None
        ordered_at = min(
            start - timedelta(minutes=self.rng.randrange(12, 70)), self.now - timedelta(minutes=4)
        )
        case = Case(
            patient,
            exam,
            Stage.BOOKED,
            ordered_at,
            side=self._side(exam),
            room=room,
            start=start,
            priority=self.rng.choices(("stat", "asap"), (5, 4))[0],
            patient_class=self.rng.choice("EEEI"),
        )
        case.booked_at = ordered_at + timedelta(minutes=2)
        self._live(case)
        return case

    def _side(self, exam: ProcedureType) -> str:
        return self.rng.choice("LR") if exam.laterality == Laterality.REQUIRED else ""

    def _priority(self) -> str:
        kinds = ("routine", "asap", "timed", "preop", "callback")
        return self.rng.choices(kinds, (86, 8, 2, 2, 2))[0]

    # What has come of it by now

    def _live(self, case: Case) -> None:
        start, now, chance = case.start, self.now, self.rng.random()
        assert start is not None
        end = start + case.length
        if start > now + timedelta(minutes=40):
            soon = start < now + timedelta(days=4)
            case.stage = Stage.CONFIRMED if chance < (0.6 if soon else 0.12) else Stage.BOOKED
            if chance > 0.985:
                case.stage = Stage.CANCELLED
        elif start > now:
            case.stage = self._waiting_stage(chance, came=0.72)
        elif end > now:
            case.stage = Stage.STARTED if chance < 0.85 else Stage.ARRIVED
        elif end > now - timedelta(minutes=35) and chance < 0.2:
            case.stage = self._waiting_stage(chance * 5, came=0.6)
        elif case.patient_class:
            case.stage = Stage.UNREAD
        else:
            ends = (Stage.NO_SHOW, Stage.CANCELLED, Stage.DISCONTINUED, Stage.UNREAD)
            case.stage = self.rng.choices(ends, (25, 20, 10, 945))[0]
        self._times(case, start, end)

    def _waiting_stage(self, chance: float, *, came: float) -> Stage:
        if chance > came:
            return self.rng.choice((Stage.BOOKED, Stage.CONFIRMED))
        return Stage.ARRIVED if chance < came * 0.6 else Stage.READY

    def _times(self, case: Case, start: datetime, end: datetime) -> None:
        minute = timedelta(minutes=1)
        if case.stage in {Stage.ARRIVED, Stage.READY}:
            case.arrived_at = min(start, self.now) - minute * self.rng.randrange(1, 22)
        if case.stage in {Stage.STARTED, Stage.DISCONTINUED, Stage.UNREAD}:
            case.started_at = min(start + minute * self.rng.randrange(-3, 5), self.now - minute)
            case.arrived_at = case.started_at - minute * self.rng.randrange(6, 28)
        if case.stage in {Stage.DISCONTINUED, Stage.UNREAD}:
            assert case.started_at is not None
            took = (end - start) * self.rng.uniform(0.55, 0.9)
            case.ended_at = min(case.started_at + took, self.now - minute / 2)
        if case.arrived_at:
            case.ordered_at = min(case.ordered_at, case.arrived_at - 6 * minute)
            case.booked_at = min(case.booked_at or case.arrived_at, case.arrived_at - 4 * minute)

    # Reading

    def _keep_some_open(self, cases: list[Case]) -> None:
        """Whatever the hour, some of the newest exams are unread, begun or preliminary."""
        done = sorted(
            (one for one in cases if one.stage == Stage.UNREAD and one.ended_at),
            key=lambda one: one.ended_at or self.now,
            reverse=True,
        )
        routine = [one for one in done if one.priority == "routine"][:36]
        urgent = [one for one in done if one.priority != "routine"][:14]
        kept = (
            Stage.UNREAD,
            Stage.UNREAD,
            Stage.UNREAD,
            Stage.DRAFT,
            Stage.UNREAD,
            None,
            Stage.UNREAD,
            Stage.PRELIMINARY,
        )
        self.kept = {id(one): kept[place % len(kept)] for place, one in enumerate([*routine, *urgent])}

    def _read(self, case: Case) -> None:
        if case.stage != Stage.UNREAD:
            return
        assert case.ended_at is not None
        age = self.now - case.ended_at
        kept = self.kept.get(id(case))
        if kept:
            case.stage = kept
            if kept == Stage.PRELIMINARY:
                case.preliminary_at = case.ended_at + age * self.rng.uniform(0.3, 0.9)
            return
        median = {"stat": 25, "asap": 70}.get(case.priority, 300)
        took = timedelta(minutes=median * self.rng.lognormvariate(0, 0.8))
        signed_at = case.ended_at + min(took, timedelta(hours=40))
        resident = self.rng.random() < 0.14
        if signed_at > self.now:
            return
        case.signed_at = signed_at
        if resident:
            case.preliminary_at = case.ended_at + (signed_at - case.ended_at) * self.rng.uniform(0.4, 0.9)
        later = signed_at + timedelta(minutes=self.rng.randrange(20, 1500))
        case.stage = Stage.FINAL
        if later < self.now and self.rng.random() < 0.035:
            case.amended_at = later
            case.stage = Stage.ADDENDED if self.rng.random() < 0.8 else Stage.CORRECTED

    # Before and beside the schedule

    def _former(self, cases: list[Case]) -> Iterator[Case]:
        """Earlier exams of those who are here these days: what a reader compares with."""
        near = self.now + timedelta(days=2)
        for case in cases:
            if case.start is None or case.start > near:
                continue
            for _ in range(self.rng.choices((0, 1, 2, 3), (38, 34, 19, 9))[0]):
                exam = case.exam
                if self.rng.random() < 0.45:
                    exam = self.by_code[self.rng.choice(list(_OFTEN))]
                if case.patient.pk not in self.suited_ids[exam.code]:
                    continue
                prior = self._old_exam(case, exam)
                if prior and (
                    case.prior is None or (prior.started_at or self.now) > (case.prior.started_at or self.now)
                ):
                    case.prior = prior
                if prior:
                    yield prior

    def _old_exam(self, case: Case, exam: ProcedureType) -> Case | None:
        day = self.today - timedelta(days=self.rng.randrange(20, 1150))
        day -= timedelta(days=max(day.weekday() - 4, 0))
        if case.patient.birth_date > day.isoformat():
            return None
        started = datetime.combine(day, time(self.rng.randrange(7, 18), self.rng.randrange(0, 60)), self.zone)
        prior = Case(
            case.patient,
            exam,
            Stage.FINAL,
            started - timedelta(days=self.rng.randrange(1, 20)),
            side=self._side(exam),
            room=next((room for room in self.rooms if room.modality == exam.modality), None),
            planned=False,
        )
        prior.started_at = started
        prior.ended_at = started + prior.length * 0.8
        prior.signed_at = prior.ended_at + timedelta(minutes=self.rng.randrange(20, 1400))
        if self.rng.random() < 0.02:
            prior.stage = Stage.ADDENDED
            prior.amended_at = prior.signed_at + timedelta(hours=self.rng.randrange(2, 70))
        return prior

    def _waiting(self) -> Iterator[Case]:
        """Orders without a time: to be booked, held, or of a code that nobody knows."""
        bookable = [exam for room in self.rooms for exam in self.offered[room.pk] if exam.code in _OFTEN]
        kinds = [Stage.REQUESTED] * 22 + [Stage.HELD] * 6 + [Stage.UNKNOWN_CODE] * 5 + [Stage.CANCELLED] * 4
        for number, stage in enumerate(kinds):
            exam = self.rng.choice(bookable)
            if stage == Stage.UNKNOWN_CODE:
                exam = self.by_code[self.rng.choice(list(UNKNOWN_CODES))]
            patient = self._patient(exam, self.today)
            if patient is None:
                continue
            ordered_at = self.now - timedelta(minutes=self.rng.randrange(15, 2 * 1440) + 7 * number)
            yield Case(
                patient,
                exam,
                stage,
                ordered_at,
                side=self._side(exam),
                priority=self.rng.choices(("routine", "asap", "stat", "callback"), (70, 20, 4, 6))[0],
            )


def _length(exam: ProcedureType) -> timedelta:
    return timedelta(minutes=exam.duration_minutes)
