"""WITH WHAT: the items the department uses up, their lots, and every movement of them."""

from decimal import Decimal
from typing import ClassVar

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Q

from ris.core.formats import today
from ris.core.guards import append_only, never_deleted
from ris.department.models import Room


class Kind(models.TextChoices):
    CONTRAST = "contrast", "Contrast agent"
    RADIOPHARMACEUTICAL = "radiopharm", "Radiopharmaceutical"
    CONSUMABLE = "consumable", "Consumable"


class ChargedBy(models.TextChoices):
    """What the fee of an item is for."""

    CONTAINER = "container", "Each container"
    ML = "ml", "Each mL"


class Item(models.Model):
    """Something used up on patients. Name, strength and volume stand apart, as they are asked for apart."""

    kind = models.CharField(max_length=12, choices=Kind)
    #: The generic name: "Iohexol".
    name = models.CharField(max_length=80)
    #: "350 mg I/mL", or a size: "20 G".
    strength = models.CharField(max_length=40, blank=True)
    #: What one container holds.
    volume_ml = models.DecimalField(max_digits=6, decimal_places=1, null=True, blank=True)
    #: What one of it is called: vial, bottle, syringe, piece.
    container = models.CharField(max_length=20, default="vial")
    #: GTIN-14; shorter ones are filled up with zeros before (GS1 General Specifications 3.3.2).
    gtin = models.CharField(max_length=14, blank=True)
    charge_code = models.CharField(max_length=16, blank=True)
    charged_by = models.CharField(max_length=10, choices=ChargedBy, default=ChargedBy.CONTAINER)
    #: One container serves several patients: it is used up by volume, and its serial number comes again.
    shared = models.BooleanField(default=False)
    #: With fewer left than this the item is low.
    reorder_level = models.PositiveIntegerField(default=0)
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ["kind", "name", "strength", "volume_ml"]
        constraints = [
            models.UniqueConstraint(fields=["gtin"], condition=~Q(gtin=""), name="gtin_is_one_items"),
            models.CheckConstraint(
                condition=Q(gtin="") | Q(gtin__regex=r"^\d{14}$"), name="gtin_has_14_digits"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=Kind.values) & Q(charged_by__in=ChargedBy.values), name="item_kind_known"
            ),
            models.CheckConstraint(
                condition=Q(volume_ml__isnull=False, volume_ml__gt=0)
                | Q(shared=False, volume_ml=None, charged_by=ChargedBy.CONTAINER),
                name="what_is_used_by_volume_has_one",
            ),
        ]

    def __str__(self) -> str:
        """Iohexol 350 mg I/mL, 100 mL vial."""
        return f"{self.label}, {self.size}"

    @property
    def label(self) -> str:
        return " ".join(part for part in (self.name, self.strength) if part)

    @property
    def size(self) -> str:
        volume = f"{self.volume_ml.normalize():f} mL " if self.volume_ml is not None else ""
        return f"{volume}{self.container}"


class Lot(models.Model):
    """What was made in one go: what a maker recalls, and what expires together."""

    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="lots")
    #: AI (10), at most 20 characters.
    number = models.CharField(max_length=20)
    #: The last day it may be used; unknown where the maker prints none.
    expires_on = models.DateField(null=True, blank=True)

    class Meta:
        ordering = ["expires_on", "number"]
        constraints = [
            models.UniqueConstraint(fields=["item", "number"], name="lot_number_once_per_item"),
            models.CheckConstraint(condition=~Q(number=""), name="lot_has_a_number"),
        ]
        indexes = [
            # A lot number typed from a maker's letter.
            models.Index(fields=["number"], name="lot_by_number"),
        ]
        triggers = [never_deleted()]

    def __str__(self) -> str:
        return f"{self.item.label} lot {self.number}"

    @property
    def is_expired(self) -> bool:
        return self.expires_on is not None and self.expires_on < today()


class Movement(models.TextChoices):
    RECEIVED = "received", "Received"
    USED = "used", "Used"
    WASTED = "wasted", "Wasted"
    COUNTED = "counted", "Counted"
    MOVED = "moved", "Moved"
    PUT_BACK = "put_back", "Put back"


# What is carried or counted was there to be seen. What was given to a patient was there too, whatever the stock
# says: it is never refused, and a stock below zero asks to be counted.
_NOT_BELOW_ZERO = """
PERFORM 1 FROM supplies_lot WHERE id = NEW.lot_id FOR UPDATE;
IF NEW.quantity < 0 AND NEW.kind IN ('moved', 'counted') AND NEW.quantity + (
    SELECT coalesce(sum(quantity), 0) FROM supplies_stockmovement
    WHERE lot_id = NEW.lot_id AND room_id IS NOT DISTINCT FROM NEW.room_id
) < 0 THEN
    RAISE EXCEPTION 'lot % has less than % there', NEW.lot_id, -NEW.quantity USING ERRCODE = 'check_violation';
END IF;
RETURN NEW;
"""


class StockMovement(models.Model):
    """Containers of a lot that came to a place or left it; their sum is the stock. Append-only."""

    append_only: ClassVar[bool] = True

    lot = models.ForeignKey(Lot, on_delete=models.PROTECT, related_name="movements")
    #: Where; empty is the store.
    room = models.ForeignKey(Room, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    kind = models.CharField(max_length=10, choices=Movement)
    #: In containers: what came is above zero, what left below.
    quantity = models.DecimalField(max_digits=10, decimal_places=3)
    reason = models.CharField(max_length=200, blank=True)
    #: The movement that this one takes back.
    reverses = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="reversed_by"
    )
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(kind=Movement.RECEIVED, quantity__gt=0)
                | Q(kind=Movement.PUT_BACK, quantity__gt=0, reverses__isnull=False)
                | Q(kind__in=[Movement.USED, Movement.WASTED], quantity__lt=0)
                | Q(kind__in=[Movement.COUNTED, Movement.MOVED]) & ~Q(quantity=0),
                name="movement_goes_its_kinds_way",
            ),
            models.CheckConstraint(
                condition=Q(reverses=None) | Q(kind=Movement.PUT_BACK), name="only_put_back_reverses"
            ),
        ]
        indexes = [
            # The stock: the sum by lot and place.
            models.Index(fields=["lot", "room"], include=["quantity"], name="stock_of_lot"),
        ]
        triggers = [
            *append_only(),
            pgtrigger.Trigger(
                name="carries_what_is_there",
                operation=pgtrigger.Insert,
                when=pgtrigger.Before,
                func=_NOT_BELOW_ZERO,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.quantity} of {self.lot}"

    @property
    def containers(self) -> Decimal:
        return abs(self.quantity)
