"""The talk between the room and the reading room about one order."""

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from ris.accounts.models import User
from ris.accounts.permissions import allowed, require
from ris.core.errors import MissingData
from ris.events.outbox import record
from ris.exams.models_notes import ExamMessage, MessageReceipt
from ris.exams.states import TalkSide
from ris.orders.models import Order


def side_of(user: object) -> TalkSide:
    """Where a user stands: who reads sits in the reading room, all others at the scanner."""
    return TalkSide.READING if allowed(user, "report.write") else TalkSide.ROOM


@transaction.atomic
def send_message(
    order: Order, text: str, *, by: User, urgent: bool = False, at: datetime | None = None
) -> ExamMessage:
    """Ask or answer. What the author had not seen yet counts as seen: they answered below it."""
    require(by, "exam.talk")
    if not text.strip():
        raise MissingData("Write the message.", location="text")
    message = ExamMessage.objects.create(
        order=order, author=by, side=side_of(by), text=text.strip()[:1000], urgent=urgent,
        at=at or timezone.now(),
    )  # fmt: skip
    record(
        "exam.message_sent", order.subject, by=by, patient=order.patient_id, order=order.pk,
        message=message.pk, urgent=urgent,
    )  # fmt: skip
    note_seen(order.messages.exclude(pk=message.pk), by=by)
    return message


@transaction.atomic
def note_seen(messages: Iterable[ExamMessage], *, by: User, at: datetime | None = None) -> int:
    """Keep that `by` has the other side's messages on the screen; how many were new to them."""
    require(by, "exam.talk")
    here = side_of(by)
    known = set(
        MessageReceipt.objects.filter(message__in=messages, reader=by).values_list("message_id", flat=True)
    )
    fresh = [one for one in messages if one.side != here and one.pk not in known]
    MessageReceipt.objects.bulk_create(
        [MessageReceipt(message=one, reader=by, side=here, at=at or timezone.now()) for one in fresh],
        ignore_conflicts=True,
    )
    return len(fresh)
