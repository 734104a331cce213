"""A station's own worklist: what it is shown unasked, and how it is told (MWL-25, MWL-27, MWL-36, CS-02)."""

from datetime import timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone
from pydicom.datadict import tag_for_keyword

from interfaces.dicom.attributes import WORKLIST
from ris.department.models import Station, Withheld
from ris.exams import actions as exams
from ris.patients.merge_actions import merge_patients, unmerge_patients
from scheduling.models import Appointment, ScheduledProcedureStep
from tests.cast import person
from tests.interfaces.dicom.scu import Ris, query
from tests.makers import (
    make_appointment,
    make_facility,
    make_order,
    make_patient,
    make_practitioner,
    make_room,
    next_hour,
)


@pytest.fixture(autouse=True)
def asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interfaces.dicom.stations.FRESH_SECONDS", 0)


_hours = count(1)


def book(room: str = "CT1", **fields: Any) -> Appointment:
    """Now, in a room; `days` from now where told, which the schedule itself would refuse for the past."""
    days = fields.pop("days", 0)
    order = make_order(fields.pop("patient", None), **fields)
    appointment = make_appointment(order, room=make_room(room), start=next_hour(next(_hours)))
    noon = timezone.localtime(timezone.now(), ZoneInfo(make_facility().timezone)).replace(
        hour=12, minute=0, second=0, microsecond=0
    )
    ScheduledProcedureStep.objects.filter(appointment=appointment).update(
        starts_at=noon + timedelta(days=days)
    )
    return appointment


def settings(title: str = "CT1", **values: Any) -> None:
    Station.objects.filter(ae_title=title).update(**values)


def number(appointment: Appointment) -> str:
    return appointment.order.accession_number


def test_days_and_machine_narrow_only_what_the_query_leaves_open(ris: Ris) -> None:
    """MWL-25: never against an explicit key, nor against one that names a patient or an exam."""
    last_week, today, next_week = (number(book(days=days)) for days in (-7, 0, 7))
    elsewhere = book("CT2")
    everything = {last_week, today, next_week, number(elsewhere)}
    assert set(ris.find(query()).accessions) == everything
    settings(days_before=1, days_after=0)
    assert set(ris.find(query()).accessions) == {today, number(elsewhere)}
    settings(days_after=7)
    assert set(ris.find(query()).accessions) == {today, number(elsewhere), next_week}
    assert set(ris.find(query({"ScheduledProcedureStepStartDate": "20000101-"})).accessions) == everything
    settings(own_steps_only=True)
    assert set(ris.find(query({"Modality": "CT"})).accessions) == {today, next_week}
    assert ris.find(query({"ScheduledStationAETitle": "CT2"})).accessions == [number(elsewhere)]
    assert ris.find(query(AccessionNumber=last_week)).accessions == [last_week]
    assert ris.find(query(PatientID=elsewhere.patient.mrn)).accessions == [number(elsewhere)]
    assert set(ris.find(query(PatientName="*")).accessions) == {today, next_week}
    # Another machine is asked for by its own title and has its own settings.
    assert set(ris.find(query(), calling="CT2").accessions) == everything


def test_a_station_shows_the_steps_of_the_statuses_it_is_set_to(ris: Ris) -> None:
    """MWL-25, MWL-27: what began is shown where the station says so, and what has ended nowhere."""
    booked, running, done = book(), book("CT2"), book("CT3")
    (exam,) = exams.start_exam(done.order, by=person("theo"))
    exams.start_exam(running.order, by=person("theo"))

    def seen(**keys: Any) -> list[tuple[str, str]]:
        found = ris.find(query({"ScheduledProcedureStepStatus": ""}, StudyDate="", **keys)).matches
        steps = [(one, one.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus) for one in found]
        assert all(bool(one.StudyDate) == (status == "STARTED") for one, status in steps)
        return sorted((one.AccessionNumber, status) for one, status in steps)

    assert seen() == [(number(booked), "SCHEDULED")]
    settings(shown=["SCHEDULED", "STARTED"])
    started = [(number(running), "STARTED"), (number(done), "STARTED")]
    assert seen() == [(number(booked), "SCHEDULED"), *started]
    exams.complete_exam(exam, by=person("theo"))
    assert seen() == [(number(booked), "SCHEDULED"), started[0]]
    settings(shown=["STARTED"])
    assert seen() == started[:1]
    settings(shown=[])
    assert seen() == []


