"""The admin and billing pages as an administrator and a biller see them, in both themes."""

from decimal import Decimal

import pytest
from playwright.sync_api import expect

from billing.actions import NewFee, capture_charge, hold_charge, set_fee
from billing.states import Component
from ris.department.models import Room, Station
from ris.patients.access import patient_for
from tests import makers
from tests.browser import OpenAs, accessibility_faults, faults_in_both_themes, photograph
from tests.cast import NAMES, person

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.django_db(transaction=True)]
ADMIN = [
    "rooms", "rooms/new", "stations", "catalogue", "catalogue/import", "templates", "templates/new", "practitioners",
    "facilities", "users", "users/new", "partners", "partners/new",
]  # fmt: skip


@pytest.fixture(autouse=True)
def department(db: None) -> None:
    for name in NAMES:
        person(name)
    for code, modality in (("CT1", "CT"), ("MR1", "MR"), ("XR1", "DX")):
        makers.make_room(code, modality)
    makers.make_procedure_type(synonyms=["brain scan"], prep="Nothing to eat.")
    makers.make_practitioner()


def charges() -> None:
    set_fee(NewFee("CT-T", Decimal("1180.50"), "CT, technical"), by=person("ben"))
    for place, family in enumerate(("Okafor", "Samuels", "Duarte")):
        exam = makers.make_exam(makers.make_order(patient=makers.make_patient(family)), completed=True)
        charge = capture_charge(exam, Component.TECHNICAL, by=person("ben"))
        capture_charge(exam, Component.PROFESSIONAL, by=person("ben"))
        if not place:
            hold_charge(charge, reason="No authorization number", by=person("ben"))


def test_every_admin_page_can_be_read_by_everybody(open_as: OpenAs) -> None:
    patient_for(person("rita"), makers.make_patient().pk)
    paths = [f"/admin/{one}" for one in ADMIN]
    paths += [f"/admin/users/{person('clara').pk}", "/audit?question=all", "/audit"]
    faults = {}
    for path in paths:
        page = open_as(person("ada"), path, theme="light")
        expect(page.locator("h1, h2").first).to_be_visible()
        name = path.strip("/").replace("/", "-").partition("?")[0]
        faults[path] = faults_in_both_themes(page, f"admin-{name}")
        page.close()
    assert {path: found for path, found in faults.items() if found} == {}


def test_every_billing_page_can_be_read_by_everybody(open_as: OpenAs) -> None:
    charges()
    faults = {}
    for name, path in (
        ("charges", "/billing/charges"), ("held", "/billing/charges?status=held"), ("fees", "/billing/fees"),
        ("fee", "/billing/fees/new"),
    ):  # fmt: skip
        page = open_as(person("ben"), path, theme="light")
        expect(page.locator("h1, h2").first).to_be_visible()
        if name == "held":
            page.get_by_role("link", name="CT head").first.click()
            expect(page.get_by_role("heading", name="History")).to_be_visible()
            faults["charge"] = faults_in_both_themes(page, "billing-charge")
            page.get_by_text("Void…").click()
            expect(page.get_by_role("dialog")).to_be_visible()
            name = "void"
        faults[path] = faults_in_both_themes(page, f"billing-{name}")
        page.close()
    assert {path: found for path, found in faults.items() if found} == {}


def test_a_biller_holds_and_releases_by_keys(open_as: OpenAs) -> None:
    charges()
    page = open_as(person("ben"), "/billing/charges")
    page.keyboard.press("j")
    page.keyboard.press("h")
    sheet = page.get_by_role("dialog")
    expect(sheet).to_contain_text("Hold the charge")
    sheet.get_by_label("Wrong code").check()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("The charge is held")).to_be_visible()
    page.keyboard.press("r")
    expect(page.get_by_text("The charge is new again")).to_be_visible()


def test_an_administrator_adds_a_station_whose_title_is_judged_while_typing(open_as: OpenAs) -> None:
    page = open_as(person("ada"), "/admin/stations")
    page.keyboard.press("n")
    sheet = page.get_by_role("dialog")
    title = sheet.get_by_label("AE title")
    title.fill("CT1")
    expect(sheet.locator("#ae-check")).to_contain_text("CT 1 has this AE title.")
    title.fill("CT_BAYB")
    expect(sheet.locator("#ae-check")).to_contain_text("7/16")
    photograph(page, "admin-station-sheet")
    sheet.get_by_label("Room").select_option(label=str(Room.objects.get(code="CT1")))
    sheet.get_by_label("Modality").select_option("CT")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("CT_BAYB is saved")).to_be_visible()
    assert Station.objects.filter(ae_title="CT_BAYB", room__code="CT1").exists()


def test_a_new_user_gets_a_password_that_is_seen_once(open_as: OpenAs) -> None:
    page = open_as(person("ada"), "/admin/users")
    page.keyboard.press("n")
    sheet = page.get_by_role("dialog")
    sheet.get_by_label("User name").fill("n.shah")
    sheet.get_by_label("Family name").fill("Shah")
    sheet.get_by_label("Front desk").check()
    page.keyboard.press("Control+Enter")
    expect(sheet.locator("[data-secret]")).to_be_visible()
    photograph(page, "admin-secret")
    assert accessibility_faults(page) == []
    sheet.get_by_role("link", name="I have it").click()
    expect(page.get_by_role("heading", name="SHAH")).to_be_visible()
