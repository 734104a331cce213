"""The one way to fetch an exam for a user."""

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.audit.trail import record_access
from ris.core.errors import NotFound
from ris.exams.models import Exam, PerformedProcedureStep, StudyImages


def exam_for(user: User, pk: int, *, live: bool = False) -> Exam:
    """The exam, with the look noted unless an open page only asks for news of it. Raises NotAllowed or NotFound."""
    require(user, "exam.view")
    exam = (
        Exam.objects.select_related(
            "order__patient", "order__ordering", "order__visit", "order__facility", "procedure__procedure_type", "room",
            "technologist",
        )
        .prefetch_related("order__patient__identifiers", "performed_steps")
        .filter(pk=pk)
        .first()
    )  # fmt: skip
    if exam is None:
        raise NotFound("There is no such exam.")
    if not live:
        record_access(user, "exam.view", patient=exam.order.patient_id, subject=exam.order.accession_number)
    return exam


def step_for(user: User, pk: int) -> PerformedProcedureStep:
    """A performed step no order was found for. Raises NotAllowed or NotFound."""
    require(user, "exam.reconcile")
    step = PerformedProcedureStep.objects.filter(pk=pk).first()
    if step is None:
        raise NotFound("There is no such performed step.")
    record_access(user, "performed_step.view", subject=f"mpps:{step.pk}")
    return step


def study_for(user: User, pk: int) -> StudyImages:
    """A study of the archive no order was found for. Raises NotAllowed or NotFound."""
    require(user, "exam.reconcile")
    images = StudyImages.objects.filter(pk=pk).first()
    if images is None:
        raise NotFound("There is no such study.")
    record_access(user, "study.view", subject=f"study:{images.pk}")
    return images
