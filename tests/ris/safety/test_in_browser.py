"""The tablet at the scanner: the stop, the call, the clearance, the review in two taps, the start (T09)."""

from datetime import timedelta
from decimal import Decimal

import pytest
from playwright.sync_api import Page, expect

from ris.core.formats import today
from ris.orders.states import OrderStatus
from ris.safety.actions import note_fact
from ris.safety.models import Implant, RenalValue, Stage
from ris.safety.passport import passport_for
from tests import makers
from tests.browser import OpenAs, accessibility_faults, photograph
from tests.cast import NAMES, person
from tests.ris.safety.cases import order_of, screen

pytestmark = [
    pytest.mark.peer("chromium"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("questionnaires"),
]


def test_a_stop_is_cleared_by_a_radiologist_and_the_patient_is_reviewed_and_started(open_as: OpenAs) -> None:
    for name in NAMES:
        person(name)
    makers.make_room("MR1", "MR")
    order = order_of("MRC")
    order.patient.refresh_from_db()
    screen(order, Stage.ARRIVAL, tattoo="yes")
    note_fact(
        Implant(patient=order.patient, name="Pacemaker", maker="Norvik", model="Pulse D2", mr="conditional",
                max_tesla=Decimal("1.5"), conditions="SAR 2 W/kg", body_site="Chest", implanted_on="2019", source="card",
                verified_by=person("theo")),
        by=person("theo"),
    )  # fmt: skip
    note_fact(
        RenalValue(patient=order.patient, egfr=72, measured_on=today() - timedelta(days=4), source="lab"),
        by=person("theo"),
    )
    faults: dict[str, list[str]] = {}

    def look(page: Page, name: str) -> None:
        photograph(page, f"safety-{name}")
        faults[name] = accessibility_faults(page)

    tablet = open_as(person("theo"), f"/orders/{order.pk}/safety")
    tablet.set_viewport_size({"width": 820, "height": 1180})
    expect(tablet.get_by_role("heading", name="Do not start")).to_be_visible()
    look(tablet, "questions")
    # ux.md 1.2: the answers stand there, two taps sign them.
    tablet.get_by_text("Reviewed with patient").click()
    tablet.get_by_role("button", name="Sign as Theo Technologist").click()
    expect(tablet).to_have_url(f"{tablet.url.split('/orders')[0]}/orders/{order.pk}/start")
    expect(tablet.get_by_role("heading", name="Do not start")).to_be_visible()
    look(tablet, "start-stopped")
    tablet.get_by_role("button", name="Ask a radiologist").click()
    expect(tablet.get_by_text("Asked a radiologist at")).to_be_visible()

    desk = open_as(person("rita"), "/safety")
    look(desk, "asked")
    desk.get_by_role("link", name="Clear or refuse").click()
    sheet = desk.get_by_role("dialog")
    expect(sheet).to_contain_text("up to 1.5 T")
    look(desk, "clear")
    sheet.get_by_label("On what grounds").fill("Card seen; cardiology programmed it, 1.5 T")
    desk.keyboard.press("Control+Enter")
    expect(desk.get_by_text("Nobody asks for a clearance")).to_be_visible()
    desk.goto(f"/p/{order.patient_id}/safety")
    look(desk, "patient")
    desk.get_by_role("link", name="Add an implant").click()
    expect(desk.get_by_role("dialog")).to_contain_text("Strongest field")
    look(desk, "implant")
    desk.goto(f"/p/{order.patient_id}/safety/card")
    look(desk, "card")
    desk.close()

    admin = open_as(person("ada"), "/admin/questionnaires")
    look(admin, "editions")
    admin.get_by_role("link", name="MR safety, edition 1").click()
    look(admin, "edition")
    admin.get_by_role("button", name="Copy as draft").click()
    admin.get_by_label("Title").fill("MR safety at Harbour")
    look(admin, "draft")
    admin.keyboard.press("Control+Enter")
    expect(admin.get_by_text("The draft is saved")).to_be_visible()
    admin.get_by_role("button", name="Publish what is saved").click()
    expect(admin.get_by_text("MR safety at Harbour, edition 2 is asked")).to_be_visible()
    admin.goto("/admin/safety-rules")
    look(admin, "rules")
    admin.get_by_role("link", name="Ionising radiation while").click()
    admin.get_by_label("To age").fill("50")
    admin.keyboard.press("Control+Enter")
    expect(admin.get_by_text("The rule is saved")).to_be_visible()
    admin.close()

    # As Theo again: the three share the browser's cookies.
    tablet = open_as(person("theo"), f"/orders/{order.pk}/start")
    tablet.set_viewport_size({"width": 820, "height": 1180})
    expect(tablet.get_by_text("Cleared by Rita Radiologist")).to_be_visible()
    look(tablet, "start-cleared")
    assert passport_for(order).reviewed
    tablet.get_by_label("Birth year").fill("1968")
    tablet.get_by_label("MR 1").check()
    tablet.get_by_role("button", name="Start").last.click()
    expect(tablet.get_by_text("has started").first).to_be_visible()
    order.refresh_from_db()
    assert order.status == OrderStatus.IN_PROGRESS
    assert {name: found for name, found in faults.items() if found} == {}
