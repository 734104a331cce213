"""A running listener on a free port, and the partners it knows."""

import asyncio
import gc
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from interfaces import engine
from interfaces.actions import configure_endpoint
from interfaces.hl7 import ack
from interfaces.hl7.listener import Limits, Listener
from interfaces.models import Endpoint, InboundMessage
from ris.accounts.models import system_user
from tests.makers import make_facility, make_procedure_type
from tests.peers.emr import Emr, Line

Server = tuple[str, int]


@pytest.fixture
def anybody(transactional_db: None) -> Endpoint:
    """The seeded partner: whoever sends is taken."""
    make_facility()
    make_procedure_type()
    return configure_endpoint("anybody", {"protocol": "mllp", "direction": "in"}, by=system_user("shell"))


@pytest.fixture
def listen(transactional_db: None) -> Iterator[Callable[..., Server]]:
    """`listen(frame_seconds=1)` starts a listener with these limits and returns its address."""
    running: list[tuple[asyncio.AbstractEventLoop, Listener, threading.Thread]] = []

    def start(context: ssl.SSLContext | None = None, **limits: Any) -> Server:
        loop = uvloop.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        listener = Listener(limits=Limits(**{"workers": 4, **limits}), context=context)
        running.append((loop, listener, thread))
        return asyncio.run_coroutine_threadsafe(listener.start("127.0.0.1", 0), loop).result(10)

    yield start
    for loop, listener, thread in running:
        assert asyncio.run_coroutine_threadsafe(listener.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
    # The pool's threads have ended; their database sessions end with their last reference.
    gc.collect()


@pytest.fixture
def server(anybody: Endpoint, listen: Callable[..., Server]) -> Server:
    return listen()


@pytest.fixture
def line(server: Server) -> Iterator[Line]:
    with Line(server) as connected:
        yield connected


@pytest.fixture
def emr(tmp_path: Path) -> Iterator[Emr]:
    with Emr(tmp_path / "emr.jsonl") as peer:
        yield peer


@pytest.fixture
def stored(anybody: Endpoint) -> Callable[[str], InboundMessage]:
    """Keeps a message as a crash right after commit 1 leaves it."""

    def keep(message: str) -> InboundMessage:
        header = ack.header_of(message.encode(), None)
        kept, fresh = engine.store(
            engine.Arrival(
                raw=message.encode(), endpoint=anybody, peer="", control_id=header.control_id, type=header.kind,
                sender=f"{header.sending_application}|{header.sending_facility}",
            )
        )  # fmt: skip
        assert fresh
        return kept

    return keep
