"""The hash chain over the trail. Rows are sealed in batches: a chain row by row would serialise every commit.

A batch holds the rows of all transactions that began before any still running one, so none can
join it later. digest = sha256(previous digest, then every row in id order).
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from django.db import connection, transaction

from ris.audit.models import AuditEvent, AuditSeal

_FIELDS = [
    "id",
    "at",
    "xid",
    "cluster",
    "user",
    "username",
    "action",
    "patient",
    "subject",
    "source",
    "reason",
    "outcome",
    "details",
]
_GENESIS = "0" * 64


@dataclass(frozen=True)
class Break:
    """One place where the trail is not what was sealed."""

    seal: int
    problem: str


def _digest(previous: str, cluster: int, from_xid: int, upto_xid: int) -> tuple[str, int]:
    chain = hashlib.sha256(previous.encode())
    count = 0
    rows = AuditEvent.objects.filter(cluster=cluster, xid__gte=from_xid, xid__lt=upto_xid).order_by("id")
    for row in rows.values_list(*_FIELDS).iterator(chunk_size=2000):
        values = [
            value.timestamp() if name == "at" else value for name, value in zip(_FIELDS, row, strict=True)
        ]
        chain.update(json.dumps(values, sort_keys=True, ensure_ascii=False).encode())
        count += 1
    return chain.hexdigest(), count


@transaction.atomic
def seal() -> AuditSeal | None:
    """Seal what has come since the last seal; None when nothing has."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('ris.audit.seal'))")
        cursor.execute(
            "SELECT (pg_snapshot_xmin(pg_current_snapshot())::text)::bigint,"
            " (pg_control_system()).system_identifier"
        )
        horizon, cluster = cursor.fetchone()
    last = AuditSeal.objects.order_by("-id").first()
    from_xid = last.upto_xid if last and last.cluster == cluster else 0
    if not AuditEvent.objects.filter(cluster=cluster, xid__gte=from_xid, xid__lt=horizon).exists():
        return None
    digest, rows = _digest(last.digest if last else _GENESIS, cluster, from_xid, horizon)
    return AuditSeal.objects.create(
        cluster=cluster, from_xid=from_xid, upto_xid=horizon, rows=rows, digest=digest
    )


def verify() -> Iterator[Break]:
    """Every break of the chain, oldest first. Rows younger than the last seal are not judged."""
    previous: AuditSeal | None = None
    for link in AuditSeal.objects.order_by("id"):
        expected_from = previous.upto_xid if previous and previous.cluster == link.cluster else 0
        if link.from_xid != expected_from:
            yield Break(link.pk, "a seal before this one is gone")
        digest, rows = _digest(
            previous.digest if previous else _GENESIS, link.cluster, link.from_xid, link.upto_xid
        )
        if rows != link.rows:
            yield Break(link.pk, f"{link.rows} rows were sealed, {rows} are there")
        elif digest != link.digest:
            yield Break(link.pk, "a row differs from what was sealed")
        previous = link
