"""What a room has before it, on hand and behind it; and what no order was found for."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Count, Max, Q, QuerySet, Sum
from django.utils import timezone

from ris.accounts.permissions import allowed
from ris.core.formats import local
from ris.department.models import Room
from ris.exams import performed
from ris.exams.models import Exam, PerformedProcedureStep, StudyImages
from ris.exams.states import ExamStatus
from ris.exams.talk import newest, unseen_counts
from ris.orders.models import Order
from ris.orders.states import OrderStatus, Priority
from ris.patients.models import Patient
from ris.protocolling.models import ProtocolRequest
from ris.protocolling.worklists import protocols_for
from ris.safety.passport import Passport, passports_for
from ris.safety.passport import fingerprint as passports_version
from ris.safety.rules import Verdict
from scheduling.models import Appointment
from scheduling.states import PENDING, AppointmentStatus

STARTABLE = [OrderStatus.REQUESTED, OrderStatus.SCHEDULED]


def day_bounds(day: date, room: Room | None = None) -> tuple[datetime, datetime]:
    """Midnight to midnight where the room is."""
    zone = ZoneInfo(room.facility.timezone) if room else local(timezone.now()).tzinfo
    return (
        datetime.combine(day, time(), tzinfo=zone),
        datetime.combine(day + timedelta(days=1), time(), tzinfo=zone),
    )


def _exams() -> QuerySet[Exam]:
    return Exam.objects.select_related(
        "order__patient", "order__visit", "procedure__procedure_type", "room", "technologist", "assistant"
    ).prefetch_related("order__patient__identifiers")


def _pending() -> QuerySet[Appointment]:
    return (
        Appointment.objects.filter(status__in=PENDING)
        .select_related("order__visit", "patient", "room")
        .prefetch_related("patient__identifiers", "order__procedures__procedure_type")
        .order_by("during", "pk")
    )


@dataclass(frozen=True)
class RowFacts:
    """What a row says beside who and what: may we, by which protocol, has somebody asked."""

    passport: Passport
    protocols: list[ProtocolRequest]
    unseen: int = 0
    urgent: int = 0
    #: Whether the patient may go to the magnet (ACR zones), for rooms that have one.
    zone: tuple[str, str] | None = None


def _zone(passport: Passport) -> tuple[str, str]:
    """(words, tone)"""
    if passport.verdict >= Verdict.ASK or not passport.screens or not passport.reviewed:
        # Nothing asked is not cleared.
        return ("Not past zone II", "stop" if passport.stops else "wait")
    if passport.verdict == Verdict.CONDITIONS:
        return ("Zone IV with conditions", "wait")
    return ("Zone IV cleared", "ok")


def row_facts(orders: Iterable[Order], user: object, *, magnet: bool = False) -> dict[int, RowFacts]:
    """By the order's id, in a fixed number of queries."""
    wanted = {order.pk: order for order in orders}
    passports = passports_for(wanted.values())
    protocols = protocols_for(wanted.values())
    unseen = unseen_counts(user, wanted) if allowed(user, "exam.talk") else {}
    return {
        pk: RowFacts(passports[pk], protocols.get(pk, []), *unseen.get(pk, (0, 0)),
                     zone=_zone(passports[pk]) if magnet else None)
        for pk in wanted
    }  # fmt: skip


@dataclass(frozen=True)
class RoomList:
    """A room's day: being done, next, waiting without a time, done."""

    now: list[Exam]
    next: list[Appointment]
    add_ons: list[Order]
    done: list[Exam]
    #: Patients whose family name stands twice in what is next.
    same_name: frozenset[int]

    @property
    def orders(self) -> list[Order]:
        exams, planned = [*self.now, *self.done], self.next
        return [*(one.order for one in exams), *(one.order for one in planned), *self.add_ons]

    @property
    def planned(self) -> int:
        return len(self.now) + len(self.next) + len(self.done)


