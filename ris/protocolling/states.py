"""The life of a request for a protocol."""

from django.db import models

from ris.core.flow import Flow


class RequestStatus(models.TextChoices):
    WANTED = "wanted", "Protocol wanted"
    ASKED = "asked", "Referrer asked"
    APPROVED = "approved", "Protocol approved"
    BYPASSED = "bypassed", "Protocol by rule"
    REJECTED = "rejected", "Returned to the referrer"
    LAPSED = "lapsed", "No longer needed"


R = RequestStatus

REQUEST_FLOW = Flow(
    {
        R.WANTED: frozenset({R.APPROVED, R.ASKED, R.REJECTED, R.BYPASSED, R.LAPSED}),
        # Back to wanted: the referrer has answered, the decision is taken back, or another exam is asked.
        R.ASKED: frozenset({R.WANTED, R.LAPSED}),
        R.REJECTED: frozenset({R.WANTED, R.LAPSED}),
        R.APPROVED: frozenset({R.WANTED}),
        # Straight to approved: a radiologist picks another protocol than the rule did.
        R.BYPASSED: frozenset({R.WANTED, R.APPROVED}),
        # Back when the exam was started on the wrong worklist entry.
        R.LAPSED: frozenset({R.WANTED}),
    }
)

#: What holds a protocol.
DECIDED = (R.APPROVED, R.BYPASSED)
