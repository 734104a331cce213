"""C-STORE: what modalities and archives send us beside images (PS3.4 B): dose reports and key objects.

The bytes are kept before they are read and answered after. What fits no exam waits as a case, and is read again when
an exam or a matched step may have given it its place.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial
from io import BytesIO
from typing import Any

from django.db import transaction
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from interfaces import cases
from interfaces.cases import NewCase
from interfaces.dicom.association import Request
from interfaces.dicom.database import Database
from interfaces.dicom.elements import EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN
from interfaces.dicom.status import INVALID_OBJECT_INSTANCE, SUCCESS, Refused
from interfaces.dicom.store_commitment import take_report
from interfaces.models import Case, CaseKind, CaseStatus, KeyImages, ReceivedDataset
from ris.accounts.models import system_user
from ris.audit.trail import record_access, working_for
from ris.core.errors import RisError
from ris.exams import actions as exams
from ris.exams.actions.events import note_event
from ris.exams.models import Exam, PerformedProcedureStep
from ris.exams.models_dose import DoseSource
from ris.exams.states import EventKind, ExamStatus

log = logging.getLogger("lightbox.dicom")

XRAY_DOSE = "1.2.840.10008.5.1.4.1.1.88.67"
RADIOPHARMACEUTICAL_DOSE = "1.2.840.10008.5.1.4.1.1.88.68"
ENHANCED_XRAY_DOSE = "1.2.840.10008.5.1.4.1.1.88.76"
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
DATA_SET_CAP = 33_554_432
C_STORE = "C-STORE"

#: PS3.4 table B.2-1.
_DOES_NOT_MATCH, _CANNOT_UNDERSTAND = 0xA900, 0xC000

_WORDS = {
    XRAY_DOSE: "dose report", ENHANCED_XRAY_DOSE: "dose report", RADIOPHARMACEUTICAL_DOSE: "dose report",
    KEY_OBJECTS: "selection of key images",
}  # fmt: skip
SOP_CLASSES = tuple(_WORDS)


class ReceivedObjects:
    """The SCP of these classes, and the hearer of commitments."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def store(self, request: Request) -> None:
        uid = request.command.sop_instance
        if not re.fullmatch(r"[0-9.]{1,64}", uid):
            raise Refused(INVALID_OBJECT_INSTANCE, "The SOP Instance UID is no UID.")
        kept = await self._database.write(partial(_keep, request, uid))
        caller = request.assoc.caller.ae_title if request.assoc.caller else ""
        await self._database.write(partial(take, kept, f"{caller} {request.assoc.peer_address}"))
        await request.send(request.head(SUCCESS, sop_instance=uid))

    async def report(self, request: Request) -> None:
        """N-EVENT-REPORT of storage commitment on an association of the archive's own (PS3.4 J.3.3)."""
        report = _read(request.data_set, explicit=request.context.explicit)
        await self._database.write(partial(take_report, report))
        await request.send(request.head(SUCCESS, sop_instance=request.command.sop_instance))


def _keep(request: Request, uid: str) -> ReceivedDataset:
    """The object as it came; the same bytes sent again are the object we have."""
    for known in ReceivedDataset.objects.filter(sop_instance_uid=uid, operation=C_STORE).order_by("pk"):
        if bytes(known.raw) == request.data_set:
            return known
    return ReceivedDataset.keep(
        calling_ae_title=(request.assoc.caller.ae_title if request.assoc.caller else "")[:16],
        peer=request.assoc.peer_address,
        operation=C_STORE,
        sop_class_uid=request.context.sop_class,
        sop_instance_uid=uid,
        transfer_syntax_uid=EXPLICIT_LITTLE_ENDIAN if request.context.explicit else IMPLICIT_LITTLE_ENDIAN,
        raw=request.data_set,
    )


def _read(raw: bytes, *, explicit: bool) -> Dataset:
    """Raises Refused (C000) for what is no data set."""
    try:
        ds = read_dataset(BytesIO(raw), is_implicit_VR=not explicit, is_little_endian=True)
        ds.decode()
    except Exception:  # pydicom raises what it meets
        raise Refused(_CANNOT_UNDERSTAND, "The data set cannot be read.") from None
    return ds


