"""What happens during an exam, and what technologist and radiologist say about it."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from ris.accounts.models import User
from ris.core.guards import append_only
from ris.exams.models import Exam
from ris.exams.states import EventKind, RepeatReason, Severity, TalkSide
from ris.orders.models import Order
from ris.safety.models import Reaction


class ExamEvent(models.Model):
    """Something that happened while an exam was made. Append-only: taking one back is a further row that says why."""

    append_only: ClassVar[bool] = True

    exam = models.ForeignKey(Exam, on_delete=models.PROTECT, related_name="events")
    kind = models.CharField(max_length=20, choices=EventKind)
    severity = models.CharField(max_length=10, choices=Severity, blank=True)
    #: Why images were made again or thrown away, and how many.
    reason = models.CharField(max_length=20, choices=RepeatReason, blank=True)
    image_count = models.PositiveSmallIntegerField(null=True, blank=True)
    text = models.CharField(max_length=400, blank=True)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    #: What a reaction has left in the patient's record.
    reaction = models.OneToOneField(
        Reaction, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    withdraws = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="withdrawal"
    )

    class Meta:
        ordering = ["at", "pk"]
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=EventKind.values), name="exam_event_kind_known"),
            models.CheckConstraint(
                condition=Q(kind=EventKind.WITHDRAWN, withdraws__isnull=False) & ~Q(text="")
                | ~Q(kind=EventKind.WITHDRAWN) & Q(withdraws__isnull=True),
                name="withdrawal_names_its_event_and_why",
            ),
            models.CheckConstraint(
                condition=~Q(kind__in=[EventKind.REPEATED, EventKind.REJECTED])
                | ~Q(reason="") & Q(image_count__gte=1),
                name="repeat_has_reason_and_count",
            ),
            models.CheckConstraint(
                condition=~Q(kind=EventKind.REACTION) | ~Q(severity=""), name="reaction_has_a_severity"
            ),
        ]
        indexes = [
            # Repeats and rejects of a month, by reason.
            models.Index(fields=["kind", "at"], name="exam_event_by_kind"),
        ]
        triggers = append_only()

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of exam {self.exam_id}"

    @property
    def is_withdrawn(self) -> bool:
        return hasattr(self, "withdrawal")


class ExamMessage(models.Model):
    """One line of the talk between the room and the reading room about an order. Append-only."""

    append_only: ClassVar[bool] = True

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="messages")
    author = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    #: Where the author stood: what one side writes waits for somebody of the other.
    side = models.CharField(max_length=8, choices=TalkSide)
    text = models.CharField(max_length=1000)
    urgent = models.BooleanField(default=False)
    at = models.DateTimeField()

    class Meta:
        ordering = ["at", "pk"]
        constraints = [
            models.CheckConstraint(condition=~Q(text=""), name="message_says_something"),
            models.CheckConstraint(condition=Q(side__in=TalkSide.values), name="message_side_known"),
        ]
        triggers = append_only()

    def __str__(self) -> str:
        return f"message {self.pk} on {self.order}"


class MessageReceipt(models.Model):
    """Who of the other side has seen a message, and when. Append-only."""

    append_only: ClassVar[bool] = True

    message = models.ForeignKey(ExamMessage, on_delete=models.PROTECT, related_name="receipts")
    reader = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    side = models.CharField(max_length=8, choices=TalkSide)
    at = models.DateTimeField()

    class Meta:
        ordering = ["at", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["message", "reader"], name="message_seen_once_by_each"),
        ]
        triggers = append_only()

    def __str__(self) -> str:
        return f"{self.reader} saw {self.message}"
