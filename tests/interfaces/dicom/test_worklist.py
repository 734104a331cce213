"""What a modality finds, and what it does not (PS3.4 K, RAD-5)."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from interfaces.dicom import worklist
from ris.audit.models import AuditEvent
from ris.department.models import Station
from ris.exams import actions as exams
from ris.orders.models import Order
from ris.patients.models import Patient, PatientIdentifier, Visit
from scheduling import actions as scheduling
from scheduling.models import Appointment, ScheduledProcedureStep
from tests.cast import person
from tests.interfaces.dicom.scu import STEP, WORKLIST, Ris, found, query
from tests.makers import (
    make_appointment,
    make_order,
    make_patient,
    make_practitioner,
    make_procedure_type,
    make_room,
)

NEW_YORK = ZoneInfo("America/New_York")


def at(hour: int, minute: int = 0, day: int = 5) -> datetime:
    """A time in July 2031, on the facility's clock."""
    return datetime(2031, 7, day, hour, minute, tzinfo=NEW_YORK)


def book(start: datetime, patient: Patient | None = None, room: str = "CT1", **order: Any) -> Appointment:
    return make_appointment(make_order(patient, **order), room=make_room(room), start=start)


def accession(appointment: Appointment) -> str:
    return appointment.order.accession_number


@pytest.mark.peer("dcmtk")
def test_findscu_finds_exactly_the_booked_step(ris: Ris, tmp_path: Path) -> None:
    mine = book(at(10), make_patient("Okafor", "Adaeze", mrn="4417268", prefix="Mrs"))
    book(at(10, day=6), make_patient("Smith", "Jo"), room="CT2")
    searches = {
        "date, modality and AE title": (
            f"{STEP}.ScheduledProcedureStepStartDate=20310705",
            f"{STEP}.Modality=CT",
            f"{STEP}.ScheduledStationAETitle=CT1",
        ),
        "accession number": (f"AccessionNumber={accession(mine)}",),
        "patient id": ("PatientID=4417268",),
        "name": ("PatientName=OKA*",),
    }
    for by, keys in searches.items():
        matches = ris.findscu(tmp_path, "StudyInstanceUID", "PatientName", "AccessionNumber", *keys)
        assert [match.AccessionNumber for match in matches] == [accession(mine)], by
        assert matches[0].StudyInstanceUID == mine.order.procedures.get().study_instance_uid
        assert matches[0].PatientName == "Okafor^Adaeze^^Mrs"


