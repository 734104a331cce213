"""Worklist queries while the list grows to a million steps, beside file-based servers with the very same list.

The matches of a query stay the same as the list grows, so what grows is the search: 10 and 50 steps of one machine on one
day, one by its accession number, 10 by a name. All steps stand in the tables the department works with.

BENCH_STEPS=10000 ends the growth there.
"""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import psycopg2
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ImplicitVRLittleEndian

from bench.clients import Scanner, worklist_query
from bench.measure import SECONDS, Row, memory, rate, timed
from ris.supervisor.places import OWNER
from tests.flows.department import ZONE
from tests.stack import Stack, until

SIZES = [size for size in (100, 1_000, 10_000, 100_000, 1_000_000)
         if size <= int(os.environ.get("BENCH_STEPS", "1000000"))]  # fmt: skip
#: Beyond this the peers, which read every file for every query, answer once in ten seconds.
PEER_SIZES = (1_000, 10_000)
#: Numbers of our own rows, far from those of the seed.
_BASE = 10_000_000
_MODALITIES = ("CR", "DX", "US", "CT", "MR", "XA", "MG", "NM")

# Of step `i`: ten for one machine, fifty for another, the rest on other days by forty machines.
_MODALITY = (
    f"CASE WHEN i < 10 THEN 'MR' WHEN i < 60 THEN 'CT' ELSE (ARRAY{list(_MODALITIES)!r})[1 + i * 31 % 8] END"
)
_STATION = (
    "CASE WHEN i < 10 THEN 'MR01' WHEN i < 60 THEN 'CT01'"
    f" ELSE ({_MODALITY}) || lpad((2 + i / 8 % 5)::text, 2, '0') END"
)
_NAME = "CASE WHEN i >= 60 AND i < 70 THEN 'ZUBROWSKI' ELSE 'NAME' || i % 2500 END"


def growth(folder: Path) -> Iterator[Row]:
    """A department of its own, with a list that grows."""
    stack = Stack(folder / "growth", seed="bare", RIS_ENV="demo")
    stack.start(300)
    try:
        day = (datetime.now(ZONE) + timedelta(days=30)).date()
        template = _template(stack)
        figures: dict[int, dict[str, float]] = {}
        first_memory, loaded = 0.0, 0
        for size in SIZES:
            seconds = timed(partial(load, stack, template, day, loaded, size))
            yield Row(f"{size:,} steps loaded", seconds, "s")
            loaded = size
            found: dict[str, float] = {}
            yield from _queries(stack, day, size, found)
            figures[size] = found
            dicom = memory(stack, of=stack.pid("dicom"))
            first_memory = first_memory or dicom
            yield Row(f"{size:,} steps: memory of the DICOM service", dicom, "MB")
            if size in PEER_SIZES:
                yield from _beside_peers(stack, folder / f"list-{size}", day, size)
        yield from _judged(figures)
        yield Row("memory of the DICOM service after all queries", memory(stack, of=stack.pid("dicom")), "MB",
                  "after the first", first_memory, "<= 1.1x")  # fmt: skip
    finally:
        stack.stop()


def queries(day: date) -> dict[str, bytes]:
    on = f"{day:%Y%m%d}"
    return {
        "10 matches": worklist_query("MR01", "MR", on),
        "50 matches": worklist_query("CT01", "CT", on),
        "1 match": worklist_query("", "", "", accession="B000000042"),
        "10 by name": worklist_query("", "", "", name="ZUBR*"),
    }


def _queries(stack: Stack, day: date, size: int, found: dict[str, float]) -> Iterator[Row]:
    title, host, port = stack.dicom
    scanner = Scanner((host, port), title)
    for what, query in queries(day).items():
        expected = int(what.split()[0])
        assert scanner.find(query) == expected, what
        times = _times(partial(scanner.find, query))
        found[what] = quantiles(times, n=20)[-1]
        yield Row(f"{size:,} steps, {what}: p50", median(times), "ms")
        yield Row(f"{size:,} steps, {what}: p95", found[what], "ms")
        found[f"{what}, p50"] = median(times)
    query = queries(day)["10 matches"]
    for clients in (1, 8):
        yield Row(
            f"{size:,} steps, 10 matches, {clients} at once",
            rate(clients, lambda _: lambda: scanner.find(query)),
            "/s",
        )
    late = Scanner((host, port), title, quick_ack=False)
    found["plain"] = quantiles(_times(partial(late.find, query)), n=20)[-1]


