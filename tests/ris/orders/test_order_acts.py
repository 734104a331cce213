"""What is done to an order before it is booked: hold, release, side, match."""

import pytest
from django.test import Client

from ris.department.models import CodeMapping
from ris.orders.models import Order
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def clara(client: Client) -> Client:
    client.force_login(person("clara"))
    return client


def test_an_order_is_held_with_a_reason_and_released(clara: Client) -> None:
    order = makers.make_order()
    assert "Hold the order" in clara.get(f"/orders/{order.pk}/hold").content.decode()
    refused = clara.post(f"/orders/{order.pk}/hold", {})
    assert refused.status_code == 422
    assert "Pick a reason, or type another." in refused.content.decode()
    clara.post(f"/orders/{order.pk}/hold", {"reason": "Waits for labs", "other": "Waits for creatinine"})
    order.refresh_from_db()
    assert (order.status, order.hold_reason) == ("held", "Waits for creatinine")
    clara.post(f"/orders/{order.pk}/release", {})
    order.refresh_from_db()
    assert order.status == "requested"
    assert clara.post(f"/orders/{order.pk}/release", {}).status_code == 409


def test_a_sheet_is_a_part_of_the_page_for_htmx(clara: Client) -> None:
    order = makers.make_order()
    whole = clara.get(f"/orders/{order.pk}/hold").content.decode()
    part = clara.get(
        f"/orders/{order.pk}/hold", headers={"HX-Request": "true", "HX-Target": "sheet"}
    ).content.decode()
    assert "<!doctype html>" in whole
    assert "<!doctype html>" not in part


def test_a_side_is_set_on_the_exam_it_belongs_to(clara: Client) -> None:
    wrist = makers.make_procedure_type("XRWRIST", name="XR wrist", modality="DX", laterality="required")
    order = makers.make_order(procedure_type=wrist, side="L")
    other = makers.make_order().procedures.get()
    requested = order.procedures.get()
    clara.post(f"/orders/{order.pk}/side", {"requested": requested.pk, "side": "R"})
    requested.refresh_from_db()
    assert requested.side == "R"
    assert clara.post(f"/orders/{order.pk}/side", {"requested": other.pk, "side": "R"}).status_code == 404
    assert clara.post(f"/orders/{order.pk}/side", {"requested": requested.pk, "side": ""}).status_code == 422
    assert Order.objects.get(pk=order.pk).version > order.version


def test_an_unknown_code_is_matched_and_remembered(clara: Client) -> None:
    order = makers.make_order(code="RAD77", code_text="Wrist 2 views", source="EPIC")
    procedure = order.procedures.get()
    url = f"/orders/{order.pk}/match/{procedure.pk}"
    page = clara.get(url).content.decode()
    assert "RAD77" in page
    assert "Wrist 2 views" in page
    exam = makers.make_procedure_type("XRWRIST", name="XR wrist", modality="DX", laterality="optional")
    assert clara.post(url, {"procedure": ""}).status_code == 422
    answer = clara.post(url, {"procedure": exam.pk, "remember": "1", "side": "L"})
    assert answer.headers["Location"] == f"/orders/{order.pk}"
    procedure.refresh_from_db()
    assert (procedure.procedure_type, procedure.side) == (exam, "L")
    assert CodeMapping.objects.get().code == "RAD77"
    later = makers.make_order(code="RAD77", source="EPIC")
    assert later.procedures.get().procedure_type == exam


def test_matching_to_an_exam_without_a_side_says_so_at_the_side(clara: Client) -> None:
    order = makers.make_order(code="RAD78", source="EPIC")
    url = f"/orders/{order.pk}/match/{order.procedures.get().pk}"
    answer = clara.post(url, {"procedure": makers.make_procedure_type().pk, "side": "L"})
    assert answer.status_code == 422
    assert "This exam has no side." in answer.content.decode()


@pytest.mark.parametrize("who", ["ben", "rene", "rafe", "ada"])
def test_those_without_the_right_change_nothing(client: Client, who: str) -> None:
    order = makers.make_order(code="RAD77", source="EPIC")
    client.force_login(person(who))
    for act in ("hold", "release", "side", "cancel"):
        assert client.post(f"/orders/{order.pk}/{act}", {"reason": "Waits for labs"}).status_code == 403
    if who != "ada":
        assert client.post(f"/orders/{order.pk}/match/{order.procedures.get().pk}").status_code == 403
    order.refresh_from_db()
    assert order.status == "requested"
