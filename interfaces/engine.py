"""What every protocol shares: store before understanding, apply once, keep the line in order, replay.

Nothing here knows a wire format. The tables are the truth; Celery and the listener only move rows along.
"""

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from celery import current_app
from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from interfaces.models import Endpoint, InboundMessage, OnAmbiguous, OutboundMessage, Protocol
from interfaces.models_bodies import Part, keep_attachments, keep_body, take_out, today
from interfaces.states import InboundState, OutboundState
from ris.core.identifiers import new_control_id
from ris.events import wakeups
from ris.events.models import Event

log = logging.getLogger(__name__)

BACK_OFF = (1, 2, 5, 10, 30, 60)  # seconds; the last one for ever


def back_off(failures: int, jitter: float, steps: Sequence[int] = BACK_OFF) -> timedelta:
    """How long to wait after the `failures`th failure; `jitter` in [0, 1) spreads partners over a quarter more."""
    seconds = steps[min(max(failures, 1), len(steps)) - 1]
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


# One statement, one commit: the rows, their bytes, and whether a sender had used its control id for other bytes.
_STORE = """
WITH arrived AS MATERIALIZED (
    SELECT nextval('interfaces_inboundmessage_id_seq') AS id, a.*
    FROM unnest(%(endpoint)s::bigint[], %(peer)s::text[], %(digest)s::bytea[], %(sender)s::text[], %(control_id)s::text[],
                %(type)s::text[], %(content)s::bytea[], %(cuts)s::jsonb[])
        WITH ORDINALITY AS a (endpoint, peer, digest, sender, control_id, type, content, cuts, place)
), stored AS (
    INSERT INTO interfaces_inboundmessage (
        id, endpoint_id, received_at, stored_on, peer, digest, sender, control_id, type, control_id_reused,
        status, attempts, repeats, ack_code, error_code, error_location, error_text, accession_number)
    SELECT id, endpoint, %(at)s, %(day)s, peer, digest, sender, control_id, type,
        control_id <> '' AND EXISTS (
            SELECT FROM interfaces_inboundmessage earlier
            WHERE earlier.sender = a.sender AND earlier.control_id = a.control_id AND earlier.digest <> a.digest
            UNION ALL
            SELECT FROM arrived earlier
            WHERE earlier.sender = a.sender AND earlier.control_id = a.control_id AND earlier.digest <> a.digest
                AND earlier.place < a.place),
        'received', 0, 0, '', '', '', '', ''
    FROM arrived a
    ON CONFLICT DO NOTHING
    RETURNING id, control_id_reused
), kept AS (
    INSERT INTO interfaces_messagebody (message_id, part, stored_on, content, cuts)
    SELECT id, 'in', %(day)s, content, cuts FROM arrived JOIN stored USING (id)
)
SELECT place, id, control_id_reused FROM arrived JOIN stored USING (id)
"""


def store(arrival: Arrival) -> tuple[InboundMessage, bool]:
    """Keep the bytes: commit 1. Returns (message, is it new).

    The same bytes under the same control id of the same sender are the message we have, unless it was
    refused: then it gets another try. Other bytes under a used id are a new message, flagged: EMRs start
    their numbers again.
    """
    # What is stored for others too must not hang on the caller's transaction.
    if connection.in_atomic_block:
        (found,) = _store([arrival])
        return found
    return _together.store(arrival)


