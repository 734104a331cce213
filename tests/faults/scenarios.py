"""The faults, each at any size: strike while the load runs, heal, drain, judge."""

import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults import judge
from tests.faults.load import Department, Load, partner, sender
from tests.faults.proxy import Proxy
from tests.peers.emr import Emr, Entry
from tests.stack import ROOT, Stack, until

#: Where a process may be told to die (`ris.core.faults`), in the order of a case's life.
POINTS = (
    "after_inbox_insert",
    "after_effect_before_mark",
    "after_inbox_commit_before_ack",
    "mid_merge",
    "after_audit_before_commit",
    "after_claim",
    "after_send_before_ack",
    "after_ack_before_commit",
    "after_sign_before_outbox",
    "mid_pdf",
)


@dataclass(frozen=True)
class Result:
    """What a run was, how much of it there was, and what the judge found."""

    name: str
    size: str
    faults: str
    verdict: dict[str, list[str]]
    seconds: float

    @property
    def violations(self) -> list[str]:
        return judge.violations(self.verdict)


def armed_file(folder: Path) -> Path:
    return folder / "crash-at"


def stack_for(folder: Path, *arguments: str) -> Stack:
    """A department that may be told where to crash, with two workers."""
    return Stack(folder / "data", "--workers", "2", *arguments, RIS_CRASH_AT=f"@{armed_file(folder)}")


def die_in_the_first_migration(stack: Stack, folder: Path) -> None:
    """The next start must get over it."""
    armed = armed_file(folder)
    armed.write_text("mid_migration:12")
    with pytest.raises(AssertionError, match="ended with 1"):
        stack.start()
    assert not armed.exists()


class Run:
    """Times a scenario and judges it at its end."""

    def __init__(self, department: Department, name: str, tag: str) -> None:
        self.department = department
        self.name = name
        self.tag = tag
        self._begun = time.monotonic()

    @property
    def took(self) -> float:
        return time.monotonic() - self._begun

    def end(self, load: Load, faults: str, emrs: dict[str, Emr] | None = None) -> Result:
        self.department.settle()
        evidence = self.department.evidence(self.tag, emrs)
        heard = sum(len(entries) for entries in evidence.heard.values())
        return Result(
            self.name, f"{load.taken} in, {heard} out", faults, judge.judge(evidence), self.took,
        )  # fmt: skip


@contextmanager
def meanwhile(strike: Callable[[threading.Event], None]) -> Iterator[threading.Event]:
    """Run `strike` beside the body; the event says that the body has ended. What `strike` raises is raised."""
    over = threading.Event()
    problems: list[BaseException] = []

    def work() -> None:
        try:
            strike(over)
        except BaseException as problem:
            problems.append(problem)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield over
    finally:
        over.set()
        thread.join(180)
    if problems:
        raise problems[0]


def kills(
    department: Department, *, cases: int, kills: int, pause: tuple[float, float], seed: int = 1
) -> Result:
    """F1: kill -9 of listener, workers, beat and web at random times."""
    run, load = Run(department, "F1 kill -9 of our processes", "F1"), Load(department, "F1")
    stack, dice, killed = department.stack, random.Random(seed), Counter[str]()
    names = ["mllp", "worker", "web", "mllp", "worker-2", "worker", "beat", "worker-2"]

    def strike(over: threading.Event) -> None:
        number = 0
        while killed.total() < kills and not over.wait(dice.uniform(*pause)):
            name = names[number % len(names)]
            number += 1
            with suppress(OSError, KeyError, TypeError, ValueError):  # it is just being started again
                if stack.services()[name]["ready"]:
                    stack.kill(name, signal.SIGKILL)
                    killed[name] += 1

    with meanwhile(strike):
        number = load.hands
        load.run(cases)
        while killed.total() < kills:
            load.run(load.hands, first=cases + number)
            number += load.hands
    return run.end(load, f"{killed.total()} kills")


