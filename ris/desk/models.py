"""What the desk keeps of its own: when something counts as stuck at a site, and what people said about it."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from ris.core.guards import append_only
from ris.department.models import Facility


class RadarRule(models.Model):
    """Another deadline than the usual one, at one site or, without a site, everywhere."""

    kind = models.CharField(max_length=40)
    facility = models.ForeignKey(Facility, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    minutes = models.PositiveIntegerField()
    urgent_minutes = models.PositiveIntegerField()
    stat_minutes = models.PositiveIntegerField()
    #: Off: nobody is told of this kind there.
    active = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "facility"], nulls_distinct=False, name="one_deadline_for_a_kind_and_site"
            ),
            models.CheckConstraint(
                condition=Q(minutes__gte=models.F("urgent_minutes"))
                & Q(urgent_minutes__gte=models.F("stat_minutes")),
                name="the_urgent_is_due_sooner",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} after {self.minutes} min"


class RadarAct(models.TextChoices):
    SNOOZED = "snoozed", "Snoozed"
    WOKEN = "woken", "Woken"
    TAKEN = "taken", "Taken"
    LEFT = "left", "Left"


class RadarNote(models.Model):
    """What somebody said about a stuck record; the newest of its sort counts. Append-only."""

    append_only = True

    kind = models.CharField(max_length=40)
    #: The row of the kind's own table.
    record = models.BigIntegerField()
    act = models.CharField(max_length=10, choices=RadarAct)
    until = models.DateTimeField(null=True)
    reason = models.CharField(max_length=200, blank=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(act__in=RadarAct.values), name="radar_act_known"),
            models.CheckConstraint(
                condition=~Q(act=RadarAct.SNOOZED) | (Q(until__isnull=False) & ~Q(reason="")),
                name="snoozed_until_and_why",
            ),
        ]
        indexes = [models.Index(fields=["kind", "record", "-id"], name="radar_notes_of_a_record")]
        triggers = append_only()

    def __str__(self) -> str:
        return f"{self.kind} {self.record} {self.act}"
