"""What the modalities report they did (MPPS): kept as said, and moving the exams they belong to."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.core.errors import Duplicate, IllegalTransition, NotFound
from ris.department.models import Station
from ris.events.outbox import record
from ris.exams import performed
from ris.exams.actions.dose import note_dose
from ris.exams.actions.evidence import belongs_to_ended, settle_late_end
from ris.exams.actions.exams import begin, finish, locked, withdraw
from ris.exams.actions.images import compare_images
from ris.exams.models import Exam, PerformedProcedureStep
from ris.exams.models_dose import DoseSource
from ris.exams.states import (
    DISCONTINUATION_REASONS,
    WRONG_ENTRY,
    ExamStatus,
    PerformedStepStatus,
    ProblemKind,
)
from ris.orders import actions as orders
from ris.orders.models import Order, RequestedProcedure
from ris.orders.states import OrderStatus
from ris.patients.models import PatientIdentifier
from scheduling import actions as scheduling
from scheduling.models import ScheduledProcedureStep
from scheduling.states import ON_WORKLIST, StepStatus

#: Orders whose exams a machine may begin.
STARTABLE = frozenset({OrderStatus.REQUESTED, OrderStatus.SCHEDULED, OrderStatus.IN_PROGRESS})


@dataclass(frozen=True)
class ScheduledReference:
    """One item of the Scheduled Step Attributes Sequence (0040,0270); empty strings where the modality sent none."""

    study_instance_uid: str
    accession_number: str = ""
    requested_procedure_id: str = ""
    step_id: str = ""


@dataclass(frozen=True)
class NewPerformedStep:
    """What an N-CREATE says (PS3.4 F.7.2.1)."""

    sop_instance_uid: str
    station_ae_title: str
    modality: str
    started_at: datetime
    references: tuple[ScheduledReference, ...]
    performed_step_id: str = ""
    patient_id: str = ""
    #: Issuer of Patient ID (0010,0021); blank: any.
    patient_id_issuer: str = ""
    patient_name: str = ""
    birth_date: date | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PerformedChange:
    """What an N-SET says; `attributes` replace those of the same tags whole (PS3.4 F.7.2.2.2)."""

    attributes: dict[str, Any] = field(default_factory=dict)
    ended_at: datetime | None = None
    discontinuation_code: str = ""
    comment: str = ""
    #: What it left out of a final state, by keyword.
    defects: tuple[str, ...] = ()


# Beginning


@dataclass(frozen=True)
class _Meant:
    """What one reference leads to."""

    procedure: RequestedProcedure
    scheduled: ScheduledProcedureStep | None = None


@transaction.atomic
def begin_performed_step(new: NewPerformedStep, *, by: User) -> PerformedProcedureStep:
    """A modality has begun (RAD-6). The step is always kept; what does not fit is left for a person.

    Raises Duplicate for a SOP Instance UID that exists (PS3.7: 0111H).
    """
    require(by, "exam.perform")
    try:
        with transaction.atomic():
            step = PerformedProcedureStep.objects.create(
                sop_instance_uid=new.sop_instance_uid, performed_step_id=new.performed_step_id[:16],
                station_ae_title=new.station_ae_title[:16], modality=new.modality[:16],
                study_instance_uid=new.references[0].study_instance_uid[:64] if new.references else "",
                accession_number=next((one.accession_number[:64] for one in new.references if one.accession_number), ""),
                patient_id=new.patient_id[:64], patient_name=new.patient_name[:200], started_at=new.started_at,
                status_at=new.started_at, attributes=new.attributes,
            )  # fmt: skip
    except IntegrityError:
        raise Duplicate("This performed procedure step exists already.") from None
    meant = [found for found in map(_referenced, new.references) if found is not None]
    if not meant:
        leave_to_a_person(step, ProblemKind.NO_ORDER, "It names no order that is known here.", by=by)
        return step
    for order in sorted({one.procedure.order for one in meant}, key=lambda one: one.pk):
        _attach(
            step, orders.locked(order), [one for one in meant if one.procedure.order_id == order.pk], new, by=by
        )  # fmt: skip
    return step


def _referenced(reference: ScheduledReference) -> _Meant | None:
    """The procedure a modality means: by step, else by procedure number, else by study, else by accession number."""
    known = RequestedProcedure.objects.select_related("order", "procedure_type")
    if reference.step_id:
        scheduled = ScheduledProcedureStep.objects.filter(step_id=reference.step_id).first()
        if scheduled:
            return _Meant(known.get(pk=scheduled.procedure_id), scheduled)
    found = None
    if reference.requested_procedure_id:
        found = known.filter(requested_procedure_id=reference.requested_procedure_id).first()
    if found is None:
        found = known.filter(study_instance_uid=reference.study_instance_uid).first()
    if found is None and reference.accession_number:
        candidates = list(known.filter(order__accession_number=reference.accession_number)[:2])
        found = candidates[0] if len(candidates) == 1 else None
    return _Meant(found) if found else None


def _attach(
    step: PerformedProcedureStep, order: Order, meant: list[_Meant], new: NewPerformedStep, *, by: User
) -> None:
    procedures = list({one.procedure.pk: one.procedure for one in meant}.values())
    differs = _differing_patient(order, new)
    if differs == ProblemKind.OTHER_PATIENT:
        leave_to_a_person(step, differs, "Its patient is not the patient of the order it names.", by=by)
        return
    running = [one for one in procedures if one.exams.filter(status=ExamStatus.IN_PROGRESS).exists()]
    waiting = [one for one in procedures if one not in running]
    if waiting and order.status not in STARTABLE:
        _attach_to_ended(step, order, waiting, by=by)
        return
    if any(one.procedure_type is None for one in waiting):
        leave_to_a_person(
            step, ProblemKind.UNKNOWN_EXAM, "The exam code of its order is not known yet.", by=by
        )
        return
    take_in(step, order, procedures, by=by, scheduled=[one.scheduled.pk for one in meant if one.scheduled])
    planned = _planned_modalities(procedures)
    if planned and not planned & _ALIKE.get(step.modality, {step.modality}):
        told = f"It was done on {step.modality}, planned was {', '.join(sorted(planned))}."
        leave_to_a_person(step, ProblemKind.OTHER_MODALITY, told, by=by)
    elif differs:
        leave_to_a_person(
            step, differs, "Its name and birth date are not those of the patient with this number.", by=by
        )


def _attach_to_ended(
    step: PerformedProcedureStep, order: Order, procedures: list[RequestedProcedure], *, by: User
) -> None:
    """The order has ended. More images of an exam that is not read yet are simply its own (the append case)."""
    done = list(Exam.objects.filter(procedure__in=procedures, status=ExamStatus.COMPLETED))
    late = belongs_to_ended(step, done)
    more = order.status == OrderStatus.PERFORMED and all(one.performed_steps.exists() for one in done)
    step.exams.add(*done)
    if done and order.status == OrderStatus.REPORTED and not late:
        leave_to_a_person(
            step,
            ProblemKind.AFTER_REPORT,
            "Its exam is reported: the reader has not seen these images.",
            by=by,
        )
    elif not (done and (late or more)):
        told = f"Its order is {order.get_status_display().lower()}."
        leave_to_a_person(step, ProblemKind.ORDER_ENDED, told, by=by)


def take_in(
    step: PerformedProcedureStep, order: Order, procedures: Iterable[RequestedProcedure], *, by: User,
    scheduled: Collection[int] = (),
) -> list[Exam]:  # fmt: skip
    """The step is these procedures': what of them has not begun begins. The order is locked and can be begun."""
    wanted = list(procedures)
    exams = list(
        Exam.objects.filter(
            procedure__in=wanted, status__in=[ExamStatus.IN_PROGRESS, ExamStatus.COMPLETED]
        ).order_by("pk")
    )
    waiting = [one for one in wanted if one.pk not in {exam.procedure_id for exam in exams}]
    entries = _entries(step, wanted, scheduled)
    keys = [one.pk for one in entries] or None
    if waiting:
        station = Station.objects.select_related("room").filter(ae_title=step.station_ae_title).first()
        exams += begin(
            order, waiting, by=by, room=station.room if station else None, only=keys,
            station_ae_title=step.station_ae_title, at=step.started_at, technologist=performed.operator(step),
        )  # fmt: skip
    elif keys and order.status == OrderStatus.IN_PROGRESS:
        scheduling.start_steps(order, only=keys, at=step.started_at)
    step.exams.add(*exams)
    step.scheduled_steps.add(*entries)
    return exams


