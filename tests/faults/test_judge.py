"""Positive controls: a judge that cannot find a fault has proved nothing.

First each invariant on a doctored ledger; then builds that are known to be bad, in this process.
"""

import threading
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from interfaces import engine
from interfaces.hl7 import mllp, receiver
from interfaces.models import InboundMessage
from tests.faults import judge, scenarios
from tests.faults.judge import Evidence, Inbound, Order
from tests.faults.ledger import Ledger
from tests.interfaces.hl7.samples import adt
from tests.peers.emr import Entry


def heard(control: str, status: str, control_id: str, *, mrn: str = "M1", kind: str = "ORM^O01") -> Entry:
    body = f"ORC|{control}|P1^EMR|A1||{status}" if kind.startswith("ORM") else "ORC|RE|P1^EMR|A1"
    obr = "OBR|1|P1^EMR|A1|" + "|" * 21 + status
    return Entry(
        control_id,
        kind,
        f"MSH|^~\\&|L|H|||1||{kind}|{control_id}\rPID|||{mrn}\r{body}\r{obr}\r",
        "AA",
        1,
        1.0,
    )


def evidence() -> Evidence:
    """An order that was placed, planned, done, read and told, with nothing wrong."""
    steps = [
        ("A04", "c1"),
        ("NW", "c2"),
        ("book", ""),
        ("start", ""),
        ("complete", ""),
        ("prelim", ""),
        ("sign", ""),
    ]
    ledger: list[dict[str, Any]] = []
    for kind, control_id in steps:
        line = {
            "step": control_id or f"P1{kind}",
            "kind": kind,
            "mrn": "M1",
            "placer": "" if kind == "A04" else "P1",
        }
        digest = {"sha256": f"d{control_id}"} if control_id else {}
        ledger += [{**line, **digest, "what": "intent"}, {**line, **digest, "what": "acked"}]
    entries = [
        heard("NW", "SC", "1"), heard("SC", "SC", "2"), heard("SC", "IP", "3"), heard("SC", "CM", "4"),
        heard("RE", "P", "5", kind="ORU^R01"), heard("RE", "F", "6", kind="ORU^R01"),
    ]  # fmt: skip
    ledger.append({"what": "acked", "step": "c3", "kind": "A40", "mrn": "M1D", "placer": ""})
    return Evidence(
        ledger=ledger,
        inbound=[Inbound("c1", "dc1", "processed"), Inbound("c2", "dc2", "processed")],
        orders=[Order("P1", "A1", "reported", frozenset({"M1"}), 1, 1, 1)],
        patients={"M1": {1}, "M1D": {2}},
        merged=["M1D"], heard={"EPIC": entries}, arrived={"EPIC": list(entries)}, waiting={"EPIC": set()},
        numbers={"accession number": ["A1"]}, audit="12 audit rows under 1 seals: whole.", halves={"a half": 0},
    )  # fmt: skip


def _lose_the_message(one: Evidence) -> None:
    del one.inbound[1]


def _lose_the_order(one: Evidence) -> None:
    one.orders.clear()


def _lose_the_merge(one: Evidence) -> None:
    one.merged.clear()


def _merge_twice(one: Evidence) -> None:
    one.merged *= 2


def _lose_the_signature(one: Evidence) -> None:
    one.orders[0] = replace(one.orders[0], signed=0)


def _apply_twice(one: Evidence) -> None:
    one.inbound.append(one.inbound[0])


def _place_twice(one: Evidence) -> None:
    one.orders.append(replace(one.orders[0], accession="A2"))


def _register_twice(one: Evidence) -> None:
    one.patients["M1"].add(2)


def _never_tell(one: Evidence) -> None:
    del one.heard["EPIC"][5]


def _tell_twice(one: Evidence) -> None:
    one.heard["EPIC"].append(heard("RE", "F", "7", kind="ORU^R01"))


def _tell_two_versions(one: Evidence) -> None:
    one.arrived["EPIC"].append(replace(one.arrived["EPIC"][5], text="MSH|other"))


def _tell_too_late(one: Evidence) -> None:
    entries = one.heard["EPIC"]
    entries[4], entries[5] = entries[5], entries[4]


def _give_a_number_twice(one: Evidence) -> None:
    one.numbers["accession number"] *= 2


def _forget_the_audit(one: Evidence) -> None:
    one.unaudited = 1


def _break_the_chain(one: Evidence) -> None:
    one.audit = "The audit trail is broken in 1 place(s)."


def _misplace_the_order(one: Evidence) -> None:
    one.orders[0] = replace(one.orders[0], mrns=frozenset({"M2"}))


def _misplace_the_report(one: Evidence) -> None:
    one.heard["EPIC"][5] = heard("RE", "F", "6", mrn="M2", kind="ORU^R01")


def _leave_half(one: Evidence) -> None:
    one.halves["a half"] = 1


