"""Rows of the table, and how their figures are taken."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.stack import Stack

SECONDS = 5.0


@dataclass
class Row:
    what: str
    figure: float
    unit: str
    peer: str = ""
    peer_figure: float | None = None
    #: ">= 5x" of the peer's figure, or "<= 700" of our own.
    goal: str = ""

    @property
    def ratio(self) -> float | None:
        return self.figure / self.peer_figure if self.peer_figure else None

    @property
    def met(self) -> bool | None:
        if not self.goal:
            return None
        direction, _, limit = self.goal.partition(" ")
        reached = self.ratio if limit.endswith("x") else self.figure
        assert reached is not None, "a goal in multiples has a peer"
        bound = float(limit.rstrip("x"))
        return reached >= bound if direction == ">=" else reached <= bound

    @property
    def line(self) -> str:
        beside = f"{self.peer}: {self.peer_figure:.1f}" if self.peer_figure else ""
        ratio = f"{self.ratio:.3g}x" if self.ratio else ""
        verdict = {None: "", True: "met", False: "not met"}[self.met]
        return f"{self.what:<56} {self.figure:>9.1f} {self.unit:<5} {beside:<34} {ratio:>8}  {self.goal:<9} {verdict}"


def timed(act: Callable[[], object]) -> float:
    begun = time.monotonic()
    act()
    return time.monotonic() - begun


def memory(stack: Stack, *, of: int | None = None) -> float:
    """Megabytes of all processes, or of one; what processes share is counted once (PSS)."""
    total = 0
    for pid in [of] if of else [pid for pid, _ in stack.processes()]:
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since it was listed
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def rate(clients: int, work: Callable[[int], Callable[[], object]], seconds: float = SECONDS) -> float:
    """Times a second that `clients` threads together do what `work(client)` returned."""
    done = [0] * clients
    acts = [work(client) for client in range(clients)]
    go = threading.Barrier(clients + 1)
    end = 0.0

    def run(client: int) -> None:
        go.wait()
        while time.monotonic() < end:
            acts[client]()
            done[client] += 1

    threads = [threading.Thread(target=run, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    begun = time.monotonic()
    go.wait()
    for thread in threads:
        thread.join()
    return sum(done) / (time.monotonic() - begun)
