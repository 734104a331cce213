"""Whose wristband it is: the check between the patient on the table and the exam on the screen (ux.md 3.5)."""

import re
from dataclasses import dataclass

from ris.accounts.models import User
from ris.audit.models import AuditEvent
from ris.audit.trail import record_access
from ris.core.formats import mrn
from ris.orders.models import Order
from ris.patients.actions import survivor
from ris.patients.models import Patient, PatientIdentifier


@dataclass(frozen=True)
class Wristband:
    """What was scanned or typed, and whom it names; an accession number names its order too."""

    text: str
    patients: tuple[Patient, ...]
    order: Order | None = None

    @property
    def patient(self) -> Patient | None:
        return self.patients[0] if self.patients else None


def read_wristband(text: str) -> Wristband:
    """Look up a scan: a patient's number of any authority, or an accession number. Spaces do not count."""
    text = text.strip()
    bare = re.sub(r"[\s-]", "", text)
    known = (
        PatientIdentifier.objects.select_related("patient__merged_into")
        .filter(value__in={text, bare})
        .exclude(value="")
    )
    patients = {survivor(one.patient) for one in known}
    order = Order.objects.select_related("patient").filter(accession_number=bare.upper()).first()
    if order is not None:
        patients.add(order.patient)
    return Wristband(text, tuple(sorted(patients, key=lambda one: one.pk)), order)


def fits(wristband: Wristband, order: Order) -> bool:
    """Whether the scan names this order or its patient."""
    if wristband.order is not None:
        return wristband.order.pk == order.pk or wristband.order.patient_id == order.patient_id
    return order.patient_id in {patient.pk for patient in wristband.patients}


def is_birth_year(patient: Patient, text: str) -> bool:
    return bool(patient.birth_date) and text.strip() == patient.birth_date[:4]


def note_check(by: User, order: Order, how: str) -> None:
    """Keep in the trail how the patient was identified before the start."""
    record_access(
        by, "exam.identity_checked", patient=order.patient_id, subject=order.accession_number, how=how
    )


def note_refusal(by: User, order: Order, wristband: Wristband) -> None:
    """Keep in the trail that another patient's wristband was scanned."""
    record_access(
        by, "exam.identity_refused", patient=order.patient_id, subject=order.accession_number,
        outcome=AuditEvent.Outcome.REFUSED, other=[patient.pk for patient in wristband.patients],
    )  # fmt: skip


def mismatch(wristband: Wristband, order: Order) -> str:
    """The sentence that names both."""
    this = f"This exam is for {_named(order.patient)}."
    if wristband.patient is None:
        return f"No patient has the number {wristband.text}. {this} Scan again, or type the birth year."
    return f"Wristband says {_named(wristband.patient)}. {this} Do not scan."


def _named(patient: Patient) -> str:
    return f"{patient.name.display}, MRN {mrn(patient.mrn) or 'not known'}"
