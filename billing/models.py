"""OWED: what the work is worth, and what is charged for it."""

from decimal import Decimal

from django.db import models
from django.db.models import Q

from billing.states import CHARGE_FLOW, ChargeStatus, Component
from ris.core.flow import StatusRecord
from ris.core.guards import never_deleted
from ris.exams.models import Administration, Exam
from ris.orders.models import RequestedProcedure


class Fee(models.Model):
    """What one charge code costs."""

    code = models.CharField(max_length=16, unique=True)
    name = models.CharField(max_length=80, blank=True)
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    currency = models.CharField(max_length=3, default="USD")

    class Meta:
        ordering = ["code"]
        constraints = [models.CheckConstraint(condition=Q(amount__gte=0), name="fee_not_negative")]

    def __str__(self) -> str:
        return f"{self.code} {self.amount} {self.currency}"


class Charge(StatusRecord):
    """One component of one procedure, or one thing used up in it; charged once."""

    flow = CHARGE_FLOW

    status = models.CharField(max_length=20, choices=ChargeStatus, default=ChargeStatus.CAPTURED)
    procedure = models.ForeignKey(RequestedProcedure, on_delete=models.PROTECT, related_name="charges")
    exam = models.ForeignKey(Exam, on_delete=models.PROTECT, related_name="charges")
    component = models.CharField(max_length=12, choices=Component)
    #: What was used up, of a supply.
    administration = models.ForeignKey(
        Administration, on_delete=models.PROTECT, null=True, blank=True, related_name="charges"
    )
    quantity = models.DecimalField(max_digits=9, decimal_places=3, default=Decimal(1))
    code = models.CharField(max_length=16, blank=True)
    #: What makes it less than the whole service, as "53" for an exam that was stopped (CPT modifiers).
    modifiers = models.CharField(max_length=20, blank=True)
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    currency = models.CharField(max_length=3, default="USD")
    captured_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    #: The partner that took it, and the control id of the message.
    sent_as = models.CharField(max_length=90, blank=True)
    #: Why it is held or was voided, in words.
    reason = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            CHARGE_FLOW.check("charge_status_known"),
            models.UniqueConstraint(
                fields=["procedure", "component"],
                condition=~Q(status=ChargeStatus.VOIDED) & ~Q(component=Component.SUPPLY),
                name="component_charged_once",
            ),
            models.UniqueConstraint(
                fields=["administration"],
                condition=~Q(status=ChargeStatus.VOIDED),
                name="supply_charged_once",
            ),
            models.CheckConstraint(
                condition=Q(component=Component.SUPPLY, administration__isnull=False)
                | ~Q(component=Component.SUPPLY) & Q(administration__isnull=True),
                name="supply_charge_names_what_was_used",
            ),
        ]
        indexes = [
            # The charge lists.
            models.Index(fields=["status", "captured_at"], name="charge_by_status"),
        ]
        triggers = [CHARGE_FLOW.trigger(), never_deleted()]

    def __str__(self) -> str:
        return f"{self.procedure} {self.component}"
