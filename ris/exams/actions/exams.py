"""Doing by hand: starting, completing and stopping exams."""

from collections.abc import Collection, Iterable
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from ris.accounts.models import Role, User
from ris.accounts.permissions import require
from ris.core.errors import BadValue, IllegalTransition, MissingData
from ris.department.models import Room
from ris.events.outbox import record
from ris.exams.models import Exam
from ris.exams.states import DISCONTINUATION_REASONS, WRONG_ENTRY, ExamStatus
from ris.orders import actions as orders
from ris.orders.models import Order, RequestedProcedure
from ris.orders.states import OrderStatus
from ris.safety.passport import refuse_if_stopped
from scheduling import actions as scheduling
from scheduling.states import LIVE, StepStatus


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
    MissingData while a code is unknown, `ris.safety.passport.Stopped` while a hard stop stands.
    """
    require(by, "exam.perform")
    order = orders.locked(order)
    if order.status == OrderStatus.IN_PROGRESS:
        raise IllegalTransition("This exam has been started already.")
    procedures = list(order.procedures.select_related("procedure_type"))
    if any(one.procedure_type is None for one in procedures):
        raise MissingData("The exam code of this order is not known yet. Match it first.")
    refuse_if_stopped(order, by=by, at=at)
    return begin(
        order, procedures, by=by, room=room, station_ae_title=station_ae_title, at=at or timezone.now(),
        technologist=_technologist(by),
    )  # fmt: skip


def _technologist(by: User) -> User | None:
    return None if Role.SYSTEM in by.roles else by


def begin(
    order: Order, procedures: Iterable[RequestedProcedure], *, by: User, room: Room | None, station_ae_title: str,
    at: datetime, only: Collection[int] | None = None, technologist: User | None = None,
) -> list[Exam]:  # fmt: skip
    """`only` are the scheduled steps a modality has begun; of an order begun by hand it is all of them."""
    planned = order.appointments.select_related("room").filter(status__in=LIVE).first()
    where = room or (planned.room if planned else None)
    orders.mark_in_progress(order, at=at)
    scheduling.start_steps(order, only=only, at=at)
    exams = []
    for procedure in procedures:
        exam = Exam.objects.create(
            order=order, procedure=procedure, room=where, station_ae_title=station_ae_title, started_at=at,
            status_at=at, technologist=technologist,
        )  # fmt: skip
        record(
            "exam.started", order.subject, by=by, patient=order.patient_id, order=order.pk, exam=exam.pk,
            procedure=procedure.pk,
        )  # fmt: skip
        exams.append(exam)
    return exams


def locked(exam: Exam) -> tuple[Exam, Order]:
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
    exam, order = locked(exam)
    exam.technologist = exam.technologist or _technologist(by)
    finish(exam, order, ExamStatus.COMPLETED, by=by, comment=comment, at=at or timezone.now(),
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
    exam, order = locked(exam)
    if code == WRONG_ENTRY:
        return withdraw(exam, order, by=by, at=at or timezone.now())
    exam.discontinuation_code = code
    exam.discontinuation_reason = DISCONTINUATION_REASONS[code]
    exam.technologist = exam.technologist or _technologist(by)
    finish(exam, order, ExamStatus.DISCONTINUED, by=by, comment=comment, at=at or timezone.now())
    return exam


@transaction.atomic
def undo_start(exam: Exam, *, by: User, at: datetime | None = None) -> Exam:
    """The wrong worklist entry was started: the order goes back on the worklist, nothing is charged."""
    require(by, "exam.perform")
    exam, order = locked(exam)
    return withdraw(exam, order, by=by, at=at or timezone.now())


@transaction.atomic
def comment_exam(exam: Exam, comment: str, *, by: User) -> Exam:
    """Leave a note for the reader: what moved, what was repeated. It may follow the exam's end."""
    require(by, "exam.perform")
    exam, order = locked(exam)
    exam.comment = comment.strip()[:400]
    exam.version += 1
    exam.save(update_fields=["comment", "version"])
    record("exam.commented", order.subject, by=by, patient=order.patient_id, order=order.pk, exam=exam.pk)
    return exam


def finish(
    exam: Exam, order: Order, to: str, *, by: User, at: datetime, comment: str = "",
    series_count: int | None = None, image_count: int | None = None,
) -> None:  # fmt: skip
    exam.ended_at = at
    exam.comment = comment.strip()[:400] or exam.comment
    exam.series_count = series_count if series_count is not None else exam.series_count
    exam.image_count = image_count if image_count is not None else exam.image_count
    exam.save(update_fields=["ended_at", "comment", "series_count", "image_count", "technologist",
                             "discontinuation_code", "discontinuation_reason"])  # fmt: skip
    exam.move(to, at=at)
    record(
        f"exam.{to}", order.subject, by=by, patient=order.patient_id, order=order.pk, exam=exam.pk,
        procedure=exam.procedure_id,
    )  # fmt: skip
    _settle(order, by=by, at=at)


def _settle(order: Order, *, by: User, at: datetime) -> None:
    """The order follows its exams: performed when all have ended and one is complete; else it comes back or ends."""
    ended = list(order.exams.exclude(status=ExamStatus.ENTERED_IN_ERROR).order_by("pk"))
    if any(exam.status == ExamStatus.IN_PROGRESS for exam in ended):
        return
    if any(exam.status == ExamStatus.COMPLETED for exam in ended):
        scheduling.end_steps(order, StepStatus.COMPLETED, at=at)
        orders.mark_performed(order, at=at)
        return
    if ended[-1].discontinuation_code in order.facility.comes_back_after:
        planned = scheduling.reopen_steps(order, at=at)
        orders.mark_not_started(order, scheduled=planned, at=at)
        record("order.comes_back", order.subject, by=by, patient=order.patient_id, order=order.pk)
        return
    scheduling.end_steps(order, StepStatus.DISCONTINUED, at=at)
    orders.mark_discontinued(order, reason=ended[-1].discontinuation_reason, at=at)
    record("order.discontinued", order.subject, by=by, patient=order.patient_id, order=order.pk)


def withdraw(exam: Exam, order: Order, *, by: User, at: datetime) -> Exam:
    """It was never this exam. The order goes back where it stood before it began."""
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
