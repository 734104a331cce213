"""DONE: what was examined, and what the modalities reported of it."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from ris.accounts.models import User
from ris.core.flow import StatusRecord
from ris.core.guards import never_deleted
from ris.department.models import Room
from ris.exams.states import EXAM_FLOW, PERFORMED_STEP_FLOW, ExamStatus, PerformedStepStatus, ProblemKind
from ris.orders.models import Order, RequestedProcedure
from scheduling.models import ScheduledProcedureStep


class Exam(StatusRecord):
    """The work done for one requested procedure; it exists from its start on."""

    flow = EXAM_FLOW

    status = models.CharField(max_length=20, choices=ExamStatus, default=ExamStatus.IN_PROGRESS)
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="exams")
    procedure = models.ForeignKey(RequestedProcedure, on_delete=models.PROTECT, related_name="exams")
    room = models.ForeignKey(Room, on_delete=models.PROTECT, null=True, blank=True, related_name="exams")
    station_ae_title = models.CharField(max_length=16, blank=True)
    technologist = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    #: Who helped at the scanner.
    assistant = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    series_count = models.PositiveIntegerField(null=True, blank=True)
    image_count = models.PositiveIntegerField(null=True, blank=True)
    #: CID 9301.
    discontinuation_code = models.CharField(max_length=16, blank=True)
    discontinuation_reason = models.CharField(max_length=120, blank=True)
    comment = models.CharField(max_length=400, blank=True)

    class Meta:
        constraints = [
            EXAM_FLOW.check("exam_status_known"),
            models.UniqueConstraint(
                fields=["procedure"],
                condition=Q(status__in=[ExamStatus.IN_PROGRESS, ExamStatus.COMPLETED]),
                name="procedure_examined_once",
            ),
            models.CheckConstraint(
                condition=Q(status=ExamStatus.IN_PROGRESS) | Q(ended_at__isnull=False),
                name="ended_exam_has_its_end",
            ),
        ]
        indexes = [
            # The reading list and the room list: by state, oldest first.
            models.Index(fields=["status", "started_at"], name="exam_by_status"),
        ]
        triggers = [EXAM_FLOW.trigger(), never_deleted()]

    def __str__(self) -> str:
        return f"{self.procedure}"

    @property
    def minutes_run(self) -> int:
        return round(((self.ended_at or timezone.now()) - self.started_at).total_seconds() / 60)


class PerformedProcedureStep(StatusRecord):
    """What a modality said it did (MPPS, PS3.4 F.7). Without an exam it waits for a person to match it."""

    flow = PERFORMED_STEP_FLOW

    status = models.CharField(
        max_length=20, choices=PerformedStepStatus, default=PerformedStepStatus.IN_PROGRESS
    )
    sop_instance_uid = models.CharField(max_length=64, unique=True)
    performed_step_id = models.CharField(max_length=16, blank=True)
    exams = models.ManyToManyField(Exam, related_name="performed_steps", blank=True)
    #: The entries of the worklist it was made for, as far as it names them.
    scheduled_steps = models.ManyToManyField(
        ScheduledProcedureStep, related_name="performed_steps", blank=True
    )
    station_ae_title = models.CharField(max_length=16)
    modality = models.CharField(max_length=16)
    study_instance_uid = models.CharField(max_length=64, blank=True)
    accession_number = models.CharField(max_length=64, blank=True)
    #: As the modality wrote them, for comparing with the record.
    patient_id = models.CharField(max_length=64, blank=True)
    patient_name = models.CharField(max_length=200, blank=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    discontinuation_code = models.CharField(max_length=16, blank=True)
    #: The whole data set in the DICOM JSON model (PS3.18 F), brought up to date by each N-SET.
    attributes = models.JSONField(default=dict)
    #: Why a person has to look; blank when it fits its exam.
    problem = models.CharField(max_length=200, blank=True)
    problem_kind = models.CharField(max_length=20, choices=ProblemKind, blank=True)
    #: What the modality left out of its end (PS3.4 table F.7.2-1), by keyword.
    defects = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [PERFORMED_STEP_FLOW.check("performed_step_status_known")]
        indexes = [
            # The reconciliation list.
            models.Index(
                fields=["received_at"], condition=~Q(problem=""), name="performed_steps_to_reconcile"
            ),
            # What the archive tells is of a study.
            models.Index(fields=["study_instance_uid"], name="performed_steps_by_study"),
        ]
        triggers = [PERFORMED_STEP_FLOW.trigger(), never_deleted()]

    def __str__(self) -> str:
        return self.sop_instance_uid


# Tables of one subject each; they stand last because they refer to those above.
from ris.exams.models_administrations import Administration as Administration  # noqa: E402
from ris.exams.models_completion import CompletionByEvidence as CompletionByEvidence  # noqa: E402
from ris.exams.models_completion import CompletionRule as CompletionRule  # noqa: E402
from ris.exams.models_dose import Dose as Dose  # noqa: E402
from ris.exams.models_images import StudyImages as StudyImages  # noqa: E402
from ris.exams.models_levels import DoseReferenceLevel as DoseReferenceLevel  # noqa: E402
from ris.exams.models_notes import ExamEvent as ExamEvent  # noqa: E402
from ris.exams.models_notes import ExamMessage as ExamMessage  # noqa: E402
from ris.exams.models_notes import MessageReceipt as MessageReceipt  # noqa: E402
