"""What the exam's page shows of contrast and consumables, and who received a lot; reads only."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet

from ris.accounts.models import User
from ris.accounts.permissions import allowed
from ris.exams.actions.administering import warnings_for
from ris.exams.models import Administration, Exam
from ris.exams.states import AdministrationStatus, ExamStatus
from ris.exams.supply_forms import GiveForm
from ris.protocolling.models import ProtocolRequest
from ris.protocolling.worklists import protocol_of
from ris.supplies.actions import Found
from ris.supplies.models import Kind, Lot
from ris.supplies.worklists import usable_lots


@dataclass
class Panel:
    """The contrast part of an exam's page: what was given, and what was just scanned."""

    exam: Exam
    given: list[Administration]
    may_give: bool
    protocol: ProtocolRequest | None = None
    found: Found | None = None
    form: GiveForm | None = None
    warnings: list[str] = field(default_factory=list)
    #: Why the scan or the entry was refused.
    problem: str = ""
    #: What was scanned when it could not be read.
    scanned: str = ""
    lots: QuerySet[Lot] | None = None

    @property
    def asked(self) -> str:
        """Iohexol 350 mg/mL, 70 mL at 3 mL/s: what the protocol says."""
        request = self.protocol
        if request is None or not request.contrast_agent or request.protocol is None:
            return ""
        volume = (
            f"{request.contrast_ml.normalize():f} mL" if request.contrast_ml else request.protocol.volume_rule
        )
        rate = request.protocol.rate_ml_s
        words = ", ".join(part for part in (request.contrast_agent, volume) if part)
        return f"{words} at {rate.normalize():f} mL/s" if rate else words


def panel(exam: Exam, user: User, *, found: Found | None = None, **more: Any) -> Panel:
    may_give = allowed(user, "supply.give") and exam.status != ExamStatus.ENTERED_IN_ERROR
    shown = Panel(
        exam, administrations_of([exam]), may_give, protocol_of(exam.procedure),
        lots=usable_lots() if may_give else None, **more,
    )  # fmt: skip
    if found is not None:
        shown.found = found
        shown.warnings = warnings_for(exam, found.item)
    return shown


def administrations_of(exams: Iterable[Exam]) -> list[Administration]:
    """What was given, spoilt and withdrawn in these exams, in order."""
    rows = Administration.objects.filter(exam__in=list(exams))
    return list(rows.select_related("lot__item", "given_by").order_by("given_at", "pk"))


def usual(shown: Panel) -> dict[str, Any]:
    """What the form begins with: the rest of the protocol's dose, its rate, and where the needle is already."""
    assert shown.found is not None
    item = shown.found.item
    before = [one for one in shown.given if one.status == AdministrationStatus.GIVEN and one.site]
    begins: dict[str, Any] = {"quantity": 1}
    if before:
        begins |= {"site": before[-1].site, "needle": before[-1].needle}
    if item.volume_ml is None:
        return begins
    wanted = shown.protocol.contrast_ml if shown.protocol else None
    volume = item.volume_ml
    if wanted:
        had = sum((one.volume_ml or Decimal(0) for one in shown.given
                   if one.status == AdministrationStatus.GIVEN and one.lot.item.name == item.name), Decimal(0))  # fmt: skip
        rest = wanted - had
        volume = (rest if item.shared else min(rest, volume)) if rest > 0 else volume
    begins["volume_ml"] = f"{volume.normalize():f}"
    rate = shown.protocol.protocol.rate_ml_s if shown.protocol and shown.protocol.protocol else None
    if rate and item.kind == Kind.CONTRAST:
        begins["rate_ml_s"] = f"{rate.normalize():f}"
    return begins


def recipients(lot: Lot) -> QuerySet[Administration]:
    """Everybody who was given something of a lot, the newest first; entries that were mistakes are not among them."""
    return (
        Administration.objects.filter(lot=lot, status=AdministrationStatus.GIVEN)
        .select_related(
            "exam__order__patient",
            "exam__order__ordering",
            "exam__procedure__procedure_type",
            "exam__room",
            "given_by",
            "lot__item",
        )
        .prefetch_related("exam__order__patient__identifiers")
        .order_by("-given_at", "-pk")
    )
