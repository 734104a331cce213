"""Writing the trail: looks, queries and exports by `record_access`; changes by `ris.events.record`."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

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
    user = by if isinstance(by, User) else None
    AuditEvent.objects.create(
        user=user.pk if user else None,
        username=user.username if user else "",
        action=action,
        patient=patient,
        subject=subject[:120],
        source=source.get(),
        reason=reason[:200],
        outcome=outcome,
        details=details,
    )
