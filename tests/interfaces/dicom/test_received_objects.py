"""Dose reports and key objects that come by C-STORE (SR-07, SR-08, TX-34)."""

import subprocess
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import _config

from interfaces.dicom import scu, store
from interfaces.models import Case, KeyImages, ReceivedDataset
from ris.events.outbox import relay_all
from ris.exams.models import Dose, Exam
from tests.interfaces.dicom.scu import MPPS, Ris
from tests.interfaces.dicom.test_mpps import create, in_progress, reference
from tests.makers import make_appointment, make_exam

pytestmark = pytest.mark.peer("dcmtk")


def code(value: str, meaning: str = "...", scheme: str = "DCM") -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return [item]


def content(kind: str, name: str, *children: Dataset, **values: Any) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType, item.ConceptNameCodeSequence = "CONTAINS", kind, code(name)
    if kind == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for keyword, value in values.items():
        setattr(item, keyword, value)
    if children:
        item.ContentSequence = list(children)
    return item


def num(name: str, value: str, unit: str) -> Dataset:
    measured = Dataset()
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = value, code(unit, unit, "UCUM")
    return content("NUM", name, MeasuredValueSequence=[measured])


def document(exam: Exam | None, sop_class: str, title: str, *children: Dataset, **changes: Any) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, generate_uid()
    ds.StudyInstanceUID = exam.procedure.study_instance_uid if exam else generate_uid()
    ds.SeriesInstanceUID, ds.Modality = generate_uid(), "SR"
    ds.PatientName, ds.PatientID = "Okafor^Adaeze", exam.order.patient.mrn if exam else "X1"
    ds.AccessionNumber = exam.order.accession_number if exam else ""
    ds.ValueType, ds.ContinuityOfContent, ds.ConceptNameCodeSequence = "CONTAINER", "SEPARATE", code(title)
    ds.ContentSequence = list(children)
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    return ds


def ct_dose(exam: Exam | None, **changes: Any) -> Dataset:
    """TID 10011: two acquisitions of one CT."""
    dose = partial(content, "CONTAINER", "113829")
    events = [
        content("CONTAINER", "113819", dose(num("113830", ctdi, "mGy"), num("113838", dlp, "mGy.cm")))
        for ctdi, dlp in (("12.5", "310.2"), ("48.25", "501.3"))
    ]  # fmt: skip
    sums = content("CONTAINER", "113811", num("113812", "2", "{events}"), num("113813", "811.5", "mGy.cm"))
    observer = content("UIDREF", "121012", UID="1.2.3.4")
    return document(exam, store.XRAY_DOSE, "113701", observer, sums, *events, **changes)


