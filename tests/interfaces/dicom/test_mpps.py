"""What modalities report of their work: accepted, stored, matched, and refused only as PS3.4 F.7.2 says."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid
from pynetdicom.association import Association

from interfaces.models import ReceivedDataset
from ris.audit.models import AuditEvent
from ris.exams.models import Exam, PerformedProcedureStep
from ris.orders.models import Order
from scheduling import actions as scheduling
from scheduling.models import Appointment
from tests.cast import person
from tests.interfaces.dicom.scu import MPPS, WORKLIST, Ris, found, query
from tests.makers import make_appointment, make_order, make_patient, make_procedure_type, make_room, next_hour


@pytest.fixture
def modality(ris: Ris) -> Iterator[Association]:
    with ris.associate(MPPS, WORKLIST) as assoc:
        assert assoc.is_established
        yield assoc


def reference(appointment: Appointment) -> Dataset:
    """The item of the Scheduled Step Attributes Sequence that a worklist answer leads to."""
    step = appointment.steps.get()
    item = Dataset()
    item.StudyInstanceUID = step.procedure.study_instance_uid
    item.ReferencedStudySequence = Sequence()
    item.AccessionNumber = appointment.order.accession_number
    item.RequestedProcedureID = step.procedure.requested_procedure_id
    item.RequestedProcedureDescription = step.description
    item.ScheduledProcedureStepID = step.step_id
    item.ScheduledProcedureStepDescription = step.description
    item.ScheduledProtocolCodeSequence = Sequence()
    return item


def unscheduled() -> Dataset:
    item = Dataset()
    item.StudyInstanceUID = generate_uid()
    for keyword in ("AccessionNumber", "RequestedProcedureID", "ScheduledProcedureStepID"):
        setattr(item, keyword, "")
    return item


def in_progress(*references: Dataset, **changes: Any) -> Dataset:
    ds = Dataset()
    ds.ScheduledStepAttributesSequence = Sequence(references)
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Okafor^Adaeze", "", "19680714", "F"
    ds.ReferencedPatientSequence = Sequence()
    ds.PerformedProcedureStepID = "PPS1"
    ds.PerformedStationAETitle, ds.PerformedStationName, ds.PerformedLocation = "CT1", "", ""
    ds.PerformedProcedureStepStartDate, ds.PerformedProcedureStepStartTime = "20310705", "101500"
    ds.PerformedProcedureStepStatus = "IN PROGRESS"
    ds.PerformedProcedureStepDescription = ds.PerformedProcedureTypeDescription = ""
    ds.PerformedProcedureStepEndDate = ds.PerformedProcedureStepEndTime = ""
    ds.Modality, ds.StudyID = "CT", ""
    ds.ProcedureCodeSequence = ds.PerformedProtocolCodeSequence = Sequence()
    ds.PerformedSeriesSequence = Sequence()
    ds.PerformedProcedureStepDiscontinuationReasonCodeSequence = Sequence()
    for keyword, value in changes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def series(images: int = 3) -> Dataset:
    item = Dataset()
    item.PerformingPhysicianName = item.OperatorsName = item.SeriesDescription = item.RetrieveAETitle = ""
    item.ProtocolName = "HEAD"
    item.SeriesInstanceUID = generate_uid()
    item.ReferencedImageSequence = Sequence()
    for _ in range(images):
        image = Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = (
            "1.2.840.10008.5.1.4.1.1.2",
            generate_uid(),
        )
        item.ReferencedImageSequence.append(image)
    item.ReferencedNonImageCompositeSOPInstanceSequence = Sequence()
    return item


def final(status: str = "COMPLETED", *all_series: Dataset, **changes: Any) -> Dataset:
    ds = Dataset()
    ds.PerformedProcedureStepStatus = status
    ds.PerformedProcedureStepEndDate, ds.PerformedProcedureStepEndTime = "20310705", "102800"
    ds.PerformedSeriesSequence = Sequence(all_series or (series(),))
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    return ds


def reason(code: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "DCM", "..."
    return Sequence([item])


def create(assoc: Association, ds: Dataset, uid: str = "") -> tuple[int, str]:
    uid = uid or generate_uid()
    status, _ = assoc.send_n_create(ds, MPPS, uid)
    return status.Status, uid


def n_set(assoc: Association, ds: Dataset, uid: str) -> Dataset:
    status, _ = assoc.send_n_set(ds, MPPS, uid)
    return status


def state(order: Order) -> tuple[str, list[str], list[str]]:
    """Status of the order, of its steps, of its exams."""
    order.refresh_from_db()
    steps = [step.status for one in order.appointments.all() for step in one.steps.all()]
    return order.status, steps, [exam.status for exam in order.exams.order_by("pk")]


def test_a_modality_takes_a_step_from_the_worklist_to_its_end(ris: Ris, modality: Association) -> None:
    appointment = make_appointment()
    order = appointment.order
    status, uid = create(modality, in_progress(reference(appointment), PatientID=order.patient.mrn))
    assert status == 0x0000
    assert state(order) == ("in_progress", ["started"], ["in_progress"])
    exam = Exam.objects.get()
    assert exam.started_at == datetime(2031, 7, 5, 14, 15, tzinfo=UTC)  # 10:15 in New York
    assert exam.station_ae_title == "CT1"
    assert found(modality, query()).matches == []

    assert n_set(modality, final("IN PROGRESS", series(1)), uid).Status == 0x0000
    assert state(order) == ("in_progress", ["started"], ["in_progress"])
    assert n_set(modality, final("COMPLETED", series(3), series(4)), uid).Status == 0x0000
    assert state(order) == ("performed", ["completed"], ["completed"])
    exam.refresh_from_db()
    assert exam.ended_at == datetime(2031, 7, 5, 14, 28, tzinfo=UTC)
    assert (exam.series_count, exam.image_count) == (2, 7)
    step = PerformedProcedureStep.objects.get()
    assert (step.status, step.problem, step.performed_step_id) == ("completed", "", "PPS1")
    # The last N-SET's series replace those before (no append).
    assert len(step.attributes["00400340"]["Value"]) == 2
    assert step.attributes["00100010"]["Value"] == [{"Alphabetic": "Okafor^Adaeze"}]
    assert list(ReceivedDataset.objects.order_by("id").values_list("operation", "sop_instance_uid")) == [
        ("N-CREATE", uid), ("N-SET", uid), ("N-SET", uid),
    ]  # fmt: skip


def test_nothing_changes_a_final_step(modality: Association) -> None:
    for end in ("COMPLETED", "DISCONTINUED"):
        _, uid = create(modality, in_progress(unscheduled()))
        assert n_set(modality, final(end), uid).Status == 0x0000
        before = PerformedProcedureStep.objects.values().get(sop_instance_uid=uid)
        for again in ("IN PROGRESS", "COMPLETED", "DISCONTINUED"):
            answer = n_set(modality, final(again), uid)
            assert (answer.Status, answer.ErrorID) == (0x0110, 0xA710)
            assert answer.ErrorComment == "Performed Procedure Step Object may no longer be updated"
        assert PerformedProcedureStep.objects.values().get(sop_instance_uid=uid) == before


def test_the_same_instance_is_created_once(modality: Association) -> None:
    appointment = make_appointment()
    ds = in_progress(reference(appointment))
    status, uid = create(modality, ds)
    assert status == 0x0000
    assert create(modality, ds, uid)[0] == 0x0111
    n_set(modality, final(), uid)
    assert create(modality, ds, uid)[0] == 0x0111
    assert PerformedProcedureStep.objects.count() == Exam.objects.count() == 1


def test_an_unknown_instance_cannot_be_set(modality: Association) -> None:
    for status in ("IN PROGRESS", "COMPLETED", "DISCONTINUED"):
        assert n_set(modality, final(status), generate_uid()).Status == 0x0112


def test_a_step_is_created_in_progress(modality: Association) -> None:
    for status in ("COMPLETED", "DISCONTINUED", "in progress", "STARTED"):
        assert create(modality, in_progress(unscheduled(), PerformedProcedureStepStatus=status))[0] == 0x0106
    assert not PerformedProcedureStep.objects.exists()


TYPE_1 = [
    "ScheduledStepAttributesSequence",
    "PerformedProcedureStepID",
    "PerformedStationAETitle",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "PerformedProcedureStepStatus",
    "Modality",
]


def test_a_missing_or_empty_type_1_attribute_is_refused_by_name(modality: Association) -> None:
    for keyword in TYPE_1:
        status, _ = modality.send_n_create(
            in_progress(unscheduled(), **{keyword: None}), MPPS, generate_uid()
        )
        assert status.Status == 0x0120, keyword
        empty: Any = Sequence() if keyword.endswith("Sequence") else ""
        status, _ = modality.send_n_create(
            in_progress(unscheduled(), **{keyword: empty}), MPPS, generate_uid()
        )
        assert status.Status == 0x0121, keyword
    without_study = unscheduled()
    del without_study.StudyInstanceUID
    assert create(modality, in_progress(unscheduled(), without_study))[0] == 0x0120
    without_study.StudyInstanceUID = ""
    assert create(modality, in_progress(without_study))[0] == 0x0121
    assert not PerformedProcedureStep.objects.exists()
    refused = AuditEvent.objects.filter(action="performed_step.refused")
    assert refused.count() == 2 * len(TYPE_1) + 2
    assert {row.details["status"] for row in refused} == {"0120", "0121"}
    # What was refused is kept too.
    assert ReceivedDataset.objects.count() == refused.count()


def test_a_date_that_cannot_be_is_refused(modality: Association) -> None:
    for changes in (
        {"PerformedProcedureStepStartDate": "20310732"},
        {"PerformedProcedureStepStartTime": "2560"},
    ):
        ds = in_progress(unscheduled())
        for keyword, value in changes.items():
            ds.add_new(keyword, "LO", value)
        assert create(modality, ds)[0] == 0x0106


def test_what_belongs_to_the_creation_cannot_be_set(modality: Association) -> None:
    _, uid = create(modality, in_progress(unscheduled()))
    for keyword, value in {
        "PatientName": "Other^Name", "PatientID": "1", "Modality": "MR", "PerformedStationAETitle": "MR1",
        "PerformedProcedureStepID": "X", "PerformedProcedureStepStartDate": "20310706",
        "ScheduledStepAttributesSequence": Sequence([unscheduled()]), "StudyID": "1",
    }.items():  # fmt: skip
        answer = n_set(modality, final("COMPLETED", **{keyword: value}), uid)
        assert answer.Status == 0x0105, keyword
        assert answer.AttributeIdentifierList is not None
    assert n_set(modality, final("FINISHED"), uid).Status == 0x0106
    assert PerformedProcedureStep.objects.get().status == "in_progress"


def test_an_unscheduled_step_is_accepted_and_left_to_a_person(modality: Association) -> None:
    status, uid = create(modality, in_progress(unscheduled(), PatientID="ED-17"))
    assert status == 0x0000
    step = PerformedProcedureStep.objects.get()
    assert (step.patient_id, step.patient_name, step.modality) == ("ED-17", "Okafor^Adaeze", "CT")
    assert step.problem
    assert not step.exams.exists()
    assert n_set(modality, final(), uid).Status == 0x0000
    assert PerformedProcedureStep.objects.get().status == "completed"


@pytest.mark.parametrize(
    "kept", ["ScheduledProcedureStepID", "RequestedProcedureID", "StudyInstanceUID", "AccessionNumber"]
)
def test_one_number_of_the_worklist_is_enough_to_match(modality: Association, kept: str) -> None:
    appointment = make_appointment()
    item = reference(appointment)
    blank = unscheduled()
    setattr(blank, kept, getattr(item, kept))
    assert create(modality, in_progress(blank))[0] == 0x0000
    assert state(appointment.order)[0] == "in_progress"


def test_a_group_of_procedures_starts_and_ends_together(modality: Association) -> None:
    patient = make_patient()
    appointments = [
        make_appointment(make_order(patient), room=make_room(f"CT{number}"), start=next_hour(number))
        for number in (1, 2, 3)
    ]
    _, uid = create(modality, in_progress(*map(reference, appointments)))
    assert [state(one.order)[0] for one in appointments] == ["in_progress"] * 3
    n_set(modality, final(), uid)
    assert [state(one.order)[0] for one in appointments] == ["performed"] * 3


def test_an_exam_in_several_performed_steps_ends_with_the_last(modality: Association) -> None:
    appointment = make_appointment()
    _, first = create(modality, in_progress(reference(appointment)))
    _, second = create(modality, in_progress(reference(appointment)))
    assert Exam.objects.count() == 1
    n_set(modality, final(), first)
    assert state(appointment.order)[0] == "in_progress"
    n_set(modality, final(), second)
    assert state(appointment.order) == ("performed", ["completed"], ["completed"])


def test_a_discontinued_step_keeps_its_reason(modality: Association) -> None:
    appointment = make_appointment()
    _, uid = create(modality, in_progress(reference(appointment)))
    ended = final("DISCONTINUED", PerformedProcedureStepDiscontinuationReasonCodeSequence=reason("110505"))
    assert n_set(modality, ended, uid).Status == 0x0000
    assert state(appointment.order) == ("discontinued", ["discontinued"], ["discontinued"])
    assert Exam.objects.get().discontinuation_code == "110505"
    assert PerformedProcedureStep.objects.get().discontinuation_code == "110505"


def test_the_wrong_worklist_entry_goes_back_on_the_list(modality: Association) -> None:
    appointment = make_appointment()
    _, uid = create(modality, in_progress(reference(appointment)))
    wrong = final("DISCONTINUED", PerformedProcedureStepDiscontinuationReasonCodeSequence=reason("110514"))
    assert n_set(modality, wrong, uid).Status == 0x0000
    assert state(appointment.order)[0] == "scheduled"
    assert found(modality, query()).accessions == [appointment.order.accession_number]
    assert create(modality, in_progress(reference(appointment)))[0] == 0x0000
    assert state(appointment.order)[0] == "in_progress"


def test_work_on_what_was_cancelled_is_accepted_and_left_to_a_person(modality: Association) -> None:
    appointment = make_appointment()
    item = reference(appointment)
    scheduling.cancel_order(appointment.order, reason="Duplicate", by=person("clara"))
    status, uid = create(modality, in_progress(item))
    assert status == 0x0000
    assert PerformedProcedureStep.objects.get().problem
    assert n_set(modality, final(), uid).Status == 0x0000
    assert state(appointment.order)[0] == "cancelled"


def test_work_on_another_patient_than_ordered_is_accepted_and_left_to_a_person(modality: Association) -> None:
    appointment = make_appointment(make_order(make_patient(mrn="100")))
    make_patient("Other", "One", mrn="200")
    assert create(modality, in_progress(reference(appointment), PatientID="200"))[0] == 0x0000
    assert PerformedProcedureStep.objects.get().problem
    assert state(appointment.order)[0] == "scheduled"


def test_each_message_is_read_in_its_own_character_set(modality: Association) -> None:
    _, uid = create(
        modality, in_progress(unscheduled(), SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Zoë")
    )
    change = final(
        "COMPLETED", SpecificCharacterSet="ISO_IR 192", CommentsOnThePerformedProcedureStep="山田先生"
    )
    assert n_set(modality, change, uid).Status == 0x0000
    step = PerformedProcedureStep.objects.get()
    assert step.patient_name == "Müller^Zoë"
    assert step.attributes["00100010"]["Value"] == [{"Alphabetic": "Müller^Zoë"}]
    assert step.attributes["00400280"]["Value"] == ["山田先生"]
    assert "00080005" not in step.attributes


def test_text_that_is_not_of_its_declared_set_is_refused(modality: Association) -> None:
    ds = in_progress(unscheduled())
    ds.add_new(0x00080005, "CS", "ISO_IR 192")
    ds.add_new(0x00400254, "UN", b"\xff\xfe")
    # In an implicit data set the attribute is text again.
    assert create(modality, ds)[0] == 0x0106


def test_a_completed_step_without_series_or_end_is_accepted(
    modality: Association, caplog: pytest.LogCaptureFixture
) -> None:
    appointment = make_appointment()
    _, uid = create(modality, in_progress(reference(appointment)))
    bare = Dataset()
    bare.PerformedProcedureStepStatus = "COMPLETED"
    assert n_set(modality, bare, uid).Status == 0x0000
    assert state(appointment.order)[0] == "performed"
    assert "completed without 00400250, 00400251, 00400340" in caplog.text


def test_the_offset_a_modality_names_is_that_of_its_times(modality: Association) -> None:
    create(modality, in_progress(unscheduled(), TimezoneOffsetFromUTC="+0530"))
    assert PerformedProcedureStep.objects.get().started_at == datetime(2031, 7, 5, 4, 45, tzinfo=UTC)


def test_an_instance_without_uid_gets_one_and_a_bad_uid_is_refused(modality: Association) -> None:
    status, _ = modality.send_n_create(in_progress(unscheduled()), MPPS, None)
    assert status.Status == 0x0000
    assert PerformedProcedureStep.objects.get().sop_instance_uid.startswith("2.25.")
    status, _ = modality.send_n_set(final(), MPPS, "1.2.3.4")
    assert status.Status == 0x0112


def test_explicit_data_sets_are_read_alike(ris: Ris) -> None:
    make_procedure_type()
    with ris.associate(MPPS, explicit=True) as assoc:
        _, uid = create(assoc, in_progress(unscheduled()))
        assert n_set(assoc, final(), uid).Status == 0x0000
    assert PerformedProcedureStep.objects.get().status == "completed"
    assert {one.transfer_syntax_uid for one in ReceivedDataset.objects.all()} == {"1.2.840.10008.1.2.1"}


def test_a_data_set_of_a_thousand_images_is_taken(modality: Association) -> None:
    _, uid = create(modality, in_progress(unscheduled()))
    assert n_set(modality, final("COMPLETED", series(1000)), uid).Status == 0x0000
