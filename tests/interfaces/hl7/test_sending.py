"""One partner's queue: in order, the same bytes again, one at a time, and what a bad answer stops."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.utils import timezone

from interfaces import actions, engine
from interfaces.actions import configure_endpoint
from interfaces.engine import NewMessage
from interfaces.hl7 import er7, sender
from interfaces.models import Endpoint, OutboundMessage
from ris.accounts.models import system_user
from ris.core.errors import IllegalTransition, MissingData
from tests.cast import person
from tests.peers.emr import Emr, Entry

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def partner(emr: Emr) -> Endpoint:
    return make_partner(emr)


def make_partner(emr: Emr, **values: object) -> Endpoint:
    given = {"protocol": "mllp", "direction": "out", "address": emr.address, "answer_timeout": 1, **values}
    return configure_endpoint("emr", given, by=system_user("shell"))


def queue(partner: Endpoint, key: str = "A1", text: str = "x") -> OutboundMessage:
    def render(control_id: str) -> bytes:
        header = er7.header({3: "LIGHTBOX", 9: ["ORM", "O01"], 10: control_id, 11: "P", 12: "2.3.1"})
        return er7.write([header, er7.segment("NTE", {1: "1", 3: f"{key} {text}"})])

    with transaction.atomic():
        message = engine.enqueue(
            NewMessage(endpoint=partner, event=None, purpose="test", type="ORM^O01", key=key, render=render)
        )
    assert message is not None
    return message


def drain(partner: Endpoint) -> int:
    return sender.drain(partner.pk, linger=0)


def due_now() -> None:
    """As if every wait were over."""
    OutboundMessage.objects.update(next_attempt_at=timezone.now())
    Endpoint.objects.update(next_attempt_at=timezone.now())


def statuses() -> list[str]:
    return list(OutboundMessage.objects.order_by("pk").values_list("status", flat=True))


def test_what_is_queued_is_sent_in_order_on_one_connection(emr: Emr) -> None:
    """MLLP-02, MLLP-16."""
    partner = make_partner(emr, answer_timeout=30)
    messages = [queue(partner, f"A{n % 3}", str(n)) for n in range(9)]
    assert drain(partner) == 9
    assert [entry.raw for entry in emr.entries()] == [bytes(one.raw) for one in messages]
    assert emr.connections == 1
    assert statuses() == ["accepted"] * 9
    first = OutboundMessage.objects.order_by("pk").first()
    assert first is not None
    assert (first.ack_code, first.attempts) == ("AA", 1)
    assert b"MSA|AA" in bytes(first.answer or b"")


def test_what_is_claimed_ahead_and_not_sent_is_as_it_was(partner: Endpoint) -> None:
    first, *_, held = [queue(partner, key) for key in ("A1", "A1", "A2", "A3")]
    OutboundMessage.objects.filter(pk=held.pk).update(status="held")
    queue(partner, "A3")
    ahead = engine.mark_sent_ahead(first, at=timezone.now(), most=31)
    assert [one.key for one in ahead] == ["A1", "A2"]  # the second of A3 waits for a person
    assert [one.raw for one in ahead] == [OutboundMessage.objects.get(pk=one.pk).raw for one in ahead]
    assert statuses() == ["queued", "sent", "sent", "held", "queued"]
    engine.put_back(ahead)
    assert statuses() == ["queued", "queued", "queued", "held", "queued"]
    assert set(OutboundMessage.objects.values_list("attempts", flat=True)) == {0}


def test_a_lost_answer_repeats_the_same_bytes_under_the_same_id(partner: Endpoint, emr: Emr) -> None:
    """MLLP-16."""
    said = iter(["drop", "silent", "wrong", "garbage", "AA"])
    emr.answer = lambda entry: next(said)
    message = queue(partner)
    for _ in range(5):
        drain(partner)
        due_now()
    entries = emr.entries()
    assert [entry.raw for entry in entries] == [bytes(message.raw)] * 5
    # After anything but an answer the line is closed: what comes late must not answer the next message.
    assert [entry.connection for entry in entries] == [1, 2, 3, 4, 5]
    message.refresh_from_db()
    assert (message.status, message.attempts) == ("accepted", 5)


def test_a_late_answer_is_not_taken_for_the_next_message(partner: Endpoint, emr: Emr) -> None:
    emr.late_seconds = 1.3
    said = iter(["late"])
    emr.answer = lambda entry: next(said, "AA")
    first, second = queue(partner, "A1"), queue(partner, "A2")
    drain(partner)
    time.sleep(0.6)
    due_now()
    drain(partner)
    assert statuses() == ["accepted", "accepted"]
    assert [entry.control_id for entry in emr.taken()] == [first.control_id, second.control_id]


def test_a_partner_that_is_down_holds_the_line_and_nothing_is_lost(partner: Endpoint, emr: Emr) -> None:
    """MLLP-16, SCN-20."""
    emr.stop()
    for n in range(3):
        queue(partner, f"A{n}")
    assert drain(partner) == 0
    assert statuses() == ["queued"] * 3
    partner.refresh_from_db()
    assert partner.failures == 1
    assert partner.down_since is not None
    assert "Cannot connect" in partner.last_error
    assert partner.next_attempt_at > timezone.now()
    assert drain(partner) == 0
    partner.refresh_from_db()
    assert partner.failures == 1  # not tried before its time
    emr.start()
    due_now()
    assert drain(partner) == 3
    partner.refresh_from_db()
    assert (partner.failures, partner.down_since, partner.last_error) == (0, None, "")


def test_the_wait_grows_to_a_minute_and_stays_there() -> None:
    waits = [engine.back_off(n, 0).total_seconds() for n in range(1, 10)]
    assert waits == [1, 2, 5, 10, 30, 60, 60, 60, 60]
    assert engine.back_off(6, 0.999) < timedelta(seconds=75)


@pytest.mark.parametrize("code", ["AE", "AR", "CE", "CR"])
def test_a_refused_message_waits_for_a_person_and_holds_back_its_order_only(
    partner: Endpoint, emr: Emr, code: str
) -> None:
    """MLLP-16."""
    emr.answer = lambda entry: code if "A1 first" in entry.text else "AA"
    refused, waiting = queue(partner, "A1", "first"), queue(partner, "A1", "second")
    queue(partner, "A2"), queue(partner, "A3")
    drain(partner)
    assert statuses() == ["rejected", "queued", "accepted", "accepted"]
    drain(partner)
    assert len(emr.entries()) == 3
    refused.refresh_from_db()
    assert (refused.ack_code, refused.error_class) == (code, "refused")

    ada = person("ada")
    emr.answer = lambda entry: "AA"
    actions.resend(refused, by=ada)
    drain(partner)
    assert statuses() == ["accepted"] * 4
    assert [entry.control_id for entry in emr.entries()[3:]] == [refused.control_id, waiting.control_id]


def test_an_order_goes_on_when_its_refused_message_is_discarded(partner: Endpoint, emr: Emr) -> None:
    emr.answer = lambda entry: "AE" if "first" in entry.text else "AA"
    refused = queue(partner, "A1", "first")
    queue(partner, "A1", "second")
    drain(partner)
    with pytest.raises(MissingData):
        actions.discard(refused, " ", by=person("ada"))
    actions.discard(refused, "Sent by hand", by=person("ada"))
    drain(partner)
    assert statuses() == ["discarded", "accepted"]


def test_ae_may_mean_busy_where_the_profile_says_so(emr: Emr) -> None:
    partner = make_partner(emr, profile={"ae_retries": "2"})
    said = iter(["AE", "AE", "AE"])
    emr.answer = lambda entry: next(said, "AA")
    queue(partner)
    for expected in ("queued", "queued", "rejected"):
        drain(partner)
        due_now()
        assert statuses() == [expected]


def test_a_held_message_waits_and_so_do_the_later_ones_of_its_order(partner: Endpoint, emr: Emr) -> None:
    held = queue(partner, "A1")
    queue(partner, "A1")
    queue(partner, "A2")
    actions.hold(held, by=person("ada"), reason="patient merged")
    drain(partner)
    assert statuses() == ["held", "queued", "accepted"]
    actions.release(held, by=person("ada"))
    drain(partner)
    assert statuses() == ["accepted"] * 3
    with pytest.raises(IllegalTransition):
        actions.hold(held, by=person("ada"))


def test_an_accepted_message_can_be_sent_again_by_a_person(partner: Endpoint, emr: Emr) -> None:
    message = queue(partner)
    drain(partner)
    actions.resend(message, by=person("ada"))
    with pytest.raises(IllegalTransition):
        actions.resend(message, by=person("ada"))
    drain(partner)
    assert [entry.raw for entry in emr.entries()] == [bytes(message.raw)] * 2


def test_a_paused_partner_gets_nothing(partner: Endpoint, emr: Emr) -> None:
    actions.pause_endpoint(partner, by=person("ada"))
    queue(partner)
    assert drain(partner) == 0
    assert engine.endpoints_with_due_messages(at=timezone.now()) == []
    actions.resume_endpoint(partner, by=person("ada"))
    assert engine.endpoints_with_due_messages(at=timezone.now()) == [partner.pk]
    assert drain(partner) == 1


@pytest.mark.parametrize(("choice", "status"), [("resend", "accepted"), ("hold", "held")])
def test_what_a_killed_sender_left_without_an_answer(emr: Emr, choice: str, status: str) -> None:
    partner = make_partner(emr, on_ambiguous=choice)
    message = queue(partner)
    assert engine.mark_sent(message)
    drain(partner)
    assert statuses() == [status]
    assert len(emr.entries()) == (1 if choice == "resend" else 0)


def test_only_one_sender_serves_a_partner(partner: Endpoint, emr: Emr) -> None:
    emr.late_seconds = 0.5
    emr.answer = lambda entry: "late"
    for n in range(3):
        queue(partner, f"A{n}")
    counts: list[int] = []

    def work() -> None:
        counts.append(sender.drain(partner.pk, linger=0))
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join(20)
    assert sorted(counts) == [0, 0, 3]
    assert len(emr.entries()) == 3
    assert emr.connections == 1


def test_what_is_queued_while_the_sender_lingers_goes_out_on_the_same_connection(
    partner: Endpoint, emr: Emr
) -> None:
    queue(partner, "A1")

    def work() -> None:
        sender.drain(partner.pk, linger=1)
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    emr.wait_for(1)
    queue(partner, "A2")
    emr.wait_for(2)
    thread.join(10)
    assert emr.connections == 1


@pytest.fixture
def shaky(tmp_path: Path) -> Iterator[Emr]:
    count = iter(range(10_000))
    script = {3: "drop", 7: "silent", 11: "AE", 16: "drop", 20: "garbage"}

    def answer(entry: Entry) -> str:
        return script.get(next(count), "AA")

    with Emr(tmp_path / "shaky.jsonl", answer) as emr:
        yield emr


def test_with_a_shaky_partner_each_order_still_arrives_once_and_in_order(shaky: Emr) -> None:
    partner = make_partner(shaky, profile={"ae_retries": "5"})
    sent = [queue(partner, f"A{n % 4}", f"{n:02d}") for n in range(30)]
    for _ in range(20):
        drain(partner)
        due_now()
    assert statuses() == ["accepted"] * 30
    taken = shaky.taken()
    assert len(taken) == 30
    for key in range(4):
        mine = [entry.control_id for entry in taken if f"A{key} " in entry.text]
        assert mine == [one.control_id for one in sent[key::4]]
