"""Charges: DFT^P03 with CG, and CD for what is taken back (RAD-35).

A message is written when its fact is told. What changes patient or account while it still waits has it written
anew; one that has left stays as it was sent, and the partner hears of the merge by ADT.
"""

from collections.abc import Callable
from functools import partial

from django.db.models import QuerySet

from billing import actions as billing
from billing.models import Charge
from billing.states import HALVES, ChargeStatus, Component
from interfaces import engine
from interfaces.hl7 import profile
from interfaces.hl7.outbound import dft
from interfaces.models import Endpoint, OutboundMessage
from interfaces.states import OutboundState
from interfaces.telling.base import Telling, concerns, order_of
from ris.accounts.models import system_user
from ris.events.models import Event
from ris.exams.models import Exam
from ris.orders.actions import locked
from ris.orders.models import Order

#: Why a charge waits (`charge_needs`), as the charge says it.
_LACKS = {"account": "The visit and its account are not known", "diagnosis": "The order has no diagnosis"}

#: Stopped before anything was done to the patient (CID 9301): never charged (CHG-18).
_NOTHING_DONE = {"110501", "110502", "110507", "110509", "110510", "110511", "110512", "110514", "110516"}


def tell(event: Event) -> None:
    _TELLINGS[event.kind](event)


def _endpoints(order: Order) -> list[Endpoint]:
    return [one for one in engine.subscribers("charges") if concerns(one, order)]


def _charge(event: Event) -> tuple[Charge, Order]:
    """The order is held meanwhile: a merge comes before, and the message says so, or after, and writes it anew."""
    rows = Charge.objects.filter(pk=event.facts["charge"])
    locked(rows.select_related("exam__order").get().exam.order)
    (charge,) = _charges(rows)
    return charge, charge.exam.order


def _charges(rows: QuerySet[Charge]) -> list[Charge]:
    """With the order as it is told; the technical half before the professional."""
    found = list(
        rows.select_related("procedure__procedure_type", "exam__room", "exam__technologist__practitioner")
    )
    for charge in found:
        charge.exam.order = order_of(charge.exam.order_id)
    return sorted(found, key=lambda one: list(Component).index(Component(one.component)))


# New


def _new(event: Event) -> None:
    """A charge that all its receivers can take is told to each; else it is held and says what it lacks."""
    charge, order = _charge(event)
    if charge.status != ChargeStatus.CAPTURED:
        return
    wanted = [(one, due) for one in _endpoints(order) if (due := _due(one, charge))]
    for endpoint, due in wanted:
        lacks = _lacks(endpoint, order)
        if lacks:
            for one in due:
                if one.status == ChargeStatus.CAPTURED:
                    billing.hold_charge(one, reason=lacks, by=system_user("billing"))
            return
    for endpoint, due in wanted:
        telling = _Telling(endpoint, event, order)
        if not any(telling.standing(one) for one in due):
            telling.send(due, "CG")


def _due(endpoint: Endpoint, charge: Charge) -> list[Charge]:
    """What one message to this partner holds now that `charge` is there; nothing when it is not for them, or
    the other half is still to come."""
    wanted = profile.option(endpoint.profile, "charge_components")
    if charge.component == Component.SUPPLY:
        return [charge] if wanted != Component.PROFESSIONAL else []
    if wanted == "global":
        halves = _charges(
            Charge.objects.filter(
                procedure=charge.procedure, component__in=HALVES,
                status__in=[ChargeStatus.CAPTURED, ChargeStatus.SENT],
            )
        )  # fmt: skip
        return halves if len(halves) == len(HALVES) else []
    return [charge] if wanted in ("both", charge.component) else []


def _lacks(endpoint: Endpoint, order: Order) -> str:
    needs = profile.option(endpoint.profile, "charge_needs").split(",")
    if "account" in needs and order.visit is None:
        return _LACKS["account"]
    if "diagnosis" in needs and not order.diagnoses:
        return _LACKS["diagnosis"]
    return ""


def _stopped(event: Event) -> None:
    """An exam that was stopped is charged where a partner's profile says with which modifier (CHG-18)."""
    exam = Exam.objects.select_related("order").get(pk=event.facts["exam"])
    if exam.discontinuation_code in _NOTHING_DONE:
        return
    for endpoint in _endpoints(order_of(exam.order_id)):
        modifier = profile.option(endpoint.profile, "stopped_exam")
        if modifier != "no" and profile.option(endpoint.profile, "charge_components") in (
            "both",
            "technical",
        ):
            by = system_user("billing")
            billing.capture_charge(exam, Component.TECHNICAL, modifiers=modifier, by=by, at=event.at)
            return


