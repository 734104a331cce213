"""Clients, and a receiver, that cost little themselves: raw sockets for DICOM and HL7, plain HTTP for pages."""

import http.client
import re
import socket
import struct
import threading
import time
from statistics import quantiles
from types import TracebackType
from typing import Self
from urllib.parse import urlencode, urlsplit

_WORKLIST = b"1.2.840.10008.5.1.4.31"
_IMPLICIT = b"1.2.840.10008.1.2"
_APPLICATION = b"1.2.840.10008.3.1.1.1"
_RELEASE = struct.pack(">BBI", 5, 0, 4) + bytes(4)
_STATUS = struct.pack("<HHI", 0, 0x0900, 2)
_PENDING = (0xFF00, 0xFF01)


def element(group: int, number: int, value: bytes, pad: bytes = b"\0") -> bytes:
    value += pad * (len(value) % 2)
    return struct.pack("<HHI", group, number, len(value)) + value


def worklist_query(station: str, modality: str, day: str, accession: str = "", name: str = "") -> bytes:
    """A C-FIND-RQ in implicit little endian that asks for what a scanner shows."""
    step = b"".join(
        element(0x0040 if number != 0x0060 else 0x0008, number, value, b" ")
        for number, value in (
            (0x0060, modality.encode()),
            (0x0001, station.encode()),
            (0x0002, day.encode()),
            (0x0003, b""),
            (0x0007, b""),
            (0x0009, b""),
        )
    )
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(step)) + step
    identifier = (
        element(0x0008, 0x0050, accession.encode(), b" ")
        + element(0x0010, 0x0010, name.encode(), b" ")
        + element(0x0010, 0x0020, b"")
        + element(0x0010, 0x0030, b"")
        + element(0x0020, 0x000D, b"")
        + element(0x0040, 0x0100, item)
        + element(0x0040, 0x1001, b"")
    )
    command = (
        element(0, 0x0002, _WORKLIST)
        + element(0, 0x0100, struct.pack("<H", 0x0020))
        + element(0, 0x0110, struct.pack("<H", 1))
        + element(0, 0x0700, struct.pack("<H", 0))
        + element(0, 0x0800, struct.pack("<H", 1))
    )
    command = element(0, 0, struct.pack("<I", len(command))) + command
    return b"".join(
        struct.pack(">BBIIBB", 4, 0, len(part) + 6, len(part) + 2, 1, flag) + part
        for part, flag in ((command, 3), (identifier, 2))
    )


class Scanner:
    """Worklist queries, an association each."""

    def __init__(
        self, address: tuple[str, int], called: str, calling: str = "CT1", *, quick_ack: bool = True
    ) -> None:
        self.address = address
        self.quick_ack = quick_ack
        context = b"\x01\0\0\0" + _item(0x30, _WORKLIST) + _item(0x40, _IMPLICIT)
        user = _item(0x51, struct.pack(">I", 65536)) + _item(0x52, b"1.2.3.4")
        body = struct.pack(">HH", 1, 0) + called.ljust(16).encode() + calling.ljust(16).encode() + bytes(32)
        body += _item(0x10, _APPLICATION) + _item(0x20, context) + _item(0x50, user)
        self.request = struct.pack(">BBI", 1, 0, len(body)) + body

    def find(self, query: bytes) -> int:
        """How many matched."""
        with socket.create_connection(self.address, timeout=60) as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reader = _Reader(line, quick_ack=self.quick_ack)
            line.sendall(self.request)
            kind, _ = reader.pdu()
            if kind != 2:
                raise ConnectionError("the association was refused")
            line.sendall(query)
            matches = 0
            while True:
                _, body = reader.pdu()
                at = 0
                while at < len(body):
                    size = int.from_bytes(body[at : at + 4], "big")
                    if body[at + 5] & 1:
                        found = body.index(_STATUS, at, at + 4 + size) + len(_STATUS)
                        status = int.from_bytes(body[found : found + 2], "little")
                        if status not in _PENDING:
                            if status:
                                raise ConnectionError(f"status {status:04x}")
                            line.sendall(_RELEASE)
                            reader.pdu()
                            return matches
                        matches += 1
                    at += 4 + size


class _Reader:
    def __init__(self, line: socket.socket, *, quick_ack: bool) -> None:
        self.line = line
        self.quick_ack = quick_ack
        self.kept = bytearray()

    def pdu(self) -> tuple[int, bytes]:
        self._fill(6)
        size = 6 + int.from_bytes(self.kept[2:6], "big")
        self._fill(size)
        kind, body = self.kept[0], bytes(self.kept[6:size])
        del self.kept[:size]
        return kind, body

    def _fill(self, size: int) -> None:
        while len(self.kept) < size:
            # Peers that write a response in two sends wait 40 ms for a delayed ACK: show them at their best.
            if self.quick_ack:
                self.line.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            more = self.line.recv(1 << 18)
            if not more:
                raise ConnectionError("the peer hung up")
            self.kept += more


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


class Visitor:
    """A signed-in user on one kept connection."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self.cookies: dict[str, str] = {}
        form = self.get("/login")
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
        self.token = found[1] if found else ""
        status = self._ask("POST", "/login", {"username": username, "password": password})[0]
        if status != 302:
            raise ConnectionError(f"{username} cannot sign in: {status}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def get(self, path: str) -> str:
        status, body = self._ask("GET", path)
        if status != 200:
            raise ConnectionError(f"{path}: {status}")
        return body

    def _ask(self, method: str, path: str, form: dict[str, str] | None = None) -> tuple[int, str]:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        data = None
        if form is not None:
            data = urlencode({**form, "csrfmiddlewaretoken": self.token})
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self.connection.request(method, path, data, headers)
        answer = self.connection.getresponse()
        body = answer.read().decode()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer.status, body


class Sink:
    """An HL7 receiver that accepts everything and notes when it answered what."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.name = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.answered: dict[str, float] = {}
        self._seen = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self.socket.accept()
            except OSError:
                return
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        kept = b""
        while data := line.recv(65536):
            kept += data
            while (end := kept.find(b"\x1c\r")) >= 0:
                control_id = kept[:end].split(b"|", 10)[9].decode()
                kept = kept[end + 2 :]
                line.sendall(
                    f"\x0bMSH|^~\\&|R|R|L|L|20300101||ACK|A{control_id}|P|2.3.1\rMSA|AA|{control_id}\r\x1c\r".encode()
                )
                self.answered[control_id] = time.monotonic()
        line.close()

    def _wait(self, messages: int) -> list[float]:
        """When the next so many messages were answered."""
        end = time.monotonic() + 300
        while len(self.answered) - self._seen < messages:
            if time.monotonic() > end:
                raise TimeoutError(f"{len(self.answered) - self._seen} of {messages} messages came")
            time.sleep(0.05)
        times = sorted(list(self.answered.values())[self._seen :])
        self._seen = len(self.answered)
        return times

    def drained(self, messages: int) -> float:
        """Messages a second between the first and the last of the next so many."""
        times = self._wait(messages)
        return (len(times) - 1) / (times[-1] - times[0])

    def latency(self, committed: dict[str, float]) -> float:
        """The 95th percentile of the seconds from commit to answer."""
        self._wait(len(committed))
        return quantiles([self.answered[one] - at for one, at in committed.items()], n=20)[-1]
