"""The EMR simulator: `manage.py hl7_peer`."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from interfaces.hl7.peer import Ledger, Mouth, Script, messages
from ris.orders.models import Order
from ris.patients.models import PatientIdentifier
from tests.peers.emr import Line
from tests.stack import ROOT, until

Server = tuple[str, int]
ORU = (
    "MSH|^~\\&|LIGHTBOX|HARBOUR|EMRSIM|SIMHOSP|20260301||ORU^R01|{0}|P|2.3.1\rPID|||1\rORC|RE|P1^EMR|A1\r"
    "OBR|1|P1^EMR|A1|CT-HEAD^CT head|||||||||||||||||||||F\rOBX|1|ED|PDF||^^^^JVBE\r"
)


@contextmanager
def simulator(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], Server, Path]]:
    """A running simulator that has no database to reach; its process, address and output."""
    output = folder / "said.txt"
    environment = {
        **os.environ,
        "DATABASE_URL": "postgresql:///none?host=/nowhere",
        "REDIS_URL": "redis://127.0.0.1:1",
    }
    with output.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, ROOT / "manage.py", "hl7_peer", "--listen", "127.0.0.1:0", *words],
            env=environment, stdout=said, stderr=said, text=True,
        )  # fmt: skip
    try:
        found = until(lambda: re.search(r"LISTENING ([\d.]+):(\d+)", output.read_text()), 60, "LISTENING")
        yield process, (found[1], int(found[2])), output
    finally:
        process.kill()
        process.wait(10)


def test_it_hears_in_words_and_keeps_a_ledger_without_a_database(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    with simulator(tmp_path, "--ledger", str(ledger)) as (process, address, output):
        with Line(address) as line:
            assert line.send(ORU.format("1")).code == "AA"
            assert line.send(ORU.format("1")).code == "AA"
            answer = line.send(
                "MSH|^~\\&|LIGHTBOX|HARBOUR|EMRSIM|SIMHOSP|20260301||ORM^O01|2|P|2.3.1\rPID|||1\rORC|SN||A2^LIGHTBOX\r"
                "OBR|1||A2^LIGHTBOX|CT-HEAD^CT head\r"
            )
            # FIL-02: a number for an order of ours.
            assert (answer.field("MSH", 9), answer.code, answer.answers) == ("ORR^O02", "AA", "2")
            assert answer.field("ORC", 1) == "NA"
            assert answer.field("ORC", 2)
            assert answer.field("ORC", 3) == "A2^LIGHTBOX"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    said = output.read_text()
    assert "heard ORU^R01 final report of order P1 (A1), CT head, 1 document(s) -> aa" in said
    assert "(again)" in said
    assert "heard in all: 1 ORM^O01, 1 ORU^R01" in said
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert [(one["what"], one["control_id"], one["again"]) for one in lines] == [
        ("heard", "1", False), ("heard", "1", True), ("heard", "2", False)
    ]  # fmt: skip


def test_it_refuses_and_hangs_up_as_told(tmp_path: Path) -> None:
    for answer in ("ae", "ar", "drop"):
        (tmp_path / answer).mkdir()
        with simulator(tmp_path / answer, "--answer", answer) as (_, address, output), Line(address) as line:
            if answer == "drop":
                line.put(ORU.format("1"))
                assert line.hung_up(20)
                until(lambda output=output: "-> drop" in output.read_text())
            else:
                assert line.send(ORU.format("1")).code == answer.upper()


@pytest.mark.django_db(transaction=True)
def test_what_it_sends_is_taken_here(server: Server, tmp_path: Path) -> None:
    said: list[str] = []
    with Mouth(server, Ledger(tmp_path / "ledger.jsonl"), said.append) as mouth:
        mouth.send_all(messages(Script(patients=5, orders=5), run="T1"), rate=1000)
    assert set(mouth.answers) == {"AA"}, said
    assert PatientIdentifier.objects.filter(value__startswith="T1").count() >= 5
    assert Order.objects.filter(placer_order_number__startswith="T1").count() == 5
    assert Order.objects.filter(status="cancelled").count() == 1
    lines = [json.loads(line)["what"] for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert lines == ["intent", "acked"] * mouth.answers.total()


def test_it_wants_something_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="Nothing to do"):
        call_command("hl7_peer")


def test_its_people_are_the_same_for_the_same_seed() -> None:
    def sent(seed: int) -> list[str]:
        return [words for words, _ in messages(Script(), run="S1", seed=seed)]

    assert sent(1) == sent(1)
    assert sent(1) != sent(2)
    assert [words.split()[0] for words in sent(1)[:5]] == ["A04", "A04", "A04", "A08", "A04"]
