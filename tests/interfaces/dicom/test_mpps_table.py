"""Performed steps: which sequence of N-CREATE and N-SET gets which status and Error ID (PS3.4 F.7.2, PS3.7 10.1)."""

from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid
from pynetdicom import build_role

from ris.department.models import Station
from ris.exams.actions import close_performed_step
from ris.exams.models import Exam, PerformedProcedureStep, StudyImages
from tests.cast import person
from tests.interfaces.dicom.scu import MPPS, Ris
from tests.interfaces.dicom.test_mpps import (
    create,
    final,
    in_progress,
    n_set,
    reason,
    reference,
    series,
    unscheduled,
)
from tests.makers import make_appointment

RETRIEVE = "1.2.840.10008.3.1.2.3.4"
IAN = "1.2.840.10008.5.1.4.33"

pytestmark = pytest.mark.django_db(transaction=True)


def bare(status: str = "", **attributes: Any) -> Dataset:
    ds = Dataset()
    if status:
        ds.PerformedProcedureStepStatus = status
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def made(**changes: Any) -> Dataset:
    return in_progress(unscheduled(), **changes)


OK, GONE, UNKNOWN = (0x0000, None), (0x0110, 0xA710), (0x0112, None)
WHY = "PerformedProcedureStepDiscontinuationReasonCodeSequence"
#: What is said in turn to one new instance, and how each is answered.
TABLE: list[tuple[str, list[tuple[str, Dataset, tuple[int, int | None]]]]] = [
    ("to the end", [("C", made(), OK), ("S", final("IN PROGRESS"), OK), ("S", final("COMPLETED"), OK)]),
    ("stopped", [("C", made(), OK), ("S", final("DISCONTINUED"), OK)]),
    ("status left out", [("C", made(), OK), ("S", bare(PerformedProcedureStepDescription="x"), OK)]),
    ("completed twice", [("C", made(), OK), ("S", final(), OK), ("S", final(), GONE)]),
    ("back from completed", [("C", made(), OK), ("S", final(), OK), ("S", bare("IN PROGRESS"), GONE)]),
    ("completed, then stopped", [("C", made(), OK), ("S", final(), OK), ("S", final("DISCONTINUED"), GONE)]),
    ("stopped, then completed", [("C", made(), OK), ("S", final("DISCONTINUED"), OK), ("S", final(), GONE)]),
    ("said after the end", [("C", made(), OK), ("S", final(), OK), ("S", bare(PerformedProcedureStepDescription="x"), GONE)]),
    ("never created", [("S", final("IN PROGRESS"), UNKNOWN), ("S", final(), UNKNOWN)]),
    ("set before created", [("S", final(), UNKNOWN), ("C", made(), OK), ("S", final(), OK)]),
    ("created twice", [("C", made(), OK), ("C", made(), (0x0111, None)), ("S", final(), OK), ("C", made(), (0x0111, None))]),
    ("created completed", [("C", made(PerformedProcedureStepStatus="COMPLETED"), (0x0106, None)), ("S", final(), UNKNOWN)]),
    ("created stopped", [("C", made(PerformedProcedureStepStatus="DISCONTINUED"), (0x0106, None))]),
    ("without status", [("C", made(PerformedProcedureStepStatus=None), (0x0120, None))]),
    ("with an empty status", [("C", made(PerformedProcedureStepStatus=""), (0x0121, None))]),
    ("without modality", [("C", made(Modality=None), (0x0120, None)), ("C", made(), OK)]),
    ("without type 2 attributes", [("C", made(PatientName=None, StudyID=None, PerformedSeriesSequence=None), OK)]),
    ("an unknown status", [("C", made(), OK), ("S", bare("DONE"), (0x0106, None)), ("S", final(), OK)]),
    ("another patient", [("C", made(), OK), ("S", bare(PatientID="2"), (0x0105, None)), ("S", final(), OK)]),
    ("another start", [("C", made(), OK), ("S", final(PerformedProcedureStepStartTime="1200"), (0x0105, None))]),
    ("an impossible end", [("C", made(), OK), ("S", final(PerformedProcedureStepEndTime="2561"), (0x0106, None)),
                           ("S", final(), OK)]),
    ("an end without anything", [("C", made(), OK), ("S", bare("COMPLETED"), OK)]),
    ("what was not created", [("C", made(**{WHY: None}), OK), ("S", final("DISCONTINUED", **{WHY: reason("110505")}), OK)]),
]  # fmt: skip
#: The same at a station that is strict about the end.
STRICT = {
    "an end without anything": (0x0121, None),
    "what was not created": (0x0105, None),
}


@pytest.mark.parametrize("strict", [False, True])
def test_every_sequence_gets_its_status(ris: Ris, strict: bool) -> None:
    """MPPS-01 to 06, F15: and a step that was refused an end can still be ended properly."""
    make_appointment()
    Station.objects.update(strict_steps=strict)
    with ris.associate(MPPS) as assoc:
        for what, sequence in TABLE:
            uid = generate_uid()
            for position, (operation, ds, expected) in enumerate(sequence):
                send = assoc.send_n_create if operation == "C" else assoc.send_n_set
                answer, _ = send(ds, MPPS, uid)
                last = position == len(sequence) - 1
                wanted = STRICT.get(what, expected) if strict and last else expected
                assert (answer.Status, answer.get("ErrorID")) == wanted, f"{what}, message {position + 1}"
    loose = PerformedProcedureStep.objects.filter(status="completed").exclude(defects=[])
    assert loose.exists() != strict
    if not strict:
        assert "PerformedSeriesSequence" in loose.get().defects


