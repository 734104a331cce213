"""Letting go of what need not be kept: bytes by months, rows after years, never anything that is open.

Runs nightly from beat and by `manage.py retention`. The database keeps the same rules: a service may only ask
`interfaces_drop_bodies` for a month, which refuses young months and open messages, and a trigger keeps rows.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import Q, QuerySet

from interfaces.models import Attachment, CaseStatus, InboundMessage, OutboundMessage
from interfaces.models_bodies import YEARS, today
from interfaces.states import IN_OPEN, OPEN
from ris.accounts.models import system_user
from ris.audit.trail import record_access
from ris.core.errors import BadValue

log = logging.getLogger(__name__)

_AHEAD = 3  # months; what comes later than these lands in the default partition until the next run
_BATCH = 1000
FEWEST_DAYS = 31


@dataclass(frozen=True, slots=True)
class Kept:
    """Up to where things go: bytes of the months before `bytes_from`, rows written before `rows_from`."""

    bytes_from: date
    rows_from: datetime


@dataclass(slots=True)
class Outcome:
    """What went, or in a dry run would go."""

    months: list[date]
    moved_on: int = 0
    attachments: int = 0
    messages: int = 0


def limits(now: datetime, *, months: int | None = None) -> Kept:
    """Bytes are kept for `RIS_KEEP_BYTES_DAYS` and until their month is out; `months` full months instead if given.

    Raises BadValue for less than the database would allow.
    """
    day = now.date()
    if months is not None:
        if months < 2:
            raise BadValue("At least 2 months of bytes are kept.", location="months")
        first = day.replace(day=1)
        for _ in range(months):
            first = (first - timedelta(days=1)).replace(day=1)
    else:
        first = (day - timedelta(days=max(settings.RIS_KEEP_BYTES_DAYS, FEWEST_DAYS))).replace(day=1)
    years = max(settings.RIS_KEEP_MESSAGES_YEARS, YEARS)
    # A day to spare for 29 February.
    return Kept(first, now - timedelta(days=366 * years))


def apply(kept: Kept, *, dry_run: bool = False) -> Outcome:
    """Let go of what lies before `kept`, in small steps; what cannot be had now is left for the next run."""
    if not dry_run:
        make_partitions()
    done = Outcome(months=[])
    for month in _months():
        if month < kept.bytes_from and _let_go(month, done, dry_run=dry_run):
            done.months.append(month)
    oldest = min((month for month in _months() if not dry_run or month not in done.months), default=today())
    done.attachments = sum(_batches(Attachment.objects.filter(used_on__lt=oldest), dry_run=dry_run))
    for rows in (
        InboundMessage.objects.filter(received_at__lt=kept.rows_from, cases=None).exclude(status__in=IN_OPEN),
        OutboundMessage.objects.filter(created_at__lt=kept.rows_from, cases=None).exclude(status__in=OPEN),
    ):
        done.messages += sum(_batches(rows, dry_run=dry_run))
    if done.messages and not dry_run:
        _note("message.rows_removed", count=done.messages, before=f"{kept.rows_from:%Y-%m-%d}")
    return done


def make_partitions() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT interfaces_make_partitions(%s)", [_AHEAD])


def _months() -> list[date]:
    """The months that have a partition, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits"
            " WHERE inhparent = 'interfaces_messagebody'::regclass"
        )
        names = [re.search(r"_(\d{4})(\d{2})$", name) for (name,) in cursor.fetchall()]
    return sorted(date(int(name[1]), int(name[2]), 1) for name in names if name)


def _let_go(month: date, done: Outcome, *, dry_run: bool) -> bool:
    following = (month + timedelta(days=31)).replace(day=1)
    try:
        while ids := _open_in(month, following):
            done.moved_on += sum(len(found) for found in ids.values())
            if dry_run:
                break
            for way, found in ids.items():
                _move_on(way, found, month, following)
        if not dry_run:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT interfaces_drop_bodies(%s)", [month])
                cursor.execute(
                    "INSERT INTO interfaces_removal (month) VALUES (%s) ON CONFLICT DO NOTHING", [month]
                )
                _note("message.bytes_removed", month=f"{month:%Y-%m}")
    except DatabaseError as problem:
        # Somebody reads or writes there, or a message was opened just now.
        log.warning("the bytes of %s stay until the next run: %s", f"{month:%Y-%m}", problem)
        return False
    return True


def _open_in(month: date, following: date) -> dict[str, list[int]]:
    """Open messages, and messages with an open case, whose bytes lie in the month; by way, a batch of them."""
    there = Q(stored_on__gte=month, stored_on__lt=following)
    found: dict[str, list[int]] = {}
    for way, model, states in (("in", InboundMessage, IN_OPEN), ("out", OutboundMessage, OPEN)):
        for waiting in (Q(status__in=states), Q(cases__status=CaseStatus.OPEN)):
            ids = list(model._default_manager.filter(there & waiting).values_list("pk", flat=True)[:_BATCH])
            if ids:
                found[way] = ids
                break
    return found


def _move_on(way: str, ids: list[int], month: date, following: date) -> None:
    """Refile the bytes of these messages under today."""
    values: dict[str, Any] = {"ids": ids, "day": today(), "month": month, "following": following,
              "parts": [way, f"{way}_answer"]}  # fmt: skip
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE interfaces_{way}boundmessage SET stored_on = %(day)s WHERE id = ANY(%(ids)s)", values
        )
        cursor.execute(
            "UPDATE interfaces_attachment SET used_on = %(day)s WHERE digest IN ("
            " SELECT cut->>1 FROM interfaces_messagebody, jsonb_array_elements(cuts) cut"
            " WHERE message_id = ANY(%(ids)s) AND part = ANY(%(parts)s)"
            " AND stored_on >= %(month)s AND stored_on < %(following)s)",
            values,
        )
        cursor.execute(
            "UPDATE interfaces_messagebody SET stored_on = %(day)s"
            " WHERE message_id = ANY(%(ids)s) AND part = ANY(%(parts)s)"
            " AND stored_on >= %(month)s AND stored_on < %(following)s",
            values,
        )


def _batches(rows: QuerySet[Any], *, dry_run: bool) -> Iterator[int]:
    """Delete, a batch a transaction; yields how many each time."""
    if dry_run:
        yield rows.count()
        return
    table = rows.model._meta.db_table
    key = rows.model._meta.pk.column
    while ids := list(rows.values_list("pk", flat=True)[:_BATCH]):
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {table} WHERE {key} = ANY(%s)", [ids])
        yield len(ids)


def _note(action: str, **details: Any) -> None:
    record_access(system_user("retention"), action, subject="messages", **details)
