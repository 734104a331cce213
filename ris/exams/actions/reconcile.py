"""What no order was found for, and what was taken for the wrong one: a person says whose it is.

A signed report is never changed in silence: whoever reads an exam, or has read it, has to let go of it first.
"""

from collections.abc import Sequence
from dataclasses import replace

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.core.errors import Conflict, MissingData
from ris.events.models import Event
from ris.events.outbox import record
from ris.exams.actions.evidence import reopen_exam
from ris.exams.actions.exams import begin, finish, locked, withdraw
from ris.exams.actions.images import compare_images
from ris.exams.actions.steps import STARTABLE, conclude, recount, take_in
from ris.exams.models import Exam, PerformedProcedureStep, StudyImages
from ris.exams.states import ExamStatus, PerformedStepStatus, ProblemKind
from ris.orders import actions as orders
from ris.orders.actions import NewOrder, place_order, take_study
from ris.orders.models import Order, RequestedProcedure
from ris.orders.states import OrderStatus


@transaction.atomic
def match_performed_step(step: PerformedProcedureStep, order: Order, *, by: User) -> PerformedProcedureStep:
    """A person says which order the images belong to. The order goes where the step is: started, or already done.

    Raises Conflict when the order can take no images or the step needs no matching, MissingData while the order's
    exam code is unknown.
    """
    require(by, "exam.reconcile")
    if _taken_for(step).exclude(pk=order.pk).exists():
        return reassign_performed_step(step, order, reason="Matched to another order.", by=by)
    order = orders.locked(order)
    step = PerformedProcedureStep.objects.select_for_update().get(pk=step.pk)
    if not step.problem:
        raise Conflict("This performed step has been matched already.")
    _give_to(step, order, by=by)
    record(
        "performed_step.matched", order.subject, by=by, patient=order.patient_id, order=order.pk,
        performed_step=step.pk,
    )  # fmt: skip
    return step


@transaction.atomic
def order_performed_step(step: PerformedProcedureStep, new: NewOrder, *, by: User) -> Order:
    """The exam came before its order (unscheduled, SCN-05): the order is born here with the study of its images.

    The placer is asked to number it (RAD-3 SN), and the image manager hears of it under that study (RAD-4).
    """
    require(by, "exam.reconcile")
    uid = step.study_instance_uid
    known = RequestedProcedure.objects.filter(study_instance_uid=uid).exists()
    order = place_order(replace(new, study_instance_uid="" if known else uid), by=by)
    match_performed_step(step, order, by=by)
    return order


def _taken_for(step: PerformedProcedureStep) -> QuerySet[Order]:
    """The orders whose exams it is taken for."""
    exams = step.exams.exclude(status=ExamStatus.ENTERED_IN_ERROR)
    return Order.objects.filter(exams__in=exams).distinct().order_by("pk")


def _give_to(step: PerformedProcedureStep, order: Order, *, by: User) -> None:
    """The step becomes one of the order's exams; of an ended step they end too. Order and step are locked."""
    procedures = _ready(order)
    step.problem, step.problem_kind = "", ""
    step.save(update_fields=["problem", "problem_kind"])
    _take_study(procedures, step.study_instance_uid, by=by)
    step.exams.clear()
    step.scheduled_steps.clear()
    exams = take_in(step, order, procedures, by=by)
    _move_images(step.study_instance_uid, exams[0].procedure)
    if step.status != PerformedStepStatus.IN_PROGRESS:
        conclude(step, by=by)


def _ready(order: Order) -> list[RequestedProcedure]:
    """The procedures of an order that can take images: one that is to be done, or done and not read."""
    if order.status not in {*STARTABLE, OrderStatus.PERFORMED}:
        read = order.status == OrderStatus.REPORTED
        told = "Its report is signed: ask for an addendum, or have it withdrawn." if read else "Pick another."
        raise Conflict(f"That order is {order.get_status_display().lower()}. {told}")
    procedures = list(order.procedures.select_related("procedure_type").order_by("number"))
    if any(one.procedure_type is None for one in procedures):
        raise MissingData("The exam code of that order is not known yet. Match it first.")
    return procedures


