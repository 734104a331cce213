"""What waits for a person: messages that match nothing here, and lines that need somebody."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from ris.core.flow import Flow
from ris.core.guards import never_deleted


class CaseKind(models.TextChoices):
    """What a message spoke of that we do not have, or may not change without a person."""

    UNKNOWN_PATIENT = "unknown_patient", "Unknown patient"
    UNKNOWN_ORDER = "unknown_order", "Unknown order"
    UNKNOWN_EXAM = "unknown_exam", "Unknown exam code"
    UNKNOWN_APPOINTMENT = "unknown_appointment", "Unknown appointment"
    WRONG_FACILITY = "wrong_facility", "Unknown facility"
    UNKNOWN_CODE = "unknown_code", "Unknown code"
    MERGE_WAITS = "merge_waits", "Merge before its patients"
    SIGNED_REPORT = "signed_report", "Would change a signed report"
    DELETION = "deletion", "Deletion asked for"
    OUT_OF_SEQUENCE = "out_of_sequence", "Sequence number gap"
    NO_PLACER_NUMBER = "no_placer_number", "Placer number pending"
    UNKNOWN_OBJECT = "unknown_object", "Object of no exam"
    REFUSED = "refused", "Refused"
    OTHER = "other", "Needs a person"


class CaseStatus(models.TextChoices):
    OPEN = "open", "Open"
    SOLVED = "solved", "Solved"  # its effect took place
    DISMISSED = "dismissed", "Dismissed"  # by a person, with a reason


CASE_FLOW = Flow(
    {
        CaseStatus.OPEN: frozenset({CaseStatus.SOLVED, CaseStatus.DISMISSED}),
        CaseStatus.SOLVED: frozenset(),
        CaseStatus.DISMISSED: frozenset({CaseStatus.OPEN}),
    }
)


class Case(models.Model):
    """Something a message brought that a person, or a later message, must put in its place."""

    flow = CASE_FLOW

    kind = models.CharField(max_length=20, choices=CaseKind)
    status = models.CharField(max_length=10, choices=CaseStatus, default=CaseStatus.OPEN)
    endpoint = models.ForeignKey(
        "interfaces.Endpoint", on_delete=models.PROTECT, null=True, related_name="cases"
    )
    inbound = models.ForeignKey(
        "interfaces.InboundMessage", on_delete=models.PROTECT, null=True, related_name="cases"
    )
    outbound = models.ForeignKey(
        "interfaces.OutboundMessage", on_delete=models.PROTECT, null=True, related_name="cases"
    )
    #: One open case for one thing: "patient:HARBOUR|00441", "exam:EPIC|XR99".
    key = models.CharField(max_length=160)
    #: What is wrong, in a sentence without names or numbers of patients.
    sentence = models.CharField(max_length=300)
    suggestion = models.CharField(max_length=300, blank=True)
    patient = models.ForeignKey("patients.Patient", on_delete=models.PROTECT, null=True, related_name="+")
    accession_number = models.CharField(max_length=64, blank=True)
    #: How often it was met while open.
    count = models.PositiveIntegerField(default=1)
    opened_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    closed_at = models.DateTimeField(null=True)
    closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    note = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "key"],
                condition=Q(status=CaseStatus.OPEN),
                name="one_open_case_for_one_thing",
            ),
            models.CheckConstraint(condition=Q(kind__in=CaseKind.values), name="case_kind_known"),
            CASE_FLOW.check("case_status_known"),
        ]
        indexes = [
            models.Index(fields=["status", "-id"], name="case_by_status"),
            models.Index(fields=["patient"], name="case_by_patient"),
        ]
        triggers = [CASE_FLOW.trigger(), never_deleted()]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}"


class AlarmRule(models.TextChoices):
    LINE_DOWN = "line_down", "The partner cannot be reached"
    QUEUE_AGE = "queue_age", "The queue is old"
    REFUSALS = "refusals", "Messages are refused"
    SILENCE = "silence", "Nothing has come"
    CASES = "cases", "Cases wait"
    CERTIFICATE = "certificate", "A certificate ends soon"
    STATION = "station", "A machine is silent"


class Alarm(models.Model):
    """One cause, however many messages it stops: it is told once, counted, and clears by itself."""

    rule = models.CharField(max_length=20, choices=AlarmRule)
    endpoint = models.ForeignKey(
        "interfaces.Endpoint", on_delete=models.PROTECT, null=True, related_name="alarms"
    )
    #: What tells two causes of one rule apart: the text of the refusal, the subject of the certificate.
    cause = models.CharField(max_length=200, blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)
    count = models.PositiveIntegerField(default=1)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    #: Nobody is told of it again before then.
    quiet_until = models.DateTimeField(null=True)
    cleared_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["rule", "endpoint", "cause"],
                condition=Q(cleared_at=None),
                nulls_distinct=False,
                name="one_open_alarm_for_one_cause",
            ),
            models.CheckConstraint(condition=Q(rule__in=AlarmRule.values), name="alarm_rule_known"),
        ]
        indexes = [models.Index(fields=["-started_at"], name="alarm_by_start")]
        triggers = [never_deleted()]

    def __str__(self) -> str:
        return f"{self.get_rule_display()} {self.pk}"


class CodeTable(models.TextChoices):
    """The tables in which a partner may use words of its own."""

    EXAM = "exam", "Exams (OBR-4)"
    MODALITY = "modality", "Modalities (OBR-24)"
    DEPARTMENT = "department", "Departments (ORC-17, PV1-3)"
    PROVIDER = "provider", "Providers (ORC-12, PV1-8)"
    STATUS = "status", "Order statuses (ORC-5)"
    PRIORITY = "priority", "Priorities (ORC-7.6, TQ1-9)"
    SEX = "sex", "Administrative sex (PID-8)"
    PATIENT_CLASS = "patient_class", "Patient classes (PV1-2)"


class CodeMap(models.Model):
    """What a partner calls something, and what it is called here. Read both ways."""

    endpoint = models.ForeignKey("interfaces.Endpoint", on_delete=models.CASCADE, related_name="code_maps")
    table = models.CharField(max_length=20, choices=CodeTable)
    theirs = models.CharField(max_length=64)
    ours = models.CharField(max_length=64)

    class Meta:
        ordering = ["table", "theirs"]
        constraints = [
            models.UniqueConstraint(fields=["endpoint", "table", "theirs"], name="a_code_means_one_thing"),
            models.CheckConstraint(condition=Q(table__in=CodeTable.values), name="code_table_known"),
        ]

    def __str__(self) -> str:
        return f"{self.table} {self.theirs} -> {self.ours}"
