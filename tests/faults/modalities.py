"""Machines that hold the ports, machines that report nonsense, and machines that work on without the database."""

import itertools
import os
import random
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import Event, Process, Value
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom.association import Association

from tests.faults import judge
from tests.faults.load import Case, Connection, Department
from tests.faults.scenarios import Result, Run
from tests.interfaces.dicom.scu import MPPS, WORKLIST, Found, Raw, Ris, associate_rq, query
from tests.stack import Stack, until

PATIENCE = 5.0  # seconds that anybody may wait for an answer
GROWTH = 100_000  # kB that a process may grow
_STATION = "XR1"


def _reference() -> Dataset:
    """An item of the Scheduled Step Attributes Sequence that names nothing of ours."""
    item = Dataset()
    item.StudyInstanceUID = generate_uid()
    item.AccessionNumber = item.RequestedProcedureID = item.ScheduledProcedureStepID = ""
    return item


def _begin(reference: Dataset, **patient: str) -> Dataset:
    ds = Dataset()
    ds.ScheduledStepAttributesSequence = [reference]
    for keyword, value in patient.items():
        setattr(ds, keyword, value)
    ds.PerformedProcedureStepID, ds.PerformedStationAETitle, ds.Modality = "PPS1", _STATION, "DX"
    ds.PerformedProcedureStepStartDate, ds.PerformedProcedureStepStartTime = "20310705", "101500"
    ds.PerformedProcedureStepStatus = "IN PROGRESS"
    ds.PerformedSeriesSequence = []
    return ds


def _series() -> Dataset:
    item, image = Dataset(), Dataset()
    item.ProtocolName, item.SeriesInstanceUID = "CHEST", generate_uid()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = (
        "1.2.840.10008.5.1.4.1.1.1.1",
        generate_uid(),
    )
    item.ReferencedImageSequence = [image]
    return item


def ris_of(department: Department) -> Ris:
    _, host, port = department.stack.dicom
    return Ris(host, port)


# F14


def slow_peers(department: Department, *, idle: int, halves: int, tricklers: int, seconds: float) -> Result:
    """F14: on each port idle connections, on those of machines also half messages and such that come byte by byte;
    the others are served. Slow requests to the web are its proxy's to buffer."""
    run, stack = Run(department, "F14 slow peers on every port", "F14"), department.stack
    halved = {
        "dicom": associate_rq()[:80],
        "mllp": b"\x0bMSH|^~\\&|",
    }
    begun = {
        "dicom": struct.pack(">BBI", 1, 0, 100_000),
        "mllp": b"\x0b",
    }
    web = stack.http.removeprefix("http://").rpartition(":")
    ports = {"dicom": stack.dicom[1:], "mllp": stack.mllp, "http": (web[0], int(web[2]))}
    before = {name: _memory(stack.pid(name)) for name in ("dicom", "mllp", "web")}
    waits: dict[str, list[float]] = {"dicom": [], "mllp": [], "http": []}
    failures: list[str] = []
    wanted = [
        (ports[name], said, slowly)
        for name in ports
        for count, said, slowly in (
            (idle, b"", False),
            (halves if name in halved else 0, halved.get(name, b""), False),
            (tricklers if name in begun else 0, begun.get(name, b""), True),
        )
        for _ in range(count)
    ]
    # In a process of their own: pynetdicom cannot wait for sockets numbered over 1023.
    cut, over = Value("i", 0), Event()
    holding = Process(target=_hold, args=(wanted, over, cut))
    holding.start()
    try:
        time.sleep(0.5)
        end, number = time.monotonic() + seconds, itertools.count()
        line = Connection(department)
        while time.monotonic() < end:
            case = Case(department, "F14", next(number))
            for name, step in (
                ("dicom", lambda: _find(ris_of(department), query(PatientID="nobody"))),
                ("mllp", lambda: case.register(line)),  # noqa: B023
                ("http", lambda: department.desk.get("rooms/?limit=1")),
            ):
                started = time.monotonic()
                try:
                    step()
                except Exception as problem:
                    failures.append(f"{name}: {type(problem).__name__}")
                waits[name].append(time.monotonic() - started)
        line.close()
    finally:
        over.set()
        holding.join(30)
    grown = {name: _memory(stack.pid(name)) - size for name, size in before.items()}
    department.settle()
    verdict = judge.judge(department.evidence("F14"))
    verdict["I11"] = failures + [
        f"{name} waited {wait:.1f} s" for name, found_ in waits.items() for wait in found_ if wait > PATIENCE
    ]
    verdict["I12"] = [f"{name} grew by {size} kB" for name, size in grown.items() if size > GROWTH]
    worst = max(itertools.chain(*waits.values()))
    tries = sum(map(len, waits.values()))
    return Result(
        run.name,
        f"{tries} asked, worst {worst:.1f} s",
        f"{3 * idle + 2 * (halves + tricklers)} slow peers at once, {cut.value} cut off",
        verdict,
        run.took,
    )


