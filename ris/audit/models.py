"""Who saw or changed which patient's data, from where, with what outcome (PS3.15 A.5, FHIR AuditEvent)."""

from django.db import models
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from ris.core.guards import append_only


class AuditEvent(models.Model):
    """One look, change, export, query or sign-in. Append-only; sealed in batches by `ris.audit.sealing`."""

    append_only = True

    class Outcome(models.TextChoices):
        OK = "ok", "Done"
        REFUSED = "refused", "Refused"
        FAILED = "failed", "Failed"

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(db_default=Now())
    #: The transaction that wrote the row, and the cluster it ran in: what a seal's range is made of.
    xid = models.BigIntegerField(db_default=RawSQL("(pg_current_xact_id()::text)::bigint", []))
    cluster = models.BigIntegerField(db_default=RawSQL("(pg_control_system()).system_identifier", []))
    user = models.BigIntegerField(null=True)
    username = models.CharField(max_length=150, blank=True)
    action = models.CharField(max_length=60)
    #: Row id in ris.patients; no foreign key, so that the trail stands by itself.
    patient = models.BigIntegerField(null=True)
    subject = models.CharField(max_length=120, blank=True)
    source = models.CharField(max_length=120, blank=True)
    reason = models.CharField(max_length=200, blank=True)
    outcome = models.CharField(max_length=10, choices=Outcome.choices, default=Outcome.OK)
    details = models.JSONField(default=dict)

    class Meta:
        indexes = [
            # "Who opened this patient?"
            models.Index(fields=["patient", "-at"], name="audit_by_patient"),
            # "What did this user open?"
            models.Index(fields=["user", "-at"], name="audit_by_user"),
            # Sealing and verifying read ranges of transactions.
            models.Index(fields=["cluster", "xid"], name="audit_by_transaction"),
        ]
        triggers = append_only()

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.username} {self.action}"


class AuditSeal(models.Model):
    """A link of the hash chain over all audit rows of the transactions in [from_xid, upto_xid)."""

    append_only = True

    cluster = models.BigIntegerField()
    from_xid = models.BigIntegerField()
    upto_xid = models.BigIntegerField()
    rows = models.PositiveIntegerField()
    digest = models.CharField(max_length=64)
    sealed_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cluster", "from_xid"], name="seals_follow_one_another"),
        ]
        triggers = append_only()

    def __str__(self) -> str:
        return f"seal {self.pk}: {self.rows} rows"