def send(ris: Ris, ds: Dataset, directory: Path) -> subprocess.CompletedProcess[str]:
    file = directory / f"{ds.SOPInstanceUID}.dcm"
    file.write_bytes(
        scu.envelope(scu.encoded(ds), str(ds.SOPClassUID), str(ds.SOPInstanceUID), "1.2.840.10008.1.2.1")
    )
    return subprocess.run(
        ["storescu", "-v", "-aet", "CT1", "-aec", "LIGHTBOX", "-R", ris.host, str(ris.port), str(file)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_a_dose_report_gives_the_exam_its_dose(ris: Ris, tmp_path: Path) -> None:
    """SR-08 TX-34: CT sums in mGy·cm; of a biplane system both planes together, in the record's units."""
    ct, angiography = make_exam(), make_exam()
    said = ct_dose(ct)
    for _ in range(2):  # sent again it is the same report
        assert "Received Store Response (Success)" in send(ris, said, tmp_path).stderr
    dose = Dose.objects.get(exam=ct)
    assert (dose.source, dose.dlp_mgycm, dose.ctdivol_mgy) == ("rdsr", Decimal("811.5"), Decimal("48.25"))
    assert (dose.exposures, dose.instance_uid, dose.device_uid) == (2, said.SOPInstanceUID, "1.2.3.4")
    assert ReceivedDataset.objects.filter(operation="C-STORE").count() == 1
    planes = [
        content("CONTAINER", "113702", num("113722", dap, "Gy.m2"), num("113725", "0.25", "Gy"), num("113730", "61.4", "s"))
        for dap in ("0.00012", "0.00008")
    ]  # fmt: skip
    shots = [content("CONTAINER", "113706") for _ in range(3)]
    send(ris, document(angiography, store.ENHANCED_XRAY_DOSE, "113701", *planes, *shots), tmp_path)
    dose = Dose.objects.get(exam=angiography)
    assert (dose.dap_gycm2, dose.reference_point_mgy) == (Decimal("2"), Decimal("500"))
    assert (dose.fluoroscopy_seconds, dose.exposures) == (123, 3)


def test_a_radiopharmaceutical_report_is_noted_on_the_exam(ris: Ris, tmp_path: Path) -> None:
    """SR-08: class 88.68, TID 10022."""
    exam = make_exam()
    agent = content(
        "CODE", "349358000", ConceptCodeSequence=code("35321007", "Fluorodeoxyglucose F^18^", "SCT")
    )
    agent.ConceptNameCodeSequence[0].CodingSchemeDesignator = "SCT"
    given = [num("113507", "0.3502", "GBq"), content("DATETIME", "123003", DateTime="20260105091200")]
    ds = document(
        exam, store.RADIOPHARMACEUTICAL_DOSE, "113500", content("CONTAINER", "113502", agent, *given)
    )
    for _ in range(2):
        send(ris, ds, tmp_path)
    assert exam.events.get().text == "Fluorodeoxyglucose F^18^ 350.2 MBq at 09:12, says the dose report"


def test_a_dose_report_that_fits_no_exam_waits_until_one_does(ris: Ris, tmp_path: Path) -> None:
    """Never dropped: a case, and read again when its exam begins."""
    appointment = make_appointment()
    procedure = appointment.steps.get().procedure
    stranger = make_exam()
    early = ct_dose(
        None, StudyInstanceUID=procedure.study_instance_uid, PatientID=appointment.order.patient.mrn
    )
    for ds in (early, ct_dose(stranger, PatientID="SOMEBODY ELSE")):
        assert "Received Store Response (Success)" in send(ris, ds, tmp_path).stderr
    assert not Dose.objects.exists()
    assert [one.sentence for one in Case.objects.order_by("pk")] == [
        "A dose report from CT1 came of a study that no exam here has.",
        "A dose report from CT1 came under the number of another patient than its exam's.",
    ]
    with ris.associate(MPPS) as modality:
        create(modality, in_progress(reference(appointment)))
    relay_all()
    assert Dose.objects.get().exam.order == appointment.order
    assert [one.status for one in Case.objects.order_by("pk")] == ["solved", "open"]


def test_key_images_are_shown_with_their_study(ris: Ris, tmp_path: Path) -> None:
    """SR-07"""
    exam = make_exam()
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", generate_uid()
    series, evidence = Dataset(), Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = generate_uid(), [image]
    evidence.StudyInstanceUID, evidence.ReferencedSeriesSequence = exam.procedure.study_instance_uid, [series]
    picked = Dataset()
    picked.RelationshipType, picked.ValueType, picked.ReferencedSOPSequence = "CONTAINS", "IMAGE", [image]
    ds = document(
        exam, store.KEY_OBJECTS, "113000", content("TEXT", "113012", TextValue="Largest diameter"), picked,
        Modality="KO", CurrentRequestedProcedureEvidenceSequence=[evidence],
        ConceptNameCodeSequence=code("113000", "Of Interest"),
    )  # fmt: skip
    send(ris, ds, tmp_path)
    kept = KeyImages.objects.get(study_instance_uid=exam.procedure.study_instance_uid)
    assert (kept.title_code, kept.title, kept.description) == ("113000", "Of Interest", "Largest diameter")
    assert kept.images == [{
        "study": exam.procedure.study_instance_uid, "series": series.SeriesInstanceUID,
        "class": "1.2.840.10008.5.1.4.1.1.2", "instance": image.ReferencedSOPInstanceUID,
    }]  # fmt: skip


def test_bytes_that_are_no_object_are_refused_and_kept(
    ris: Ris, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PS3.4 table B.2-1: A900."""
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    uid, file = generate_uid(), tmp_path / "broken.dcm"
    file.write_bytes(
        scu.envelope(b"\x08\x00\x16\x00\xff\xff\xff\x7fnothing", store.XRAY_DOSE, uid, "1.2.840.10008.1.2")
    )
    with ris.associate(store.XRAY_DOSE) as modality:
        assert modality.send_c_store(file).Status == 0xA900
    assert ReceivedDataset.objects.get().sop_instance_uid == uid