def _store(arrivals: Sequence[Arrival]) -> list[tuple[InboundMessage, bool]]:
    now, day = timezone.now(), today()
    digests = [hashlib.sha256(one.raw).digest() for one in arrivals]
    taken = [take_out(one.raw) for one in arrivals]
    large = {digest: content for _, _, found in taken for digest, content in found.items()}
    values: dict[str, Any] = {
        "at": now, "day": day, "digest": digests,
        "endpoint": [one.endpoint.pk if one.endpoint else None for one in arrivals],
        "peer": [one.peer[:64] for one in arrivals], "sender": [one.sender for one in arrivals],
        "control_id": [one.control_id for one in arrivals], "type": [one.type for one in arrivals],
        "content": [content for content, _, _ in taken],
        "cuts": [json.dumps(cuts) if cuts else None for _, cuts, _ in taken],
    }  # fmt: skip
    with transaction.atomic(savepoint=False) if large else nullcontext(), connection.cursor() as cursor:
        keep_attachments(large, day)
        cursor.execute(_STORE, values)
        fresh = {place: (pk, reused) for place, pk, reused in cursor.fetchall()}
    found: list[tuple[InboundMessage, bool]] = []
    for place, (arrival, digest) in enumerate(zip(arrivals, digests, strict=True), 1):
        if place not in fresh:
            # It came before, or on two connections at once and the other one was first.
            known = InboundMessage.objects.exclude(status__in=[InboundState.REJECTED, InboundState.FAILED])
            known = known.filter(sender=arrival.sender, control_id=arrival.control_id, digest=digest)
            found.append((known.select_related("endpoint__user").get(), False))
            continue
        pk, reused = fresh[place]
        if reused:
            log.warning("inbound message %s: its control id had been used for other bytes", pk)
        message = InboundMessage(
            pk=pk, endpoint=arrival.endpoint, received_at=now, stored_on=day, peer=arrival.peer[:64], digest=digest,
            sender=arrival.sender, control_id=arrival.control_id, type=arrival.type, control_id_reused=reused,
        )  # fmt: skip
        message._state.adding = False
        message.hold_bytes(Part.IN, arrival.raw)
        found.append((message, True))
    return found


class _Turn:
    """A thread's place in the next batch."""

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.ready = threading.Event()
        self.leads = False
        self.found: tuple[InboundMessage, bool] | None = None
        self.error: Exception | None = None


