"""The front desk's part, phone in one hand: search, register, order, and the pages they lead to."""

import re
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from ris.orders.actions import hold_order
from ris.orders.models import Order
from ris.patients.models import Patient
from tests import makers
from tests.browser import OpenAs, accessibility_faults, faults_in_both_themes, photograph
from tests.cast import person

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.django_db(transaction=True)]


@pytest.fixture
def department(db: None) -> Patient:
    """Two Okafors, one of them with a course of exams, and orders in every list."""
    okafor = makers.make_patient(
        "Okafor", "Adaeze", mrn="004417268", prefix="Mrs", mobile="+447700907719", allergies="Iodinated contrast",
        address="12 Quay Road, Harbour",
    )  # fmt: skip
    makers.make_patient("Okafor", "Ada", mrn="001920733", prefix="Miss", birth_date="1968-02-02")
    abdomen = makers.make_procedure_type(
        "CTAPC", name="CT abdomen + pelvis + contrast", body_part="Abdomen", contrast=True, prep="Nothing to eat for 4 h",
        synonyms=["belly"],
    )  # fmt: skip
    makers.make_procedure_type("XRWRIST", name="XR wrist, 2 views", modality="DX", body_part="Wrist", laterality="required",
                               duration_minutes=10)  # fmt: skip
    makers.make_practitioner("Mensah", given="Kofi")
    earlier = makers.make_order(
        okafor, ordered_at=datetime(2024, 11, 4, 14, 20, tzinfo=UTC), reason="Right upper quadrant pain"
    )
    makers.make_exam(earlier)
    done = makers.make_appointment(makers.make_order(okafor), start=makers.next_hour(-3))
    makers.make_report(makers.make_exam(done.order, completed=True), signed=True)
    makers.make_appointment(
        makers.make_order(okafor, procedure_type=abdomen, priority="asap"), start=makers.next_hour(2)
    )
    makers.make_order(
        makers.make_patient("Todd", "Liam", sex="M"), priority="stat", reason="Fall from a ladder"
    )
    makers.make_order(makers.make_patient("Duarte", "Silvia"), code="RAD77", code_text="Wrist 2 views", source="EPIC",
                      placer_order_number="P-991")  # fmt: skip
    makers.make_order(makers.make_patient("Singh", "Harpreet", sex="M"), procedure_type=abdomen)
    hold_order(
        makers.make_order(makers.make_patient("Klein", "Otto", sex="M")),
        reason="Waits for labs",
        by=person("clara"),
    )
    return okafor


def _ask(page: Page, typed: str) -> None:
    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="Patient, accession, phone or command").press_sequentially(
        typed, delay=60
    )


def test_a_known_patient_is_ordered_for_without_the_mouse(open_as: OpenAs, department: Patient) -> None:
    page = open_as(person("clara"), "/orders")
    _ask(page, "okaf 68")
    found = page.locator("#palette-results [role=option]")
    expect(found.first).to_contain_text("OKAFOR, Ada ")
    expect(found.filter(has_text="Similar name and year")).to_have_count(2)
    photograph(page, "palette")
    page.keyboard.press("ArrowDown")
    expect(found.nth(1)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(rf"/p/{department.pk}$"))
    page.keyboard.press("o")
    expect(page.get_by_role("heading", name="New order")).to_be_visible()
    expect(page.get_by_role("combobox", name="Exam")).to_be_focused()
    page.keyboard.type("wri", delay=60)
    expect(page.get_by_role("option", name="XR wrist, 2 views")).to_be_visible()
    photograph(page, "order-new-exam")
    page.keyboard.press("Enter")
    expect(page.get_by_text("10 min")).to_be_visible()
    page.get_by_label("Reason", exact=True).fill("Fell on the left hand")
    page.get_by_label("Wanted by").fill("+3d")
    page.get_by_role("combobox", name="Referrer").press_sequentially("mens", delay=60)
    expect(page.get_by_role("option", name="MENSAH, Kofi")).to_be_visible()
    page.keyboard.press("Enter")
    page.keyboard.press("Control+s")
    expect(page.locator(".errors")).to_contain_text("Pick the side: left, right or both.")
    photograph(page, "order-new-refused")
    assert accessibility_faults(page) == []
    page.get_by_label("Left").check()
    photograph(page, "order-new")
    page.keyboard.press("Control+s")
    expect(page).to_have_url(re.compile(r"/orders/\d+$"))
    order = Order.objects.latest("pk")
    assert (order.patient, order.procedures.get().label, order.ordering and order.ordering.family) == (
        department, "XR wrist, 2 views, left", "Mensah",
    )  # fmt: skip
    assert "okaf" not in page.url.lower()


