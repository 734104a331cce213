"""Charging: what an exam and its reading are worth."""

from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from django.db import transaction
from django.utils import timezone

from billing.models import Charge, Fee
from billing.states import ChargeStatus, Component
from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.core.errors import BadValue, MissingData, NotFound
from ris.events.outbox import record
from ris.exams.models import Administration, Exam
from ris.exams.states import AdministrationStatus
from ris.orders import actions as orders
from ris.orders.models import Order
from ris.supplies.models import ChargedBy


@transaction.atomic
def capture_charge(
    exam: Exam, component: str, *, by: User, modifiers: str = "", at: datetime | None = None
) -> Charge:
    """Charge one component of an exam; a second call finds the first one's charge.

    Without a charge code or a fee the charge is held and says what it lacks.
    """
    require(by, "charge.capture")
    order = orders.locked(exam.order)
    present = Charge.objects.filter(procedure=exam.procedure, component=component).exclude(
        status=ChargeStatus.VOIDED
    )
    charge = present.first()
    if charge is not None:
        return charge
    exam_type = exam.procedure.procedure_type
    code = ""
    if exam_type is not None:
        code = exam_type.technical_code if component == Component.TECHNICAL else exam_type.professional_code
    fee = Fee.objects.filter(code=code).first() if code else None
    lacks = "" if fee else (f"no fee for code {code}" if code else "the exam has no charge code")
    charge = Charge.objects.create(
        procedure=exam.procedure, exam=exam, component=component, code=code, modifiers=modifiers,
        amount=fee.amount if fee else Decimal(0), currency=fee.currency if fee else "USD",
        status=ChargeStatus.HELD if lacks else ChargeStatus.CAPTURED, reason=lacks, captured_at=at or timezone.now(),
    )  # fmt: skip
    record(
        "charge.captured", order.subject, by=by, patient=order.patient_id, order=order.pk, charge=charge.pk,
        component=str(component),
    )  # fmt: skip
    return charge


@transaction.atomic
def capture_supply(given: Administration, *, by: User, at: datetime | None = None) -> Charge | None:
    """Charge what was used up in an exam; a second call finds the first one's charge.

    None for an item that has no charge code, and for an entry that was withdrawn meanwhile.
    """
    require(by, "charge.capture")
    order = orders.locked(given.exam.order)
    present = Charge.objects.filter(administration=given).exclude(status=ChargeStatus.VOIDED).first()
    if present is not None:
        return present
    item = given.lot.item
    if not item.charge_code or given.status != AdministrationStatus.GIVEN:
        return None
    quantity = _charged_quantity(given)
    fee = Fee.objects.filter(code=item.charge_code).first()
    charge = Charge.objects.create(
        procedure=given.exam.procedure, exam=given.exam, component=Component.SUPPLY, administration=given,
        quantity=quantity, code=item.charge_code, amount=_times(fee, quantity),
        currency=fee.currency if fee else "USD", status=ChargeStatus.CAPTURED if fee else ChargeStatus.HELD,
        reason="" if fee else f"no fee for code {item.charge_code}", captured_at=at or timezone.now(),
    )  # fmt: skip
    record(
        "charge.captured", order.subject, by=by, patient=order.patient_id, order=order.pk, charge=charge.pk,
        component=str(Component.SUPPLY),
    )  # fmt: skip
    return charge


def _charged_quantity(given: Administration) -> Decimal:
    by_volume = given.lot.item.charged_by == ChargedBy.ML and given.volume_ml is not None
    return given.volume_ml if by_volume and given.volume_ml is not None else given.quantity


def _times(fee: Fee | None, quantity: Decimal) -> Decimal:
    return (fee.amount * quantity).quantize(Decimal("0.01"), ROUND_HALF_UP) if fee else Decimal(0)


def _locked(charge: Charge) -> Charge:
    orders.locked(charge.exam.order)
    fresh = (
        Charge.objects.select_for_update(of=("self",))
        .select_related("exam__order")
        .filter(pk=charge.pk)
        .first()
    )
    if fresh is None:
        raise NotFound("There is no such charge.")
    return fresh