def test_an_item_tells_everything_a_modality_needs(ris: Ris) -> None:
    """OTH-C: weight and height that came with the order."""
    patient = make_patient(
        "Okafor", "Adaeze", mrn="4417268", alerts="Pacemaker; Epilepsy", allergies="Iodine"
    )
    visit = Visit.objects.create(
        patient=patient, number="V77", authority="HARBOUR", location="WARD 4", pregnancy="B6",
        referring=make_practitioner("Grimm", suffix="Jr"),
    )  # fmt: skip
    contrast = make_procedure_type("CTABDC", name="CT abdomen with contrast", contrast=True)
    order = make_order(
        patient, visit=visit, procedure_type=contrast, priority="stat", transport="WHLC",
        placer_order_number="P123", placer_authority="EPIC", danger_code="MRSA", reason="Pain",
        weight_kg="71.5", height_m="1.80",
    )  # fmt: skip
    appointment = make_appointment(order, room=make_room(), start=at(10, 30))
    procedure = order.procedures.get()
    step = appointment.steps.get()
    wanted = {
        keyword: ""
        for keyword in [
            "PatientName",
            "PatientID",
            "IssuerOfPatientID",
            "PatientBirthDate",
            "PatientSex",
            "StudyInstanceUID",
            "ReferringPhysicianName",
            "RequestingPhysician",
            "RequestedProcedureID",
            "RequestedProcedureDescription",
            "RequestedProcedurePriority",
            "PatientTransportArrangements",
            "AdmissionID",
            "CurrentPatientLocation",
            "PatientState",
            "MedicalAlerts",
            "Allergies",
            "PatientSize",
            "PatientWeight",
            "ConfidentialityConstraintOnPatientDataDescription",
            "SpecialNeeds",
            "InstitutionName",
            "PlacerOrderNumberImagingServiceRequest",
            "FillerOrderNumberImagingServiceRequest",
            "ReasonForTheRequestedProcedure",
        ]
    }
    identifier = query({}, **wanted)
    identifier.PregnancyStatus = None
    for keyword in [
        "RequestedProcedureCodeSequence",
        "ReferencedStudySequence",
        "ReferencedPatientSequence",
        "IssuerOfAdmissionIDSequence",
        "IssuerOfAccessionNumberSequence",
        "OtherPatientIDsSequence",
    ]:
        setattr(identifier, keyword, Sequence())
    identifier.ScheduledProcedureStepSequence = Sequence()
    PatientIdentifier.objects.create(patient=patient, value="OLD1", authority="OTHER")

    result = ris.find(identifier)

    assert result.pending == {0xFF00}
    (item,) = result.matches
    shown = {element.keyword: str(element.value) for element in item if element.VR != "SQ"}
    assert shown == {
        "AccessionNumber": order.accession_number,
        "InstitutionName": "Harbour Imaging",
        "ReferringPhysicianName": "Grimm^Maja^^Dr^Jr",
        "PatientName": "Okafor^Adaeze",
        "PatientID": "4417268",
        "IssuerOfPatientID": "HARBOUR",
        "PatientBirthDate": "19680714",
        "PatientSex": "F",
        "PatientSize": "1.80",
        "PatientWeight": "71.5",
        "MedicalAlerts": "['Pacemaker', 'Epilepsy']",
        "Allergies": "Iodine",
        "PregnancyStatus": "3",
        "StudyInstanceUID": procedure.study_instance_uid,
        "RequestingPhysician": "Lindgren^Maja^^Dr",
        "RequestedProcedureDescription": "CT abdomen with contrast",
        "AdmissionID": "V77",
        "SpecialNeeds": "",
        "CurrentPatientLocation": "WARD 4",
        "PatientState": "MRSA",
        "RequestedProcedureID": procedure.requested_procedure_id,
        "ReasonForTheRequestedProcedure": "Pain",
        "RequestedProcedurePriority": "STAT",
        "PatientTransportArrangements": "Wheelchair",
        "PlacerOrderNumberImagingServiceRequest": "P123",
        "FillerOrderNumberImagingServiceRequest": order.accession_number,
        "ConfidentialityConstraintOnPatientDataDescription": "",
    }
    assert [(code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning)
            for code in item.RequestedProcedureCodeSequence] == [
        ("CTABDC", "L", "CT abdomen with contrast")
    ]  # fmt: skip
    assert item.ReferencedStudySequence == item.ReferencedPatientSequence == []
    assert item.IssuerOfAdmissionIDSequence[0].LocalNamespaceEntityID == "HARBOUR"
    assert item.OtherPatientIDsSequence[0].PatientID == "OLD1"
    (scheduled,) = item.ScheduledProcedureStepSequence
    assert (scheduled.Modality, scheduled.ScheduledStationAETitle) == ("CT", "CT1")
    assert scheduled.ScheduledProcedureStepStartDate == "20310705"
    assert scheduled.ScheduledProcedureStepStartTime == "103000"
    assert scheduled.ScheduledProcedureStepEndTime == "110000"
    assert scheduled.ScheduledProcedureStepID == step.step_id
    assert scheduled.ScheduledProcedureStepDescription == "CT abdomen with contrast"
    assert scheduled.ScheduledProtocolCodeSequence[0].CodeValue == "CTABDC"
    assert scheduled.ScheduledProcedureStepStatus == "SCHEDULED"
    assert scheduled.ScheduledStationName == "CT1"
    assert scheduled.ScheduledProcedureStepLocation == "CT 1"
    assert scheduled.ScheduledPerformingPhysicianName == ""
    assert (scheduled.PreMedication, scheduled.RequestedContrastAgent) == ("", "CONTRAST")


@pytest.mark.parametrize("explicit", [False, True], ids=["implicit", "explicit"])
def test_only_what_was_asked_for_is_returned(ris: Ris, explicit: bool) -> None:
    book(at(10))
    (item,) = ris.find(query({"Modality": ""}, PatientID=""), explicit=explicit).matches
    assert [element.keyword for element in item] == [
        "AccessionNumber", "PatientID", "ScheduledProcedureStepSequence"
    ]  # fmt: skip
    assert [element.keyword for element in item.ScheduledProcedureStepSequence[0]] == ["Modality"]


