"""The stock: it is the sum of what came and went, and the database keeps what cannot be out of it."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ris.core.errors import BadValue, Conflict, MissingData, NotAllowed
from ris.core.formats import today
from ris.supplies import actions
from ris.supplies.models import Item, Lot, StockMovement
from ris.supplies.worklists import counts, shelves
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db
NEXT_YEAR = today() + timedelta(days=400)


def _received(number: str = "4471", quantity: int = 10, **fields: Any) -> Lot:
    item = fields.pop("item", None) or makers.make_item()
    expires_on = fields.pop("expires_on", NEXT_YEAR)
    return actions.receive_stock(item, number, expires_on, Decimal(quantity), by=person("theo"), **fields).lot


def test_the_stock_is_what_came_less_what_went() -> None:
    """T11."""
    theo, room = person("theo"), makers.make_room()
    lot = _received()
    actions.move_stock(lot, Decimal(4), source=None, target=room, by=theo)
    actions.count_stock(lot, Decimal(5), by=theo)
    actions.waste_stock(lot, Decimal(1), reason="Dropped", room=room, by=theo)
    assert (actions.in_stock(lot, None), actions.in_stock(lot, room)) == (5, 3)
    assert actions.count_stock(lot, Decimal(5), by=theo) is None
    kinds = lot.movements.order_by("pk").values_list("kind", "quantity")
    assert list(kinds) == [("received", 10), ("moved", -4), ("moved", 4), ("counted", -1), ("wasted", -1)]


def test_what_cannot_be_is_refused_in_words() -> None:
    theo, lot = person("theo"), _received()
    with pytest.raises(Conflict, match="Only 10 are there"):
        actions.move_stock(lot, Decimal(11), source=None, target=makers.make_room(), by=theo)
    with pytest.raises(BadValue, match="another place"):
        actions.move_stock(lot, Decimal(1), source=None, target=None, by=theo)
    with pytest.raises(BadValue, match="less than none"):
        actions.count_stock(lot, Decimal(-1), by=theo)
    with pytest.raises(MissingData, match="Say why"):
        actions.waste_stock(lot, Decimal(1), reason=" ", by=theo)
    with pytest.raises(Conflict, match="known to expire"):
        _received(expires_on=NEXT_YEAR + timedelta(days=1))
    with pytest.raises(MissingData, match="until which"):
        _received("NEW", expires_on=None)
    with pytest.raises(NotAllowed):
        actions.receive_stock(lot.item, "X", NEXT_YEAR, Decimal(1), by=person("clara"))


def test_the_database_refuses_impossible_movements() -> None:
    lot = _received()
    common = {"lot": lot, "by": person("theo"), "at": timezone.now()}
    for kind, quantity in (
        ("received", -1), ("received", 0), ("used", 1), ("wasted", 1), ("moved", 0), ("moved", -11), ("counted", -11),
        ("put_back", 1), ("eaten", 1),
    ):  # fmt: skip
        with pytest.raises(IntegrityError), transaction.atomic():
            StockMovement.objects.create(kind=kind, quantity=quantity, **common)
    StockMovement.objects.create(kind="used", quantity=-11, **common)
    assert counts()["miscounted"] == 1
    for values in ({"gtin": "123"}, {"shared": True}, {"charged_by": "ml"}, {"kind": "food"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Item.objects.create(**{"kind": "consumable", "name": "X", **values})


def test_what_is_low_expired_or_soon_to_expire_is_said() -> None:
    item = makers.make_item(reorder_level=20)
    _received("OLD", expires_on=today() - timedelta(days=1))
    _received("SOON", expires_on=today() + timedelta(days=30))
    (shelf,) = shelves()
    assert (shelf.usable, shelf.states) == (10, {"low", "soon", "expired"})
    _received("NEW", 15)
    assert shelves(state="low") == []
    assert [one.lot.number for one in shelves(state="expired", text="iohexol 350")[0].held] == [
        "OLD",
        "SOON",
        "NEW",
    ]
    assert shelves(text="gadobutrol") == []
    assert item.label in str(item)


def test_a_scan_receives_and_the_list_takes_as_many_queries_for_many_lots() -> None:
    makers.make_item()
    client = Client()
    client.force_login(person("theo"))
    label = f"01{makers.GTIN}17{NEXT_YEAR:%y%m%d}10A1"
    answer = client.post("/supplies/receive", {"scan": label, "quantity": "12", "form_key": "1"})
    assert answer.status_code == 303
    assert actions.in_stock(Lot.objects.get(number="A1"), None) == 12
    took = []
    for number in ("B", "C", "D"):
        _received(number)
        with CaptureQueriesContext(connection) as queries:
            text = client.get("/supplies").content.decode()
        took.append(len(queries))
    assert took[1] == took[2]
    assert text.count("data-row") == 4
    refused = client.post("/supplies/receive", {"scan": "9501101530004", "quantity": "1"})
    assert (refused.status_code, "wrong digit" in refused.content.decode()) == (422, True)
    assert (
        "Scan one of them, or pick the item."
        in client.post("/supplies/receive", {"quantity": "1"}).content.decode()
    )


def test_every_page_of_supplies_and_protocols_is_there() -> None:
    lot = _received()
    protocol = makers.make_protocol(default=True)
    rule = protocol.exams.get()
    ada, theo = Client(), Client()
    ada.force_login(person("ada"))
    theo.force_login(person("theo"))
    for path in ("count", "move", "waste"):
        assert theo.get(f"/supplies/lots/{lot.pk}/{path}").status_code == 200
        assert theo.post(f"/supplies/lots/{lot.pk}/{path}", {}).status_code == 422
    assert theo.post(f"/supplies/lots/{lot.pk}/count", {"quantity": "9", "form_key": "2"}).status_code == 303
    assert theo.get("/supplies?state=low&kind=contrast&q=io").status_code == 200
    for path in (
        "items", "items/new", f"items/{lot.item_id}", "protocols", "protocols/new", f"protocols/{protocol.pk}",
        "protocol-rules", f"protocol-rules/exams/{rule.pk}", "protocol-rules/bypass",
    ):  # fmt: skip
        assert ada.get(f"/admin/{path}").status_code == 200, path
    sent = {
        "code": "HEAD-2",
        "scheme": "L",
        "name": "Head 2",
        "modality": "CT",
        "exams": [rule.pk],
        "active": "on",
    }
    assert ada.post("/admin/protocols/new", {**sent, "form_key": "3"}).status_code == 303
    wrong = ada.post("/admin/protocols/new", {**sent, "code": "HEAD-3", "contrast_ml": "70"})
    assert "Name the agent the volume is of." in wrong.content.decode()
    assert ada.post("/admin/protocol-rules/bypass", {"condition": "listed"}).status_code == 422
    bypass = {"condition": "by_radiologist", "active": "on", "form_key": "4"}
    assert ada.post("/admin/protocol-rules/bypass", bypass).status_code == 303
    assert ada.post(f"/admin/protocol-rules/exams/{rule.pk}", {"form_key": "5"}).status_code == 303
    item = {
        "kind": "contrast",
        "name": "Iodixanol",
        "container": "vial",
        "charged_by": "container",
        "reorder_level": "0",
    }
    assert "wrong digit" in ada.post("/admin/items/new", {**item, "gtin": "9501101530004"}).content.decode()
    assert ada.post("/admin/items/new", {**item, "gtin": "96385074", "form_key": "6"}).status_code == 303
