"""An EMR that hears us: an MLLP server with a ledger of its own, and a sender. In a thread or as a process.

The ledger is written and synced before a message is answered, so it tells what the EMR has taken in,
whatever is killed at that moment. Written against sockets alone: it shares no code with the product.

    python -m tests.peers.emr --listen 127.0.0.1:0 --ledger emr.jsonl [--drop 0.02 --late 0.01 --seed 3]
"""

import argparse
import json
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

START, END = b"\x0b", b"\x1c\r"


@dataclass(frozen=True)
class Entry:
    """One message as the EMR got it; `text` keeps the bytes one to one (latin-1)."""

    control_id: str
    type: str
    text: str
    answered: str
    connection: int
    at: float

    @property
    def raw(self) -> bytes:
        return self.text.encode("latin-1")

    @property
    def lines(self) -> list[str]:
        return self.raw.decode("utf-8").split("\r")

    def field(self, segment: str, position: int, occurrence: int = 0) -> str:
        """A raw field, "" when absent; MSH counts as in the standard."""
        found = [line.split("|") for line in self.lines if line.startswith(segment + "|")]
        if occurrence >= len(found):
            return ""
        fields = found[occurrence]
        index = position - 1 if segment == "MSH" else position
        return fields[index] if index < len(fields) else ""

    def all(self, segment: str) -> list[list[str]]:
        return [line.split("|") for line in self.lines if line.startswith(segment + "|")]


class Emr:
    """`with Emr(ledger) as emr:` listens on a free port of loopback; `emr.answer` decides what it says.

    An answer is AA, AE, AR, CA ...; "late" (AA after `late_seconds`), "drop" (record, then hang up), "silent"
    (never answer), "wrong" (an AA for another message), "earlier" (an AA for the message before), "two" (the answer
    twice), "garbage"; several joined by + are sent one after the other, "<AE" of them for the message before.
    """

    def __init__(
        self,
        ledger: Path,
        answer: Callable[["Entry"], str] | None = None,
        *,
        address: tuple[str, int] = ("127.0.0.1", 0),
        late_seconds: float = 1.0,
    ) -> None:
        self.ledger = ledger
        self.answer: Callable[[Entry], str] = answer or (lambda entry: "AA")
        self.late_seconds = late_seconds
        self.connections = 0
        self._last = "X"
        self._address = address
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._server: socket.socket | None = None
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        return f"{self._address[0]}:{self._address[1]}"

    def start(self) -> None:
        self._stop.clear()
        self._server = socket.create_server(self._address, reuse_port=False)
        self._address = self._server.getsockname()[:2]
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def stop(self) -> None:
        self._stop.set()
        with self._lock:
            # A thread that waits in accept or recv keeps a closed socket open; shutdown wakes it.
            for one in filter(None, [self._server, *self._open]):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            self._open.clear()

    def entries(self) -> list[Entry]:
        """Everything that arrived, resends included, in order."""
        if not self.ledger.exists():
            return []
        return [Entry(**json.loads(line)) for line in self.ledger.read_text().splitlines()]

    def taken(self) -> list[Entry]:
        """What the EMR made its own: each control id once, in the order of its first acceptance.

        A message it stored counts although its answer was lost; an AE or AR does not.
        """
        seen: dict[str, Entry] = {}
        for entry in self.entries():
            if entry.answered not in ("AE", "AR", "CE", "CR"):
                seen.setdefault(entry.control_id, entry)
        return list(seen.values())

    def wait_for(self, count: int, seconds: float = 15) -> list[Entry]:
        end = time.monotonic() + seconds
        while len(taken := self.taken()) < count:
            assert time.monotonic() < end, f"{len(taken)} of {count} messages came within {seconds} s"
            time.sleep(0.02)
        return taken

    def _accept(self, server: socket.socket) -> None:
        while not self._stop.is_set():
            try:
                line, _ = server.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(line)
                number = self.connections
            threading.Thread(target=self._serve, args=(line, number), daemon=True).start()

    def _serve(self, line: socket.socket, number: int) -> None:
        buffer = b""
        try:
            while data := line.recv(65536):
                buffer += data
                while END in buffer:
                    frame, buffer = buffer.split(END, 1)
                    if not self._take(line, frame.rpartition(START)[2], number):
                        return
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(line)
            line.close()

    def _take(self, line: socket.socket, raw: bytes, number: int) -> bool:
        """Record, sync, answer. False when the EMR hangs up."""
        header = raw.split(b"\r", 1)[0].decode("latin-1").split("|")
        entry = Entry(header[9], header[8], raw.decode("latin-1"), "", number, time.time())
        said = self.answer(entry)
        with self._lock, self.ledger.open("a") as ledger:
            ledger.write(json.dumps({**asdict(entry), "answered": said}) + "\n")
            ledger.flush()
            os.fsync(ledger.fileno())
        if said == "drop":
            return False
        if said == "silent":
            return True
        if said == "late":
            time.sleep(self.late_seconds)
        with self._lock:
            before, self._last = self._last, entry.control_id
        for one in said.split("+"):
            code = one[-2:] if one[-2:].isupper() else "AA"
            answered = (
                "X" if one == "wrong" else before if one[0] == "<" or one == "earlier" else entry.control_id
            )
            text = "not taken" if code in ("AE", "AR") else ""
            ack = f"MSH|^~\\&|EMR|HOSP|||20260101||ACK|A{time.monotonic_ns()}|P|2.3.1\rMSA|{code}|{answered}|{text}\r"
            answer = START + (b"no HL7" if one == "garbage" else ack.encode()) + END
            line.sendall(answer * 2 if one == "two" else answer)
        return True


