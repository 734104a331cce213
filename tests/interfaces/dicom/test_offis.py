"""DCMTK's reference worklist and its thirteen queries: the same counts as its own server gives."""

import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from ris.orders.models import Order, RequestedProcedure
from ris.patients.models import Patient, PatientIdentifier
from scheduling.models import Appointment, ScheduledProcedureStep
from tests.cast import person
from tests.interfaces.dicom.scu import WORKLIST, Ris, found
from tests.makers import AUTHORITY, make_facility, make_procedure_type, make_room

# Accession number, name, patient id, birth date, study (last component), modality, AE titles, date, time, step id,
# station name, location, requested procedure id; from dcmwlm/data/wlistdb/OFFIS.
ITEMS = [line.split() for line in r"""
00000 VIVALDI^ANTONIO AV35674 16780304 101 MR AA32\AA33 19951015 085607 SPD3445 STN456 B34F56 RP454G234
00002 VIVALDI^ANTONIO AV35674 16780304 102 CT AB45 19960406 160700 SPD1342 STNAB89 B67F66 RP488M9439
00003 VIVALDI^ANTONIO AV35674 16780304 103 CR CC56\NN77 19960123 135558 SPD4564 STN899 B76F67 RP56567
00004 HAYDN^FRANZ^JOSEPH HF 17320331 104 US AA32 19960103 165709 SPD73843 STN34723 B04F57 RP634265
00005 HAYDN^FRANZ^JOSEPH HF 17320331 105 CR AB45\DD56 19951206 094500 SPD1234 STN8903 B95F66 RP4734734
00006 HAYDN^FRANZ^JOSEPH HF 17320331 106 CT FG56\ER67\JJ56\TZ77 19930606 153600 SPD9478 STN8987 B67F55 RP57463
00007 BEETHOVEN^LUDWIG^VAN BLV734623 18270326 107 NM AZ01 19960502 140956 SPD43645 STN9483 B56F56 RP44580
00008 BEETHOVEN^LUDWIG^VAN BLV734623 18270326 108 CT DS45\NN77\GH67 19960423 110856 SPD8265 STN656 B05F07 RP472
00009 MOZART^WOLFGANG^AMADEUS MWA484763 17911205 109 CT AA67 19931204 075644 SPD57584 STN345 B55F56 RP34734H328
00001 MOZART^WOLFGANG^AMADEUS MWA484763 17911205 110 MR TT67 19960805 175609 SPD4548 STN94594 B58F56 RP4474
""".strip().splitlines()]  # fmt: skip
STUDY = "1.2.276.0.7230010.3.2."

_TOP = ("AccessionNumber PatientName PatientID PatientBirthDate PatientSex MedicalAlerts Allergies StudyInstanceUID"
        " RequestingPhysician RequestedProcedureDescription RequestedProcedureID RequestedProcedurePriority")  # fmt: skip
_STEP = ("Modality RequestedContrastAgent ScheduledStationAETitle ScheduledProcedureStepStartDate"
         " ScheduledProcedureStepStartTime ScheduledPerformingPhysicianName ScheduledProcedureStepDescription"
         " ScheduledProcedureStepID ScheduledStationName ScheduledProcedureStepLocation PreMedication"
         " CommentsOnTheScheduledProcedureStep")  # fmt: skip
#: Keys of the data set, keys of the step's item (None: no sequence), and how many of the ten match;
#: dcmwlm/data/wlistqry 0 to 12, then some of our own.
QUERIES: list[tuple[str, str | None, int]] = [
    ("PatientName RequestedProcedureCodeSequence", None, 10),
    (_TOP, "", 10),
    (_TOP, f"{_STEP} ScheduledStationAETitle=AA2 ScheduledStationName=A2", 0),
    ("PatientName", "", 10),
    ("PatientName", "Modality=DD", 0),
    (
        "PatientName",
        "Modality ScheduledProcedureStepStartDate ScheduledProcedureStepStartTime=120000-"
        " ScheduledPerformingPhysicianName ScheduledProcedureStepID",
        6,
    ),
    ("PatientName", "Modality ScheduledStationAETitle=AA2", 0),
    (_TOP, f"{_STEP} ScheduledStationAETitle=AA2", 0),
    ("PatientName", "Modality ScheduledStationAETitle=AA2 ScheduledStationName=A2", 0),
    (
        "PatientName RequestedProcedureID RequestedProcedurePriority",
        "Modality ScheduledStationAETitle=AA2 ScheduledProcedureStepStartDate ScheduledProcedureStepStartTime"
        " ScheduledPerformingPhysicianName ScheduledStationName=A2 ScheduledProcedureStepLocation",
        0,
    ),
    (
        "PatientName RequestedProcedureID",
        "Modality ScheduledProcedureStepLocation ScheduledProtocolCodeSequence",
        10,
    ),
    (_TOP, _STEP, 10),
    (
        "PatientName",
        "Modality ScheduledStationAETitle=AA4 ScheduledStationName=A2 CommentsOnTheScheduledProcedureStep=*",
        0,
    ),
    ("PatientName", "Modality=CT ScheduledProcedureStepStartDate=19960101-19961231", 2),
    ("PatientName=HAYDN*", "", 3),
    ("PatientName=*^ANTONIO", "", 3),
    ("PatientName=?OZART^*", "", 2),
    ("PatientName=HAYDN^FRANZ^JOSEPH", "", 3),
    ("PatientName=HAYDN", "", 0),
    ("PatientID=HF", "", 3),
    ("AccessionNumber=00006", "", 1),
    ("RequestedProcedureID=RP4474", "", 1),
    ("PatientName", "ScheduledStationAETitle=AA32", 2),
    ("PatientName", "ScheduledStationAETitle=NN77", 2),
    ("PatientName", "ScheduledProcedureStepStartDate=-19951231", 4),
    ("PatientName", "ScheduledProcedureStepStartDate=19960502-", 2),
    ("PatientName", "ScheduledProcedureStepStartDate=19960103 Modality=US", 1),
    ("PatientName=HAYDN*", "Modality=CR", 1),
]


