"""Recording facts and passing them on.

A verb calls `record` inside its transaction; the relay hands each fact to each subscriber once, in the
order of its subject. Celery only wakes the relay: losing every one of its messages loses nothing.
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from ris.accounts.models import User
from ris.audit.models import AuditEvent
from ris.audit.trail import AUDIT_COLUMNS, AUDIT_VALUES, audit_values
from ris.core import faults
from ris.events import wakeups
from ris.events.models import Delivery, Event

log = logging.getLogger(__name__)

Reaction = Callable[[Event], None]
_subscribers: dict[str, tuple[frozenset[str], Reaction]] = {}

#: Where the facts of this thread are also noted, for whoever wants to know what a verb would do.
_heard: ContextVar[list[Event] | None] = ContextVar("facts_heard", default=None)

_BACK_OFF = [1, 2, 5, 10, 30, 60]  # seconds


def subscriber(name: str, *kinds: str) -> Callable[[Reaction], Reaction]:
    """Register a reaction. It runs in the relay's transaction, once for each fact of `kinds`."""

    def register(reaction: Reaction) -> Reaction:
        if _subscribers.get(name, (None, reaction))[1] is not reaction:
            raise ValueError(f"two subscribers are called {name}")
        _subscribers[name] = (frozenset(kinds), reaction)
        return reaction

    return register


# One statement for the fact, its deliveries and its audit row: every verb pays for it.
_RECORD = f"""
WITH fact AS (
    INSERT INTO events_event (kind, subject, by_id, facts)
    VALUES (%(action)s, %(fact_of)s, %(user)s, %(facts)s) RETURNING id, at
), told AS (
    INSERT INTO events_delivery (event_id, subscriber, subject, attempts, next_attempt_at, error)
    SELECT id, listener, %(fact_of)s, 0, at, '' FROM fact, unnest(%(listeners)s::varchar[]) listener
), noted AS (
    INSERT INTO audit_auditevent ({AUDIT_COLUMNS})
    SELECT {AUDIT_VALUES}, jsonb_build_object('event', id) FROM fact
)
SELECT id, at FROM fact
"""


def record(kind: str, subject: str, *, by: User, patient: int | None = None, **facts: Any) -> Event:
    """Write the fact, its deliveries and its audit row; a transaction must be open.

    `facts` are row ids, codes and numbers. `patient` is the row id for the audit trail and the screens.
    """
    assert connection.in_atomic_block, "a fact is recorded in the transaction that makes it true"
    if patient is not None:
        facts["patient"] = patient
    listeners = [name for name, (kinds, _) in _subscribers.items() if kind in kinds]
    values = audit_values(by, kind, patient, subject, AuditEvent.Outcome.OK)
    with connection.cursor() as cursor:
        cursor.execute(
            _RECORD, {**values, "fact_of": subject, "facts": json.dumps(facts), "listeners": listeners}
        )
        pk, at = cursor.fetchone()
    event = Event(pk=pk, at=at, kind=kind, subject=subject, by=by, facts=facts)
    event._state.adding = False
    faults.point("after_audit_before_commit")
    heard = _heard.get()
    if heard is not None:
        heard.append(event)
    if listeners:
        transaction.on_commit(wake)
    return event


@contextmanager
def listening() -> Iterator[list[Event]]:
    """The facts recorded in this thread inside the block, in order, as they come."""
    facts: list[Event] = []
    token = _heard.set(facts)
    try:
        yield facts
    finally:
        _heard.reset(token)


def reactions(kind: str) -> list[Reaction]:
    """Who reacts to facts of this kind."""
    return [reaction for kinds, reaction in _subscribers.values() if kind in kinds]


def wake() -> None:
    """Ask a worker to relay now. Without a broker the next sweep does it."""
    from ris.events.tasks import relay

    wakeups.ask(relay)


# The oldest due delivery that no earlier one of its subscriber and subject holds back.
_NEXT = """
SELECT d.id FROM events_delivery d
WHERE d.done_at IS NULL AND d.next_attempt_at <= %s AND NOT EXISTS (
    SELECT 1 FROM events_delivery earlier
    WHERE earlier.done_at IS NULL AND earlier.subscriber = d.subscriber
      AND earlier.subject = d.subject AND earlier.id < d.id)
ORDER BY d.id FOR UPDATE SKIP LOCKED LIMIT 1
"""


def relay_one() -> bool:
    """Hand one fact to one subscriber. False when nothing is due."""
    with transaction.atomic():
        now = timezone.now()
        with connection.cursor() as cursor:
            cursor.execute(_NEXT, [now])
            row = cursor.fetchone()
        if row is None:
            return False
        delivery = Delivery.objects.select_related("event", "event__by").get(pk=row[0])
        known = _subscribers.get(delivery.subscriber)
        if known is None:
            # A subscriber of a later version; its process will take it.
            _put_off(delivery, "no such subscriber in this version")
            return True
        try:
            with transaction.atomic():
                known[1](delivery.event)
        except Exception as problem:  # the edge of the loop: one bad fact must not stop the others
            log.exception("delivery %s to %s failed", delivery.pk, delivery.subscriber)
            _put_off(delivery, f"{type(problem).__name__}: {problem}")
        else:
            delivery.done_at = now
            delivery.save(update_fields=["done_at"])
    return True


def _put_off(delivery: Delivery, why: str) -> None:
    delay = _BACK_OFF[min(delivery.attempts, len(_BACK_OFF) - 1)]
    delivery.attempts += 1
    delivery.next_attempt_at = timezone.now() + timedelta(seconds=delay)
    delivery.error = why[:2000]
    delivery.save(update_fields=["attempts", "next_attempt_at", "error"])


def relay_all(limit: int = 1000) -> int:
    """Relay until nothing is due, or `limit` deliveries; how many were handled."""
    for handled in range(limit):
        if not relay_one():
            return handled
    return limit