def test_universal_keys_in_every_spelling_find_all(ris: Ris) -> None:
    booked = [accession(book(at(10))), accession(book(at(11)))]
    empty_item = query({})
    no_item = query()
    no_item.ScheduledProcedureStepSequence = Sequence()
    asterisk = query({"ScheduledStationAETitle": "*", "Modality": "*"}, PatientName="*", PatientID="*")
    without = Dataset()
    without.AccessionNumber = ""
    for identifier in (query(), empty_item, no_item, asterisk, without):
        assert ris.find(identifier).accessions == booked


def test_an_identifier_without_any_key_finds_nothing(ris: Ris) -> None:
    book(at(10))
    identifier = Dataset()
    identifier.SpecificCharacterSet = "ISO_IR 100"
    result = ris.find(identifier)
    assert (result.matches, result.status) == ([], 0x0000)


def test_no_match_is_one_final_response(ris: Ris) -> None:
    result = ris.find(query(PatientID="nobody"))
    assert (result.matches, result.status) == ([], 0x0000)


def test_codes_and_identifiers_match_exactly_and_by_case(ris: Ris) -> None:
    mine = book(at(10), make_patient(mrn="abc1"))
    procedure, step = mine.order.procedures.get(), mine.steps.get()
    hits: list[Dataset] = [
        query({"Modality": "CT"}),
        query({"ScheduledStationAETitle": "CT1"}),
        query({"ScheduledStationAETitle": "MR9\\CT1"}),
        query({"ScheduledProcedureStepID": step.step_id}),
        query({"ScheduledProcedureStepDescription": "CT h*d"}),
        query({"ScheduledProcedureStepLocation": "CT 1"}),
        query({"ScheduledStationName": "CT1"}),
        query({"ScheduledProcedureStepStatus": "SCHEDULED"}),
        query(PatientID="abc1"),
        query(PatientID="abc?"),
        query(IssuerOfPatientID="HARBOUR"),
        query(PatientSex="F"),
        query(PatientBirthDate="19680714"),
        query(PatientBirthDate="19680101-19681231"),
        query(RequestedProcedureID=procedure.requested_procedure_id),
        query(RequestedProcedurePriority="ROUTINE"),
        query(StudyInstanceUID=procedure.study_instance_uid),
        query(StudyInstanceUID=["1.2.3", procedure.study_instance_uid]),
        query(RequestingPhysician="lindgren*"),
    ]
    misses: list[Dataset] = [
        query({"Modality": "ct"}),
        query({"Modality": "C"}),
        query({"Modality": "C*"}),
        query({"ScheduledStationAETitle": "ct1"}),
        query({"ScheduledProcedureStepID": step.step_id[:-1]}),
        query({"ScheduledPerformingPhysicianName": "A*"}),
        query(PatientID="ABC1"),
        query(PatientID="abc"),
        query(IssuerOfPatientID="OTHER"),
        query(PatientSex="M"),
        query(PatientBirthDate="19680715"),
        query(RequestedProcedurePriority="STAT"),
        query(StudyInstanceUID="1.2.3"),
        query(AdmissionID="V1"),
    ]
    with ris.associate(WORKLIST) as assoc:
        for identifier in hits:
            assert found(assoc, identifier).accessions == [accession(mine)], identifier
        for identifier in misses:
            result = found(assoc, identifier)
            assert (result.matches, result.status) == ([], 0x0000), identifier


def test_a_code_matches_inside_its_sequence(ris: Ris) -> None:
    mine = book(at(10))
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "CTHEAD", "L"
    other = Dataset()
    other.CodeValue, other.CodingSchemeDesignator = "CTHEAD", "99X"
    assert ris.find(query(RequestedProcedureCodeSequence=[code])).accessions == [accession(mine)]
    assert ris.find(query(RequestedProcedureCodeSequence=[other])).matches == []
    assert ris.find(query({"ScheduledProtocolCodeSequence": [code]})).accessions == [accession(mine)]


