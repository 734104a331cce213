"""READ: reports, their working text, and their parts, which are frozen as they are written."""

from django.db import models
from django.db.models import Q

from ris.accounts.models import User
from ris.core.flow import StatusRecord
from ris.core.guards import append_only, never_deleted
from ris.department.models import Modality, ProcedureType
from ris.exams.models import Exam
from ris.patients.models import Patient
from ris.reporting.states import (
    REPORT_FLOW,
    Finding,
    PartKind,
    ReportStatus,
    Significance,
    WithdrawalReason,
)


class ReportTemplate(models.Model):
    """The sections a report begins with: for one exam, or for a modality (and a body part), or for any."""

    name = models.CharField(max_length=80)
    procedure_type = models.ForeignKey(
        ProcedureType, on_delete=models.PROTECT, null=True, blank=True, related_name="report_templates"
    )
    modality = models.CharField(max_length=16, choices=Modality, blank=True)
    #: As the catalogue writes it; blank for the whole modality.
    body_part = models.CharField(max_length=40, blank=True)
    #: [{"code": LOINC, "title": ..., "text": ...}]
    sections = models.JSONField(default=list)
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Report(StatusRecord):
    """The reading of one or more exams."""

    flow = REPORT_FLOW

    status = models.CharField(max_length=20, choices=ReportStatus, default=ReportStatus.DRAFT)
    created_at = models.DateTimeField(auto_now_add=True)
    #: Who has it open, and until when nobody else may write.
    reader = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    leased_until = models.DateTimeField(null=True, blank=True)
    preliminary_at = models.DateTimeField(null=True, blank=True)
    final_at = models.DateTimeField(null=True, blank=True)
    #: Why it was withdrawn or cancelled; the words to it stand in its last part.
    ended_because = models.CharField(max_length=20, choices=WithdrawalReason, blank=True)

    class Meta:
        constraints = [
            REPORT_FLOW.check("report_status_known"),
            models.CheckConstraint(
                condition=~Q(status=ReportStatus.WITHDRAWN) | ~Q(ended_because=""),
                name="withdrawn_for_a_reason",
            ),
        ]
        indexes = [
            # The reading list's drafts and preliminaries.
            models.Index(fields=["status", "status_at"], name="report_by_status"),
        ]
        triggers = [REPORT_FLOW.trigger(), never_deleted()]

    def __str__(self) -> str:
        return f"report {self.pk}"


class ReportedExam(models.Model):
    """Which exams a report reads or once read; an exam is read in one report at a time."""

    report = models.ForeignKey(Report, on_delete=models.PROTECT, related_name="reported")
    exam = models.ForeignKey(Exam, on_delete=models.PROTECT, related_name="readings")
    #: The exam again while this is its reading, so that `exam.reported` is it; empty once the report has ended.
    current = models.OneToOneField(
        Exam, on_delete=models.PROTECT, null=True, blank=True, related_name="reported"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["report", "exam"], name="exam_once_in_a_report"),
            models.CheckConstraint(
                condition=Q(current=None) | Q(current=models.F("exam")), name="current_is_the_exam"
            ),
        ]
        triggers = [never_deleted()]

    def __str__(self) -> str:
        return f"{self.report} reads {self.exam}"


class Draft(models.Model):
    """The working text of a report; gone when its part is signed."""

    report = models.OneToOneField(Report, on_delete=models.PROTECT, related_name="draft")
    #: What signing it will make.
    kind = models.CharField(max_length=12, choices=PartKind, default=PartKind.FINAL)
    sections = models.JSONField(default=list)
    finding = models.CharField(max_length=8, choices=Finding, default=Finding.UNSAID, blank=True)
    author = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    version = models.PositiveIntegerField(default=1)
    saved_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"draft of {self.report}"


class ReportPart(models.Model):
    """A released text with its signature. Append-only: what has left the department is never rewritten."""

    append_only = True

    report = models.ForeignKey(Report, on_delete=models.PROTECT, related_name="parts")
    number = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=12, choices=PartKind)
    sections = models.JSONField()
    finding = models.CharField(max_length=8, choices=Finding, default=Finding.UNSAID, blank=True)
    #: Whose report it was when it was released: a merge moves the exam to another record, not the signature.
    #: Empty on parts of before this was kept, which are the order's patient's.
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, null=True, related_name="+")
    author = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    #: Empty on a preliminary part, which nobody has signed.
    signed_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    signed_name = models.CharField(max_length=200, blank=True)
    released_at = models.DateTimeField()
    #: sha256 of what `signing.canonical` makes of the part: the text bound to patient, exams, signer and time.
    digest = models.CharField(max_length=64)

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["report", "number"], name="part_number_once_per_report"),
            models.CheckConstraint(
                condition=Q(kind=PartKind.PRELIMINARY) | Q(signed_by__isnull=False), name="final_is_signed"
            ),
            models.UniqueConstraint(
                fields=["report"], condition=Q(kind=PartKind.FINAL), name="report_is_signed_once"
            ),
        ]
        triggers = append_only()

    def __str__(self) -> str:
        return f"{self.report} part {self.number}"


class Discrepancy(models.Model):
    """A signed text that is not the preliminary one that care may have begun on."""

    final = models.OneToOneField(ReportPart, on_delete=models.PROTECT, related_name="discrepancy")
    preliminary = models.ForeignKey(ReportPart, on_delete=models.PROTECT, related_name="+")
    significance = models.CharField(
        max_length=10, choices=Significance, default=Significance.UNRATED, blank=True
    )
    note = models.CharField(max_length=400, blank=True)
    rated_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    #: When the author of the preliminary text saw what became of it.
    seen_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(significance__in=Significance.values), name="significance_known"
            ),
            models.CheckConstraint(
                condition=Q(significance=Significance.UNRATED) | Q(rated_by__isnull=False),
                name="rated_by_somebody",
            ),
        ]
        triggers = [never_deleted()]

    def __str__(self) -> str:
        return f"{self.final} and {self.preliminary}"


class ReportDocument(models.Model):
    """The PDF of a report as it stood with one of its parts; made from the parts, so it can be made again."""

    part = models.OneToOneField(ReportPart, on_delete=models.PROTECT, related_name="document")
    pdf = models.BinaryField()
    made_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"document of {self.part}"
