"""Contrast by scan on the tablet beside the scanner: scan, chip, Save (ux.md 1.2)."""

from datetime import timedelta
from decimal import Decimal

import pytest
from playwright.sync_api import expect

from billing.models import Charge, Fee
from ris.core.formats import day, today
from ris.events.outbox import relay_all
from ris.exams.actions import NewAdministration, administer
from ris.exams.models import Administration
from ris.protocolling.actions import approve_protocol
from ris.supplies.actions import in_stock, receive_stock
from tests import makers
from tests.browser import OpenAs, accessibility_faults, photograph, scan
from tests.cast import person

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.django_db(transaction=True)]


def test_a_vial_is_scanned_saved_and_taken_back(open_as: OpenAs) -> None:
    """T07, T11: one scan writes entry, stock and charge."""
    item = makers.make_item(charge_code="CON", charged_by="ml")
    Fee.objects.create(code="CON", amount=Decimal("0.50"))
    ends = today() + timedelta(days=400)
    lot = receive_stock(item, "4471", ends, Decimal(10), by=person("theo")).lot
    kind = makers.make_procedure_type("CTNECKC", name="CT neck with contrast", contrast=True)
    protocol = makers.make_protocol(
        "Neck 70 mL",
        kind,
        contrast_agent="Iohexol 350 mg/mL",
        contrast_ml=Decimal(70),
        rate_ml_s=Decimal("2.5"),
    )
    order = makers.make_order(procedure_type=kind)
    approve_protocol(makers.make_protocol_request(order), protocol, by=person("rita"))
    exam = makers.make_exam(order)
    page = open_as(person("theo"), f"/exams/{exam.pk}/contrast")
    page.set_viewport_size({"width": 820, "height": 1180})
    panel = page.locator("#contrast")
    expect(panel).to_contain_text("Iohexol 350 mg/mL, 70 mL at 2.5 mL/s")
    assert accessibility_faults(page) == []
    scan(page, f"01{makers.GTIN}17{ends:%y%m%d}104471", enter=True)
    expect(panel.get_by_label("Volume, mL")).to_have_value("70")
    expect(panel.get_by_label("Rate, mL/s")).to_have_value("2.5")
    expect(panel).to_contain_text(f"exp {day(ends)}")
    assert accessibility_faults(page) == []
    photograph(page, "contrast-scanned")
    panel.get_by_label("L antecubital", exact=True).check()
    panel.get_by_role("button", name="Save").click()
    expect(page.locator("#toasts")).to_contain_text("Iohexol 350 mg I/mL, 70 mL, is entered")
    expect(panel.get_by_role("listitem")).to_contain_text("L antecubital, 2.5 mL/s")
    photograph(page, "contrast-given")
    relay_all()
    charge = Charge.objects.get()
    assert (charge.component, charge.amount, in_stock(lot, None)) == ("supply", Decimal("35.00"), 9)
    page.locator("#toasts").get_by_role("button", name="Undo").click()
    expect(panel).to_contain_text("Taken back at once")
    relay_all()
    charge.refresh_from_db()
    assert (charge.status, in_stock(lot, None), Administration.objects.get().status) == (
        "voided",
        10,
        "withdrawn",
    )
    scan(page, f"01{makers.GTIN}1720010110OLD", enter=True)
    expect(panel).to_contain_text("expired 01-Jan-2020")
    panel.get_by_role("button", name="Save").click()
    expect(panel).to_contain_text("Lot OLD expired on 01-Jan-2020. Do not give it.")
    assert accessibility_faults(page) == []
    photograph(page, "contrast-expired")


def test_the_stock_and_a_recall_read_well(open_as: OpenAs) -> None:
    """T11, idea 16: low, expiring and miscounted lots; everybody who received one."""
    item = makers.make_item(reorder_level=20)
    theo = person("theo")
    soon, ends = today() + timedelta(days=20), today() + timedelta(days=400)
    receive_stock(item, "K2231", soon, Decimal(3), by=theo)
    receive_stock(item, "OLD7", today() - timedelta(days=2), Decimal(2), by=theo)
    lot = receive_stock(item, "4471", ends, Decimal(10), by=theo, room=makers.make_room()).lot
    makers.make_item(
        gtin="09501101530065", name="Gadobutrol", strength="1 mmol/mL", volume_ml=10, container="syringe"
    )
    kind = makers.make_procedure_type("CTNECKC", name="CT neck with contrast", contrast=True)
    for family in ("Okafor", "Rossi"):
        exam = makers.make_exam(makers.make_order(makers.make_patient(family), procedure_type=kind))
        administer(exam, NewAdministration(lot=lot, volume_ml=Decimal(70), site="R hand"), by=theo)
    page = open_as(theo, "/supplies")
    expect(page.get_by_text("Use first")).to_be_visible()
    assert accessibility_faults(page) == []
    photograph(page, "supplies")
    page.get_by_role("link", name="Count K2231").click()
    sheet = page.locator("#sheet")
    sheet.get_by_label("How many are there").fill("2")
    assert accessibility_faults(page) == []
    sheet.get_by_role("button", name="This many are there").click()
    expect(page.locator("#toasts")).to_contain_text("Count: Iohexol 350 mg I/mL lot K2231")
    page.goto(f"/supplies/lots/{lot.pk}")
    expect(page.get_by_text("2 times given")).to_be_visible()
    assert accessibility_faults(page) == []
    photograph(page, "recall")
    page = open_as(person("ada"), "/admin/protocol-rules", theme="reading")
    assert accessibility_faults(page) == []
    photograph(page, "protocol-rules")
