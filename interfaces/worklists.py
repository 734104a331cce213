"""Reads for the message monitor."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db.models import Count, Max, Min, Q, QuerySet
from django.utils import timezone

from interfaces.models import Direction, Endpoint, InboundMessage, OutboundMessage
from interfaces.states import InboundState, OutboundState

Rows = TypeVar("Rows", bound="QuerySet[Any]")

#: A queue older than this is slow, whoever is to blame.
SLOW = timedelta(minutes=5)


@dataclass(frozen=True)
class Channel:
    """How one partner's line is doing."""

    endpoint: Endpoint
    #: up, slow, stopped, paused
    state: str
    queue: int
    oldest: datetime | None
    refused: int
    last: datetime | None


def channels() -> list[Channel]:
    """Every active partner with its queue, in four queries."""
    waiting = Q(status__in=[OutboundState.QUEUED, OutboundState.SENT, OutboundState.HELD])
    out: dict[int, Mapping[str, Any]] = {
        row["endpoint"]: row
        for row in OutboundMessage.objects.filter(waiting | Q(status=OutboundState.REJECTED))
        .values("endpoint")
        .annotate(
            queue=Count("pk", filter=waiting),
            oldest=Min("created_at", filter=waiting),
            refused=Count("pk", filter=Q(status=OutboundState.REJECTED)),
        )
    }
    since = timezone.now() - timedelta(days=1)
    came: dict[int | None, Mapping[str, Any]] = {
        row["endpoint"]: row
        for row in InboundMessage.objects.filter(received_at__gte=since)
        .values("endpoint")
        .annotate(
            last=Max("received_at"),
            refused=Count("pk", filter=Q(status__in=[InboundState.REJECTED, InboundState.FAILED])),
            unapplied=Count("pk", filter=Q(status=InboundState.RECEIVED)),
        )
    }
    return [
        _inbound(one, came.get(one.pk, {}))
        if one.direction == Direction.IN
        else _outbound(one, out.get(one.pk, {}))
        for one in Endpoint.objects.filter(active=True)
    ]


def _inbound(endpoint: Endpoint, row: Mapping[str, Any]) -> Channel:
    state = "paused" if endpoint.paused else "up"
    return Channel(endpoint, state, row.get("unapplied", 0), None, row.get("refused", 0), row.get("last"))


def _outbound(endpoint: Endpoint, row: Mapping[str, Any]) -> Channel:
    oldest: datetime | None = row.get("oldest")
    if endpoint.paused:
        state = "paused"
    elif endpoint.down_since is not None:
        state = "stopped"
    elif oldest is not None and timezone.now() - oldest > SLOW:
        state = "slow"
    else:
        state = "up"
    return Channel(
        endpoint, state, row.get("queue", 0), oldest, row.get("refused", 0), endpoint.last_answer_at
    )


def needing_somebody() -> int:
    """Messages that wait for a person: the badge of the rail."""
    refused = OutboundMessage.objects.filter(status=OutboundState.REJECTED).count()
    return refused + InboundMessage.objects.filter(status=InboundState.FAILED).count()


def inbound(status: str = "", endpoint: int | None = None, text: str = "") -> QuerySet[InboundMessage]:
    """Messages that came in, newest first. `text` is a control id, an accession number, an MRN or part of an error."""
    rows = InboundMessage.objects.select_related("endpoint", "patient").order_by("-id")
    return _narrowed(rows, status, endpoint, text)


def outbound(status: str = "", endpoint: int | None = None, text: str = "") -> QuerySet[OutboundMessage]:
    """Messages that go out, newest first; `text` as for `inbound`."""
    rows = OutboundMessage.objects.select_related("endpoint", "patient").order_by("-id")
    return _narrowed(rows, status, endpoint, text)


def _narrowed(rows: Rows, status: str, endpoint: int | None, text: str) -> Rows:
    if status:
        rows = rows.filter(status__in=status.split(","))
    if endpoint is not None:
        rows = rows.filter(endpoint=endpoint)
    if text:
        plain = text.replace(" ", "")
        rows = rows.filter(
            Q(control_id=plain)
            | Q(accession_number=plain.replace("-", ""))
            | Q(patient__identifiers__value=plain)
            | Q(error_text__icontains=text)
            | Q(type__istartswith=text)
        ).distinct()
    return rows


def of_accession(accession_number: str) -> list[InboundMessage | OutboundMessage]:
    """Everything said about an order, in the order it was said."""
    found: Iterable[InboundMessage | OutboundMessage] = [
        *inbound().filter(accession_number=accession_number)[:100],
        *outbound().filter(accession_number=accession_number)[:100],
    ]
    return sorted(
        found, key=lambda one: one.received_at if isinstance(one, InboundMessage) else one.created_at
    )
