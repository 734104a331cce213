"""What an exam uses up: one verb for the entry, the stock and the fact that the charge is made of."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal

from django.db import transaction
from django.utils import timezone

from ris.accounts.models import User
from ris.accounts.permissions import allowed, require
from ris.core.errors import BadValue, Conflict, IllegalTransition, MissingData, NotAllowed
from ris.core.formats import clock, day
from ris.core.names import fold
from ris.department.models import Room
from ris.events.outbox import record
from ris.exams.actions.exams import locked
from ris.exams.models import Exam
from ris.exams.models_administrations import Administration, Route
from ris.exams.states import AdministrationStatus, ExamStatus
from ris.orders import actions as orders
from ris.protocolling.worklists import protocol_of
from ris.supplies import actions as supplies
from ris.supplies.models import Item, Kind, Lot


@dataclass(frozen=True)
class NewAdministration:
    """What was given. Either `scan` as the scanner sent it, or a `lot`; `number` and `expires_on` for a label that
    names no lot."""

    scan: str = ""
    lot: Lot | None = None
    number: str = ""
    expires_on: date | None = None
    volume_ml: Decimal | None = None
    #: Containers, for what has no volume.
    quantity: Decimal = Decimal(1)
    rate_ml_s: Decimal | None = None
    route: str = ""
    site: str = ""
    needle: str = ""
    #: Nothing of it went into the patient.
    wasted: bool = False
    #: Why it was spoilt, or is given though it has expired.
    reason: str = ""
    #: The warnings were read.
    acknowledged: bool = False


@transaction.atomic
def administer(exam: Exam, new: NewAdministration, *, by: User, at: datetime | None = None) -> Administration:
    """Write down what was given, draw it from the stock and tell it, all or nothing.

    Raises NotAllowed for an expired lot without the right to give it, Conflict while a warning is not acknowledged or
    when this very container was used before, MissingData, BadValue.
    """
    require(by, "supply.give")
    exam, order = locked(exam)
    if exam.status == ExamStatus.ENTERED_IN_ERROR:
        raise IllegalTransition("This exam was started by mistake; nothing is given in it.")
    lot, serial = _lot(new)
    lot = supplies.locked(lot)
    item = lot.item
    moment = at or timezone.now()
    if not item.active:
        raise Conflict(f"{item} is not used here any more.", location="scan")
    if serial and not item.shared:
        _check_first_use(lot, serial)
    if not new.wasted:
        _check_expiry(lot, new, by)
    volume, quantity = _amount(item, new)
    warnings = [] if new.wasted else warnings_for(exam, item, volume)
    if warnings and not new.acknowledged:
        raise Conflict(" ".join(warnings), location="acknowledged")
    if new.wasted and not new.reason.strip():
        raise MissingData("Say why it was spoilt.", location="reason")
    if new.route and new.route not in Route.values:
        raise BadValue("Pick the way it was given.", location="route")
    movement = supplies.draw(
        lot, _place(exam, lot), quantity, wasted=new.wasted, by=by, reason=new.reason, at=moment
    )  # fmt: skip
    given = Administration.objects.create(
        exam=exam, lot=lot, expires_on=lot.expires_on, serial=serial, quantity=quantity, volume_ml=volume,
        rate_ml_s=new.rate_ml_s, route=new.route or (Route.INTRAVENOUS if volume and new.site else ""),
        site=new.site.strip()[:40], needle=new.needle.strip()[:10], given_by=by, given_at=moment, status_at=moment,
        status=AdministrationStatus.WASTED if new.wasted else AdministrationStatus.GIVEN,
        warning=" ".join(warnings)[:400], reason=new.reason.strip()[:200], movement=movement,
    )  # fmt: skip
    record(
        "exam.supply_wasted" if new.wasted else "exam.administered", order.subject, by=by, patient=order.patient_id,
        order=order.pk, exam=exam.pk, procedure=exam.procedure_id, administration=given.pk,
    )  # fmt: skip
    return given


@transaction.atomic
def withdraw_administration(
    given: Administration, *, reason: str, by: User, at: datetime | None = None
) -> Administration:
    """The entry was a mistake: what it drew is put back and what it charged taken back. The row stays to be seen."""
    require(by, "supply.give")
    if not reason.strip():
        raise MissingData("Say why the entry is withdrawn.", location="reason")
    order = orders.locked(given.exam.order)
    given = (
        Administration.objects.select_for_update(of=("self",))
        .select_related("exam", "movement__lot", "movement__room")
        .get(pk=given.pk)
    )
    moment = at or timezone.now()
    given.reason = reason.strip()[:200]
    given.save(update_fields=["reason"])
    given.move(AdministrationStatus.WITHDRAWN, at=moment)
    supplies.put_back(given.movement, by=by, reason=reason, at=moment)
    record(
        "exam.administration_withdrawn", order.subject, by=by, patient=order.patient_id, order=order.pk,
        exam=given.exam_id, procedure=given.exam.procedure_id, administration=given.pk,
    )  # fmt: skip
    return given


def warnings_for(exam: Exam, item: Item, volume: Decimal | None = None) -> list[str]:
    """What speaks against giving `item` in this exam; a person may go on."""
    if item.kind == Kind.CONSUMABLE:
        return []
    found = []
    request = protocol_of(exam.procedure)
    if request is not None and request.protocol is not None:
        wanted = request.contrast_agent
        if not wanted:
            found.append(f"The protocol {request.protocol.name} asks for no contrast.")
        elif not _is_agent(item, wanted):
            found.append(f"The protocol asks for {wanted}, this is {item.label}.")
        elif volume is not None and request.contrast_ml and volume > request.contrast_ml * Decimal("1.2"):
            found.append(f"The protocol asks for {request.contrast_ml.normalize():f} mL.")
    else:
        kind = exam.procedure.procedure_type
        if kind is not None and not kind.contrast:
            found.append(f"{kind.name} is asked without contrast.")
    return found


def _is_agent(item: Item, wanted: str) -> bool:
    """Whether the item is the agent a protocol names: the generic name, and the strength where it names one."""
    asked = fold(wanted).split()
    numbers = [word for word in asked if word[0].isdigit()]
    return fold(item.name) in " ".join(asked) and all(one in fold(item.strength).split() for one in numbers)


def _lot(new: NewAdministration) -> tuple[Lot, str]:
    if new.lot is not None:
        return new.lot, ""
    found = supplies.find(new.scan)
    number = found.lot.number if found.lot else new.number
    if not number.strip():
        raise MissingData("The label does not say the lot. Type it.", location="number")
    expires_on = (found.lot.expires_on if found.lot else None) or new.expires_on
    lot = supplies.know_lot(found.item, number, expires_on)
    if lot.expires_on is None and found.item.kind != Kind.CONSUMABLE:
        raise MissingData("Type the day until which it may be used.", location="expires_on")
    return lot, found.serial


def _check_first_use(lot: Lot, serial: str) -> None:
    before = (
        Administration.objects.filter(lot__item=lot.item, serial=serial)
        .exclude(status=AdministrationStatus.WITHDRAWN)
        .select_related("given_by")
        .first()
    )
    if before is not None:
        raise Conflict(
            f"This {lot.item.container} was entered before, by {before.given_by} at {clock(before.given_at)} on "
            f"{day(before.given_at)}. Scan the one in your hand.",
            location="scan",
        )


def _check_expiry(lot: Lot, new: NewAdministration, by: User) -> None:
    if not lot.is_expired:
        return
    sentence = f"Lot {lot.number} expired on {day(lot.expires_on)}. Do not give it."
    if not allowed(by, "supply.override"):
        raise NotAllowed(f"{sentence} Take another; a radiologist or manager can allow this one.")
    if not new.reason.strip():
        raise MissingData(f"{sentence} If you must, say why.", location="reason")


def _amount(item: Item, new: NewAdministration) -> tuple[Decimal | None, Decimal]:
    """What went into the patient, and how many containers that used up."""
    if new.wasted or item.volume_ml is None:
        if not 0 < new.quantity <= 100:
            raise BadValue("Type how many, 1 to 100.", location="quantity")
        return None, new.quantity
    if new.volume_ml is None:
        raise MissingData("Type how many mL were given.", location="volume_ml")
    if not 0 < new.volume_ml <= 5000:
        raise BadValue("Type the volume in mL, above 0.", location="volume_ml")
    used = new.volume_ml / item.volume_ml
    if item.shared:
        return new.volume_ml, max(used.quantize(Decimal("0.001"), ROUND_HALF_UP), Decimal("0.001"))
    if used > 1:
        raise BadValue(
            f"One {item.container} holds {item.volume_ml.normalize():f} mL. Enter each with its own scan.",
            location="volume_ml",
        )
    return new.volume_ml, Decimal(1)


def _place(exam: Exam, lot: Lot) -> Room | None:
    """Where it was taken from: the room when it has this lot, else the store."""
    if exam.room is not None and supplies.in_stock(lot, exam.room) > 0:
        return exam.room
    return None
