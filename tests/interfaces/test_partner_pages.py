"""Setting up a partner: a change is tried on its stored messages first; its contract; the test bench."""

import json

import pytest
from django.test import Client
from playwright.sync_api import expect

from interfaces.actions import save_endpoint
from interfaces.hl7 import mllp, receiver
from interfaces.models import CodeMap, Endpoint, InboundMessage
from ris.audit.models import AuditEvent
from ris.orders.models import Order
from tests.browser import OpenAs, accessibility_faults, photograph
from tests.cast import person
from tests.interfaces.hl7.samples import orm
from tests.makers import make_facility, make_procedure_type

pytestmark = pytest.mark.django_db


@pytest.fixture
def his() -> Endpoint:
    make_facility()
    make_procedure_type()
    make_procedure_type("CTNECK", name="CT neck")
    return save_endpoint("HIS", {"direction": "in", "profile": {"facility": "HARBOUR"}}, by=person("ada"))


@pytest.fixture
def ada(client: Client) -> Client:
    client.force_login(person("ada"), backend="django.contrib.auth.backends.ModelBackend")
    return client


def came(message: str) -> InboundMessage:
    list(receiver.receive(mllp.Frame(message.encode()), "127.0.0.1"))
    return InboundMessage.objects.latest("pk")


def form_of(partner: Endpoint, **changed: object) -> dict[str, object]:
    return {
        "protocol": "mllp", "direction": partner.direction, "hl7_version": "2.3.1", "encoding": "UNICODE UTF-8",
        "answer_timeout": "30", "on_ambiguous": "resend", "sending_application": "LIGHTBOX",
        "profile_facility": "HARBOUR", "map_table": ["modality", "exam"], "map_theirs": ["NMR", ""],
        "map_ours": ["MR", ""], **changed,
    }  # fmt: skip


def test_a_change_without_consequence_is_saved_at_once_and_says_so(ada: Client, his: Endpoint) -> None:
    came(orm("NW"))
    answer = ada.post(f"/admin/partners/{his.pk}", form_of(his))
    assert answer.status_code == 303
    said = ada.get(answer["Location"]).content
    assert b"HIS is saved; its last 1 messages come out as before" in said
    assert list(CodeMap.objects.values_list("table", "theirs", "ours")) == [("modality", "NMR", "MR")]


def test_a_change_with_consequences_is_shown_before_it_is_saved(ada: Client, his: Endpoint) -> None:
    came(orm("NW"))
    wrong = form_of(his, map_table=["exam"], map_theirs=["CTHEAD"], map_ours=["CTNECK"])
    shown = ada.post(f"/admin/partners/{his.pk}", wrong)
    assert b"1 of the last 1 messages" in shown.content
    assert b"CT neck" in shown.content
    assert not CodeMap.objects.exists()
    ada.post(f"/admin/partners/{his.pk}", {**wrong, "confirm": "yes"})
    assert CodeMap.objects.get().ours == "CTNECK"


def test_the_contract_can_be_read_and_kept(ada: Client) -> None:
    make_facility()
    emr = save_endpoint("EMR", {"address": "127.0.0.1:1", "facts": ["orders"]}, by=person("ada"))
    page = ada.get(f"/admin/partners/{emr.pk}/contract")
    assert b"ORM^O01 NW" in page.content
    assert b"Nothing has been sent to EMR yet" in page.content
    kept = json.loads(ada.get(f"/admin/partners/{emr.pk}/contract?format=json").content)
    assert kept["partner"] == "EMR"
    assert any(one["name"].endswith(" NW") for one in kept["conversations"])


def test_a_stored_message_is_taken_to_the_bench_and_the_look_is_noted(ada: Client, his: Endpoint) -> None:
    message = came(orm("NW"))
    page = ada.get(f"/interfaces/bench?message={message.pk}")
    assert b"OKAFOR" in page.content
    assert AuditEvent.objects.filter(action="message.revealed", username="ada").exists()


@pytest.mark.peer("chromium")
@pytest.mark.django_db(transaction=True)
def test_a_message_is_tried_on_the_bench(open_as: OpenAs, his: Endpoint) -> None:
    save_endpoint("PACS", {"address": "127.0.0.1:1", "facts": ["orders"]}, by=person("ada"))
    page = open_as(person("ada"), "/interfaces/bench")
    page.get_by_label("HL7 message").fill(orm("NW").replace("\r", "\n"))
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("It would be accepted (AA).")).to_be_visible()
    expect(page.get_by_text("An order is placed")).to_be_visible()
    assert not Order.objects.exists()
    photograph(page, "bench")
    assert accessibility_faults(page) == []
    pacs = Endpoint.objects.get(name="PACS")
    page.goto(f"/admin/partners/{pacs.pk}/contract", timeout=60_000)
    photograph(page, "contract")
    assert accessibility_faults(page) == []
    page.goto(f"/admin/partners/{his.pk}")
    photograph(page, "partner")
    assert accessibility_faults(page) == []
    came(orm("NW"))
    page.get_by_label("Theirs, row 1").fill("CTHEAD")
    page.get_by_label("Ours, row 1").fill("CTNECK")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Nothing is saved yet")).to_be_visible()
    photograph(page, "replay")
    assert accessibility_faults(page) == []
