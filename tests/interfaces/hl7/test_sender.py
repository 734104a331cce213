"""The sender of a process: all partners at once, one sender for a partner, and none that wakes too late (MLLP-16)."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from interfaces import engine
from interfaces.actions import configure_endpoint
from interfaces.hl7.sender import Sender
from interfaces.models import Endpoint, OutboundMessage
from ris.accounts.models import system_user
from tests.interfaces.hl7.test_commands import ROOT, Process
from tests.interfaces.hl7.test_sending import drain, due_now, make_partner, queue, statuses
from tests.peers.emr import Emr, Entry
from tests.stack import until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sender() -> Iterator[Sender]:
    running = Sender()
    yield running
    running.stop(0)


def partner_named(name: str, emr: Emr) -> Endpoint:
    values = {"protocol": "mllp", "direction": "out", "address": emr.address, "answer_timeout": 60}
    return configure_endpoint(name, values, by=system_user("shell"))


def test_silent_partners_hold_nobody_up(sender: Sender, emr: Emr, tmp_path: Path) -> None:
    """Twenty partners that never answer, and one that does (reliability F8)."""
    with Emr(tmp_path / "silent.jsonl", lambda entry: "silent") as silent:
        for number in range(20):
            queue(partner_named(f"silent{number}", silent))
        good = partner_named("good", emr)
        sender.wake(good.pk)  # the others are found by the sender itself
        until(lambda: len(silent.entries()) == 20, 30, "all silent partners have their message")
        for number in range(10):
            queue(good, f"A{number}")
        emr.wait_for(10, 30)
        assert (
            OutboundMessage.objects.filter(status="sent", endpoint__name__startswith="silent").count() == 20
        )
        assert emr.connections == 1


def test_what_is_queued_goes_out_though_no_broker_and_no_sweep_says_so(sender: Sender, emr: Emr) -> None:
    partner = make_partner(emr)
    queue(partner, "A1")
    sender.wake(partner.pk)
    emr.wait_for(1)
    for number in range(2, 5):
        queue(partner, f"A{number}")  # heard by NOTIFY
        emr.wait_for(number)
    assert emr.connections == 1


def test_a_message_that_waits_is_tried_again_while_its_line_stays_open(sender: Sender, emr: Emr) -> None:
    """Nothing else comes for the partner that would have it looked at."""
    emr.answer = lambda entry: "AE" if len(emr.entries()) < 2 else "AA"
    partner = make_partner(emr, profile={"ae_retries": "5", "back_off": "1"})
    queue(partner, "A1")
    sender.wake(partner.pk)
    until(lambda: statuses() == ["accepted"], 30, "it was tried again")
    assert emr.connections == 1


def test_a_stopping_sender_waits_for_the_answer_it_has_coming(emr: Emr) -> None:
    emr.late_seconds = 1.0
    emr.answer = lambda entry: "late"
    partner = make_partner(emr, answer_timeout=10)
    queue(partner, "A1"), queue(partner, "A2")
    running = Sender()
    running.wake(partner.pk)
    until(lambda: statuses()[0] == "sent", 20, "the first message is on its way")
    running.stop(10)
    assert statuses() == ["accepted", "queued"]


PROGRAM = """
import time, django
django.setup()
from interfaces.hl7.sender import sender
sender.wake({endpoint})
time.sleep(120)
"""


def test_a_sender_that_was_stopped_sends_nothing_twice_when_it_wakes(emr: Emr) -> None:
    """Reliability F19: its session ended meanwhile, and with it its lock; another sender went on."""
    stopped: list[subprocess.Popen[bytes]] = []

    def answer(entry: Entry) -> str:
        if "A3" in entry.text and len(stopped) == 1:
            until(lambda: statuses()[:3] == ["accepted", "accepted", "sent"], 20, "the first two are settled")
            connection.close()
            # Stopped while its message is on the way; the answer will lie in its socket.
            stopped[0].send_signal(signal.SIGSTOP)
            # All its threads: one alone may be slow to hear of it while another goes on.
            os.waitid(os.P_PID, stopped[0].pid, os.WSTOPPED)
            stopped.append(stopped[0])
        return "AA"

    partner = make_partner(emr, answer_timeout=30)
    for number in range(1, 7):
        queue(partner, f"A{number}")
    environment = {**Process().environment, "DJANGO_SETTINGS_MODULE": "ris.settings"}
    emr.answer = answer
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(endpoint=partner.pk)], env=environment, cwd=ROOT
    )
    stopped.append(process)
    try:
        until(lambda: len(stopped) == 2, 60, "the sender is stopped")
        assert drain(partner) == 0  # its lock stands as long as its session
        time.sleep(1)  # longer than what it has claimed ahead stays its to send
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 30000) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s"
                " AND objid = %s",
                [engine._SENDER_LOCK, partner.pk],
            )
            assert cursor.fetchall() == [(True,)]
        assert drain(partner) == 4
        assert statuses() == ["accepted"] * 6
        process.send_signal(signal.SIGCONT)
        time.sleep(1)
        due_now()
        queue(partner, "A7")
        emr.wait_for(7, 30)
        until(lambda: statuses() == ["accepted"] * 7, 20, "all are answered")
    finally:
        os.kill(process.pid, signal.SIGCONT)
        process.kill()
        process.wait(10)
    keys = [entry.lines[1].split("|")[3].split()[0] for entry in emr.entries()]
    assert keys == ["A1", "A2", "A3", "A3", "A4", "A5", "A6", "A7"]
    third = [entry.raw for entry in emr.entries() if "A3" in entry.text]
    assert third[0] == third[1]  # the same bytes under the same control id: one effect
    # The first sender had claimed the last three too, but not sent them.
    attempts = OutboundMessage.objects.order_by("pk").values_list("attempts", flat=True)
    assert list(attempts) == [1, 1, 2, 2, 2, 2, 1]
