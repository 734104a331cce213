"""The DICOM services on a free port of loopback, in a thread of the test's own process."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvloop
from django.core.management import call_command
from pytest_django.plugin import DjangoDbBlocker

from interfaces.dicom.listener import Listener
from tests.interfaces.dicom.scu import Ris


@contextmanager
def serving() -> Iterator[Ris]:
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[Listener, str, int]:
        listener = Listener()
        return listener, *await listener.start("127.0.0.1", 0)

    listener, host, port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    yield Ris(host, port)
    assert asyncio.run_coroutine_threadsafe(listener.stop(), loop).result(10), "threads are still at work"
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def ris(transactional_db: None) -> Iterator[Ris]:
    with serving() as services:
        yield services


@pytest.fixture(scope="module")
def shared_ris(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Ris]:
    """One for all tests of a file; its rows go with the last of them."""
    with django_db_blocker.unblock():
        with serving() as services:
            yield services
        call_command("flush", interactive=False, verbosity=0)
