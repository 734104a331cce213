"""Doing: starting, completing and stopping exams, by hand or as a modality reports it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from ris.accounts.models import Role, User
from ris.accounts.permissions import require
from ris.core.errors import BadValue, Conflict, Duplicate, IllegalTransition, MissingData, NotFound
from ris.department.models import Room, Station
from ris.events.outbox import record
from ris.exams.models import Exam, PerformedProcedureStep
from ris.exams.states import DISCONTINUATION_REASONS, WRONG_ENTRY, ExamStatus, PerformedStepStatus
from ris.orders import actions as orders
from ris.orders.models import Order, RequestedProcedure
from ris.orders.states import OrderStatus
from ris.patients.models import PatientIdentifier
from scheduling import actions as scheduling
from scheduling.models import ScheduledProcedureStep
from scheduling.states import LIVE, StepStatus


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
def start_exam(
    order: Order,
    *,
    by: User,
    room: Room | None = None,
    station_ae_title: str = "",
    at: datetime | None = None,
) -> list[Exam]:
    """Begin the exams of an order by hand; one for each of its procedures.

    The order may be planned or not (a walk-in needs `room`). Raises IllegalTransition once it has ended,
    MissingData while a code is unknown.
    """
    require(by, "exam.perform")
    order = orders.locked(order)
    if order.status == OrderStatus.IN_PROGRESS:
        raise IllegalTransition("This exam has been started already.")
    procedures = list(order.procedures.select_related("procedure_type"))
    if any(one.procedure_type is None for one in procedures):
        raise MissingData("The exam code of this order is not known yet. Match it first.")
    return _begin(
        order, procedures, by=by, room=room, station_ae_title=station_ae_title, at=at or timezone.now()
    )


def _begin(
    order: Order, procedures: Iterable[RequestedProcedure], *, by: User, room: Room | None, station_ae_title: str,
    at: datetime,
) -> list[Exam]:  # fmt: skip
    planned = order.appointments.select_related("room").filter(status__in=LIVE).first()
    where = room or (planned.room if planned else None)
    orders.mark_in_progress(order, at=at)
    scheduling.start_steps(order, at=at)
    exams = []
    for procedure in procedures:
        exam = Exam.objects.create(
            order=order, procedure=procedure, room=where, station_ae_title=station_ae_title, started_at=at,
            status_at=at, technologist=None if Role.SYSTEM in by.roles else by,
        )  # fmt: skip
        record(
            "exam.started", order.subject, by=by, patient=order.patient_id, order=order.pk, exam=exam.pk,
            procedure=procedure.pk,
        )  # fmt: skip
        exams.append(exam)
    return exams


def _locked(exam: Exam) -> tuple[Exam, Order]:
    order = orders.locked(exam.order)
    fresh = (
        Exam.objects.select_for_update(of=("self",))
        .select_related("procedure__procedure_type")
        .get(pk=exam.pk)
    )
    fresh.order = order
    return fresh, order


@transaction.atomic
def complete_exam(
    exam: Exam, *, by: User, comment: str = "", series_count: int | None = None, image_count: int | None = None,
    at: datetime | None = None,
) -> Exam:  # fmt: skip
    """The images are made; the exam goes to the reading list. Steps a modality left open stay as it left them."""
    require(by, "exam.perform")
    exam, order = _locked(exam)
    _finish(exam, order, ExamStatus.COMPLETED, by=by, comment=comment, at=at or timezone.now(),
            series_count=series_count, image_count=image_count)  # fmt: skip
    return exam


@transaction.atomic
def discontinue_exam(
    exam: Exam, *, code: str, by: User, comment: str = "", at: datetime | None = None
) -> Exam:
    """Stop the exam for a reason of CID 9301; 110514 means it was never begun (`undo_start`)."""
    require(by, "exam.perform")
    if code not in DISCONTINUATION_REASONS:
        raise BadValue("Pick a reason for stopping.", location="code")
    exam, order = _locked(exam)
    if code == WRONG_ENTRY:
        return _withdraw(exam, order, by=by, at=at or timezone.now())
    exam.discontinuation_code = code
    exam.discontinuation_reason = DISCONTINUATION_REASONS[code]
    _finish(exam, order, ExamStatus.DISCONTINUED, by=by, comment=comment, at=at or timezone.now())
    return exam


@transaction.atomic
def undo_start(exam: Exam, *, by: User, at: datetime | None = None) -> Exam:
    """The wrong worklist entry was started: the order goes back on the worklist, nothing is charged."""
    require(by, "exam.perform")
    exam, order = _locked(exam)
    return _withdraw(exam, order, by=by, at=at or timezone.now())


@transaction.atomic
def comment_exam(exam: Exam, comment: str, *, by: User) -> Exam:
    """Leave a note for the reader: what moved, what was repeated. It may follow the exam's end."""
    require(by, "exam.perform")
    exam, order = _locked(exam)
    exam.comment = comment.strip()[:400]
    exam.version += 1
    exam.save(update_fields=["comment", "version"])
    record("exam.commented", order.subject, by=by, patient=order.patient_id, order=order.pk, exam=exam.pk)
    return exam