class _Together:
    """Group commit: who comes while a batch is being stored goes along in the next one, with one commit for all.

    The first of them stores it; nobody waits for a batch to fill.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: list[_Turn] = []
        self._busy = False

    def store(self, arrival: Arrival) -> tuple[InboundMessage, bool]:
        turn = _Turn(arrival)
        with self._mutex:
            self._waiting.append(turn)
            turn.leads, self._busy = not self._busy, True
        if not turn.leads:
            turn.ready.wait()
        if turn.leads:
            self._lead()
        if turn.error is not None:
            raise turn.error
        assert turn.found is not None, "a turn ends with its message or an error"
        return turn.found

    def _lead(self) -> None:
        with self._mutex:
            batch, self._waiting = self._waiting, []
        try:
            self._store(batch)
        finally:
            with self._mutex:
                self._busy = bool(self._waiting)
                if self._waiting:
                    self._waiting[0].leads = True
                    self._waiting[0].ready.set()
            for turn in batch:
                turn.ready.set()

    def _store(self, batch: Sequence[_Turn]) -> None:
        try:
            for turn, found in zip(batch, _store([turn.arrival for turn in batch]), strict=True):
                turn.found = found
        except Exception as error:  # whosever message it was: the others are not to suffer for it
            if len(batch) == 1:
                batch[0].error = error
                return
            for turn in batch:
                self._store([turn])


_together = _Together()


def count_repeat(message: InboundMessage) -> None:
    """The stored answer was sent once more."""
    InboundMessage.objects.filter(pk=message.pk).update(repeats=F("repeats") + 1)


def lock_received(pk: int, known: InboundMessage | None = None) -> InboundMessage | None:
    """The message, locked, if it still waits to be applied; None when somebody else has applied it.

    `known` is the message as `store` has just returned it, which need not be read again.
    """
    if known is None:
        message = (
            InboundMessage.objects.select_for_update(of=("self",)).select_related("endpoint__user").get(pk=pk)
        )
        return message if message.status == InboundState.RECEIVED else None
    with connection.cursor() as cursor:
        cursor.execute("SELECT status FROM interfaces_inboundmessage WHERE id = %s FOR UPDATE", [pk])
        (status,) = cursor.fetchone()
    return known if status == InboundState.RECEIVED else None


@contextmanager
def without_savepoints() -> Iterator[None]:
    """Verbs called inside set no savepoints: whatever fails must end the transaction around this block."""
    features = connection.features
    features.uses_savepoints = False
    try:
        yield
    finally:
        features.uses_savepoints = True


_SETTLE = """
WITH settled AS (
    UPDATE interfaces_inboundmessage SET
        status = %(status)s, type = %(type)s, processed_at = %(at)s, attempts = attempts + 1,
        ack_code = %(ack_code)s, error_code = %(error_code)s, error_location = %(error_location)s,
        error_text = %(error_text)s, patient_id = %(patient)s, accession_number = %(accession_number)s
    WHERE id = %(pk)s
)
INSERT INTO interfaces_messagebody (message_id, part, stored_on, content)
VALUES (%(pk)s, 'in_answer', %(day)s, %(ack)s)
ON CONFLICT (message_id, part, stored_on) DO UPDATE SET content = excluded.content
"""


def settle(message: InboundMessage, verdict: Verdict) -> None:
    """Write the outcome and its answer in the transaction of the verb: commit 2."""
    message.status = verdict.status
    message.processed_at = timezone.now()
    message.attempts += 1
    message.ack_code = verdict.ack_code
    message.error_code = verdict.error_code
    message.error_location = verdict.error_location[:40]
    message.error_text = verdict.error_text[:300]
    message.patient_id = verdict.patient_id
    message.accession_number = verdict.accession_number[:64]
    message.hold_bytes(Part.IN_ANSWER, verdict.ack)
    with connection.cursor() as cursor:
        cursor.execute(
            _SETTLE,
            {
                "pk": message.pk, "day": message.stored_on, "status": message.status, "type": message.type,
                "at": message.processed_at, "ack_code": message.ack_code, "error_code": message.error_code,
                "error_location": message.error_location, "error_text": message.error_text,
                "patient": message.patient_id, "accession_number": message.accession_number, "ack": verdict.ack,
            },
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
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(key, 2575)) FROM unnest(%s::text[]) key",
            [sorted(set(keys))],
        )


# Out


def subscribers(group: str, *protocols: str) -> list[Endpoint]:
    """The partners that want to hear of `group`, in id order: locks are taken in that order."""
    return list(
        Endpoint.objects.filter(
            protocol__in=protocols or [Protocol.MLLP], direction="out", active=True, facts__contains=[group]
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
    message = OutboundMessage(
        endpoint=new.endpoint, event=new.event, purpose=new.purpose[:80], type=new.type, key=new.key[:80],
        control_id=control_id, patient_id=new.patient_id, accession_number=new.accession_number,
    )  # fmt: skip
    message.raw = new.render(control_id)
    message.save()
    wake_sender(new.endpoint.pk)
    return message


def take_back(message: OutboundMessage, *, note: str) -> bool:
    """Discard what its partner cannot have: not sent yet, or refused. False when it may have arrived."""
    taken = _change(message, OutboundState.QUEUED, attempt=0, status=OutboundState.DISCARDED, note=note[:200])
    taken = taken or _change(message, OutboundState.REJECTED, status=OutboundState.DISCARDED, note=note[:200])
    if taken:
        # What it held back can go.
        wake_sender(message.endpoint_id)
    return taken


def wake_sender(endpoint_id: int) -> None:
    """Have the queue sent once this transaction is committed: a sender that listens hears of it at once, and a
    worker is asked in case none does. Lost wake-ups are swept up."""
    with connection.cursor() as cursor:
        cursor.execute(_NOTIFY, [WAKE_UP, endpoint_id])
    transaction.on_commit(lambda: _ask_for_delivery(endpoint_id))


#: Lines of HL7 listen; what speaks DICOM is only woken by a worker.
_NOTIFY = "SELECT pg_notify(%s, id::text) FROM interfaces_endpoint WHERE id = %s AND protocol = 'mllp'"


def _ask_for_delivery(endpoint_id: int) -> None:
    # By name: the task knows every wire format, and this module none.
    wakeups.ask(current_app.signature("interfaces.tasks.deliver"), endpoint_id)


#: The channel on which senders listen for endpoints that have something to send.
WAKE_UP = "interfaces_outbound"
_SENDER_LOCK = 2575


def take_line(endpoint_id: int) -> bool:
    """True for the one session in the cluster that may send to this partner now.

    The lock lives as long as the database session: a killed sender frees it by dying, and one that was
    stopped finds its session gone when it wakes.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [_SENDER_LOCK, endpoint_id])
        (held,) = cursor.fetchone()
    return bool(held)


