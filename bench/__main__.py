"""`make bench`: the demo department beside its peers, in one run on one machine.

Prints one table and writes bench/results.json. Figures beside a peer's are ratios of the same minutes; the others
depend on the machine and on what else it does.
"""

import json
import os
import platform
import re
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median, quantiles

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import ModalityWorklistInformationFind  # type: ignore[attr-defined]

from bench.clients import Scanner, Visitor, worklist_query
from ris.supervisor.places import OWNER
from ris.supervisor.postgres import binaries
from tests.flows.department import ZONE, adt, orm
from tests.peers.emr import Line
from tests.stack import PASSWORD, Stack, until

SECONDS = 5.0
RESULTS = Path(__file__).with_name("results.json")


@dataclass
class Row:
    what: str
    figure: float
    unit: str
    peer: str = ""
    peer_figure: float | None = None

    @property
    def ratio(self) -> str:
        return f"{self.figure / self.peer_figure:.2f}x" if self.peer_figure else ""


def main() -> None:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="ris-bench-") as folder:
        stack = Stack(Path(folder) / "data", seed="demo", RIS_ENV="demo")
        try:
            rows.append(Row("cold start to READY, with the demo made", timed(lambda: stack.start(300)), "s"))
            stack.stop()
            rows.append(Row("warm start to READY", timed(stack.start), "s"))
            time.sleep(5)
            rows.append(Row("memory of all processes, idle", memory(stack), "MB"))
            rows += pages(stack)
            rows += worklist(stack, Path(folder))
            rows += messages(stack)
            rows.append(Row("memory of all processes, after all that", memory(stack), "MB"))
        finally:
            rows.append(Row("stop", timed(stack.stop), "s"))
    for row in rows:
        beside = f"{row.peer}: {row.peer_figure:.1f}" if row.peer_figure else ""
        print(f"{row.what:<58} {row.figure:>9.1f} {row.unit:<6} {beside:<40} {row.ratio:>8}")
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()}
    results = {
        "at": datetime.now(ZONE).isoformat(),
        "machine": machine,
        "rows": [asdict(row) for row in rows],
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def timed(act: Callable[[], object]) -> float:
    begun = time.monotonic()
    act()
    return time.monotonic() - begun


def memory(stack: Stack) -> float:
    """Megabytes; what processes share is counted once (PSS)."""
    total = 0
    for pid, _ in stack.processes():
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


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
        rows.append(Row(f"page {path}, p95", quantiles(times, n=20)[-1], "ms"))
    return rows


def rate(clients: int, work: Callable[[int], Callable[[], object]]) -> float:
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
    end = time.monotonic() + SECONDS
    begun = time.monotonic()
    go.wait()
    for thread in threads:
        thread.join()
    return sum(done) / (time.monotonic() - begun)


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
        entry.file_meta = FileMetaDataset()
        entry.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        entry.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.31"
        entry.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        entry.save_as(place / f"{number}.wl", enforce_file_format=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = subprocess.Popen(["/usr/bin/wlmscpfs", "-dfr", "-dfp", folder, str(port)])
    try:
        until(lambda: not socket.socket().connect_ex(("127.0.0.1", port)), 10, "wlmscpfs")
        yield "127.0.0.1", port
    finally:
        server.kill()
        server.wait(5)


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


def messages(stack: Stack) -> list[Row]:
    """Messages over MLLP, each answered after its commit, beside PostgreSQL's own single-row commits."""
    rows = []
    for kind, clients in (("ADT^A08", 1), ("ADT^A08", 16), ("ORM^O01", 1), ("ORM^O01", 16)):
        lines = [Line(stack.mllp) for _ in range(clients)]
        ours = rate(clients, lambda client, kind=kind, lines=lines: sender(lines[client], kind, client))
        for line in lines:
            line.socket.close()
        what = f"{kind} in, ACK after commit, {clients} at once"
        rows.append(Row(what, ours, "/s", "pgbench", commits(stack, clients)))
    return rows


def sender(line: Line, kind: str, client: int) -> Callable[[], None]:
    numbers = count()
    run = f"{kind[:3]}{time.monotonic_ns() % 10**8}"

    def send() -> None:
        mrn = f"{run}{client}X{next(numbers)}"
        answer = line.send(adt(mrn, event="A08") if kind == "ADT^A08" else orm(mrn, f"P{mrn}"))
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
    main()
