"""Without the database (SCN-24, reliability.md 5.4): the copy answers as the database would, and nothing reported is lost."""

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom.dsutils import encode

from interfaces.dicom import attributes, dimse, listener, mpps, standin, stations, worklist
from interfaces.dicom.association import Context, Request
from interfaces.dicom.attributes import WORKLIST, Match
from interfaces.dicom.database import Database, Reach
from interfaces.dicom.dimse import Command
from interfaces.dicom.spool import File, Nobody, Spool
from interfaces.dicom.standin import Copy
from interfaces.dicom.stations import Caller, Peer, Stations
from interfaces.dicom.status import Refused
from interfaces.dicom.trail import Trail
from interfaces.models import Case, ReceivedDataset, WriteDone
from ris.department.models import Station
from ris.events.models import Event
from ris.exams.models import PerformedProcedureStep
from scheduling import actions as scheduling
from tests.cast import person
from tests.interfaces.dicom.scu import query
from tests.interfaces.dicom.test_mpps import in_progress, reference, series
from tests.makers import make_appointment, make_order, make_patient, make_room


def asked(identifier: Dataset, caller: Caller) -> Request:
    identifier.SpecificCharacterSet = "ISO_IR 192"
    request = Request(
        Nobody(caller, "127.0.0.1"),
        Context(1, worklist.SOP_CLASS, False),
        Command(0x20, 1, worklist.SOP_CLASS, "", True, 0),
    )
    data_set = encode(identifier, True, True)
    assert data_set is not None
    request.data_set = data_set
    return request


def outcome(request: Request, rows: worklist.Rows) -> Any:
    """The matches' order and content, how they are told, or the refusal."""
    try:
        found, messages = worklist._search(request, rows)
    except Refused as refusal:
        return refusal.status, refusal.comment
    return found.rows, found.pending, found.used, messages


@pytest.fixture
def department(db: None, tmp_path: Path) -> Copy:
    """Five steps that differ in all that keys ask for, and their copy."""
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    people = [
        make_patient("Okafor", "Adaeze", mrn="4417268", prefix="Mrs", birth_date="1968-07-14"),
        make_patient(
            "Yamada", "Tarou", mrn="77", ideographic="山田^太郎", phonetic="やまだ^たろう", birth_date="2001"
        ),
        make_patient("Müller-Öz", "Jörg", mrn="100%", sex="M", birth_date="1999-12-31"),
        make_patient("O'Brien", "", mrn="A_1", alerts="Pacemaker; Epilepsy", restricted=True),
        make_patient("Okafor", "Jo", mrn="90"),
    ]
    for number, patient in enumerate(people):
        order = make_order(patient, priority=("routine", "stat", "asap", "routine", "routine")[number])
        room = make_room(("CT1", "CT2", "CT3")[number % 3])
        scheduling.book(order, room=room, start=now + timedelta(hours=3 * number - 4), by=person("mona"))
    copy = Copy(tmp_path / "dicom" / "worklist.sqlite3")
    copy.refresh(stations.rows())
    return copy