def crash_points(department: Department, *, times: int, latest: int = 3, seed: int = 1) -> Result:
    """F3: each named point strikes `times` times, when it is reached for the first to the `latest`th time."""
    run = Run(department, "F3 named crash points", "F3")
    light, whole = Load(department, "F3", whole=0, hands=3), Load(department, "F3", whole=1, hands=2)
    armed, dice, number, struck = armed_file(department.folder), random.Random(seed), 0, 0
    for _ in range(times):
        # The listener's and the workers' by turns: what dies again and again is started again more slowly.
        for point in sorted(POINTS, key=lambda one: POINTS.index(one) % 5):
            rare = point in ("after_sign_before_outbox", "mid_pdf")
            # Written beside and moved: a process must not read half of it.
            draft = armed.with_suffix(".new")
            draft.write_text(f"{point}:{1 if rare else dice.randint(1, latest)}")
            draft.replace(armed)
            try:
                number = (whole if rare else light).run_until(lambda: not armed.exists(), first=number)
            except AssertionError:
                raise AssertionError(f"{point} was never reached") from None
            struck += 1
    light.taken += whole.taken
    return run.end(light, f"{struck} crashes at {len(POINTS)} points")


def product() -> str:
    """The code that may hold the points."""
    places = ("ris", "scheduling", "billing", "interfaces")
    return "\n".join(path.read_text() for place in places for path in sorted((ROOT / place).rglob("*.py")))


def database_kills(department: Department, *, cases: int, kills: int, pause: tuple[float, float]) -> Result:
    """F4: kill -9 of every PostgreSQL process at once."""
    run, load = Run(department, "F4 kill -9 of PostgreSQL", "F4"), Load(department, "F4")
    stack, dice, killed = department.stack, random.Random(4), 0

    def strike(over: threading.Event) -> None:
        nonlocal killed
        while killed < kills and not over.wait(dice.uniform(*pause)):
            restarts = int(stack.services()["postgres"]["restarts"])
            for pid in _with_children(stack.pid("postgres")):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed += 1
            stack.wait_back("postgres", restarts + 1, 120)

    with meanwhile(strike):
        number = 0
        load.run(cases)
        while killed < kills:
            load.run(load.hands, first=cases + number)
            number += load.hands
    return run.end(load, f"{killed} kills")


