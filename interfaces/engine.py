"""What every protocol shares: store before understanding, apply once, keep the line in order, replay.

Nothing here knows a wire format. The tables are the truth; Celery and the listener only move rows along.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F, Q
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from interfaces.models import Endpoint, InboundMessage, OnAmbiguous, OutboundMessage, Protocol
from interfaces.states import InboundState, OutboundState
from ris.core.identifiers import new_control_id
from ris.events.models import Event

log = logging.getLogger(__name__)

BACK_OFF = (1, 2, 5, 10, 30, 60)  # seconds; the last one for ever


def back_off(failures: int, jitter: float) -> timedelta:
    """How long to wait after the `failures`th failure; `jitter` in [0, 1) spreads partners over a quarter more."""
    seconds = BACK_OFF[min(max(failures, 1), len(BACK_OFF)) - 1]
    return timedelta(seconds=seconds * (1 + jitter / 4))


# In


@dataclass(frozen=True, slots=True)
class Arrival:
    """Bytes that came in, and as much of their header as could be read."""

    raw: bytes
    endpoint: Endpoint | None
    peer: str
    sender: str
    control_id: str
    type: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an inbound message, and the answer it gets."""

    status: InboundState
    ack_code: str
    ack: bytes
    error_code: str = ""
    error_location: str = ""
    error_text: str = ""
    patient_id: int | None = None
    accession_number: str = ""


def store(arrival: Arrival) -> tuple[InboundMessage, bool]:
    """Keep the bytes: one INSERT of its own is commit 1. Returns (message, is it new).

    The same bytes under the same control id of the same sender are the message we have, unless it was
    refused: then it gets another try. Other bytes under a used id are a new message, flagged: EMRs start
    their numbers again.
    """
    digest = hashlib.sha256(arrival.raw).digest()
    reused = False
    if arrival.control_id:
        earlier = InboundMessage.objects.filter(sender=arrival.sender, control_id=arrival.control_id)
        for pk, status, known in earlier.values_list("pk", "status", "digest"):
            if bytes(known) != digest:
                reused = True
            elif status in (InboundState.RECEIVED, InboundState.PROCESSED):
                return InboundMessage.objects.get(pk=pk), False
    try:
        message = InboundMessage.objects.create(
            endpoint=arrival.endpoint, peer=arrival.peer[:64], raw=arrival.raw, digest=digest,
            sender=arrival.sender, control_id=arrival.control_id, type=arrival.type, control_id_reused=reused,
        )  # fmt: skip
    except IntegrityError:
        # The same message came on two connections at once; the other one was first.
        return (
            InboundMessage.objects.exclude(status__in=[InboundState.REJECTED, InboundState.FAILED]).get(
                sender=arrival.sender, control_id=arrival.control_id, digest=digest
            ),
            False,
        )
    if reused:
        log.warning("inbound message %s: its control id had been used for other bytes", message.pk)
    return message, True


def count_repeat(message: InboundMessage) -> None:
    """The stored answer was sent once more."""
    InboundMessage.objects.filter(pk=message.pk).update(repeats=F("repeats") + 1)


def lock_received(pk: int) -> InboundMessage | None:
    """The message, locked, if it still waits to be applied; None when somebody else has applied it."""
    message = (
        InboundMessage.objects.select_for_update(of=("self",)).select_related("endpoint__user").get(pk=pk)
    )
    return message if message.status == InboundState.RECEIVED else None


def settle(message: InboundMessage, verdict: Verdict) -> None:
    """Write the outcome and its answer in the transaction of the verb: commit 2."""
    message.status = verdict.status
    message.processed_at = timezone.now()
    message.attempts += 1
    message.ack_code = verdict.ack_code
    message.ack = verdict.ack
    message.error_code = verdict.error_code
    message.error_location = verdict.error_location[:40]
    message.error_text = verdict.error_text[:300]
    message.patient_id = verdict.patient_id
    message.accession_number = verdict.accession_number[:64]
    message.save(
        update_fields=["status", "processed_at", "attempts", "ack_code", "ack", "error_code", "error_location",
                       "error_text", "patient", "accession_number"]
    )  # fmt: skip


