"""Cases: what a message brought that matches nothing here is kept in sight until it has its place."""

from collections.abc import Collection
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from interfaces.models import Case, CaseKind, CaseStatus, Endpoint, InboundMessage, OutboundMessage
from interfaces.states import InboundState, OutboundState
from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.audit.trail import record_access
from ris.core.errors import Conflict, IllegalTransition, MissingData


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


def solve_topic(kinds: Collection[CaseKind], key: str, *, by: User) -> None:
    """A message about `key` was applied: what an earlier one about it waited for is done."""
    if not key:
        return
    Case.objects.filter(kind__in=kinds, key=key, status=CaseStatus.OPEN).update(
        status=CaseStatus.SOLVED, closed_at=timezone.now(), closed_by=by, note="The message was applied."
    )


def settle(only: InboundMessage | None = None) -> int:
    """Close what has had its effect in another way than `solve_topic` sees: the refused message was read again or
    sent again under its control id, the message to a partner was accepted or given up. Returns how many."""
    waiting = Case.objects.select_related("inbound", "outbound", "endpoint__user").filter(
        status=CaseStatus.OPEN
    )
    if only is not None:
        waiting = waiting.filter(inbound__sender=only.sender, inbound__control_id=only.control_id)
    settled = 0
    for case in waiting.filter(Q(kind__in=_BY_MESSAGE) | Q(outbound__isnull=False)):
        note = _effect(case)
        if note and case.endpoint is not None:
            settled += _close(case.pk, note, by=case.endpoint.user)
    return settled


#: Kinds whose open case ends when their message is applied after all.
_BY_MESSAGE = (
    CaseKind.REFUSED, CaseKind.UNKNOWN_PATIENT, CaseKind.UNKNOWN_ORDER, CaseKind.UNKNOWN_EXAM,
    CaseKind.UNKNOWN_APPOINTMENT, CaseKind.WRONG_FACILITY,
)  # fmt: skip


def _effect(case: Case) -> str:
    """How what the case waited for has come; "" while it waits."""
    if case.outbound is not None:
        return {
            OutboundState.ACCEPTED: "The partner has accepted it.",
            OutboundState.DISCARDED: "It was given up.",
        }.get(OutboundState(case.outbound.status), "")
    message = case.inbound
    if message is None:
        return ""
    if case.kind != CaseKind.REFUSED:
        came = (
            _applied(message.sender, message.control_id) if message.status == InboundState.REJECTED else None
        )
        return "The message was applied." if came else ""
    return "" if refused_alike(case).exists() else "Every message of this cause was applied."


def refused_alike(case: Case) -> QuerySet[InboundMessage]:
    """The messages of a case that still are refused, and did not come again and fit."""
    _, type_, code, location = case.key.rsplit("|", 3)
    later = _applied(OuterRef("sender"), OuterRef("control_id"))
    return InboundMessage.objects.filter(
        ~Exists(later), endpoint=case.endpoint_id, type=type_, status=InboundState.REJECTED, error_code=code,
        error_location=location[:40], pk__gte=case.inbound_id or 0,
    ).order_by("pk")  # fmt: skip


def _applied(sender: str | OuterRef, control_id: str | OuterRef) -> QuerySet[InboundMessage]:
    return InboundMessage.objects.filter(
        sender=sender, control_id=control_id, status=InboundState.PROCESSED
    ).exclude(control_id="")


def _close(pk: int, note: str, *, by: User) -> int:
    return Case.objects.filter(pk=pk, status=CaseStatus.OPEN).update(
        status=CaseStatus.SOLVED, closed_at=timezone.now(), closed_by=by, note=note
    )


@transaction.atomic
def solve_case(case: Case, note: str, *, by: User) -> None:
    """A person has had applied what the message asked for; the case closes in that person's name, even where
    the message itself has just closed it."""
    require(by, "case.settle")
    Case.objects.filter(pk=case.pk).exclude(status=CaseStatus.DISMISSED).update(
        status=CaseStatus.SOLVED, closed_at=timezone.now(), closed_by=by, note=note[:300]
    )
    record_access(by, "case.solved", patient=case.patient_id, subject=f"case:{case.pk}", reason=note)


@transaction.atomic
def take_case(case: Case, *, by: User) -> None:
    """Say that somebody sees to it; who has it already may be relieved."""
    require(by, "case.settle")
    if not Case.objects.filter(pk=case.pk, status=CaseStatus.OPEN).update(owner=by):
        raise IllegalTransition("The case is closed already.")
    record_access(by, "case.taken", patient=case.patient_id, subject=f"case:{case.pk}")


@transaction.atomic
def release_case(case: Case, *, by: User) -> None:
    """Leave it to somebody else."""
    require(by, "case.settle")
    if Case.objects.filter(pk=case.pk, status=CaseStatus.OPEN).update(owner=None):
        record_access(by, "case.released", patient=case.patient_id, subject=f"case:{case.pk}")


@transaction.atomic
def note_case(case: Case, note: str, *, by: User) -> None:
    """Write down how far it has come; for whoever looks next."""
    require(by, "case.settle")
    if not Case.objects.filter(pk=case.pk, status=CaseStatus.OPEN).update(note=note.strip()[:300]):
        raise IllegalTransition("The case is closed already.")
    record_access(by, "case.noted", patient=case.patient_id, subject=f"case:{case.pk}")


@transaction.atomic
def case_of_message(message: OutboundMessage, *, by: User) -> Case:
    """The case under which a message that a partner refused, or that is held, has an owner and a note."""
    require(by, "case.settle")
    case = Case.objects.filter(outbound=message, status=CaseStatus.OPEN).first()
    new = NewCase(
        CaseKind.REFUSED, f"out:{message.pk}", f"{message.type} to {message.endpoint.name} waits for a person.",
        "Have the cause removed at the partner, then send it again.", accession_number=message.accession_number,
    )  # fmt: skip
    return case or open_case(new, endpoint=message.endpoint, outbound=message)


@transaction.atomic
def reopen_case(case: Case, *, by: User) -> None:
    """Take a dismissal back. Raises Conflict when the same thing has come up again since."""
    require(by, "case.settle")
    case = Case.objects.select_for_update().get(pk=case.pk)
    if case.status != CaseStatus.DISMISSED:
        raise IllegalTransition("Only a dismissed case can be opened again.")
    if Case.objects.filter(kind=case.kind, key=case.key, status=CaseStatus.OPEN).exists():
        raise Conflict("The same thing has come up again; work on the newer case.")
    case.status, case.closed_at, case.closed_by = CaseStatus.OPEN, None, None
    case.save(update_fields=["status", "closed_at", "closed_by"])
    record_access(by, "case.reopened", patient=case.patient_id, subject=f"case:{case.pk}")


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
