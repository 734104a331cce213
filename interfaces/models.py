"""Whom we exchange messages with, and every message, byte for byte, with its answer."""

from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from interfaces.models_bodies import Message, Part, found_by_error, kept_for_years
from interfaces.states import IN_OPEN, INBOUND_FLOW, OPEN, OUTBOUND_FLOW, InboundState, OutboundState
from ris.events.models import Event


class Protocol(models.TextChoices):
    MLLP = "mllp", "HL7 v2 over MLLP"
    DICOM = "dicom", "DICOM"
    DICOMWEB = "dicomweb", "DICOMweb"


class Direction(models.TextChoices):
    IN = "in", "Sends to us"
    OUT = "out", "Receives from us"


class OnAmbiguous(models.TextChoices):
    RESEND = "resend", "Send the same message again"
    HOLD = "hold", "Hold it for a person"


#: What an endpoint may subscribe to (contract.md, Configuring from a script).
FACT_GROUPS = ("orders", "results", "schedule", "charges", "performed_steps")


class Endpoint(models.Model):
    """A partner's door: an EMR that sends orders, a PACS that wants procedures, a billing office."""

    name = models.CharField(max_length=64, unique=True)
    protocol = models.CharField(max_length=10, choices=Protocol, default=Protocol.MLLP)
    direction = models.CharField(max_length=3, choices=Direction, default=Direction.OUT)
    #: HOST:PORT, or a URL for DICOMweb.
    address = models.CharField(max_length=255, blank=True)
    ae_title = models.CharField(max_length=16, blank=True)
    #: MSH-3 and MSH-4 by which an inbound message is known as this partner's; blank matches any.
    match_application = models.CharField(max_length=250, blank=True)
    match_facility = models.CharField(max_length=250, blank=True)
    #: MSH-3..6 of what we send.
    sending_application = models.CharField(max_length=250, default="LIGHTBOX")
    sending_facility = models.CharField(max_length=250, blank=True)
    receiving_application = models.CharField(max_length=250, blank=True)
    receiving_facility = models.CharField(max_length=250, blank=True)
    hl7_version = models.CharField(max_length=10, default="2.3.1")
    #: The character set of a message whose MSH-18 is empty.
    encoding = models.CharField(max_length=20, default="UNICODE UTF-8")
    #: Seconds until an answer counts as lost.
    answer_timeout = models.PositiveSmallIntegerField(default=30)
    #: The site's own choices: see `interfaces.hl7.profile`.
    profile = models.JSONField(default=dict, blank=True)
    facts = ArrayField(models.CharField(max_length=20), default=list, blank=True)
    paused = models.BooleanField(default=False)
    #: A retired partner keeps its messages but takes and gets no more.
    active = models.BooleanField(default=True)
    on_ambiguous = models.CharField(max_length=10, choices=OnAmbiguous, default=OnAmbiguous.RESEND)
    #: The system under whose name the audit trail files what this partner does.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="endpoints")

    #: MLLP over TLS 1.2 or newer with certificates on both sides (ITI-19).
    tls = models.BooleanField(default=False)
    #: SHA-256 of the certificate by which the partner is known, in hex; blank takes any our CA has signed.
    certificate_fingerprint = models.CharField(max_length=64, blank=True)
    #: When that certificate ends, where the whole of it was shown to us.
    certificate_ends_at = models.DateTimeField(null=True, blank=True)
    #: MSH-13 where the profile asks for it (HL7 2.5.1 2.10.1): the last number sent, and the last taken.
    last_sequence_out = models.BigIntegerField(default=0)
    last_sequence_in = models.BigIntegerField(null=True, blank=True)

    # How the line is doing, kept by the sender.
    failures = models.PositiveIntegerField(default=0)
    down_since = models.DateTimeField(null=True, blank=True)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    last_answer_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=Q(protocol__in=Protocol.values), name="endpoint_protocol_known"),
            models.CheckConstraint(
                condition=Q(direction__in=Direction.values), name="endpoint_direction_known"
            ),
            models.CheckConstraint(
                condition=Q(on_ambiguous__in=OnAmbiguous.values), name="endpoint_ambiguity_known"
            ),
            models.CheckConstraint(
                condition=Q(facts__contained_by=list(FACT_GROUPS)), name="endpoint_facts_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def option(self, key: str, default: str = "") -> str:
        """A site's choice from `profile`."""
        value: Any = self.profile.get(key, default)
        return str(value)


class InboundMessage(Message):
    """One message as it came in: bytes first, then what we understood, then what we answered."""

    flow = INBOUND_FLOW
    parts = Part.IN, Part.IN_ANSWER

    #: Empty when nobody is known to send so.
    endpoint = models.ForeignKey(
        Endpoint, on_delete=models.PROTECT, null=True, related_name="inbound", db_index=False
    )
    received_at = models.DateTimeField(default=timezone.now)
    peer = models.CharField(max_length=64, blank=True)
    digest = models.BinaryField()
    #: MSH-3 and MSH-4: with the control id, who says this is which message.
    sender = models.CharField(max_length=510, blank=True)
    control_id = models.CharField(max_length=200, blank=True)
    #: MSH-9, "ADT^A08".
    type = models.CharField(max_length=42, blank=True)
    status = models.CharField(max_length=10, choices=InboundState, default=InboundState.RECEIVED)
    processed_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)

    # The answer is an axis of its own.
    ack_code = models.CharField(max_length=2, blank=True)
    #: How often the same bytes came again and were answered with the stored answer.
    repeats = models.PositiveIntegerField(default=0)
    #: The sender had used this control id before for other bytes.
    control_id_reused = models.BooleanField(default=False)

    error_code = models.CharField(max_length=10, blank=True)
    error_location = models.CharField(max_length=40, blank=True)
    error_text = models.CharField(max_length=300, blank=True)

    # What a person searches by.
    patient = models.ForeignKey(
        "patients.Patient", on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    accession_number = models.CharField(max_length=64, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["sender", "control_id", "digest"],
                condition=Q(status__in=[InboundState.RECEIVED, InboundState.PROCESSED]) & ~Q(control_id=""),
                name="message_applied_once",
            ),
            INBOUND_FLOW.check("inbound_status_known"),
        ]
        indexes = [
            # The monitor, newest first, by state.
            models.Index(fields=["status", "-id"], name="inbound_by_status"),
            # "Has this control id been used?"
            models.Index(fields=["control_id", "sender"], name="inbound_by_control_id"),
            # Recovery: stored, not applied.
            models.Index(fields=["id"], condition=Q(status=InboundState.RECEIVED), name="inbound_unapplied"),
            models.Index(fields=["patient", "-id"], name="inbound_by_patient"),
            models.Index(
                fields=["accession_number"], condition=~Q(accession_number=""), name="inbound_by_accession"
            ),
            models.Index(fields=["endpoint", "-id"], name="inbound_by_endpoint"),
            models.Index(fields=["type", "-id"], name="inbound_by_type"),
            models.Index(fields=["received_at"], name="inbound_by_time"),
            found_by_error("inbound_by_error"),
        ]
        triggers = [INBOUND_FLOW.trigger(), kept_for_years("received_at", IN_OPEN)]

    def __str__(self) -> str:
        return f"{self.type} {self.control_id}"

    @property
    def ack(self) -> bytes:
        """Our answer; b"" before there is one."""
        return self._read(Part.IN_ANSWER)

    @ack.setter
    def ack(self, value: bytes) -> None:
        self._note(Part.IN_ANSWER, value)


