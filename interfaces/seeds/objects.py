"""Dose reports and key images for the demo department, taken in as if modalities had just sent them."""

from decimal import Decimal
from random import Random

from pydicom.dataset import Dataset

from interfaces.dicom import scu, store
from interfaces.dicom.elements import EXPLICIT_LITTLE_ENDIAN
from interfaces.models import ReceivedDataset
from ris.core.identifiers import uid_of
from ris.exams.models import Exam
from ris.exams.states import ExamStatus

_WITH_DOSE, _WITH_KEY_IMAGES = 12, 6
_TITLES = (("113000", "Of Interest"), ("113020", "For Report Attachment"), ("113004", "For Teaching"))
_WORDS = (
    "Largest diameter",
    "For the tumour board",
    "Compare with the last examination",
    "Landmark for surgery",
)
_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"


class Objects:
    """What the CTs sent of the newest exams, with the random numbers of one seed."""

    def __init__(self, number: int) -> None:
        self.rng = Random(f"{number} objects")

    def seed(self) -> None:
        done = (
            Exam.objects.filter(status=ExamStatus.COMPLETED, procedure__procedure_type__modality="CT")
            .select_related("order__patient", "procedure")
            .prefetch_related("order__patient__identifiers")
            .order_by("-pk")
        )
        for place, exam in enumerate(done[:_WITH_DOSE]):
            self._receive(self._dose_report(exam), exam)
            if place < _WITH_KEY_IMAGES:
                self._receive(self._key_images(exam), exam)

    def _receive(self, ds: Dataset, exam: Exam) -> None:
        station = exam.station_ae_title or "CT1"
        kept = ReceivedDataset.keep(
            calling_ae_title=station, peer="127.0.0.1", operation=store.C_STORE, sop_class_uid=str(ds.SOPClassUID),
            sop_instance_uid=str(ds.SOPInstanceUID), transfer_syntax_uid=EXPLICIT_LITTLE_ENDIAN, raw=scu.encoded(ds),
        )  # fmt: skip
        store.take(kept, station)

    def _document(self, exam: Exam, sop_class: str, title: tuple[str, str]) -> Dataset:
        ds = Dataset()
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.SOPClassUID = sop_class
        ds.SOPInstanceUID = uid_of(f"demo {sop_class} of {exam.procedure.study_instance_uid}")
        ds.StudyInstanceUID = exam.procedure.study_instance_uid
        ds.PatientID, ds.AccessionNumber = exam.order.patient.mrn, exam.order.accession_number
        ds.ValueType, ds.ConceptNameCodeSequence = "CONTAINER", [_code(*title)]
        ds.ContentSequence = []
        return ds

    def _dose_report(self, exam: Exam) -> Dataset:
        """TID 10011: one or two acquisitions, and their sum."""
        ds = self._document(exam, store.XRAY_DOSE, ("113701", "X-Ray Radiation Dose Report"))
        total = Decimal(0)
        for _ in range(self.rng.choice((1, 1, 2))):
            ctdivol, dlp = self.rng.randint(60, 520), self.rng.randint(1800, 7400)
            total += dlp
            ds.ContentSequence += [_number("113830", ctdivol, "mGy"), _number("113838", dlp, "mGy.cm")]
        ds.ContentSequence += [_number("113813", int(total), "mGy.cm")]
        return ds

    def _key_images(self, exam: Exam) -> Dataset:
        ds = self._document(exam, store.KEY_OBJECTS, self.rng.choice(_TITLES))
        words = Dataset()
        words.ValueType, words.ConceptNameCodeSequence = "TEXT", [_code("113012", "Key Object Description")]
        words.TextValue = self.rng.choice(_WORDS)
        ds.ContentSequence.append(words)
        for number in range(self.rng.randint(1, 3)):
            image, reference = Dataset(), Dataset()
            reference.ReferencedSOPClassUID = _CT_IMAGE
            reference.ReferencedSOPInstanceUID = uid_of(f"{ds.SOPInstanceUID} {number}")
            image.ValueType, image.ReferencedSOPSequence = "IMAGE", [reference]
            ds.ContentSequence.append(image)
        return ds


def _code(value: str, meaning: str, scheme: str = "DCM") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _number(name: str, tenths: int, unit: str) -> Dataset:
    item, measured = Dataset(), Dataset()
    measured.NumericValue = str(Decimal(tenths) / 10)
    measured.MeasurementUnitsCodeSequence = [_code(unit, unit, "UCUM")]
    item.ValueType, item.ConceptNameCodeSequence, item.MeasuredValueSequence = (
        "NUM",
        [_code(name, name)],
        [measured],
    )
    return item