def _finish(
    exam: Exam, order: Order, to: str, *, by: User, at: datetime, comment: str = "",
    series_count: int | None = None, image_count: int | None = None,
) -> None:  # fmt: skip
    exam.ended_at = at
    exam.comment = comment.strip()[:400] or exam.comment
    exam.series_count = series_count if series_count is not None else exam.series_count
    exam.image_count = image_count if image_count is not None else exam.image_count
    if exam.technologist is None and Role.SYSTEM not in by.roles:
        exam.technologist = by
    exam.save(update_fields=["ended_at", "comment", "series_count", "image_count", "technologist",
                             "discontinuation_code", "discontinuation_reason"])  # fmt: skip
    exam.move(to, at=at)
    record(
        f"exam.{to}", order.subject, by=by, patient=order.patient_id, order=order.pk, exam=exam.pk,
        procedure=exam.procedure_id,
    )  # fmt: skip
    _settle(order, by=by, at=at)


def _settle(order: Order, *, by: User, at: datetime) -> None:
    """The order follows its exams: performed when all have ended and one is complete, else discontinued."""
    ended = list(order.exams.exclude(status=ExamStatus.ENTERED_IN_ERROR))
    if any(exam.status == ExamStatus.IN_PROGRESS for exam in ended):
        return
    if any(exam.status == ExamStatus.COMPLETED for exam in ended):
        scheduling.end_steps(order, StepStatus.COMPLETED, at=at)
        orders.mark_performed(order, at=at)
        return
    scheduling.end_steps(order, StepStatus.DISCONTINUED, at=at)
    orders.mark_discontinued(order, reason=ended[0].discontinuation_reason, at=at)
    record("order.discontinued", order.subject, by=by, patient=order.patient_id, order=order.pk)


def _withdraw(exam: Exam, order: Order, *, by: User, at: datetime) -> Exam:
    exam.ended_at = at
    exam.discontinuation_code = WRONG_ENTRY
    exam.discontinuation_reason = DISCONTINUATION_REASONS[WRONG_ENTRY]
    exam.save(update_fields=["ended_at", "discontinuation_code", "discontinuation_reason"])
    exam.move(ExamStatus.ENTERED_IN_ERROR, at=at)
    if not order.exams.filter(status=ExamStatus.IN_PROGRESS).exists():
        planned = scheduling.reopen_steps(order, at=at)
        orders.mark_not_started(order, scheduled=planned, at=at)
    record(
        "exam.start_undone", order.subject, by=by, patient=order.patient_id, order=order.pk, exam=exam.pk,
        procedure=exam.procedure_id,
    )  # fmt: skip
    return exam


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
        step.exams.add(*done)
        _leave_to_a_person(step, f"Its order is {order.get_status_display().lower()}.", by=by)
        return
    if any(one.procedure_type is None for one in waiting):
        _leave_to_a_person(step, "The exam code of its order is not known yet.", by=by)
        return
    if waiting:
        station = Station.objects.select_related("room").filter(ae_title=step.station_ae_title).first()
        step.exams.add(
            *_begin(order, waiting, by=by, room=station.room if station else None,
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
    for exam in step.exams.filter(status=ExamStatus.IN_PROGRESS).order_by("pk"):
        if exam.performed_steps.filter(status=PerformedStepStatus.IN_PROGRESS).exists():
            continue
        exam, order = _locked(exam)
        _finish(exam, order, ExamStatus.COMPLETED, by=by, at=ended, comment=change.comment,
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
    code = change.discontinuation_code if change.discontinuation_code in DISCONTINUATION_REASONS else "110513"
    for exam in step.exams.filter(status=ExamStatus.IN_PROGRESS).order_by("pk"):
        others = exam.performed_steps.exclude(pk=step.pk)
        if others.filter(status=PerformedStepStatus.IN_PROGRESS).exists():
            continue
        exam, order = _locked(exam)
        if others.filter(status=PerformedStepStatus.COMPLETED).exists():
            _finish(exam, order, ExamStatus.COMPLETED, by=by, at=ended)
        elif code == WRONG_ENTRY:
            _withdraw(exam, order, by=by, at=ended)
        else:
            exam.discontinuation_code = code
            exam.discontinuation_reason = DISCONTINUATION_REASONS[code]
            _finish(exam, order, ExamStatus.DISCONTINUED, by=by, at=ended, comment=change.comment)
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
    exams = running or _begin(
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
            exam, order = _locked(exam)
            _finish(exam, order, ExamStatus.COMPLETED, by=by, at=step.ended_at or timezone.now())
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