def room_list(room: Room, day: date) -> RoomList:
    bounds = day_bounds(day, room)
    today = day == local(timezone.now()).date()
    now = (
        list(_exams().filter(room=room, status=ExamStatus.IN_PROGRESS).order_by("started_at"))
        if today
        else []
    )
    waiting = list(
        _pending().filter(room=room, during__startswith__gte=bounds[0], during__startswith__lt=bounds[1])
    )
    add_ons = list(_add_ons(room)) if today else []
    done = list(
        _exams()
        .filter(room=room, ended_at__gte=bounds[0], ended_at__lt=bounds[1])
        .exclude(status=ExamStatus.ENTERED_IN_ERROR)
        .order_by("-ended_at")
    )
    return RoomList(now, waiting, add_ons, done, _same_name(one.patient for one in waiting))


def _add_ons(room: Room) -> QuerySet[Order]:
    """STAT requests for this kind of machine that nobody has given a time."""
    return (
        Order.objects.filter(
            status=OrderStatus.REQUESTED,
            priority=Priority.STAT,
            facility=room.facility_id,
            procedures__procedure_type__modality=room.modality,
        )
        .select_related("patient", "visit")
        .prefetch_related("patient__identifiers", "procedures__procedure_type")
        .order_by("ordered_at")
        .distinct()
    )


def _same_name(patients: Iterable[Patient]) -> frozenset[int]:
    people = {patient.pk: patient.family.casefold() for patient in patients}
    names = Counter(people.values())
    return frozenset(pk for pk, name in people.items() if names[name] > 1)


def room_version(room: Room, day: date) -> str:
    """Changes whenever the room's list would; the minute counts, because waits do."""
    bounds = day_bounds(day, room)
    return "-".join(
        (
            _fingerprint(Exam.objects.filter(Q(ended_at=None) | Q(ended_at__gte=bounds[0]), room=room)),
            _fingerprint(Appointment.objects.filter(room=room, during__startswith__gte=bounds[0])),
            _fingerprint(_add_ons(room)),
            passports_version(),
            newest(),
            f"{local(timezone.now()):%H%M}",
        )
    )


def _fingerprint(rows: QuerySet[Any]) -> str:
    found = rows.order_by().aggregate(n=Count("pk"), at=Max("status_at"), v=Sum("version"))
    return f"{found['n']}.{found['v'] or 0}.{found['at']:%H%M%S%f}" if found["at"] else "0"


@dataclass(frozen=True)
class RoomCard:
    room: Room
    now: Exam | None
    next: Appointment | None
    waiting: int
    planned: int
    done: int


def rooms_board(day: date) -> list[RoomCard]:
    """Every room with what goes on in it and what is next."""
    bounds = day_bounds(day)
    running: dict[int | None, Exam] = {}
    for exam in _exams().filter(status=ExamStatus.IN_PROGRESS).order_by("-started_at"):
        running[exam.room_id] = exam
    pending: dict[int, list[Appointment]] = {}
    for one in _pending().filter(during__startswith__gte=bounds[0], during__startswith__lt=bounds[1]):
        pending.setdefault(one.room_id, []).append(one)
    done = dict(
        Exam.objects.filter(status=ExamStatus.COMPLETED, ended_at__gte=bounds[0])
        .values_list("room")
        .annotate(n=Count("pk"))
    )
    here = {AppointmentStatus.ARRIVED, AppointmentStatus.READY}
    return [
        RoomCard(
            room=room,
            now=running.get(room.pk),
            next=next(iter(pending.get(room.pk, [])), None),
            waiting=sum(1 for one in pending.get(room.pk, []) if one.status in here),
            planned=len(pending.get(room.pk, [])),
            done=done.get(room.pk, 0),
        )
        for room in Room.objects.filter(active=True).select_related("facility")
    ]


def board_version(day: date) -> str:
    begins, ends = day_bounds(day)
    return "-".join(
        (
            _fingerprint(Exam.objects.filter(Q(ended_at=None) | Q(ended_at__gte=begins))),
            _fingerprint(
                Appointment.objects.filter(during__startswith__gte=begins, during__startswith__lt=ends)
            ),
            f"{local(timezone.now()):%H%M}",
        )
    )


