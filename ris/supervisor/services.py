"""Starting services in order, keeping them alive, stopping them, leaving nothing behind."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ris.supervisor.errors import CannotStart
from ris.supervisor.lifeline import lifeline
from ris.supervisor.places import Places, write_private

START_LIMIT = 120.0  # seconds until a service must answer
# Of the ten seconds that a stop may take: the services', then the stores'.
SERVICE_LIMIT, STORE_LIMIT = 5.0, 4.0
LONG_LIFE = 20.0  # a service that lived this long starts its back-off anew
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
LOG_LIMIT = 20_000_000  # bytes; what is older stays once more under `.1`

_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
_LISTENING = re.compile(rb"^LISTENING\b *(\S*)\n", re.MULTILINE)
# Where a program says why it ended, best first.
_REASONS = [
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"\(ris\.E\d+\) (.+)$",
        r"(?:FATAL|PANIC): +(.+)$",
        r"^[\w.]*(?:Error|Configured): (.+)$",
        r"(.+)$",
    )
]


class Stopping(Exception):
    """The operator asked for the end."""


@dataclass
class Service:
    """A long-lived program.

    It is ready when `answers` says so or, without `answers`, when it has printed `LISTENING [HOST:PORT]`.
    """

    name: str
    argv: Callable[["Service"], list[str]]
    log: Path
    answers: Callable[[], bool] | None = None
    address: str = ""  # what to listen on; once it listens, what it listens on
    is_store: bool = False  # stopped last
    stop: signal.Signals = signal.SIGTERM
    # What ends it when the supervisor was killed: nobody is left to insist, and the database keeps what counts.
    death: signal.Signals = signal.SIGKILL
    patience: float = 0.0  # seconds in which the first start may fail and be tried again
    popen: dict[str, Any] = field(default_factory=dict)

    process: subprocess.Popen[bytes] | None = None
    ready: bool = False
    started: float = 0.0
    restarts: int = 0
    failures: int = 0
    restart_at: float | None = None
    _log_start: int = 0

    def spawn(self) -> None:
        with self.log.open("ab") as log:  # appending: the log may be cut short meanwhile
            self._log_start = log.tell()
            self.process = subprocess.Popen(
                self.argv(self),
                **{
                    "stdin": subprocess.DEVNULL,
                    "stdout": log,
                    "stderr": log,
                    "start_new_session": True,  # Ctrl-C reaches the supervisor alone
                    "preexec_fn": lifeline(self.death),
                    **self.popen,
                },
            )
        self.started = time.monotonic()
        self.restart_at = None
        self.ready = False

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None and self.process.returncode is None else None

    def look_ready(self) -> bool:
        if not self.ready:
            if self.answers is not None:
                self.ready = not self.has_ended() and self.answers()
            elif said := _LISTENING.search(self._said()):
                self.address = said[1].decode() or self.address
                self.ready = True
        return self.ready

    def has_ended(self) -> bool:
        """Whether it has ended. Its process id stays taken until `reap`, so that no stranger gets it."""
        if self.pid is None:
            return True
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def reap(self) -> int:
        """End what an ended program left in its process group; returns its exit status."""
        assert self.process is not None  # it was spawned
        if self.process.returncode is None:
            self.send(signal.SIGKILL, group=True)
            self.process.wait()
        return int(self.process.returncode)

    def send(self, number: signal.Signals, *, group: bool = False) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                (os.killpg if group else os.kill)(self.pid, number)

    def last_words(self) -> str:
        text = self._said().decode(errors="replace")
        for reason in _REASONS:
            if found := reason.findall(text):
                return str(found[-1]).strip()
        return "it said nothing"

    def _said(self) -> bytes:
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read(1_000_000)


class Supervisor:
    """Runs in the main thread alone and takes its signals one by one: nothing happens between two lines."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.services: list[Service] = []
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    def start(self, *services: Service) -> None:
        """Start `services` together and wait until each of them answers."""
        self.services += services
        for service in services:
            service.spawn()
        self.write_status()
        begun = time.monotonic()
        while waiting := [service for service in services if not service.look_ready()]:
            self._wait(0.05)
            waited = time.monotonic() - begun
            for service in waiting:
                if service.has_ended():
                    status = service.reap()
                    if waited > service.patience:
                        raise CannotStart(f"{service.name} did not start: {_why(status, service)}")
                    self._wait(0.3)
                    service.spawn()
                elif waited > START_LIMIT:
                    raise CannotStart(
                        f"{service.name} did not answer within {START_LIMIT:.0f} seconds; see {service.log}."
                    )
        self.write_status()

    def run(self, step: Service) -> None:
        """Run a program to its end."""
        self.services.append(step)
        step.spawn()
        while not step.has_ended():
            self._wait(1.0)
        status = step.reap()
        self.services.remove(step)
        if status:
            raise CannotStart(f"{step.name} failed: {_why(status, step)}")

    def watch(self) -> None:
        """Restart what ends, until a signal asks for the end."""
        looked_at_logs = time.monotonic()
        while True:
            now = time.monotonic()
            pauses = [service.restart_at - now for service in self.services if service.restart_at is not None]
            starting = any(not service.ready for service in self.services)
            self._wait(max(0.01, min([0.1 if starting else 5.0, *pauses])))
            now = time.monotonic()
            for service in self.services:
                if service.restart_at is not None:
                    if now >= service.restart_at:
                        service.restarts += 1
                        service.spawn()
                        self.write_status()
                elif service.has_ended():
                    self._plan_restart(service, now)
                elif not service.ready and service.look_ready():
                    say(f"{service.name} is back")
                    self.write_status()
            if now - looked_at_logs > 60:
                looked_at_logs = now
                self._shorten_logs()

    def stop(self) -> None:
        """Ask the services to end, then the stores; insist when they do not."""
        for stores, limit in ((False, SERVICE_LIMIT), (True, STORE_LIMIT)):
            leaving = [service for service in self.services if service.is_store is stores]
            for service in leaving:
                service.send(service.stop)
            end = time.monotonic() + limit
            while not all(service.has_ended() for service in leaving) and time.monotonic() < end:
                signal.sigtimedwait(_SIGNALS, 0.1)
            for service in leaving:
                if not service.has_ended():
                    say(f"{service.name} did not stop within {limit:.0f} s and was killed")
                if service.process is not None:
                    service.reap()
        self.places.status.unlink(missing_ok=True)

    def write_status(self) -> None:
        services = {
            service.name: {
                "pid": service.pid,
                "address": service.address,
                "restarts": service.restarts,
                "ready": service.ready,
            }
            for service in self.services
        }
        write_private(
            self.places.status, json.dumps({"up": os.getpid(), "services": services}, indent=1) + "\n"
        )

    def _wait(self, seconds: float) -> None:
        """Sleep until a child ends, `seconds` at most; raise Stopping when asked to end."""
        came = signal.sigtimedwait(_SIGNALS, seconds)
        if came is not None and came.si_signo != signal.SIGCHLD:
            raise Stopping

    def _plan_restart(self, service: Service, now: float) -> None:
        status = service.reap()
        service.ready = False
        service.failures = 1 if now - service.started > LONG_LIFE else service.failures + 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (service.failures - 1))
        service.restart_at = now + pause
        say(f"{service.name} ended: {_why(status, service)}; starting again in {pause:.1f} s")
        self.write_status()

    def _shorten_logs(self) -> None:
        for log in self.places.logs.glob("*.log"):
            if log.stat().st_size > LOG_LIMIT:
                shutil.copyfile(log, log.with_suffix(".log.1"))
                os.truncate(log, 0)


def _why(status: int, service: Service) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return service.last_words() if status else "without an error"


def say(line: str) -> None:
    """Tell the operator; a closed console must not end the department."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)
