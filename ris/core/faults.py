"""Named places where a test run lets a process die, as a power cut would; outside of tests they do nothing."""

import os
from collections import Counter
from pathlib import Path

#: `POINT` or `POINT:N` dies at the Nth passage of every process; `@FILE` reads that line from a file,
#: and the process that dies takes the file away: one death for each time the file is written.
_ARMED = os.environ.get("RIS_CRASH_AT", "") if os.environ.get("RIS_ENV") == "test" else ""
STATUS = 86
_passed: Counter[tuple[str, int]] = Counter()


def point(name: str) -> None:
    """The process may die here: nothing after this line happens, nothing before it is undone by us."""
    if _ARMED:
        _reached(name)


def _reached(name: str) -> None:
    armed, written = _ARMED, 0
    file = Path(_ARMED[1:]) if _ARMED.startswith("@") else None
    if file is not None:
        try:
            armed, written = file.read_text().strip(), file.stat().st_mtime_ns
        except FileNotFoundError:
            return
    wanted, _, count = armed.partition(":")
    if wanted != name:
        return
    _passed[name, written] += 1
    if _passed[name, written] < int(count or 1):
        return
    if file is not None:
        try:
            file.unlink()
        except FileNotFoundError:
            return  # another process was first
    os._exit(STATUS)