class OutboundMessage(Message):
    """One message to one partner, rendered once; every attempt sends these bytes."""

    flow = OUTBOUND_FLOW
    parts = Part.OUT, Part.OUT_ANSWER

    endpoint = models.ForeignKey(Endpoint, on_delete=models.PROTECT, related_name="outbound", db_index=False)
    event = models.ForeignKey(Event, on_delete=models.PROTECT, null=True, related_name="+")
    #: What of the event this message tells, as "ORM^O01 NW A26000012": one fact may need several messages.
    purpose = models.CharField(max_length=80)
    #: MSH-9, "ORU^R01".
    type = models.CharField(max_length=42)
    #: What is kept in order: the accession number.
    key = models.CharField(max_length=80)
    control_id = models.CharField(max_length=20, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    status = models.CharField(max_length=10, choices=OutboundState, default=OutboundState.QUEUED)
    attempts = models.PositiveIntegerField(default=0)
    #: AE answers so far, where the endpoint's profile allows some before a person is asked.
    refusals = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    #: MSA-1; of DICOM the status in hex, of DICOMweb that of HTTP.
    ack_code = models.CharField(max_length=4, blank=True)
    #: Kind of the last trouble: "connect", "no_answer", "refused", "operator"; the retry looks only at this.
    error_class = models.CharField(max_length=20, blank=True)
    error_text = models.CharField(max_length=300, blank=True)
    note = models.CharField(max_length=200, blank=True)

    patient = models.ForeignKey(
        "patients.Patient", on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    accession_number = models.CharField(max_length=64, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["endpoint", "event", "purpose"], name="a_partner_is_told_a_fact_once"
            ),
            OUTBOUND_FLOW.check("outbound_status_known"),
        ]
        indexes = [
            # The sender's next one, and "is an earlier one of this key open?".
            models.Index(
                fields=["endpoint", "id"],
                condition=Q(status__in=[OutboundState.QUEUED, OutboundState.SENT]),
                name="outbound_due",
            ),
            models.Index(
                fields=["endpoint", "key", "id"],
                condition=Q(status__in=list(OPEN)),
                name="outbound_open_in_order",
            ),
            models.Index(fields=["status", "-id"], name="outbound_by_status"),
            models.Index(fields=["patient", "-id"], name="outbound_by_patient"),
            models.Index(fields=["accession_number"], name="outbound_by_accession"),
            models.Index(fields=["endpoint", "-id"], name="outbound_by_endpoint"),
            models.Index(fields=["type", "-id"], name="outbound_by_type"),
            models.Index(fields=["created_at"], name="outbound_by_time"),
            found_by_error("outbound_by_error"),
        ]
        triggers = [OUTBOUND_FLOW.trigger(), kept_for_years("created_at", OPEN)]

    def __str__(self) -> str:
        return f"{self.type} {self.control_id} to {self.endpoint}"

    @property
    def answer(self) -> bytes:
        """The partner's newest answer; b"" before there is one."""
        return self._read(Part.OUT_ANSWER)

    @answer.setter
    def answer(self, value: bytes | None) -> None:
        self._note(Part.OUT_ANSWER, value)


from interfaces.models_bodies import Attachment as Attachment  # noqa: E402
from interfaces.models_bodies import MessageBody as MessageBody  # noqa: E402
from interfaces.models_bodies import Removal as Removal  # noqa: E402
from interfaces.models_dicom import KeyImages as KeyImages  # noqa: E402
from interfaces.models_dicom import ReceivedDataset as ReceivedDataset  # noqa: E402
from interfaces.models_downtime import WriteDone as WriteDone  # noqa: E402
from interfaces.models_twin import StationDay as StationDay  # noqa: E402
from interfaces.models_twin import StationTwin as StationTwin  # noqa: E402
from interfaces.models_watch import Alarm as Alarm  # noqa: E402
from interfaces.models_watch import AlarmRule as AlarmRule  # noqa: E402
from interfaces.models_watch import Case as Case  # noqa: E402
from interfaces.models_watch import CaseKind as CaseKind  # noqa: E402
from interfaces.models_watch import CaseStatus as CaseStatus  # noqa: E402
from interfaces.models_watch import CodeMap as CodeMap  # noqa: E402
from interfaces.models_watch import CodeTable as CodeTable  # noqa: E402
