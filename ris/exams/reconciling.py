"""What waits for its order: performed steps and studies of the archive, on one list."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q

from ris.exams import performed
from ris.exams.actions.steps import STARTABLE
from ris.exams.identity import read_wristband
from ris.exams.models import Exam, PerformedProcedureStep, StudyImages
from ris.exams.states import ExamStatus, ProblemKind
from ris.orders.models import Order
from ris.orders.states import OrderStatus
from ris.patients.models import Patient
from ris.patients.search import search_patients
from scheduling.states import PENDING

#: Orders that can still take images: to be done, or done and not read.
OPEN = [*STARTABLE, OrderStatus.PERFORMED]

#: What a person does about each kind, as the word on the row.
_ACTS = {ProblemKind.OTHER_MODALITY: "Check…", ProblemKind.PATIENT_DIFFERS: "Check…",
         ProblemKind.AFTER_REPORT: "Check…", ProblemKind.STOPPED_AND_COMPLETE: "Check…"}  # fmt: skip


@dataclass(frozen=True)
class Waiting:
    """A row of the list, and the head of its sheet; `base` is where its pages are."""

    pk: int
    base: str
    at: datetime
    status: str
    patient_name: str
    patient_id: str
    accession_number: str
    machine: str
    modality: str
    series: int
    images: int
    problem: str
    kind: str
    act: str


def of_step(step: PerformedProcedureStep) -> Waiting:
    series, images = performed.counts([step]) or (0, 0)
    return Waiting(
        step.pk, f"/exams/unmatched/{step.pk}", step.started_at, step.status, step.patient_name, step.patient_id,
        step.accession_number, step.station_ae_title, step.modality, series, images, step.problem,
        ProblemKind(step.problem_kind).label if step.problem_kind else "",
        _ACTS.get(ProblemKind(step.problem_kind), "Match…") if step.problem_kind else "Match…",
    )  # fmt: skip


def of_study(images: StudyImages) -> Waiting:
    return Waiting(
        images.pk, f"/exams/studies/{images.pk}", images.first_seen_at, "", images.patient_name, images.patient_id,
        images.accession_number, images.retrieve_ae_title or "Archive", images.modality, images.series_count,
        images.instance_count, images.problem, "Only in the archive" if images.problem else "", "Match…",
    )  # fmt: skip


def waiting(limit: int = 200) -> list[Waiting]:
    """Newest first. A study whose performed step waits too is one row: the step's."""
    steps = list(PerformedProcedureStep.objects.exclude(problem="").order_by("-received_at")[:limit])
    announced = {step.study_instance_uid for step in steps}
    studies = StudyImages.objects.exclude(problem="").exclude(study_instance_uid__in=announced)
    rows = [of_step(step) for step in steps]
    rows += [of_study(images) for images in studies.defer("series").order_by("-first_seen_at")[:limit]]
    return sorted(rows, key=lambda row: row.at, reverse=True)[:limit]


def taken_for(step: PerformedProcedureStep) -> list[Exam]:
    """The exams a step is taken for now."""
    exams = step.exams.exclude(status=ExamStatus.ENTERED_IN_ERROR)
    return list(exams.select_related("order__patient", "procedure__procedure_type").order_by("pk"))


def likely_orders(
    *, study_instance_uid: str, accession_number: str, patient_id: str, station: str = "", at: datetime, limit: int = 8
) -> list[Order]:  # fmt: skip
    """Orders the images may belong to: by accession number, patient number or study, then the machine at that time."""
    orders = (
        Order.objects.filter(status__in=OPEN)
        .exclude(procedures__procedure_type=None)
        .select_related("patient")
        .prefetch_related("patient__identifiers", "procedures__procedure_type", "appointments__room")
    )
    named = Q(pk=None)
    if accession_number:
        named |= Q(accession_number=accession_number)
    if patient_id:
        # A number of a record that was merged leads to the survivor.
        named |= Q(patient__in=_patients_numbered(patient_id))
    if study_instance_uid:
        named |= Q(procedures__study_instance_uid=study_instance_uid)
    found = list(orders.filter(named).distinct().order_by("-ordered_at")[:limit])
    nearby = orders.filter(
        appointments__room__stations__ae_title=station or None,
        appointments__status__in=PENDING,
        appointments__during__startswith__range=(at - timedelta(hours=4), at + timedelta(hours=4)),
    ).exclude(pk__in=[one.pk for one in found])
    return found + list(nearby.distinct()[: limit - len(found)]) if station else found


def _patients_numbered(number: str) -> list[int]:
    owners = Patient.objects.filter(identifiers__value=number).values_list("pk", "merged_into")
    return [into or pk for pk, into in owners]


def patients_named(text: str, limit: int = 8) -> Iterable[Patient]:
    """People to order for, by number or words of the name."""
    return search_patients(text, limit=limit) if text.strip() else []


def orders_named(text: str, limit: int = 8) -> list[Order]:
    """Orders that can still take images, by accession number, patient number or words of the name."""
    if not text.strip():
        return []
    wristband = read_wristband(text)
    orders = (
        Order.objects.filter(status__in=OPEN)
        .exclude(procedures__procedure_type=None)
        .filter(patient__in=wristband.patients or search_patients(text))
        .select_related("patient")
        .prefetch_related("patient__identifiers", "procedures__procedure_type")
        .order_by("-ordered_at")
    )
    return list(orders[:limit])
