"""Messages that were accepted and wait in a case: applied when what they need has come, or a person says so."""

import logging
from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from interfaces.cases import solve_cases
from interfaces.hl7 import ack, er7
from interfaces.hl7.inbound import adt, adt_identity
from interfaces.hl7.reading import Context
from interfaces.models import Case, CaseKind, CaseStatus
from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.audit.trail import record_access
from ris.core.errors import Conflict, RisError
from ris.patients.models import Patient, PatientIdentifier

log = logging.getLogger(__name__)

#: After that a waiting merge is a person's to decide.
PATIENCE = timedelta(hours=24)

#: The cases that `apply_case` can bring to their end.
HELD = (CaseKind.SIGNED_REPORT, CaseKind.MERGE_WAITS)


def _again(case: Case) -> tuple[er7.Message, Context]:
    """The case's message, in its sender's name."""
    message, endpoint = case.inbound, case.endpoint
    if message is None or endpoint is None:
        raise Conflict("This case has no message that could be applied.")
    raw = bytes(message.raw)
    parsed = er7.read(raw, endpoint.encoding)
    return parsed, Context(endpoint, ack.header_of(raw, parsed), message)


@transaction.atomic
def apply_case(case: Case, *, by: User) -> Patient | None:
    """Do what the case's message asks for, on a person's word. Raises Conflict when it still cannot be done."""
    require(by, "case.settle")
    if case.kind not in HELD or case.status != CaseStatus.OPEN:
        raise Conflict("There is nothing to apply.")
    message, context = _again(case)
    patient: Patient | None = None
    if case.kind == CaseKind.SIGNED_REPORT:
        patient = adt.apply_held(message, context)
    elif not adt_identity.merge_again(case.key, message, context):
        raise Conflict("The merge still cannot be done; the case says why.")
    record_access(by, "case.applied", patient=case.patient_id, subject=f"case:{case.pk}")
    solve_cases(CaseKind(case.kind), case.key, by=by, note="Applied by a person.")
    return patient


def apply_waiting_merges(patient: Patient) -> int:
    """A patient has become known, or free: apply the merges that waited for them. How many were applied."""
    waiting = Case.objects.filter(
        kind=CaseKind.MERGE_WAITS, status=CaseStatus.OPEN, opened_at__gte=timezone.now() - PATIENCE
    )
    if not waiting.exists():
        return 0
    numbers = PatientIdentifier.objects.filter(Q(patient=patient) | Q(patient__merged_into=patient))
    named = Q(pk=None)
    for one in numbers:
        name = f"{one.authority}|{one.value}"
        named |= Q(key__startswith=f"{name}>") | Q(key__endswith=f">{name}")
    done = 0
    for case in waiting.filter(named).select_related("endpoint__user", "inbound").order_by("pk"):
        try:
            with transaction.atomic():
                message, context = _again(case)
                done += adt_identity.merge_again(case.key, message, context)
        except RisError as problem:
            # It stays in the list of cases.
            log.warning("case %s still waits: %s", case.pk, problem.code)
    return done