def _rate(clients: int, scanner: Scanner, query: bytes) -> float:
    return rate(clients, lambda _: partial(scanner.find, query))


def _times(act: Callable[[], object]) -> list[float]:
    """Milliseconds of as many as fit, after a few that warm up."""
    for _ in range(10):
        act()
    times: list[float] = []
    end = time.monotonic() + SECONDS / 2
    while len(times) < 20 or time.monotonic() < end:
        times.append(timed(act) * 1000)
    return times


def _judged(figures: Mapping[int, Mapping[str, float]]) -> Iterator[Row]:
    sizes = sorted(figures)
    small = figures[1_000 if 1_000 in figures else sizes[0]]
    large, largest = figures[sizes[-1]], sizes[-1]
    for what in queries(date.min.replace(year=2000)):
        goal = "<= 1.5x" if largest >= 1_000_000 else ""
        yield Row(f"{largest:,} steps, {what}: p95", large[what], "ms", "1,000 steps", small[what], goal)
    yield Row("50 matches, p50", large["50 matches, p50"], "ms", "1 match", large["1 match, p50"], "<= 2.5x")
    yield Row(
        "a client that delays its ACKs, p95", large["plain"], "ms", "one that does not", large["10 matches"],
        "<= 1.2x",
    )  # fmt: skip


def _beside_peers(stack: Stack, folder: Path, day: date, size: int) -> Iterator[Row]:
    goal = ">= 100x" if size >= 10_000 else ">= 20x"
    title, host, port = stack.dicom
    ours = Scanner((host, port), title)
    write_files(stack, folder / "PEER", size)
    query = queries(day)["10 matches"]
    for name, peer in (("DCMTK wlmscpfs", wlmscpfs), ("Orthanc worklists", orthanc)):
        with peer(folder) as address:
            theirs = Scanner(address, "PEER")
            for wanted in queries(day).values():
                assert theirs.find(wanted) == ours.find(wanted), f"{name}: the same list, the same answer"
            for clients in (1, 8):
                yield Row(
                    f"{size:,} steps, 10 matches, {clients} at once",
                    _rate(clients, ours, query), "/s", name, _rate(clients, theirs, query), goal,
                )  # fmt: skip
    shutil.rmtree(folder)


# The list


def _template(stack: Stack) -> dict[str, int]:
    """One booked order made by the department's own verbs; its rows are copied."""
    from bench.__main__ import inside

    made: dict[str, int] = inside(stack, "plan")
    return made


def load(stack: Stack, template: Mapping[str, int], day: date, first: int, end: int) -> None:
    """Steps from `first` up to `end`, straight into the tables."""
    begins = f"(timestamp '{day} 08:00' AT TIME ZONE '{ZONE.key}')"
    start = (
        f"({begins} + CASE WHEN i < 60 THEN interval '5 minutes' * (i % 50)"
        " ELSE interval '1 day' * (1 + i * 7919 % 56) + interval '5 minutes' * (i / 56 % 120) END)"
    )
    pk = f"{_BASE} + i"
    connection = psycopg2.connect(stack.places.database_url(OWNER))
    with connection, connection.cursor() as cursor:
        # No triggers: what they check of each row is true of the one that is copied.
        cursor.execute("SET session_replication_role = replica")

        def copy(table: str, row: str, **values: str) -> None:
            cursor.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND is_generated = 'NEVER'",
                [table],
            )
            columns = [name for (name,) in cursor.fetchall()]
            cursor.execute(
                f"INSERT INTO {table} ({', '.join(map(quoted, columns))})"
                f" SELECT {', '.join(values.get(name, f't.{quoted(name)}') for name in columns)}"
                f" FROM {table} t, generate_series({first}::bigint, {end - 1}) i WHERE t.id = {template[row]}"
            )

        copy("patients_patient", "patient", id=pk, family=_NAME, given="'G' || i % 50", search="''")
        copy("patients_patientidentifier", "number", id=pk, patient_id=pk, value="'P' || i")
        copy("orders_order", "order", id=pk, patient_id=pk, accession_number="'B' || lpad(i::text, 9, '0')")
        copy(
            "orders_requestedprocedure", "procedure", id=pk, order_id=pk, study_instance_uid="'1.2.826.0.9.' || i",
            requested_procedure_id="'Q' || i",
        )  # fmt: skip
        copy(
            "scheduling_appointment", "appointment", id=pk, order_id=pk, patient_id=pk, overbook_reason="'bench'",
            during=f"tstzrange({start}, {start} + interval '10 minutes')",
        )  # fmt: skip
        copy(
            "scheduling_scheduledprocedurestep", "step", id=pk, appointment_id=pk, procedure_id=pk,
            step_id="'T' || i", modality=_MODALITY, station_ae_titles=f"ARRAY[{_STATION}]", starts_at=start,
        )  # fmt: skip
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    connection.close()


