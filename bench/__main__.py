"""`make bench`: the demo department beside its peers, in one run on one machine.

Prints one table and writes bench/results.json. Figures beside a peer's are ratios of the same minutes; the others
depend on the machine and on what else it does. A goal is met or not, and both are told.

BENCH_MESSAGES=1000000 makes the run over which memory must stay flat a long one; `make bench ONLY=worklists` measures
the worklist's growth alone (BENCH_STEPS ends it sooner).
"""

import json
import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import ModalityWorklistInformationFind  # type: ignore[attr-defined]

from bench import parse, worklists
from bench.clients import Scanner, Sink, Visitor, worklist_query
from bench.measure import SECONDS, Row, memory, rate, timed
from ris.supervisor.places import OWNER
from ris.supervisor.postgres import binaries
from tests.flows.department import ZONE, adt, orm
from tests.peers.emr import Line
from tests.stack import PASSWORD, Stack, until

RESULTS = Path(__file__).with_name("results.json")


def main(only: str = "") -> None:
    rows: list[Row] = []

    def add(*more: Row) -> None:
        for row in more:
            print(row.line, flush=True)
            rows.append(row)

    if only == "worklists":
        with tempfile.TemporaryDirectory(prefix="ris-bench-") as folder:
            for row in worklists.growth(Path(folder)):
                add(row)
        return
    add(*reading())
    with tempfile.TemporaryDirectory(prefix="ris-bench-") as folder:
        stack = Stack(Path(folder) / "data", seed="demo", RIS_ENV="demo")
        try:
            add(Row("cold start to READY, with the demo made", timed(lambda: stack.start(300)), "s"))
            stack.stop()
            add(Row("warm start to READY", timed(stack.start), "s"))
            time.sleep(5)
            add(Row("memory of all processes, idle", memory(stack), "MB", goal="<= 700"))
            add(*pages(stack))
            add(*worklist(stack, Path(folder)))
            add(*messages(stack))
            add(*deliveries(stack))
            add(*endurance(stack))
            add(Row("memory of all processes, after all that", memory(stack), "MB"))
        finally:
            add(Row("stop", timed(stack.stop), "s"))
        for row in worklists.growth(Path(folder)):
            add(row)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()}
    results = {
        "at": datetime.now(ZONE).isoformat(),
        "machine": machine,
        "rows": [{**asdict(row), "met": row.met} for row in rows],
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def pages(stack: Stack) -> list[Row]:
    rows = []
    today = f"{datetime.now(ZONE):%Y-%m-%d}"
    for username, path in (
        ("frontdesk", "/board"),
        ("frontdesk", f"/schedule/{today}"),
        ("radiologist", "/reading"),
    ):
        with Visitor(stack.http, username, PASSWORD) as visitor:
            visitor.get(path)
            times = [timed(lambda visitor=visitor, path=path: visitor.get(path)) * 1000 for _ in range(60)]
        rows.append(Row(f"page {path}, p50", median(times), "ms"))
        rows.append(Row(f"page {path}, p95", quantiles(times, n=20)[-1], "ms", goal="<= 250"))
    return rows


def worklist(stack: Stack, folder: Path) -> list[Row]:
    title, host, port = stack.dicom
    rows = []
    with dcmtk_worklist(stack, folder / "worklist") as peer:
        ours, theirs = Scanner((host, port), title), Scanner(peer, "PEER")
        days = (datetime.now(ZONE) + timedelta(days=number) for number in range(7))
        queries = (worklist_query("CT1", "CT", f"{day:%Y%m%d}") for day in days)
        query, matches = next((query, found) for query in queries if (found := ours.find(query)))
        assert matches == theirs.find(query), "the same list, the same answer"
        for clients in (1, 8):
            rows.append(
                Row(
                    f"worklist queries, {clients} at once, {matches} matches",
                    rate(clients, lambda _: lambda: ours.find(query)),
                    "/s",
                    "DCMTK wlmscpfs",
                    rate(clients, lambda _: lambda: theirs.find(query)),
                    goal=">= 20x",
                )
            )
    return rows


@contextmanager
def dcmtk_worklist(stack: Stack, folder: Path) -> Iterator[tuple[str, int]]:
    """DCMTK's worklist server with the very entries that ours has."""
    place = folder / "PEER"
    place.mkdir(parents=True)
    (place / "lockfile").touch()
    for number, entry in enumerate(all_entries(stack)):
        worklists.write_entry(entry, place / f"{number}.wl")
    with worklists.wlmscpfs(folder) as address:
        yield address


def all_entries(stack: Stack) -> list[Dataset]:
    title, host, port = stack.dicom
    step = Dataset()
    for keyword in ("Modality", "ScheduledStationAETitle", "ScheduledProcedureStepStartDate"):
        setattr(step, keyword, "")
    step.ScheduledProcedureStepStartTime = step.ScheduledProcedureStepDescription = ""
    step.ScheduledProcedureStepID = ""
    keys = Dataset()
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyInstanceUID"):
        setattr(keys, keyword, "")
    keys.RequestedProcedureID = ""
    keys.ScheduledProcedureStepSequence = [step]
    ae = AE("CT1")
    ae.add_requested_context(ModalityWorklistInformationFind, ImplicitVRLittleEndian)
    association = ae.associate(host, port, ae_title=title)
    found = association.send_c_find(keys, ModalityWorklistInformationFind)
    entries = [entry for _, entry in found if entry is not None]
    association.release()
    return entries


def reading() -> list[Row]:
    """What reading a message costs beside a split into fields that does nothing else."""
    goals = {"ORM, what ingest asks": "<= 50", "ORU of 7.5 kB, every OBX-5": "<= 100"}
    return [
        Row(
            f"reading: {cost.what}",
            cost.seconds * 1e6,
            "us",
            "split",
            cost.beside * 1e6,
            goals.get(cost.what, ""),
        )
        for cost in parse.costs()
    ]


def messages(stack: Stack) -> list[Row]:
    """Messages over MLLP, each answered after its commit, beside PostgreSQL's own single-row commits and beside
    servers that answer without storing anything."""
    rows = []
    for clients, goal in ((1, ">= 0.5x"), (16, ">= 1x")):
        what = f"messages stored (first commit), {clients} at once"
        ours = inside(stack, "store", clients, SECONDS)
        rows.append(Row(what, ours, "/s", "pgbench", commits(stack, clients), goal))
    for kind, clients in (("ADT^A08", 1), ("ADT^A08", 16), ("ORM^O01", 1), ("ORM^O01", 16)):
        ours = throughput(stack.mllp, kind, clients)
        what = f"{kind} in, ACK after commit, {clients} at once"
        rows.append(
            Row(what, ours, "/s", "pgbench", commits(stack, clients), ">= 0.3x" if clients > 1 else "")
        )
        if (kind, clients) == ("ADT^A08", 16):
            for library, goal in (("hl7", ">= 5x"), ("hl7apy", ">= 100x")):
                with server(library) as address:
                    theirs = throughput(address, kind, clients, reconnect=library == "hl7apy")
                name = "python-hl7" if library == "hl7" else library
                rows.append(Row(f"the same, beside {name} (stores nothing)", ours, "/s", name, theirs, goal))
    return rows


def throughput(address: tuple[str, int], kind: str, clients: int, *, reconnect: bool = False) -> float:
    """`reconnect`: hl7apy's server closes after each message."""
    if reconnect:
        return rate(clients, lambda client: sender(None, kind, client, address))
    lines = [Line(address, timeout=60) for _ in range(clients)]
    try:
        return rate(clients, lambda client: sender(lines[client], kind, client))
    finally:
        for line in lines:
            line.socket.close()


@contextmanager
def server(library: str) -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "bench.peers", library, str(port)])
    try:
        until(lambda: not socket.socket().connect_ex(("127.0.0.1", port)), 20, library)
        yield "127.0.0.1", port
    finally:
        process.kill()
        process.wait(5)


