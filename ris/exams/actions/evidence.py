"""Ending, and beginning, exams by evidence; the way back; and what a modality says about them afterwards.

The system ends an exam once. Opened again by a person, it is only proposed, never done a second time.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.utils import timezone

from ris.accounts.models import User, system_user
from ris.accounts.permissions import require
from ris.core.errors import BadValue, Conflict, IllegalTransition, MissingData, RisError
from ris.department.models import Station
from ris.events.outbox import record
from ris.exams.actions.exams import begin, finish, locked
from ris.exams.completion import (
    AT_ONCE,
    Evidence,
    Unstarted,
    images_in_the_archive,
    running,
    unstarted,
    verdicts,
)
from ris.exams.models import CompletionByEvidence, CompletionRule, Exam, PerformedProcedureStep
from ris.exams.models_completion import EvidenceKind, Response
from ris.exams.states import ExamStatus, PerformedStepStatus
from ris.orders import actions as orders
from ris.orders.models import Order
from ris.orders.states import OrderStatus
from scheduling import actions as scheduling

log = logging.getLogger(__name__)

#: A modality's clock may differ from ours by so much.
CLOCKS_DIFFER = timedelta(minutes=30)

Objection = Callable[[Exam], str]
_objections: list[Objection] = []


def objects_to_reopening(objection: Objection) -> Objection:
    """Register a reason of an app above why an ended exam must stay ended; it answers "" when there is none."""
    _objections.append(objection)
    return objection


@transaction.atomic
def set_completion_rule(
    evidence: str, *, response: str, minutes: int, station: Station | None = None, modality: str = "", by: User
) -> CompletionRule:  # fmt: skip
    """What a kind of evidence does at a station, for a modality, or everywhere."""
    require(by, "department.change")
    if evidence not in EvidenceKind.values or response not in Response.values:
        raise BadValue("Pick what the evidence does.", location="response")
    if not 0 <= minutes <= 1440:
        raise BadValue("Write 0 to 1440 minutes.", location="minutes")
    rule, _ = CompletionRule.objects.update_or_create(
        station=station,
        modality="" if station else modality,
        evidence=evidence,
        defaults={"response": response, "minutes": minutes},
    )
    reach = f"department:station:{station.pk}" if station else f"completion:{modality or 'all'}"
    record("department.changed", reach, by=by, record=rule.pk, changed=[f"completion by {evidence}"])
    return rule


@transaction.atomic
def complete_by_evidence(
    exam: Exam, evidence: Evidence, *, words: str, by: User, at: datetime | None = None
) -> Exam:
    """End the exam when the evidence shows it ended, and keep the evidence with it.

    Steps that a modality left open stay open: its own word may still come, and is then said beside this one
    (`settle_late_end`).
    """
    require(by, "exam.perform")
    exam, order = locked(exam)
    if exam.status != ExamStatus.IN_PROGRESS:
        raise IllegalTransition(f"This exam is {exam.get_status_display().lower()} already.")
    ended = max(evidence.ended_at, exam.started_at)
    finish(exam, order, ExamStatus.COMPLETED, by=by, at=ended, series_count=evidence.series,
           image_count=evidence.images)  # fmt: skip
    _keep(exam, order, evidence.kind, words, by=by, at=at)
    return exam


def _keep(
    exam: Exam, order: Order, kind: str, words: str, *, by: User, at: datetime | None, reopened: bool = False
) -> None:
    CompletionByEvidence.objects.create(
        exam=exam, evidence=kind, words=words[:300], reopened=reopened, by=by, at=at or timezone.now()
    )
    if not reopened:
        record(
            "exam.completed_by_evidence", order.subject, by=by, patient=order.patient_id, order=order.pk, exam=exam.pk,
            evidence=str(kind), words=words[:300],
        )  # fmt: skip


@transaction.atomic
def do_by_evidence(found: Unstarted, *, by: User, complete: bool, at: datetime | None = None) -> list[Exam]:
    """Begin the exams of an order that nobody began, when the first images came; `complete` ends them too."""
    require(by, "exam.perform")
    order = orders.locked(found.order)
    if order.status not in {OrderStatus.REQUESTED, OrderStatus.SCHEDULED}:
        raise Conflict(f"This order is {order.get_status_display().lower()} already.")
    procedures = list(order.procedures.select_related("procedure_type"))
    if any(one.procedure_type is None for one in procedures):
        raise MissingData("The exam code of this order is not known yet. Match it first.")
    began = found.evidence.begun_by or found.evidence.ended_at
    exams = begin(order, procedures, by=by, room=None, station_ae_title="", at=began)
    if not complete:
        return exams
    # Of several procedures those are over whose own images have come.
    held = images_in_the_archive(exams, at or timezone.now())
    return [
        complete_by_evidence(exam, held[exam.pk], words=found.words, by=by, at=at)
        if exam.pk in held
        else exam
        for exam in exams
    ]


@transaction.atomic
def reopen_exam(exam: Exam, *, reason: str, by: User, at: datetime | None = None) -> Exam:
    """Take an end back: the exam goes on. Partners hear that it is in progress; its technical charge is voided.

    Raises Conflict while somebody reads it.
    """
    require(by, "exam.perform")
    if not reason.strip():
        raise MissingData("Say why the exam goes on.", location="reason")
    exam, order = locked(exam)
    if exam.status != ExamStatus.COMPLETED or order.status == OrderStatus.REPORTED:
        raise IllegalTransition(f"This exam is {exam.get_status_display().lower()}; it cannot go on.")
    for objection in _objections:
        if why := objection(exam):
            raise Conflict(why)
    moment = at or timezone.now()
    exam.move(ExamStatus.IN_PROGRESS, at=moment)
    exam.ended_at = None
    exam.save(update_fields=["ended_at"])
    if order.status == OrderStatus.PERFORMED:
        orders.mark_in_progress(order, at=moment)
        scheduling.resume_steps(order, at=moment)
    last = exam.by_evidence.order_by("-pk").first()
    if last is not None and not last.reopened:
        _keep(exam, order, last.evidence, reason.strip(), by=by, at=moment, reopened=True)
    record(
        "exam.reopened", order.subject, by=by, patient=order.patient_id, order=order.pk, exam=exam.pk,
        procedure=exam.procedure_id, reason=reason.strip()[:200],
    )  # fmt: skip
    return exam


# What the modality says afterwards


def belongs_to_ended(step: PerformedProcedureStep, exams: list[Exam]) -> bool:
    """Whether a step that comes late is the modality's own word on exams that a person or evidence has ended."""
    return bool(exams) and all(
        exam.status == ExamStatus.COMPLETED
        and exam.ended_at is not None
        and exam.started_at - CLOCKS_DIFFER <= step.started_at <= exam.ended_at + CLOCKS_DIFFER
        and not exam.performed_steps.exclude(pk=step.pk).exists()
        for exam in exams
    )