def test_a_station_is_told_only_what_it_can_show(ris: Ris) -> None:
    """MWL-36, CS-02: forced empty, cut, without accents, in capitals; numbers and codes stay as they are."""
    patient = make_patient("Åkerström-Łukaszewicz", "Zoë", mrn="abc1", allergies="Iodine")
    book(
        patient=patient,
        reason="Straße: pain in the right upper quadrant",
        ordering=make_practitioner("Müller"),
    )
    keys = {
        "PatientName": "", "PatientID": "", "Allergies": "", "ReasonForTheRequestedProcedure": "",
        "RequestingPhysician": "", "OtherPatientIDsSequence": [],
    }  # fmt: skip

    def told(explicit: bool = False) -> dict[str, str]:
        (match,) = ris.find(query({}, **keys), explicit=explicit).matches
        return {
            one.keyword: str(one.value) for one in match if one.keyword in {*keys, "SpecificCharacterSet"}
        }

    plain = told()
    assert plain["PatientName"] == "Åkerström-Łukaszewicz^Zoë"
    assert plain["Allergies"] == "Iodine"
    settings(withheld=["Allergies", "RequestingPhysician", "OtherPatientIDsSequence"])
    assert (told()["Allergies"], told(explicit=True)["RequestingPhysician"]) == ("", "")
    settings(letters="plain")
    assert "SpecificCharacterSet" not in told()
    assert told()["PatientName"] == "Akerstrom-Lukaszewicz^Zoe"
    settings(letters="capitals", longest_text=20)
    assert told() | {"Allergies": "", "OtherPatientIDsSequence": ""} == {
        "PatientName": "AKERSTROM-LUKASZEWIC", "PatientID": "abc1", "Allergies": "", "OtherPatientIDsSequence": "",
        "ReasonForTheRequestedProcedure": "STRASSE: PAIN IN THE", "RequestingPhysician": "",
    }  # fmt: skip


def test_the_offset_from_utc_is_told_as_the_station_is_set(ris: Ris) -> None:
    """MWL-A02: never of zero length."""
    book()
    for setting, asked, shown in (
        ("asked", False, False), ("asked", True, True), ("always", False, True), ("never", True, False),
    ):  # fmt: skip
        settings(timezone_offset=setting)
        keys: dict[str, Any] = {"TimezoneOffsetFromUTC": ""} if asked else {}
        (match,) = ris.find(query(**keys)).matches
        assert ("TimezoneOffsetFromUTC" in match) == shown, setting
        assert not shown or match.TimezoneOffsetFromUTC in {"-0400", "-0500"}


def test_what_may_be_withheld_is_what_we_have_and_never_of_type_1() -> None:
    known = dict(WORKLIST) | dict(WORKLIST[0x00400100].item)
    assert {tag_for_keyword(keyword) for keyword in Withheld.values} <= set(known)


def test_a_retired_number_finds_the_survivors_exams(ris: Ris) -> None:
    """PIR-04, MWL-22: the number on an old wristband leads to whom the record is now."""
    retired, survivor = make_patient("Doe", "J", mrn="OLD7"), make_patient("Okafor", mrn="NEW7")
    mine, theirs = book(patient=retired), book(patient=survivor, room="CT2")
    merge = merge_patients(survivor, retired, by=person("mona"))
    both = {number(mine), number(theirs)}
    for asked in ("OLD7", "NEW7", "OLD?", "OLD7\\X"):
        found = ris.find(query(PatientID=asked))
        assert set(found.accessions) == both, asked
        assert found.values("PatientID") == ["NEW7", "NEW7"]
    unmerge_patients(merge, reason="Not the same person", by=person("mona"))
    assert ris.find(query(PatientID="OLD7")).accessions == [number(mine)]
