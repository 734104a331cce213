"""The DICOM services on a free port of loopback, in a thread of the test's own process."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
import uvloop

from interfaces.dicom.listener import Listener
from tests.interfaces.dicom.scu import Ris


@pytest.fixture
def ris(transactional_db: None) -> Iterator[Ris]:
    listening = threading.Event()
    ports: list[int] = []
    ending: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        listener = Listener()
        _, port = await listener.start("127.0.0.1", 0)
        stop = asyncio.Event()
        ports.append(port)
        ending.append((asyncio.get_running_loop(), stop))
        listening.set()
        await stop.wait()
        assert await listener.stop(), "the threads are still at work"

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert listening.wait(10)
    yield Ris("127.0.0.1", ports[0])
    loop, stop = ending[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    assert not thread.is_alive()