def test_a_step_on_two_machines_matches_either_and_names_both(ris: Ris) -> None:
    room = make_room()
    Station.objects.create(room=room, ae_title="CT1B", modality="CT")
    mine = book(at(10))
    for title in ("CT1", "CT1B"):
        result = ris.find(query({"ScheduledStationAETitle": title}))
        assert result.accessions == [accession(mine)]
        step = result.matches[0].ScheduledProcedureStepSequence[0]
        assert list(step.ScheduledStationAETitle) == ["CT1", "CT1B"]


def test_names_match_by_wildcard_any_case_and_any_component_group(ris: Ris) -> None:
    doe = accession(book(at(9), make_patient("Doe", "Jane")))
    dowe = accession(book(at(10), make_patient("Dowe", "John", middle="Q")))
    muller = accession(book(at(11), make_patient("Müller", "Zoë")))
    yamada = accession(
        book(at(12), make_patient("Yamada", "Tarou", ideographic="山田^太郎", phonetic="やまだ^たろう"))
    )
    expected = {
        "DOE*": [doe],
        "doe^jane": [doe],
        "Doe^Jane^^": [doe],
        "Doe": [],
        "D*": [doe, dowe],
        "Do?e^*": [dowe],
        "*jane": [doe],
        "Dowe^John^Q": [dowe],
        "MÜLLER*": [muller],
        "müller^zoë": [muller],
        "Muller*": [],
        "山田*": [yamada],
        "山田^太郎": [yamada],
        "Yamada^Tarou=山田^太郎": [yamada],
        "やまだ*": [yamada],
        "Nobody=山田^太郎": [yamada],
    }
    with ris.associate(WORKLIST) as assoc:
        for name, accessions in expected.items():
            identifier = query(PatientName=name)
            identifier.SpecificCharacterSet = "ISO_IR 192"
            assert found(assoc, identifier).accessions == accessions, name


def test_what_sql_would_take_for_more_is_only_a_letter(ris: Ris) -> None:
    booked = accession(book(at(9), make_patient("Doe", "Jane", mrn="D12")))
    with ris.associate(WORKLIST) as assoc:
        for hostile in ("%", "_", "D%", "D_e*", "'", "' OR 1=1 --", "\\%", "Doe';--", "[D]oe", "D.e"):
            for identifier in (
                query(PatientName=hostile), query(PatientID=hostile), query({"ScheduledStationAETitle": hostile}),
                query({"ScheduledProcedureStepDescription": hostile}),
            ):  # fmt: skip
                result = found(assoc, identifier)
                assert (result.matches, result.status) == ([], 0x0000), hostile
        assert found(assoc, query()).accessions == [booked]


def test_a_percent_sign_in_a_name_is_found_by_itself(ris: Ris) -> None:
    mine = accession(book(at(9), make_patient("O'100%_x", "Jane")))
    book(at(10), make_patient("O'100XYx", "Jane"))
    assert ris.find(query(PatientName="O'100%_*")).accessions == [mine]


