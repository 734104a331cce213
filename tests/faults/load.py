"""The load: an EMR that registers, orders and cancels, a desk that plans, a room that scans, a reader who signs.

Every step is written to the ledger, repeated until it is answered, and written again with its answer.
"""

import hashlib
import json
import random
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg2

from tests.faults import judge
from tests.faults.judge import Evidence
from tests.faults.ledger import Ledger
from tests.flows.department import ZONE, Person, Refused
from tests.peers.emr import Emr, Line
from tests.stack import Stack

PATIENCE = 240.0  # seconds one step may need in all, faults included
TROUBLE = (OSError, urllib.error.URLError, ConnectionError, AssertionError)
CODE, ROOM = "XR-CHEST2", "XR1"


class Department:
    """A running department, its EMR, its people and the ledger of what was done to it."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.ledger = Ledger(folder / "ledger.jsonl")
        self.folder = folder
        self.emr = Emr(folder / "EPIC.jsonl")
        self.emr.start()
        self.commands(partner("EPIC", self.emr.address))
        self.desk, self.tech = Person(stack, "frontdesk"), Person(stack, "tech")
        self.radiologist = Person(stack, "radiologist")
        for person in (self.desk, self.tech, self.radiologist):
            person.get("rooms/?limit=1")  # fetches the token while all is quiet
        (kind,) = self.desk.get(f"procedure-types/?code={CODE}")["results"]
        self._kind = kind["id"]
        (room,) = [one for one in self.desk.get("rooms/?limit=1000")["results"] if one["code"] == ROOM]
        self.room = room["id"]
        self._free: list[dict[str, Any]] = []
        self._day = time.time() + 3600
        self._lock = threading.Lock()
        #: One exam at a time in the one room.
        self.in_room = threading.Lock()

    def close(self) -> None:
        self.emr.stop()

    def commands(self, *lines: list[str]) -> None:
        """Commands of manage.py, in one process: each would take seconds to start."""
        self.stack.manage(
            "shell", "-c",
            "from django.core.management import call_command\n"
            f"for line in {json.dumps(lines)}: call_command(*line)",
        )  # fmt: skip

    def take_slot(self) -> dict[str, Any]:
        with self._lock:
            while not self._free:
                begin = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._day))
                self._free = persist(
                    lambda begin=begin: self.desk.get(
                        f"slots/?procedure_type={self._kind}&start={begin}&days=7&limit=50"
                    )
                )
                if self._free:
                    last = datetime.fromisoformat(self._free[-1]["start"]).timestamp()
                    self._day = last + 60
                else:
                    self._day += 7 * 86400
            return self._free.pop(0)

    def waiting(self) -> dict[str, int]:
        """What will still go on by itself. Raises psycopg2.OperationalError while the database is away."""
        found = {what: int(self.stack.query(statement)[0][0]) for what, statement in _WAITING.items()}
        return {what: count for what, count in found.items() if count}

    def settle(self, seconds: float = 300) -> None:
        """Wait until the queues are empty; say what is left when they do not become so."""
        end, left = time.monotonic() + seconds, {"the database does not answer": 1}
        while left:
            with suppress(psycopg2.OperationalError):
                left = self.waiting()
            assert time.monotonic() < end, f"not within {seconds:.0f} s: {left}"
            time.sleep(0.1)

    def evidence(self, tag: str, emrs: dict[str, Emr] | None = None) -> Evidence:
        """Heal and drain come first: see `settle`."""
        heard = {name: emr.entries() for name, emr in (emrs or {"EPIC": self.emr}).items()}
        return judge.gather(self.stack, self.ledger.lines(tag), heard, tag)


def partner(name: str, address: str, *profile: str, only: str = "") -> list[str]:
    """The command for somebody who hears of orders and results; with `only`, of those that this sender placed."""
    choices = [*profile, *([f"order_only={only}"] if only else [])]
    return [
        "endpoint", name, "--protocol", "mllp", "--direction", "out", "--address", address, "--facts",
        "orders,results", *(["--profile", *choices] if choices else []),
    ]  # fmt: skip


def sender(name: str) -> list[str]:
    """The command for somebody known by MSH-3, whose orders partners may be limited to."""
    return ["endpoint", name, "--protocol", "mllp", "--direction", "in", "--match", f"{name}|"]


def persist(step: Callable[[], Any], *, already: Callable[[Refused], bool] = lambda refused: False) -> Any:
    """Do `step` again until it succeeds, as people and machines do; `already` tells a repeat that was not needed."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return step()
        except Refused as refused:
            try:
                if refused.status < 500 and already(refused):
                    return None
            except (Refused, *TROUBLE):
                refused.status = 500  # it could not be asked now; the step is tried again
            if refused.status < 500 or time.monotonic() > end:
                raise
        except TROUBLE:
            if time.monotonic() > end:
                raise
        time.sleep(0.2)


