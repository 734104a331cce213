"""`manage.py run_dicom` as a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from ris.audit.models import AuditEvent
from tests.interfaces.dicom.scu import WORKLIST, Raw, Ris, associate_rq, found, query
from tests.makers import make_appointment


@pytest.fixture
def process(transactional_db: None) -> Iterator[subprocess.Popen[str]]:
    """Listening on a free port, with the test's database."""
    url = os.environ["DATABASE_URL"].replace(
        "postgresql:///ris?", f"postgresql:///{connection.settings_dict['NAME']}?"
    )
    running = subprocess.Popen(
        [sys.executable, "manage.py", "run_dicom", "--listen", "127.0.0.1:0"],
        cwd=settings.BASE_DIR, env={**os.environ, "DATABASE_URL": url}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    yield running
    running.kill()
    running.wait(10)


def listening(process: subprocess.Popen[str]) -> Ris:
    assert process.stdout is not None
    word, _, address = process.stdout.readline().strip().partition(" ")
    assert word == "LISTENING"
    host, _, port = address.rpartition(":")
    return Ris(host, int(port))


def test_it_says_where_it_listens_answers_and_ends_in_time(process: subprocess.Popen[str]) -> None:
    appointment = make_appointment()
    ris = listening(process)
    with ris.associate(WORKLIST) as assoc:
        assert found(assoc, query()).accessions == [appointment.order.accession_number]
    with Raw(ris) as silent:
        silent.send(associate_rq())
        assert silent.answer()[0] == 2
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert time.monotonic() - started < 3
    # The last query's audit row was written before the end.
    assert AuditEvent.objects.filter(action="worklist.query").count() == 1


def test_a_taken_port_ends_it_with_a_sentence(process: subprocess.Popen[str]) -> None:
    ris = listening(process)
    second = subprocess.run(
        [sys.executable, "manage.py", "run_dicom", "--listen", f"{ris.host}:{ris.port}"],
        cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert second.returncode == 1
    assert f"{ris.host}:{ris.port} is taken by " in second.stderr


def test_without_a_database_and_a_copy_callers_are_asked_to_come_again(tmp_path: Path) -> None:
    lost = os.environ["DATABASE_URL"].replace("/postgres/run", "/nowhere")
    process = subprocess.Popen(
        [sys.executable, "manage.py", "run_dicom", "--listen", "127.0.0.1:0"],
        cwd=settings.BASE_DIR, env={**os.environ, "DATABASE_URL": lost, "RIS_DATA": str(tmp_path)},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        with Raw(listening(process)) as peer:
            peer.send(associate_rq())
            kind, body = peer.answer()
            # Rejected, transient; presentation related: temporary congestion.
            assert (kind, tuple(body[1:])) == (3, (2, 3, 1))
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(5)
        assert time.monotonic() - started < 3
    finally:
        process.kill()
        process.wait(10)