def _with_children(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        return [pid, *map(int, children.read_text().split())]
    except OSError:
        return [pid]


def broker_faults(department: Department, *, rounds: int, seconds: float) -> Result:
    """F6: Valkey stopped, killed and emptied under load."""
    run, load = Run(department, "F6 Valkey stopped, killed, flushed", "F6"), Load(department, "F6")
    stack, number = department.stack, 0
    for _ in range(rounds):
        for fault in ("stop", "kill", "flush"):
            begun = time.monotonic()
            if fault == "stop":
                pid = stack.pid("valkey")
                os.kill(pid, signal.SIGSTOP)
                try:
                    number = load.run_until(lambda: time.monotonic() - begun > seconds, first=number)  # noqa: B023
                finally:
                    os.kill(pid, signal.SIGCONT)
            elif fault == "kill":
                restarts = int(stack.services()["valkey"]["restarts"])
                stack.kill("valkey")
                number = load.run_until(lambda: True, first=number)
                stack.wait_back("valkey", restarts + 1, 120)
            else:
                with meanwhile(lambda over: _flush(stack, over)):
                    number = load.run_until(lambda: True, first=number)
    return run.end(load, f"{rounds} of each")


def _flush(stack: Stack, over: threading.Event) -> None:
    while not over.wait(0.5):
        with suppress(OSError), socket.socket(socket.AF_UNIX) as line:
            line.settimeout(5)
            line.connect(str(stack.places.valkey_socket))
            line.sendall(b"FLUSHALL\r\n")
            line.recv(64)


#: What `Proxy` can do to the road to a partner.
ROADS = ("refuse", "blackhole", "halfopen", "slow", "split", "lose", "reset 1", "reset 80", "reset 300")


def bad_roads(department: Department, *, cases: int, seconds: float, modes: Sequence[str] = ROADS) -> Result:
    """F8: what happens between us and a partner, one partner for each fault, and one that is well."""
    run, load = Run(department, "F8 bad roads to partners", "F8"), Load(department, "F8", sender="F8")
    with ExitStack() as open_:
        emrs: dict[str, Emr] = {}
        proxies, partners = list[Proxy](), list[list[str]]()
        for mode in ["ok", *modes]:
            name = f"F8 {mode}"
            emrs[name] = open_.enter_context(Emr(department.folder / f"{name}.jsonl"))
            proxies.append(open_.enter_context(Proxy(emrs[name].address, mode)))
            partners.append(
                partner(name, proxies[-1].address, "answer_timeout=2", "back_off=1,2,5", only="F8")
            )
        department.commands(sender("F8"), *partners)
        begun, bad = time.monotonic(), proxies[1:]
        number = load.run_until(
            lambda: (
                time.monotonic() - begun > seconds
                and load.taken >= cases * 3
                and all(road.hits for road in bad)
            )
        )
        # The well one hears everything while the others are still cut off.
        until(
            lambda: not judge.judge(department.evidence("F8", {"F8 ok": emrs["F8 ok"]}))["I3"],
            120,
            "the partner on the good road hears everything",
        )
        met = sum(proxy.hits > 0 for proxy in proxies)
        for proxy in proxies:
            proxy.mode = "ok"
            proxy.cut()
        load.run(load.hands, first=number)
        result = run.end(load, f"{met} faults at once, {seconds:.0f} s", emrs)
        _dismiss(department, emrs)
    return result


def hostile_partners(department: Department, *, cases: int, partners: int = 3) -> Result:
    """F9: partners that refuse, forget to answer, answer late, for another message, twice, or nonsense."""
    shares = {"AE": 2, "AR": 1, "drop": 2, "late": 1, "wrong": 1, "earlier": 1, "garbage": 1, "two": 1}
    run, load = Run(department, "F9 hostile partners", "F9"), Load(department, "F9", sender="F9")
    misdeeds: Counter[str] = Counter()

    def manners(number: int) -> Callable[[Entry], str]:
        dice, met = random.Random(number), set[str]()

        def answer(entry: Entry) -> str:
            if entry.control_id in met:
                return "AA"
            met.add(entry.control_id)
            said = dice.choices([*shares, "AA"], [*shares.values(), 100 - sum(shares.values())])[0]
            misdeeds[said] += said != "AA"
            return said

        return answer

    with ExitStack() as open_:
        emrs = {
            f"F9 {number}": open_.enter_context(
                Emr(department.folder / f"F9 {number}.jsonl", manners(number), late_seconds=1.8)
            )
            for number in range(partners)
        }
        profile = ["answer_timeout=1", "ae_retries=20", "back_off=1,2,5"]
        department.commands(
            sender("F9"), *(partner(name, emr.address, *profile, only="F9") for name, emr in emrs.items())
        )
        load.run(cases)
        # Every AR is in sight of a person.
        department.settle()
        (rejected,) = department.stack.query(
            "SELECT count(*) FROM interfaces_outboundmessage m JOIN interfaces_endpoint e ON e.id = m.endpoint_id "
            "WHERE e.name LIKE 'F9 %%' AND m.status = 'rejected'"
        )[0]
        result = run.end(load, f"{misdeeds.total()} misdeeds, {rejected} AR wait in sight", emrs)
        if rejected != misdeeds["AR"]:
            result.verdict["I3"].append(f"{misdeeds['AR']} AR, but {rejected} in sight")
        _dismiss(department, emrs)
    return result


def frozen_sender(department: Department, *, rounds: int, seconds: float) -> Result:
    """F19: a worker is stopped in the middle, comes back later and believes that no time has passed."""
    run, load = Run(department, "F19 frozen sender", "F19"), Load(department, "F19")
    number = 0
    for turn in range(rounds):
        pid, begun = department.stack.pid(("worker", "worker-2")[turn % 2]), time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        try:
            number = load.run_until(lambda: time.monotonic() - begun > seconds, first=number)  # noqa: B023
        finally:
            os.kill(pid, signal.SIGCONT)
    return run.end(load, f"{rounds} x {seconds:.0f} s")


def _dismiss(department: Department, emrs: dict[str, Emr]) -> None:
    department.commands(*(["endpoint", name, "--delete"] for name in emrs))
