"""The worklist's acceptance scenarios, from the order's message to what the modality reads (SCN-01, 14, 21)."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydicom.dataset import Dataset
from pynetdicom.association import Association

from interfaces.actions import configure_endpoint
from interfaces.hl7 import receiver
from interfaces.hl7.mllp import Frame
from ris.accounts.models import system_user
from ris.department.models import Station
from ris.orders.models import Order
from ris.patients.models import Patient
from scheduling import actions as scheduling
from scheduling.models import Appointment, ScheduledProcedureStep
from tests.cast import person
from tests.interfaces.dicom.scu import WORKLIST, Ris, found, query
from tests.interfaces.hl7.samples import adt, orm, pid
from tests.makers import (
    make_appointment,
    make_facility,
    make_order,
    make_patient,
    make_practitioner,
    make_procedure_type,
    make_room,
)
from tests.peers.emr import Ack

NEW_YORK = ZoneInfo("America/New_York")

#: What RAD-5 has the worklist return (TF-2 table 4.5-3, R+), at the top and in the step.
_TOP = [
    *(
        "AccessionNumber",
        "ReferringPhysicianName",
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
    ),
    *(
        "PatientWeight",
        "MedicalAlerts",
        "Allergies",
        "PregnancyStatus",
        "StudyInstanceUID",
        "RequestingPhysician",
    ),
    *(
        "RequestedProcedureDescription",
        "AdmissionID",
        "SpecialNeeds",
        "CurrentPatientLocation",
        "PatientState",
    ),
    *("RequestedProcedureID", "RequestedProcedurePriority", "PatientTransportArrangements"),
    "ConfidentialityConstraintOnPatientDataDescription",
]
_SEQUENCES = ("RequestedProcedureCodeSequence", "ReferencedStudySequence", "ReferencedPatientSequence")
_STEP = [
    *(
        "Modality",
        "ScheduledStationAETitle",
        "ScheduledProcedureStepStartDate",
        "ScheduledProcedureStepStartTime",
    ),
    *("ScheduledPerformingPhysicianName", "ScheduledProcedureStepDescription", "ScheduledProcedureStepID"),
]


def take(message: str, encoding: str = "utf-8") -> None:
    """As the order placer's or the patient index's line brings it."""
    (answer,) = receiver.receive(Frame(message.encode(encoding)), "10.0.0.9")
    assert Ack(answer).code == "AA", answer


@pytest.fixture
def emr(ris: Ris) -> Ris:
    make_facility()
    make_procedure_type()
    configure_endpoint("emr", {"protocol": "mllp", "direction": "in"}, by=system_user("shell"))
    return ris


def test_scn_01_what_was_ordered_and_booked_is_on_the_worklist_with_all_that_rad_5_asks(emr: Ris) -> None:
    """SCN-01: the combinations of keys have tables of their own in test_worklist."""
    take(adt())
    take(orm())
    order = Order.objects.get()
    room = make_room()
    Station.objects.create(room=room, ae_title="CT1B", modality="CT")
    start = datetime(2031, 7, 5, 10, 30, tzinfo=NEW_YORK)
    appointment = scheduling.book(order, room=room, start=start, by=person("mona"))
    scheduling.assign_performer(appointment, make_practitioner("Curie"), by=person("clara"))
    identifier = query({}, **dict.fromkeys([one for one in _TOP if one != "PregnancyStatus"], ""))
    identifier.PregnancyStatus = None
    for keyword in _SEQUENCES:
        setattr(identifier, keyword, [])
    code = Dataset()
    code.CodeValue = code.CodingSchemeDesignator = code.CodeMeaning = ""
    step = identifier.ScheduledProcedureStepSequence[0]
    step.ScheduledProtocolCodeSequence = [code]
    for keyword in _STEP:
        setattr(step, keyword, "")
    for explicit in (False, True):
        result = emr.find(identifier, explicit=explicit)
        assert (len(result.matches), result.pending, result.status) == (1, {0xFF00}, 0x0000)
        (item,) = result.matches
        assert set(_TOP) | set(_SEQUENCES) <= {element.keyword for element in item}
        assert "QueryRetrieveLevel" not in item
        procedure, planned = order.procedures.get(), appointment.steps.get()
        assert item.AccessionNumber == order.accession_number
        assert (item.PatientName, item.PatientID) == ("OKAFOR^ADAEZE^^MRS", "004417268")
        assert (item.PatientBirthDate, item.PatientSex, item.AdmissionID) == ("19680714", "F", "V131-1")
        assert item.ReferringPhysicianName == "NELL^FREDERICK^P^DR"
        assert item.StudyInstanceUID == procedure.study_instance_uid
        assert item.RequestedProcedureID == procedure.requested_procedure_id
        assert item.RequestedProcedureCodeSequence[0].CodeValue == "CTHEAD"
        (scheduled,) = item.ScheduledProcedureStepSequence
        assert list(scheduled.ScheduledStationAETitle) == ["CT1", "CT1B"]
        assert scheduled.ScheduledPerformingPhysicianName == "Curie^Maja^^Dr"
        assert scheduled.ScheduledProtocolCodeSequence[0].CodingSchemeDesignator == "L"
        assert [scheduled[keyword].value for keyword in ("Modality", "ScheduledProcedureStepID")] == [
            "CT", planned.step_id,
        ]  # fmt: skip
        assert scheduled.ScheduledProcedureStepStartDate == "20310705"
        assert scheduled.ScheduledProcedureStepStartTime == "103000"
        assert scheduled.ScheduledProcedureStepDescription == "CT head"


def test_scn_14_a_japanese_name_goes_from_hl7_to_each_machine_intact(
    emr: Ris, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SCN-14, CS-01 to CS-04: three component groups in, three out, found by each of them in each set."""
    monkeypatch.setattr("interfaces.dicom.stations.FRESH_SECONDS", 0)
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    take(adt(person=pid(name=name), charset="ISO IR6~ISO IR87"), "iso2022_jp")
    patient = Patient.objects.get()
    appointment = make_appointment(
        make_order(patient), room=make_room(), start=datetime(2031, 7, 5, 9, tzinfo=NEW_YORK)
    )
    sets = {
        "": "ISO_IR 192", "\\ISO 2022 IR 87": ["", "ISO 2022 IR 87"],
        "ISO 2022 IR 13\\ISO 2022 IR 87": ["ISO 2022 IR 13", "ISO 2022 IR 87"],
        "\\ISO 2022 IR 87\\ISO 2022 IR 159": ["", "ISO 2022 IR 87", "ISO 2022 IR 159"], "GB18030": "GB18030",
    }  # fmt: skip
    for character_set, declared in sets.items():
        Station.objects.update(character_set=character_set)
        for group in ("yamada*", "山田^太郎", "やまだ*"):
            identifier = query(PatientName=group)
            identifier.SpecificCharacterSet = declared
            (match,) = emr.find(identifier).matches
            assert str(match.PatientName) == name, (character_set, group)
            assert match.SpecificCharacterSet == declared
    # A machine that knows Latin letters only gets those, and no question marks.
    Station.objects.update(character_set="ISO_IR 100")
    (match,) = emr.find(query(PatientName="")).matches
    assert (str(match.PatientName), "SpecificCharacterSet" in match) == ("Yamada^Tarou", False)
    assert match.AccessionNumber == appointment.order.accession_number