def _take_study(procedures: Sequence[RequestedProcedure], study_instance_uid: str, *, by: User) -> None:
    """The images of an only procedure keep the UID they were made under, unless it has images under its own."""
    if len(procedures) > 1:
        return
    procedure = procedures[0]
    own = PerformedProcedureStep.objects.filter(study_instance_uid=procedure.study_instance_uid)
    held = StudyImages.objects.filter(study_instance_uid=procedure.study_instance_uid)
    if not own.exclude(exams=None).exists() and not held.exists():
        take_study(procedure, study_instance_uid, by=by)


def _move_images(study_instance_uid: str, procedure: RequestedProcedure) -> None:
    """What the archive holds of the study is this procedure's."""
    StudyImages.objects.filter(study_instance_uid=study_instance_uid).update(
        procedure=procedure, problem="", seen_at=timezone.now()
    )
    compare_images(study_instance_uid)


@transaction.atomic
def match_images(images: StudyImages, order: Order, *, by: User) -> StudyImages:
    """A study nobody announced belongs to this order: its exam was done, and is complete."""
    require(by, "exam.reconcile")
    order = orders.locked(order)
    images = StudyImages.objects.select_for_update().get(pk=images.pk)
    if images.procedure_id is not None:
        raise Conflict("This study has been matched already.")
    procedures = _ready(order)
    _take_study(procedures, images.study_instance_uid, by=by)
    begun = list(Exam.objects.filter(order=order, status__in=[ExamStatus.IN_PROGRESS, ExamStatus.COMPLETED]))
    if not begun:
        begun = begin(order, procedures, by=by, room=None, station_ae_title="", at=images.first_seen_at)
    _move_images(images.study_instance_uid, procedures[0])
    images.refresh_from_db()
    record(
        "images.matched", order.subject, by=by, patient=order.patient_id, order=order.pk, study=images.pk,
        procedure=procedures[0].pk,
    )  # fmt: skip
    for exam in begun:
        if exam.status == ExamStatus.IN_PROGRESS and not exam.performed_steps.exists():
            exam, order = locked(exam)
            finish(exam, order, ExamStatus.COMPLETED, by=by, at=images.seen_at,
                   series_count=images.series_count, image_count=images.instance_count)  # fmt: skip
    return images


@transaction.atomic
def order_images(images: StudyImages, new: NewOrder, *, by: User) -> Order:
    """As `order_performed_step`, for a study of which only the archive knows."""
    require(by, "exam.reconcile")
    order = place_order(replace(new, study_instance_uid=images.study_instance_uid), by=by)
    match_images(images, order, by=by)
    return order


@transaction.atomic
def reassign_performed_step(
    step: PerformedProcedureStep, order: Order, *, reason: str, by: User
) -> PerformedProcedureStep:
    """The wrong entry was picked: the step and its images go to another order, the wrong one back to its plan.

    Raises Conflict while the exam they leave is being read, or has been. The fact `performed_step.reassigned`
    names both orders, for those who have to move or reject the images.
    """
    require(by, "exam.reconcile")
    if not reason.strip():
        raise MissingData("Say how it came to the wrong order.", location="reason")
    wrong = list(_taken_for(step))
    if order.pk in {one.pk for one in wrong}:
        raise Conflict("It belongs to that order already.")
    both = {one.pk: orders.locked(one) for one in sorted([*wrong, order], key=lambda one: one.pk)}
    step = PerformedProcedureStep.objects.select_for_update().get(pk=step.pk)
    for exam in step.exams.exclude(status=ExamStatus.ENTERED_IN_ERROR).order_by("pk"):
        _leave(step, exam, reason=reason, by=by)
    right = both[order.pk]
    _give_to(step, orders.locked(right), by=by)
    for one in wrong:
        record(
            "performed_step.reassigned", one.subject, by=by, patient=one.patient_id, order=one.pk,
            performed_step=step.pk, to_order=right.pk, to_patient=right.patient_id, reason=reason.strip()[:200],
        )  # fmt: skip
    record(
        "performed_step.matched", right.subject, by=by, patient=right.patient_id, order=right.pk,
        performed_step=step.pk,
    )  # fmt: skip
    return step


