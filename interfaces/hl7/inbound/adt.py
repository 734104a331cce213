"""ADT: patients and their visits (RAD-1, RAD-12; HL7 2.5.1 3.3). Merges and the like are in `adt_identity`."""

import logging

from django.utils import timezone

from interfaces.cases import NewCase, open_case, solve_cases
from interfaces.hl7 import reading
from interfaces.hl7.er7 import Message
from interfaces.hl7.reading import Context, Outcome
from interfaces.models import CaseKind
from ris.core.errors import NotFound
from ris.core.names import fold
from ris.orders.actions import change_order
from ris.orders.models import Order
from ris.orders.states import OrderStatus
from ris.patients.actions import (
    NewPatient,
    NewVisit,
    VisitEvent,
    find_visit,
    know_patient,
    open_visit,
    register_patient,
    take_news,
    update_patient,
)
from ris.patients.models import Patient, PatientClass, Visit
from ris.patients.states import VisitStatus
from ris.reporting.models import ReportPart
from scheduling.actions import check_in
from scheduling.models import Appointment
from scheduling.states import AppointmentStatus

log = logging.getLogger(__name__)

#: Events that bring a patient; the others speak of one (ADT-24).
_BRING = {"A01", "A04", "A05", "A28"}

_VISIT_EVENTS = {
    "A01": VisitEvent.ADMITTED,
    "A02": VisitEvent.TRANSFERRED,
    "A03": VisitEvent.DISCHARGED,
    "A04": VisitEvent.ADMITTED,
    "A05": VisitEvent.PREADMITTED,
    "A06": VisitEvent.CLASS_CHANGED,
    "A07": VisitEvent.CLASS_CHANGED,
    "A08": VisitEvent.UPDATED,
    "A11": VisitEvent.CANCELLED,
    "A12": VisitEvent.TRANSFER_CANCELLED,
    "A13": VisitEvent.DISCHARGE_CANCELLED,
    "A38": VisitEvent.CANCELLED,
}


def person(message: Message, context: Context) -> Outcome:
    """A28, A31: demographics alone. An unknown patient is added, or refused where the profile says so (ADT-24); an
    older message than the newest applied one changes nothing (ADT-25)."""
    patient, _ = _person(message, context)
    return Outcome(patient)


def admit(message: Message, context: Context) -> Outcome:
    """A01 to A08, A11 to A13, A38: the patient, and what happened to the visit that PV1 tells."""
    patient, held = _person(message, context)
    if held:
        return Outcome(patient)
    event = _VISIT_EVENTS[context.header.trigger]
    key = reading.visit_key(message, context)
    if event == VisitEvent.CANCELLED and (key is None or find_visit(*key) is None):
        return Outcome(patient)  # nothing came of it here
    earlier = _earlier_visit(message, patient, context) if event == VisitEvent.CLASS_CHANGED else None
    visit = reading.visit(message, patient, context, event)
    if visit is not None:
        if earlier is not None and earlier.pk != visit.pk:
            _follow(earlier, visit, context)
        _warn(visit, context)
    if context.header.trigger == "A04":
        _arrived(patient, context)
    return Outcome(patient)


def track(message: Message, context: Context) -> Outcome:
    """A09, A10: on the way, here. With profile `tracking` yes an A10 checks the patient in (ADT-08)."""
    patient = reading.known_patient(message, context)
    if patient is not None and context.header.trigger == "A10":
        _arrived(patient, context)
    return Outcome(patient)


def pending(message: Message, context: Context) -> Outcome:
    """A14, A15, A16: what is intended changes nothing here (ADT-11); nor does A51, another name for a visit."""
    return Outcome(reading.known_patient(message, context))


def allergies(message: Message, context: Context) -> Outcome:
    """A60: IAM-6 says of each allergy whether it is added, changed or deleted; without it the list is whole."""
    patient = reading.known_patient(message, context)
    if patient is None:
        raise NotFound("This patient is not known here.", location="PID-3")
    segments = message.all("IAM") or message.all("AL1")
    if all(one.get(6) for one in segments if one.name == "IAM"):
        gone = reading.allergens(one for one in segments if one.name == "IAM" and one.get(6).upper() == "D")
        told = [part.strip() for part in patient.allergies.split(";") if part.strip()]
        told += reading.allergens(one for one in segments if one.get(6).upper() != "D")
        left = [one for one in dict.fromkeys(told) if one not in gone]
    else:
        left = reading.allergens(segments)
    update_patient(
        patient, {"allergies": "; ".join(left)}, by=context.by, at=reading.told_at(message, context)
    )
    return Outcome(patient)


# The person


