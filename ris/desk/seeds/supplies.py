"""Contrast and consumables of the house; and, for the demo, lots in stock and what exams used of them."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random

from billing.models import Fee
from ris.accounts.models import Role, User
from ris.core.formats import local
from ris.core.names import fold
from ris.department.models import Room
from ris.exams.models import Administration, Exam
from ris.exams.states import AdministrationStatus, ExamStatus
from ris.exams.supply_forms import SITES
from ris.protocolling.models import ProtocolRequest
from ris.protocolling.states import DECIDED
from ris.supplies.actions import save_item
from ris.supplies.models import ChargedBy, Item, Kind, Lot, Movement, StockMovement

#: Kind, name, strength, volume, container, GTIN, charge code, charged by, shared, reorder level. The numbers are
#: invented, of the range GS1 keeps for samples.
_ITEMS = (
    (Kind.CONTRAST, "Iohexol", "350 mg I/mL", "50", "vial", "09501101530010", "CON-IOD", ChargedBy.ML, False, 20),
    (Kind.CONTRAST, "Iohexol", "350 mg I/mL", "100", "vial", "09501101530027", "CON-IOD", ChargedBy.ML, False, 40),
    (Kind.CONTRAST, "Iohexol", "350 mg I/mL", "500", "bottle", "09501101530034", "CON-IOD", ChargedBy.ML, True, 6),
    (Kind.CONTRAST, "Iohexol", "300 mg I/mL", "50", "vial", "09501101530041", "CON-IOD", ChargedBy.ML, False, 10),
    (Kind.CONTRAST, "Iodixanol", "320 mg I/mL", "100", "vial", "09501101530058", "CON-IOD", ChargedBy.ML, False, 10),
    (Kind.CONTRAST, "Gadobutrol", "1 mmol/mL", "10", "syringe", "09501101530065", "CON-GAD", ChargedBy.ML, False, 20),
    (Kind.CONTRAST, "Gadoxetate", "0.25 mmol/mL", "10", "syringe", "09501101530072", "CON-GAD", ChargedBy.ML, False, 4),
    (Kind.CONTRAST, "Barium sulfate", "1 g/mL", "300", "bottle", "09501101530089", "", ChargedBy.CONTAINER, False, 6),
    (Kind.CONSUMABLE, "Cannula", "20 G", "", "piece", "09501101530096", "", ChargedBy.CONTAINER, False, 50),
    (Kind.CONSUMABLE, "Cannula", "18 G", "", "piece", "09501101530102", "", ChargedBy.CONTAINER, False, 50),
    (Kind.CONSUMABLE, "Injector tubing", "", "", "piece", "09501101530119", "CON-TUBE", ChargedBy.CONTAINER, False, 30),
)  # fmt: skip
_FEES = (("CON-IOD", "Iodinated contrast, each mL", "0.42"), ("CON-GAD", "Gadolinium contrast, each mL", "4.10"),
         ("CON-TUBE", "Injector tubing", "12.00"))  # fmt: skip


def add_items(*, by: User) -> None:
    """What the department uses up, and what it costs."""
    for kind, name, strength, volume, container, gtin, code, charged_by, shared, level in _ITEMS:
        save_item(
            Item(
                kind=kind, name=name, strength=strength, volume_ml=Decimal(volume) if volume else None,
                container=container, gtin=gtin, charge_code=code, charged_by=charged_by, shared=shared,
                reorder_level=level,
            ),
            by=by,
        )  # fmt: skip
    Fee.objects.bulk_create(Fee(code=code, name=name, amount=Decimal(amount)) for code, name, amount in _FEES)


def invent_supplies(rng: Random, now: datetime) -> str:
    """Lots of several ages in the store and the rooms, and what the contrast exams of the last week used."""
    by = User.objects.filter(roles__contains=[Role.TECHNOLOGIST]).order_by("pk")[0]
    rooms = {room.code: room for room in Room.objects.filter(active=True)}
    today = local(now).date()
    lots: dict[int, list[Lot]] = {}
    movements = []
    for item in Item.objects.order_by("pk"):
        lots[item.pk] = Lot.objects.bulk_create(_lots(rng, item, today))
        for place, lot in enumerate(lots[item.pk]):
            came = now - timedelta(days=rng.randrange(10, 40))
            # The oldest lot is nearly used up; one item of the house has run low.
            many = item.reorder_level * (1 if place == 0 else 2) or 4
            many = 2 if item.name == "Gadoxetate" else many
            movements.append(StockMovement(lot=lot, kind=Movement.RECEIVED, quantity=many, by=by, at=came))
            room = rooms.get("MR1" if item.name.startswith("Gado") else "CT1")
            if item.kind == Kind.CONTRAST and place and many > 10 and room:
                movements += [
                    StockMovement(lot=lot, kind=Movement.MOVED, quantity=-8, by=by, at=came),
                    StockMovement(lot=lot, room=room, kind=Movement.MOVED, quantity=8, by=by, at=came),
                ]
    for one in movements:
        one.save()
    given = list(_given(rng, now, lots, by))
    StockMovement.objects.bulk_create([one.movement for one in given])
    Administration.objects.bulk_create(given)
    return f"{sum(map(len, lots.values()))} lots, {len(given)} times contrast"


def _lots(rng: Random, item: Item, today: date) -> Iterator[Lot]:
    """One that ends within weeks, and one for long."""
    for days in (rng.randrange(12, 50), rng.randrange(200, 700)):
        ends = None if item.kind == Kind.CONSUMABLE else today + timedelta(days=days)
        yield Lot(item=item, number=f"{rng.choice('ABHKW')}{rng.randrange(1000, 9999)}", expires_on=ends)


def _given(rng: Random, now: datetime, lots: dict[int, list[Lot]], by: User) -> Iterator[Administration]:
    items = [item for item in Item.objects.filter(kind=Kind.CONTRAST) if not item.shared]
    exams = (
        Exam.objects.filter(started_at__gte=now - timedelta(days=7))
        .filter(status__in=[ExamStatus.COMPLETED, ExamStatus.IN_PROGRESS])
        .select_related("procedure__protocol_request__protocol", "technologist")
        .filter(procedure__protocol_request__status__in=DECIDED)
        .order_by("started_at", "pk")
    )  # fmt: skip
    for exam in exams:
        request: ProtocolRequest = exam.procedure.protocol_request
        agent = fold(request.contrast_agent).split()
        fits = [one for one in items if agent and fold(one.name) == agent[0]]
        at = exam.started_at + timedelta(minutes=4)
        if not fits or at > now or (exam.ended_at and at > exam.ended_at):
            continue
        volume = min(request.contrast_ml or Decimal(10), max(one.volume_ml or Decimal(0) for one in fits))
        item = next(one for one in fits if one.volume_ml and one.volume_ml >= volume)
        lot = rng.choice(lots[item.pk])
        who = exam.technologist or by
        movement = StockMovement(lot=lot, kind=Movement.USED, quantity=-1, by=who, at=at)
        yield Administration(
            exam=exam, lot=lot, expires_on=lot.expires_on, quantity=1, volume_ml=volume,
            rate_ml_s=request.protocol.rate_ml_s if request.protocol else None, route="iv", site=rng.choice(SITES[:6]),
            needle=rng.choice(("18 G", "20 G")), given_by=who, given_at=at, status_at=at, movement=movement,
            status=AdministrationStatus.GIVEN,
        )  # fmt: skip
