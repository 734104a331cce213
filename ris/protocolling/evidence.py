"""What is known about a patient that speaks for one protocol and against another."""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from ris.core.formats import today
from ris.core.names import fold
from ris.orders.models import Order
from ris.safety.models import Reaction, RenalValue

#: LOINC codes of estimated glomerular filtration rates: MDRD, CKD-EPI 2009 and 2021, and by body surface.
EGFR_CODES = {"33914-3", "62238-1", "88293-6", "98979-8", "69405-9", "48642-3", "48643-1", "50044-7"}


@dataclass(frozen=True)
class Evidence:
    """Of one order's patient. What is not known is None or empty."""

    words: str = ""
    age: int | None = None
    egfr: Decimal | None = None
    allergies: str = ""


def evidence_of(order: Order) -> Evidence:
    """As it is known now: the facts kept of the patient before what came with the order."""
    told = [order.reason, order.clinical_info, *(one["text"] for one in order.diagnoses)]
    return Evidence(
        words=f" {fold(' '.join(told))} ",
        age=_years(order.patient.birth_date),
        egfr=_egfr_known(order) or egfr_told(order),
        allergies=", ".join(filter(None, [order.patient.allergies, *_reactions(order)])),
    )


def _egfr_known(order: Order) -> Decimal | None:
    standing = RenalValue.objects.filter(patient=order.patient_id, withdrawn_at=None)
    newest = standing.order_by("-measured_on", "-pk").first()
    return newest.egfr if newest else None


def _reactions(order: Order) -> list[str]:
    known = fold(order.patient.allergies)
    found = Reaction.objects.filter(patient=order.patient_id, withdrawn_at=None).order_by("pk")
    return [str(one) for one in found if fold(str(one)) not in known]


def _years(born: str) -> int | None:
    """The age in whole years; of a partial birth date the most it can be."""
    if not born:
        return None
    now = today()
    return (
        now.year
        - int(born[:4])
        - (len(born) == 10 and (now.month, now.day) < (int(born[5:7]), int(born[8:])))
    )


def egfr_told(order: Order) -> Decimal | None:
    """The eGFR that came with the order; "> 60" counts as 60."""
    for answer in order.answers:
        if answer["code"] in EGFR_CODES or "EGFR" in fold(answer["question"]):
            found = re.search(r"\d+(\.\d+)?", answer["value"])
            if found:
                try:
                    return Decimal(found[0])
                except InvalidOperation:
                    continue
    return None
