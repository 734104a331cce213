"""Sockets: split and merged frames, half ones, huge ones, silent and slow peers, and what a crash leaves."""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from django.utils import timezone

from interfaces import engine
from interfaces.hl7 import receiver
from interfaces.models import Endpoint, InboundMessage
from ris.events.models import Event
from ris.orders.models import Order
from ris.patients.models import Patient
from tests.interfaces.hl7.samples import adt, orm, pid
from tests.peers.emr import END, START, Line

Server = tuple[str, int]
Store = Callable[[str], InboundMessage]


def works(server: Server) -> bool:
    with Line(server) as line:
        return line.send(adt(person=pid("9999"), pv1="PV1||O")).code == "AA"


def test_a_frame_may_come_byte_by_byte(line: Line) -> None:
    """MLLP-01."""
    for byte in START + adt().encode() + END:
        line.socket.sendall(bytes([byte]))
    assert line.ack().code == "AA"


def test_several_frames_in_one_write_are_answered_in_order(line: Line) -> None:
    """MLLP-01."""
    messages = [adt(control_id=f"M{n}", person=pid(f"{n}"), pv1="PV1||O") for n in range(5)]
    line.socket.sendall(b"".join(START + one.encode() + END for one in messages))
    assert [line.ack().answers for _ in messages] == [f"M{n}" for n in range(5)]


def test_half_a_frame_costs_only_its_own_connection(anybody: Endpoint, listen: Callable[..., Server]) -> None:
    server = listen(frame_seconds=0.5)
    with Line(server) as half:
        half.socket.sendall(START + b"MSH|^~\\&|half")
        assert works(server)
        assert half.hung_up(3)
    assert InboundMessage.objects.count() == 1


def test_a_message_without_its_end_is_not_taken(anybody: Endpoint, listen: Callable[..., Server]) -> None:
    server = listen(frame_seconds=0.5)
    with Line(server) as line:
        line.socket.sendall(START + adt().encode())
        assert line.hung_up(3)
    assert not InboundMessage.objects.exists()
    assert works(server)


def test_one_byte_a_moment_does_not_stretch_the_frame(
    anybody: Endpoint, listen: Callable[..., Server]
) -> None:
    server = listen(frame_seconds=0.6)
    with Line(server) as slow:
        began = time.monotonic()
        slow.socket.sendall(START + b"MSH|")
        with pytest.raises(OSError):  # noqa: PT012 - any of the writes may be the one that fails
            while time.monotonic() - began < 5:
                slow.socket.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() - began < 2


def test_26_mb_are_refused_and_the_next_message_is_taken(server: Server, line: Line) -> None:
    """SCN-22."""
    huge = adt(control_id="HUGE") + "OBX|1|ED|x||^AP^PDF^Base64^" + "A" * (26 * 1024 * 1024)
    refusal = line.send(huge)
    assert (refusal.code, refusal.answers) == ("AR", "HUGE")
    assert "25 MB" in refusal.text
    assert line.send(adt()).code == "AA"
    stored = InboundMessage.objects.get(control_id="HUGE")
    assert stored.status == "rejected"
    assert len(stored.raw) < 100_000


def test_100_kb_of_carets_are_refused_quickly(line: Line) -> None:
    began = time.monotonic()
    assert line.send("^" * 100_000).code == "AR"
    wide = line.send(adt(person=pid(name="^" * 100_000)))
    assert (wide.code, wide.location) == ("AE", "PID-5")
    assert time.monotonic() - began < 3
    assert line.send(adt()).code == "AA"


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x00" * 50, b"MSH|", b"MSH|^~\\&|" + b"\xff" * 20, "MSH|^~\\&|A".encode("utf-16"),
     b"<ADT_A01 xmlns='urn:hl7-org:v2xml'/>", b"FHS|^~\\&|A\rBHS|^~\\&|A\rMSH|^~\\&|A||||||ADT^A04|1|P|2.5"],
)  # fmt: skip
def test_what_is_no_message_gets_an_answer_all_the_same(line: Line, raw: bytes) -> None:
    """MLLP-05."""
    assert line.send(raw).code == "AR"
    assert bytes(InboundMessage.objects.get().raw) == raw
    assert line.send(adt()).code == "AA"


