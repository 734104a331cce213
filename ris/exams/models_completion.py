"""When an exam is ended, or begun, by evidence because its modality does not say so."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from ris.accounts.models import User
from ris.core.guards import append_only
from ris.department.models import Modality, Station


class EvidenceKind(models.TextChoices):
    """What shows that an exam is over, the strongest first."""

    REPORT = "report", "A report of it exists"
    IMAGES = "images", "Its images are in the archive"
    IDLE = "idle", "Its station is silent or has gone on"


class Response(models.TextChoices):
    OFF = "off", "Nothing"
    PROPOSE = "propose", "Propose it on the radar"
    DO = "do", "Do it"


class CompletionRule(models.Model):
    """What evidence does at a station, else for a modality, else anywhere; `minutes` is how long it must stand still."""

    station = models.ForeignKey(Station, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    modality = models.CharField(max_length=16, choices=Modality, blank=True)
    evidence = models.CharField(max_length=10, choices=EvidenceKind)
    response = models.CharField(max_length=10, choices=Response)
    minutes = models.PositiveSmallIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["station", "modality", "evidence"],
                nulls_distinct=False,
                name="one_completion_rule_for_an_evidence",
            ),
            models.CheckConstraint(
                condition=Q(station__isnull=True) | Q(modality=""), name="completion_rule_of_one_reach"
            ),
            models.CheckConstraint(
                condition=Q(evidence__in=EvidenceKind.values) & Q(response__in=Response.values),
                name="completion_rule_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.station or self.modality or 'everywhere'}: {self.evidence} {self.response}"


class CompletionByEvidence(models.Model):
    """An exam that was ended because of evidence, with that evidence, or opened again after it. Append-only."""

    append_only = True

    exam = models.ForeignKey("exams.Exam", on_delete=models.PROTECT, related_name="by_evidence")
    evidence = models.CharField(max_length=10, choices=EvidenceKind)
    #: "MPPS began 14:02 and never ended; 212 images in the archive since 14:20."
    words = models.CharField(max_length=300)
    #: Whether it took the completion back.
    reopened = models.BooleanField(default=False)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(evidence__in=EvidenceKind.values), name="completion_evidence_known"
            ),
        ]
        triggers = append_only()

    def __str__(self) -> str:
        return f"{self.exam} {self.evidence}"
