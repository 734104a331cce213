"""One connection to a partner, kept open, one message in flight; and how its answers are read."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from interfaces import tls
from interfaces.hl7 import er7, mllp
from ris.core import certificates, faults
from ris.core.errors import RisError

CONNECT_TIMEOUT = 5.0
_MAX_ANSWER = 1024 * 1024
_CODES = ("AA", "AE", "AR", "CA", "CE", "CR")


class NoAnswer(Exception):
    """The bytes may have arrived, but nobody said so. `answer` is what came instead."""

    def __init__(self, text: str, answer: bytes | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Answer:
    """MSA-1, MSA-2 and the reason; `type` is MSH-9, for an answer may carry more than its code (ORR^O02)."""

    code: str
    control_id: str
    text: str
    type: str
    raw: bytes

    @property
    def accepted(self) -> bool:
        return self.code in ("AA", "CA")

    @property
    def is_commit(self) -> bool:
        return self.code[0] == "C"


def read_answer(raw: bytes) -> Answer:
    """Raises NoAnswer when this answers nothing."""
    try:
        return answer_of(er7.read(raw), raw)
    except RisError:
        raise NoAnswer("The answer is no HL7 message.", raw) from None


def answer_of(message: er7.Message, raw: bytes) -> Answer:
    """Raises NoAnswer when this answers nothing."""
    try:
        code, text = message.get("MSA-1").upper(), message.get("MSA-3")
        text = text or message.get("ERR-8") or message.get("ERR-1.4.2") or message.get("ERR-3.2")
        expected = message.get("MSA-4")
    except RisError:
        raise NoAnswer("The answer cannot be read.", raw) from None
    if code not in _CODES:
        raise NoAnswer("The answer names no outcome in MSA-1.", raw)
    if code not in ("AA", "CA") and expected:
        text = f"{text} (expects number {expected})".strip()
    return Answer(code, message.get("MSA-2"), text, message.get("MSH-9"), raw)


class Line(asyncio.Protocol):
    """After anything but a clean answer the line is closed: a late answer must never be taken for the next
    message's. In enhanced mode application answers to earlier messages are expected; they go to `hear`."""

    def __init__(self, place: tuple[str, bool, str], hear: Callable[[Answer], None] | None = None) -> None:
        #: Address, TLS and pinned certificate it was opened for; another choice needs another line.
        self.place = place
        self._hear = hear
        self._deframer = mllp.Deframer(limit=_MAX_ANSWER)
        self._came: asyncio.Queue[bytes | None] = asyncio.Queue()
        #: The message in flight.
        self._asked = ""
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, place: tuple[str, bool, str], hear: Callable[[Answer], None] | None = None) -> Self:
        """Raises OSError, and ValueError for an address that is none."""
        address, secure, fingerprint = place
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        context = tls.client_context(named=not fingerprint) if secure else None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                transport, line = await asyncio.get_running_loop().create_connection(
                    lambda: cls(place, hear), host, int(port), ssl=context, server_hostname=host if secure else None
                )  # fmt: skip
        except TimeoutError:
            raise OSError("it does not answer") from None
        plug: socket.socket = transport.get_extra_info("socket")
        plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if fingerprint:
            secured: ssl.SSLObject = transport.get_extra_info("ssl_object")
            if certificates.fingerprint(secured.getpeercert(binary_form=True) or b"") != fingerprint:
                line.close()
                raise OSError("it shows another certificate than the one kept for it")
        return line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for frame in self._deframer.feed(data):
            if not self._is_of_earlier(frame.message):
                self._came.put_nowait(frame.message)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._came.put_nowait(None)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    @property
    def is_usable(self) -> bool:
        """Open, and no word on it that nobody asked for."""
        return self._transport is not None and self._came.empty()

    def _is_of_earlier(self, raw: bytes) -> bool:
        """Pass on the application answer to an earlier message; False when it is something else."""
        if self._hear is None:
            return False
        try:
            answer = read_answer(raw)
        except NoAnswer:
            return False
        if answer.is_commit or answer.control_id in ("", self._asked):
            return False
        self._hear(answer)
        return True

    async def exchange(
        self, message: bytes, control_id: str, timeout: float, *, until_applied: bool = False
    ) -> Answer:
        """Send and wait for the answer to `control_id`. Raises NoAnswer; the line is closed then.

        `until_applied` waits after a commit (CA) for the application's own answer; when that does not come
        in time, the commit is the answer.
        """
        if self._transport is None:
            raise NoAnswer("The connection broke before an answer came.")
        self._asked = control_id
        committed: Answer | None = None
        try:
            async with asyncio.timeout(timeout):
                self._transport.write(mllp.frame(message))
                faults.point("after_send_before_ack")
                while True:
                    answer = await self._answer(control_id)
                    if not (until_applied and answer.code == "CA"):
                        return answer
                    committed = answer
        except TimeoutError:
            self.close()
            if committed is None:
                raise NoAnswer(f"No answer within {timeout:g} s.") from None
            return committed
        except NoAnswer:
            self.close()
            if committed is None:
                raise
            return committed

    async def _answer(self, control_id: str) -> Answer:
        raw = await self._came.get()
        if raw is None:
            raise NoAnswer("The partner closed the connection without an answer.")
        answer = read_answer(raw)
        # A partner that could not read our header cannot echo its control id, but it has said no.
        if answer.control_id != control_id and not (answer.code in ("AR", "CR") and not answer.control_id):
            raise NoAnswer("The answer is for another message (MSA-2).", raw)
        return answer
