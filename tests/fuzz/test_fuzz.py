"""Bad messages: none crashes or hangs the reader, each is refused in words, and the next one works."""

import multiprocessing
import random
import socket
import time

import pytest

from interfaces.hl7 import ack, batches
from interfaces.hl7.mllp import Deframer
from interfaces.models import InboundMessage
from tests.fuzz import __main__ as fuzz
from tests.fuzz import driver, mutator
from tests.interfaces.hl7.samples import adt
from tests.peers.emr import END, START, Ack, Line

Server = tuple[str, int]
MUTANTS = 100_000

pytestmark = pytest.mark.timeout(300)


def test_a_hundred_thousand_mutants_do_no_harm() -> None:
    """MLLP-17"""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(fuzz.run, range(0, MUTANTS, fuzz.CHUNK), chunksize=1)
    assert [one for chunk in found for one in chunk] == []


def test_what_once_did_harm_does_none_now() -> None:
    found = mutator.corpus()
    assert len(found) >= 10
    assert [(name, wrong) for name, raw in found if (wrong := driver.wrong_with(raw))] == []


def test_the_time_to_read_grows_with_the_length_alone() -> None:
    assert [(name, wrong) for name, raw in mutator.giants() if (wrong := driver.wrong_with(raw))] == []


def test_a_message_cut_anywhere_is_read_or_refused() -> None:
    for good in (mutator.ADT, mutator.ORM, mutator.MERGE):
        raw = good.encode()
        assert [place for place in range(len(raw)) if driver.wrong_with(raw[:place])] == []


def test_frames_come_out_whole_however_the_stream_is_cut() -> None:
    """Every split in two, byte by byte, fifty at once, and any pieces."""
    good = mutator.ADT.encode()
    stream = START + good + END
    for place in range(len(stream)):
        deframer = Deframer()
        parts = deframer.feed(stream[:place]) + deframer.feed(stream[place:])
        assert [one.message for one in parts] == [good], place
    deframer = Deframer()
    assert [one.message for byte in stream for one in deframer.feed(bytes([byte]))] == [good]
    assert len(Deframer().feed(stream * 50)) == 50
    dice = random.Random(1)
    for _ in range(200):
        deframer, rest, found = Deframer(), stream * 5, []
        while rest:
            size = dice.randint(1, 600)
            found += deframer.feed(rest[:size])
            rest = rest[size:]
        assert [one.message for one in found] == [good] * 5


def _wire(raw: bytes) -> bytes:
    """A mutant without the block characters, so that it is one frame."""
    return raw.translate(None, b"\x0b\x1c") or b"?"


def _answered_once(raw: bytes) -> bool:
    """An original-mode message, not an answer, not a batch: it gets exactly one answer."""
    header = ack.header_of(raw, None)
    return not (header.accept_ack or header.application_ack or header.type == "ACK" or batches.is_batch(raw))


@pytest.mark.django_db(transaction=True)
def test_mutants_on_the_wire_are_kept_and_answered_and_the_next_message_works(server: Server) -> None:
    good = [message.encode() for message in (mutator.ADT, mutator.ORM, mutator.MERGE)]
    mutants = [_wire(mutator.mutant(seed, good)) for seed in range(300)]
    mutants += [_wire(raw) for _, raw in mutator.corpus()]
    before = InboundMessage.objects.count()
    with Line(server, timeout=60) as line:
        for number, raw in enumerate(mutants):
            line.put(raw)
            line.put(adt(control_id=f"NEXT{number}"))
            answers: list[Ack] = []
            while not answers or answers[-1].answers != f"NEXT{number}":
                answers.append(line.ack())
            assert answers.pop().code == "AA", raw
            if _answered_once(raw):
                (answer,) = answers
                assert answer.code in ("AA", "AE", "AR"), raw
                assert (answer.code == "AA") == (not answer.error), answer.raw
    assert InboundMessage.objects.count() - before > len(mutants)
    ended = InboundMessage.objects.exclude(status="received")
    assert InboundMessage.objects.count() == ended.count()
    failed = [bytes(one.raw)[:300] for one in InboundMessage.objects.filter(status="failed")[:5]]
    assert failed == [], "our own errors"


@pytest.mark.django_db(transaction=True)
def test_nonsense_on_the_port_harms_nobody(server: Server) -> None:
    """MLLP-03: no end block, two starts, garbage, TLS, HTTP, an answer that nobody waits for, one byte at a time."""
    message = adt(control_id="GOOD").encode()
    nonsense = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), b"\x00" * 70_000,
        START + message, START + message[:50] + START + message[:60], START, END, b"\x1c" * 100, START + b"\x1c\r" * 50,
        START * 1000, START + b"MSH|^~\\&|A|B|C|D|1||ACK|9|P|2.3\rMSA|AA|GOOD\r" + END, message + END,
    ]  # fmt: skip
    for raw in nonsense:
        with socket.create_connection(server, timeout=30) as stranger:
            stranger.sendall(raw)
        with Line(server, timeout=60) as line:
            assert line.send(message).code == "AA", raw[:40]
    for raw in (b"garbage before" + START + message + END, START + message[:40] + START + message + END):
        with Line(server, timeout=60) as line:
            line.socket.sendall(raw)
            assert line.ack().code == "AA"
    with Line(server, timeout=60) as line:
        for byte in START + message[:60]:
            line.socket.sendall(bytes([byte]))
            time.sleep(0.001)
        line.socket.sendall(message[60:] + END)
        assert line.ack().code == "AA"
        line.socket.sendall((START + message + END) * 50)
        assert [line.ack().code for _ in range(50)] == ["AA"] * 50
    assert InboundMessage.objects.filter(control_id="GOOD").count() == 1
