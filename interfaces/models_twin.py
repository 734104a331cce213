"""What each machine has shown of itself: one row a machine, one a day of its work."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone


def _no_hours() -> list[int]:
    return [0] * 24


class StationTwin(models.Model):
    """A machine as its own associations show it, known to the department or not. Holds nothing of any patient."""

    ae_title = models.CharField(max_length=16, unique=True)
    first_heard_at = models.DateTimeField(default=timezone.now)
    #: Of an association that was accepted.
    last_heard_at = models.DateTimeField(null=True)
    #: {address: when it last called from there}
    addresses = models.JSONField(default=dict)
    tls = models.BooleanField(default=False)
    #: Implementation Class UID and Version Name (PS3.7 D.3.3.2).
    implementation_uid = models.CharField(max_length=64, blank=True)
    implementation_name = models.CharField(max_length=16, blank=True)
    max_pdu = models.PositiveIntegerField(default=0)
    #: The newest proposal: [{"sop_class": UID, "transfer_syntaxes": [UID, ...], "accepted": true}]
    contexts = models.JSONField(default=list)
    #: Specific Character Set (0008,0005) of its queries: {terms: when last}
    character_sets = models.JSONField(default=dict)
    #: Keys with a value, and those it only wants back, by keyword: {keyword: when last}
    matching_keys = models.JSONField(default=dict)
    return_keys = models.JSONField(default=dict)
    #: The newest identifier that asks for nobody by name or number, as it came.
    usual_query = models.BinaryField(null=True)
    usual_query_explicit = models.BooleanField(default=False)
    last_query_at = models.DateTimeField(null=True)
    last_matches = models.PositiveIntegerField(null=True)
    last_query_ms = models.FloatField(null=True)
    last_step_at = models.DateTimeField(null=True)
    last_echo_at = models.DateTimeField(null=True)
    refused = models.PositiveIntegerField(default=0)
    last_refused_at = models.DateTimeField(null=True)
    refused_because = models.CharField(max_length=80, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["-last_refused_at"], name="twins_refused"),
        ]

    def __str__(self) -> str:
        return self.ae_title


class StationDay(models.Model):
    """One machine's day (UTC), counted."""

    twin = models.ForeignKey(StationTwin, on_delete=models.CASCADE, related_name="days")
    day = models.DateField()
    #: How often it was heard in each hour.
    hours = ArrayField(models.PositiveIntegerField(), size=24, default=_no_hours)
    associations = models.PositiveIntegerField(default=0)
    queries = models.PositiveIntegerField(default=0)
    matches = models.PositiveIntegerField(default=0)
    steps = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["twin", "day"], name="one_row_for_a_station_and_day"),
        ]

    def __str__(self) -> str:
        return f"{self.twin} {self.day}"
