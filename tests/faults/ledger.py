"""The outside ledger: what the loads meant to do and what they were promised, on disk before the next step."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

Line = dict[str, Any]


class Ledger:
    """A line is `intent` before a step and `acked` after its promise came; neither knows the system under test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8")

    def intent(self, step: str, kind: str, **facts: Any) -> None:
        self._write({"what": "intent", "step": step, "kind": kind, **facts})

    def acked(self, step: str, kind: str, **facts: Any) -> None:
        self._write({"what": "acked", "step": step, "kind": kind, **facts})

    def _write(self, line: Line) -> None:
        with self._lock:
            self._file.write(json.dumps({**line, "at": round(time.time(), 3)}) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def lines(self, tag: str = "") -> list[Line]:
        """What was written, of the run `tag`."""
        lines: list[Line] = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [line for line in lines if str(line["step"]).startswith(tag)]
