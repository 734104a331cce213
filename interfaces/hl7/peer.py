"""An EMR of our own invention, to try a site's lines before the EMR is there, and to train on.

It needs no database and shares nothing with the engine but framing, ER7 and the form of an ACK.
"""

import json
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from interfaces.hl7 import ack, er7, mllp
from interfaces.hl7.er7 import Message
from ris.core.errors import RisError

#: How it may answer. `late`: after our partner's time-out; `drop`: it has taken the message, but hangs up.
ANSWERS = ("aa", "ae", "ar", "late", "drop", "mixed")
_MIXED = {"aa": 86, "ae": 4, "ar": 2, "late": 3, "drop": 5}
_POLL = 0.2

Say = Callable[[str], None]


class Ledger:
    """What was meant, sent, heard and answered: a line each, on the disk before the next step is taken."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()

    def write(self, what: str, control_id: str, **facts: Any) -> None:
        if self._path is None:
            return
        line = json.dumps({"what": what, "control_id": control_id, "at": round(time.time(), 3), **facts})
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())


# What it hears

_STATUS = {
    "SC": "scheduled", "IP": "in progress", "CM": "completed", "CA": "cancelled", "DC": "discontinued", "A": "some results",
    "P": "preliminary", "F": "final", "C": "corrected", "R": "unverified", "HD": "on hold", "ER": "in error",
}  # fmt: skip
_CONTROL = {
    "NW": "new procedure", "XO": "changed procedure", "CA": "cancelled procedure", "DC": "discontinued procedure",
    "SN": "new order, asks for a number", "SC": "status", "OC": "order cancelled", "OD": "order discontinued",
    "UA": "cannot take the order", "UC": "cannot cancel", "UX": "cannot change", "OK": "done", "XR": "changed",
    "CR": "cancelled",
}  # fmt: skip
_APPOINTMENT = {
    "S12": "booked",
    "S13": "moved",
    "S14": "changed",
    "S15": "cancelled",
    "S17": "deleted",
    "S26": "not kept",
}


def in_words(message: Message) -> str:
    """One line for a person: what the message tells of which order and patient."""
    type_, trigger = message.get("MSH-9.1"), message.get("MSH-9.2")
    of = message.get("ORC-2") or message.get("OBR-2") or message.get("SCH-1") or message.get("SCH-26")
    filler = message.get("ORC-3") or message.get("OBR-3") or message.get("SCH-2")
    number = " ".join(filter(None, [of, f"({filler})" if filler else ""])) or "without a number"
    exam = message.get("OBR-4.2") or message.get("OBR-4")
    control, status = message.get("ORC-1"), message.get("OBR-25") if type_ == "ORU" else message.get("ORC-5")
    if type_ == "ORU":
        documents = sum(one.get(2) == "ED" for one in message.all("OBX"))
        parts = [f"{_STATUS.get(status, status)} report of order {number}", exam, f"{documents} document(s)"]
    elif type_ in ("ORM", "OMG", "ORR", "OMI"):
        meaning = _CONTROL.get(control, control)
        parts = [f"order {number}: {meaning}{' ' + _STATUS.get(status, status) if status else ''}", exam]
    elif type_ == "SIU":
        parts = [f"appointment {number} {_APPOINTMENT.get(trigger, trigger)}", message.get("SCH-11.4")]
    elif type_ == "DFT":
        charges = ", ".join(one.get(7) for one in message.all("FT1"))
        parts = [f"charges {charges or 'none'} for account {message.get('PID-18') or 'unknown'}"]
    else:
        parts = [f"patient {message.get('PID-3')}"]
    return f"{type_}^{trigger} " + ", ".join(filter(None, parts))


@dataclass(frozen=True, slots=True)
class Manners:
    """How it answers: one of ANSWERS, after how many seconds a late one comes, and NA to SN."""

    answer: str = "aa"
    late_seconds: float = 35.0
    numbers_orders: bool = True


class Ear:
    """An MLLP server: takes what it is sent, writes it down, and answers as told."""

    def __init__(self, manners: Manners, ledger: Ledger, say: Say, *, seed: int = 1) -> None:
        self._manners = manners
        self._ledger = ledger
        self._say = say
        self._dice = random.Random(seed)
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._server: socket.socket | None = None
        self._lines: set[socket.socket] = set()
        self.heard: Counter[str] = Counter()

    def listen(self, host: str, port: int) -> tuple[str, int]:
        """The address, for port 0 the one that was free. Raises OSError."""
        self._server = socket.create_server((host, port))
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()
        name = self._server.getsockname()
        return name[0], name[1]

    def close(self) -> None:
        self._ended.set()
        with self._lock:
            for one in filter(None, [self._server, *self._lines]):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()

    def _accept(self, server: socket.socket) -> None:
        while not self._ended.is_set():
            try:
                line, _ = server.accept()
            except OSError:
                return
            with self._lock:
                self._lines.add(line)
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        deframer = mllp.Deframer()
        try:
            while data := line.recv(65536):
                for frame in deframer.feed(data):
                    answer = self._take(frame.message)
                    if answer is None:
                        return
                    line.sendall(mllp.frame(answer))
        except OSError:
            pass  # the sender left; what it got no answer to it sends again
        finally:
            with self._lock:
                self._lines.discard(line)
            line.close()

    def _take(self, raw: bytes) -> bytes | None:
        """Write down, then answer; None to hang up."""
        header = ack.header_of(raw, None)
        try:
            message: Message | None = er7.read(raw)
            words = in_words(message) if message else ""
        except RisError as error:
            message, words = None, f"something unreadable: {error.message}"
        manner = self._choose(header.control_id)
        with self._lock:
            again = header.control_id in self._seen
            if manner not in ("ae", "ar"):
                self._seen.add(header.control_id)
                self.heard[header.kind] += not again
        self._ledger.write(
            "heard", header.control_id, type=header.kind, order=message.get("ORC-2") if message else "",
            filler=message.get("ORC-3") if message else "", answer=manner, again=again,
        )  # fmt: skip
        self._say(f"heard {words}{' (again)' if again else ''} -> {manner}")
        if manner == "drop":
            return None
        if manner == "late":
            self._ended.wait(self._manners.late_seconds)
        number = f"P{time.time_ns():x}"[-15:]
        if manner in ("ae", "ar"):
            problem = ack.Problem(manner.upper(), "207", "", "The simulator was told to refuse.")
            return ack.build(header, manner.upper(), control_id=number, problem=problem)
        if message is not None and message.get("ORC-1") == "SN" and self._manners.numbers_orders:
            return _number_assigned(message, number)
        return ack.build(header, "AA", control_id=number)

    def _choose(self, control_id: str) -> str:
        """What was refused or dropped is taken when it comes again, as from an EMR that was busy."""
        if self._manners.answer != "mixed":
            return self._manners.answer
        with self._lock:
            if control_id in self._seen:
                return "aa"
            return self._dice.choices(list(_MIXED), list(_MIXED.values()))[0]


def _number_assigned(message: Message, number: str) -> bytes:
    """ORR^O02 with ORC-1 NA: the placer's number for an order of ours (RAD TF-2 4.3.5)."""
    filler, obr = message.find("ORC"), message.find("OBR")
    assert filler is not None, "only an ORC asks for a number"
    placer = er7.Raw(f"{number}^EMRSIM")
    ours = er7.Raw(filler.raw(3))
    segments = [
        er7.header(
            {
                3: message.get("MSH-5"), 4: message.get("MSH-6"), 5: message.get("MSH-3"), 6: message.get("MSH-4"),
                7: _now(), 9: ["ORR", "O02"], 10: number, 11: "P", 12: message.get("MSH-12") or "2.3.1",
            }
        ),
        er7.segment("MSA", {1: "AA", 2: message.get("MSH-10")}),
        er7.segment("ORC", {1: "NA", 2: placer, 3: ours}),
    ]  # fmt: skip
    if obr is not None:
        segments.append(er7.segment("OBR", {1: "1", 2: placer, 3: ours, 4: er7.Raw(obr.raw(4))}))
    return er7.write(segments)