def _leave(step: PerformedProcedureStep, exam: Exam, *, reason: str, by: User) -> None:
    """The exam goes on without the step; with no other it was never done."""
    others = exam.performed_steps.exclude(pk=step.pk)
    if exam.order.status == OrderStatus.REPORTED:
        raise Conflict(
            "The report of these images is signed. The radiologist withdraws it (wrong patient) first; then move them."
        )
    if exam.status == ExamStatus.COMPLETED:
        if others.exists():
            step.exams.remove(exam)
            recount(exam)
            return
        exam = reopen_exam(exam, reason=reason, by=by)
    step.exams.remove(exam)
    if exam.status == ExamStatus.IN_PROGRESS and not others.exists():
        exam, order = locked(exam)
        withdraw(exam, order, by=by, at=timezone.now())


@transaction.atomic
def unmatch_performed_step(step: PerformedProcedureStep, *, by: User) -> PerformedProcedureStep:
    """Take a match back: the step waits on the list again, its order is as if it had never begun."""
    require(by, "exam.reconcile")
    for order in _taken_for(step):
        orders.locked(order)
    step = PerformedProcedureStep.objects.select_for_update().get(pk=step.pk)
    matched = (
        Event.objects.filter(kind="performed_step.matched", facts__performed_step=step.pk)
        .order_by("-pk")
        .first()
    )
    if step.problem or matched is None:
        raise Conflict("This step was not matched by hand.")
    for exam in step.exams.exclude(status=ExamStatus.ENTERED_IN_ERROR).order_by("pk"):
        _leave(step, exam, reason="The match was taken back.", by=by)
    step.scheduled_steps.clear()
    step.problem_kind, step.problem = ProblemKind.NO_ORDER, "Its match was taken back."
    step.save(update_fields=["problem", "problem_kind"])
    record("performed_step.unmatched", f"mpps:{step.pk}", by=by, performed_step=step.pk, problem="no_order")
    return step


@transaction.atomic
def discard_performed_step(step: PerformedProcedureStep, *, reason: str, by: User) -> PerformedProcedureStep:
    """Take a step off the reconciliation list: a phantom, a test, or right as it is. It stays stored, with the reason."""
    require(by, "exam.reconcile")
    if not reason.strip():
        raise MissingData("Say why no order is needed for it.", location="reason")
    step = PerformedProcedureStep.objects.select_for_update().get(pk=step.pk)
    was, kind = step.problem, step.problem_kind
    step.problem, step.problem_kind = "", ""
    step.save(update_fields=["problem", "problem_kind"])
    record(
        "performed_step.discarded", f"mpps:{step.pk}", by=by, performed_step=step.pk, reason=reason.strip()[:200],
        problem=was, problem_kind=kind,
    )  # fmt: skip
    return step


@transaction.atomic
def restore_performed_step(step: PerformedProcedureStep, *, by: User) -> PerformedProcedureStep:
    """Put a discarded step back on the list."""
    require(by, "exam.reconcile")
    step = PerformedProcedureStep.objects.select_for_update().get(pk=step.pk)
    last = (
        Event.objects.filter(kind="performed_step.discarded", subject=f"mpps:{step.pk}")
        .order_by("-pk")
        .first()
    )
    if step.problem or last is None:
        raise Conflict("This step is on the list already.")
    step.problem, step.problem_kind = last.facts["problem"], last.facts["problem_kind"]
    step.save(update_fields=["problem", "problem_kind"])
    record("performed_step.restored", f"mpps:{step.pk}", by=by, performed_step=step.pk)
    return step


@transaction.atomic
def discard_images(images: StudyImages, *, reason: str, by: User) -> StudyImages:
    """The study needs no order: a phantom, a prior from elsewhere. What the archive tells of it is still kept."""
    require(by, "exam.reconcile")
    if not reason.strip():
        raise MissingData("Say why no order is needed for it.", location="reason")
    images = StudyImages.objects.select_for_update().get(pk=images.pk)
    images.problem = ""
    images.save(update_fields=["problem"])
    record("images.discarded", f"study:{images.pk}", by=by, study=images.pk, reason=reason.strip()[:200])
    return images


@transaction.atomic
def restore_images(images: StudyImages, *, by: User) -> StudyImages:
    """Put a discarded study back on the list."""
    require(by, "exam.reconcile")
    images = StudyImages.objects.select_for_update().get(pk=images.pk)
    if images.problem or images.procedure_id is not None:
        raise Conflict("This study is on the list, or has its order.")
    images.problem = "The archive holds it, and no order is known for it."
    images.save(update_fields=["problem"])
    record("images.restored", f"study:{images.pk}", by=by, study=images.pk)
    return images
