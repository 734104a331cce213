"""What an administrator sees of the messages, and does to them."""

import socket

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.asserts import assertNumQueries

from interfaces import engine
from interfaces.actions import resend_some, save_endpoint
from interfaces.hl7 import mllp, receiver
from interfaces.models import Case, Endpoint, InboundMessage, OutboundMessage
from ris.audit.models import AuditEvent
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


def _good(number: int = 1) -> InboundMessage:
    good = BAD.replace(b"19680431", b"19680430")
    list(receiver.receive(mllp.Frame(good.replace(b"|C1|", f"|G{number}|".encode())), "127.0.0.1"))
    message = InboundMessage.objects.latest("pk")
    assert message.status == "processed", message.error_text
    return message


def test_a_patient_is_masked_until_shown_and_each_look_is_noted(ada: Client) -> None:
    refused = _refused()
    path = f"/interfaces/in/{refused.pk}"
    for tab in ("raw", "tree", "did", "diff"):
        page = ada.get(f"{path}?tab={tab}").content.decode()
        assert "script&gt;alert" not in page, tab
        assert "19680431" not in page, tab
    assert not AuditEvent.objects.filter(action="message.revealed").exists()
    shown = ada.post(f"{path}/show", {"tab": "raw"}).content.decode()
    assert "&lt;script&gt;alert(1)" in shown
    assert AuditEvent.objects.filter(action="message.revealed", subject=f"in:{refused.pk}").count() == 1
    assert "19680431" not in ada.get(path).content.decode()
    assert ada.get(f"{path}/show").status_code == 405


def test_a_message_tells_what_it_did_and_in_what_it_differs_from_the_last_good_one(ada: Client) -> None:
    refused = _refused()
    good = _good()
    did = ada.get(f"/interfaces/in/{good.pk}?tab=did").content.decode()
    assert "Patient registered" in did
    assert "Patient registered" not in ada.get(f"/interfaces/in/{refused.pk}?tab=did").content.decode()
    differs = ada.get(f"/interfaces/in/{refused.pk}?tab=diff").content.decode()
    assert "G1" in differs
    assert "PID-7" in differs
    assert "Date time of birth" in differs


def test_a_refused_message_is_put_right_in_a_copy_and_read(ada: Client) -> None:
    refused = _refused()
    path = f"/interfaces/in/{refused.pk}/edit"
    text = ada.get(path).context["form"].initial["text"]
    assert ada.post(path, {"text": text}).status_code == 422
    fixed = text.replace("19680431", "19680430")
    looked = ada.post(path, {"text": fixed}).content.decode()
    assert "<ins>PID" in looked
    assert InboundMessage.objects.count() == 1
    answer = ada.post(path, {"text": fixed, "confirmed": "1"})
    copy = InboundMessage.objects.latest("pk")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/interfaces/in/{copy.pk}")
    assert (copy.status, copy.peer) == ("processed", f"copy of {refused.pk} by ada")
    assert "Applied: Patient registered" in ada.get(f"/interfaces/in/{copy.pk}").content.decode()
    assert [one.status for one in Case.objects.all()] == ["solved"]
    actions = AuditEvent.objects.filter(username="ada").values_list("action", flat=True)
    assert {"message.revealed", "message.edited"} <= set(actions)


def test_a_changed_copy_replaces_what_a_partner_refused(ada: Client, epic: Endpoint) -> None:
    message = _outbound(epic, 1, "rejected")
    path = f"/interfaces/out/{message.pk}/edit"
    text = ada.get(path).context["form"].initial["text"]
    assert ada.post(path, {"text": f"{text}\nNTE|1||more", "confirmed": "1"}).status_code == 303
    message.refresh_from_db()
    copy = OutboundMessage.objects.latest("pk")
    assert (message.status, message.note) == ("discarded", f"Replaced by {copy.control_id}")
    assert (copy.status, copy.key, copy.note) == ("queued", message.key, "Edited copy of X1, by ada")
    assert f"|ORM^O01|{copy.control_id}|P|".encode() in bytes(copy.raw)
    assert b"NTE|1||more\r" in bytes(copy.raw)
    assert copy.control_id in ada.get(f"/interfaces/out/{message.pk}").content.decode()


