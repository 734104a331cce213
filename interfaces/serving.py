"""Running one listener as a process of its own, until somebody ends it."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Protocol

import uvloop
from django.core.management.base import CommandError


class Listener(Protocol):
    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; the address that was bound. Raises OSError."""

    async def stop(self) -> bool:
        """End in order; False when work had to be left behind."""


def serve(listener: Callable[[], Listener], host: str, port: int) -> None:
    """Listen, say so on stdout, and stop at SIGTERM or SIGINT. Raises CommandError when the address is taken."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        clean = runner.run(_until_ended(listener, host, port))
    if not clean:
        # A thread that waits for the database would hold the exit; its transaction ends with us.
        sys.stdout.flush()
        os._exit(0)


async def _until_ended(kind: Callable[[], Listener], host: str, port: int) -> bool:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listener = kind()
    try:
        bound_host, bound_port = await listener.start(host, port)
    except OSError as error:
        raise CommandError(f"Cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}.") from error
    print(f"LISTENING {bound_host}:{bound_port}", flush=True)
    await stop.wait()
    return await listener.stop()
