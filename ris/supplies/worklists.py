"""The stock as its pages show it; reads only."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

from django.db.models import QuerySet, Sum

from ris.core.formats import today
from ris.core.names import fold
from ris.department.models import Room
from ris.supplies.models import Item, Kind, Lot, StockMovement

#: Own figure: a lot that expires within so many days is said to.
EXPIRES_SOON = timedelta(days=60)


@dataclass(frozen=True)
class Held:
    """Containers of one lot at one place; `room` None is the store."""

    lot: Lot
    room: Room | None
    quantity: Decimal

    @property
    def state(self) -> str:
        """expired, soon, miscounted or blank."""
        if self.quantity < 0:
            return "miscounted"
        expires = self.lot.expires_on
        if expires is None or expires > today() + EXPIRES_SOON:
            return ""
        return "expired" if expires < today() else "soon"


@dataclass
class Shelf:
    """One item with all there is of it."""

    item: Item
    held: list[Held] = field(default_factory=list)

    @property
    def usable(self) -> Decimal:
        return sum((one.quantity for one in self.held if one.state != "expired"), Decimal(0))

    @property
    def is_low(self) -> bool:
        return self.item.active and self.usable < self.item.reorder_level

    @property
    def states(self) -> set[str]:
        return {one.state for one in self.held} - {""} | ({"low"} if self.is_low else set())


#: What a list of the stock may be narrowed to.
STATES = {"low": "Low", "soon": "Expires soon", "expired": "Expired", "miscounted": "To count"}


def shelves(*, text: str = "", kind: str = "", state: str = "") -> list[Shelf]:
    """The items in use and what there is of them, in three queries."""
    items = Item.objects.filter(active=True)
    if kind in Kind.values:
        items = items.filter(kind=kind)
    found = {item.pk: Shelf(item) for item in items if _mentions(item, text)}
    for held in _held(found):
        found[held.lot.item_id].held.append(held)
    return [shelf for shelf in found.values() if not state or state in shelf.states]


def _mentions(item: Item, text: str) -> bool:
    known = fold(f"{item} {item.gtin} {item.charge_code}")
    return all(word in known for word in fold(text).split())


def _held(items: Iterable[int]) -> list[Held]:
    sums = list(
        StockMovement.objects.filter(lot__item__in=list(items))
        .values_list("lot", "room")
        .annotate(sum=Sum("quantity"))
        .exclude(sum=0)
    )
    lots = Lot.objects.select_related("item").in_bulk({lot for lot, _, _ in sums})
    rooms = Room.objects.in_bulk({room for _, room, _ in sums if room})
    held = [Held(lots[lot], rooms.get(room), quantity) for lot, room, quantity in sums]
    return sorted(
        held, key=lambda one: (one.lot.expires_on or date.max, one.lot.number, one.room is not None)
    )


def places_of(lot: Lot) -> list[Held]:
    return [held for held in _held([lot.item_id]) if held.lot.pk == lot.pk]


def counts() -> dict[str, int]:
    """How many items are in each state."""
    found = shelves()
    return {state: sum(state in shelf.states for shelf in found) for state in STATES}


def usable_lots(kind_not: str = "") -> QuerySet[Lot]:
    """Lots of items in use that have not expired, for somebody without a scanner."""
    return (
        Lot.objects.select_related("item")
        .filter(item__active=True, expires_on__gte=today())
        .exclude(item__kind=kind_not)
        .order_by("item__name", "item__strength", "expires_on")
    )


def movements_of(lot: Lot) -> QuerySet[StockMovement]:
    return lot.movements.select_related("by", "room").order_by("-pk")