# Taken back


def _held(event: Event) -> None:
    """What has not left yet does not leave."""
    charge, order = _charge(event)
    for endpoint in _endpoints(order):
        message = _Telling(endpoint, event, order).standing(charge)
        if message is not None:
            engine.take_back(message, note="The charge was held.")


def _voided(event: Event) -> None:
    """CD for what the partner has or may have; what has not left is not sent at all (CHG-15)."""
    charge, order = _charge(event)
    for endpoint in _endpoints(order):
        telling = _Telling(endpoint, event, order)
        message = telling.standing(charge)
        if message is not None and not engine.take_back(message, note="The charge was voided."):
            telling.send(_charges(Charge.objects.filter(pk__in=_told_in(message))), "CD")


def _accepted(event: Event) -> None:
    """The partner has taken it: from now on it is only credited."""
    message = OutboundMessage.objects.select_related("endpoint").get(pk=event.facts["message"])
    if message.purpose.endswith(" CG"):
        for charge in Charge.objects.filter(pk__in=_told_in(message)).order_by("pk"):
            sent_as = f"{message.endpoint.name} {message.control_id}"
            billing.mark_sent(charge, sent_as=sent_as, by=event.by)


# Whose they are


def _patient_changed(event: Event) -> None:
    both = {event.facts.get(key) for key in ("patient", "retired", "wrong")} - {None}
    _write_anew(event, Order.objects.filter(patient__in=both))


def _visit_changed(event: Event) -> None:
    orders = Order.objects.filter(visit=event.facts["visit"])
    _complete(orders)
    _write_anew(event, orders)


def _order_changed(event: Event) -> None:
    if not {"diagnoses", "visit"}.isdisjoint(event.facts["changed"]):
        orders = Order.objects.filter(pk=event.facts["order"])
        _complete(orders)
        _write_anew(event, orders)


def _complete(orders: QuerySet[Order]) -> None:
    """What their charges were held for may have come: let them be looked at again (CHG-17)."""
    for order in orders.filter(exams__charges__status=ChargeStatus.HELD).distinct().order_by("pk"):
        billing.complete_charges(order, had_lacked=_LACKS.values(), by=system_user("billing"))


def _write_anew(event: Event, orders: QuerySet[Order]) -> None:
    """Charges that still wait leave with the surviving patient and the account of now (CHG-19)."""
    waiting = OutboundMessage.objects.filter(
        type="DFT^P03", status=OutboundState.QUEUED, attempts=0,
        accession_number__in=orders.values("accession_number"),
    )  # fmt: skip
    for message in waiting.select_related("endpoint__user").order_by("pk"):
        charges = _charges(Charge.objects.filter(pk__in=_told_in(message)))
        if engine.take_back(message, note="Written anew: its patient or account changed."):
            _Telling(message.endpoint, event, charges[0].exam.order).send(charges, message.purpose[-2:])


class _Telling(Telling):
    def send(self, charges: list[Charge], kind: str) -> None:
        ids = "+".join(str(one.pk) for one in charges)
        self.tell(f"charge {ids} {kind}", "DFT^P03", partial(dft.charge_message, charges, kind))

    def standing(self, charge: Charge) -> OutboundMessage | None:
        """The CG by which the partner has or will have the charge, unless a CD has taken it back."""
        told = OutboundMessage.objects.filter(
            endpoint=self.endpoint, key=self.order.subject, purpose__startswith="charge "
        ).exclude(status=OutboundState.DISCARDED)
        found = None
        for message in told.order_by("pk"):
            if charge.pk in _told_in(message):
                found = message if message.purpose.endswith(" CG") else None
        return found


def _told_in(message: OutboundMessage) -> list[int]:
    """The charges of a message, by its purpose "charge 12+13 CG"."""
    return [int(pk) for pk in message.purpose.split()[1].split("+")]


_TELLINGS: dict[str, Callable[[Event], None]] = {
    "charge.captured": _new,
    "charge.released": _new,
    "charge.held": _held,
    "charge.voided": _voided,
    "charge.accepted": _accepted,
    "exam.discontinued": _stopped,
    "order.changed": _order_changed,
    "patient.merged": _patient_changed,
    "patient.unmerged": _patient_changed,
    "visit.moved": _patient_changed,
    "visit.rekeyed": _visit_changed,
    "visit.updated": _visit_changed,
    "visit.admitted": _visit_changed,
    "visit.transferred": _visit_changed,
    "visit.class_changed": _visit_changed,
}

#: The facts told.
KINDS = tuple(_TELLINGS)