_WAITING = {
    "facts to hand on": "SELECT count(*) FROM events_delivery WHERE done_at IS NULL",
    "messages to apply": "SELECT count(*) FROM interfaces_inboundmessage WHERE status = 'received'",
    # What a refused or held message of its order holds back waits for a person.
    "messages to send": (
        "SELECT count(*) FROM interfaces_outboundmessage m WHERE status IN ('queued', 'sent') AND NOT EXISTS ("
        "SELECT 1 FROM interfaces_outboundmessage e WHERE e.endpoint_id = m.endpoint_id AND e.key = m.key "
        "AND e.id < m.id AND e.status IN ('rejected', 'held'))"
    ),
}


class Connection:
    """A sender's line to us; opened again when it breaks."""

    def __init__(self, department: Department) -> None:
        self._department = department
        self._line: Line | None = None

    def send(self, message: str, kind: str, mrn: str, placer: str = "", *, repeats: int = 0) -> None:
        """Until the message is taken, and `repeats` times more, as an EMR that lost our answer does."""
        control_id = message.split("|")[9]
        facts = {
            "mrn": mrn, "placer": placer, "sha256": hashlib.sha256(message.encode()).hexdigest(),
        }  # fmt: skip
        ledger = self._department.ledger
        ledger.intent(control_id, kind, **facts)
        persist(lambda: self._exchange(message))
        ledger.acked(control_id, kind, **facts)
        for _ in range(repeats):
            persist(lambda: self._exchange(message))

    def _exchange(self, message: str) -> None:
        try:
            if self._line is None:
                self._line = Line(self._department.stack.mllp)
            ack = self._line.send(message)
            if ack.answers != message.split("|")[9] or ack.code != "AA":
                raise ConnectionError(f"answered {ack.code} to {ack.answers}: {ack.text}")
        except (OSError, IndexError):
            self.close()
            raise

    def close(self) -> None:
        if self._line is not None:
            self._line.socket.close()
            self._line = None


