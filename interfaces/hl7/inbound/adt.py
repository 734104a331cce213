"""ADT: patients and their visits (RAD-1; HL7 2.5.1 3.3)."""

from interfaces.hl7 import reading
from interfaces.hl7.er7 import Message
from interfaces.hl7.reading import Context, Outcome
from ris.patients.actions import know_patient


def person(message: Message, context: Context) -> Outcome:
    """A28, A31: demographics alone. An unknown patient is added (ADT-24); an older message than the newest
    applied one changes nothing (ADT-25)."""
    new = reading.new_patient(message, context)
    reading.claim(new.identifiers)
    patient = know_patient(new, by=context.by, at=reading.told_at(message, context))
    return Outcome(patient)


def admit(message: Message, context: Context) -> Outcome:
    """A01, A04, A05, A08: the patient, and the visit that PV1 tells."""
    outcome = person(message, context)
    assert outcome.patient is not None
    reading.visit(message, outcome.patient, context)
    return outcome
