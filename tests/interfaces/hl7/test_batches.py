"""MLLP-20: batches FHS/BHS/BTS/FTS, in a frame and in a file."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from interfaces.actions import configure_endpoint
from interfaces.hl7 import batches, receiver
from interfaces.hl7.er7 import Unreadable
from interfaces.hl7.mllp import Frame
from interfaces.models import Endpoint, InboundMessage
from ris.accounts.models import system_user
from ris.orders.models import Order
from tests.interfaces.hl7.samples import adt, orm, pid
from tests.makers import make_facility, make_procedure_type

HEADERS = "FHS|^~\\&|EMR|HOSP|RIS|RAD|20260301|||f|F1\rBHS|^~\\&|EMR|HOSP|RIS|RAD|20260301||||B1\r"


@pytest.fixture
def anyone(db: None) -> Endpoint:
    make_facility()
    make_procedure_type()
    return configure_endpoint("anybody", {"protocol": "mllp", "direction": "in"}, by=system_user("shell"))


def batch(*messages: str, told: int | None = None, files: int = 1) -> bytes:
    count = len(messages) if told is None else told
    return (HEADERS + "".join(messages) + f"BTS|{count}\rFTS|{files}\r").encode()


def answers(raw: bytes) -> list[list[str]]:
    """Each answer as its lines."""
    return [one.decode().split("\r") for one in receiver.receive(Frame(raw), "10.0.0.1")]


def test_a_batch_is_taken_message_by_message_and_answered_by_a_batch(anyone: Endpoint) -> None:
    first, bad, last = adt(), orm("CA", "X^EMR"), orm()
    (reply,) = answers(batch(first, bad, last))
    assert [line[:3] for line in reply if line] == (
        ["FHS", "BHS", "MSH", "MSA", "MSH", "MSA", "ERR", "MSH", "MSA", "BTS", "FTS"]
    )
    assert [line[4:6] for line in reply if line.startswith("MSA")] == ["AA", "AE", "AA"]
    assert reply[1].split("|")[11] == "B1"  # BHS-12: which batch this answers
    assert [line for line in reply if line[:3] in ("BTS", "FTS")] == ["BTS|3", "FTS|1"]
    stored = InboundMessage.objects.order_by("pk")
    assert [bytes(one.raw) for one in stored] == [one.encode() for one in (first, bad, last)]
    assert [one.status for one in stored] == ["processed", "rejected", "processed"]
    answers(batch(first, bad, last))
    assert Order.objects.count() == 1
    assert InboundMessage.objects.filter(repeats=1).count() == 2


def test_each_message_may_be_answered_on_its_own(anyone: Endpoint) -> None:
    configure_endpoint("anybody", {"profile": {"batch_acks": "each"}}, by=system_user("shell"))
    assert [reply[1][:6] for reply in answers(batch(adt(), orm()))] == ["MSA|AA", "MSA|AA"]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (batch(adt(), told=2), "BTS-1 says 2 messages, but 1 came"),
        (batch(adt(), files=3), "FTS-1 says 3 batches, but 1 came"),
        ((HEADERS + adt()).encode(), "no BTS"),
        ((HEADERS + adt() + "BTS|1\r").encode(), "no FTS"),
        ((HEADERS + "BTS|0\rFTS|1").encode(), "holds no message"),
        ((HEADERS + adt() + "FTS|1\rBTS|1\r").encode(), "FTS ends what did not begin"),
        ((HEADERS + "PID|||7\r" + adt() + "BTS|1\rFTS|1").encode(), "before the first message"),
    ],
)
def test_half_a_batch_is_refused_whole(anyone: Endpoint, raw: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        batches.read(raw)
    ((header, msa, *_),) = answers(raw)
    assert msa.startswith("MSA|AR|F1")
    assert header.split("|")[4] == "EMR"
    stored = InboundMessage.objects.get()
    assert (bytes(stored.raw), stored.status, stored.endpoint) == (raw, "rejected", anyone)


def test_a_file_is_loaded_as_if_its_sender_had_sent_it(anyone: Endpoint, tmp_path: Path) -> None:
    plain = tmp_path / "plain.hl7"
    plain.write_bytes(f"\x0b{adt()}\x1c\r\n\x0b{orm()}\x1c\r".encode())
    out = StringIO()
    call_command("load_hl7", str(plain), stdout=out)
    assert out.getvalue() == "2 AA\n"
    call_command("load_hl7", str(plain), "--endpoint", "anybody", stdout=out)
    assert Order.objects.count() == 1
    whole = tmp_path / "batch.hl7"
    whole.write_bytes(batch(adt(person=pid("8"), pv1="PV1||O"), orm("CA", "X^EMR")))
    with pytest.raises(CommandError, match="Not all"):
        call_command("load_hl7", str(whole), "--answers", str(tmp_path / "answers"), stdout=out)
    assert out.getvalue().endswith("1 AA, 1 AE\n")
    assert (tmp_path / "answers").read_bytes().startswith(b"FHS|^~\\&|RIS|RAD|EMR|HOSP|")
    for words in (["nowhere.hl7"], [str(plain), "--endpoint", "stranger"]):
        with pytest.raises(CommandError):
            call_command("load_hl7", *words)
