"""Running one listener, in one process or in several that share its port, until somebody ends it."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Protocol

import uvloop
from django.core.management.base import CommandError

from ris.supervisor.lifeline import die_with_parent


class Listener(Protocol):
    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; the address that was bound. Raises OSError."""

    async def stop(self) -> bool:
        """End in order; False when work had to be left behind."""


def open_port(host: str, port: int) -> socket.socket:
    """A socket that several processes may accept from. Raises CommandError when the address is taken."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address, family=family, backlog=512)
    except OSError as error:
        raise CommandError(f"Cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}.") from error


def serve(listener: Callable[[], Listener], host: str, port: int, *, processes: int = 1) -> None:
    """Listen, say so on stdout, and stop at SIGTERM or SIGINT. Raises CommandError when the address is taken.

    A Python process computes on one core: of `processes`, forked here, each takes its part of the connections of a
    socket that the listeners share. When one of them ends, all do, and whoever runs them starts them again.
    """
    others = _fork(processes - 1)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        clean, lost = runner.run(_until_ended(listener, host, port, others))
    for pid in others or ():
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    if not clean or others is None:
        # A thread that waits for the database would hold the exit; its transaction ends with us.
        sys.stdout.flush()
        os._exit(0)
    if lost:
        raise CommandError("One of the processes of this listener ended.")


def _fork(count: int) -> list[int] | None:
    """The ids of the new processes; None in each of them."""
    first = os.getpid()
    made = []
    for _ in range(count):
        pid = os.fork()
        if not pid:
            die_with_parent(first, signal.SIGTERM)
            return None
        made.append(pid)
    return made


async def _until_ended(
    kind: Callable[[], Listener], host: str, port: int, others: list[int] | None
) -> tuple[bool, bool]:
    """Whether it ended in order, and whether another process of it had ended before.

    The first process has `others`, tells where it listens and ends them with itself.
    """
    stop, lost = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def miss() -> None:
        lost.set()
        stop.set()

    watched = [os.pidfd_open(pid) for pid in others or ()]
    for descriptor in watched:
        loop.add_reader(descriptor, miss)  # readable once the process has ended
    listener = kind()
    try:
        bound_host, bound_port = await listener.start(host, port)
    except OSError as error:
        raise CommandError(f"Cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}.") from error
    if others is not None:
        print(f"LISTENING {bound_host}:{bound_port}", flush=True)
    await stop.wait()
    was_lost = lost.is_set()
    for descriptor in watched:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    for pid in others or ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    return await listener.stop(), was_lost