def _entries(
    step: PerformedProcedureStep, procedures: list[RequestedProcedure], named: Collection[int]
) -> list[ScheduledProcedureStep]:
    """The worklist entries a step was made for: those it names, else those for its kind of machine, else all."""
    open_ones = ScheduledProcedureStep.objects.filter(procedure__in=procedures).exclude(
        status__in=[StepStatus.CANCELLED, StepStatus.DISCONTINUED]
    )
    if named:
        return list(open_ones.filter(pk__in=named))
    everything = list(open_ones)
    alike = _ALIKE.get(step.modality, {step.modality})
    return [one for one in everything if one.modality in alike] or everything


def _planned_modalities(procedures: Iterable[RequestedProcedure]) -> set[str]:
    return {
        modality
        for one in procedures
        if one.procedure_type
        for modality in (one.procedure_type.modality, *one.procedure_type.also_on)
    }


#: Modalities that report the same exam under either name.
_ALIKE = {"DX": {"DX", "CR"}, "CR": {"DX", "CR"}, "RF": {"RF", "XA"}, "XA": {"RF", "XA"}}


def _differing_patient(order: Order, new: NewPerformedStep) -> str:
    """How the patient a modality names differs from the order's: not at all, in name and birth date, or in person.

    Their number says who it is; that of a record merged into theirs is theirs too (MPPS-19). Without a number, name
    and birth date together do: one of them alone may have been corrected since.
    """
    patient = order.patient
    family = new.patient_name.partition("=")[0].partition("^")[0].strip()
    born_otherwise = bool(new.birth_date and patient.birth_date and new.birth_date != patient.birth_date)
    differs = born_otherwise and bool(family) and family.casefold() != patient.family.casefold()
    if not new.patient_id:
        return ProblemKind.OTHER_PATIENT if differs else ""
    numbers = PatientIdentifier.objects.filter(
        Q(patient=patient) | Q(patient__merged_into=patient), value=new.patient_id
    )
    issuer = new.patient_id_issuer
    if issuer and PatientIdentifier.objects.filter(authority=issuer).exists():
        numbers = numbers.filter(authority=issuer)
    if not numbers.exists():
        return ProblemKind.OTHER_PATIENT
    return ProblemKind.PATIENT_DIFFERS if differs and numbers.filter(patient=patient).exists() else ""


