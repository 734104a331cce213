"""Data sets read as pydicom writes them, and garbage refused."""

import random
from io import BytesIO
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from interfaces.dicom.elements import SEQUENCE_END, BadDataSet, DataSet, element, read, sequence_start, vr_of
from interfaces.dicom.jsonmodel import json_model


def sample() -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodeMeaning = "T-1", "Température"
    image = Dataset()
    image.ReferencedSOPInstanceUID = "1.2.3"
    series = Dataset()
    series.SeriesInstanceUID = "1.2.3.4"
    series.ReferencedImageSequence = Sequence([image, image])
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName = "Yamada^Tarou=山田^太郎"
    ds.PatientID = "odd"
    ds.OtherPatientNames = ["A^B", "C^D"]
    ds.PatientWeight = 80.5
    ds.PregnancyStatus = 4
    ds.Allergies = ["Iodine", "Latex"]
    ds.ProcedureCodeSequence = Sequence([code])
    ds.PerformedSeriesSequence = Sequence([series, series])
    ds.ReferencedStudySequence = Sequence()
    ds.CommentsOnThePerformedProcedureStep = "two\nlines \\ one value"
    ds.TotalNumberOfExposures = 7
    ds.AcquisitionMatrix = [256, 0, 0, 256]
    ds.add_new(0x00091010, "OB", b"\x00\x01\x02\x03")
    return ds


def written(ds: Dataset, *, explicit: bool, undefined: bool) -> bytes:
    buffer = BytesIO()
    from pydicom.filebase import DicomIO

    fp = DicomIO(buffer)
    fp.is_little_endian, fp.is_implicit_VR = True, not explicit
    for one in ds.iterall():
        if one.VR == "SQ":
            one.is_undefined_length = undefined
            for item in one.value:
                item.is_undefined_length_sequence_item = undefined
    write_dataset(fp, ds)
    return buffer.getvalue()


@pytest.mark.parametrize("undefined", [False, True], ids=["lengths", "delimiters"])
@pytest.mark.parametrize("explicit", [False, True], ids=["implicit", "explicit"])
def test_a_data_set_reads_as_pydicom_wrote_it(explicit: bool, undefined: bool) -> None:
    ds = sample()
    found = json_model(read(written(ds, explicit=explicit, undefined=undefined), explicit=explicit))
    theirs: dict[str, Any] = ds.to_json_dict()
    del theirs["00080005"]
    if not explicit:
        theirs["00091010"]["vr"] = "UN"
    theirs["00081110"] = {"vr": "SQ", "Value": []}
    assert found == theirs


@pytest.mark.parametrize("explicit", [False, True], ids=["implicit", "explicit"])
def test_what_we_write_we_read(explicit: bool) -> None:
    inner = element(0x00080100, "SH", b"odd", explicit=explicit)
    data = element(0x0020000D, "UI", b"1.2", explicit=explicit)
    data += sequence_start(0x00400008, explicit=explicit) + inner + SEQUENCE_END
    assert read(data, explicit=explicit) == {
        0x0020000D: ("UI", b"1.2\0"),
        0x00400008: ("SQ", [{0x00080100: ("SH", b"odd ")}]),
    }


def test_garbage_is_refused_and_nothing_else_happens() -> None:
    """Every cut and many mutations: a data set or BadDataSet, quickly."""
    whole = written(sample(), explicit=False, undefined=True)
    rng = random.Random(2031)
    mutants = [whole[:cut] for cut in range(len(whole))]
    for _ in range(3000):
        mutant = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            mutant[rng.randrange(len(mutant))] = rng.randrange(256)
        mutants.append(bytes(mutant))
    outcomes: set[type] = set()
    for mutant in mutants:
        for explicit in (False, True):
            try:
                found: DataSet = read(mutant, explicit=explicit)
            except BadDataSet:
                outcomes.add(BadDataSet)
            else:
                outcomes.add(type(found))
    assert outcomes == {BadDataSet, dict}


def test_the_vr_of_what_the_dictionary_does_not_know_is_un() -> None:
    assert (vr_of(0x00100010), vr_of(0x00091010), vr_of(0x00100000)) == ("PN", "UN", "UN")
