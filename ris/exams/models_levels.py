"""The levels a dose is compared with."""

from django.db import models
from django.db.models import F, Q

from ris.department.models import Modality, ProcedureType
from ris.exams.models_dose import QUANTITIES


class DoseQuantity(models.TextChoices):
    """What a level is set for; the columns of `Dose`."""

    CTDI = "ctdivol_mgy", "CTDIvol"
    DLP = "dlp_mgycm", "DLP"
    DAP = "dap_gycm2", "DAP"
    ENTRANCE = "reference_point_mgy", "Entrance dose"


class DoseReferenceLevel(models.Model):
    """A diagnostic reference level: the dose usual practice should not exceed as a rule (ICRP 135).

    For one exam of the catalogue, or for a body part on a modality. The newest that is valid counts.
    """

    procedure_type = models.ForeignKey(
        ProcedureType, on_delete=models.PROTECT, null=True, blank=True, related_name="dose_levels"
    )
    modality = models.CharField(max_length=16, choices=Modality, blank=True)
    #: As the catalogue writes it.
    body_part = models.CharField(max_length=40, blank=True)
    quantity = models.CharField(max_length=20, choices=DoseQuantity)
    value = models.DecimalField(max_digits=10, decimal_places=3)
    #: Who set it: the law, a society, this department's own median.
    source = models.CharField(max_length=80)
    valid_from = models.DateField()
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ["modality", "body_part", "quantity", "-valid_from"]
        constraints = [
            models.CheckConstraint(condition=Q(value__gt=0), name="dose_level_is_above_zero"),
            models.CheckConstraint(
                condition=Q(procedure_type__isnull=False, modality="", body_part="")
                | Q(procedure_type__isnull=True) & ~Q(modality=""),
                name="dose_level_is_for_an_exam_or_a_body_part",
            ),
            models.CheckConstraint(
                condition=Q(quantity__in=DoseQuantity.values), name="dose_level_quantity_known"
            ),
            models.UniqueConstraint(
                F("procedure_type"), F("modality"), F("body_part"), F("quantity"), F("valid_from"),
                nulls_distinct=False, name="dose_level_once_from_a_day",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        where = (
            self.procedure_type.name if self.procedure_type else f"{self.modality} {self.body_part}".strip()
        )
        return f"{where}: {self.get_quantity_display()} {self.value.normalize():f} {self.unit}"

    @property
    def unit(self) -> str:
        return QUANTITIES[self.quantity]