def inside(stack: Stack, *words: object) -> Any:
    """What an act of `bench.inside` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.inside", *map(str, words)],
        env=surroundings(stack), capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def surroundings(stack: Stack) -> dict[str, str]:
    return {
        **stack.environment, "DJANGO_SETTINGS_MODULE": "ris.settings", "RIS_DATA": str(stack.places.data),
        "BENCH_BROKER": stack.places.redis_url, "BENCH_DATABASE": stack.places.database_url(OWNER),
    }  # fmt: skip


DELIVERED = 400
TRICKLED = 40


def deliveries(stack: Stack) -> list[Row]:
    """A partner comes back after an outage; a message at a time from commit to ACK; a Celery task each beside both."""
    with Sink() as sink, celery(stack):
        stack.query("CREATE TABLE bench_task (control_id text PRIMARY KEY, raw bytea, answer bytea)")
        stack.query("GRANT ALL ON bench_task TO ris_app")
        stack.manage(
            "endpoint", "bench", "--protocol", "mllp", "--direction", "out", "--address", sink.name, "--pause"
        )
        inside(stack, "fill", "bench", DELIVERED)
        stack.manage("endpoint", "bench", "--resume")
        ours = sink.drained(DELIVERED)
        inside(stack, "tasks", sink.name, DELIVERED, 0)
        theirs = sink.drained(DELIVERED)
        rows = [
            Row("messages out, a queue after an outage", ours, "/s", "a Celery task each", theirs, ">= 10x")
        ]
        ours = sink.latency(inside(stack, "trickle", "bench", TRICKLED, 0.1))
        theirs = sink.latency(inside(stack, "tasks", sink.name, TRICKLED, 0.1))
        rows.append(
            Row("commit to ACK, p95", ours * 1000, "ms", "a Celery task each", theirs * 1000, "<= 1x")
        )
    stack.manage("endpoint", "bench", "--pause")
    return rows


def _repeat(act: Callable[[], object], times: int) -> None:
    for _ in range(times):
        act()


@contextmanager
def celery(stack: Stack) -> Iterator[None]:
    """A worker for the peer's tasks alone: one at a time, as order asks."""
    words = (
        "worker",
        "--pool",
        "solo",
        "--without-gossip",
        "--without-mingle",
        "--loglevel",
        "error",
        "-n",
        "bench",
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "bench.onetask", *words],
        env=surroundings(stack), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        process.kill()
        process.wait(5)


