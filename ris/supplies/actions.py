"""Stock: what comes, is counted, carried, thrown away, and what exams draw. The lot is locked last of all."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.core.errors import BadValue, Conflict, MissingData, NotFound
from ris.core.formats import day
from ris.department.models import Room
from ris.events.outbox import record
from ris.supplies.barcodes import Scan, read
from ris.supplies.models import Item, Kind, Lot, Movement, StockMovement


@dataclass(frozen=True)
class Found:
    """What a scan means here. Without a lot the label did not say it."""

    item: Item
    lot: Lot | None
    serial: str = ""


@transaction.atomic
def save_item(item: Item, *, by: User) -> Item:
    """Add or change an item that a validated form holds."""
    require(by, "department.change")
    added = item.pk is None
    item.full_clean()
    item.save()
    record(f"supply.{'added' if added else 'changed'}", f"supply:{item.pk}", by=by, item=item.pk)
    return item


def find_item(scan: Scan) -> Item:
    """The item of a label, or of a lot number that only one item has. Raises NotFound."""
    if scan.gtin:
        item = Item.objects.filter(gtin=scan.gtin).first()
        if item is None:
            raise NotFound(
                f"No item has the number {scan.gtin}. Add it under Supplies first.", location="scan"
            )
        return item
    lots = list(Lot.objects.select_related("item").filter(number__iexact=scan.text)[:2])
    if len(lots) > 1:
        raise NotFound(f"Several items have a lot {scan.text}. Scan the label.", location="scan")
    if not lots:
        raise NotFound(f"Nothing here has the number or lot {scan.text}. Scan the label.", location="scan")
    return lots[0].item


def find(scanned: str) -> Found:
    """What was scanned or typed; a lot that is new is told but not kept yet (`know_lot`)."""
    scan = read(scanned)
    item = find_item(scan)
    number = scan.lot or scan.text
    lot = (
        Lot.objects.select_related("item").filter(item=item, number__iexact=number).first()
        if number
        else None
    )
    if lot is None and number:
        lot = Lot(item=item, number=number, expires_on=scan.expires_on)
    return Found(item, lot, scan.serial)


@transaction.atomic
def know_lot(item: Item, number: str, expires_on: date | None) -> Lot:
    """The lot, added when it is new. Raises Conflict when its expiry is known to be another."""
    number = number.strip()
    if not 0 < len(number) <= 20:
        raise MissingData("Type the lot number, at most 20 characters.", location="lot")
    lot, _ = Lot.objects.get_or_create(item=item, number=number, defaults={"expires_on": expires_on})
    if expires_on is not None and lot.expires_on is None:
        lot.expires_on = expires_on
        lot.save(update_fields=["expires_on"])
    if expires_on is not None and lot.expires_on != expires_on:
        raise Conflict(
            f"Lot {lot.number} is known to expire on {day(lot.expires_on)}, not {day(expires_on)}. Check the label.",
            location="expires_on",
        )
    return lot


def locked(lot: Lot) -> Lot:
    return Lot.objects.select_for_update(of=("self",)).select_related("item").get(pk=lot.pk)


def in_stock(lot: Lot, room: Room | None) -> Decimal:
    total = StockMovement.objects.filter(lot=lot, room=room).aggregate(sum=Sum("quantity"))["sum"]
    return total if total is not None else Decimal(0)


@transaction.atomic
def receive_stock(
    item: Item, number: str, expires_on: date | None, quantity: Decimal, *, by: User, room: Room | None = None,
    at: datetime | None = None,
) -> StockMovement:  # fmt: skip
    """Containers of a lot have come."""
    require(by, "supply.change")
    if quantity <= 0:
        raise BadValue("Receive one or more.", location="quantity")
    if item.kind != Kind.CONSUMABLE and expires_on is None:
        raise MissingData("Type the day until which it may be used.", location="expires_on")
    lot = locked(know_lot(item, number, expires_on))
    return _move(lot, room, Movement.RECEIVED, quantity, by=by, at=at)


@transaction.atomic
def count_stock(
    lot: Lot, counted: Decimal, *, by: User, room: Room | None = None, at: datetime | None = None
) -> StockMovement | None:
    """So many were counted at a place: the stock is that from now on. None when it was that already."""
    require(by, "supply.change")
    if counted < 0:
        raise BadValue("Nobody counts less than none.", location="quantity")
    lot = locked(lot)
    difference = counted - in_stock(lot, room)
    if not difference:
        return None
    return _move(lot, room, Movement.COUNTED, difference, by=by, at=at)


@transaction.atomic
def move_stock(
    lot: Lot,
    quantity: Decimal,
    *,
    source: Room | None,
    target: Room | None,
    by: User,
    at: datetime | None = None,
) -> tuple[StockMovement, StockMovement]:
    """Carry containers from one place to another. Raises Conflict when there are not so many."""
    require(by, "supply.change")
    if quantity <= 0 or source == target:
        raise BadValue("Carry one or more, to another place.", location="quantity")
    lot = locked(lot)
    there = in_stock(lot, source)
    if there < quantity:
        raise Conflict(f"Only {there.normalize():f} are there. Count them first.", location="quantity")
    left = _move(lot, source, Movement.MOVED, -quantity, by=by, at=at)
    return left, _move(lot, target, Movement.MOVED, quantity, by=by, at=at)


@transaction.atomic
def waste_stock(
    lot: Lot,
    quantity: Decimal,
    *,
    reason: str,
    by: User,
    room: Room | None = None,
    at: datetime | None = None,
) -> StockMovement:
    """Throw containers away: expired, dropped, recalled."""
    require(by, "supply.change")
    if not reason.strip():
        raise MissingData("Say why it is thrown away.", location="reason")
    lot = locked(lot)
    if not 0 < quantity <= in_stock(lot, room):
        raise Conflict("So many are not there. Count them first.", location="quantity")
    return _move(lot, room, Movement.WASTED, -quantity, by=by, reason=reason, at=at)


def draw(
    lot: Lot, room: Room | None, quantity: Decimal, *, wasted: bool, by: User, reason: str = "", at: datetime
) -> StockMovement:
    """An exam has used up or spoilt what it had in hand, so the stock never refuses it. The lot is locked."""
    kind = Movement.WASTED if wasted else Movement.USED
    return _move(lot, room, kind, -quantity, by=by, reason=reason, at=at)


def put_back(movement: StockMovement, *, by: User, reason: str, at: datetime) -> StockMovement:
    """What was drawn was not. Raises Conflict the second time."""
    if StockMovement.objects.filter(reverses=movement).exists():
        raise Conflict("This has been put back already.")
    lot = locked(movement.lot)
    return _move(
        lot, movement.room, Movement.PUT_BACK, -movement.quantity, by=by, reason=reason, reverses=movement, at=at
    )  # fmt: skip


def _move(
    lot: Lot, room: Room | None, kind: Movement, quantity: Decimal, *, by: User, reason: str = "",
    reverses: StockMovement | None = None, at: datetime | None = None,
) -> StockMovement:  # fmt: skip
    movement = StockMovement.objects.create(
        lot=lot, room=room, kind=kind, quantity=quantity, reason=reason.strip()[:200], reverses=reverses, by=by,
        at=at or timezone.now(),
    )  # fmt: skip
    record(f"stock.{kind}", f"lot:{lot.pk}", by=by, lot=lot.pk, movement=movement.pk, quantity=str(quantity))
    return movement