def test_dates_and_times_are_those_of_the_facility_and_ranges_are_inclusive(ris: Ris) -> None:
    # 21:00 in New York is the next day in UTC, where the database lives.
    times = {name: accession(book(start)) for name, start in {
        "4th 21:00": at(21, day=4), "5th 07:00": at(7), "5th 09:59": at(9, 59), "5th 10:30": at(10, 30),
        "6th 05:00": at(5, day=6), "7th 17:59": at(17, 59, day=7), "7th 18:35": at(18, 35, day=7),
    }.items()}  # fmt: skip
    everything = list(times)
    cases = {
        ("20310705", ""): everything[1:4],
        ("20310704", ""): everything[:1],
        ("20310705-20310706", ""): everything[1:5],
        ("20310705-", ""): everything[1:],
        ("-20310705", ""): everything[:4],
        ("2031.07.05", ""): everything[1:4],
        ("20310706-20310705", ""): [],
        ("", "0700-1000"): ["5th 07:00", "5th 09:59"],
        ("", "1030"): ["5th 10:30"],
        ("", "10"): ["5th 10:30"],
        ("", "103000"): ["5th 10:30"],
        ("", "103000.5"): [],
        ("", "18-"): ["4th 21:00", "7th 18:35"],
        ("", "-0600"): ["6th 05:00"],
        ("", "2200-0600"): [],
        ("20310705", "1000-1800"): ["5th 10:30"],
        ("20310705", "0959"): ["5th 09:59"],
        ("20310705-20310707", "0959"): ["5th 09:59"],
        # One range from the 5th at ten to the 7th at six (PS3.4 table K.6-1).
        ("20310705-20310707", "1000-1800"): ["5th 10:30", "6th 05:00", "7th 17:59"],
        ("20310705-20310707", "0959-1835"): ["5th 09:59", "5th 10:30", "6th 05:00", "7th 17:59", "7th 18:35"],
        ("20310705-", "1000-"): ["5th 10:30", "6th 05:00", "7th 17:59", "7th 18:35"],
        ("-20310705", "-1000"): ["4th 21:00", "5th 07:00", "5th 09:59"],
    }
    with ris.associate(WORKLIST) as assoc:
        for (day, clock), names in cases.items():
            step = {"ScheduledProcedureStepStartDate": day, "ScheduledProcedureStepStartTime": clock}
            assert found(assoc, raw_query(step)).accessions == [times[name] for name in names], (day, clock)


def raw_query(step: dict[str, str]) -> Dataset:
    """A query with values that pydicom would not write by itself."""
    identifier = query({})
    item = identifier.ScheduledProcedureStepSequence[0]
    for keyword, value in step.items():
        item.add_new(keyword, "LO", value)
    return identifier


def test_the_ends_of_a_combined_range_belong_to_it(ris: Ris) -> None:
    book(at(9, 59))
    inside = [accession(book(at(10, 40))), accession(book(at(18, 0, day=7)))]
    book(at(18, 31, day=7))
    step = {
        "ScheduledProcedureStepStartDate": "20310705-20310707",
        "ScheduledProcedureStepStartTime": "1040-1800",
    }
    assert ris.find(query(step)).accessions == inside


def test_a_birth_date_known_in_part_matches_no_date_and_is_returned_empty(ris: Ris) -> None:
    book(at(10), make_patient(birth_date="1968"))
    book(at(11), make_patient(birth_date=""))
    assert ris.find(query(PatientBirthDate="19680101-19681231")).matches == []
    assert ris.find(query(PatientBirthDate="-20300101")).matches == []
    assert ris.find(query(PatientBirthDate="")).values("PatientBirthDate") == ["", ""]


def test_every_combination_of_the_patient_keys_finds_the_patient(ris: Ris) -> None:
    """SCN-01, MWL-22: 15 combinations; MWL-24: 31 with the admission (CARD)."""
    patient = make_patient("Doe", "Jane", mrn="77")
    visit = Visit.objects.create(patient=patient, number="V77", authority="HARBOUR")
    mine = book(at(10), patient, visit=visit)
    book(at(11), make_patient("Doe", "Jill", mrn="78"))
    keys = {
        "PatientName": "Doe^Jane",
        "PatientID": "77",
        "AccessionNumber": accession(mine),
        "RequestedProcedureID": mine.order.procedures.get().requested_procedure_id,
        "AdmissionID": "V77",
    }
    with ris.associate(WORKLIST) as assoc:
        for size in range(1, 6):
            for chosen in combinations(keys, size):
                identifier = query({}, **{keyword: keys[keyword] for keyword in chosen})
                assert found(assoc, identifier).accessions == [accession(mine)], chosen


def test_every_combination_of_the_broad_keys_narrows_the_list(ris: Ris) -> None:
    """SCN-01, MWL-23: 7 combinations; MWL-24: 15 with the location (CARD)."""
    make_procedure_type("MRHEAD", name="MR head", modality="MR")
    booked = {
        ("20310705", "CT", "CT1", "CT 1"): accession(book(at(10))),
        ("20310706", "CT", "CT1", "CT 1"): accession(book(at(10, day=6))),
        ("20310705", "CT", "CT2", "CT 2"): accession(book(at(11), room="CT2")),
    }
    room = make_room("MR1", modality="MR")
    order = make_order(procedure_type=make_procedure_type("MRHEAD"))
    booked["20310705", "MR", "MR1", "MR 1"] = accession(make_appointment(order, room=room, start=at(12)))
    keywords = (
        "ScheduledProcedureStepStartDate", "Modality", "ScheduledStationAETitle", "ScheduledProcedureStepLocation",
    )  # fmt: skip
    wanted = ("20310705", "CT", "CT1", "CT 1")
    with ris.associate(WORKLIST) as assoc:
        for size in range(1, 5):
            for chosen in combinations(range(4), size):
                step = {keywords[place]: wanted[place] for place in chosen}
                expected = {
                    number
                    for row, number in booked.items()
                    if all(row[place] == wanted[place] for place in chosen)
                }
                assert set(found(assoc, query(step)).accessions) == expected, step


