"""What a room has before it, on hand and behind it; and what no order was found for."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Count, Max, Q, QuerySet, Sum
from django.utils import timezone

from ris.core.formats import local
from ris.department.models import Room
from ris.exams.identity import read_wristband
from ris.exams.models import Exam, PerformedProcedureStep
from ris.exams.states import ExamStatus, PerformedStepStatus
from ris.orders.models import Order
from ris.orders.states import OrderStatus, Priority
from ris.patients.models import Patient
from ris.patients.search import search_patients
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
        "order__patient", "procedure__procedure_type", "room", "technologist"
    ).prefetch_related("order__patient__identifiers")


def _pending() -> QuerySet[Appointment]:
    return (
        Appointment.objects.filter(status__in=PENDING)
        .select_related("order", "patient", "room")
        .prefetch_related("patient__identifiers", "order__procedures__procedure_type")
        .order_by("during", "pk")
    )


@dataclass(frozen=True)
class RoomList:
    """A room's day: being done, next, waiting without a time, done."""

    now: list[Exam]
    next: list[Appointment]
    add_ons: list[Order]
    done: list[Exam]
    #: Patients whose family name stands twice in what is next.
    same_name: frozenset[int]


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
        .select_related("patient")
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


def waiting_orders(room: Room, day: date, patients: Iterable[Patient]) -> list[Order]:
    """What these patients may have begun in the room: planned there that day, or a STAT request without a time."""
    bounds = day_bounds(day, room)
    wanted = [patient.pk for patient in patients]
    planned = _pending().filter(
        room=room, patient__in=wanted, during__startswith__gte=bounds[0], during__startswith__lt=bounds[1]
    )
    return [one.order for one in planned] or list(_add_ons(room).filter(patient__in=wanted))


def elsewhere(day: date, patients: Iterable[Patient]) -> Appointment | None:
    """The next booking of these patients that day in whichever room."""
    bounds = day_bounds(day)
    return (
        _pending()
        .filter(patient__in=[one.pk for one in patients], during__startswith__gte=bounds[0],
                during__startswith__lt=bounds[1])
        .first()
    )  # fmt: skip


def unmatched_steps() -> QuerySet[PerformedProcedureStep]:
    """What the modalities did and nobody has found the order of, newest first."""
    return PerformedProcedureStep.objects.exclude(problem="").order_by("-received_at")


_SERIES, _IMAGES, _OTHERS = "00400340", "00081140", "00400220"


def reported_counts(step: PerformedProcedureStep) -> tuple[int, int]:
    """(series, images) of the Performed Series Sequence (0040,0340)."""
    series = step.attributes.get(_SERIES, {}).get("Value", [])
    images = sum(
        len(one.get(sequence, {}).get("Value", [])) for one in series for sequence in (_IMAGES, _OTHERS)
    )
    return len(series), images


@dataclass(frozen=True)
class Reported:
    """What the machines said of an exam, added up; None where they said nothing."""

    steps: list[PerformedProcedureStep]
    series: int | None
    images: int | None


def reported_of(exam: Exam) -> Reported:
    steps = sorted(exam.performed_steps.all(), key=lambda step: step.started_at)
    told = [reported_counts(step) for step in steps if step.status != PerformedStepStatus.DISCONTINUED]
    if not any(series for series, _ in told):
        return Reported(steps, None, None)
    return Reported(steps, sum(one[0] for one in told), sum(one[1] for one in told))


def likely_orders(step: PerformedProcedureStep, limit: int = 8) -> list[Order]:
    """Orders a step may belong to: its accession number, its patient's number, then its machine at that time."""
    waiting = (
        Order.objects.filter(status__in=[*STARTABLE, OrderStatus.IN_PROGRESS])
        .exclude(procedures__procedure_type=None)
        .select_related("patient")
        .prefetch_related("patient__identifiers", "procedures__procedure_type", "appointments__room")
    )
    named = Q(pk=None)
    if step.accession_number:
        named |= Q(accession_number=step.accession_number)
    if step.patient_id:
        named |= Q(patient__identifiers__value=step.patient_id)
    if step.study_instance_uid:
        named |= Q(procedures__study_instance_uid=step.study_instance_uid)
    found = list(waiting.filter(named).distinct()[:limit])
    nearby = waiting.filter(
        appointments__room__stations__ae_title=step.station_ae_title,
        appointments__status__in=PENDING,
        appointments__during__startswith__range=(
            step.started_at - timedelta(hours=4), step.started_at + timedelta(hours=4)
        ),
    ).exclude(pk__in=[one.pk for one in found])  # fmt: skip
    return found + list(nearby.distinct()[: limit - len(found)])


def orders_named(text: str, limit: int = 8) -> list[Order]:
    """Orders that can still take images, by accession number, patient number or words of the name."""
    if not text.strip():
        return []
    wristband = read_wristband(text)
    orders = (
        Order.objects.filter(status__in=[*STARTABLE, OrderStatus.IN_PROGRESS])
        .exclude(procedures__procedure_type=None)
        .filter(patient__in=wristband.patients or search_patients(text))
        .select_related("patient")
        .prefetch_related("patient__identifiers", "procedures__procedure_type")
        .order_by("-ordered_at")
    )
    return list(orders[:limit])
