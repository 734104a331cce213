"""What the exam's page shows: who was checked and how, what happened, what was sent, what it cost in dose."""

from dataclasses import replace
from typing import Any

from django.db.models import Count, Max

from ris.accounts.models import Role, User
from ris.accounts.permissions import allowed
from ris.audit.models import AuditEvent
from ris.department.models import ProcedureType
from ris.exams.doses import dose_of
from ris.exams.forms import CompleteForm
from ris.exams.images import ImageCheck, image_check
from ris.exams.levels import DoseLine, compare
from ris.exams.models import Exam, ExamEvent, StudyImages
from ris.exams.performed import performed_difference
from ris.exams.states import EventKind, ExamStatus, RepeatReason, Severity
from ris.exams.talk import unseen_counts
from ris.exams.worklists import Reported, reported_counts, reported_of
from ris.orders.states import OrderStatus
from ris.protocolling.worklists import protocol_of
from ris.safety.passport import passport_for

#: Modalities whose exams have a dose.
IONISING = {"CT", "DX", "CR", "MG", "RF", "XA", "NM", "PT"}


def exam_version(exam: Exam) -> str:
    """Changes with everything the live part of the page shows."""
    steps = list(exam.performed_steps.all())
    told = exam.doses.aggregate(n=Count("pk"), at=Max("recorded_at"))
    held = StudyImages.objects.filter(procedure=exam.procedure_id).aggregate(at=Max("seen_at"))
    events = exam.events.aggregate(n=Count("pk"))
    parts = [
        exam.version, events["n"], told["n"], _stamp(told["at"]), _stamp(held["at"]),
        *(f"{step.version}.{'.'.join(map(str, reported_counts(step)))}" for step in steps),
    ]  # fmt: skip
    return "-".join(map(str, parts))


def _stamp(at: Any) -> str:
    return f"{at:%d%H%M%S%f}" if at else ""


def exam_context(user: User, exam: Exam, form: CompleteForm | None = None) -> dict[str, Any]:
    reported = reported_of(exam)
    running = exam.status == ExamStatus.IN_PROGRESS
    if form is None and running:
        initial = {"series_count": reported.series, "image_count": reported.images, "comment": exam.comment}
        form = CompleteForm(exam=exam, initial=initial)
    kind = exam.procedure.procedure_type
    dose = dose_of(exam)
    performs = allowed(user, "exam.perform")
    return {
        "exam": exam,
        "order": exam.order,
        "patient": exam.order.patient,
        "kind": kind,
        "reported": reported,
        "steps": [(step, *reported_counts(step)) for step in reported.steps],
        "check": images_of(exam, reported),
        "dose": dose,
        "dose_lines": compare(kind, dose) if dose else [],
        "identity": identity_check(exam),
        "events": events_of(exam),
        "severities": Severity.choices,
        "repeat_reasons": RepeatReason.choices,
        "form": form,
        "running": running,
        "can_perform": performs,
        "can_read": allowed(user, "report.write") and exam.status == ExamStatus.COMPLETED,
        "difference": performed_difference(exam) if reported.steps else None,
        "can_change": exam.order.status in {OrderStatus.IN_PROGRESS, OrderStatus.PERFORMED},
        "ionising": kind is not None and kind.modality in IONISING,
        "passport": passport_for(exam.order),
        "protocol": protocol_of(exam.procedure),
        "helpers": helpers_of(exam) if performs else [],
        "unseen": unseen_counts(user, [exam.order_id]).get(exam.order_id, (0, 0))
        if allowed(user, "exam.talk")
        else (0, 0),
        "version": "" if form and form.errors else exam_version(exam),
    }


def images_of(exam: Exam, reported: Reported) -> ImageCheck:
    """What was sent beside what the archive holds; while the exam runs the machines' own count is what was sent."""
    check = image_check(exam)
    if check.sent is None and reported.images is not None and check.held is not None:
        missing = max(check.missing, reported.images - check.held, 0)
        return replace(check, sent=reported.images, missing=missing)
    return replace(check, sent=check.sent if check.sent is not None else reported.images)


def dose_lines(exam: Exam) -> list[DoseLine]:
    dose = dose_of(exam)
    return compare(exam.procedure.procedure_type, dose) if dose else []


def events_of(exam: Exam) -> list[ExamEvent]:
    return list(
        exam.events.exclude(kind=EventKind.WITHDRAWN).select_related("by", "withdrawal").order_by("at", "pk")
    )


def identity_check(exam: Exam) -> AuditEvent | None:
    """How the patient was identified before the start, as the trail keeps it."""
    return (
        AuditEvent.objects.filter(
            action="exam.identity_checked", patient=exam.order.patient_id,
            subject=exam.order.accession_number,
        )
        .order_by("-pk")
        .first()
    )  # fmt: skip


def helpers_of(exam: Exam) -> list[User]:
    """Who may have helped: the other technologists."""
    return list(
        User.objects.filter(is_active=True, roles__contains=[Role.TECHNOLOGIST])
        .exclude(pk=exam.technologist_id or 0)
        .order_by("last_name", "first_name")
    )


def exams_like(exam: Exam, limit: int = 8) -> list[ProcedureType]:
    """What is most often meant instead: the same body part first, then what begins with the same word."""
    kind = exam.procedure.procedure_type
    if kind is None:
        return []
    others = list(ProcedureType.objects.filter(active=True, modality=kind.modality).exclude(pk=kind.pk))
    words = set(kind.name.lower().split()[1:])
    others.sort(
        key=lambda one: (
            one.body_part != kind.body_part or not kind.body_part,
            -len(words & set(one.name.lower().split())),
            one.name,
        )
    )
    return others[:limit]
