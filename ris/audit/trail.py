"""Writing the trail: looks, queries and exports by `record_access`; changes by `ris.events.record`."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from ris.accounts.models import User
from ris.audit.models import AuditEvent

#: Where the work of this thread comes from: an IP address, an AE title, an endpoint's name.
source: ContextVar[str] = ContextVar("audit_source", default="")


@contextmanager
def working_for(where: str) -> Iterator[None]:
    """Audit rows written inside name `where` as their source."""
    token = source.set(where[:120])
    try:
        yield
    finally:
        source.reset(token)


#: A row by the defaults of its table; `AUDITED` says the columns. Plain SQL, because a row is written with every
#: change and every look, and the ORM would take longer over the statement than the database.
AUDIT_COLUMNS = '"user", username, action, patient, subject, source, reason, outcome, details'
AUDIT_VALUES = (
    "%(user)s, %(username)s, %(action)s, %(patient)s, %(subject)s, %(source)s, %(reason)s, %(outcome)s"
)


def audit_values(
    by: object, action: str, patient: int | None, subject: str, outcome: str, reason: str = ""
) -> dict[str, Any]:
    """What `AUDIT_VALUES` names."""
    user = by if isinstance(by, User) else None
    return {
        "user": user.pk if user else None, "username": user.username if user else "", "action": action,
        "patient": patient, "subject": subject[:120], "source": source.get(), "reason": reason[:200],
        "outcome": str(outcome),
    }  # fmt: skip


def record_access(
    by: object,
    action: str,
    *,
    patient: int | None = None,
    subject: str = "",
    outcome: str = AuditEvent.Outcome.OK,
    reason: str = "",
    **details: Any,
) -> None:
    """Write one audit row in the caller's transaction. `patient` is a row id; details hold no names."""
    values = audit_values(by, action, patient, subject, outcome, reason)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO audit_auditevent ({AUDIT_COLUMNS}) VALUES ({AUDIT_VALUES}, %(details)s)",
            {**values, "details": json.dumps(details)},
        )


@dataclass(frozen=True, slots=True)
class Access:
    """An access by a service that answers faster than it could write each row by itself."""

    at: datetime
    action: str
    source: str
    outcome: str
    details: dict[str, Any]


def record_accesses(by: User, accesses: Iterable[Access]) -> None:
    """Write many rows at once, each with the moment of its access; details hold no names."""
    AuditEvent.objects.bulk_create(
        AuditEvent(
            at=one.at, user=by.pk, username=by.username, action=one.action, source=one.source[:120],
            outcome=one.outcome, details=one.details,
        )
        for one in accesses
    )  # fmt: skip
