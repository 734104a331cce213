"""HOW: the protocols the department makes exams by, the rules of who looks, and what was decided for each exam."""

from decimal import ROUND_HALF_UP, Decimal

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from ris.core.flow import StatusRecord
from ris.core.guards import never_deleted
from ris.department.models import Modality, ProcedureType
from ris.orders.models import Order, RequestedProcedure
from ris.protocolling.states import REQUEST_FLOW, RequestStatus


class Protocol(models.Model):
    """A way to make exams, by the name the technologist knows: "Abdomen portal venous 90 mL"."""

    code = models.CharField(max_length=16)
    scheme = models.CharField(max_length=16, default="L")
    #: Code Meaning and Scheduled Procedure Step Description, both VR LO.
    name = models.CharField(max_length=64)
    modality = models.CharField(max_length=16, choices=Modality)
    exams = models.ManyToManyField(ProcedureType, related_name="protocols")
    #: The series or phases, one a line.
    series = models.TextField(blank=True)
    #: As it goes to the modality: "Iohexol 350 mg/mL".
    contrast_agent = models.CharField(max_length=64, blank=True)
    #: Either so much for everybody, or by weight up to a most.
    contrast_ml = models.DecimalField(max_digits=5, decimal_places=1, null=True, blank=True)
    contrast_ml_per_kg = models.DecimalField(max_digits=4, decimal_places=2, null=True, blank=True)
    contrast_max_ml = models.DecimalField(max_digits=5, decimal_places=1, null=True, blank=True)
    rate_ml_s = models.DecimalField(max_digits=3, decimal_places=1, null=True, blank=True)
    premedication = models.CharField(max_length=64, blank=True)
    #: What the patient prepares otherwise than the exam says.
    preparation = models.CharField(max_length=300, blank=True)
    #: Words of a request that speak for it.
    indications = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    #: For whom it is made, in years; empty means everybody.
    from_age = models.PositiveSmallIntegerField(null=True, blank=True)
    below_age = models.PositiveSmallIntegerField(null=True, blank=True)
    #: The least eGFR, in mL/min/1.73 m2, it is meant for.
    least_egfr = models.PositiveSmallIntegerField(null=True, blank=True)
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ["modality", "name"]
        constraints = [
            models.UniqueConstraint(fields=["scheme", "code"], name="protocol_code_once_per_scheme"),
            models.CheckConstraint(
                condition=~Q(contrast_agent="")
                | Q(contrast_ml=None, contrast_ml_per_kg=None, contrast_max_ml=None, rate_ml_s=None),
                name="protocol_volume_is_of_an_agent",
            ),
            models.CheckConstraint(
                condition=Q(contrast_ml=None) | Q(contrast_ml_per_kg=None),
                name="protocol_has_one_volume_rule",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def dose_ml(self, weight_kg: Decimal | None) -> Decimal | None:
        """The volume for a patient of that weight; None when it cannot be told."""
        if self.contrast_ml is not None:
            return self.contrast_ml
        if self.contrast_ml_per_kg is None or weight_kg is None:
            return None
        by_weight = (self.contrast_ml_per_kg * weight_kg).quantize(Decimal(1), ROUND_HALF_UP)
        return min(by_weight, self.contrast_max_ml) if self.contrast_max_ml is not None else by_weight

    @property
    def volume_rule(self) -> str:
        """90 mL, or 1.2 mL/kg, at most 120 mL."""
        if self.contrast_ml is not None:
            return f"{_plain(self.contrast_ml)} mL"
        if self.contrast_ml_per_kg is None:
            return ""
        most = f", at most {_plain(self.contrast_max_ml)} mL" if self.contrast_max_ml is not None else ""
        return f"{_plain(self.contrast_ml_per_kg)} mL/kg{most}"


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"


class ExamRule(models.Model):
    """Whether somebody decides how an exam is made, and by which protocol when nobody does."""

    procedure_type = models.OneToOneField(
        ProcedureType, on_delete=models.PROTECT, related_name="protocol_rule"
    )
    needs_protocol = models.BooleanField(default=True)
    default = models.ForeignKey(Protocol, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ["procedure_type__modality", "procedure_type__name"]

    def __str__(self) -> str:
        return str(self.procedure_type)


class Condition(models.TextChoices):
    """When an exam that needs a protocol goes by its default without anybody looking."""

    LISTED = "listed", "The exam is on the list"
    BY_RADIOLOGIST = "by_radiologist", "A radiologist ordered it"
    DEFAULT_FITS = "default_fits", "Its default protocol fits the patient"


class Bypass(models.Model):
    """A rule by which nobody has to look."""

    condition = models.CharField(max_length=20, choices=Condition)
    #: Of which exams; blank is all.
    modality = models.CharField(max_length=16, choices=Modality, blank=True)
    procedure_type = models.ForeignKey(
        ProcedureType, on_delete=models.PROTECT, null=True, blank=True, related_name="protocol_bypasses"
    )
    active = models.BooleanField(default=True)

    class Meta:
        verbose_name_plural = "bypasses"
        ordering = ["condition", "modality", "procedure_type__name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(condition__in=Condition.values), name="bypass_condition_known"
            ),
            models.CheckConstraint(
                condition=~Q(condition=Condition.LISTED) | Q(procedure_type__isnull=False),
                name="bypass_list_names_its_exam",
            ),
            models.UniqueConstraint(
                fields=["condition", "modality", "procedure_type"], name="bypass_once", nulls_distinct=False
            ),
        ]

    def __str__(self) -> str:
        of = self.procedure_type.name if self.procedure_type else (self.get_modality_display() or "all exams")
        return f"{self.get_condition_display()}: {of}"


class ProtocolRequest(StatusRecord):
    """How one requested procedure is to be made, or that somebody has to say so."""

    flow = REQUEST_FLOW

    status = models.CharField(max_length=20, choices=RequestStatus, default=RequestStatus.WANTED)
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="protocol_requests")
    procedure = models.OneToOneField(
        RequestedProcedure, on_delete=models.PROTECT, related_name="protocol_request"
    )
    protocol = models.ForeignKey(
        Protocol, on_delete=models.PROTECT, null=True, blank=True, related_name="requests"
    )
    #: Copied from the protocol when it was decided, with the dose for this patient.
    contrast_agent = models.CharField(max_length=64, blank=True)
    contrast_ml = models.DecimalField(max_digits=5, decimal_places=1, null=True, blank=True)
    premedication = models.CharField(max_length=64, blank=True)
    preparation = models.CharField(max_length=300, blank=True)
    #: To the technologist.
    note = models.CharField(max_length=300, blank=True)
    #: Why nobody looked, what the referrer was asked, or why it went back; in words.
    reason = models.CharField(max_length=200, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    wanted_since = models.DateTimeField()

    class Meta:
        verbose_name = "protocol request"
        constraints = [
            REQUEST_FLOW.check("protocol_request_status_known"),
            models.CheckConstraint(
                condition=~Q(status=RequestStatus.APPROVED)
                | Q(protocol__isnull=False, decided_by__isnull=False),
                name="approved_protocol_is_somebodys",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=[RequestStatus.ASKED, RequestStatus.REJECTED, RequestStatus.BYPASSED])
                | ~Q(reason=""),
                name="protocol_request_says_why",
            ),
        ]
        indexes = [
            # The protocolling queue, and its number on every page.
            models.Index(
                fields=["wanted_since"], condition=Q(status=RequestStatus.WANTED), name="protocols_wanted"
            ),
            # The lists of what was asked, returned and decided.
            models.Index(fields=["status", "-status_at"], name="protocol_request_by_status"),
        ]
        triggers = [REQUEST_FLOW.trigger(), never_deleted()]

    def __str__(self) -> str:
        return f"{self.procedure}"