def leave_line(endpoint_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [_SENDER_LOCK, endpoint_id])


# The oldest message whose turn it is: no earlier open one of its key holds it back.
_DUE = """
SELECT m.* FROM interfaces_outboundmessage m
WHERE m.endpoint_id = %s AND m.status IN ('queued', 'sent') AND m.next_attempt_at <= %s AND NOT EXISTS (
    SELECT 1 FROM interfaces_outboundmessage earlier
    WHERE earlier.endpoint_id = m.endpoint_id AND earlier.key = m.key AND earlier.id < m.id
      AND earlier.status IN ('queued', 'sent', 'rejected', 'held'))
ORDER BY m.id LIMIT 1
"""


#: The same where any earlier open message holds it back.
_DUE_IN_ONE_ROW = _DUE.replace("AND earlier.key = m.key ", "")


def next_due(endpoint_id: int, *, at: datetime, strict: bool = False) -> OutboundMessage | None:
    due = OutboundMessage.objects.raw(_DUE_IN_ONE_ROW if strict else _DUE, [endpoint_id, at])
    return next(iter(due), None)


def endpoints_with_due_messages(*protocols: str, at: datetime) -> list[int]:
    due = OutboundMessage.objects.filter(
        endpoint=OuterRef("pk"),
        status__in=[OutboundState.QUEUED, OutboundState.SENT],
        next_attempt_at__lte=at,
    )
    served = Endpoint.objects.filter(
        protocol__in=protocols or [Protocol.MLLP], paused=False, active=True, next_attempt_at__lte=at
    )
    return list(served.filter(Exists(due)).order_by("pk").values_list("pk", flat=True))


def may_send(message: OutboundMessage, endpoint: Endpoint) -> bool:
    """False for a message whose sender died before the answer, where a repeat could do harm: it is held."""
    if not message.raw:
        # Accepted long ago and sent again by a person while the month of its bytes was dropped.
        _change(message, OutboundState.QUEUED, OutboundState.SENT, status=OutboundState.HELD,
                error_class="operator", error_text="Its bytes have been removed; it cannot be sent again.")  # fmt: skip
        return False
    if message.status == OutboundState.QUEUED or endpoint.on_ambiguous == OnAmbiguous.RESEND:
        return True
    _change(message, OutboundState.SENT, status=OutboundState.HELD, error_class="no_answer",
            error_text="Sent, but no answer came; check at the receiver before releasing it.")  # fmt: skip
    return False


# What every message goes through is written in plain SQL: a line waits for its partner, not for the ORM.
_SENT = """
UPDATE interfaces_outboundmessage SET status = 'sent', attempts = attempts + 1, sent_at = %s
WHERE id = %s AND status IN ('queued', 'sent') RETURNING attempts
"""


def mark_sent(message: OutboundMessage) -> bool:
    """Note the attempt before the first byte leaves. False when a person took the message meanwhile."""
    with connection.cursor() as cursor:
        # It may be `sent`: its sender died before the answer.
        cursor.execute(_SENT, [timezone.now(), message.pk])
        row = cursor.fetchone()
    if row is not None:
        (message.attempts,) = row
    return row is not None


