"""What came of a message: the facts it made true here, and the messages those facts made; and the way back."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.urls import reverse

from interfaces.models import InboundMessage, OutboundMessage
from ris.accounts.models import User
from ris.accounts.permissions import allowed
from ris.audit.models import AuditEvent
from ris.events.models import Event

#: A fact's row id -> the page of its record, and the right that page asks for; the most telling first.
_PAGES = (
    ("charge", "charge", "charge.view"),
    ("report", "report", "report.view"),
    ("exam", "exam", "exam.view"),
    ("appointment", "appointment", "schedule.view"),
    ("order", "order", "order.view"),
    ("patient", "patient", "patient.view"),
)
#: Reading takes milliseconds; a database under load may take longer.
_LONGEST = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that happened: "Order placed", and where to look at it, for whoever may."""

    at: datetime
    words: str
    subject: str = ""
    url: str = ""
    #: Of a message: its state.
    status: str = ""


def of(message: InboundMessage | OutboundMessage, user: User) -> list[Effect]:
    """What happened because of the message, or for an outbound one why it was sent; oldest first."""
    return of_inbound(message, user) if isinstance(message, InboundMessage) else _origin(message, user)


def of_inbound(message: InboundMessage, user: User) -> list[Effect]:
    events = events_of(message)
    told = OutboundMessage.objects.select_related("endpoint").filter(event__in=events).order_by("pk")
    found = [_fact(event, user) for event in events]
    for one in told:
        words = f"{one.type} made for {one.endpoint.name}"
        url = reverse("message_out", args=[one.pk])
        found.append(Effect(one.created_at, words, one.control_id, url, one.status))
    return found


def events_of(message: InboundMessage) -> list[Event]:
    """The facts recorded while the message was applied: the trail names it as their source."""
    if message.endpoint is None or message.processed_at is None:
        return []
    ended = message.processed_at
    rows = AuditEvent.objects.filter(
        user=message.endpoint.user_id, at__range=(ended - _LONGEST, ended + timedelta(seconds=5)),
        source__endswith=f" in:{message.pk}", details__has_key="event",
    )  # fmt: skip
    return list(Event.objects.filter(pk__in=[row.details["event"] for row in rows]).order_by("pk"))


def _origin(message: OutboundMessage, user: User) -> list[Effect]:
    event = message.event
    if event is None:
        return []
    found = [_fact(event, user)]
    # The row of the fact in the trail stands at the same moment: that of their transaction.
    trail = AuditEvent.objects.filter(user=event.by_id, at=event.at, action=event.kind)
    row = next((one for one in trail if one.details.get("event") == event.pk), None)
    source = re.search(r" in:(\d+)$", row.source) if row else None
    came = InboundMessage.objects.select_related("endpoint").filter(pk=source[1]).first() if source else None
    if came is not None and came.endpoint is not None:
        words = f"{came.type} came from {came.endpoint.name}"
        url = reverse("message_in", args=[came.pk])
        found.insert(0, Effect(came.received_at, words, came.control_id, url, came.status))
    elif not event.by.is_system:
        found.insert(0, Effect(event.at, f"{event.by} worked on it"))
    return found


def _fact(event: Event, user: User) -> Effect:
    url = next(
        (
            reverse(page, args=[event.facts[name]])
            for name, page, right in _PAGES
            if event.facts.get(name) and allowed(user, right)
        ),
        "",
    )
    subject = "" if ":" in event.subject else event.subject
    return Effect(event.at, words_of(event.kind), subject, url)


def words_of(kind: str) -> str:
    """ "order.procedure_mapped": Order procedure mapped."""
    return kind.replace(".", " ").replace("_", " ").capitalize()


def records_of(events: Iterable[Event]) -> str:
    """For a toast: "Order placed, Patient registered"."""
    return ", ".join(dict.fromkeys(words_of(event.kind) for event in events))