def test_what_was_said_can_be_had_and_sequences_replace_what_was_before(ris: Ris) -> None:
    """MPPS-05, MPPS-07, MPPS-20, MPPS-24: N-GET tells it in Unicode, with the status of now; roles are negotiated."""
    with ris.associate(MPPS, RETRIEVE, ext_neg=[build_role(MPPS, scu_role=True, scp_role=True)]) as assoc:
        (accepted,) = [one for one in assoc.accepted_contexts if one.abstract_syntax == MPPS]
        assert (accepted.as_scu, accepted.as_scp) == (True, False)
        _, uid = create(assoc, made(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Zoë"))
        n_set(assoc, bare("IN PROGRESS", PerformedSeriesSequence=Sequence([series(2), series(1)])), uid)
        n_set(
            assoc,
            bare(SpecificCharacterSet="ISO_IR 192", PerformedProcedureStepDescription="山田",
                 PerformedSeriesSequence=Sequence([series(4)])), uid,
        )  # fmt: skip
        answer, said = assoc.send_n_get([], RETRIEVE, uid)
        assert answer.Status == 0x0000
        assert said is not None
        assert (str(said.PatientName), said.PerformedProcedureStepDescription) == ("Müller^Zoë", "山田")
        assert [len(one.ReferencedImageSequence) for one in said.PerformedSeriesSequence] == [4]
        close_performed_step(PerformedProcedureStep.objects.get(), "completed", by=person("theo"))
        answer, said = assoc.send_n_get([0x00400252, 0x00100020, 0x00101010], RETRIEVE, uid)
        assert answer.Status == 0x0001  # a patient's age was never told
        assert said is not None
        assert said.PerformedProcedureStepStatus == "COMPLETED"
        assert "PatientName" not in said
        assert assoc.send_n_get([], RETRIEVE, generate_uid())[0].Status == 0x0112
        assert n_set(assoc, final(), uid).ErrorID == 0xA710  # a person has ended it: MPPS-21


def notice(uid: str, images: dict[str, list[tuple[str, str]]]) -> Dataset:
    """Series Instance UID: (SOP Instance UID, availability) of each instance."""
    ds = Dataset()
    ds.ReferencedPerformedProcedureStepSequence = Sequence()
    ds.StudyInstanceUID = uid
    ds.ReferencedSeriesSequence = Sequence()
    for name, instances in images.items():
        item = Dataset()
        item.SeriesInstanceUID = name
        item.ReferencedSOPSequence = Sequence()
        for instance, availability in instances:
            one = Dataset()
            one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", instance
            one.InstanceAvailability, one.RetrieveAETitle = availability, "ARCHIVE"
            item.ReferencedSOPSequence.append(one)
        ds.ReferencedSeriesSequence.append(item)
    return ds


def test_an_archive_tells_what_it_holds(ris: Ris) -> None:
    """IAN-01, IAN-02: notices of a study add up; the exam's images are all there when the last has come."""
    appointment = make_appointment()
    study = appointment.order.procedures.get().study_instance_uid
    made_series = series(3)
    named = [one.ReferencedSOPInstanceUID for one in made_series.ReferencedImageSequence]
    with ris.associate(MPPS, IAN) as assoc:
        _, uid = create(assoc, in_progress(reference(appointment)))
        n_set(assoc, final("COMPLETED", made_series), uid)

        def tell(ds: Dataset) -> int:
            return int(assoc.send_n_create(ds, IAN, generate_uid())[0].Status)

        held = {made_series.SeriesInstanceUID: [(one, "ONLINE") for one in named]}
        first = {made_series.SeriesInstanceUID: held[made_series.SeriesInstanceUID][:2]}
        assert tell(notice(study, first)) == 0x0000
        images = StudyImages.objects.get()
        assert images.procedure == Exam.objects.get().procedure
        assert (images.instance_count, images.missing, images.availability) == (2, 1, "ONLINE")
        assert tell(notice(study, held)) == 0x0000
        images.refresh_from_db()
        assert (images.instance_count, images.missing, images.retrieve_ae_title) == (3, 0, "ARCHIVE")
        assert tell(notice(study, {made_series.SeriesInstanceUID: [(named[0], "UNAVAILABLE")]})) == 0x0000
        images.refresh_from_db()
        assert (images.instance_count, images.missing, images.availability) == (2, 1, "UNAVAILABLE")
        refused: list[tuple[str, Dataset, int]] = [
            ("no study", notice("", held), 0x0121), ("no series", notice(study, {}), 0x0121),
            ("no instance", notice(study, {"1.2": []}), 0x0121),
            ("an availability nobody knows", notice(study, {"1.2": [("1.2.3", "SOON")]}), 0x0106),
        ]  # fmt: skip
        without = notice(study, held)
        del without.ReferencedSeriesSequence
        for what, ds, status in [*refused, ("series left out", without, 0x0120)]:
            assert tell(ds) == status, what
        # Of an order nobody knows: it waits for a person.
        assert tell(notice(generate_uid(), held)) == 0x0000
    assert StudyImages.objects.exclude(problem="").count() == 1
