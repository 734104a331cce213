"""The application entity: one title on one port, its services, whom it talks to, and how many at once."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from interfaces.dicom.association import HANDSHAKE_SECONDS, Association, Request
from interfaces.dicom.pdu import BadPDU
from interfaces.dicom.spool import Spool
from interfaces.dicom.stations import Peer, Stations
from interfaces.dicom.status import PROCESSING_FAILURE, RESOURCE_LIMITATION
from interfaces.dicom.trail import Trail

log = logging.getLogger("lightbox.dicom")

Operation = Callable[[Request], Awaitable[None]]

_SWEEP_SECONDS = 0.5
#: Far more than a department has machines; a connection costs some ten kilobytes.
MAX_CONNECTIONS = 1000
MAX_CONNECTIONS_PER_ADDRESS = 400
_HELD_CAP = 268_435_456
_TOLD_SECONDS, _MOST_STRANGERS = 60.0, 1000


@dataclass(frozen=True)
class Service:
    """What we do under one SOP class: an entry of the table in `listener.services`.

    To add one, write the operation (`async def store(request: Request) -> None`) in a module of its own and name it in
    the table under its command field (`dimse.C_STORE_RQ`). It finds the command in `request.command`, the data set as
    bytes in `request.data_set` and in `request.context` how it is encoded; it answers with `request.send(request.head(
    SUCCESS))`, a data set following as `head(..., with_data_set=True) + answer(data_set)`, and refuses by raising
    `Refused`. Work in the database goes through `Database.read` or `Database.write`, never on the event loop.

    A data set arrives in memory, at most `data_set_cap` bytes of it: what is longer is read past and refused with
    `too_large` before the operation sees it. It is let go when the operation ends; what must outlive it the operation
    keeps, large objects in a file. All associations together hold 256 MB at most.
    """

    operations: Mapping[int, Operation]
    data_set_cap: int = 0
    #: Operations that are kept on disk while the database is away, each with what refuses it without the record.
    kept: Mapping[int, Callable[[Request], None]] = field(default_factory=dict)
    #: We are the SCU and the peer provides: it proposes itself as SCP and tells us of events (PS3.7 D.3.3.4).
    as_scu: bool = False
    #: Statuses for a data set over the cap, and for an error of ours.
    too_large: int = RESOURCE_LIMITATION
    failure: int = PROCESSING_FAILURE
    #: Our answer to SOP class extended negotiation; empty: none.
    extended: bytes = b""


class ApplicationEntity:
    def __init__(
        self, title: str, services: Mapping[str, Service], stations: Stations, trail: Trail, spool: Spool
    ) -> None:
        self.title = title
        self.services = services
        self.loop = asyncio.get_running_loop()
        # A constant of this software, under the installation's root or as an UUID (PS3.7 D.3.3.2).
        root = settings.RIS_UID_ROOT
        self.implementation_uid = _IMPLEMENTATION if root == "2.25" else f"{root}.1"
        self.implementation_name = "LIGHTBOX_1"
        self.stations = stations
        self.spool = spool
        self._trail = trail
        self.twins = trail.twins
        self._strangers: dict[Peer, float] = {}
        self._connections: set[Association] = set()
        self._per_address: dict[str, int] = {}
        self._told_full = float("-inf")
        self._held = 0
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.Task[None] | None = None

    async def listen(self, host: str, port: int, context: ssl.SSLContext | None = None) -> int:
        """Begin to answer, with `context` over TLS; returns the port, which the system chose when `port` is 0."""
        secure: dict[str, Any] = (
            {"ssl": context, "ssl_handshake_timeout": HANDSHAKE_SECONDS} if context else {}
        )
        server = await self.loop.create_server(
            lambda: Association(self, secured=context is not None), host, port, backlog=512, **secure
        )
        self._servers.append(server)
        if self._sweeper is None:
            self._sweeper = self.loop.create_task(self._sweep())
        return int(server.sockets[0].getsockname()[1])

    async def close(self, grace: float) -> None:
        """Stop answering; operations that run have `grace` seconds to end and be answered."""
        for server in self._servers:
            server.close()
        end = self.loop.time() + grace
        while working := [one for one in self._connections if one.is_working]:
            for connection in self._connections - set(working):
                connection.transport.abort()
            if self.loop.time() > end:
                break
            await asyncio.sleep(0.02)
        for connection in list(self._connections):
            connection.transport.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        await asyncio.sleep(0)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = self.loop.time()
            for connection in list(self._connections):
                connection.check_deadline(now)

    # Connections: when full, whoever has been silent longest makes room for the newcomer.

    def admit_connection(self, newcomer: Association) -> bool:
        address = newcomer.peer_address
        if len(self._connections) >= MAX_CONNECTIONS:
            admitted = self._make_room(self._connections)
        elif self._per_address.get(address, 0) >= MAX_CONNECTIONS_PER_ADDRESS:
            admitted = self._make_room({one for one in self._connections if one.peer_address == address})
        else:
            admitted = True
        if admitted:
            self._connections.add(newcomer)
            self._per_address[address] = self._per_address.get(address, 0) + 1
        return admitted

    def _make_room(self, among: set[Association]) -> bool:
        candidates = [one for one in among if not one.is_working]
        if not candidates:
            return False
        # Those that never opened an association go first.
        victim = min(candidates, key=lambda one: (one.is_open, one.silent_since))
        if self.loop.time() > self._told_full + 1:
            self._told_full = self.loop.time()
            log.warning("too many connections; %s was silent longest and is cut", victim.peer_address)
        self.forget_connection(victim)
        victim.transport.abort()
        return True

    def forget_connection(self, connection: Association) -> None:
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        left = self._per_address[connection.peer_address] - 1
        if left:
            self._per_address[connection.peer_address] = left
        else:
            del self._per_address[connection.peer_address]

    # Data sets of all associations that have arrived and are not yet done with.

    def hold(self, size: int) -> None:
        """Raises BadPDU when there is no room for more."""
        self._held += size
        if self._held > _HELD_CAP:
            raise BadPDU("more data than there is room for", 0)

    def release(self, size: int) -> None:
        self._held -= size

    # Callers

    def note_stranger(self, peer: Peer) -> None:
        """For the audit; once a minute each, so that knocking fills no table."""
        now = self.loop.time()
        if now - self._strangers.get(peer, float("-inf")) < _TOLD_SECONDS:
            return
        if len(self._strangers) >= _MOST_STRANGERS:
            self._strangers.clear()
        self._strangers[peer] = now
        self._trail.note(
            "node.refused",
            source=f"{peer.title} {peer.address}",
            outcome="refused",
            secured=bool(peer.certificate),
        )


_IMPLEMENTATION = "2.25.164569580931331999422803590479679562966"
