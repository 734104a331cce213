"""What the charge pages show; reads only."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Count, QuerySet, Sum

from billing.models import Charge, Fee
from billing.states import ChargeStatus
from ris.department.models import ProcedureType
from ris.events.models import Event


@dataclass(frozen=True)
class Choice:
    """What of the charges a page shows; blank means all."""

    status: str = ChargeStatus.CAPTURED
    component: str = ""
    modality: str = ""
    #: An accession number or the code of the charge, as typed.
    text: str = ""


def charges(choice: Choice) -> QuerySet[Charge]:
    """The charges, newest first, with all that a row shows."""
    return (
        _chosen(choice)
        .select_related("exam__order__patient", "procedure__procedure_type")
        .prefetch_related("exam__order__patient__identifiers")
        .order_by("-captured_at", "-pk")
    )


def _chosen(choice: Choice) -> QuerySet[Charge]:
    rows = Charge.objects.all()
    if choice.text:
        # Who looks for a number looks in every state.
        plain = re.sub(r"[\s-]", "", choice.text).upper()
        return rows.filter(exam__order__accession_number=plain) | rows.filter(code=choice.text.upper())
    if choice.status:
        rows = rows.filter(status=choice.status)
    if choice.component:
        rows = rows.filter(component=choice.component)
    if choice.modality:
        rows = rows.filter(procedure__procedure_type__modality=choice.modality)
    return rows


def totals(choice: Choice) -> list[tuple[str, Decimal]]:
    """(currency, sum) of what the filter shows, over all pages."""
    sums = _chosen(choice).values_list("currency").annotate(sum=Sum("amount")).order_by("currency")
    return [(currency, amount or Decimal(0)) for currency, amount in sums]


def counts() -> dict[str, int]:
    return dict(Charge.objects.values_list("status").annotate(count=Count("pk")))


def history(charge: Charge) -> QuerySet[Event]:
    """What was done to a charge, newest first."""
    return (
        Event.objects.filter(subject=charge.exam.order.subject, facts__charge=charge.pk)
        .select_related("by")
        .order_by("-pk")
    )


def fees(text: str = "") -> QuerySet[Fee]:
    rows = Fee.objects.all()
    for word in text.split():
        rows = rows.filter(code__icontains=word) | rows.filter(name__icontains=word)
    return rows.order_by("code")


@dataclass(frozen=True)
class MissingFee:
    """A code that an exam of the catalogue is charged under and that has no fee; its charges are held."""

    code: str
    exam: str
    component: str


def missing_fees() -> list[MissingFee]:
    known = set(Fee.objects.values_list("code", flat=True))
    return [one for one in _codes_of(ProcedureType.objects.filter(active=True)) if one.code not in known]


def _codes_of(exams: Iterable[ProcedureType]) -> Iterable[MissingFee]:
    for exam in exams:
        for code, component in ((exam.technical_code, "technical"), (exam.professional_code, "professional")):
            if code:
                yield MissingFee(code, exam.name, component)
