"""`manage.py endpoint` and `manage.py run_mllp`, from outside."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from interfaces.hl7 import receiver
from interfaces.models import Endpoint, InboundMessage
from ris.orders.models import Order
from tests.interfaces.hl7.samples import adt, orm
from tests.peers.emr import END, START, Line
from tests.stack import until

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.django_db
def test_a_partner_is_made_and_changed_from_a_script() -> None:
    call_command(
        "endpoint", "emr", "--protocol", "mllp", "--direction", "out", "--address", "127.0.0.1:2575",
        "--facts", "orders,results,schedule,charges", "--profile", "text=tx", "version=2.5.1",
    )  # fmt: skip
    partner = Endpoint.objects.get(name="emr")
    assert (partner.address, partner.facts) == (
        "127.0.0.1:2575",
        ["orders", "results", "schedule", "charges"],
    )
    assert (partner.profile, partner.hl7_version, partner.user.roles) == ({"text": "tx"}, "2.5.1", ["system"])
    call_command("endpoint", "emr", "--address", "127.0.0.1:2576", "--profile", "text=")
    partner.refresh_from_db()
    assert (partner.address, partner.profile, partner.paused) == ("127.0.0.1:2576", {}, False)
    call_command("endpoint", "emr", "--pause")
    assert Endpoint.objects.get(name="emr").paused
    call_command("endpoint", "emr", "--resume")
    assert not Endpoint.objects.get(name="emr").paused
    call_command("endpoint", "emr", "--delete")
    assert not Endpoint.objects.exists()


@pytest.mark.django_db
def test_an_archive_is_known_by_its_ae_title() -> None:
    call_command(
        "endpoint", "pacs", "--protocol", "dicom", "--ae-title", "ARCHIVE", "--address", "127.0.0.1:104"
    )
    partner = Endpoint.objects.get(name="pacs")
    assert (partner.ae_title, partner.address, partner.direction) == ("ARCHIVE", "127.0.0.1:104", "out")


@pytest.mark.django_db
def test_a_sender_is_known_by_application_and_facility() -> None:
    call_command("endpoint", "epic", "--protocol", "mllp", "--direction", "in", "--match", "EPIC|NORTH")
    call_command("endpoint", "any", "--protocol", "mllp", "--direction", "in", "--match", "|")
    call_command("endpoint", "north", "--protocol", "mllp", "--direction", "in", "--match", "|NORTH")
    for application, facility, name in (
        ("EPIC", "NORTH", "epic"),
        ("X", "NORTH", "north"),
        ("EPIC", "Y", "any"),
    ):
        found = receiver.endpoint_of(
            receiver.ack.header_of(f"MSH|^~\\&|{application}^1.2^ISO|{facility}|".encode(), None)
        )
        assert found is not None
        assert found.name == name


@pytest.mark.django_db
@pytest.mark.parametrize(
    "words",
    [
        ["new"],
        ["new", "--protocol", "mllp", "--direction", "out", "--address", "nowhere"],
        ["new", "--protocol", "mllp", "--direction", "in", "--facts", "gossip"],
        ["new", "--protocol", "mllp", "--direction", "in", "--profile", "colour=red"],
        ["new", "--protocol", "mllp", "--direction", "in", "--profile", "text=pdf"],
        ["new", "--protocol", "mllp", "--direction", "in", "--profile", "version=3"],
        ["new", "--protocol", "mllp", "--direction", "in", "--profile", "encoding=EBCDIC"],
        ["new", "--protocol", "mllp", "--direction", "in", "--profile", "timezone=Atlantis"],
        ["new", "--protocol", "dicom", "--ae-title", "SEVENTEEN-LETTERS", "--address", "127.0.0.1:104"],
        ["new", "--delete"],
    ],
)
def test_what_no_partner_can_be_is_refused_with_a_sentence(words: list[str]) -> None:
    with pytest.raises(CommandError) as refusal:
        call_command("endpoint", *words)
    assert str(refusal.value).endswith(".")
    assert not Endpoint.objects.exists()


class Process:
    """`run_mllp` in a process of its own, on the test's database."""

    def __init__(self) -> None:
        parts = connection.settings_dict
        url = f"postgresql:///{parts['NAME']}?host={parts['HOST']}&port={parts['PORT']}&user={parts['USER']}"
        if "@" in os.environ["DATABASE_URL"]:
            base, _, tail = os.environ["DATABASE_URL"].rpartition("/")
            url = f"{base}/{parts['NAME']}" + (f"?{tail.partition('?')[2]}" if "?" in tail else "")
        self.environment = {**os.environ, "DATABASE_URL": url}
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> tuple[str, int]:
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "manage.py", "run_mllp", "--listen", "127.0.0.1:0", "--processes", "2"],
            stdout=subprocess.PIPE, text=True, env=self.environment,
        )  # fmt: skip
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said.startswith("LISTENING 127.0.0.1:"), said
        return "127.0.0.1", int(said.rpartition(":")[2])

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(10)


@pytest.fixture
def process(anybody: Endpoint) -> Iterator[Process]:
    running = Process()
    yield running
    if running.process is not None and running.process.poll() is None:
        running.end(signal.SIGKILL)


def test_the_listener_ends_in_time_and_loses_nothing(process: Process) -> None:
    address = process.start()
    with Line(address) as line, Line(address) as idle, Line(address) as half:
        idle.put(adt())
        assert idle.ack().code == "AA"
        half.socket.sendall(START + b"MSH|half")
        line.put(orm())
        assert line.ack().code == "AA"
        began = time.monotonic()
        assert process.end(signal.SIGTERM) == 0
        assert time.monotonic() - began < 5  # what the supervisor grants
    assert InboundMessage.objects.filter(status="processed").count() == 2


def test_a_taken_port_ends_it_with_a_sentence(process: Process) -> None:
    host, port = process.start()
    second = subprocess.run(
        [sys.executable, ROOT / "manage.py", "run_mllp", "--listen", f"{host}:{port}"],
        capture_output=True, text=True, env=process.environment, timeout=30, check=False,
    )  # fmt: skip
    assert second.returncode == 1
    assert f"{host}:{port}" in second.stderr
    assert "Traceback" not in second.stderr


def test_killed_at_any_moment_every_order_is_there_once(process: Process) -> None:
    """The sender repeats what was not answered, as EMRs do; the answers tell no lies."""
    orders = [orm(number=f"K{n}^EMR", control_id=f"K{n}") for n in range(40)]
    answered: set[int] = set()
    for round_ in range(6):
        address = process.start()
        with Line(address) as line:
            try:
                waiting = [n for n in range(len(orders)) if n not in answered]
                for position, n in enumerate(waiting):
                    line.socket.sendall(START + orders[n].encode() + END)
                    if round_ < 5 and position == 3 + round_:
                        process.end(signal.SIGKILL)
                    assert line.ack().code == "AA"
                    answered.add(n)
            except OSError:
                pass
        if round_ < 5:
            # Whatever was answered with AA is in the record.
            known = set(Order.objects.values_list("placer_order_number", flat=True))
            assert {f"K{n}" for n in answered} <= known
    assert len(answered) == 40
    assert Order.objects.count() == 40
    until(lambda: not InboundMessage.objects.filter(status="received").exists(), 5)
