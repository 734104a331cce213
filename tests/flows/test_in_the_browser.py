"""The first story by the people's own hands: booked, done and signed in a browser, ordered and told over sockets."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import accessibility_faults, photograph
from tests.flows.department import STEP, Person, adt, findscu, orm, send
from tests.flows.test_order_to_charge import Hospital, told
from tests.peers.emr import Emr
from tests.stack import PASSWORD, Stack, until

pytestmark = [pytest.mark.peer("dcmtk", "chromium"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """A department where it is noon and the rooms never close."""
    folder: Path = tmp_path_factory.mktemp("browser")
    noon = f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"
    with Emr(folder / "emr.jsonl") as emr, Stack(folder / "data", RIS_FACILITY_TZ=noon) as stack:
        stack.query("UPDATE scheduling_opening SET opens = '00:00', closes = '23:59:59'")
        stack.query(
            "INSERT INTO scheduling_opening (room_id, weekday, opens, closes)"
            " SELECT id, 6, '00:00', '23:59:59' FROM department_room"
        )
        stack.manage(
            "endpoint", "EPIC", "--protocol", "mllp", "--direction", "out", "--address", emr.address, "--facts",
            "orders,results",
        )  # fmt: skip
        yield Hospital(stack, emr)


@pytest.fixture
def sign_in(hospital: Hospital, chromium: Browser) -> Iterator["SignIn"]:
    people = SignIn(hospital, chromium)
    yield people
    people.close()


class SignIn:
    def __init__(self, hospital: Hospital, chromium: Browser) -> None:
        self.hospital = hospital
        self.chromium = chromium
        self.contexts: list[object] = []

    def __call__(self, username: str, theme: str = "light") -> Page:
        """The person's first page, in a browser of their own."""
        context = self.chromium.new_context(
            base_url=self.hospital.stack.http, viewport={"width": 1440, "height": 900}, bypass_csp=True
        )
        context.set_default_timeout(20_000)
        context.add_cookies([{"name": "theme", "value": theme, "url": self.hospital.stack.http}])
        self.contexts.append(context)
        page = context.new_page()
        page.goto("/login")
        page.get_by_label("User").first.fill(username)
        page.locator("input[name=password]").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "login" not in url)
        return page

    def close(self) -> None:
        for context in self.contexts:
            context.close()  # type: ignore[attr-defined]


def clean(page: Page, name: str) -> None:
    """Keep a picture and let axe look, in both themes."""
    for theme in ("light", "reading"):
        page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
        photograph(page, f"flow-{name}-{theme}")
        assert accessibility_faults(page) == [], f"{name} in {theme}"


def test_desk_technologist_and_radiologist_take_an_order_through(hospital: Hospital, sign_in: SignIn) -> None:
    assert send(hospital.stack, adt("004417268")).code == "AA"
    assert send(hospital.stack, orm("004417268", "B1001")).code == "AA"
    accession = str(hospital.find("B1001")["accession_number"])

    # The front desk finds the request, books the first time that fits and checks the patient in.
    desk = sign_in("frontdesk")
    expect(desk).to_have_title("Arrivals · Lightbox")
    desk.goto("/schedule")
    desk.get_by_text("OKAFOR").first.click()
    desk.wait_for_selector("#slot-1")
    desk.keyboard.press("1")
    desk.wait_for_selector("#book")
    clean(desk, "schedule")
    desk.keyboard.press("Enter")
    expect(desk.locator("#toasts")).to_contain_text("OKAFOR")
    (entry,) = findscu(
        hospital.stack, f"{STEP}.Modality=CT", f"{STEP}.ScheduledStationAETitle=CT1", "PatientName=OKA*"
    )
    assert entry.AccessionNumber == accession
    desk.goto("/board")
    desk.get_by_role("button", name="Check in").first.click()
    expect(desk.get_by_text("Arrived").first).to_be_visible()
    clean(desk, "board")

    # The technologist checks who it is, starts and completes.
    tech = sign_in("tech")
    tech.goto(f"/orders/{hospital.find('B1001')['id']}/start")
    tech.get_by_label("Birth year").fill("1968")
    clean(tech, "start")
    tech.keyboard.press("Control+Enter")
    tech.wait_for_url("**/exams/*")
    assert findscu(hospital.stack, f"AccessionNumber={accession}") == []
    clean(tech, "exam")
    tech.keyboard.press("Control+Enter")
    until(lambda: hospital.find("B1001")["status"] == "performed", 20, "the exam is complete")
    assert [one for one in told(hospital.heard("B1001", count=5)) if " SC " in one] == [
        "ORM^O01 SC SC",
        "ORM^O01 SC IP",
        "ORM^O01 SC CM",
    ]

    # The radiologist reads and signs by keyboard.
    reader = sign_in("radiologist", theme="reading")
    reader.goto("/reading")
    clean(reader, "reading")
    reader.keyboard.press("j")
    reader.wait_for_timeout(300)  # keys closer together than a hand's are a scanner's
    reader.keyboard.press("Enter")
    reader.wait_for_selector("form#report")
    impression = reader.locator("section", has_text="Impression").locator("textarea").last
    impression.fill("No acute intracranial finding.")
    clean(reader, "report")
    reader.keyboard.press("Control+Enter")
    until(lambda: hospital.find("B1001")["status"] == "reported", 30, "the report is signed")
    results = until(
        lambda: [one for one in hospital.heard("B1001") if one.type.startswith("ORU")],
        20,
        "a result at the EMR",
    )
    (result,) = results
    assert result.field("OBR", 25) == "F"
    assert any("No acute intracranial finding." in segment[5] for segment in result.all("OBX"))
    charges = Person(hospital.stack, "biller").get("charges/")["results"]
    assert sorted(one["component"] for one in charges) == ["professional", "technical"]
