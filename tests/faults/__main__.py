"""The fault runs at full size: `make faults`. Prints a line per invariant and rewrites the table in docs/reliability.md.

python -m tests.faults [F1 F3 ...] [--share 0.1]
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from tests.faults import judge, modalities, scenarios
from tests.faults.load import Department
from tests.faults.scenarios import Result
from tests.stack import ROOT

DOCUMENT = ROOT / "docs" / "reliability.md"
_BEGIN, _END = "<!-- results -->", "<!-- end of results -->"


def full(share: float) -> dict[str, Callable[[Department], Result]]:
    """Every scenario at `share` of its full size."""

    def n(count: int) -> int:
        return max(1, round(count * share))

    return {
        "F1": lambda one: scenarios.kills(one, cases=n(3400), kills=n(100), pause=(2.0, 6.0)),
        "F3": lambda one: scenarios.crash_points(one, times=n(50)),
        "F4": lambda one: scenarios.database_kills(one, cases=n(500), kills=n(50), pause=(2.0, 8.0)),
        "F5": lambda one: modalities.without_the_database(one, steps=n(40), seconds=max(2.0, 300 * share)),
        "F6": lambda one: scenarios.broker_faults(one, rounds=n(5), seconds=max(2.0, 60 * share)),
        "F8": lambda one: scenarios.bad_roads(one, cases=n(200), seconds=max(4.0, 300 * share)),
        "F9": lambda one: scenarios.hostile_partners(one, cases=n(840)),
        "F14": lambda one: modalities.slow_peers(
            one, idle=n(300), halves=n(64), tricklers=n(16), seconds=max(4.0, 600 * share)
        ),
        "F15": lambda one: modalities.broken_modalities(one, cases=n(2000), booked=n(100)),
        "F19": lambda one: scenarios.frozen_sender(one, rounds=n(30), seconds=max(5.0, 60 * share)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Strike a running department with faults.")
    parser.add_argument(
        "runs", nargs="*", help="F1 F3 F4 F5 F6 F8 F9 F11 F14 F15 F19; all when none is named"
    )
    parser.add_argument("--share", type=float, default=1.0, help="of the full size (1.0)")
    options = parser.parse_args()
    chosen, failed = [one.upper() for one in options.runs], False
    for name, scenario in full(options.share).items():
        if chosen and name not in chosen:
            continue
        # A department of its own for each, so that one run's debris is not the next one's.
        with tempfile.TemporaryDirectory(prefix="ris-faults-") as folder:
            place = Path(folder)
            place.chmod(0o711)
            stack = scenarios.stack_for(place)
            if name == "F3":
                scenarios.die_in_the_first_migration(stack, place)
            with stack:
                department = Department(stack, place)
                try:
                    result = scenario(department)
                finally:
                    department.close()
        failed = failed or bool(result.violations)
        print(f"{result.name}: {result.size}, {result.faults}, {result.seconds:.0f} s")
        print(judge.report(result.verdict), flush=True)
        count = len(result.violations)
        write(name, [result.name, result.size, result.faults, str(count), f"{result.seconds:.0f} s"])
    if not chosen or "F11" in chosen:
        failed = _shuffled(max(1, round(100 * options.share))) or failed
    return 1 if failed else 0


def _shuffled(seeds: int) -> bool:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/faults/test_shuffled.py"], cwd=ROOT,
        env={**os.environ, "RIS_FAULT_SEEDS": str(seeds)}, check=False,
    )  # fmt: skip
    seconds = f"{time.monotonic() - begun:.0f} s"
    result = "0" if done.returncode == 0 else "some"
    write(
        "F11",
        ["F11 shuffled and doubled feed", f"{seeds} feeds", "a third late, a third twice", result, seconds],
    )
    return done.returncode != 0


def write(name: str, cells: list[str]) -> None:
    """Replace the row of run `name`, or add it."""
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(_BEGIN)
    table, _, after = rest.partition(_END)
    rows = table.strip().splitlines()
    row = f"| {' | '.join([*cells, _machine()])} |"
    kept = [one for one in rows if not one.startswith(f"| {name} ")]
    head, body = kept[:2], sorted([*kept[2:], row], key=lambda one: int(re.findall(r"\d+", one)[0]))
    DOCUMENT.write_text(f"{before}{_BEGIN}\n" + "\n".join([*head, *body]) + f"\n{_END}{after}")


def _machine() -> str:
    return f"{date.today():%Y-%m-%d}, {os.cpu_count()} cores"


if __name__ == "__main__":
    sys.exit(main())