@transaction.atomic
def hold_charge(charge: Charge, *, reason: str, by: User) -> Charge:
    """Keep a charge from being sent."""
    require(by, "charge.change")
    return _move(charge, ChargeStatus.HELD, "charge.held", reason=reason, by=by)


@transaction.atomic
def complete_charges(order: Order, *, had_lacked: Container[str], by: User) -> list[Charge]:
    """What the charges of an order were held for may have come: let those go, to be looked at again."""
    require(by, "charge.change")
    orders.locked(order)
    held = Charge.objects.filter(exam__order=order, status=ChargeStatus.HELD).order_by("pk")
    return [_release(_locked(one), by=by) for one in held if one.reason in had_lacked]


@transaction.atomic
def mark_sent(charge: Charge, *, sent_as: str, by: User, at: datetime | None = None) -> Charge:
    """A receiver has taken the charge; from now on it is only voided, never changed. The first one counts."""
    require(by, "charge.change")
    charge = _locked(charge)
    if charge.status in (ChargeStatus.CAPTURED, ChargeStatus.HELD):
        charge.sent_as = sent_as[:90]
        charge.save(update_fields=["sent_as"])
        charge.move(ChargeStatus.SENT, at=at)
        _tell("charge.sent", charge, by=by)
    return charge


@transaction.atomic
def void_charge(charge: Charge, *, reason: str, by: User) -> Charge:
    """Take a charge back; the component may then be charged again."""
    require(by, "charge.change")
    return _move(charge, ChargeStatus.VOIDED, "charge.voided", reason=reason, by=by)


@transaction.atomic
def release_charge(charge: Charge, *, by: User) -> Charge:
    """Let a held charge go; it is priced again. Raises MissingData while it has no fee."""
    require(by, "charge.change")
    return _release(_locked(charge), by=by)


def _release(charge: Charge, *, by: User) -> Charge:
    exam_type = charge.procedure.procedure_type
    if charge.administration is not None:
        charge.code = charge.administration.lot.item.charge_code
    elif exam_type is not None:
        technical = charge.component == Component.TECHNICAL
        charge.code = exam_type.technical_code if technical else exam_type.professional_code
    fee = Fee.objects.filter(code=charge.code).first()
    if fee is None:
        raise MissingData(
            f"There is no fee for code {charge.code or '(none)'}. Add it to the catalogue first."
        )
    charge.amount = _times(fee, charge.quantity)
    charge.currency = fee.currency
    charge.reason = ""
    charge.save(update_fields=["code", "amount", "currency", "reason"])
    charge.move(ChargeStatus.CAPTURED)
    _tell("charge.released", charge, by=by)
    return charge


def _move(charge: Charge, to: str, fact: str, *, reason: str, by: User) -> Charge:
    if not reason.strip():
        raise MissingData("Say why.", location="reason")
    charge = _locked(charge)
    charge.move(to)
    charge.reason = reason.strip()[:200]
    charge.save(update_fields=["reason"])
    _tell(fact, charge, by=by)
    return charge


def _tell(fact: str, charge: Charge, *, by: User) -> None:
    order = charge.exam.order
    record(fact, order.subject, by=by, patient=order.patient_id, order=order.pk, charge=charge.pk)


@dataclass(frozen=True)
class NewFee:
    code: str
    amount: Decimal
    name: str = ""
    currency: str = "USD"


@transaction.atomic
def set_fee(new: NewFee, *, by: User) -> Fee:
    """Price a code from now on; charges captured before keep their amount. Raises BadValue."""
    require(by, "charge.change")
    if new.amount < 0:
        raise BadValue("A fee cannot be less than zero.", location="amount")
    if not 0 < len(new.code) <= 16:
        raise BadValue("A charge code has 1 to 16 characters.", location="code")
    fee, _ = Fee.objects.update_or_create(
        code=new.code, defaults={"amount": new.amount, "name": new.name[:80], "currency": new.currency}
    )
    record("fee.changed", f"fee:{fee.pk}", by=by, fee=fee.pk, code=fee.code, amount=str(fee.amount))
    return fee