def test_latin_1_declared_as_utf_8_is_refused_naming_the_field(line: Line) -> None:
    """MLLP-14, ERR-03."""
    message = adt(person=pid(name="NÚÑEZ^JOSÉ"), charset="UNICODE UTF-8")
    refusal = line.send(message.encode("iso-8859-1"))
    assert (refusal.code, refusal.error, refusal.location) == ("AE", "102", "PID-5")
    assert not Patient.objects.exists()
    assert line.send(message).code == "AA" or Patient.objects.exists()


def test_silent_peers_do_not_keep_others_out(anybody: Endpoint, listen: Callable[..., Server]) -> None:
    server = listen(connections=20)
    silent = [socket.create_connection(server) for _ in range(60)]
    try:
        for one in silent[::2]:
            one.sendall(START + b"MSH|half")
        began = time.monotonic()
        assert works(server)
        assert time.monotonic() - began < 2
    finally:
        for one in silent:
            one.close()


def test_who_has_sent_messages_is_not_the_first_to_go(
    anybody: Endpoint, listen: Callable[..., Server]
) -> None:
    server = listen(connections=5)
    with Line(server) as known:
        assert known.send(adt()).code == "AA"
        crowd = [socket.create_connection(server) for _ in range(20)]
        assert works(server)
        assert known.send(adt("A08")).code == "AA"
        for one in crowd:
            one.close()


def test_a_partner_with_more_than_its_share_makes_room_for_others(
    anybody: Endpoint, listen: Callable[..., Server]
) -> None:
    server = listen(connections=5, per_partner=2)
    with Line(server) as other:
        assert other.send(adt(app="OTHER")).code == "AA"
        greedy = [Line(server) for _ in range(4)]
        assert {one.send(adt(app="GREEDY")).code for one in greedy} == {"AA"}
        assert works(server)
        assert [one.hung_up(0.3) for one in greedy] == [True, False, False, False]
        assert other.send(adt("A08", app="OTHER")).code == "AA"
        for one in greedy:
            one.socket.close()


def test_half_frames_do_not_fill_the_memory(anybody: Endpoint, listen: Callable[..., Server]) -> None:
    server = listen(buffered=4 * 1024 * 1024)
    greedy = [Line(server) for _ in range(6)]
    for one in greedy:
        with suppress(OSError):
            one.socket.sendall(START + b"MSH|^~\\&|" + b"x" * 2_000_000)
    assert works(server)
    assert sum(one.hung_up(0.3) for one in greedy) >= 3
    for one in greedy:
        one.socket.close()


def test_a_peer_that_says_nothing_is_let_go(anybody: Endpoint, listen: Callable[..., Server]) -> None:
    server = listen(first_byte_seconds=0.3)
    with Line(server) as mute, Line(server) as talker:
        assert talker.send(adt()).code == "AA"
        assert mute.hung_up(2)
        time.sleep(0.4)
        assert talker.send(adt("A08")).code == "AA"


# Once, and only once


def test_the_same_message_again_gets_the_same_answer_and_changes_nothing(server: Server, line: Line) -> None:
    """MLLP-09."""
    message = orm()
    first = line.send(message)
    again = line.send(message)
    with Line(server) as other:
        elsewhere = other.send(message)
    assert first.raw == again.raw == elsewhere.raw
    assert Order.objects.count() == 1
    assert Event.objects.filter(kind="order.placed").count() == 1
    assert InboundMessage.objects.get().repeats == 2


def test_a_control_id_used_again_for_other_bytes_is_a_new_message(line: Line) -> None:
    assert line.send(orm(control_id="1")).code == "AA"
    assert line.send(orm(number="A2^EMR", control_id="1")).code == "AA"
    assert Order.objects.count() == 2
    assert list(InboundMessage.objects.order_by("pk").values_list("control_id_reused", flat=True)) == [
        False,
        True,
    ]


