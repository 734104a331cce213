"""The console as a person works it: from the alarm to the message that was put right and sent."""

import pytest
from playwright.sync_api import Locator, Page, expect

from interfaces import alarms
from interfaces.actions import save_endpoint
from interfaces.hl7 import mllp, receiver
from interfaces.models import Case, Endpoint, InboundMessage, OutboundMessage
from tests import makers
from tests.browser import OpenAs, accessibility_faults, photograph
from tests.cast import person
from tests.interfaces.hl7 import samples

pytestmark = [pytest.mark.peer("chromium"), pytest.mark.django_db(transaction=True)]

ANSWER = (
    b"MSH|^~\\&|HIS|H|LIGHTBOX|H|20261119||ACK|9|P|2.5.1\rMSA|AE|X1\r"
    b"ERR||PV1^1^3^1^1|103^Table value not found^HL70357|E||||PV1-3 is not in the table of wards\r"
)


def _outbound(endpoint: Endpoint, number: int, status: str, **more: object) -> OutboundMessage:
    return OutboundMessage.objects.create(
        endpoint=endpoint, purpose=f"status {number}", type="ORM^O01", key=f"A2600000{number}", control_id=f"X{number}",
        status=status, accession_number=f"A2600000{number}",
        raw=b"MSH|^~\\&|LIGHTBOX|H|HIS|H|20261119||ORM^O01|X%d|P|2.3.1\rPID|||77^^^H^MR||OKAFOR^ADAEZE\r" % number
        + b"PV1||I|4EAST^2\rORC|SC|A1^EMR\r", **more,
    )  # fmt: skip


@pytest.fixture
def trouble() -> OutboundMessage:
    """A partner that refuses one message, and a sender of whom one message was refused."""
    makers.make_facility()
    makers.make_procedure_type()
    his = save_endpoint(
        "HIS",
        {"direction": "out", "address": "127.0.0.1:9", "facts": ["orders"], "paused": True},
        by=person("ada"),
    )
    save_endpoint("EMR", {"direction": "in"}, by=person("ada"))
    refused = _outbound(
        his, 1, "rejected", answer=ANSWER, ack_code="AE", error_class="refused", attempts=1,
        error_text="PV1-3 is not in the table of wards",
    )  # fmt: skip
    for number in (2, 3):
        _outbound(his, number, "accepted", ack_code="AA", attempts=1)
    for text in (
        samples.adt(),
        samples.orm("CA", "A77^EMR"),
        samples.adt(person=samples.pid(born="19683199")),
    ):
        list(receiver.receive(mllp.Frame(text.encode()), "10.2.0.8"))
    save_endpoint("HIS", {"paused": False}, by=person("ada"))
    alarms.watch()
    return refused


class _Clicks:
    """Counts what a person has to click."""

    def __init__(self) -> None:
        self.count = 0

    def on(self, target: Locator) -> None:
        target.click()
        self.count += 1


def test_from_the_alarm_to_the_message_put_right_in_four_clicks(
    open_as: OpenAs, trouble: OutboundMessage
) -> None:
    page = open_as(person("ada"), "/interfaces")
    clicks = _Clicks()
    clicks.on(page.get_by_role("status").filter(has_text="HIS refuses messages").get_by_role("link"))
    expect(page.get_by_text("HIS does not know the ward 4EAST.")).to_be_visible()
    expect(page.locator("main")).not_to_contain_text("OKAFOR")
    clicks.on(page.get_by_role("link", name="Edit a copy"))
    text = page.get_by_label("Message", exact=True)
    text.fill(text.input_value().replace("4EAST", "4E"))
    clicks.on(page.get_by_role("button", name="Look at the changes"))
    expect(page.locator("ins")).to_contain_text("4E^2")
    photograph(page, "console-edit-light")
    assert accessibility_faults(page) == []
    clicks.on(page.get_by_role("button", name="Send the copy"))
    expect(page.locator("h1 + .st")).to_have_text("Waiting")
    assert clicks.count <= 4
    copy = OutboundMessage.objects.latest("pk")
    trouble.refresh_from_db()
    assert (trouble.status, copy.status) == ("discarded", "queued")
    assert b"PV1||I|4E^2\r" in bytes(copy.raw)
    alarms.watch()
    page.goto("/interfaces")
    expect(page.get_by_text("HIS refuses messages")).to_have_count(0)


def _look(page: Page, name: str) -> None:
    photograph(page, f"console-{name}")
    assert accessibility_faults(page) == [], name


def test_the_console_is_accessible_and_worked_by_keys(open_as: OpenAs, trouble: OutboundMessage) -> None:
    refused = InboundMessage.objects.filter(status="rejected").latest("pk")
    case = Case.objects.get(kind="unknown_order")
    places = {
        "light": {
            "channels": "/interfaces", "came-in": "/interfaces/in", "fields": f"/interfaces/in/{refused.pk}?tab=tree",
            "dead-letters": "/interfaces/dead-letters", "case": f"/interfaces/cases/{case.pk}",
            "alarms": "/interfaces/alarms",
        },
        "reading": {
            "message": f"/interfaces/out/{trouble.pk}", "differences": f"/interfaces/in/{refused.pk}?tab=diff",
            "cases": "/interfaces/cases",
        },
    }  # fmt: skip
    for theme, pages in places.items():
        page = open_as(person("ada"), "/healthz", theme=theme)
        for name, path in pages.items():
            page.goto(path)
            _look(page, f"{name}-{theme}")
    page.goto("/interfaces/dead-letters")
    page.keyboard.press("j")
    page.wait_for_timeout(300)
    page.keyboard.press("Enter")
    page.wait_for_url("**/interfaces/out/*")
    page.keyboard.press("s")
    expect(page.locator("pre.raw").first).to_contain_text("OKAFOR")
    _look(page, "shown-reading")
    page.keyboard.press("x")
    page.get_by_label("Reason").fill("Told by phone")
    page.keyboard.press("Enter")
    expect(page.locator("h1 + .st")).to_have_text("Discarded")