def leave_to_a_person(step: PerformedProcedureStep, kind: str, problem: str, *, by: User) -> None:
    step.problem_kind, step.problem = kind, problem
    step.save(update_fields=["problem_kind", "problem"])
    record("performed_step.unmatched", f"mpps:{step.pk}", by=by, performed_step=step.pk, problem=str(kind))


# Going on and ending


def _locked_step(sop_instance_uid: str) -> PerformedProcedureStep:
    """Orders first, in key order, then the step, so that no two verbs wait for each other."""
    found = PerformedProcedureStep.objects.filter(sop_instance_uid=sop_instance_uid).first()
    if found is None:
        raise NotFound("There is no such performed procedure step.")
    for order in Order.objects.filter(exams__performed_steps=found).distinct().order_by("pk"):
        orders.locked(order)
    return PerformedProcedureStep.objects.select_for_update().get(pk=found.pk)


def _apply(step: PerformedProcedureStep, change: PerformedChange) -> None:
    if step.flow.is_final(step.status):
        raise IllegalTransition("Performed Procedure Step Object may no longer be updated")
    step.attributes = {**step.attributes, **change.attributes}
    step.ended_at = change.ended_at or step.ended_at
    step.defects = sorted({*step.defects, *change.defects})
    step.save(update_fields=["attributes", "ended_at", "defects"])


@transaction.atomic
def update_performed_step(
    sop_instance_uid: str, change: PerformedChange, *, by: User
) -> PerformedProcedureStep:
    """An N-SET that leaves the step in progress. Raises NotFound (0112H), IllegalTransition (0110H, A710H)."""
    require(by, "exam.perform")
    step = _locked_step(sop_instance_uid)
    _apply(step, change)
    return step


@transaction.atomic
def complete_performed_step(
    sop_instance_uid: str, change: PerformedChange, *, by: User
) -> PerformedProcedureStep:
    """The modality has finished (RAD-7): its exams complete when all their steps and worklist entries have ended.

    At a station that does not end exams (`Station.ends_exams`) they wait for the technologist, or for evidence.
    """
    require(by, "exam.perform")
    step = _locked_step(sop_instance_uid)
    _apply(step, change)
    step.move(PerformedStepStatus.COMPLETED, at=change.ended_at or timezone.now())
    conclude(step, by=by, comment=change.comment)
    return step


@transaction.atomic
def discontinue_performed_step(
    sop_instance_uid: str, change: PerformedChange, *, by: User
) -> PerformedProcedureStep:
    """The modality has stopped: its exams stop too, unless another step of theirs was completed or goes on.

    Reason 110514 means that it was never their exam: they go back, and a person finds whose the images are.
    """
    require(by, "exam.perform")
    step = _locked_step(sop_instance_uid)
    _apply(step, change)
    step.discontinuation_code = change.discontinuation_code[:16]
    step.save(update_fields=["discontinuation_code"])
    step.move(PerformedStepStatus.DISCONTINUED, at=change.ended_at or timezone.now())
    if step.discontinuation_code == WRONG_ENTRY:
        _undo_wrong_entry(step, by=by)
    else:
        conclude(step, by=by, comment=change.comment)
    return step