def identifier(top: str, step: str | None) -> Dataset:
    def fill(ds: Dataset, words: str) -> Dataset:
        for word in words.split():
            keyword, _, value = word.partition("=")
            if keyword.endswith("CodeSequence"):
                code = Dataset()
                code.CodeValue = code.CodingSchemeDesignator = code.CodeMeaning = ""
                setattr(ds, keyword, [code])
            else:
                setattr(ds, keyword, value)
        return ds

    ds = fill(Dataset(), top)
    if step is not None:
        ds.ScheduledProcedureStepSequence = [fill(Dataset(), step)]
    return ds


def load_into_ris() -> None:
    by = person("mona")
    facility, room, kind = make_facility(), make_room(), make_procedure_type()
    for (
        accession,
        name,
        patient_id,
        birth,
        study,
        modality,
        titles,
        day,
        clock,
        step_id,
        _,
        _,
        procedure_id,
    ) in ITEMS:
        family, given, middle = (*name.split("^"), "")[:3]
        number = PatientIdentifier.objects.filter(value=patient_id).first()
        patient = (
            number.patient
            if number
            else Patient.objects.create(
                family=family,
                given=given,
                middle=middle,
                birth_date=f"{birth[:4]}-{birth[4:6]}-{birth[6:]}",
                sex="M",
            )
        )
        if not number:
            PatientIdentifier.objects.create(
                patient=patient, value=patient_id, authority=AUTHORITY, primary=True
            )
        starts = datetime.strptime(day + clock, "%Y%m%d%H%M%S").replace(tzinfo=ZoneInfo(facility.timezone))
        order = Order.objects.create(
            facility=facility,
            patient=patient,
            accession_number=accession,
            status="scheduled",
            ordered_at=starts,
            entered_by=by,
        )
        procedure = RequestedProcedure.objects.create(
            order=order,
            procedure_type=kind,
            code=kind.code,
            study_instance_uid=STUDY + study,
            requested_procedure_id=procedure_id,
        )
        appointment = Appointment.objects.create(
            order=order,
            patient=patient,
            room=room,
            during=DateTimeTZRange(starts, starts + timedelta(minutes=10)),
            booked_by=by,
        )
        ScheduledProcedureStep.objects.create(
            appointment=appointment, procedure=procedure, step_id=step_id, modality=modality,
            station_ae_titles=titles.split("\\"), starts_at=starts,
        )  # fmt: skip


def write_worklist_files(directory: Path) -> None:
    for number, row in enumerate(ITEMS):
        (
            accession,
            name,
            patient_id,
            birth,
            study,
            modality,
            titles,
            day,
            clock,
            step_id,
            station,
            where,
            procedure_id,
        ) = row
        step = Dataset()
        step.Modality, step.ScheduledStationAETitle = modality, titles.split("\\")
        step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime = day, clock
        step.ScheduledPerformingPhysicianName = step.ScheduledProcedureStepDescription = "X"
        step.ScheduledProcedureStepID, step.ScheduledStationName = step_id, station
        step.ScheduledProcedureStepLocation = where
        ds = Dataset()
        ds.SpecificCharacterSet = "ISO_IR 100"
        ds.AccessionNumber, ds.PatientName, ds.PatientID, ds.PatientBirthDate = (
            accession,
            name,
            patient_id,
            birth,
        )
        ds.PatientSex, ds.StudyInstanceUID, ds.RequestedProcedureID = "M", STUDY + study, procedure_id
        ds.RequestedProcedureDescription = "X"
        ds.ScheduledProcedureStepSequence = [step]
        ds.file_meta = FileMetaDataset()
        ds.file_meta.MediaStorageSOPClassUID = "1.2.276.0.7230010.3.1.0.1"
        ds.file_meta.MediaStorageSOPInstanceUID = f"{STUDY}{study}.1"
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.save_as(directory / f"{number}.wl", enforce_file_format=True)
    (directory / "lockfile").touch()


@pytest.fixture
def wlmscpfs(tmp_path: Path) -> Iterator[Ris]:
    """DCMTK's worklist server over the same ten items."""
    (tmp_path / "OFFIS").mkdir()
    write_worklist_files(tmp_path / "OFFIS")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(["/usr/bin/wlmscpfs", "-q", "-s", "-dfp", str(tmp_path), str(port)])
    try:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield Ris("127.0.0.1", port)
    finally:
        server.kill()
        server.wait(10)


def counts(ris: Ris, called: str) -> list[int]:
    with ris.associate(WORKLIST, called=called) as assoc:
        assert assoc.is_established
        results = [found(assoc, identifier(top, step)) for top, step, _ in QUERIES]
    assert {result.status for result in results} == {0x0000}
    return [len(result.matches) for result in results]


@pytest.mark.peer("dcmtk")
def test_the_reference_worklist_gives_the_reference_counts(ris: Ris, wlmscpfs: Ris) -> None:
    load_into_ris()
    expected = [count for _, _, count in QUERIES]
    assert counts(wlmscpfs, "OFFIS") == expected
    assert counts(ris, "LIGHTBOX") == expected