DOCTORED: dict[Callable[[Evidence], None], str] = {
    _lose_the_merge: "I1", _merge_twice: "I2",
    _lose_the_message: "I1", _lose_the_order: "I1", _lose_the_signature: "I1", _apply_twice: "I2", _place_twice: "I2",
    _register_twice: "I2", _never_tell: "I3", _tell_twice: "I4", _tell_two_versions: "I4", _tell_too_late: "I5",
    _give_a_number_twice: "I6", _forget_the_audit: "I8", _break_the_chain: "I8", _misplace_the_order: "I9",
    _misplace_the_report: "I9", _leave_half: "I10",
}  # fmt: skip


def test_what_is_whole_is_found_whole() -> None:
    assert judge.violations(judge.judge(evidence())) == []


@pytest.mark.parametrize(
    ("doctor", "invariant"), DOCTORED.items(), ids=lambda one: getattr(one, "__name__", one)
)
def test_each_doctored_ledger_is_found_out(doctor: Callable[[Evidence], None], invariant: str) -> None:
    doctored = deepcopy(evidence())
    doctor(doctored)
    verdict = judge.judge(doctored)
    assert verdict[invariant], judge.report(verdict)


def test_every_invariant_has_a_control() -> None:
    assert set(DOCTORED.values()) == set(judge.judge(evidence())) == set(judge.MEANING)


# Known-bad builds


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl")


Receive = Callable[[mllp.Frame, str], Iterator[bytes]]


def _load(receive: Receive, ledger: Ledger, dies_after_answer: set[int]) -> Evidence:
    """Send thirty registrations, each twice where the first try got no answer; gather what is kept."""
    for number in range(30):
        message = adt(control_id=f"BAD{number}").encode()
        digest = engine.hashlib.sha256(message).hexdigest()
        ledger.intent(f"BAD{number}", "A04", mrn="004417268", sha256=digest)
        for _ in range(2):
            try:
                answers = receive(mllp.Frame(message), "127.0.0.1")
                next(answers)
                ledger.acked(f"BAD{number}", "A04", mrn="004417268", sha256=digest)
                if number not in dies_after_answer:
                    list(answers)  # what it does after its answer; a process that dies does not
                break
            except ConnectionError:
                continue
    return Evidence(
        ledger=ledger.lines("BAD"), patients={"004417268": {1}}, audit="whole",
        inbound=[
            Inbound(one.control_id, bytes(one.digest).hex(), one.status)
            for one in InboundMessage.objects.filter(control_id__startswith="BAD")
        ],
    )  # fmt: skip


@pytest.mark.usefixtures("anybody")
@pytest.mark.django_db
def test_an_answer_before_the_commit_is_found_out(ledger: Ledger) -> None:
    def answer_first(frame: mllp.Frame, peer: str) -> Iterator[bytes]:
        yield b"MSH|^~\\&|L|H|||1||ACK|1|P|2.3.1\rMSA|AA|1\r"
        yield from receiver.receive(frame, peer)

    assert len(judge.judge(_load(answer_first, ledger, {7, 20}))["I1"]) == 2


@pytest.mark.usefixtures("anybody")
@pytest.mark.django_db
def test_an_answer_after_the_commit_is_found_whole(ledger: Ledger) -> None:
    assert judge.judge(_load(receiver.receive, ledger, {7, 20}))["I1"] == []


@pytest.mark.usefixtures("anybody")
@pytest.mark.django_db
def test_a_receiver_without_dedupe_is_found_out(
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    applied: list[Inbound] = []

    def forgetful(frame: mllp.Frame, peer: str) -> Iterator[bytes]:
        """Applies whatever comes; its answer to every third message gets lost."""
        header = receiver.ack.header_of(frame.message, None)
        digest = engine.hashlib.sha256(frame.message).hexdigest()
        applied.append(Inbound(header.control_id, digest, "processed"))
        if len(applied) % 3 == 0:
            raise ConnectionError("the answer is lost")
        yield b"MSH|^~\\&|L|H|||1||ACK|1|P|2.3.1\rMSA|AA|1\r"

    found = _load(forgetful, ledger, set())
    found.inbound = applied
    assert len(judge.judge(found)["I2"]) >= 5


def test_two_senders_at_once_would_be_found_out() -> None:
    """A lease by the clock instead of a lock: a sender that was frozen sends again what another has sent."""
    barrier, entries = threading.Barrier(2), list[Entry]()

    def send(control_id: str) -> None:
        barrier.wait(10)
        entries.append(heard("RE", "F", control_id, kind="ORU^R01"))

    threads = [threading.Thread(target=send, args=(one,)) for one in ("6", "6b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    bad = replace(evidence(), heard={"EPIC": [*evidence().heard["EPIC"][:5], *entries]})
    assert judge.judge(bad)["I4"]


def test_every_crash_point_stands_in_the_code() -> None:
    """A point that was renamed or lost would never strike, and its run prove nothing."""
    missing = [name for name in scenarios.POINTS if f'point("{name}")' not in scenarios.product()]
    assert missing == []
