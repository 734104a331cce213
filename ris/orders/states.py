"""The life of an order. In brackets ORC-5 (HL7 table 0038)."""

from django.db import models

from ris.core.flow import Flow


class OrderStatus(models.TextChoices):
    REQUESTED = "requested", "Requested"
    HELD = "held", "Held"  # HD
    SCHEDULED = "scheduled", "Scheduled"  # SC
    IN_PROGRESS = "in_progress", "Started"  # IP
    PERFORMED = "performed", "Completed"  # CM
    REPORTED = "reported", "Final"  # CM
    CANCELLED = "cancelled", "Cancelled"  # CA
    DISCONTINUED = "discontinued", "Discontinued"  # DC


S = OrderStatus

ORDER_FLOW = Flow(
    {
        S.REQUESTED: frozenset({S.HELD, S.SCHEDULED, S.IN_PROGRESS, S.CANCELLED}),
        S.HELD: frozenset({S.REQUESTED, S.CANCELLED}),
        # Back to requested when its appointment is cancelled or missed.
        S.SCHEDULED: frozenset({S.REQUESTED, S.IN_PROGRESS, S.CANCELLED}),
        # Back when the exam was started on the wrong worklist entry (CID 9301 110514).
        S.IN_PROGRESS: frozenset({S.SCHEDULED, S.REQUESTED, S.PERFORMED, S.DISCONTINUED}),
        # Back when an exam of it was ended too early.
        S.PERFORMED: frozenset({S.REPORTED, S.IN_PROGRESS}),
        # Back when its report is withdrawn: the exam is read anew.
        S.REPORTED: frozenset({S.PERFORMED}),
        S.CANCELLED: frozenset(),
        S.DISCONTINUED: frozenset(),
    }
)


class Priority(models.TextChoices):
    """ORC-7.6 / TQ1-9 (tables 0027, 0485), in the order the lists show them."""

    STAT = "stat", "STAT"
    ASAP = "asap", "Urgent"
    PREOP = "preop", "Pre-op"
    CALLBACK = "callback", "Callback"
    TIMED = "timed", "Timed"
    ROUTINE = "routine", "Routine"