def reopen(message: InboundMessage) -> None:
    """Let a refused message be applied again; the caller has it locked."""
    message.status = InboundState.RECEIVED
    message.save(update_fields=["status"])


def unapplied(protocol: str, older_than: timedelta) -> list[int]:
    """Messages that were stored but not applied, as a crash between the two commits leaves them."""
    return list(
        InboundMessage.objects.filter(
            status=InboundState.RECEIVED, received_at__lt=timezone.now() - older_than
        )
        .filter(Q(endpoint__protocol=protocol) | Q(endpoint=None))
        .order_by("pk")
        .values_list("pk", flat=True)[:500]
    )


def serialise(keys: Sequence[str]) -> None:
    """Let one transaction at a time work on each key: two messages may name the same new patient at once."""
    with connection.cursor() as cursor:
        # In one order for everybody, or two messages wait for each other.
        for key in sorted(set(keys)):
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 2575))", [key])


# Out


def subscribers(group: str) -> list[Endpoint]:
    """The partners that want to hear of `group`, in id order: locks are taken in that order."""
    return list(
        Endpoint.objects.filter(
            protocol=Protocol.MLLP, direction="out", active=True, facts__contains=[group]
        ).select_related("user").order_by("pk")
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to one partner. `render` gets the control id, once; what it returns is what is ever sent."""

    endpoint: Endpoint
    event: Event | None
    purpose: str
    type: str
    key: str
    render: Callable[[str], bytes]
    patient_id: int | None = None
    accession_number: str = ""


@transaction.atomic
def enqueue(new: NewMessage) -> OutboundMessage | None:
    """Render and queue a message in the relay's transaction. None when this fact was told already."""
    told = OutboundMessage.objects.filter(endpoint=new.endpoint, event=new.event, purpose=new.purpose)
    if new.event is not None and told.exists():
        return None
    control_id = new_control_id()
    message = OutboundMessage.objects.create(
        endpoint=new.endpoint, event=new.event, purpose=new.purpose[:80], type=new.type, key=new.key[:80],
        control_id=control_id, raw=new.render(control_id), patient_id=new.patient_id,
        accession_number=new.accession_number,
    )  # fmt: skip
    wake_sender(new.endpoint.pk)
    return message


def wake_sender(endpoint_id: int) -> None:
    """Have a worker drain the queue once this transaction is committed. Lost wake-ups are swept up."""
    transaction.on_commit(lambda: _ask_for_delivery(endpoint_id))


def _ask_for_delivery(endpoint_id: int) -> None:
    from interfaces.tasks import deliver

    try:
        deliver.apply_async(args=(endpoint_id,), retry=False)
    except (BrokerError, OSError):
        log.warning("the broker does not answer; the sweep will have endpoint %s served", endpoint_id)


_SENDER_LOCK = 2575


@contextmanager
def sole_sender(endpoint_id: int) -> Iterator[bool]:
    """True for the one session in the cluster that may send to this partner now.

    The lock lives as long as the database session: a killed worker frees it by dying.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [_SENDER_LOCK, endpoint_id])
        (held,) = cursor.fetchone()
    try:
        yield held
    finally:
        if held:
            try:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [_SENDER_LOCK, endpoint_id])
            except DatabaseError:
                # The session is gone, and the lock with it.
                connection.close()


# The oldest message whose turn it is: no earlier open one of its key holds it back.
_DUE = """
SELECT m.id FROM interfaces_outboundmessage m
WHERE m.endpoint_id = %s AND m.status IN ('queued', 'sent') AND m.next_attempt_at <= %s AND NOT EXISTS (
    SELECT 1 FROM interfaces_outboundmessage earlier
    WHERE earlier.endpoint_id = m.endpoint_id AND earlier.key = m.key AND earlier.id < m.id
      AND earlier.status IN ('queued', 'sent', 'rejected', 'held'))
ORDER BY m.id LIMIT 1
"""


def next_due(endpoint_id: int, *, at: datetime) -> OutboundMessage | None:
    with connection.cursor() as cursor:
        cursor.execute(_DUE, [endpoint_id, at])
        row = cursor.fetchone()
    return OutboundMessage.objects.get(pk=row[0]) if row else None


def endpoints_with_due_messages(*, at: datetime) -> list[int]:
    return list(
        Endpoint.objects.filter(paused=False, active=True, next_attempt_at__lte=at)
        .filter(
            outbound__status__in=[OutboundState.QUEUED, OutboundState.SENT], outbound__next_attempt_at__lte=at
        )
        .order_by("pk")
        .values_list("pk", flat=True)
        .distinct()
    )


def may_send(message: OutboundMessage, endpoint: Endpoint) -> bool:
    """False for a message whose sender died before the answer, where a repeat could do harm: it is held."""
    if message.status == OutboundState.QUEUED or endpoint.on_ambiguous == OnAmbiguous.RESEND:
        return True
    _change(message, OutboundState.SENT, status=OutboundState.HELD, error_class="no_answer",
            error_text="Sent, but no answer came; check at the receiver before releasing it.")  # fmt: skip
    return False


def mark_sent(message: OutboundMessage) -> bool:
    """Note the attempt before the first byte leaves. False when a person took the message meanwhile."""
    return _change(
        message, OutboundState.QUEUED, OutboundState.SENT,  # `sent`: its sender died before the answer
        status=OutboundState.SENT, attempts=F("attempts") + 1, sent_at=timezone.now(),
    )  # fmt: skip


def mark_accepted(message: OutboundMessage, *, code: str, answer: bytes) -> None:
    _change(message, OutboundState.SENT, status=OutboundState.ACCEPTED, ack_code=code, answer=answer,
            answered_at=timezone.now(), error_class="", error_text="")  # fmt: skip


def mark_refused(
    message: OutboundMessage, *, code: str, answer: bytes, text: str, retry_in: timedelta | None
) -> None:
    """AE or AR came. With `retry_in` it is tried again; else it waits for a person and holds back its key only."""
    _change(
        message, OutboundState.SENT,
        status=OutboundState.REJECTED if retry_in is None else OutboundState.QUEUED,
        ack_code=code, answer=answer, answered_at=timezone.now(), refusals=F("refusals") + 1,
        next_attempt_at=timezone.now() + (retry_in or timedelta()), error_class="refused", error_text=text[:300],
    )  # fmt: skip


def mark_unanswered(
    message: OutboundMessage, endpoint: Endpoint, *, answer: bytes | None, text: str, retry_in: timedelta
) -> None:
    """The bytes left, but no answer that is ours came back."""
    _change(
        message, OutboundState.SENT,
        status=OutboundState.QUEUED if endpoint.on_ambiguous == OnAmbiguous.RESEND else OutboundState.HELD,
        answer=answer, next_attempt_at=timezone.now() + retry_in, error_class="no_answer", error_text=text[:300],
    )  # fmt: skip


def _change(message: OutboundMessage, *before: str, **values: object) -> bool:
    """One conditional UPDATE; False when the row was not in one of the states `before`."""
    return bool(OutboundMessage.objects.filter(pk=message.pk, status__in=before).update(**values))


def line_up(endpoint: Endpoint) -> None:
    """The partner answered."""
    Endpoint.objects.filter(pk=endpoint.pk).update(
        failures=0, down_since=None, last_answer_at=timezone.now(), last_error=""
    )


def line_down(endpoint: Endpoint, *, text: str, retry_in: timedelta) -> None:
    """The partner could not be reached, or did not answer: the whole line waits."""
    now = timezone.now()
    Endpoint.objects.filter(pk=endpoint.pk).update(
        failures=F("failures") + 1, next_attempt_at=now + retry_in, last_error=text[:200],
        down_since=endpoint.down_since or now,
    )  # fmt: skip