def _starts(assoc: Association, day: str, clock: str = "") -> list[tuple[str, str, str]]:
    step = {
        "ScheduledProcedureStepStartDate": day, "ScheduledProcedureStepStartTime": clock,
        "ScheduledProcedureStepEndTime": "", "ScheduledProcedureStepEndDate": "",
    }  # fmt: skip
    items = [
        one.ScheduledProcedureStepSequence[0]
        for one in found(assoc, query(step, TimezoneOffsetFromUTC="")).matches
    ]
    return [
        (
            one.ScheduledProcedureStepStartTime,
            one.ScheduledProcedureStepEndDate,
            one.ScheduledProcedureStepEndTime,
        )
        for one in items
    ]


def test_scn_21_the_days_on_which_clocks_change_lose_nothing(ris: Ris) -> None:
    """SCN-21: an hour that comes twice, one that never comes, and an exam over midnight."""
    twice = datetime(2031, 11, 2, 1, 30, tzinfo=NEW_YORK)
    spring = datetime(2031, 3, 9, 1, 45, tzinfo=NEW_YORK)
    late = datetime(2031, 11, 2, 23, 45, tzinfo=NEW_YORK)
    for start, room in ((twice, "CT1"), (twice.replace(fold=1), "CT1"), (spring, "CT1"), (late, "CT1")):
        make_appointment(make_order(make_patient()), room=make_room(room), start=start)
    with ris.associate(WORKLIST) as assoc:
        autumn = [
            ("013000", "20311102", "010000"),
            ("013000", "20311102", "020000"),
            ("234500", "20311103", "001500"),
        ]
        assert _starts(assoc, "20311102") == autumn
        assert _starts(assoc, "20311102", "0100-0159") == autumn[:2]
        assert _starts(assoc, "20311103") == []
        assert _starts(assoc, "20311102-20311103", "2300-0100") == autumn[2:]
        # The exam ends after the hour that was left out.
        assert _starts(assoc, "20310309") == [("014500", "20310309", "031500")]
        assert _starts(assoc, "20310309", "0200-0259") == []


