"""The department keeps working while its processes are killed: nothing is lost, nothing reaches the EMR twice.

The EMR's own ledger is the judge; it and the loads stand outside what is killed. Sizes: RIS_KILL_ORDERS (200) and
RIS_KILLS (20).
"""

import os
import random
import signal
import threading
import time
import urllib.error
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.flows.department import Refused, Scanner, adt, findscu, orm, send
from tests.flows.test_order_to_charge import Hospital, told
from tests.peers.emr import Emr
from tests.stack import Stack, until

ORDERS = int(os.environ.get("RIS_KILL_ORDERS", "200"))
KILLS = int(os.environ.get("RIS_KILLS", "20"))
PATIENCE = 90.0  # seconds one step may need in all, kills included

pytestmark = [pytest.mark.peer("dcmtk"), pytest.mark.timeout(900)]

TROUBLE = (OSError, urllib.error.URLError, ConnectionError, AssertionError)


def persist(step: Callable[[], Any], *, already: Callable[[Refused], bool] = lambda refused: False) -> Any:
    """Do `step` again until it succeeds, as people and machines do; `already` tells a repeat that was not needed."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return step()
        except Refused as refused:
            if already(refused):
                return None
            if refused.status < 500 or time.monotonic() > end:
                raise
        except TROUBLE:
            if time.monotonic() > end:
                raise
        time.sleep(0.2)


class Loads:
    """One patient's way through the department, with every step repeated until it is answered."""

    def __init__(self, hospital: Hospital, starts: list[dict[str, Any]]) -> None:
        self.hospital = hospital
        self.starts = starts

    def run(self, number: int) -> None:
        hospital = self.hospital
        placer, mrn = f"K{number:05d}", f"7{number:08d}"
        for message in (
            adt(mrn, f"LOAD{number}^TEST", control_id=f"A{number}"),
            orm(mrn, placer, name=f"LOAD{number}^TEST", control_id=f"O{number}"),
        ):
            ack = persist(lambda message=message: self._acked(message))
            assert ack == "AA"
        order = persist(lambda: hospital.desk.get(f"orders/?placer_order_number={placer}")["results"][0])
        slot = self.starts[number]
        persist(
            lambda: hospital.desk.post(
                "appointments/", {"order": order["id"], "room": slot["room"], "start": slot["start"]}
            ),
            already=lambda refused: refused.status == 409 and "scheduled" in refused.body,
        )
        accession = order["accession_number"]
        entry = persist(lambda: self._entry(accession))
        scanner = Scanner(hospital.stack, "CT1")
        uid = f"1.2.826.0.1.3680043.10.1.{number + 1}"
        persist(lambda: self._taken(scanner, scanner.start(entry, uid)[1]))
        persist(lambda: self._taken(scanner, scanner.finish(uid)))
        self._read(accession)

    def _acked(self, message: str) -> str:
        code = send(self.hospital.stack, message).code
        if code != "AA":
            raise ConnectionError(f"answered {code}")  # an EMR repeats an AE during an outage
        return code

    @staticmethod
    def _taken(scanner: Scanner, status: int) -> None:
        """Success, or what a repeat is told: it exists (0111), it is final (0110 with Error ID A710)."""
        if status not in {0x0000, 0x0111} and scanner.error_id != 0xA710:
            raise ConnectionError(f"status {status:04X}")

    def _entry(self, accession: str) -> Any:
        found = findscu(self.hospital.stack, f"AccessionNumber={accession}")
        assert found, "while the database is away, the list is a copy of before"
        (entry,) = found
        return entry

    def _read(self, accession: str) -> None:
        reader = self.hospital.radiologist
        exam = persist(lambda: reader.get(f"exams/?order__accession_number={accession}")["results"][0])
        report = persist(lambda: reader.post("reports/", {"exam": exam["id"]}))

        def sign() -> Any:
            fresh = reader.get(f"reports/{report['id']}/")
            if fresh["status"] == "final":
                return fresh
            texts = {"19005-8": f"Impression of {accession}.", "59776-5": "Normal."}
            sections = [
                {**one, "text": texts.get(one["code"], one["text"])} for one in fresh["draft"]["sections"]
            ]
            saved = reader.call(
                "PUT",
                f"reports/{report['id']}/draft/",
                {"sections": sections, "version": fresh["draft"]["version"]},
            )
            return reader.post(f"reports/{report['id']}/sign/", {"version": saved["draft"]["version"]})

        persist(sign, already=lambda refused: refused.status == 409 and "signed by" in refused.body)