class Line:
    """An EMR's connection to us: send frames, read answers."""

    def __init__(self, address: tuple[str, int], timeout: float = 10) -> None:
        self.socket = socket.create_connection(address, timeout=timeout)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, message: str | bytes) -> "Ack":
        self.put(message)
        return self.ack()

    def put(self, message: str | bytes) -> None:
        raw = message if isinstance(message, bytes) else message.encode()
        self.socket.sendall(START + raw + END)

    def ack(self) -> "Ack":
        while END not in self._buffer:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("hung up without an answer")
            self._buffer += data
        frame, self._buffer = self._buffer.split(END, 1)
        return Ack(frame.partition(START)[2])

    def hung_up(self, seconds: float) -> bool:
        """Whether the other side closes within `seconds`."""
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True


@dataclass(frozen=True)
class Ack:
    raw: bytes

    def field(self, segment: str, position: int) -> str:
        return Entry("", "", self.raw.decode("latin-1"), "", 0, 0).field(segment, position)

    @property
    def code(self) -> str:
        return self.field("MSA", 1)

    @property
    def answers(self) -> str:
        return self.field("MSA", 2)

    @property
    def error(self) -> str:
        """The code of table 0357, from either form of ERR."""
        old = self.field("ERR", 1).split("^")
        return old[3].split("&")[0] if len(old) > 3 else self.field("ERR", 3).split("^")[0]

    @property
    def location(self) -> str:
        """Segment and field, "PID-7", from either form of ERR."""
        place = (self.field("ERR", 1) or self.field("ERR", 2)).split("^")
        return f"{place[0]}-{place[2]}" if len(place) > 2 and place[2] else place[0]

    @property
    def text(self) -> str:
        return self.field("MSA", 3)


def main() -> None:
    parser = argparse.ArgumentParser(description="A recording EMR.")
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument(
        "--answer", default="AA", help="what it says: AA AE AR late drop silent wrong garbage"
    )
    parser.add_argument("--drop", type=float, default=0.0, help="share of messages stored but not answered")
    parser.add_argument("--late", type=float, default=0.0, help="share of messages answered late")
    parser.add_argument("--late-seconds", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    dice = random.Random(chosen.seed)

    def answer(entry: Entry) -> str:
        thrown = dice.random()
        if thrown < chosen.drop:
            return "drop"
        return "late" if thrown < chosen.drop + chosen.late else chosen.answer

    host, _, port = chosen.listen.rpartition(":")
    with Emr(chosen.ledger, answer, address=(host, int(port)), late_seconds=chosen.late_seconds) as emr:
        print(f"LISTENING {emr.address}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