def test_scn_21_long_and_short_names_and_numbers_come_whole(ris: Ris) -> None:
    """SCN-21: only one name; 64 letters; an accession number of 16."""
    long_name = "Wolfeschlegelsteinhausenbergerdorffwelchevoralternwarengewissenha"[:64]
    start = datetime(2031, 7, 5, 9, tzinfo=NEW_YORK)
    for hour, patient in enumerate((make_patient("Sukarno", ""), make_patient(long_name, ""))):
        make_appointment(make_order(patient), room=make_room(), start=start + timedelta(hours=hour))
    Order.objects.filter(patient__family="Sukarno").update(accession_number="A234567890123456")
    for name, key in (("Sukarno", "SUKARNO"), (long_name, long_name), (long_name, "Wolfe*")):
        assert ris.find(query(PatientName=key)).values("PatientName") == [name], key
    assert ris.find(query(AccessionNumber="A234567890123456", PatientName="")).values("PatientName") == [
        "Sukarno"
    ]


def test_scn_21_a_list_of_two_thousand_comes_whole_or_is_cancelled(ris: Ris) -> None:
    """SCN-21, MWL-16, MWL-31: in order of start; a C-CANCEL ends it and the association goes on."""
    appointment: Appointment = make_appointment(start=datetime(2031, 7, 5, 9, tzinfo=NEW_YORK))
    step = appointment.steps.get()
    ScheduledProcedureStep.objects.bulk_create(
        ScheduledProcedureStep(
            appointment=appointment, procedure=step.procedure, step_id=f"X{number}", modality="CT",
            station_ae_titles=["CT1"], starts_at=step.starts_at + timedelta(seconds=number), description="CT head",
        )
        for number in range(1, 2000)
    )  # fmt: skip
    with ris.associate(WORKLIST) as assoc:
        statuses: list[int] = []
        for status, _ in assoc.send_c_find(query(PatientName=""), WORKLIST, msg_id=7):
            statuses.append(status.Status)
            if len(statuses) == 5:
                assoc.send_c_cancel(7, assoc.accepted_contexts[0].context_id)
        assert statuses[-1] == 0xFE00
        assert 5 <= len(statuses) < 2000
        whole = found(assoc, query({"ScheduledProcedureStepID": ""}))
        ids = [one.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID for one in whole.matches]
        assert (whole.status, ids) == (0x0000, [step.step_id, *(f"X{number}" for number in range(1, 2000))])