@transaction.atomic
def close_performed_step(
    step: PerformedProcedureStep, to: str, *, by: User, code: str = "110513", at: datetime | None = None
) -> PerformedProcedureStep:
    """A person ends a step whose modality never will; what it says later is refused (PS3.4 F.7.2.2.3, note 2)."""
    require(by, "exam.perform")
    change = PerformedChange(ended_at=at or timezone.now(), discontinuation_code=code)
    if to == PerformedStepStatus.COMPLETED:
        return complete_performed_step(step.sop_instance_uid, change, by=by)
    return discontinue_performed_step(step.sop_instance_uid, change, by=by)


def conclude(step: PerformedProcedureStep, *, by: User, comment: str = "") -> None:
    """A step has ended: what that means for its exams. Their orders are locked."""
    ended = step.ended_at or step.status_at
    for exam in step.exams.exclude(status=ExamStatus.ENTERED_IN_ERROR).order_by("pk"):
        exam, order = locked(exam)
        tell_apart(exam, step, by=by)
        if exam.status == ExamStatus.IN_PROGRESS:
            _end_entries(step, order, at=ended)
            _end_exam(exam, order, step, by=by, at=ended, comment=comment)
    late = performed.counts([step])
    settle_late_end(step, series=late[0] if late else None, images=late[1] if late else None, by=by)
    for exam in step.exams.filter(status=ExamStatus.COMPLETED).order_by("pk"):
        recount(exam)
    compare_images(step.study_instance_uid)


def tell_apart(exam: Exam, step: PerformedProcedureStep, *, by: User) -> None:
    """What the step says beside its end: who did it, and the dose. Of a group the first exam has all of the dose."""
    if exam.technologist is None:
        exam.technologist = performed.operator(step)
        exam.save(update_fields=["technologist"])
    told = performed.told_dose(step)
    if told and exam.pk == min(step.exams.values_list("pk", flat=True)):
        note_dose(
            exam, source=DoseSource.MPPS, instance_uid=step.sop_instance_uid, performed_step=step, by=by, **told
        )  # fmt: skip


def _end_entries(step: PerformedProcedureStep, order: Order, *, at: datetime) -> None:
    """The worklist entries that this step was the last of."""
    if step.status != PerformedStepStatus.COMPLETED or not _ends_exams(step):
        return
    entries = step.scheduled_steps.filter(status=StepStatus.STARTED).exclude(
        performed_steps__status=PerformedStepStatus.IN_PROGRESS
    )
    scheduling.end_some_steps(order, list(entries.values_list("pk", flat=True)), at=at)


def _ends_exams(step: PerformedProcedureStep) -> bool:
    return not Station.objects.filter(ae_title=step.station_ae_title, ends_exams=False).exists()


def _end_exam(
    exam: Exam, order: Order, step: PerformedProcedureStep, *, by: User, at: datetime, comment: str
) -> None:
    steps = list(exam.performed_steps.all())
    if any(one.status == PerformedStepStatus.IN_PROGRESS for one in steps):
        return
    if any(one.status == PerformedStepStatus.COMPLETED for one in steps):
        # Entries of other machines are still to come (PET after CT), or somebody else says when it is over.
        if exam.procedure.steps.filter(status__in=ON_WORKLIST).exists() or not _ends_exams(step):
            return
        told = performed.counts(steps)
        finish(exam, order, ExamStatus.COMPLETED, by=by, at=at, comment=comment,
               series_count=told[0] if told else None, image_count=told[1] if told else None)  # fmt: skip
        return
    code = step.discontinuation_code if step.discontinuation_code in DISCONTINUATION_REASONS else "110513"
    exam.discontinuation_code = code
    exam.discontinuation_reason = DISCONTINUATION_REASONS[code]
    finish(exam, order, ExamStatus.DISCONTINUED, by=by, at=at, comment=comment)


def recount(exam: Exam) -> None:
    """The counts of an exam that was made in several steps are those of all of them together."""
    steps = list(exam.performed_steps.all())
    told = performed.counts(steps)
    if told is None or len(steps) < 2 or (exam.series_count, exam.image_count) == told:
        return
    exam.series_count, exam.image_count = told
    exam.version += 1
    exam.save(update_fields=["series_count", "image_count", "version"])


def _undo_wrong_entry(step: PerformedProcedureStep, *, by: User) -> None:
    """CID 9301 110514: the exams it was taken for go back, or on without it; its images are somebody else's."""
    ended = step.ended_at or step.status_at
    for exam in step.exams.filter(status=ExamStatus.IN_PROGRESS).order_by("pk"):
        exam, order = locked(exam)
        step.exams.remove(exam)
        others = list(exam.performed_steps.order_by("started_at", "pk"))
        if not others:
            withdraw(exam, order, by=by, at=ended)
        else:
            _end_exam(exam, order, others[-1], by=by, at=ended, comment="")
    step.scheduled_steps.clear()
    leave_to_a_person(
        step, ProblemKind.WRONG_ENTRY, "The wrong entry of the worklist was picked: its images are not that patient's.",
        by=by,
    )  # fmt: skip
