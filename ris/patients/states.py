"""The life of a visit."""

from django.db import models

from ris.core.flow import Flow


class VisitStatus(models.TextChoices):
    PREADMIT = "preadmit", "Pre-admitted"  # A05
    ACTIVE = "active", "Admitted"  # A01, A04; A13 opens it again
    DISCHARGED = "discharged", "Discharged"  # A03
    CANCELLED = "cancelled", "Cancelled"  # A11, A38


V = VisitStatus

VISIT_FLOW = Flow(
    {
        V.PREADMIT: frozenset({V.ACTIVE, V.DISCHARGED, V.CANCELLED}),
        V.ACTIVE: frozenset({V.DISCHARGED, V.CANCELLED}),
        # Back: the discharge was a mistake (A13), or the number is used for another admission.
        V.DISCHARGED: frozenset({V.ACTIVE}),
        V.CANCELLED: frozenset({V.ACTIVE, V.PREADMIT}),
    }
)