def test_nothing_is_lost_or_doubled_while_processes_are_killed(tmp_path: Path) -> None:
    dice = random.Random(20261122)
    with Emr(tmp_path / "emr.jsonl") as emr, Stack(tmp_path / "data") as stack:
        stack.manage(
            "endpoint", "EPIC", "--protocol", "mllp", "--direction", "out", "--address", emr.address, "--facts",
            "orders,results",
        )  # fmt: skip
        hospital = Hospital(stack, emr)
        for person in (hospital.desk, hospital.radiologist):
            person.get("rooms/")  # fetches the token while all is quiet
        (kind,) = hospital.desk.get("procedure-types/?code=CT-HEAD")["results"]
        starts: list[dict[str, Any]] = []
        day = time.time() + 60
        while len(starts) < ORDERS:
            begin = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(day))
            starts += hospital.desk.get(f"slots/?procedure_type={kind['id']}&start={begin}&days=1&limit=50")
            starts = list({(one["room"], one["start"]): one for one in starts}.values())
            day += 6 * 3600
        loads = Loads(hospital, starts)
        done = threading.Event()
        killed: Counter[str] = Counter()

        def kill_at_random() -> None:
            names = [name for name in stack.services() if name != "up"]
            order = (names * (KILLS // len(names) + 1))[:KILLS]
            dice.shuffle(order)
            for name in order:
                if done.wait(dice.uniform(0.5, 5.0)):
                    return
                try:
                    stack.kill(name, signal.SIGKILL)
                except (OSError, KeyError, ValueError):
                    continue  # it is just being started again
                killed[name] += 1

        killer = threading.Thread(target=kill_at_random)
        killer.start()
        try:
            with ThreadPoolExecutor(6) as pool:
                outcomes = [pool.submit(loads.run, number) for number in range(ORDERS)]
                for outcome in outcomes:
                    outcome.result(600)
            killer.join(120)
        finally:
            done.set()
        assert sum(killed.values()) >= KILLS * 3 // 4, killed

        # Heal and drain.
        until(lambda: _is_quiet(stack), 120, "the queues are empty")
        conversations: dict[str, list[str]] = {}
        for one in emr.taken():
            placer = one.field("ORC", 2).split("^")[0]
            conversations.setdefault(placer, []).append(told([one])[0])
        problems = []
        for number in range(ORDERS):
            heard = conversations.get(f"K{number:05d}", [])
            steps = [line.split()[-1] for line in heard if " SC " in line]
            results = [line for line in heard if line.startswith("ORU")]
            doubled = [line for line, count in Counter(heard).items() if count > 1]
            if (
                doubled
                or steps != ["SC", "IP", "CM"]
                or [line.split()[-1] for line in results] != ["F"]
                or not heard[0].startswith("ORM^O01 NW")
            ):
                problems.append((number, heard))
        assert problems == []
        charges = stack.query(
            "SELECT component, count(*), count(DISTINCT procedure_id) FROM billing_charge GROUP BY 1 ORDER BY 1"
        )
        assert charges == [("professional", ORDERS, ORDERS), ("technical", ORDERS, ORDERS)]
        assert stack.query("SELECT status, count(*) FROM orders_order GROUP BY 1") == [("reported", ORDERS)]
        assert "whole" in stack.manage("verify_audit")


def _is_quiet(stack: Stack) -> bool:
    try:
        (open_deliveries,) = stack.query("SELECT count(*) FROM events_delivery WHERE done_at IS NULL")[0]
        (unsent,) = stack.query(
            "SELECT count(*) FROM interfaces_outboundmessage WHERE status NOT IN ('accepted', 'discarded')"
        )[0]
    except Exception:
        return False  # the database is coming back
    return bool(open_deliveries == 0 and unsent == 0)