def test_a_walk_in_is_registered_and_goes_on_to_the_order(open_as: OpenAs, department: Patient) -> None:
    page = open_as(person("clara"), "/patients/new?walkin=1")
    page.get_by_label("Family name").fill("Okafro")
    page.get_by_label("Given name").fill("Adaeze")
    page.get_by_label("Born").fill("14 7 1968")
    page.get_by_label("Born").press("Tab")
    expect(page.locator("#same")).to_contain_text("OKAFOR, Adaeze")
    photograph(page, "patient-new-same")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("A patient like this is registered.")).to_be_visible()
    assert accessibility_faults(page) == []
    page.get_by_role("button", name="Another person: register").click()
    expect(page.get_by_role("heading", name="New order")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("OKAFRO, Adaeze is registered")
    assert Patient.objects.filter(family="Okafro").count() == 1


def test_who_is_not_found_is_registered_as_typed(open_as: OpenAs, department: Patient) -> None:
    page = open_as(person("clara"), "/orders")
    _ask(page, "wachowski 1986")
    expect(page.get_by_text("No patient matches “wachowski 1986”. Check the year.")).to_be_visible()
    photograph(page, "palette-nobody")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Family name")).to_have_value("Wachowski")
    expect(page.get_by_label("Born")).to_have_value("1986")
    assert "achowsk" not in page.url


def test_an_unknown_code_is_matched_in_the_list(open_as: OpenAs, department: Patient) -> None:
    page = open_as(person("clara"), "/orders?view=codes")
    page.keyboard.press("j")
    expect(page.locator("[data-row][data-current]")).to_contain_text("DUARTE")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Which exam is RAD77?")).to_be_visible()
    page.get_by_role("combobox", name="Exam here").press_sequentially("xr wri", delay=60)
    expect(page.get_by_role("option", name="XR wrist, 2 views")).to_be_visible()
    photograph(page, "order-match")
    assert accessibility_faults(page) == []
    page.keyboard.press("Enter")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("status")).to_contain_text("RAD77 means XR wrist, 2 views")


def test_an_order_is_held_and_released_from_its_page(open_as: OpenAs, department: Patient) -> None:
    order = Order.objects.get(patient__family="Todd")
    page = open_as(person("clara"), f"/orders/{order.pk}")
    page.keyboard.press("h")
    expect(page.get_by_role("heading", name="Hold the order")).to_be_visible()
    photograph(page, "order-hold")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Pick a reason, or type another.").first).to_be_visible()
    page.get_by_label("Waits for labs").check()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("status")).to_contain_text("The order is held")
    page.keyboard.press("u")
    expect(page.get_by_role("status")).to_contain_text("The order can be booked again")
    order.refresh_from_db()
    assert order.status == "requested"


def test_the_list_shows_a_new_order_by_itself(open_as: OpenAs, department: Patient) -> None:
    page = open_as(person("clara"), "/orders")
    order = makers.make_order(makers.make_patient("Newman", "Ned"), priority="stat")
    expect(page.locator(f"#order-{order.pk}")).to_contain_text("NEWMAN")


def test_the_desks_pages_can_be_read_by_everybody(open_as: OpenAs, department: Patient) -> None:
    mona = person("mona")
    order = Order.objects.get(procedures__code="RAD77")
    booked = Order.objects.get(status="scheduled")
    for path, name in (
        ("/orders", "orders"), ("/orders?view=scheduled", "orders-scheduled"), ("/orders?view=all", "orders-all"),
        (f"/orders/{order.pk}", "order-unknown"), (f"/orders/{booked.pk}", "order"),
        (f"/orders/{booked.pk}/cancel", "order-cancel"), (f"/orders/new?patient={department.pk}", "order-form"),
        (f"/p/{department.pk}", "patient"), (f"/p/{department.pk}/edit", "patient-edit"),
        ("/patients/new", "patient-new"), ("/search", "search"),
        ("/orders?m=NM", "orders-none"),
    ):  # fmt: skip
        page = open_as(mona, path, theme="light")
        assert faults_in_both_themes(page, f"desk-{name}") == [], path
        page.close()
    page = open_as(mona, "/search", theme="light")
    page.get_by_role("searchbox").last.fill("okafor")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Similar name and year").first).to_be_visible()
    assert faults_in_both_themes(page, "desk-found") == []
    _ask(page, "okaf")
    expect(page.locator("#palette-results [role=option]").first).to_contain_text("OKAFOR")
    assert faults_in_both_themes(page, "desk-palette") == []


def test_nothing_of_a_patients_identity_is_cut(open_as: OpenAs, department: Patient) -> None:
    for width in (1280, 1920):
        for path in ("/orders", f"/p/{department.pk}", "/orders?view=all"):
            page = open_as(person("clara"), path)
            page.set_viewport_size({"width": width, "height": 900})
            cut = page.eval_on_selector_all(
                ".banner dd, .banner .name, .who small span, data.id",
                "all => all.filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0).map(e => e.outerHTML)",
            )
            assert cut == [], path
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.close()
