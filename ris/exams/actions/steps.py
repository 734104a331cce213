"""What the modalities report they did (MPPS): kept as said, and moving the exams they belong to."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.core.errors import Conflict, Duplicate, IllegalTransition, MissingData, NotFound
from ris.department.models import Station
from ris.events.outbox import record
from ris.exams.actions.evidence import belongs_to_ended, settle_late_end
from ris.exams.actions.exams import begin, finish, locked, withdraw
from ris.exams.models import Exam, PerformedProcedureStep
from ris.exams.states import DISCONTINUATION_REASONS, WRONG_ENTRY, ExamStatus, PerformedStepStatus
from ris.orders import actions as orders
from ris.orders.models import Order, RequestedProcedure
from ris.orders.states import OrderStatus
from ris.patients.models import PatientIdentifier
from scheduling.models import ScheduledProcedureStep


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
    patient_name: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PerformedChange:
    """What an N-SET says; `attributes` replace those of the same tags whole (PS3.4 F.7.2.2.2)."""

    attributes: dict[str, Any] = field(default_factory=dict)
    ended_at: datetime | None = None
    series_count: int | None = None
    image_count: int | None = None
    discontinuation_code: str = ""
    comment: str = ""


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
                study_instance_uid=new.references[0].study_instance_uid if new.references else "",
                accession_number=next((one.accession_number[:64] for one in new.references if one.accession_number), ""),
                patient_id=new.patient_id[:64], patient_name=new.patient_name[:200], started_at=new.started_at,
                status_at=new.started_at, attributes=new.attributes,
            )  # fmt: skip
    except IntegrityError:
        raise Duplicate("This performed procedure step exists already.") from None
    procedures = [found for found in map(_referenced, new.references) if found is not None]
    if not procedures:
        _leave_to_a_person(step, "It names no order that is known here.", by=by)
        return step
    for order in sorted({one.order for one in procedures}, key=lambda one: one.pk):
        _attach(step, orders.locked(order), [one for one in procedures if one.order_id == order.pk], by=by)
    return step


def _referenced(reference: ScheduledReference) -> RequestedProcedure | None:
    """The procedure a modality means: by step, else by procedure number, else by study, else by accession number."""
    known = RequestedProcedure.objects.select_related("order", "procedure_type")
    if reference.step_id:
        step = ScheduledProcedureStep.objects.filter(step_id=reference.step_id).first()
        if step:
            return known.get(pk=step.procedure_id)
    if reference.requested_procedure_id:
        found = known.filter(requested_procedure_id=reference.requested_procedure_id).first()
        if found:
            return found
    found = known.filter(study_instance_uid=reference.study_instance_uid).first()
    if found is None and reference.accession_number:
        candidates = list(known.filter(order__accession_number=reference.accession_number)[:2])
        found = candidates[0] if len(candidates) == 1 else None
    return found


def _attach(
    step: PerformedProcedureStep, order: Order, procedures: list[RequestedProcedure], *, by: User
) -> None:
    if step.patient_id and not _is_patient(order, step.patient_id):
        _leave_to_a_person(step, "Its patient is not the patient of the order it names.", by=by)
        return
    running = [one for one in procedures if one.exams.filter(status=ExamStatus.IN_PROGRESS).exists()]
    waiting = [one for one in procedures if one not in running]
    startable = order.status in {OrderStatus.REQUESTED, OrderStatus.SCHEDULED, OrderStatus.IN_PROGRESS}
    if waiting and not startable:
        done = Exam.objects.filter(procedure__in=waiting, status=ExamStatus.COMPLETED)
        late = belongs_to_ended(step, list(done))
        step.exams.add(*done)
        if late:
            return
        _leave_to_a_person(step, f"Its order is {order.get_status_display().lower()}.", by=by)
        return
    if any(one.procedure_type is None for one in waiting):
        _leave_to_a_person(step, "The exam code of its order is not known yet.", by=by)
        return
    if waiting:
        station = Station.objects.select_related("room").filter(ae_title=step.station_ae_title).first()
        step.exams.add(
            *begin(order, waiting, by=by, room=station.room if station else None,
                    station_ae_title=step.station_ae_title, at=step.started_at)
        )  # fmt: skip
    step.exams.add(*Exam.objects.filter(procedure__in=running, status=ExamStatus.IN_PROGRESS))
    planned = {one.procedure_type.modality for one in procedures if one.procedure_type}
    if planned and not planned & _ALIKE.get(step.modality, {step.modality}):
        _leave_to_a_person(
            step, f"It was done on {step.modality}, planned was {', '.join(sorted(planned))}.", by=by
        )


#: Modalities that report the same exam under either name.
_ALIKE = {"DX": {"DX", "CR"}, "CR": {"DX", "CR"}, "RF": {"RF", "XA"}, "XA": {"RF", "XA"}}


def _is_patient(order: Order, patient_id: str) -> bool:
    """Whether the number is one of the patient's, or of a record merged into theirs."""
    return (
        PatientIdentifier.objects.filter(value=patient_id, patient=order.patient).exists()
        or PatientIdentifier.objects.filter(value=patient_id, patient__merged_into=order.patient).exists()
    )