def settle_late_end(
    step: PerformedProcedureStep, *, series: int | None, images: int | None, by: User
) -> None:
    """A step has ended whose exams had been ended by hand or by evidence: say what that changes.

    Completed: counts nobody knew are filled in, and where an evidence had ended the exam the modality's count and
    end take its place. Discontinued: a person looks, because one of the two is wrong. Called with the order locked.
    """
    for exam in step.exams.filter(status=ExamStatus.COMPLETED).select_related("order").order_by("pk"):
        if exam.performed_steps.filter(status=PerformedStepStatus.IN_PROGRESS).exists():
            continue
        last = exam.by_evidence.order_by("-pk").first()
        inferred = last is not None and not last.reopened
        if step.status == PerformedStepStatus.DISCONTINUED:
            if inferred or not exam.performed_steps.exclude(pk=step.pk).exists():
                step.problem = "The machine says it was stopped; the exam was completed here."
                step.save(update_fields=["problem"])
                record("performed_step.unmatched", f"mpps:{step.pk}", by=by, performed_step=step.pk)
            continue
        changed = []
        if series is not None and exam.series_count != series and (inferred or exam.series_count is None):
            exam.series_count = series
            changed.append("series_count")
        if images is not None and exam.image_count != images and (inferred or exam.image_count is None):
            exam.image_count = images
            changed.append("image_count")
        if inferred and step.ended_at is not None and step.ended_at >= exam.started_at:
            exam.ended_at = step.ended_at
            changed.append("ended_at")
        if not changed:
            continue
        exam.version += 1
        exam.save(update_fields=[*changed, "version"])
        record(
            "exam.end_confirmed", exam.order.subject, by=by, patient=exam.order.patient_id, order=exam.order_id,
            exam=exam.pk, changed=changed,
        )  # fmt: skip


# By itself


def sweep(now: datetime | None = None) -> int:
    """Do what the rules say to do; how many exams were begun or ended. One that cannot be done stops no other."""
    moment = now or timezone.now()
    by = system_user("evidence")
    done = 0
    for found in unstarted(moment):
        if found.response == Response.DO:
            done += _attempt(partial(do_by_evidence, found, by=by, complete=False, at=moment))
    exams = list(running().filter(by_evidence=None)[:AT_ONCE])
    ripe = verdicts(exams, moment)
    for exam in exams:
        verdict = ripe.get(exam.pk)
        if verdict is not None and verdict.response == Response.DO:
            done += _attempt(
                partial(complete_by_evidence, exam, verdict.evidence, words=verdict.words, by=by, at=moment)
            )
    return done


def _attempt(verb: Callable[[], object]) -> int:
    try:
        verb()
    except RisError as refusal:  # it has moved on since it was looked at
        log.info("ending by evidence was refused: %s", refusal.code)
        return 0
    return 1
