"""What an administrator sees of the messages, and does to them."""

import pytest
from django.test import Client
from django.utils import timezone
from playwright.sync_api import expect
from pytest_django.asserts import assertNumQueries

from interfaces import engine
from interfaces.actions import save_endpoint
from interfaces.hl7 import mllp, receiver
from interfaces.models import Endpoint, InboundMessage, OutboundMessage
from ris.audit.models import AuditEvent
from tests.browser import OpenAs, accessibility_faults, photograph
from tests.cast import person

pytestmark = pytest.mark.django_db

BAD = (
    b"MSH|^~\\&|EPIC|HARBOUR|||20261119||ADT^A04|C1|P|2.3.1\r"
    b"PID|||77^^^HARBOUR^MR||<script>alert(1)</script>^A||19680431|F\r"
)


@pytest.fixture
def ada(client: Client) -> Client:
    client.force_login(person("ada"), backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def epic() -> Endpoint:
    return save_endpoint(
        "EPIC", {"direction": "out", "address": "127.0.0.1:9", "facts": ["orders"]}, by=person("ada")
    )


def _outbound(endpoint: Endpoint, number: int, status: str) -> OutboundMessage:
    return OutboundMessage.objects.create(
        endpoint=endpoint, purpose=str(number), type="ORM^O01", key=f"A{number}", control_id=f"X{number}",
        raw=b"MSH|^~\\&|L|H|E|H|20261119||ORM^O01|X1|P|2.3.1\rPID|||77^^^H\r", status=status,
        accession_number=f"A{number}",
    )  # fmt: skip


def _refused() -> InboundMessage:
    save_endpoint("any EMR", {"direction": "in"}, by=person("ada"))
    list(receiver.receive(mllp.Frame(BAD), "127.0.0.1"))
    message = InboundMessage.objects.get()
    assert message.status == "rejected", message.error_text
    return message


def test_a_refused_message_says_why_in_words_and_by_field(ada: Client) -> None:
    message = _refused()
    listed = ada.get("/interfaces/in?status=rejected")
    assert listed.status_code == 200
    assert b"PID-7" in listed.content
    page = ada.get(f"/interfaces/in/{message.pk}?tab=tree")
    assert page.status_code == 200
    text = page.content.decode()
    assert "This department cannot read the birth date" in text
    assert "Patient name" in text
    assert "PID-7" in text
    assert "<script>alert" not in text
    assert AuditEvent.objects.filter(action="message.view", subject=f"in:{message.pk}").count() == 1


def test_a_message_is_found_by_control_id(ada: Client) -> None:
    _refused()
    assert b"ADT^A04" in ada.post("/interfaces/in", {"text": "C1"}).content
    assert b"No message fits" in ada.post("/interfaces/in", {"text": "C2"}).content


def test_lines_tell_queue_and_state_without_a_query_for_each(ada: Client, epic: Endpoint) -> None:
    for number in range(5):
        _outbound(epic, number, "queued")
    _outbound(epic, 9, "rejected")
    Endpoint.objects.filter(pk=epic.pk).update(down_since=timezone.now(), last_error="refused")
    page = ada.get("/interfaces").content.decode()
    assert "Stopped" in page
    with assertNumQueries(11):
        ada.get("/interfaces")
    for number in range(3):
        save_endpoint(f"PACS{number}", {"direction": "out", "address": "127.0.0.1:9"}, by=person("ada"))
    with assertNumQueries(11):
        ada.get("/interfaces")


def test_a_list_of_messages_costs_the_same_for_one_and_for_many(ada: Client, epic: Endpoint) -> None:
    _outbound(epic, 1, "queued")
    ada.get("/interfaces/out")
    with assertNumQueries(8):
        ada.get("/interfaces/out")
    for number in range(2, 30):
        _outbound(epic, number, "queued")
    with assertNumQueries(8):
        ada.get("/interfaces/out")


def test_a_refused_message_is_sent_again_and_a_queued_one_held_and_discarded(
    ada: Client, epic: Endpoint
) -> None:
    message = _outbound(epic, 1, "rejected")
    assert ada.post(f"/interfaces/out/{message.pk}/resend").status_code == 303
    message.refresh_from_db()
    assert message.status == "queued"
    assert ada.post(f"/interfaces/out/{message.pk}/hold", {"reason": ""}).status_code == 422
    assert ada.post(f"/interfaces/out/{message.pk}/hold", {"reason": "EMR upgrade"}).status_code == 303
    message.refresh_from_db()
    assert (message.status, message.note) == ("held", "EMR upgrade")
    assert ada.post(f"/interfaces/out/{message.pk}/release").status_code == 303
    assert ada.post(f"/interfaces/out/{message.pk}/discard", {"reason": "Sent by phone"}).status_code == 303
    message.refresh_from_db()
    assert message.status == "discarded"
    assert ada.post(f"/interfaces/out/{message.pk}/resend").status_code == 409


def test_pausing_a_line_keeps_its_messages(ada: Client, epic: Endpoint) -> None:
    _outbound(epic, 1, "queued")
    assert ada.post(f"/interfaces/lines/{epic.pk}/pause").status_code == 303
    epic.refresh_from_db()
    assert epic.paused
    assert engine.endpoints_with_due_messages(at=timezone.now()) == []
    assert "Paused" in ada.get("/interfaces").content.decode()
    ada.post(f"/interfaces/lines/{epic.pk}/resume")
    assert engine.endpoints_with_due_messages(at=timezone.now()) == [epic.pk]


def test_a_live_list_that_has_not_changed_answers_nothing(ada: Client) -> None:
    _refused()
    page = ada.get("/interfaces/in")
    version = page.context["version"]
    assert ada.get(f"/interfaces/in?since={version}", headers={"X-Live": "1"}).status_code == 204
    assert ada.get("/interfaces/in?since=old", headers={"X-Live": "1"}).status_code == 200


@pytest.mark.peer("chromium")
@pytest.mark.django_db(transaction=True)
def test_the_monitor_is_accessible_and_worked_by_keys(open_as: OpenAs) -> None:
    message = _refused()
    _outbound(
        save_endpoint(
            "EPIC", {"direction": "out", "address": "127.0.0.1:9", "facts": ["orders"]}, by=person("ada")
        ),
        1,
        "queued",
    )
    for theme in ("light", "reading"):
        for path in ("/interfaces", "/interfaces/in", "/interfaces/out", f"/interfaces/in/{message.pk}"):
            page = open_as(person("ada"), path, theme=theme)
            photograph(page, f"monitor{path.replace('/', '-')}-{theme}")
            assert accessibility_faults(page) == [], f"{path} in {theme}"
            page.close()
    page = open_as(person("ada"), "/interfaces/out")
    page.keyboard.press("j")
    page.wait_for_timeout(200)
    page.keyboard.press("Enter")
    page.wait_for_url("**/interfaces/out/*")
    page.keyboard.press("h")
    page.get_by_label("Reason").fill("EMR upgrade")
    page.keyboard.press("Enter")
    expect(page.locator("h1 + .st")).to_have_text("Held")