def test_an_unsupported_key_is_returned_empty_with_a_warning(ris: Ris) -> None:
    mine = book(at(10))
    private = query()
    private.add_new(0x00091001, "LO", "secret")
    unknown = query(PatientComments="x", StudyDescription="CT*")
    unmatched = query(PatientWeight="80")
    in_step = query({"CommentsOnTheScheduledProcedureStep": "x"})
    for identifier in (private, unknown, unmatched, in_step):
        result = ris.find(identifier)
        assert (result.accessions, result.pending, result.status) == ([accession(mine)], {0xFF01}, 0x0000)
    assert ris.find(unknown).values("StudyDescription") == [""]
    assert ris.find(query(PatientWeight=None)).pending == {0xFF00}


def test_a_date_or_time_that_cannot_be_is_refused(ris: Ris) -> None:
    book(at(10))
    dates = ["20310732", "20310230", "today", "2031", "-", "20310705-20310706-20310707", "20310705\\20310706",
             "99991231"]  # fmt: skip
    times = ["2500", "7", "1060", "soon", "103061", "10-11-12"]
    with ris.associate(WORKLIST) as assoc:
        for keyword, values in (("StartDate", dates), ("StartTime", times)):
            for value in values:
                result = found(assoc, raw_query({f"ScheduledProcedureStep{keyword}": value}))
                assert (result.matches, result.status) == ([], 0xA900), value
                assert result.comment.startswith("(0040,000")
        assert len(found(assoc, query()).matches) == 1


def test_two_items_in_the_step_sequence_are_refused(ris: Ris) -> None:
    book(at(10))
    identifier = query({"Modality": "CT"})
    second = Dataset()
    second.Modality = "MR"
    identifier.ScheduledProcedureStepSequence.append(second)
    result = ris.find(identifier)
    assert (result.matches, result.status) == ([], 0xA900)
    assert result.comment == "(0040,0100) holds more than one item."


def test_an_unknown_character_set_is_refused(ris: Ris) -> None:
    identifier = query(PatientName="Doe")
    identifier.add_new(0x00080005, "CS", "KLINGON")
    assert ris.find(identifier).status == 0xA900


# What leaves the list, and when


def _cancel_order(appointment: Appointment) -> None:
    scheduling.cancel_order(appointment.order, reason="Duplicate", by=person("clara"))


def _cancel_appointment(appointment: Appointment) -> None:
    scheduling.cancel_appointment(appointment, reason="Patient asked", by=person("clara"))


def _start(appointment: Appointment) -> None:
    exams.start_exam(appointment.order, by=person("theo"))


def _complete(appointment: Appointment) -> None:
    (exam,) = exams.start_exam(appointment.order, by=person("theo"))
    exams.complete_exam(exam, by=person("theo"))


@pytest.mark.parametrize("verb", [_cancel_order, _cancel_appointment, _start, _complete])
def test_what_is_cancelled_started_or_done_leaves_the_list_at_once(
    ris: Ris, verb: Callable[[Appointment], None]
) -> None:
    stays = book(at(9))
    goes = book(at(10))
    with ris.associate(WORKLIST) as assoc:
        assert found(assoc, query()).accessions == [accession(stays), accession(goes)]
        verb(goes)
        assert found(assoc, query()).accessions == [accession(stays)]