def _person(message: Message, context: Context) -> tuple[Patient, bool]:
    """Know the patient by the message; and whether its news were held for a person."""
    new = reading.new_patient(message, context)
    reading.claim(new.identifiers)
    known = reading.of_numbers(new.identifiers, context)
    told = reading.told_at(message, context)
    if known is None:
        if context.header.trigger not in _BRING and context.option("unknown_patient") == "reject":
            raise NotFound("This patient is not known here.", location="PID-3")
        return register_patient(new, by=context.by, at=told), False
    if is_another_person(known, new, context) and has_signed_report(known):
        open_case(
            NewCase(
                CaseKind.SIGNED_REPORT,
                f"patient:{known.pk}",
                "An update gives another name and birth date to a patient whose report is signed.",
                "Compare the two. Apply the update if it is the same person; else tell the sender.",
                known.pk,
            ),
            endpoint=context.endpoint,
            inbound=context.inbound,
        )
        return known, True
    if known.updated_at is not None and told < known.updated_at:
        log.info("%s is older than what is known of patient %s", context.header.kind, known.pk)
    return take_news(known, new, by=context.by, at=told), False


def is_another_person(known: Patient, new: NewPatient, context: Context) -> bool:
    """Whether the update reads like another person's: another family name and another full birth date.

    One of the two alone is a correction (a marriage, a slip), and so is everything about a patient without a
    birth date or with a temporary name (profile `temporary_names`; PIR-09). Once a report is signed, a person
    decides; before that, the sender is believed.
    """
    temporary = {fold(name) for name in context.option("temporary_names").split(",")}
    return (
        bool(new.name.family)
        and fold(new.name.family) != fold(known.family)
        and fold(known.family) not in temporary
        and len(known.birth_date) == len(new.birth_date) == 10
        and known.birth_date != new.birth_date
    )


def has_signed_report(patient: Patient) -> bool:
    return ReportPart.objects.filter(
        report__reported__exam__order__patient=patient, signed_by__isnull=False
    ).exists()


def apply_held(message: Message, context: Context) -> Patient:
    """A person has decided that it is the same patient after all."""
    new = reading.new_patient(message, context)
    reading.claim(new.identifiers)
    patient = know_patient(new, by=context.by, at=reading.told_at(message, context))
    event = _VISIT_EVENTS.get(context.header.trigger)
    if event is not None and event != VisitEvent.CANCELLED:
        reading.visit(message, patient, context, event)
    return patient


# The visit


def _earlier_visit(message: Message, patient: Patient, context: Context) -> Visit | None:
    """A06, A07 under a new visit number: the visit that changes its class. MRG-5 names it, or it is the only other
    one that is open."""
    mrg = message.find("MRG")
    if mrg is not None and mrg.get(5):
        return find_visit(mrg.get(5), mrg.get(5, 4) or context.authority)
    others = list(Visit.objects.filter(patient=patient, status=VisitStatus.ACTIVE).order_by("pk")[:2])
    return others[0] if len(others) == 1 else None


_OPEN = (OrderStatus.REQUESTED, OrderStatus.HELD, OrderStatus.SCHEDULED, OrderStatus.IN_PROGRESS)


def open_orders(visit: Visit) -> list[Order]:
    return list(Order.objects.filter(visit=visit, status__in=_OPEN).order_by("pk"))


def _follow(earlier: Visit, visit: Visit, context: Context) -> None:
    """The open orders are of the visit the patient now has, with its class and account; the other one is over."""
    for order in open_orders(earlier):
        change_order(order, {"visit": visit}, by=context.by)
    same = NewVisit(earlier.number, earlier.authority)
    open_visit(earlier.patient, same, by=context.by, event=VisitEvent.DISCHARGED)


#: Status of the visit -> key and sentence of the case of each of its open orders (ADT-03, ADT-09).
_WARNINGS = {
    VisitStatus.CANCELLED: ("visit_cancelled", "The visit of this order was cancelled."),
    VisitStatus.DISCHARGED: ("visit_ended", "The inpatient of this order was discharged before the exam."),
}


def _warn(visit: Visit, context: Context) -> None:
    """Orders stay whatever becomes of their visit; a person hears of those that may be needed no more."""
    waiting = open_orders(visit)
    for status, (key, sentence) in _WARNINGS.items():
        applies = visit.status == status and (
            status == VisitStatus.CANCELLED or visit.patient_class == PatientClass.INPATIENT
        )
        for order in waiting:
            if applies:
                advice = "Ask the ward; cancel the order or let it stand."
                case = NewCase(
                    CaseKind.OTHER, f"{key}:{order.pk}", sentence, advice, order.patient_id, order.accession_number
                )  # fmt: skip
                open_case(case, endpoint=context.endpoint, inbound=context.inbound)
            elif visit.status != status:
                solve_cases(
                    CaseKind.OTHER, f"{key}:{order.pk}", by=context.by, note="The visit is open again."
                )


def _arrived(patient: Patient, context: Context) -> None:
    if context.option("tracking") != "yes":
        return
    day = timezone.now().astimezone(context.zone).date()
    planned = Appointment.objects.filter(
        patient=patient, status__in=[AppointmentStatus.BOOKED, AppointmentStatus.CONFIRMED]
    )
    for appointment in planned.order_by("pk"):
        if appointment.starts_at.astimezone(context.zone).date() == day:
            check_in(appointment, by=context.by)