def test_the_same_control_id_of_another_sender_is_another_message(line: Line) -> None:
    assert line.send(orm(control_id="1")).code == "AA"
    assert line.send(orm(number="A2^EMR", control_id="1", app="OTHER")).code == "AA"
    assert not InboundMessage.objects.filter(control_id_reused=True).exists()


def test_a_refused_message_is_tried_again_when_it_comes_again(line: Line) -> None:
    cancel = orm("CA", control_id="C1")
    assert line.send(cancel).error == "204"
    line.send(orm())
    assert line.send(cancel).code == "AA"
    assert Order.objects.get().status == "cancelled"


def test_one_message_on_many_connections_at_once_is_applied_once(server: Server) -> None:
    message = orm()

    def send(_: int) -> bytes:
        with Line(server) as line:
            return line.send(message).raw

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(send, range(8)))
    assert len(answers) == 1
    assert Order.objects.count() == 1


def test_a_new_patient_named_on_many_connections_at_once_is_registered_once(server: Server) -> None:
    def send(number: int) -> str:
        with Line(server) as line:
            return line.send(orm(number=f"B{number}^EMR")).code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(send, range(8))) == {"AA"}
    assert Patient.objects.count() == 1
    assert Order.objects.count() == 8


def test_what_was_stored_before_a_crash_is_applied_after_it(anybody: Endpoint, stored: Store) -> None:
    """MLLP-03."""
    kept = stored(orm())
    assert receiver.recover() == 1
    assert receiver.recover() == 0
    kept.refresh_from_db()
    assert (kept.status, kept.ack_code) == ("processed", "AA")
    assert Order.objects.count() == 1


def test_a_resend_after_the_crash_gets_the_answer_it_missed(line: Line, stored: Store) -> None:
    """MLLP-03."""
    message = orm()
    stored(message)
    assert line.send(message).code == "AA"
    assert receiver.recover() == 0
    assert Order.objects.count() == 1


def test_the_sweep_leaves_alone_what_a_listener_is_working_on(anybody: Endpoint, stored: Store) -> None:
    kept = stored(orm())
    assert engine.unapplied("mllp", timezone.now() - kept.received_at + timezone.timedelta(seconds=5)) == []


# Enhanced mode


def test_enhanced_mode_commits_first_and_accepts_then(line: Line) -> None:
    """MLLP-08."""
    line.put(orm(accept="AL", application="AL"))
    commit, application = line.ack(), line.ack()
    assert (commit.code, application.code) == ("CA", "AA")
    assert commit.answers == application.answers
    assert commit.field("MSH", 10) != application.field("MSH", 10)


def test_enhanced_mode_says_only_what_was_asked_for(line: Line) -> None:
    line.put(orm(accept="AL", application="ER"))
    assert line.ack().code == "CA"
    line.put(orm("CA", "A9^EMR", accept="NE", application="ER"))
    assert line.ack().code == "AE"


def test_a_sender_that_wants_no_answer_at_all_gets_the_plain_one(line: Line) -> None:
    assert line.send(orm(accept="NE", application="NE")).code == "AA"


def test_enhanced_mode_refuses_the_commit_of_what_it_does_not_take(line: Line) -> None:
    line.put(adt("A99", accept="AL", application="AL"))
    refusal = line.ack()
    assert (refusal.code, refusal.error) == ("CR", "201")
    line.put(orm("CA", "A9^EMR", accept="ER", application="AL"))
    assert line.ack().code == "AE"


def test_only_known_senders_are_taken_when_no_partner_takes_anybody(
    transactional_db: None, anybody: Endpoint, listen: Callable[..., Server]
) -> None:
    anybody.match_application, anybody.match_facility = "EMR", "HOSP"
    anybody.save()
    with Line(listen()) as line:
        assert line.send(adt()).code == "AA"
        refusal = line.send(adt(app="STRANGER"))
        assert (refusal.code, refusal.location) == ("AR", "MSH-3")
    assert InboundMessage.objects.filter(endpoint=None, status="rejected").count() == 1