# Only the head of the queue is looked at, so that what is held back is not read again with every turn.
_SENT_AHEAD = """
WITH head AS MATERIALIZED (
    SELECT id, endpoint_id, key, stored_on FROM interfaces_outboundmessage
    WHERE endpoint_id = %(endpoint)s AND status IN ('queued', 'sent') AND status = 'queued'
      AND next_attempt_at <= %(at)s AND id > %(after)s
    ORDER BY id LIMIT %(most)s FOR UPDATE SKIP LOCKED
), due AS MATERIALIZED (
    SELECT head.id, b.content FROM head
    JOIN interfaces_messagebody b ON b.message_id = head.id AND b.part = 'out' AND b.stored_on = head.stored_on
    WHERE b.cuts IS NULL AND NOT EXISTS (
        SELECT 1 FROM interfaces_outboundmessage open
        WHERE open.endpoint_id = head.endpoint_id AND open.key = head.key AND open.id < head.id
          AND open.id <> %(after)s AND open.status IN ('queued', 'sent', 'rejected', 'held')
          AND open.id NOT IN (SELECT id FROM head))
)
UPDATE interfaces_outboundmessage m SET status = 'sent', attempts = attempts + 1, sent_at = %(now)s FROM due
WHERE m.id = due.id RETURNING m.*, due.content
"""


def mark_sent_ahead(first: OutboundMessage, *, at: datetime, most: int) -> list[OutboundMessage]:
    """What follows `first` in its queue and waits for nothing but those before it in the list, each noted as one
    attempt, with its bytes read. What is not sent after all must be `put_back`."""
    values = {
        "endpoint": first.endpoint_id, "after": first.pk, "at": at, "now": timezone.now(), "most": most,
    }  # fmt: skip
    # RawQuerySet has no way to say that `content` is not the model's, but reads it as an annotation.
    claimed: list[Any] = sorted(OutboundMessage.objects.raw(_SENT_AHEAD, values), key=lambda one: one.pk)
    for message in claimed:
        message.hold_bytes(Part.OUT, bytes(message.content))
    return claimed


def put_back(messages: list[OutboundMessage]) -> bool:
    """Claimed ahead, but no byte has left: the attempt does not count."""
    for message in messages:
        _outcome(message, None, status=OutboundState.QUEUED, attempts=F("attempts") - 1)
    return True


# Each outcome belongs to one attempt: False when another sender has made a newer one since.


_ACCEPTED = """
WITH accepted AS (
    UPDATE interfaces_outboundmessage SET
        status = 'accepted', ack_code = %(code)s, answered_at = %(at)s, error_class = '', error_text = ''
    WHERE id = %(pk)s AND status = 'sent' AND attempts = %(attempts)s RETURNING id
), kept AS (
    INSERT INTO interfaces_messagebody (message_id, part, stored_on, content)
    SELECT id, 'out_answer', %(day)s, %(answer)s FROM accepted
    ON CONFLICT (message_id, part, stored_on) DO UPDATE SET content = excluded.content, cuts = NULL
)
SELECT id FROM accepted
"""


def mark_accepted(message: OutboundMessage, *, code: str, answer: bytes) -> bool:
    values: dict[str, Any] = {"code": code, "at": timezone.now(), "pk": message.pk, "attempts": message.attempts,
              "day": message.stored_on, "answer": answer}  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_ACCEPTED, values)
        return cursor.fetchone() is not None


def mark_refused(
    message: OutboundMessage, *, code: str, answer: bytes, text: str, retry_in: timedelta | None
) -> bool:
    """AE or AR came. With `retry_in` it is tried again; else it waits for a person and holds back its key only."""
    return _outcome(
        message, answer, status=OutboundState.REJECTED if retry_in is None else OutboundState.QUEUED,
        ack_code=code, answered_at=timezone.now(), refusals=F("refusals") + 1,
        next_attempt_at=timezone.now() + (retry_in or timedelta()), error_class="refused", error_text=text[:300],
    )  # fmt: skip


def mark_unanswered(
    message: OutboundMessage, endpoint: Endpoint, *, answer: bytes | None, text: str, retry_in: timedelta
) -> bool:
    """The bytes left, but no answer that is ours came back."""
    return _outcome(
        message, answer,
        status=OutboundState.QUEUED if endpoint.on_ambiguous == OnAmbiguous.RESEND else OutboundState.HELD,
        next_attempt_at=timezone.now() + retry_in, error_class="no_answer", error_text=text[:300],
    )  # fmt: skip


def mark_not_sent(message: OutboundMessage) -> bool:
    """The line had ended before the first byte left."""
    return _outcome(message, None, status=OutboundState.QUEUED)