class Case:
    """One patient with one order, from the registration to its end."""

    def __init__(self, department: Department, tag: str, number: int, sender: str = "EMRLOAD") -> None:
        self.department = department
        self.number = number
        self.placer, self.mrn, self.name = (
            f"{tag}-{number:06d}",
            f"{tag}M{number:06d}",
            f"LOAD{number}^TEST",
        )
        self.sender = sender

    def message(self, kind: str, *segments: str) -> str:
        event = "ORM^O01" if len(kind) == 2 else f"ADT^{kind}"
        now = f"{datetime.now(ZONE):%Y%m%d%H%M%S}"
        pid = f"PID|||{self.mrn}^^^HARBOUR^MR||{self.name}||19680714|F"
        head = f"MSH|^~\\&|{self.sender}|HARBOUR|LIGHTBOX|HARBOUR|{now}||{event}|{self.placer}{kind}|P|2.3.1"
        return "\r".join([head, *([f"EVN|{kind}|{now}"] if len(kind) == 3 else []), pid, *segments, ""])

    def order(self, kind: str) -> str:
        number = f"{self.placer}^EMRLOAD"
        return self.message(
            kind,
            f"ORC|{kind}|{number}|||||^^^^^R|||||0456^LINDGREN^MAJA|||||",
            f"OBR|1|{number}||{CODE}^Chest^L|||||||||Cough|||0456^LINDGREN^MAJA|||||||||||^^^^^R||||COUGH^Cough",
        )

    def register(self, line: Connection, *, repeats: int = 0) -> None:
        line.send(self.message("A04"), "A04", self.mrn, repeats=repeats)

    def merge(self, line: Connection) -> None:
        """A second record of the same person was made; it goes into the first."""
        double = Case(self.department, "", 0, self.sender)
        double.mrn, double.placer, double.name = f"{self.mrn}D", f"{self.placer}D", self.name
        double.register(line)
        line.send(self.message("A40", f"MRG|{double.mrn}^^^HARBOUR^MR"), "A40", double.mrn)

    def place(self, line: Connection, *, repeats: int = 0) -> None:
        line.send(self.order("NW"), "NW", self.mrn, self.placer, repeats=repeats)

    def cancel(self, line: Connection, *, repeats: int = 0) -> None:
        line.send(self.order("CA"), "CA", self.mrn, self.placer, repeats=repeats)

    def _known(self) -> dict[str, Any]:
        found: dict[str, Any] = persist(
            lambda: self.department.desk.get(f"orders/?placer_order_number={self.placer}")["results"][0]
        )
        return found

    @contextmanager
    def step(self, kind: str) -> Iterator[None]:
        ledger, facts = self.department.ledger, {"placer": self.placer, "mrn": self.mrn}
        ledger.intent(f"{self.placer}{kind}", kind, **facts)
        yield
        ledger.acked(f"{self.placer}{kind}", kind, **facts)

    def book(self, slot: dict[str, Any]) -> None:
        order = self._known()
        body = {"order": order["id"], "room": slot["room"], "start": slot["start"]}
        with self.step("book"):
            persist(
                lambda: self.department.desk.post("appointments/", body),
                already=lambda refused: refused.status == 409 and "scheduled" in refused.body,
            )

    def scan(self) -> None:
        order, tech = self._known(), self.department.tech
        mine = f"exams/?order={order['id']}"

        def start() -> None:
            if not tech.get(mine)["results"]:
                tech.post("exams/", {"order": order["id"], "room": self.department.room})

        with self.department.in_room:
            with self.step("start"):
                persist(start)
            (exam,) = persist(lambda: tech.get(mine)["results"])
            with self.step("complete"):
                persist(
                    lambda: tech.post(f"exams/{exam['id']}/complete/"),
                    already=lambda refused: tech.get(mine)["results"][0]["status"] == "completed",
                )

    def read(self) -> None:
        """Released unsigned, then signed."""
        order, reader = self._known(), self.department.radiologist
        (exam,) = persist(lambda: reader.get(f"exams/?order={order['id']}")["results"])
        report = persist(lambda: reader.post("reports/", {"exam": exam["id"]}))
        where = f"reports/{report['id']}/"

        def write() -> int:
            fresh = reader.get(where)
            texts = {"19005-8": f"Impression of {self.placer}.", "59776-5": "Normal."}
            sections = [
                {**one, "text": texts.get(one["code"], one["text"])} for one in fresh["draft"]["sections"]
            ]
            version = fresh["draft"]["version"]
            saved = reader.call("PUT", f"{where}draft/", {"sections": sections, "version": version})
            return int(saved["draft"]["version"])

        def release() -> None:
            if reader.get(where)["status"] == "draft":
                reader.post(f"{where}preliminary/", {"version": write()})

        def sign() -> None:
            if reader.get(where)["status"] != "final":
                reader.post(f"{where}sign/", {"version": write()})

        with self.step("prelim"):
            persist(release)
        with self.step("sign"):
            persist(sign)


class Load:
    """`run` works through its cases with a few hands; every `whole`th case is carried on to its report."""

    def __init__(
        self, department: Department, tag: str, *, whole: int = 10, hands: int = 6, sender: str = "EMRLOAD", seed: int = 1
    ) -> None:  # fmt: skip
        self.department = department
        self.tag = tag
        self.whole = whole
        self.hands = hands
        self.sender = sender
        self.seed = seed
        #: Messages that were sent and taken, repeats not counted.
        self.taken = 0
        self._mine = threading.local()

    def case(self, number: int) -> None:
        dice = random.Random(f"{self.seed}{self.tag}{number}")
        line = Connection(self.department)
        case = Case(self.department, self.tag, number, self.sender)
        try:
            for step in (case.register, case.place):
                step(line, repeats=dice.choice([0, 0, 0, 1]))
            if number % 4 == 0:
                case.merge(line)
                self.taken += 2
            if self.whole and number % self.whole == 0:
                self.taken += 2
                case.scan()
                case.read()
            else:
                if not hasattr(self._mine, "slot"):
                    self._mine.slot = self.department.take_slot()
                case.book(self._mine.slot)
                case.cancel(line, repeats=dice.choice([0, 0, 0, 1]))
                self.taken += 3
        finally:
            line.close()

    def run(self, count: int, *, first: int = 0) -> None:
        """Cases `first` to `first + count`; raises what a step could not overcome."""
        with ThreadPoolExecutor(self.hands) as pool:
            outcomes = [pool.submit(self.case, number) for number in range(first, first + count)]
            for outcome in outcomes:
                outcome.result()

    def run_until(self, happened: Callable[[], bool], *, first: int = 0, limit: float = 300) -> int:
        """Cases until `happened`, at least one; the number of the next one."""
        end, number = time.monotonic() + limit, first
        while number == first or not happened():
            assert time.monotonic() < end, "the fault never struck"
            self.run(self.hands, first=number)
            number += self.hands
        return number