def test_a_moved_appointment_is_found_at_its_new_time_and_machine_only(ris: Ris) -> None:
    moved = book(at(10))
    scheduling.reschedule(moved, room=make_room("CT2"), start=at(15, day=6), by=person("clara"))
    old = {"ScheduledProcedureStepStartDate": "20310705", "ScheduledStationAETitle": "CT1"}
    new = {"ScheduledProcedureStepStartDate": "20310706", "ScheduledStationAETitle": "CT2"}
    assert ris.find(query(old)).matches == []
    assert ris.find(query(new)).accessions == [accession(moved)]


def test_arrival_and_readiness_show_in_the_status(ris: Ris) -> None:
    appointment = book(at(10))

    def status() -> list[str]:
        result = ris.find(query({"ScheduledProcedureStepStatus": ""}))
        return [one.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus for one in result.matches]

    assert status() == ["SCHEDULED"]
    scheduling.check_in(appointment, by=person("clara"))
    assert status() == ["ARRIVED"]
    scheduling.make_ready(appointment, by=person("theo"))
    assert status() == ["READY"]


def test_answers_come_by_start_and_then_by_urgency(ris: Ris) -> None:
    routine = book(at(10))
    stat = book(at(10), room="CT2", priority="stat")
    early = book(at(9), room="CT3")
    assert ris.find(query()).accessions == [accession(early), accession(stat), accession(routine)]


# Character sets


def test_text_is_utf_8_and_named_so_only_where_it_is_needed(ris: Ris) -> None:
    book(at(9), make_patient("Doe", "Jane"))
    book(at(10), make_patient("Yamada", "Tarou", ideographic="山田^太郎", phonetic="やまだ^たろう"))
    ascii_, japanese = ris.find(query(PatientName="")).matches
    assert "SpecificCharacterSet" not in ascii_
    assert japanese.SpecificCharacterSet == "ISO_IR 192"
    assert japanese.PatientName == "Yamada^Tarou=山田^太郎=やまだ^たろう"


