"""Sends an endpoint's queue over one kept-open MLLP connection, one message in flight, in order."""

import logging
import random
import select
import socket
import time
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from interfaces import engine
from interfaces.hl7 import er7, mllp
from interfaces.models import Endpoint, OutboundMessage
from ris.core import faults
from ris.core.errors import RisError

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 5.0
_POLL = 0.1
_MAX_ANSWER = 1024 * 1024


class NoAnswer(Exception):
    """The bytes may have arrived, but nobody said so. `answer` is what came instead."""

    def __init__(self, text: str, answer: bytes | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Answer:
    code: str
    text: str
    raw: bytes


class Line:
    """The connection to one partner. After anything but a clean answer it is closed: a late answer must
    never be taken for the next message's."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._socket: socket.socket | None = None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def connect(self) -> None:
        """Open the connection unless it is open. Raises OSError."""
        if self._socket is not None and not self._is_quiet(self._socket):
            self.close()
        if self._socket is None:
            host, _, port = self._address.rpartition(":")
            self._socket = socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    @staticmethod
    def _is_quiet(line: socket.socket) -> bool:
        """Nothing waits to be read: neither the peer's goodbye nor a stray answer."""
        readable, _, _ = select.select([line], [], [], 0)
        return not readable

    def exchange(self, message: bytes, control_id: str, timeout: float) -> Answer:
        """Send and wait for the answer to `control_id`. Raises NoAnswer; the line is closed then."""
        try:
            return self._exchange(message, control_id, timeout)
        except NoAnswer:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise NoAnswer(f"The connection broke before an answer came ({type(error).__name__}).") from None

    def _exchange(self, message: bytes, control_id: str, timeout: float) -> Answer:
        assert self._socket is not None, "connect comes first"
        deadline = time.monotonic() + timeout
        self._socket.settimeout(timeout)
        self._socket.sendall(mllp.frame(message))
        faults.point("after_send_before_ack")
        deframer = mllp.Deframer(limit=_MAX_ANSWER)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise NoAnswer(f"No answer within {timeout:g} s.")
            self._socket.settimeout(left)
            data = self._socket.recv(65536)
            if not data:
                raise NoAnswer("The partner closed the connection without an answer.")
            frames = deframer.feed(data)
            if frames:
                return read_answer(frames[0].message, control_id)


def read_answer(raw: bytes, control_id: str) -> Answer:
    """MSA-1 and the reason. Raises NoAnswer when it is not the answer to `control_id`."""
    try:
        message = er7.read(raw)
        code, answered = message.get("MSA-1").upper(), message.get("MSA-2")
        text = (
            message.get("MSA-3") or message.get("ERR-8") or message.get("ERR-1.4.2") or message.get("ERR-3.2")
        )
    except RisError:
        raise NoAnswer("The answer is no HL7 message.", raw) from None
    if code not in ("AA", "AE", "AR", "CA", "CE", "CR"):
        raise NoAnswer("The answer names no outcome in MSA-1.", raw)
    # A partner that could not read our header cannot echo its control id, but it has said no.
    if answered != control_id and not (code in ("AR", "CR") and not answered):
        raise NoAnswer("The answer is for another message (MSA-2).", raw)
    return Answer(code, text, raw)


def drain(endpoint_id: int, *, linger: float = 1.0, limit: float = 45.0) -> int:
    """Send what is due to a partner until nothing has come for `linger` seconds; how many were answered.

    One session in the cluster does so at a time; a second one leaves at once. Ends after `limit` seconds
    at the latest (plus one time-out); the sweep starts it again.
    """
    answered = 0
    ends = time.monotonic() + limit
    while time.monotonic() < ends:
        with engine.sole_sender(endpoint_id) as held:
            if not held:
                return answered
            line = Line("")
            try:
                endpoint = Endpoint.objects.get(pk=endpoint_id)
                line = Line(endpoint.address)
                answered += _serve(endpoint, line, linger, ends)
            finally:
                line.close()
        # A message queued after our last look, whose wake-up found us still holding the lock.
        if not _is_served(endpoint_id) or engine.next_due(endpoint_id, at=timezone.now()) is None:
            break
    return answered


def _is_served(endpoint_id: int) -> bool:
    endpoint = Endpoint.objects.get(pk=endpoint_id)
    return endpoint.active and not endpoint.paused and endpoint.next_attempt_at <= timezone.now()


def _serve(endpoint: Endpoint, line: Line, linger: float, ends: float) -> int:
    answered = 0
    idle_until = time.monotonic() + linger
    while time.monotonic() < ends:
        address = endpoint.address
        endpoint.refresh_from_db()
        if not endpoint.active or endpoint.paused or endpoint.address != address:
            break
        now = timezone.now()
        message = engine.next_due(endpoint.pk, at=now) if endpoint.next_attempt_at <= now else None
        if message is None:
            if time.monotonic() >= idle_until or endpoint.next_attempt_at > now:
                break
            time.sleep(_POLL)
            continue
        if send(endpoint, line, message):
            answered += 1
        idle_until = time.monotonic() + linger
    return answered


def send(endpoint: Endpoint, line: Line, message: OutboundMessage) -> bool:
    """One attempt. True when the partner answered, whatever it said. Opens no transaction around the network."""
    if not engine.may_send(message, endpoint):
        return False
    wait = engine.back_off(endpoint.failures + 1, random.random())
    try:
        line.connect()
    except (OSError, ValueError) as error:
        # Nothing left: the message stays as it was, the line waits.
        log.warning("endpoint %s: cannot connect (%s)", endpoint.pk, type(error).__name__)
        engine.line_down(endpoint, text=f"Cannot connect to {endpoint.address}: {error}", retry_in=wait)
        return False
    if not engine.mark_sent(message):
        return False
    faults.point("after_claim")
    try:
        answer = line.exchange(bytes(message.raw), message.control_id, float(endpoint.answer_timeout))
    except NoAnswer as trouble:
        log.warning("endpoint %s: message %s got no answer", endpoint.pk, message.pk)
        retry = engine.back_off(message.attempts + 1, random.random())
        engine.mark_unanswered(message, endpoint, answer=trouble.answer, text=trouble.text, retry_in=retry)
        engine.line_down(endpoint, text=trouble.text, retry_in=wait)
        return False
    faults.point("after_ack_before_commit")
    engine.line_up(endpoint)
    if answer.code in ("AA", "CA"):
        engine.mark_accepted(message, code=answer.code, answer=answer.raw)
    else:
        _refused(endpoint, message, answer)
    return True


def _refused(endpoint: Endpoint, message: OutboundMessage, answer: Answer) -> None:
    """AE, AR: a person looks. Some partners say AE for "busy": their profile allows a few retries first."""
    allowed = endpoint.option("ae_retries", "0")
    retry: timedelta | None = None
    if answer.code in ("AE", "CE") and allowed.isdigit() and message.refusals < int(allowed):
        retry = engine.back_off(message.refusals + 1, random.random())
    log.warning("endpoint %s: message %s answered %s", endpoint.pk, message.pk, answer.code)
    engine.mark_refused(message, code=answer.code, answer=answer.raw, text=answer.text, retry_in=retry)