def test_what_a_partner_refuses_is_said_in_words(ada: Client, epic: Endpoint) -> None:
    message = _outbound(epic, 1, "rejected")
    message.raw = b"MSH|^~\\&|L|H|E|H|20261119||ORM^O01|X1|P|2.3.1\rPID|||77^^^H\rPV1||I|4EAST^2\r"
    message.answer = (
        b"MSH|^~\\&|E|H|L|H|20261119||ACK|9|P|2.5.1\rMSA|AE|X1\r"
        b"ERR||PV1^1^3^1^1|103^Table value not found^HL70357|E||||Ward?\r"
    )
    message.save()
    page = ada.get(f"/interfaces/out/{message.pk}").content.decode()
    assert "EPIC does not know the ward 4EAST." in page
    assert "Ward?" in page
    assert "EPIC does not know the ward 4EAST" in ada.get("/interfaces").content.decode()


def test_one_refused_message_holds_back_its_order_and_no_other(ada: Client, epic: Endpoint) -> None:
    _outbound(epic, 1, "rejected")
    for number in (2, 3):
        _outbound(epic, number, "queued")
    behind = _outbound(epic, 4, "queued")
    OutboundMessage.objects.filter(pk=behind.pk).update(key="A1")
    page = ada.get("/interfaces").content.decode()
    assert "1 of the same order waits" in page
    assert "2 later messages for other orders continue" in page
    assert "1 later message of this order waits" in ada.get(f"/interfaces/out/{_first().pk}").content.decode()


def _first() -> OutboundMessage:
    return OutboundMessage.objects.order_by("pk")[0]


def test_messages_of_a_search_are_counted_before_they_are_sent_again(ada: Client, epic: Endpoint) -> None:
    for number in range(3):
        _outbound(epic, number, "rejected")
    _outbound(epic, 3, "accepted")
    _outbound(epic, 4, "queued")
    dry = ada.post("/interfaces/out/resend", {"type": "ORM"})
    plan = dry.context["plan"]
    assert (plan.count, plan.accepted, plan.partners) == (4, 1, [("EPIC", 4, 1)])
    assert "accepted already" in dry.content.decode()
    assert OutboundMessage.objects.filter(status="rejected").count() == 3
    late = _outbound(epic, 5, "rejected")
    answer = ada.post(
        "/interfaces/out/resend",
        {"status": "rejected", "go": "1", "upto": plan.upto, "count": 3},
    )
    assert answer.status_code == 303
    assert OutboundMessage.objects.filter(status="queued").count() == 4
    late.refresh_from_db()
    assert late.status == "rejected", "it came after the count"
    assert AuditEvent.objects.filter(action="message.resent").count() == 3


def test_many_messages_are_sent_again_in_steps(epic: Endpoint) -> None:
    for number in range(3):
        _outbound(epic, number, "rejected")
    first, second, third = OutboundMessage.objects.order_by("pk")
    rows = OutboundMessage.objects.filter(status="rejected")
    assert resend_some(rows, after=0, upto=third.pk, by=person("ada"), most=2) == (2, second.pk)
    assert resend_some(rows, after=second.pk, upto=third.pk, by=person("ada"), most=2) == (1, third.pk)
    first.refresh_from_db()
    assert first.status == "queued"


def test_messages_are_found_by_patient_type_time_and_words_of_the_error(ada: Client) -> None:
    _refused()
    good = _good()

    def found(**wanted: str) -> int:
        return int(ada.post("/interfaces/in", wanted).context["page"].paginator.count)

    assert found(text="77") == 1
    assert found(text=str(good.patient.family)[:12]) == 1 if good.patient else False
    assert (found(type="adt"), found(type="ADT^A04"), found(type="ORM")) == (2, 2, 0)
    assert (found(hours="1"), found(since="t", until="t"), found(until="-1d")) == (2, 2, 0)
    assert found(text="date") == 1
    assert (found(status="rejected"), found(endpoint="0")) == (1, 0)


def test_a_line_is_tested_by_a_connection_and_the_answer_is_honest(ada: Client, epic: Endpoint) -> None:
    ada.post(f"/interfaces/lines/{epic.pk}/test")
    assert "EPIC cannot be reached at 127.0.0.1:9" in ada.get("/interfaces").content.decode()
    with socket.create_server(("127.0.0.1", 0)) as server:
        save_endpoint("EPIC", {"address": f"127.0.0.1:{server.getsockname()[1]}"}, by=person("ada"))
        ada.post(f"/interfaces/lines/{epic.pk}/test")
    assert "EPIC takes a connection" in ada.get("/interfaces").content.decode()