def test_a_station_gets_its_own_character_set(ris: Ris, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interfaces.dicom.stations.FRESH_SECONDS", 0)
    book(at(9), make_patient("Müller", "Łukasz", mrn="1"))
    book(at(10), make_patient("Yamada", "Tarou", ideographic="山田^太郎", mrn="2"))
    latin = {"1": ("Müller^Lukasz", "ISO_IR 100"), "2": ("Yamada^Tarou", None)}
    none = {"1": ("Muller^Lukasz", None), "2": ("Yamada^Tarou", None)}
    kanji = {"1": ("Muller^Lukasz", None), "2": ("Yamada^Tarou=山田^太郎", ["", "ISO 2022 IR 87"])}
    utf_8 = {"1": ("Müller^Łukasz", "ISO_IR 192"), "2": ("Yamada^Tarou=山田^太郎", "ISO_IR 192")}
    for character_set, expected in {
        "ISO_IR 100": latin, "ISO_IR 6": none, "\\ISO 2022 IR 87": kanji, "": utf_8, "KLINGON": utf_8,
    }.items():  # fmt: skip
        Station.objects.filter(ae_title="CT1").update(character_set=character_set)
        shown = {
            str(one.PatientID): (str(one.PatientName), one.get("SpecificCharacterSet"))
            for one in ris.find(query(PatientName="", PatientID="")).matches
        }
        assert shown == expected, character_set


def test_a_query_is_read_in_its_own_character_set(ris: Ris) -> None:
    mine = book(at(10), make_patient("Müller", "Zoë"))
    for character_set in ("ISO_IR 100", "ISO_IR 192"):
        identifier = query(PatientName="MÜLLER*")
        identifier.SpecificCharacterSet = character_set
        assert ris.find(identifier).accessions == [accession(mine)], character_set


def test_values_are_cut_to_what_their_vr_holds(ris: Ris) -> None:
    patient = make_patient("A" * 90, "Bé", mrn="1" * 64)
    kind = make_procedure_type("CTLONG", name="C" * 64)
    room = make_room(name="A room with a very long name")
    mine = make_appointment(
        make_order(patient, procedure_type=kind, reason="R" * 300), room=room, start=at(10)
    )
    identifier = query({"ScheduledProcedureStepLocation": ""}, PatientName="", ReasonForTheRequestedProcedure="",
                       RequestedProcedureDescription="", PatientID="")  # fmt: skip
    (item,) = ris.find(identifier).matches
    assert str(item.PatientName) == "A" * 64
    assert len(item.ReasonForTheRequestedProcedure) == 64
    assert item.ScheduledProcedureStepSequence[0].ScheduledProcedureStepLocation == "A room with a ve"
    assert item.AccessionNumber == accession(mine)


def test_delimiters_in_our_text_do_not_become_structure(ris: Ris) -> None:
    patient = make_patient("Smith^Jones=X", "A\\B")
    make_appointment(make_order(patient, reason="one\\two\nthree"), room=make_room(), start=at(10))
    (item,) = ris.find(query(PatientName="", ReasonForTheRequestedProcedure="")).matches
    assert str(item.PatientName) == "Smith Jones X^A B"
    assert item.ReasonForTheRequestedProcedure == "one/two three"


def test_the_offset_of_the_facility_is_told_when_asked_for(ris: Ris) -> None:
    book(at(10))
    book(datetime(2032, 1, 5, 10, tzinfo=NEW_YORK))
    assert ris.find(query(TimezoneOffsetFromUTC="")).values("TimezoneOffsetFromUTC") == ["-0400", "-0500"]


# Long answers


def many_steps(count: int) -> None:
    """Copies of one booked step, made in the database: only the answer's length matters."""
    step = book(at(10)).steps.get()
    ScheduledProcedureStep.objects.bulk_create(
        ScheduledProcedureStep(
            appointment=step.appointment, procedure=step.procedure, step_id=f"X{number}", modality="CT",
            station_ae_titles=["CT1"], starts_at=step.starts_at + timedelta(seconds=number), description="CT head",
        )
        for number in range(1, count)
    )  # fmt: skip


def test_an_answer_over_the_limit_ends_with_out_of_resources(
    ris: Ris, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worklist, "MAX_MATCHES", 300)
    many_steps(301)
    result = ris.find(query())
    assert (len(result.matches), result.status) == (300, 0xA700)
    assert result.comment == "More than 300 matches; narrow the query."
    monkeypatch.setattr(worklist, "MAX_MATCHES", 301)
    result = ris.find(query())
    assert (len(result.matches), result.status) == (301, 0x0000)


def test_every_query_leaves_a_row_in_the_audit(ris: Ris) -> None:
    book(at(10), make_patient("Secret", "Person"))
    ris.find(query({"Modality": "CT"}, PatientName="Secret*"), calling="CT1")
    ris.find(raw_query({"ScheduledProcedureStepStartDate": "x"}), calling="CT1")
    rows: list[AuditEvent] = []
    deadline = timezone.now() + timedelta(seconds=10)
    while len(rows) < 2 and timezone.now() < deadline:
        rows = list(AuditEvent.objects.filter(action="worklist.query").order_by("id"))
    good, bad = rows
    assert (good.username, good.source, good.outcome) == ("system.dicom", "CT1 127.0.0.1", "ok")
    assert sorted(good.details["keys"]) == ["Modality", "PatientName"]
    assert (good.details["matches"], good.details["status"]) == (1, "0000")
    assert (bad.outcome, bad.details["status"]) == ("refused", "A900")
    assert "Secret" not in str([row.details for row in rows])


def test_an_order_that_is_held_is_not_on_the_list(ris: Ris) -> None:
    appointment = book(at(10))
    Order.objects.filter(pk=appointment.order.pk, status="scheduled").update(status="requested")
    assert ris.find(query()).accessions == [accession(appointment)]
    Order.objects.filter(pk=appointment.order.pk).update(status="held")
    assert ris.find(query()).matches == []


def test_text_that_holds_our_own_separators_does_no_harm(ris: Ris) -> None:
    for number, separator in enumerate(("\x1c", "\x1d", "\x1e", "\x1f")):
        patient = make_patient(f"Odd{separator}Name", "Jane", mrn=f"M{number}")
        Patient.objects.filter(pk=patient.pk).update(family=f"Odd{separator}Name")
        book(at(9 + number), patient)
    result = ris.find(query(PatientName="", PatientID=""))
    assert result.values("PatientID") == ["M0", "M1", "M2", "M3"]
    assert result.values("PatientName")[2] == "Odd Name^Jane"
