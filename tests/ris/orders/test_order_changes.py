"""What a person sees of an order, and changes of it after it was placed."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from ris.orders.models import Order
from tests import makers
from tests.cast import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def clara(client: Client) -> Client:
    client.force_login(person("clara"))
    return client


def test_reason_urgency_and_day_are_changed_on_the_version_seen(clara: Client) -> None:
    """ORD-04, as the desk does it."""
    order = makers.make_order(wanted_at=timezone.now() + timedelta(days=2), transport="WALK")
    url = f"/orders/{order.pk}/change"
    assert order.reason in clara.get(url).content.decode()
    form = clara.get(url).context["form"]
    values = {"reason": "Fall", "clinical_info": "On the stairs", "priority": "stat", "wanted": form["wanted"].value(),
              "transport": "WHLC", "version": order.version}  # fmt: skip
    assert clara.post(url, {**values, "reason": ""}).status_code == 422
    assert clara.post(url, {**values, "wanted": "yesterday or so"}).status_code == 422
    clara.post(url, values)
    before, order = order, Order.objects.get(pk=order.pk)
    assert (order.reason, order.clinical_info, order.priority, order.transport, order.wanted_at) == (
        "Fall", "On the stairs", "stat", "WHLC", before.wanted_at,
    )  # fmt: skip
    assert clara.post(url, {**values, "reason": "Late"}).status_code == 409


def test_another_exam_replaces_the_order_or_after_the_start_changes_it(clara: Client) -> None:
    contrast = makers.make_procedure_type("CTHEADC", name="CT head with contrast")
    order = makers.make_order()
    url = f"/orders/{order.pk}/exam"
    assert "a new one takes its place" in clara.get(url).content.decode()
    assert clara.post(url, {"q": "nothing like it"}).status_code == 422
    new = clara.post(url, {"procedure": contrast.pk})
    placed = Order.objects.get(replaces=order)
    assert new["Location"] == f"/orders/{placed.pk}"
    assert order.accession_number in clara.get(f"/orders/{placed.pk}").content.decode().replace(" ", "")
    begun = makers.make_exam().order
    clara.post(f"/orders/{begun.pk}/exam", {"procedure": contrast.pk})
    assert begun.procedures.get().procedure_type == contrast
    refused = clara.post(f"/orders/{begun.pk}/exam", {"procedure": contrast.pk, "side": "L"})
    assert (refused.status_code, "This exam has no side." in refused.content.decode()) == (422, True)


def test_the_pages_show_what_came_with_the_order(clara: Client) -> None:
    """ORD-08, ORD-13, OTH-C: answers, diagnoses, measures and the family."""
    parent = makers.make_order(placer_order_number="P1", placer_authority="EPIC", source="epic")
    order = makers.make_order(
        parent.patient, parent=parent, weight_kg="71.5", height_m="1.80",
        answers=({"code": "2160-0", "question": "Creatinine", "value": "1.1", "units": "mg/dL"},),
        diagnoses=({"code": "R51.9", "text": "Headache", "scheme": "I10"},),
    )  # fmt: skip
    page = clara.get(f"/orders/{order.pk}").content.decode()
    for shown in ("Creatinine", "1.1 mg/dL", "Headache", "R51.9", "71.5 kg", "1.80 m", "Part of"):
        assert shown in page, shown
    assert "Has the part" in clara.get(f"/orders/{parent.pk}").content.decode()
    assert "EPIC" in clara.get(f"/orders/{parent.pk}").content.decode()
    exam = makers.make_exam(order)
    assert "Creatinine" in clara.get(f"/exams/{exam.pk}").content.decode()