MESSAGES = int(os.environ.get("BENCH_MESSAGES", "2000"))


def endurance(stack: Stack) -> list[Row]:
    """Memory after so many messages beside that after the first tenth of them."""
    lines = [Line(stack.mllp, timeout=60) for _ in range(8)]
    sizes = []
    for share in (MESSAGES // 10, MESSAGES - MESSAGES // 10):
        acts = [sender(line, "ADT^A08", number) for number, line in enumerate(lines)]
        with ThreadPoolExecutor(len(acts)) as pool:
            list(pool.map(_repeat, acts, [share // len(acts)] * len(acts)))
        sizes.append(memory(stack))
    for line in lines:
        line.socket.close()
    return [Row(f"memory after {MESSAGES} messages", sizes[1], "MB", "after a tenth", sizes[0], "<= 1.1x")]


def sender(
    line: Line | None, kind: str, client: int, address: tuple[str, int] = ("", 0)
) -> Callable[[], None]:
    """Sends another message each time: over `line`, or over a connection of its own to `address`."""
    numbers = count()
    run = f"{kind[:3]}{time.monotonic_ns() % 10**8}"

    def send() -> None:
        mrn = f"{run}{client}X{next(numbers)}"
        message = adt(mrn, event="A08") if kind == "ADT^A08" else orm(mrn, f"P{mrn}")
        if line is not None:
            answer = line.send(message)
        else:
            with Line(address, timeout=60) as once:
                answer = once.send(message)
        assert answer.code == "AA", answer

    return send


def commits(stack: Stack, clients: int) -> float:
    """Single-row commits a second of the same PostgreSQL, the cheapest thing that is durable."""
    stack.query("CREATE TABLE IF NOT EXISTS bench_commit (at timestamptz DEFAULT now(), raw text)")
    script = stack.places.data / "commit.sql"
    script.write_text("INSERT INTO bench_commit (raw) VALUES (repeat('x', 1000));\n")
    done = subprocess.run(
        [binaries() / "pgbench", "-n", "-f", script, "-c", str(clients), "-j", "2", "-T", str(int(SECONDS)),
         "-h", stack.places.postgres_run, "-U", OWNER, "ris"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found, done.stdout
    return float(found[1])


if __name__ == "__main__":
    main(*sys.argv[1:2])
