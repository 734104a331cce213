"""What was given to a patient in an exam, or spoilt: agent, lot, dose, way, site."""

from decimal import Decimal

from django.db import models
from django.db.models import Q

from ris.accounts.models import User
from ris.core.flow import StatusRecord
from ris.core.guards import never_deleted
from ris.exams.models import Exam
from ris.exams.states import ADMINISTRATION_FLOW, AdministrationStatus
from ris.supplies.models import Lot, StockMovement


class Route(models.TextChoices):
    INTRAVENOUS = "iv", "Intravenous"
    ORAL = "oral", "Oral"
    RECTAL = "rectal", "Rectal"
    INTRA_ARTICULAR = "joint", "Into the joint"
    INTRATHECAL = "intrathecal", "Intrathecal"
    INTRA_ARTERIAL = "arterial", "Intra-arterial"
    CATHETER = "catheter", "By catheter"


class Administration(StatusRecord):
    """One container, or a part of one, used up in an exam; written once, taken back only as a mistake."""

    flow = ADMINISTRATION_FLOW

    status = models.CharField(max_length=20, choices=AdministrationStatus, default=AdministrationStatus.GIVEN)
    exam = models.ForeignKey(Exam, on_delete=models.PROTECT, related_name="administrations")
    lot = models.ForeignKey(Lot, on_delete=models.PROTECT, related_name="administrations")
    #: As the label said it then.
    expires_on = models.DateField(null=True, blank=True)
    #: AI (21): one container.
    serial = models.CharField(max_length=20, blank=True)
    #: In containers.
    quantity = models.DecimalField(max_digits=7, decimal_places=3)
    #: Given to the patient; empty for what has no volume, and for what was spoilt.
    volume_ml = models.DecimalField(max_digits=6, decimal_places=1, null=True, blank=True)
    rate_ml_s = models.DecimalField(max_digits=4, decimal_places=1, null=True, blank=True)
    route = models.CharField(max_length=12, choices=Route, blank=True)
    site = models.CharField(max_length=40, blank=True)
    needle = models.CharField(max_length=10, blank=True)
    given_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    given_at = models.DateTimeField()
    #: What the page warned of and somebody went on all the same, in the words it used.
    warning = models.CharField(max_length=400, blank=True)
    #: Why it was spoilt, why it was given though expired, why the entry was withdrawn.
    reason = models.CharField(max_length=200, blank=True)
    movement = models.OneToOneField(StockMovement, on_delete=models.PROTECT, related_name="administration")

    class Meta:
        ordering = ["given_at", "pk"]
        constraints = [
            ADMINISTRATION_FLOW.check("administration_status_known"),
            models.CheckConstraint(condition=Q(quantity__gt=0), name="administration_uses_something"),
            models.CheckConstraint(
                condition=Q(volume_ml=None) | Q(volume_ml__gt=0, volume_ml__lte=5000),
                name="administered_volume_can_be",
            ),
            models.CheckConstraint(
                condition=Q(status=AdministrationStatus.GIVEN) | ~Q(reason=""),
                name="administration_says_why_not",
            ),
            models.CheckConstraint(
                condition=Q(route="") | Q(route__in=Route.values), name="administration_route_known"
            ),
        ]
        triggers = [ADMINISTRATION_FLOW.trigger(), never_deleted()]

    def __str__(self) -> str:
        return f"{self.lot} in {self.exam}"

    @property
    def amount(self) -> str:
        """70 mL, or 2 vials."""
        if self.volume_ml is not None:
            return f"{_plain(self.volume_ml)} mL"
        container = self.lot.item.container
        return f"{_plain(self.quantity)} {container}{'' if self.quantity == 1 else 's'}"

    @property
    def way(self) -> str:
        """L antecubital 18 G, 3 mL/s."""
        rate = f"{_plain(self.rate_ml_s)} mL/s" if self.rate_ml_s else ""
        where = " ".join(part for part in (self.site, self.needle) if part)
        route = Route(self.route).label if self.route and self.route != Route.INTRAVENOUS else ""
        return ", ".join(part for part in (route, where, rate) if part)


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
