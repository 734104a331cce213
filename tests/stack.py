"""A whole department under `manage.py up`, for tests that look at it from outside."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg2

from ris.supervisor.lifeline import lifeline
from ris.supervisor.places import OWNER, Places

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "a password for tests"
_OURS = ("DATABASE_URL", "REDIS_URL", "RIS_DATA", "RIS_SECRET_KEY", "RIS_TEST_SERVERS")


def until(condition: Callable[[], Any], seconds: float = 30, what: str = "") -> Any:
    """Wait until `condition` is true and return what it returned; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {what or condition}"
        time.sleep(0.05)
    return found


class Stack:
    """`with Stack(tmp_path / "data") as stack:` starts and stops it. A stopped one may be started again."""

    def __init__(self, data: Path, *arguments: str, seed: str = "bare", **environment: str) -> None:
        self.places = Places(data.resolve())
        self.arguments = ["--http", "127.0.0.1:0", "--mllp", "127.0.0.1:0", "--dicom", "127.0.0.1:0"]
        self.arguments += ["--seed", seed, *arguments]
        inherited = {name: value for name, value in os.environ.items() if name not in _OURS}
        self.environment = {**inherited, "RIS_ENV": "test", "RIS_SEED_PASSWORD": PASSWORD, **environment}
        self.process: subprocess.Popen[bytes] | None = None
        self.ready: dict[str, str] = {}
        self.output = data.with_name(f"{data.name}.out")

    def start(self, limit: float = 400) -> Self:
        """Start and wait for READY."""
        self.begin()
        until(self.is_ready, limit, "READY")
        return self

    def begin(self) -> None:
        self.ready = {}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, ROOT / "manage.py", "up", "--data", self.places.data, *self.arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=lifeline(signal.SIGTERM),
            )

    def is_ready(self) -> bool:
        assert self.process is not None
        if self.ready:
            return True
        ended = self.process.poll() is not None
        for line in self.said().splitlines():
            if line.startswith("READY "):
                self.ready = json.loads(line.removeprefix("READY "))
        assert self.ready or not ended, f"`up` ended with {self.process.returncode}:\n{self.said()}"
        return bool(self.ready)

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(15)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    # Where it listens

    @property
    def http(self) -> str:
        return self.ready["http"]

    @property
    def mllp(self) -> tuple[str, int]:
        host, _, port = self.ready["mllp"].rpartition(":")
        return host, int(port)

    @property
    def dicom(self) -> tuple[str, str, int]:
        title, _, address = self.ready["dicom"].partition("@")
        host, _, port = address.rpartition(":")
        return title, host, int(port)

    # Looking in and reaching in

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def log(self, name: str) -> str:
        return (self.places.logs / f"{name}.log").read_text(errors="replace")

    def manage(self, *words: str) -> str:
        """Run another command of manage.py against this department; returns what it printed."""
        done = subprocess.run(
            [sys.executable, ROOT / "manage.py", *words],
            env={**self.environment, "RIS_DATA": str(self.places.data)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of its database, asked as the owner."""
        connection = psycopg2.connect(self.places.database_url(OWNER))
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def services(self) -> dict[str, dict[str, Any]]:
        """`postgres valkey web mllp dicom worker beat`, each with pid, address, restarts and ready."""
        found: dict[str, dict[str, Any]] = json.loads(self.places.status.read_text())["services"]
        return found

    def pid(self, name: str) -> int:
        return int(self.services()[name]["pid"])

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        os.kill(self.pid(name), number)

    def wait_back(self, name: str, restarts: int, seconds: float = 30) -> None:
        """Wait until `name` was restarted `restarts` times in all and answers again."""

        def is_back() -> bool:
            service = self.services()[name]
            return bool(service["restarts"] >= restarts and service["ready"])

        until(is_back, seconds, f"{name} is back")

    def processes(self) -> set[tuple[int, str]]:
        """Every process below `up`, each as (pid, start time): a number used again is another process."""
        assert self.process is not None
        parents = dict(_parents())
        found = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found and pid not in found}:
            found |= more
        return {(pid, started) for pid in found if (started := _started(pid))}


def still_running(processes: Iterable[tuple[int, str]]) -> set[int]:
    return {pid for pid, started in processes if _started(pid) == started}


def _parents() -> Iterable[tuple[int, int]]:
    for entry in Path("/proc").glob("[0-9]*"):
        if fields := _fields(int(entry.name)):
            yield int(entry.name), int(fields[1])


def _started(pid: int) -> str:
    fields = _fields(pid)
    return fields[19] if fields and fields[0] != "Z" else ""


def _fields(pid: int) -> list[str]:
    """/proc/PID/stat from its third field on; the second one may hold blanks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
