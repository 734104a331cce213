"""The DICOM services on a free port of loopback, in a thread of the test's own process."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvloop
from django.core.management import call_command
from pytest_django.plugin import DjangoDbBlocker

from interfaces.dicom.listener import Listener
from tests.interfaces.dicom.scu import Ris
from tests.peers import archive as archive_peer
from tests.peers.archive import Archive


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[tuple[Ris, Ris]]:
    """In clear text, and over TLS where there is a context."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[Listener, str, int]:
        listener = Listener(("127.0.0.1", 0, context) if context else None)
        return listener, *await listener.start("127.0.0.1", 0)

    listener, host, port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    yield Ris(host, port), Ris(host, listener.secure_port or 0)
    assert asyncio.run_coroutine_threadsafe(listener.stop(), loop).result(10), "threads are still at work"
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def ris(transactional_db: None) -> Iterator[Ris]:
    with serving() as (services, _):
        yield services


@pytest.fixture(scope="module")
def shared_ris(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Ris]:
    """One for all tests of a file; its rows go with the last of them."""
    with django_db_blocker.unblock():
        with serving() as (services, _):
            yield services
        call_command("flush", interactive=False, verbosity=0)


@pytest.fixture(scope="session")
def archive() -> Iterator[Archive]:
    """A real Orthanc, one for the run; what tests store in it bears UIDs of their own."""
    with archive_peer.running() as peer:
        yield peer