def keys() -> Iterator[tuple[str, Dataset]]:
    """Every key of the table with every kind of value, the combined times, and what is refused."""
    texts = [
        "",
        "*",
        "Oka*",
        "====",
        "^^",
        "?kafor*",
        "okafor^adaeze^^mrs",
        "OKAFOR^*",
        "山田*",
        "やまだ^たろう",
        "müller-öz*",
        "CT",
        "ct",
        "CT1",
        "CT1\\CT3",
        "100%",
        "%",
        "A_1",
        "A?1",
        "_",
        "4417268",
        "M",
        "STAT",
        "SCHEDULED",
        "CTHEAD",
        "CT head",
        "CT*",
        "\\",
        "x",
    ]
    days = [
        "19680714",
        "19000101-19700101",
        "-19680713",
        "19680715-",
        "2001",
        "00000000",
        "19680714-19680714",
    ]
    for inside, known in ((False, WORKLIST), (True, WORKLIST[attributes.STEP_SEQUENCE].item)):
        for tag, attribute in known.items():
            if attribute.vr == "SQ":
                continue
            dates = attribute.match in (Match.DATE, Match.START_DATE)
            values = days if dates else texts[:2] if attribute.match is Match.NONE else texts
            if attribute.match not in (Match.NAME, Match.NONE) and not dates:
                values = [texts[(tag + 5 * turn) % len(texts)] for turn in range(5)]
            for value in [1] if attribute.vr in ("US", "DS") else values:
                item = Dataset()
                item.add_new(tag, attribute.vr if attribute.vr in ("PN", "US", "DS") else "LO", value)
                identifier = query(None if not inside else {})
                (identifier.ScheduledProcedureStepSequence[0] if inside else identifier).update(item)
                yield f"{tag:08X}={value}", identifier
    today = timezone.now().date()
    span = f"{today - timedelta(days=1):%Y%m%d}-{today + timedelta(days=1):%Y%m%d}"
    for day in ("", span, f"{today:%Y%m%d}", f"{today:%Y%m%d}-", f"-{today:%Y%m%d}"):
        for clock in ("", "0000-2359", "10-1530", "-12", "07", "0715-", "235959.9"):
            step = {
                "ScheduledProcedureStepStartDate": day,
                "ScheduledProcedureStepStartTime": clock,
                "ScheduledProcedureStepID": "",
            }
            yield f"{day} {clock}", query(step, PatientName="")
    two = query(PatientName="")
    two.ScheduledProcedureStepSequence.append(Dataset())
    yield "two items", two
    code = query(RequestedProcedureCodeSequence=[Dataset()])
    code.RequestedProcedureCodeSequence[0].CodeValue = "CTHEAD"
    yield "code", code


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_copy_answers_every_key_as_the_database_does(department: Copy) -> None:
    """SCN-24: same rows, same order, same bytes, same refusals; also for a station that sees less."""
    Station.objects.filter(ae_title="CT2").update(
        own_steps_only=True, days_before=0, days_after=0, shown=["SCHEDULED"]
    )
    department.refresh(stations.rows())
    snapshot = department.load()
    assert len(snapshot.rows) == 5
    callers = stations.callers(snapshot.stations)
    found = compared = 0
    for title, step in (("CT1", 1), ("CT2", 4)):
        for name, identifier in list(keys())[::step]:
            request = asked(identifier, callers[title])
            live, copied = (outcome(request, rows) for rows in (worklist._rows, snapshot.answer))
            if isinstance(live[0], list):
                found += len(live[0])
                noted = [[one.replace(f"{snapshot.note}. ", "") for one in copied[0]]]
                assert (live[0], live[1:3]) == (*noted, copied[1:3]), (title, name)
            else:
                assert live == copied, (title, name)
            compared += 1
    assert compared > 250
    assert found > 250


def test_the_copy_says_how_old_it_is_and_only_its_owner_reads_it(department: Copy) -> None:
    snapshot = department.load()
    assert snapshot.age < timedelta(minutes=5)
    request = asked(query(RequestedProcedureComments="", PatientName=""), Caller("CT1"))
    _, messages = worklist._search(request, snapshot.answer)
    assert len(messages) == 5
    assert all(b"RIS is down; schedule as of" in one for one in messages)
    assert department._path.stat().st_mode & 0o777 == 0o600
    assert department._path.parent.stat().st_mode & 0o777 == 0o700
    assert Copy(department._path).load().rows == snapshot.rows  # also of a process that was started meanwhile
    with pytest.raises(standin.NoCopy):
        Copy(department._path.with_name("other")).load()


# What is reported meanwhile


class Modality:
    """A listener's parts on the test's database, which can be sent away."""

    def __init__(self, folder: Path) -> None:
        self.reach = Reach()
        self.writing = Database("writing", 2, statement_seconds=20, reach=self.reach)
        self.reading = Database("reading", 2, statement_seconds=5, reach=self.reach)
        self.copy = Copy(folder / "worklist.sqlite3")
        self.table = listener.services(self.reading, self.writing, Trail(self.writing), self.copy)
        self.folder = folder
        self.spool = Spool(folder / "reported.sqlite3", self.writing)
        self.answers: list[int] = []

    def close(self) -> None:
        self.spool.close()
        assert self.reading.close() and self.writing.close()  # noqa: PT018

    async def tell(self, field: int, uid: str, data_set: Dataset) -> int:
        """The status it is answered with."""
        sent: list[bytes] = []

        class Line(Nobody):
            async def send(self, data: bytes) -> None:
                sent.append(data)

        command = Command(field, 1, mpps.SOP_CLASS, uid, True, 0)
        request = Request(Line(Caller("CT1"), "127.0.0.1"), Context(1, mpps.SOP_CLASS, False), command)
        encoded = encode(data_set, True, True)
        assert encoded is not None
        request.data_set = encoded
        service = self.table[mpps.SOP_CLASS]
        try:
            await self.spool.perform(service.operations[field], request, service.kept[field])
        except Refused as refusal:
            return refusal.status
        (message,) = sent
        place = message.index(struct.pack("<HHI", 0, 0x0900, 2)) + 8
        return int(struct.unpack_from("<H", message, place)[0])