def _now() -> str:
    return datetime.now().strftime("%Y%m%d%H%M%S")  # noqa: DTZ005 - an EMR tells its local time


# What it says

_FAMILIES = ["AMBERLEY", "BRACKEN", "CALLOWAY", "DUNMORE", "EASTERLY", "FENWICK", "GARRICK", "HOLLOWAY"]
_GIVEN = ["ADA", "BASIL", "CORA", "DEVI", "ELIO", "FERN", "GIL", "HANA", "IVOR", "JUNE"]
_EXAMS = {
    "CT-HEAD": "CT head", "CT-CHEST": "CT chest", "MR-HEAD": "MR head", "US-ABD": "US abdomen", "XR-CHEST2": "XR chest"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Script:
    """How many invented patients and orders to send."""

    patients: int = 5
    orders: int = 5
    application: str = "EMRSIM"
    facility: str = "SIMHOSP"


def messages(script: Script, *, run: str, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """(what it is in words, message): every patient is registered, some are corrected or merged; every order is
    placed, some are changed or cancelled. `run` keeps this run's numbers apart from another's."""
    dice = random.Random(seed)
    writer = _Writer(script, run)
    people = [
        _Person(f"{run}{number:04d}", f"{dice.choice(_FAMILIES)}^{dice.choice(_GIVEN)}^^^",
                f"{dice.randint(1930, 2020)}{dice.randint(1, 12):02d}{dice.randint(1, 28):02d}", dice.choice("FM"))
        for number in range(1, max(script.patients, 1 if script.orders else 0) + 1)
    ]  # fmt: skip
    for number, person in enumerate(people, 1):
        yield f"A04 registers {person.mrn}", writer.adt("A04", person)
        if number % 3 == 0:
            moved = f"{number} HARBOUR ROAD^^NEWTOWN^NY^10001"
            yield f"A08 gives {person.mrn} an address", writer.adt("A08", person, address=moved)
        if number % 5 == 0:
            double = _Person(f"{person.mrn}D", person.name, person.born, person.sex)
            yield f"A04 registers {double.mrn}, the same person", writer.adt("A04", double)
            yield f"A40 merges {double.mrn} into {person.mrn}", writer.merge(person, double)
    for number in range(1, script.orders + 1):
        person = people[number % len(people)]
        placer, code = f"{run}{number:05d}", dice.choice(list(_EXAMS))
        yield f"ORM NW orders {_EXAMS[code]} as {placer}", writer.order("NW", placer, person, code)
        if number % 4 == 0:
            yield f"ORM XO makes {placer} urgent", writer.order("XO", placer, person, code, priority="S")
        if number % 5 == 0:
            yield f"ORM CA cancels {placer}", writer.order("CA", placer, person, code)


@dataclass(frozen=True, slots=True)
class _Person:
    mrn: str
    name: str
    born: str
    sex: str


class _Writer:
    def __init__(self, script: Script, run: str) -> None:
        self._script = script
        self._run = run
        self._sent = 0

    def _message(self, kind: list[str], segments: list[str]) -> bytes:
        self._sent += 1
        msh = er7.header(
            {
                3: self._script.application, 4: self._script.facility, 7: _now(), 9: kind,
                10: f"{self._run}-{self._sent}", 11: "P", 12: "2.3.1",
            }
        )  # fmt: skip
        return er7.write([msh, *segments])

    def _pid(self, person: _Person, address: str = "") -> str:
        return er7.segment(
            "PID",
            {
                3: [person.mrn, "", "", self._script.facility, "MR"], 5: er7.Raw(person.name.rstrip("^")),
                7: person.born, 8: person.sex, 11: er7.Raw(address),
            },
        )  # fmt: skip

    def _pv1(self, person: _Person) -> str:
        return er7.segment("PV1", {2: "O", 8: ["0456", "LINDGREN", "MAJA"], 19: f"V{person.mrn}"})

    def adt(self, event: str, person: _Person, address: str = "") -> bytes:
        evn = er7.segment("EVN", {1: event, 2: _now()})
        return self._message(["ADT", event], [evn, self._pid(person, address), self._pv1(person)])

    def merge(self, kept: _Person, gone: _Person) -> bytes:
        mrg = er7.segment("MRG", {1: [gone.mrn, "", "", self._script.facility, "MR"]})
        return self._message(
            ["ADT", "A40"], [er7.segment("EVN", {1: "A40", 2: _now()}), self._pid(kept), mrg]
        )

    def order(self, control: str, placer: str, person: _Person, code: str, priority: str = "R") -> bytes:
        number, timing = [placer, self._script.application], ["", "", "", _now(), "", priority]
        doctor = ["0456", "LINDGREN", "MAJA"]
        orc = er7.segment("ORC", {1: control, 2: number, 7: timing, 9: _now(), 12: doctor, 14: "5550100"})
        obr = er7.segment(
            "OBR",
            {1: "1", 2: number, 4: [code, _EXAMS[code], "L"], 13: "Sent by the simulator", 16: doctor, 27: timing,
             31: ["", "Trial order"]},
        )  # fmt: skip
        return self._message(["ORM", "O01"], [self._pid(person), self._pv1(person), orc, obr])


class Mouth:
    """An MLLP client: sends one message after the other, each until it is answered."""

    def __init__(self, address: tuple[str, int], ledger: Ledger, say: Say, *, timeout: float = 30.0) -> None:
        self._address = address
        self._ledger = ledger
        self._say = say
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._deframer = mllp.Deframer()
        self._ended = threading.Event()
        self.answers: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hang_up()

    def end(self) -> None:
        self._ended.set()

    def send_all(self, script: Iterator[tuple[str, bytes]], rate: float) -> None:
        """Send the script at `rate` messages a second; the order is kept, an AE is not repeated."""
        due = time.monotonic()
        for words, raw in script:
            due = max(due + 1 / rate, time.monotonic())
            if self._ended.wait(max(due - time.monotonic(), 0)):
                return
            control_id = ack.header_of(raw, None).control_id
            self._ledger.write("intent", control_id, words=words)
            code, text = self._send(raw, control_id)
            if not code:
                return
            self._ledger.write("acked", control_id, answer=code)
            self.answers[code] += 1
            self._say(f"sent {words} <- {code}{': ' + text if text else ''}")

    def _send(self, raw: bytes, control_id: str) -> tuple[str, str]:
        """MSA-1 and the reason; ("", "") when told to end before an answer came."""
        told = False
        while not self._ended.is_set():
            try:
                return self._exchange(raw, control_id)
            except OSError as problem:
                self._hang_up()
                if not told:
                    self._say(f"no answer ({problem}); trying again until one comes")
                told = True
                self._ended.wait(1.0)
        return "", ""

    def _exchange(self, raw: bytes, control_id: str) -> tuple[str, str]:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=_POLL)
            self._deframer = mllp.Deframer()
        self._socket.settimeout(self._timeout)
        self._socket.sendall(mllp.frame(raw))
        self._socket.settimeout(_POLL)
        deadline = time.monotonic() + self._timeout
        while not self._ended.is_set():
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing within {self._timeout:g} s")
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                continue
            if not data:
                raise ConnectionError("the receiver hung up")
            for frame in self._deframer.feed(data):
                try:
                    answer = er7.read(frame.message)
                except RisError:
                    raise ConnectionError("the answer is no HL7 message") from None
                if answer.get("MSA-2") == control_id or answer.get("MSA-1") == "AR":
                    return answer.get("MSA-1"), answer.get("ERR-8") or answer.get("MSA-3")
        raise ConnectionError("told to end")

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