def take(kept: ReceivedDataset, source: str) -> bool:
    """Give an object its place. False when it found none, and a case says so. Raises Refused when unreadable."""
    ds = _read(bytes(kept.raw), explicit=kept.transfer_syntax_uid == EXPLICIT_LITTLE_ENDIAN)
    if (ds.get("SOPClassUID"), ds.get("SOPInstanceUID")) != (kept.sop_class_uid, kept.sop_instance_uid):
        raise Refused(_DOES_NOT_MATCH, "The data set is not the object that the command names.")
    with working_for(source), transaction.atomic():
        exam = exam_of(ds)
        problem = "" if exam else "of a study that no exam here has"
        if exam is not None and not _is_of(ds, exam):
            problem = "under the number of another patient than its exam's"
        if kept.sop_class_uid == KEY_OBJECTS:
            # They are kept whosever they are: the study's pages find them by its UID.
            _take_key_images(kept, ds)
        elif exam is not None and not problem:
            tells = _take_activity if kept.sop_class_uid == RADIOPHARMACEUTICAL_DOSE else _take_dose
            problem = tells(kept, ds, exam)
        record_access(
            system_user("dicom"), "object.received", patient=exam.order.patient_id if exam and not problem else None,
            subject=f"object:{kept.pk}", sop_class=kept.sop_class_uid, outcome="ok",
        )  # fmt: skip
        key = f"object:{kept.sop_instance_uid}"
        if not problem:
            note = "It has its exam now."
            cases.solve_cases(CaseKind.UNKNOWN_OBJECT, key, by=system_user("dicom"), note=note)
            return True
        cases.open_case(
            NewCase(
                CaseKind.UNKNOWN_OBJECT, key,
                f"A {_WORDS[kept.sop_class_uid]} from {kept.calling_ae_title or 'an unknown sender'} came {problem}.",
                "Match the performed step of that study, or correct the study at its source and send it again.",
                accession_number=str(ds.get("AccessionNumber", "") or "")[:64],
            )
        )  # fmt: skip
        return False


def take_again(accession_number: str) -> int:
    """Look once more for the exams of the objects that came under this number or under none; how many were found."""
    found = 0
    waiting = Case.objects.filter(
        kind=CaseKind.UNKNOWN_OBJECT, status=CaseStatus.OPEN, accession_number__in=["", accession_number]
    )
    for key in waiting.order_by("-pk").values_list("key", flat=True)[:100]:
        kept = ReceivedDataset.objects.filter(
            sop_instance_uid=key.removeprefix("object:"), operation=C_STORE
        ).last()
        if kept is not None and exam_of(_read(bytes(kept.raw), explicit=_explicit(kept))) is not None:
            found += take(kept, kept.calling_ae_title)
    return found


def _explicit(kept: ReceivedDataset) -> bool:
    return kept.transfer_syntax_uid == EXPLICIT_LITTLE_ENDIAN


# Whose it is


def exam_of(ds: Dataset) -> Exam | None:
    """By the study, the performed step it names, or the accession number together with the patient."""
    alive = (
        Exam.objects.exclude(status=ExamStatus.ENTERED_IN_ERROR)
        .select_related("order__patient", "procedure__procedure_type")
        .order_by("-pk")
    )
    study = str(ds.get("StudyInstanceUID", "") or "")
    if study:
        found = alive.filter(procedure__study_instance_uid=study).first()
        found = found or alive.filter(performed_steps__study_instance_uid=study).first()
        if found is not None:
            return found
    steps = [
        str(one.get("ReferencedSOPInstanceUID", "")) for one in ds.get("ReferencedPerformedProcedureStepSequence", [])
    ]  # fmt: skip
    step = PerformedProcedureStep.objects.filter(sop_instance_uid__in=steps).first() if steps else None
    if step is not None and (exam := step.exams.select_related("order__patient").first()):
        return exam
    number = str(ds.get("AccessionNumber", "") or "")
    for exam in alive.filter(order__accession_number=number)[:5] if number else ():
        if _is_of(ds, exam):
            return exam
    return None


