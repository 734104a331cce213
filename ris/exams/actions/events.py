"""What happens during an exam: noted in two taps, withdrawn by whoever noted it."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.core.errors import BadValue, Conflict, MissingData, NotAllowed
from ris.core.formats import local
from ris.department.models import Modality, ProcedureType
from ris.events.outbox import record
from ris.exams.actions.exams import locked
from ris.exams.models import Exam
from ris.exams.models_notes import ExamEvent
from ris.exams.states import EventKind, ExamStatus, RepeatReason, Severity
from ris.orders import actions as orders
from ris.orders.models import Order
from ris.safety.actions import note_fact, withdraw_fact
from ris.safety.models import Agent, Reaction, Source

#: What a person notes; the others follow from verbs.
NOTED = {
    EventKind.EXTRAVASATION, EventKind.REACTION, EventKind.MOVED, EventKind.REPEATED, EventKind.REJECTED,
    EventKind.PREMEDICATION, EventKind.NOTE,
}  # fmt: skip
_COUNTED = {EventKind.REPEATED, EventKind.REJECTED}


@transaction.atomic
def note_event(
    exam: Exam, kind: str, *, by: User, severity: str = "", reason: str = "", image_count: int | None = None,
    text: str = "", at: datetime | None = None,
) -> ExamEvent:  # fmt: skip
    """Note what happened. Late reactions come after the end, so a completed exam takes notes too."""
    require(by, "exam.perform")
    if kind not in NOTED:
        raise BadValue("Pick what happened.", location="kind")
    if kind == EventKind.REACTION and severity not in Severity.values:
        raise MissingData("Say how severe the reaction is.", location="severity")
    if kind in _COUNTED and reason not in RepeatReason.values:
        raise MissingData("Pick why the images were made again or thrown away.", location="reason")
    if kind == EventKind.NOTE and not text.strip():
        raise MissingData("Write the note.", location="text")
    exam, order = locked(exam)
    if exam.status == ExamStatus.ENTERED_IN_ERROR:
        raise Conflict("This exam was started by mistake; there is nothing to note on it.")
    reaction = _lasting(exam, order, severity, text, by=by, at=at) if kind == EventKind.REACTION else None
    event = ExamEvent.objects.create(
        exam=exam, kind=kind, reaction=reaction, severity=severity, reason=reason if kind in _COUNTED else "",
        image_count=max(image_count or 1, 1) if kind in _COUNTED else None,
        text=text.strip()[:400], by=by, at=at or timezone.now(),
    )  # fmt: skip
    record(
        "exam.event_noted", order.subject, by=by, patient=order.patient_id, order=order.pk, exam=exam.pk,
        event=event.pk, event_kind=str(kind), severity=str(severity),
    )  # fmt: skip
    return event


def _lasting(
    exam: Exam, order: Order, severity: str, text: str, *, by: User, at: datetime | None
) -> Reaction:
    """The reaction as a fact of the patient's, for every later exam; the medium is what was given last."""
    given = exam.administrations.select_related("lot__item").exclude(volume_ml=None).last()
    kind = exam.procedure.procedure_type
    agent = Agent.OTHER
    if kind is not None and (given or kind.contrast):
        agent = Agent.GADOLINIUM if kind.modality == Modality.MR else Agent.IODINE
    return note_fact(
        Reaction(
            patient=order.patient, order=order, kind=agent, agent=given.lot.item.label[:80] if given else "",
            severity=severity, description=text.strip()[:200], source=Source.RECORD, verified_by=by,
            happened_on=f"{local(at or timezone.now()):%Y-%m-%d}",
        ),
        by=by, at=at,
    )  # fmt: skip


@transaction.atomic
def withdraw_event(event: ExamEvent, *, reason: str, by: User, at: datetime | None = None) -> ExamEvent:
    """Take back what one has noted oneself; both stay to be seen."""
    require(by, "exam.perform")
    if event.by_id != by.pk:
        raise NotAllowed(f"Only {event.by} can withdraw this.")
    if event.kind not in NOTED:
        raise Conflict("This cannot be withdrawn here.")
    if not reason.strip():
        raise MissingData("Say why it is withdrawn.", location="reason")
    exam, order = locked(event.exam)
    if ExamEvent.objects.filter(withdraws=event).exists():
        raise Conflict("This was withdrawn already.")
    if event.reaction is not None and event.reaction.withdrawn_at is None:
        withdraw_fact(event.reaction, reason=reason, by=by)
    withdrawal = ExamEvent.objects.create(
        exam=exam, kind=EventKind.WITHDRAWN, text=reason.strip()[:400], by=by, at=at or timezone.now(),
        withdraws=event,
    )  # fmt: skip
    record(
        "exam.event_withdrawn", order.subject, by=by, patient=order.patient_id, order=order.pk, exam=exam.pk,
        event=event.pk, event_kind=event.kind,
    )  # fmt: skip
    return withdrawal


@transaction.atomic
def change_exam(
    exam: Exam, procedure_type: ProcedureType, *, reason: str, by: User, side: str = ""
) -> ExamEvent:
    """Another exam is done than was asked for: the order's procedure changes, and the exam keeps why.

    Placer, scheduler and charge follow `order.procedure_changed` (RAD-13, RAD-35).
    """
    require(by, "exam.perform")
    if not reason.strip():
        raise MissingData("Say why another exam is done.", location="reason")
    exam, _ = locked(exam)
    before = exam.procedure.label
    procedure = orders.change_procedure(exam.procedure, procedure_type, by=by, side=side)
    if procedure.label == before:
        raise Conflict(f"It is {before} already.", location="procedure")
    return ExamEvent.objects.create(
        exam=exam, kind=EventKind.PROCEDURE_CHANGED, by=by, at=timezone.now(),
        text=f"{before} → {procedure.label}: {reason.strip()}"[:400],
    )  # fmt: skip


@transaction.atomic
def name_assistant(exam: Exam, assistant: User | None, *, by: User) -> Exam:
    """Who helped at the scanner, if anybody did."""
    require(by, "exam.perform")
    exam, order = locked(exam)
    if assistant is not None and assistant.pk == exam.technologist_id:
        raise BadValue(f"{assistant} did the exam. Pick somebody else as the second.", location="assistant")
    exam.assistant = assistant
    exam.version += 1
    exam.save(update_fields=["assistant", "version"])
    record("exam.assisted", order.subject, by=by, patient=order.patient_id, order=order.pk, exam=exam.pk)
    return exam