def quoted(name: str) -> str:
    return f'"{name}"'


def write_files(stack: Stack, folder: Path, size: int) -> None:
    """The same steps as the file-based servers want them: a file each."""
    folder.mkdir(parents=True)
    (folder / "lockfile").touch()
    rows = stack.query(
        "SELECT step.id, ordered.accession_number, patient.family || '^' || patient.given, number.value,"
        " requested.study_instance_uid, requested.requested_procedure_id, step.step_id, step.modality,"
        " step.station_ae_titles[1], to_char(step.starts_at AT TIME ZONE %s, 'YYYYMMDD'),"
        " to_char(step.starts_at AT TIME ZONE %s, 'HH24MISS'), step.description"
        " FROM scheduling_scheduledprocedurestep step"
        " JOIN orders_requestedprocedure requested ON requested.id = step.procedure_id"
        " JOIN orders_order ordered ON ordered.id = requested.order_id"
        " JOIN patients_patient patient ON patient.id = ordered.patient_id"
        " JOIN patients_patientidentifier number ON number.patient_id = patient.id WHERE step.id >= %s",
        ZONE.key, ZONE.key, _BASE,
    )  # fmt: skip
    assert len(rows) == size
    for pk, accession, name, number, study, procedure, step_id, modality, station, day, clock, words in rows:
        step, entry = Dataset(), Dataset()
        step.Modality, step.ScheduledStationAETitle, step.ScheduledProcedureStepID = (
            modality,
            station,
            step_id,
        )
        step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime = day, clock
        step.ScheduledProcedureStepDescription = words
        entry.AccessionNumber, entry.PatientName, entry.PatientID = accession, name, number
        entry.PatientBirthDate, entry.StudyInstanceUID, entry.RequestedProcedureID = "", study, procedure
        entry.ScheduledProcedureStepSequence = [step]
        write_entry(entry, folder / f"{pk}.wl")


def write_entry(entry: Dataset, path: Path) -> None:
    entry.file_meta = FileMetaDataset()
    entry.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    entry.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.31")
    entry.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.{path.stem}")
    entry.save_as(path, enforce_file_format=True)


# The peers


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def _running(words: list[str | Path], port: int) -> Iterator[tuple[str, int]]:
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: not socket.socket().connect_ex(("127.0.0.1", port)), 30, str(words[0]))
        yield "127.0.0.1", port
    finally:
        server.kill()
        server.wait(5)


@contextmanager
def wlmscpfs(folder: Path) -> Iterator[tuple[str, int]]:
    """DCMTK's worklist server; the called title names the folder's part."""
    port = _free_port()
    with _running(["/usr/bin/wlmscpfs", "-dfr", "-dfp", folder, str(port)], port) as address:
        yield address


@contextmanager
def orthanc(folder: Path) -> Iterator[tuple[str, int]]:
    """Orthanc with its worklist plugin."""
    port = _free_port()
    settings = folder / "orthanc.json"
    settings.write_text(json.dumps({
        "Name": "PEER", "DicomAet": "PEER", "DicomPort": port, "HttpServerEnabled": False,
        "StorageDirectory": str(folder / "orthanc"), "IndexDirectory": str(folder / "orthanc"),
        "Plugins": ["/usr/share/orthanc/plugins/libModalityWorklists.so"], "DicomAlwaysAllowFindWorklist": True,
        "DicomCheckCalledAet": False, "Worklists": {"Enable": True, "Database": str(folder / "PEER")},
    }))  # fmt: skip
    with _running(["/usr/sbin/Orthanc", settings], port) as address:
        yield address
