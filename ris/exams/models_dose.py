"""What an exam cost the patient in radiation, as each source told it."""

from django.db import models
from django.db.models import Q

from ris.accounts.models import User
from ris.core.guards import never_deleted
from ris.exams.models import Exam, PerformedProcedureStep


class DoseSource(models.TextChoices):
    """Who told it. What counts, when several did, is the first of these that said anything."""

    RDSR = "rdsr", "Dose report"  # Radiation Dose SR
    MPPS = "mpps", "Modality"  # Radiation Dose module of the MPPS, retired 2017
    TYPED = "typed", "Typed"


#: The columns that hold a quantity, and its unit as people write it.
QUANTITIES = {
    "ctdivol_mgy": "mGy",
    "dlp_mgycm": "mGy·cm",
    "dap_gycm2": "Gy·cm²",
    "reference_point_mgy": "mGy",
    "fluoroscopy_seconds": "s",
    "exposures": "",
}


class Dose(models.Model):
    """One source's account of one exam: a dose report, a performed step, or what a person typed."""

    exam = models.ForeignKey(Exam, on_delete=models.PROTECT, related_name="doses")
    source = models.CharField(max_length=10, choices=DoseSource)
    #: The SOP Instance UID of the report or of the step; blank when typed.
    instance_uid = models.CharField(max_length=64, blank=True)
    performed_step = models.ForeignKey(
        PerformedProcedureStep, on_delete=models.PROTECT, null=True, blank=True, related_name="doses"
    )
    #: The highest CTDIvol of the exam's acquisitions, and the sum of their dose length products.
    ctdivol_mgy = models.DecimalField(max_digits=10, decimal_places=3, null=True, blank=True)
    dlp_mgycm = models.DecimalField(max_digits=12, decimal_places=3, null=True, blank=True)
    #: Dose area product in Gy·cm² (an MPPS tells dGy·cm², a dose report Gy·m²).
    dap_gycm2 = models.DecimalField(max_digits=12, decimal_places=4, null=True, blank=True)
    #: Air kerma at the reference point; for plain radiography the entrance dose.
    reference_point_mgy = models.DecimalField(max_digits=12, decimal_places=3, null=True, blank=True)
    fluoroscopy_seconds = models.PositiveIntegerField(null=True, blank=True)
    exposures = models.PositiveIntegerField(null=True, blank=True)
    #: Device Observer UID of the machine, where the source names it.
    device_uid = models.CharField(max_length=64, blank=True)
    recorded_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    recorded_at = models.DateTimeField()

    class Meta:
        constraints = [
            # What a source says again takes the place of what it said before.
            models.UniqueConstraint(fields=["exam", "source", "instance_uid"], name="dose_once_per_source"),
            models.CheckConstraint(condition=Q(source__in=DoseSource.values), name="dose_source_known"),
            models.CheckConstraint(
                condition=~Q(**{f"{column}__isnull": True for column in QUANTITIES}),
                name="dose_says_something",
            ),
        ]
        indexes = [
            # The dose of a month, by machine or exam.
            models.Index(fields=["recorded_at"], name="dose_by_time"),
        ]
        triggers = [never_deleted()]

    def __str__(self) -> str:
        return f"{self.exam} ({self.get_source_display()})"