def _leave_to_a_person(step: PerformedProcedureStep, problem: str, *, by: User) -> None:
    step.problem = problem
    step.save(update_fields=["problem"])
    record("performed_step.unmatched", f"mpps:{step.pk}", by=by, performed_step=step.pk)


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
    step.save(update_fields=["attributes", "ended_at"])


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
    """The modality has finished (RAD-7): its exams complete when none of their other steps is still in progress."""
    require(by, "exam.perform")
    step = _locked_step(sop_instance_uid)
    _apply(step, change)
    ended = change.ended_at or timezone.now()
    step.move(PerformedStepStatus.COMPLETED, at=ended)
    settle_late_end(step, series=change.series_count, images=change.image_count, by=by)
    for exam in step.exams.filter(status=ExamStatus.IN_PROGRESS).order_by("pk"):
        if exam.performed_steps.filter(status=PerformedStepStatus.IN_PROGRESS).exists():
            continue
        exam, order = locked(exam)
        finish(exam, order, ExamStatus.COMPLETED, by=by, at=ended, comment=change.comment,
                series_count=change.series_count, image_count=change.image_count)  # fmt: skip
    return step


@transaction.atomic
def discontinue_performed_step(
    sop_instance_uid: str, change: PerformedChange, *, by: User
) -> PerformedProcedureStep:
    """The modality has stopped: its exams stop too, unless another step of theirs was completed or goes on."""
    require(by, "exam.perform")
    step = _locked_step(sop_instance_uid)
    _apply(step, change)
    ended = change.ended_at or timezone.now()
    step.discontinuation_code = change.discontinuation_code[:16]
    step.save(update_fields=["discontinuation_code"])
    step.move(PerformedStepStatus.DISCONTINUED, at=ended)
    settle_late_end(step, series=None, images=None, by=by)
    code = change.discontinuation_code if change.discontinuation_code in DISCONTINUATION_REASONS else "110513"
    for exam in step.exams.filter(status=ExamStatus.IN_PROGRESS).order_by("pk"):
        others = exam.performed_steps.exclude(pk=step.pk)
        if others.filter(status=PerformedStepStatus.IN_PROGRESS).exists():
            continue
        exam, order = locked(exam)
        if others.filter(status=PerformedStepStatus.COMPLETED).exists():
            finish(exam, order, ExamStatus.COMPLETED, by=by, at=ended)
        elif code == WRONG_ENTRY:
            withdraw(exam, order, by=by, at=ended)
        else:
            exam.discontinuation_code = code
            exam.discontinuation_reason = DISCONTINUATION_REASONS[code]
            finish(exam, order, ExamStatus.DISCONTINUED, by=by, at=ended, comment=change.comment)
    return step


@transaction.atomic
def match_performed_step(step: PerformedProcedureStep, order: Order, *, by: User) -> PerformedProcedureStep:
    """A person says which order the images belong to. The order goes where the step is: started, or already done.

    Raises Conflict when the order has ended or the step needs no matching.
    """
    require(by, "exam.reconcile")
    order = orders.locked(order)
    step = PerformedProcedureStep.objects.select_for_update().get(pk=step.pk)
    if not step.problem:
        raise Conflict("This performed step has been matched already.")
    if order.status not in {OrderStatus.REQUESTED, OrderStatus.SCHEDULED, OrderStatus.IN_PROGRESS}:
        raise Conflict(f"That order is {order.get_status_display().lower()}; pick another.")
    procedures = list(order.procedures.select_related("procedure_type"))
    if any(one.procedure_type is None for one in procedures):
        raise MissingData("The exam code of that order is not known yet. Match it first.")
    step.problem = ""
    step.save(update_fields=["problem"])
    running = list(order.exams.filter(status=ExamStatus.IN_PROGRESS))
    station = Station.objects.select_related("room").filter(ae_title=step.station_ae_title).first()
    exams = running or begin(
        order, procedures, by=by, room=station.room if station else None, station_ae_title=step.station_ae_title,
        at=step.started_at,
    )  # fmt: skip
    step.exams.set(exams)
    record(
        "performed_step.matched",
        order.subject,
        by=by,
        patient=order.patient_id,
        order=order.pk,
        performed_step=step.pk,
    )
    if step.status == PerformedStepStatus.COMPLETED:
        for exam in exams:
            exam, order = locked(exam)
            finish(exam, order, ExamStatus.COMPLETED, by=by, at=step.ended_at or timezone.now())
    return step


@transaction.atomic
def discard_performed_step(step: PerformedProcedureStep, *, reason: str, by: User) -> PerformedProcedureStep:
    """Take an unmatched step off the reconciliation list: a phantom, a test. It stays stored, with the reason."""
    require(by, "exam.reconcile")
    if not reason.strip():
        raise MissingData("Say why no order is needed for it.", location="reason")
    step = PerformedProcedureStep.objects.select_for_update().get(pk=step.pk)
    step.problem = ""
    step.save(update_fields=["problem"])
    record(
        "performed_step.discarded",
        f"mpps:{step.pk}",
        by=by,
        performed_step=step.pk,
        reason=reason.strip()[:200],
    )
    return step