def waiting_orders(room: Room | None, day: date, patients: Iterable[Patient]) -> list[Order]:
    """What these patients may have begun in the room, or in any: planned that day, else a STAT request without a
    time."""
    bounds = day_bounds(day, room)
    wanted = [patient.pk for patient in patients]
    planned = _pending().filter(
        patient__in=wanted, during__startswith__gte=bounds[0], during__startswith__lt=bounds[1]
    )
    if room is None:
        return [one.order for one in planned]
    return [one.order for one in planned.filter(room=room)] or list(_add_ons(room).filter(patient__in=wanted))


def running_exam(patients: Iterable[Patient]) -> Exam | None:
    return (
        Exam.objects.filter(status=ExamStatus.IN_PROGRESS, order__patient__in=[one.pk for one in patients])
        .order_by("-started_at")
        .first()
    )


@dataclass(frozen=True)
class BedsideStop:
    """One exam on the round: at which bed, and how far it has come."""

    order: Order
    ward: str
    bed: str
    exam: Exam | None


#: What people write between ward and bed: "4 East^12^B" of an EMR, "4 East 12" of ours.
_BED = re.compile(r"^(?P<ward>.*?)[\s^,-]+(?:(?:bed|room)\s*)?(?P<bed>\d+\S*(?:[\s^]+\S+)?)$", re.IGNORECASE)


def ward_and_bed(location: str) -> tuple[str, str]:
    found = _BED.match(location.strip(" ^"))
    return (
        (found["ward"].strip(" ^"), found["bed"].replace("^", " ")) if found else (location.strip(" ^"), "")
    )


def _portable() -> QuerySet[Order]:
    """Orders of table 0124 PORT, "the examining device goes to patient's location", that are not done."""
    return Order.objects.filter(
        transport="PORT", status__in=[OrderStatus.REQUESTED, OrderStatus.SCHEDULED, OrderStatus.IN_PROGRESS]
    )


def portable_round() -> list[BedsideStop]:
    """By ward and bed; within a ward urgent ones do not jump the walk, they are marked."""
    orders = (
        _portable()
        .select_related("patient", "visit", "facility")
        .prefetch_related("patient__identifiers", "procedures__procedure_type", "exams")
        .order_by("ordered_at")
    )
    stops = []
    for order in orders:
        ward, bed = ward_and_bed(order.visit.location if order.visit else "")
        running = [one for one in order.exams.all() if one.status == ExamStatus.IN_PROGRESS]
        stops.append(BedsideStop(order, ward or "Place not known", bed, running[0] if running else None))
    return sorted(stops, key=lambda one: (one.ward == "Place not known", one.ward, _numbered(one.bed)))


def _numbered(bed: str) -> tuple[int, str]:
    number = re.match(r"\d+", bed)
    return (int(number[0]) if number else 0, bed)


def portable_version() -> str:
    return "-".join((_fingerprint(_portable()), passports_version(), newest()))


def elsewhere(day: date, patients: Iterable[Patient]) -> Appointment | None:
    """The next booking of these patients that day in whichever room."""
    bounds = day_bounds(day)
    return (
        _pending()
        .filter(patient__in=[one.pk for one in patients], during__startswith__gte=bounds[0],
                during__startswith__lt=bounds[1])
        .first()
    )  # fmt: skip


def unmatched_count() -> int:
    """How many performed steps and studies of the archive wait for their order (`ris.exams.reconciling`)."""
    studies = StudyImages.objects.exclude(problem="")
    return PerformedProcedureStep.objects.exclude(problem="").count() + studies.count()


def reported_counts(step: PerformedProcedureStep) -> tuple[int, int]:
    """(series, images) a step has named so far."""
    return performed.counts([step]) or (0, 0)


@dataclass(frozen=True)
class Reported:
    """What the machines said of an exam, added up; None where they said nothing."""

    steps: list[PerformedProcedureStep]
    series: int | None
    images: int | None


def reported_of(exam: Exam) -> Reported:
    steps = sorted(exam.performed_steps.all(), key=lambda step: step.started_at)
    told = performed.counts(steps)
    return Reported(steps, *(told or (None, None)))
