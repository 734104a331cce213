"""The outbox: what happened (Event), and for each listener whether it has heard (Delivery)."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from ris.core.guards import append_only


class Event(models.Model):
    """A fact in the past tense, written in the transaction that made it true. Append-only."""

    append_only = True

    kind = models.CharField(max_length=60)
    #: What the facts are ordered by: an accession number, or "patient:<id>". The verb has that row locked.
    subject = models.CharField(max_length=80)
    at = models.DateTimeField(db_default=Now())
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    #: Row ids and codes; never names.
    facts = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["subject", "id"], name="events_of_subject")]
        triggers = append_only()

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"


class Delivery(models.Model):
    """One fact on its way to one subscriber."""

    event = models.ForeignKey(Event, on_delete=models.PROTECT, related_name="deliveries")
    subscriber = models.CharField(max_length=60)
    subject = models.CharField(max_length=80)
    done_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    error = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["event", "subscriber"], name="a_subscriber_hears_a_fact_once"),
        ]
        indexes = [
            # The relay's next open one, and "is there an earlier open one of this subject?".
            models.Index(fields=["id"], condition=Q(done_at=None), name="deliveries_open"),
            models.Index(
                fields=["subscriber", "subject", "id"],
                condition=Q(done_at=None),
                name="deliveries_open_in_order",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.subscriber}"