def _hold(wanted: list[tuple[tuple[str, int], bytes, bool]], over: Any, cut: Any) -> None:
    """Peers that say something and then nothing, or a byte at a time; whoever is cut off comes again at once."""
    held: list[tuple[tuple[str, int], bytes, bool, socket.socket]] = []
    while not over.wait(0.2):
        still = []
        for where, said, slowly, line in held:
            try:
                if slowly:
                    line.send(b"x")
                gone = line.recv(4096) == b""
            except BlockingIOError:
                gone = False
            except OSError:
                gone = True
            if gone:
                line.close()
                wanted.append((where, said, slowly))
                cut.value += 1
            else:
                still.append((where, said, slowly, line))
        held, coming, wanted = still, wanted, []
        for where, said, slowly in coming:
            try:
                line = socket.create_connection(where, timeout=2)
                line.sendall(said)
            except OSError:
                wanted.append((where, said, slowly))
            else:
                line.setblocking(False)
                held.append((where, said, slowly, line))
    for *_, line in held:
        line.close()


def _memory(pid: int) -> int:
    """Resident kB of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(
        int(line.split()[1])
        for one in [pid, *map(int, children)]
        for line in Path(f"/proc/{one}/status").read_text().splitlines()
        if line.startswith("VmRSS:")
    )


def _find(ris: Ris, identifier: Dataset, title: str = _STATION) -> Found:
    answer = ris.find(identifier, calling=title)
    if answer.status != 0x0000:
        raise ConnectionError(f"C-FIND ended with {answer.status:04X}")
    return answer


# F15


def broken_modalities(department: Department, *, cases: int, booked: int, seed: int = 1) -> Result:
    """F15: machines that die in mid-step, set before they create, create twice, go back, and hang up on an answer."""
    run, dice = Run(department, "F15 modalities that break the rules", "F15"), random.Random(seed)
    ris, wrong, dead, uids = ris_of(department), list[str](), 0, list[str]()
    scheduled = [_booked(department, "F15", number) for number in range(booked)]

    def expect(status: int, *allowed: int, what: str) -> None:
        if status not in allowed:
            wrong.append(f"{what}: {status:04X}")

    for number in range(cases):
        case = scheduled[number] if number < booked else None
        step = _step_of(ris, case) if case else _reference()
        person = {"PatientID": case.mrn, "PatientName": case.name, "PatientBirthDate": "19680714"} if case else {
            "PatientID": f"F15X{number}"
        }  # fmt: skip
        begin = _begin(step, **person)
        uid = str(generate_uid())
        uids.append(uid)
        misdeed = "none" if case else dice.choice(("dies", "dies in a PDU", "hangs up on an answer", "none"))
        with ris.associate(MPPS, WORKLIST, calling=_STATION) as assoc:
            expect(_set(assoc, uid, "COMPLETED"), 0x0112, what="set before create")
            expect(_create(assoc, uid, begin), 0x0000, what="create")
            expect(_create(assoc, uid, begin), 0x0111, what="create twice")
            if misdeed == "dies":
                dead += 1
                assoc.abort()
                continue
            if misdeed == "hangs up on an answer":
                answers = assoc.send_c_find(query(PatientName=""), WORKLIST)
                next(iter(answers), None)
                assoc.abort()
        if misdeed == "dies in a PDU":
            dead += 1
            with Raw(ris) as peer:
                peer.send(associate_rq(calling=_STATION.encode(), contexts=[(1, str(MPPS))]))
                peer.answer()
                peer.send(struct.pack(">BBIIBB", 4, 0, 5000, 4996, 1, 1) + b"\0" * dice.randrange(4000))
            continue
        with ris.associate(MPPS, calling=_STATION) as assoc:
            expect(_set(assoc, uid, "IN PROGRESS"), 0x0000, what="update")
            expect(_set(assoc, uid, "DONE"), 0x0106, what="impossible status")
            expect(_set(assoc, uid, "COMPLETED"), 0x0000, what="complete")
            expect(_set(assoc, uid, "IN PROGRESS"), 0x0110, what="back from the end")
            expect(_set(assoc, uid, "COMPLETED"), 0x0110, what="complete twice")
    department.settle()
    verdict = judge.judge(department.evidence("F15"))
    verdict["ST"] = wrong
    verdict["I9"] += _misplaced_steps(department.stack, scheduled)
    verdict["I10"] += _half_steps(department.stack, uids, dead)
    return Result(
        run.name,
        f"{cases} steps, {booked} of them booked",
        f"{dead} died, each broke 4 rules",
        verdict,
        run.took,
    )


def _booked(department: Department, tag: str, number: int) -> Case:
    """A patient with an order in the schedule; each run has its own."""
    case = Case(department, f"{tag}T{int(time.time()) % 1_000_000}", number)
    line = Connection(department)
    case.register(line)
    case.place(line)
    case.book(department.take_slot())
    line.close()
    return case


def _step_of(ris: Ris, case: Case) -> Dataset:
    """The item of the Scheduled Step Attributes Sequence as the worklist gives it."""
    asked = query(
        {"ScheduledProcedureStepID": ""}, PatientID=case.mrn, StudyInstanceUID="", RequestedProcedureID=""
    )
    (match,) = _find(ris, asked).matches
    item = _reference()
    item.StudyInstanceUID, item.AccessionNumber = match.StudyInstanceUID, match.AccessionNumber
    item.RequestedProcedureID = match.RequestedProcedureID
    item.ScheduledProcedureStepID = match.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID
    return item


def _create(assoc: Association, uid: str, data_set: Dataset) -> int:
    status, _ = assoc.send_n_create(data_set, MPPS, uid)
    return int(status.Status)


def _set(assoc: Association, uid: str, state: str) -> int:
    change = Dataset()
    change.PerformedProcedureStepStatus = state
    if state == "COMPLETED":
        change.PerformedProcedureStepEndDate, change.PerformedProcedureStepEndTime = "20310705", "104500"
        change.PerformedSeriesSequence = [_series()]
    status, _ = assoc.send_n_set(change, MPPS, uid)
    return int(status.Status)


_STEPS = """
SELECT p.sop_instance_uid, p.status, p.problem, p.ended_at, o.placer_order_number, p.patient_id
FROM exams_performedprocedurestep p
LEFT JOIN exams_performedprocedurestep_exams l ON l.performedprocedurestep_id = p.id
LEFT JOIN exams_exam e ON e.id = l.exam_id LEFT JOIN orders_order o ON o.id = e.order_id
WHERE p.sop_instance_uid = ANY(%s) OR o.placer_order_number = ANY(%s)
"""


def _misplaced_steps(stack: Stack, scheduled: list[Case]) -> Iterator[str]:
    by_order = {case.placer: case.mrn for case in scheduled}
    rows = stack.query(_STEPS, [], list(by_order))
    for uid, _, _, _, placer, mrn in rows:
        if by_order[placer] != mrn:
            yield f"step {uid} of {mrn} is on the order of {by_order[placer]}"
    for placer in by_order.keys() - {row[4] for row in rows}:
        yield f"order {placer} has no step"


def _half_steps(stack: Stack, uids: list[str], dead: int) -> Iterator[str]:
    rows = {row[0]: row for row in stack.query(_STEPS, uids, [])}
    if len(rows) != len(uids):
        yield f"{len(uids) - len(rows)} steps are missing"
    for uid, status, problem, ended, placer, _ in rows.values():
        if (status == "completed") != (ended is not None):
            yield f"step {uid} is {status} and ended at {ended}"
        if placer is None and not problem:
            yield f"step {uid} has no exam and is in nobody's sight"
    running = sum(row[1] == "in_progress" for row in rows.values())
    if running != dead:
        yield f"{dead} died, but {running} are in progress"


# F5


def without_the_database(department: Department, *, steps: int, seconds: float) -> Result:
    """F5: PostgreSQL is stopped; the worklist answers from the copy, steps are reported, and the listener is killed
    twice meanwhile. When the database is back, each step has had its effect once."""
    run, stack = Run(department, "F5 PostgreSQL stopped, modalities work on", "F5"), department.stack
    cases = [_booked(department, "F5", number) for number in range(steps)]
    _restart(stack)  # its first act is a fresh copy
    copy = stack.places.data / "dicom" / "worklist.sqlite3"
    until(lambda: copy.exists() and time.time() - copy.stat().st_mtime < 5, 30, "a fresh copy")
    uids = [str(generate_uid()) for _ in cases]
    asked, failed, wrong, kept = 0, list[str](), list[str](), list[tuple[str, str]]()
    with _stopped(stack):
        end = time.monotonic() + seconds
        for number, (case, uid) in enumerate(zip(cases, uids, strict=True)):
            if number == steps // 2:
                _restart(stack)
            ris = ris_of(department)
            step = _step_of(ris, case)
            with ris.associate(MPPS, calling=_STATION) as assoc:
                begin = _begin(step, PatientID=case.mrn, PatientName=case.name, PatientBirthDate="19680714")
                for what, status in (
                    ("create", _create(assoc, uid, begin)), ("complete", _set(assoc, uid, "COMPLETED"))
                ):  # fmt: skip
                    kept.append((uid, what))
                    if status != 0x0000:
                        wrong.append(f"{what}: {status:04X}")
        while asked == 0 or time.monotonic() < end:
            asked += 1
            try:
                found_ = _find(ris_of(department), query(RequestedProcedureComments=""))
                told = {str(one.RequestedProcedureComments)[:12] for one in found_.matches}
                if len(found_.matches) < steps or told != {"RIS is down;"}:
                    failed.append(f"{len(found_.matches)} matches that say {told}")
            except Exception as problem:
                failed.append(type(problem).__name__)
        _restart(stack)
    until(lambda: _count(stack, uids) == steps, 120, "what was kept is done")
    department.settle()
    verdict = judge.judge(department.evidence("F5"))
    verdict["ST"], verdict["I11"] = wrong, failed
    verdict["I9"] += _misplaced_steps(stack, cases)
    verdict["I10"] += _half_steps(stack, uids, 0)
    twice = stack.query(
        "SELECT sop_instance_uid, operation FROM interfaces_receiveddataset WHERE sop_instance_uid = ANY(%s) "
        "GROUP BY 1, 2 HAVING count(*) > 1", uids,
    )  # fmt: skip
    verdict["I2"] += [f"{operation} of {uid} done twice" for uid, operation in twice]
    return Result(
        run.name, f"{len(kept)} reported, {asked} asked", "3 kills of the listener", verdict, run.took
    )


def _count(stack: Stack, uids: list[str]) -> int:
    with suppress(Exception):
        return sum(row[1] == "completed" for row in stack.query(_STEPS, uids, []))
    return 0


def _restart(stack: Stack) -> None:
    restarts = int(stack.services()["dicom"]["restarts"])
    stack.kill("dicom")
    stack.wait_back("dicom", restarts + 1, 60)


@contextmanager
def _stopped(stack: Stack) -> Iterator[None]:
    """PostgreSQL ends in order and cannot start again until the body ends."""
    version = stack.places.postgres / "data" / "PG_VERSION"
    hidden = version.with_name("PG_VERSION.hidden")
    version.rename(hidden)
    restarts = int(stack.services()["postgres"]["restarts"])
    try:
        os.kill(stack.pid("postgres"), signal.SIGINT)
        until(lambda: not stack.services()["postgres"]["ready"], 30, "PostgreSQL is gone")
        yield
    finally:
        hidden.rename(version)
        stack.wait_back("postgres", restarts + 1, 120)