def _outcome(message: OutboundMessage, answer: bytes | None, **values: object) -> bool:
    return _change(message, OutboundState.SENT, answer=answer, attempt=message.attempts, **values)


@transaction.atomic
def answered_later(control_id: str, *, code: str, answer: bytes, text: str) -> OutboundMessage | None:
    """The application's answer to a message whose commit we have (enhanced mode). None: we know no such message."""
    message = OutboundMessage.objects.select_for_update().filter(control_id=control_id).first()
    if message is None:
        return None
    if code in ("AA", "CA"):
        _change(
            message, OutboundState.SENT, OutboundState.ACCEPTED, answer=answer, status=OutboundState.ACCEPTED,
            ack_code=code, answered_at=timezone.now(), error_class="", error_text="",
        )  # fmt: skip
    else:
        _change(
            message, OutboundState.SENT, OutboundState.ACCEPTED, answer=answer, status=OutboundState.REJECTED,
            ack_code=code, answered_at=timezone.now(), refusals=F("refusals") + 1, error_class="refused",
            error_text=text[:300],
        )  # fmt: skip
    return message


def ask_again(message: OutboundMessage) -> None:
    """Send what was accepted once more, because what should have followed has not come."""
    if _change(message, OutboundState.ACCEPTED, status=OutboundState.QUEUED, next_attempt_at=timezone.now()):
        wake_sender(message.endpoint_id)


def note(message: OutboundMessage, text: str) -> None:
    """What became known of a message later, in words."""
    OutboundMessage.objects.filter(pk=message.pk).update(note=text[:200])


def _change(
    message: OutboundMessage,
    *before: str,
    answer: bytes | None = None,
    attempt: int | None = None,
    **values: object,
) -> bool:
    """One conditional UPDATE; False when the row was not in one of the states `before`, or not of this attempt."""
    rows = OutboundMessage.objects.filter(pk=message.pk, status__in=before)
    if attempt is not None:
        rows = rows.filter(attempts=attempt)
    with transaction.atomic(savepoint=False):
        changed = rows.update(**values)
        if changed and answer:
            keep_body(message.pk, Part.OUT_ANSWER, message.stored_on, answer)
    return bool(changed)


def partner(pk: int) -> Endpoint:
    """The endpoint as it is now; asked for with every message."""
    (found,) = Endpoint.objects.raw("SELECT * FROM interfaces_endpoint WHERE id = %s", [pk])
    return found


def next_number_out(endpoint: Endpoint) -> int:
    """The next sequence number of what we send, in the transaction that claims the message."""
    Endpoint.objects.filter(pk=endpoint.pk).update(last_sequence_out=F("last_sequence_out") + 1)
    endpoint.refresh_from_db(fields=["last_sequence_out"])
    return endpoint.last_sequence_out


def keep_number_in(endpoint: Endpoint, last: int | None) -> None:
    """The sequence number that was taken last; None when any may come."""
    Endpoint.objects.filter(pk=endpoint.pk).update(last_sequence_in=last)


def keep_bytes(message: OutboundMessage, raw: bytes) -> None:
    """What every attempt sends from now on; before the first one."""
    message.raw = raw
    message.save(update_fields=["stored_on"])


def line_up(endpoint: Endpoint) -> None:
    """The partner answered. Written at most once a second while all is well."""
    now = timezone.now()
    if (
        not endpoint.failures
        and endpoint.last_answer_at
        and now - endpoint.last_answer_at < timedelta(seconds=1)
    ):
        return
    Endpoint.objects.filter(pk=endpoint.pk).update(
        failures=0, down_since=None, last_answer_at=now, last_error=""
    )
    endpoint.failures, endpoint.last_answer_at = 0, now


def line_down(endpoint: Endpoint, *, text: str, retry_in: timedelta) -> None:
    """The partner could not be reached, or did not answer: the whole line waits."""
    now = timezone.now()
    Endpoint.objects.filter(pk=endpoint.pk).update(
        failures=F("failures") + 1, next_attempt_at=now + retry_in, last_error=text[:200],
        down_since=endpoint.down_since or now,
    )  # fmt: skip