def in_a_loop(folder: Path, story: Callable[[Modality], Awaitable[None]]) -> None:
    """In a thread without the test's own connection, as the services are."""

    async def run() -> None:
        modality = Modality(folder)
        try:
            await story(modality)
        finally:
            modality.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, run()).result(60)


CREATE, SET = dimse.N_CREATE_RQ, dimse.N_SET_RQ


def ended() -> Dataset:
    done = Dataset()
    done.PerformedProcedureStepStatus = "COMPLETED"
    done.PerformedProcedureStepEndDate, done.PerformedProcedureStepEndTime = "20310705", "104500"
    done.PerformedSeriesSequence = [series()]
    return done


def test_what_is_reported_meanwhile_is_kept_and_done_once_in_order(
    transactional_db: None, tmp_path: Path
) -> None:
    """SCN-24: a kill between the effect and its mark, twice, changes nothing."""
    appointment = make_appointment()
    uid, begun, other = generate_uid(), *(in_progress(reference(appointment), StudyID=one) for one in "12")
    broken = in_progress(reference(appointment), Modality=None)
    before = Event.objects.count()

    async def story(modality: Modality) -> None:
        modality.reach.is_away = True
        assert await modality.tell(CREATE, uid, begun) == 0x0000
        assert await modality.tell(CREATE, uid, begun) == 0x0000  # its answer was lost
        assert await modality.tell(CREATE, uid, other) == 0x0111
        assert await modality.tell(CREATE, "1.2.3", broken) == 0x0120
        assert await modality.tell(SET, "no uid", ended()) == 0x0117
        assert await modality.tell(SET, uid, ended()) == 0x0000
        path = modality.folder / "reported.sqlite3"
        assert path.stat().st_mode & 0o777 == 0o600
        assert b"Okafor" in path.read_bytes()
        file = File(path)
        assert file.count() == 2
        modality.reach.is_away = False
        # The process is killed after each effect, before the message is let go.
        for _ in range(2):
            kept, modality.spool._file.forget = modality.spool._file.forget, _die  # type: ignore[method-assign]
            with pytest.raises(Killed):
                await modality.spool.work_off(modality.table)
            modality.spool._file.forget = kept  # type: ignore[method-assign]
        await modality.spool.work_off(modality.table)
        assert file.count() == 0
        assert b"Okafor" not in path.read_bytes()
        # And now at once.
        assert await modality.tell(SET, uid, ended()) == 0x0110

    in_a_loop(tmp_path, story)
    step = PerformedProcedureStep.objects.get(sop_instance_uid=uid)
    assert step.status == "completed"
    kinds = list(Event.objects.order_by("pk").values_list("kind", flat=True))[before:]
    assert len([kind for kind in kinds if kind == "exam.completed"]) == 1
    assert list(ReceivedDataset.objects.order_by("pk").values_list("operation", flat=True)) == [
        "N-CREATE",
        "N-SET",
        "N-SET",
    ]
    assert WriteDone.objects.count() >= 4
    assert not Case.objects.exists()


class Killed(BaseException):
    """Not one that anything catches."""


def _die(number: object) -> None:
    raise Killed


def test_what_cannot_be_done_afterwards_is_a_persons(transactional_db: None, tmp_path: Path) -> None:
    """It was answered with success, so nobody else will tell; what came behind it is done all the same."""
    appointment = make_appointment()
    uid, begun = generate_uid(), in_progress(reference(appointment))

    async def story(modality: Modality) -> None:
        modality.reach.is_away = True
        assert await modality.tell(SET, generate_uid(), ended()) == 0x0000  # of a step that was never begun
        assert await modality.tell(CREATE, uid, begun) == 0x0000
        modality.reach.is_away = False
        await modality.spool.work_off(modality.table)
        assert modality.spool.is_empty

    in_a_loop(tmp_path, story)
    assert PerformedProcedureStep.objects.get().sop_instance_uid == uid
    assert "0112" in Case.objects.get().sentence


def test_stations_are_known_from_the_copy(transactional_db: None, tmp_path: Path) -> None:
    make_room("CT1")
    Station.objects.filter(ae_title="CT1").update(
        allowed_addresses=["10.4.0.0/16"], character_set="ISO_IR 100"
    )

    async def story(modality: Modality) -> None:
        await modality.reading.read(lambda: modality.copy.refresh(stations.rows()))
        modality.reach.is_away = True
        known = Stations(modality.reading, modality.copy)
        caller = await known.look_up(Peer("CT1", "10.4.0.17", ""))
        assert caller is not None
        assert caller.profile.character_set == "ISO_IR 100"
        assert await known.look_up(Peer("CT1", "10.5.0.17", "")) is None
        assert await known.look_up(Peer("STRANGER", "10.4.0.17", "")) is None

    in_a_loop(tmp_path, story)
