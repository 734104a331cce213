"""Cases: what a message brought that matches nothing here is kept in sight until it has its place."""

from dataclasses import dataclass

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from interfaces.models import Case, CaseKind, CaseStatus, Endpoint, InboundMessage, OutboundMessage
from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.audit.trail import record_access
from ris.core.errors import IllegalTransition, MissingData


@dataclass(frozen=True, slots=True)
class NewCase:
    """`key` names the thing, so that ten messages about it are one case; `sentence` names no patient."""

    kind: CaseKind
    key: str
    sentence: str
    suggestion: str = ""
    patient_id: int | None = None
    accession_number: str = ""


@transaction.atomic
def open_case(
    new: NewCase,
    *,
    endpoint: Endpoint | None = None,
    inbound: InboundMessage | None = None,
    outbound: OutboundMessage | None = None,
) -> Case:
    """The open case of this thing, counted once more, or a new one."""
    case, made = Case.objects.select_for_update().get_or_create(
        kind=new.kind, key=new.key[:160], status=CaseStatus.OPEN,
        defaults={
            "endpoint": endpoint, "inbound": inbound, "outbound": outbound, "sentence": new.sentence[:300],
            "suggestion": new.suggestion[:300], "patient_id": new.patient_id,
            "accession_number": new.accession_number[:64],
        },
    )  # fmt: skip
    if not made:
        Case.objects.filter(pk=case.pk).update(count=F("count") + 1, last_seen_at=timezone.now())
    return case


@transaction.atomic
def solve_cases(kind: CaseKind, key: str, *, by: User, note: str = "") -> int:
    """What the open cases of this thing waited for has come; returns how many there were."""
    return Case.objects.filter(kind=kind, key=key[:160], status=CaseStatus.OPEN).update(
        status=CaseStatus.SOLVED, closed_at=timezone.now(), closed_by=by, note=note[:300]
    )


@transaction.atomic
def dismiss_case(case: Case, reason: str, *, by: User) -> Case:
    """Close a case without its effect. Raises MissingData without a reason."""
    require(by, "case.settle")
    if not reason.strip():
        raise MissingData("Say why nothing needs to be done.", location="reason")
    case = Case.objects.select_for_update().get(pk=case.pk)
    if case.status != CaseStatus.OPEN:
        raise IllegalTransition("The case is closed already.")
    case.status, case.closed_at, case.closed_by, case.note = (
        CaseStatus.DISMISSED, timezone.now(), by, reason.strip()[:300],
    )  # fmt: skip
    case.save(update_fields=["status", "closed_at", "closed_by", "note"])
    record_access(by, "case.dismissed", patient=case.patient_id, subject=f"case:{case.pk}", reason=reason)
    return case
