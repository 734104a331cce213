"""The MLLP server: asyncio for the sockets, a bounded pool of threads for the database.

One connection's messages are handled one after the other and answered in order; connections do not wait
for each other. Silent, slow and greedy peers cost the others nothing.
"""

import asyncio
import logging
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from django.db import close_old_connections, connections

from interfaces.hl7 import ack, mllp, receiver
from interfaces.hl7.mllp import Deframer, Frame
from ris.core import certificates

log = logging.getLogger(__name__)

#: A frame, the peer's address and the fingerprint of its certificate, to the answers.
Receive = Callable[[Frame, str, str], Iterator[bytes]]

#: How a TLS handshake begins: somebody takes this port for the secure one.
_TLS_HELLO = b"\x16\x03"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a peer may take. Seconds and bytes."""

    frame_seconds: float = 30.0
    first_byte_seconds: float = 60.0
    answer_seconds: float = 30.0
    handshake_seconds: float = 10.0
    connections: int = 64
    #: When there is no room, a partner's connections beyond so many give way before those of others.
    per_partner: int = 8
    buffered: int = 256 * 1024 * 1024
    message: int = mllp.MAX_MESSAGE
    workers: int = 16


@dataclass(eq=False)
class Peer:
    """One connection and what it has shown of itself."""

    name: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    deframer: Deframer
    certificate: str = ""
    #: MSH-3 and MSH-4 of its newest message.
    partner: tuple[str, str] = ("", "")
    since: float = field(default_factory=time.monotonic)
    frames: int = 0
    busy: bool = False

    def drop(self) -> None:
        self.writer.transport.abort()


class Listener:
    """Accepts connections until `stop`; a message that has arrived whole is applied and answered first."""

    def __init__(
        self,
        receive: Receive = receiver.receive,
        limits: Limits | None = None,
        context: ssl.SSLContext | None = None,
        shared: socket.socket | None = None,
    ) -> None:
        self._receive = receive
        self._context = context
        #: Open already, for this process and others.
        self._shared = shared
        self._limits = limits or Limits()
        self._peers: set[Peer] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pool = ThreadPoolExecutor(self._limits.workers, thread_name_prefix="mllp")
        self._server: asyncio.Server | None = None
        self._stopping = False

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; returns the address, for port 0 the one that was free."""
        where: dict[str, Any] = {"sock": self._shared} if self._shared else {"host": host, "port": port}
        self._server = await asyncio.start_server(
            self._accept, **where, limit=65536, backlog=512, ssl=self._context,
            ssl_handshake_timeout=self._limits.handshake_seconds if self._context else None,
        )  # fmt: skip
        address = self._server.sockets[0].getsockname()
        return address[0], address[1]

    async def stop(self, grace: float = 2.0) -> bool:
        """Take no more and finish what is being applied. False when that took longer than `grace` seconds:
        what is stored is recovered later, and the senders of the rest have no answer yet."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        for peer in list(self._peers):
            if not peer.busy:
                peer.drop()
        waiting: set[asyncio.Task[None]] = set()
        if self._tasks:
            _, waiting = await asyncio.wait(self._tasks, timeout=grace)
        for peer in list(self._peers):
            peer.drop()
        self._pool.shutdown(wait=not waiting, cancel_futures=True)
        return not waiting

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is served by its own task"
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        address = writer.get_extra_info("peername")
        peer = Peer(f"{address[0]}:{address[1]}", reader, writer, Deframer(self._limits.message))
        secured = writer.get_extra_info("ssl_object")
        if secured is not None:
            peer.certificate = certificates.fingerprint(secured.getpeercert(binary_form=True) or b"")
        if len(self._peers) >= self._limits.connections:
            least = self._first_to_go()
            log.warning("%s connections are open; dropping the one of %s", len(self._peers), least.name)
            self._peers.discard(least)
            least.drop()
        self._peers.add(peer)
        try:
            await self._serve(peer)
        except (OSError, asyncio.IncompleteReadError, receiver.Impostor):
            pass  # the peer left; what it sent whole is stored, what it did not get answered it sends again
        finally:
            self._peers.discard(peer)
            writer.close()

    def _first_to_go(self) -> Peer:
        """When there is no room: who never sent a message, then a partner with more than its share, then who has
        been idle longest."""
        held = Counter(one.partner for one in self._peers if one.frames)
        share = self._limits.per_partner

        def patience(one: Peer) -> tuple[bool, bool, bool, float]:
            return one.busy, one.frames > 0, held[one.partner] <= share, one.since

        return min(self._peers, key=patience)

    async def _serve(self, peer: Peer) -> None:
        while not self._stopping:
            try:
                async with asyncio.timeout(self._patience_with(peer)):
                    data = await peer.reader.read(65536)
            except TimeoutError:
                log.warning(
                    "peer %s: %s; closing", peer.name, "half a frame" if peer.frames else "nothing whole came"
                )
                return
            if not data:
                return
            if not peer.frames and not peer.deframer.in_frame and data.startswith(_TLS_HELLO):
                log.warning("peer %s speaks TLS on the port without it; closing", peer.name)
                return
            was_open = peer.deframer.in_frame
            frames = peer.deframer.feed(data)
            if peer.deframer.in_frame and (frames or not was_open):
                # The clock of a frame starts with it, not with its newest byte.
                peer.since = time.monotonic()
            self._hold_to_budget(peer)
            peer.busy = True
            try:
                for frame in frames:
                    header = ack.header_of(frame.message, None)
                    peer.partner = (header.sending_application, header.sending_facility)
                    await self._answer(peer, frame)
            finally:
                peer.busy = False
            peer.frames += len(frames)
            if frames and not peer.deframer.in_frame:
                peer.since = time.monotonic()

    def _patience_with(self, peer: Peer) -> float | None:
        """Seconds to wait for the next bytes: for the rest of a frame, for a first one, or for ever."""
        waited = time.monotonic() - peer.since
        if peer.deframer.in_frame:
            return max(self._limits.frame_seconds - waited, 0)
        return None if peer.frames else max(self._limits.first_byte_seconds - waited, 0)

    def _hold_to_budget(self, peer: Peer) -> None:
        """Half frames must not fill the memory: the greediest peer goes."""
        if peer.deframer.buffered < 1024 * 1024:
            return
        if sum(one.deframer.buffered for one in self._peers) > self._limits.buffered:
            greediest = max(self._peers, key=lambda one: one.deframer.buffered)
            log.warning("peer %s holds too much memory; dropping it", greediest.name)
            greediest.drop()

    async def _answer(self, peer: Peer, frame: Frame) -> None:
        loop = asyncio.get_running_loop()
        answers = self._receive(frame, peer.name.rsplit(":", 1)[0], peer.certificate)
        while True:
            try:
                answer = await loop.run_in_executor(self._pool, _next, answers)
            except receiver.NotStored:
                # No answer: a sender keeps what was not answered, and sends it again.
                log.error("a message of %s could not be stored; closing its connection", peer.name)
                raise ConnectionAbortedError from None
            if answer is None:
                return
            peer.writer.write(mllp.frame(answer))
            try:
                async with asyncio.timeout(self._limits.answer_seconds):
                    await peer.writer.drain()
            except TimeoutError:
                raise ConnectionAbortedError from None


def _next(answers: Iterator[bytes]) -> bytes | None:
    """One step of the database work, in a thread of the pool with a connection of its own."""
    close_old_connections()
    try:
        return next(answers, None)
    except BaseException:
        # A broken session is not kept for the next message.
        connections["default"].close_if_unusable_or_obsolete()
        raise