def _is_of(ds: Dataset, exam: Exam) -> bool:
    """Whether the Patient ID is one of the patient's, as far as the object says one."""
    said, issuer = str(ds.get("PatientID", "") or ""), str(ds.get("IssuerOfPatientID", "") or "")
    if not said:
        return True
    return any(
        one.value == said and (not issuer or one.authority == issuer)
        for one in exam.order.patient.identifiers.all()
    )


# Dose (PS3.16 TID 10001, 10011)


#: (code, quantity) and what a unit is worth in the one the record keeps.
_DLP_TOTAL, _MEAN_CTDIVOL = "113813", "113830"
_DAP_TOTAL, _RP_TOTAL, _FLUORO_TIME = "113722", "113725", "113730"
_EVENTS_CT, _EVENT_PROJECTION = "113812", "113706"
_UNITS = {
    "mGy.cm": Decimal(1), "mGycm": Decimal(1), "Gy.cm": Decimal(1000),
    "mGy": Decimal(1), "Gy": Decimal(1000), "uGy": Decimal("0.001"), "cGy": Decimal(10),
    "Gy.m2": Decimal(10000), "Gym2": Decimal(10000), "Gy.cm2": Decimal(1), "Gycm2": Decimal(1),
    "dGy.cm2": Decimal("0.1"), "cGy.cm2": Decimal("0.01"), "mGy.cm2": Decimal("0.001"), "uGy.m2": Decimal("0.01"),
    "s": Decimal(1), "min": Decimal(60), "ms": Decimal("0.001"),
    "events": Decimal(1), "1": Decimal(1), "{events}": Decimal(1),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DoseSaid:
    """The sums of one report, in the units of the record; None where it says nothing."""

    ctdivol_mgy: Decimal | None = None
    dlp_mgycm: Decimal | None = None
    dap_gycm2: Decimal | None = None
    reference_point_mgy: Decimal | None = None
    fluoroscopy_seconds: int | None = None
    exposures: int | None = None


def dose_of(ds: Dataset) -> DoseSaid:
    """Totals are added over the planes of a biplane system; the CTDIvol is the highest of the acquisitions."""
    items = list(_content(ds))

    def values(code: str) -> list[Decimal]:
        return [value for item in items if _name(item) == code and (value := _number(item)) is not None]

    def total(code: str) -> Decimal | None:
        found = values(code)
        return round(sum(found, Decimal(0)), 4) if found else None

    seconds, events = total(_FLUORO_TIME), total(_EVENTS_CT)
    shots = sum(_name(item) == _EVENT_PROJECTION for item in items)
    return DoseSaid(
        ctdivol_mgy=max(values(_MEAN_CTDIVOL), default=None),
        dlp_mgycm=total(_DLP_TOTAL),
        dap_gycm2=total(_DAP_TOTAL),
        reference_point_mgy=total(_RP_TOTAL),
        fluoroscopy_seconds=None if seconds is None else round(seconds),
        exposures=int(events) if events is not None else shots or None,
    )


def _content(ds: Dataset) -> Iterator[Dataset]:
    for item in ds.get("ContentSequence", []):
        yield item
        yield from _content(item)


def _name(item: Dataset) -> str:
    """The code that names a content item; "" for one of another scheme."""
    for code in item.get("ConceptNameCodeSequence", []):
        if code.get("CodingSchemeDesignator") == "DCM":
            return str(code.get("CodeValue", ""))
    return ""


def _number(item: Dataset, units: Mapping[str, Decimal] = _UNITS) -> Decimal | None:
    """A NUM's value in the unit of the record; None where it is no number or the unit is unknown."""
    for measured in item.get("MeasuredValueSequence", []):
        unit = next(
            (str(one.get("CodeValue", "")) for one in measured.get("MeasurementUnitsCodeSequence", [])), "1"
        )
        try:
            return Decimal(str(measured.NumericValue)) * units[unit]
        except (AttributeError, KeyError, InvalidOperation):
            log.warning("a dose report has a value in a unit that is not known")
    return None


def _take_dose(kept: ReceivedDataset, ds: Dataset, exam: Exam) -> str:
    """Note the dose; returns why not, in words."""
    said = dose_of(ds)
    try:
        exams.note_dose(
            exam, source=DoseSource.RDSR, by=system_user("dicom"), ctdivol_mgy=said.ctdivol_mgy,
            dlp_mgycm=said.dlp_mgycm, dap_gycm2=said.dap_gycm2, reference_point_mgy=said.reference_point_mgy,
            fluoroscopy_seconds=said.fluoroscopy_seconds, exposures=said.exposures,
            instance_uid=kept.sop_instance_uid, device_uid=_device(ds),
        )  # fmt: skip
    except RisError:
        return "and says no dose that can be read"
    return ""


# Radiopharmaceuticals (PS3.16 TID 10021, 10022)
_AGENT, _ACTIVITY, _GIVEN_AT = ("349358000", "F-61FDB"), "113507", "123003"
_MEGABECQUEREL = {"MBq": Decimal(1), "kBq": Decimal("0.001"), "GBq": Decimal(1000), "Bq": Decimal("0.000001")}


def _take_activity(kept: ReceivedDataset, ds: Dataset, exam: Exam) -> str:
    """Note what was given, once; the technologist's own entry of it stays what it is. Returns why not, in words."""
    words = activity_of(ds)
    if not words:
        return "and says no activity that can be read"
    text = f"{words}, says the dose report"
    if not exam.events.filter(kind=EventKind.NOTE, text=text).exists():
        note_event(exam, EventKind.NOTE, by=system_user("dicom"), text=text)
    return ""


def activity_of(ds: Dataset) -> str:
    """What was given, how much of it and when: "Fluorodeoxyglucose F^18^ 350 MBq at 09:12"."""
    items = list(_content(ds))
    amount = None
    for item in items:
        if _name(item) == _ACTIVITY:
            amount = _number(item, _MEGABECQUEREL)
    if amount is None:
        return ""
    agent = next(
        (str(one.get("CodeMeaning", "")) for item in items if _any_name(item) in _AGENT
         for one in item.get("ConceptCodeSequence", [])),
        "Radiopharmaceutical",
    )  # fmt: skip
    at = next((str(item.get("DateTime", "")) for item in items if _name(item) == _GIVEN_AT), "")
    return f"{agent} {round(amount, 1).normalize():f} MBq" + (
        f" at {at[8:10]}:{at[10:12]}" if len(at) >= 12 else ""
    )


def _any_name(item: Dataset) -> str:
    return next((str(code.get("CodeValue", "")) for code in item.get("ConceptNameCodeSequence", [])), "")


def _device(ds: Dataset) -> str:
    """Device Observer UID (TID 1002)."""
    return next((str(item.get("UID", "")) for item in _content(ds) if _name(item) == "121012"), "")


# Key images


def _take_key_images(kept: ReceivedDataset, ds: Dataset) -> None:
    if KeyImages.objects.filter(sop_instance_uid=kept.sop_instance_uid).exists():
        return
    where = _places(ds)
    items = list(_content(ds))
    title = next(iter(ds.get("ConceptNameCodeSequence", [])), Dataset())
    description = next((str(item.get("TextValue", "")) for item in items if _name(item) == "113012"), "")
    images: list[dict[str, Any]] = []
    for item in items:
        for one in item.get("ReferencedSOPSequence", []):
            instance = str(one.get("ReferencedSOPInstanceUID", ""))
            study, series = where.get(instance, (str(ds.get("StudyInstanceUID", "")), ""))
            images.append({
                "study": study, "series": series, "class": str(one.get("ReferencedSOPClassUID", "")), "instance": instance,
            })  # fmt: skip
    KeyImages.keep(
        dataset=kept,
        sop_instance_uid=kept.sop_instance_uid,
        study_instance_uid=str(ds.get("StudyInstanceUID", "") or "")[:64],
        title_code=str(title.get("CodeValue", ""))[:16],
        title=str(title.get("CodeMeaning", ""))[:64],
        description=description[:400],
        images=images,
    )


def _places(ds: Dataset) -> dict[str, tuple[str, str]]:
    """Study and series of every object the document stands on (0040,A375)."""
    return {
        str(one.get("ReferencedSOPInstanceUID", "")): (
            str(study.get("StudyInstanceUID", "")),
            str(series.get("SeriesInstanceUID", "")),
        )
        for study in ds.get("CurrentRequestedProcedureEvidenceSequence", [])
        for series in study.get("ReferencedSeriesSequence", [])
        for one in series.get("ReferencedSOPSequence", [])
    }
