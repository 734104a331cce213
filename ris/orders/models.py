"""ASKED: what a referrer wants done, and the procedures it comes to."""

from typing import ClassVar, TypedDict

from django.conf import settings
from django.db import models
from django.db.models import Q

from ris.core.flow import StatusRecord
from ris.core.guards import never_deleted
from ris.department.models import Facility, Practitioner, ProcedureType
from ris.orders.states import ORDER_FLOW, OrderStatus, Priority
from ris.patients.models import Patient, Visit, of_a_living_patient


class Answer(TypedDict):
    """What the placer's form asked with the order, and what was answered (OBX after OBR)."""

    code: str
    question: str
    value: str
    units: str


class Diagnosis(TypedDict):
    """Why the exam is asked, as a code (DG1-3)."""

    code: str
    text: str
    scheme: str


class Order(StatusRecord):
    """One request with one accession number (Imaging Service Request; one ORC/OBR pair)."""

    flow = ORDER_FLOW
    #: It goes where its patient goes (ris.patients.merge_actions).
    visit_path: ClassVar[str] = "visit"

    status = models.CharField(max_length=20, choices=OrderStatus, default=OrderStatus.REQUESTED)
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="orders")
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="orders")
    visit = models.ForeignKey(Visit, on_delete=models.PROTECT, null=True, blank=True, related_name="orders")
    #: Accession Number (0008,0050), VR SH; also the filler order number (ORC-3).
    accession_number = models.CharField(max_length=16)
    #: ORC-2.1 and the namespace it came with (ORC-2.2 .. 2.4 joined by "^"), exactly as received.
    placer_order_number = models.CharField(max_length=64, blank=True)
    placer_authority = models.CharField(max_length=120, blank=True)
    placer_group_number = models.CharField(max_length=64, blank=True)
    #: Name of the endpoint whose EMR placed it; blank when placed here.
    source = models.CharField(max_length=64, blank=True)
    #: The order this one is a part of (ORC-8, OBR-29), and the one it took the place of (ORC-1 RO).
    parent = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="children"
    )
    replaces = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="replaced_by"
    )
    priority = models.CharField(max_length=10, choices=Priority, default=Priority.ROUTINE)
    reason = models.CharField(max_length=500, blank=True)
    clinical_info = models.TextField(blank=True)
    danger_code = models.CharField(max_length=64, blank=True)
    #: Lists of `Answer` and `Diagnosis`, in the sender's order.
    answers = models.JSONField(default=list, blank=True)
    diagnoses = models.JSONField(default=list, blank=True)
    #: Patient's Weight (0010,1030) in kg and Size (0010,1020) in m, as told with the order.
    weight_kg = models.DecimalField(max_digits=5, decimal_places=1, null=True, blank=True)
    height_m = models.DecimalField(max_digits=3, decimal_places=2, null=True, blank=True)
    ordering = models.ForeignKey(
        Practitioner, on_delete=models.PROTECT, null=True, blank=True, related_name="ordered"
    )
    #: Who else gets the result (OBR-28).
    copies_to = models.ManyToManyField(Practitioner, blank=True, related_name="+")
    ordered_at = models.DateTimeField()
    wanted_at = models.DateTimeField(null=True, blank=True)
    #: Table 0124: CART, PORT, WALK, WHLC.
    transport = models.CharField(max_length=20, blank=True)
    #: Table 0224: A arranged, N not arranged, U unknown.
    transport_arranged = models.CharField(max_length=1, blank=True)
    callback_phone = models.CharField(max_length=40, blank=True)
    #: Entering organization, ORC-17.
    entered_at_organization = models.CharField(max_length=80, blank=True)
    entered_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    hold_reason = models.CharField(max_length=200, blank=True)
    cancel_reason = models.CharField(max_length=200, blank=True)
    scheduled_at = models.DateTimeField(null=True, blank=True)
    in_progress_at = models.DateTimeField(null=True, blank=True)
    performed_at = models.DateTimeField(null=True, blank=True)
    reported_at = models.DateTimeField(null=True, blank=True)
    cancelled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            ORDER_FLOW.check("order_status_known"),
            models.UniqueConstraint(fields=["facility", "accession_number"], name="accession_number_once"),
            # Two senders may count alike, and name their number's namespace alike.
            models.UniqueConstraint(
                fields=["source", "placer_authority", "placer_order_number"],
                condition=~Q(placer_order_number=""),
                name="placer_order_number_once_per_sender",
            ),
            models.CheckConstraint(condition=Q(priority__in=Priority.values), name="order_priority_known"),
        ]
        indexes = [
            # Find an exam by its number, at whichever facility.
            models.Index(fields=["accession_number"], name="order_by_accession"),
            # The same by the number the placer knows it by, whoever that is.
            models.Index(fields=["placer_order_number"], name="order_by_placer_number"),
            # The order lists: by status, oldest first.
            models.Index(fields=["status", "ordered_at"], name="order_by_status"),
            # A patient's timeline.
            models.Index(fields=["patient", "-ordered_at"], name="order_by_patient"),
        ]
        triggers = [ORDER_FLOW.trigger(), never_deleted(), of_a_living_patient()]

    def __str__(self) -> str:
        return self.accession_number

    @property
    def subject(self) -> str:
        """What this order's facts are ordered by."""
        return self.accession_number


class Side(models.TextChoices):
    """Laterality of the procedure; R, L, B as in (0020,0060)."""

    NONE = "", "No side"
    LEFT = "L", "Left"
    RIGHT = "R", "Right"
    BOTH = "B", "Both"


class RequestedProcedure(models.Model):
    """What is to be done and reported under one Study Instance UID.

    Without a `procedure_type` its code is not known here and a person has to match it.
    """

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="procedures")
    number = models.PositiveSmallIntegerField(default=1)
    procedure_type = models.ForeignKey(
        ProcedureType, on_delete=models.PROTECT, null=True, blank=True, related_name="requested"
    )
    #: The placer's own code (OBR-4), sent back as it came.
    code = models.CharField(max_length=64)
    code_text = models.CharField(max_length=200, blank=True)
    code_scheme = models.CharField(max_length=64, blank=True)
    side = models.CharField(max_length=1, choices=Side, default=Side.NONE, blank=True)
    study_instance_uid = models.CharField(max_length=64, unique=True)
    requested_procedure_id = models.CharField(max_length=16, unique=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["order", "number"], name="procedure_number_once_per_order"),
        ]
        indexes = [
            # The queue of codes a person has to match.
            models.Index(fields=["id"], condition=Q(procedure_type=None), name="procedures_to_map"),
        ]
        triggers = [never_deleted()]

    def __str__(self) -> str:
        return self.requested_procedure_id

    @property
    def label(self) -> str:
        """The exam's name as people read it: "XR wrist, left"."""
        name = self.procedure_type.name if self.procedure_type else (self.code_text or self.code)
        return f"{name}, {Side(self.side).label.lower()}" if self.side else name
