"""What an archive knows: the images of recent exams (RAD-11), and the studies of a patient.

Asked by Study Root C-FIND or by QIDO-RS, as the partner speaks.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Q
from pydicom.dataset import Dataset

from interfaces import dicomweb
from interfaces.dicom import scu
from interfaces.dicom.scu import Line, Unreachable
from interfaces.models import Direction, Endpoint, Protocol
from ris.accounts.models import system_user
from ris.audit.trail import working_for
from ris.core.names import fold
from ris.exams import actions as exams
from ris.exams.actions import NewImages, SeriesImages
from ris.exams.models import Exam
from ris.exams.models_images import Availability, ImageSource
from ris.exams.states import ExamStatus
from ris.patients.models import Patient, PatientIdentifier

log = logging.getLogger("lightbox.dicom")

#: Exams older than this are not asked for, and this many of them at once, each so often.
_RECENT = timedelta(hours=24)
_AT_ONCE = 50
_EACH = timedelta(seconds=60)
#: An exam whose modality named no images may get more for so long.
_SETTLED = timedelta(minutes=30)
_POLL_SECONDS = 10.0
_MOST_STUDIES = 200
_MOST_SERIES = 200
_ASKING_LOCK = 2577


@dataclass(frozen=True, slots=True)
class Study:
    """A study as the archive describes it; blanks where it does not say."""

    uid: str
    accession_number: str
    day: str
    description: str
    modalities: tuple[str, ...]
    series_count: int | None
    image_count: int | None
    availability: str
    retrieve_ae_title: str
    patient_id: str
    issuer: str
    patient_name: str
    birth_date: str


#: What is asked of every study: keyword and tag.
_RETURNED = {
    "StudyInstanceUID": "0020000D", "AccessionNumber": "00080050", "StudyDate": "00080020",
    "StudyDescription": "00081030", "ModalitiesInStudy": "00080061", "NumberOfStudyRelatedSeries": "00201206",
    "NumberOfStudyRelatedInstances": "00201208", "InstanceAvailability": "00080056", "RetrieveAETitle": "00080054",
    "PatientID": "00100020", "IssuerOfPatientID": "00100021", "PatientName": "00100010", "PatientBirthDate": "00100030",
}  # fmt: skip


def archives(choice: str) -> list[Endpoint]:
    """The partners of which the site wants this: "ask_images" or "priors"."""
    return list(
        Endpoint.objects.filter(
            protocol__in=[Protocol.DICOM, Protocol.DICOMWEB], direction=Direction.OUT, active=True,
            **{f"profile__{choice}": "yes"},
        ).order_by("pk")
    )  # fmt: skip


class Conversation:
    """Questions to one archive, over one association where it speaks DIMSE. Raises Unreachable."""

    def __init__(self, endpoint: Endpoint, seconds: float) -> None:
        self.endpoint = endpoint
        self._ends = time.monotonic() + seconds
        self._line: Line | None = None
        if endpoint.protocol == Protocol.DICOM:
            self._line = Line(endpoint, scu.FIND_CONTEXTS, seconds=seconds)

    def close(self) -> None:
        if self._line is not None:
            self._line.close()

    @property
    def _left(self) -> float:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise Unreachable(f"{self.endpoint.name} does not answer.")
        return left

    def studies(self, keys: Mapping[str, str]) -> list[Study]:
        """The studies whose attributes match; keys by keyword."""
        if self._line is None:
            return [_of_json(one) for one in self._qido("/studies", keys)]
        return [_of_match(one) for one in self._find("STUDY", keys, _RETURNED)]

    def series(self, study: str) -> list[SeriesImages]:
        """Every image of a study, by series."""
        found: dict[str, list[str]] = {}
        if self._line is None:
            for image in self._qido(f"/studies/{study}/instances", {}, most=20_000):
                found.setdefault(_json(image, "0020000E"), []).append(_json(image, "00080018"))
        else:
            for one in self._find("SERIES", {"StudyInstanceUID": study}, ["SeriesInstanceUID"])[
                :_MOST_SERIES
            ]:
                keys = {"StudyInstanceUID": study, "SeriesInstanceUID": str(one.get("SeriesInstanceUID", ""))}
                images = self._find("IMAGE", keys, ["SOPInstanceUID"])
                found[keys["SeriesInstanceUID"]] = [str(match.get("SOPInstanceUID", "")) for match in images]
        return [SeriesImages(uid, tuple(filter(None, images))) for uid, images in found.items() if uid]

    def _find(self, level: str, keys: Mapping[str, str], returned: Iterable[str]) -> list[Dataset]:
        assert self._line is not None
        _ = self._left
        identifier = Dataset()
        identifier.SpecificCharacterSet = "ISO_IR 192"
        identifier.QueryRetrieveLevel = level
        for keyword in returned:
            setattr(identifier, keyword, "")
        for keyword, value in keys.items():
            setattr(identifier, keyword, value)
        # Each match that comes may take its time; all of them together may not.
        return [match for match in self._line.find(identifier) if self._left]

    def _qido(
        self, path: str, keys: Mapping[str, str], most: int = _MOST_STUDIES
    ) -> list[dicomweb.JsonModel]:
        try:
            return dicomweb.find(self.endpoint, path, keys, seconds=self._left, limit=most)
        except dicomweb.Unreachable as trouble:
            raise Unreachable(str(trouble)) from None


@contextmanager
def asking(endpoint: Endpoint, seconds: float) -> Iterator[Conversation]:
    """Raises Unreachable, here and at any question."""
    conversation = Conversation(endpoint, seconds)
    try:
        yield conversation
    finally:
        conversation.close()


def _of_match(ds: Dataset) -> Study:
    said = {keyword: ds.get(keyword) for keyword in _RETURNED}
    modalities = said["ModalitiesInStudy"] or ()
    return Study(
        uid=str(said["StudyInstanceUID"] or ""), accession_number=str(said["AccessionNumber"] or ""),
        day=str(said["StudyDate"] or ""), description=str(said["StudyDescription"] or ""),
        modalities=(modalities,) if isinstance(modalities, str) else tuple(modalities),
        series_count=_count(said["NumberOfStudyRelatedSeries"]),
        image_count=_count(said["NumberOfStudyRelatedInstances"]),
        availability=str(said["InstanceAvailability"] or ""), retrieve_ae_title=_first(said["RetrieveAETitle"]),
        patient_id=str(said["PatientID"] or ""), issuer=str(said["IssuerOfPatientID"] or ""),
        patient_name=str(said["PatientName"] or ""), birth_date=str(said["PatientBirthDate"] or ""),
    )  # fmt: skip


def _first(value: object) -> str:
    return str(
        value if isinstance(value, str) else next(iter(value), "") if isinstance(value, Iterable) else ""
    )


def _of_json(model: dicomweb.JsonModel) -> Study:
    said = {keyword: _json(model, tag) for keyword, tag in _RETURNED.items()}
    return Study(
        uid=said["StudyInstanceUID"], accession_number=said["AccessionNumber"], day=said["StudyDate"],
        description=said["StudyDescription"],
        modalities=tuple(str(one) for one in model.get("00080061", {}).get("Value", []) if one),
        series_count=_count(said["NumberOfStudyRelatedSeries"]),
        image_count=_count(said["NumberOfStudyRelatedInstances"]), availability=said["InstanceAvailability"],
        retrieve_ae_title=said["RetrieveAETitle"], patient_id=said["PatientID"], issuer=said["IssuerOfPatientID"],
        patient_name=said["PatientName"], birth_date=said["PatientBirthDate"],
    )  # fmt: skip


def _json(model: dicomweb.JsonModel, tag: str) -> str:
    """The first value as text; of a name its first component group."""
    value = next(iter(model.get(tag, {}).get("Value") or [None]), None)
    if isinstance(value, dict):
        value = value.get("Alphabetic")
    return "" if value is None else str(value)


def _count(value: object) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None


# Images of recent exams


def ask_for_images(at: datetime) -> int:
    """Ask every archive that is to be asked for the exams whose images are not all there yet (RAD-11); how many
    it knew. One process at a time does it."""
    known = 0
    for endpoint in archives("ask_images"):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [_ASKING_LOCK, endpoint.pk])
            (mine,) = cursor.fetchone()
        if not mine:
            continue
        try:
            known += _ask_one(endpoint, at)
        except Unreachable:
            log.warning("endpoint %s: no answer about images", endpoint.pk)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [_ASKING_LOCK, endpoint.pk])
    return known


def wanting_images(at: datetime) -> list[Exam]:
    """Recent exams of which the archive may not have everything yet, those asked for longest ago first."""
    running = Q(status=ExamStatus.IN_PROGRESS) | Q(status=ExamStatus.COMPLETED, ended_at__gt=at - _RECENT)
    complete = Q(procedure__images__missing=0) | Q(
        procedure__images__missing=None, status=ExamStatus.COMPLETED, procedure__images__seen_at__gt=at - _RECENT,
        ended_at__lt=at - _SETTLED,
    )  # fmt: skip
    wanted = (
        Exam.objects.filter(running, started_at__gt=at - 2 * _RECENT)
        .exclude(complete & Q(procedure__images__seen_at__isnull=False))
        .exclude(procedure__images__seen_at__gt=at - _EACH)
        .select_related("procedure", "order__patient")
        .prefetch_related("order__patient__identifiers", "performed_steps")
        .order_by("procedure__images__seen_at", "-started_at")
    )  # fmt: skip
    return list(wanted[:_AT_ONCE])


def _ask_one(endpoint: Endpoint, at: datetime) -> int:
    wanted = wanting_images(at)
    if not wanted:
        return 0
    known = 0
    with asking(endpoint, _POLL_SECONDS) as conversation, working_for(endpoint.name):
        for exam in wanted:
            study = _study_of(conversation, exam)
            if study is not None:
                _note(conversation, exam, study, at)
                known += 1
    return known


def _study_of(conversation: Conversation, exam: Exam) -> Study | None:
    """By the UID we gave; else by accession number, as from a modality that takes its own UID."""
    found = conversation.studies({"StudyInstanceUID": exam.procedure.study_instance_uid})
    if found:
        return found[0]
    patient = exam.order.patient
    for study in conversation.studies({"AccessionNumber": exam.order.accession_number}):
        if any(belongs(study, patient, one) for one in patient.identifiers.all()):
            return study
    return None


def _note(conversation: Conversation, exam: Exam, study: Study, at: datetime) -> None:
    # What the modality named can be looked for one by one; else the counts have to do.
    named = any(step.attributes.get("00400340") for step in exam.performed_steps.all())
    exams.note_images(
        NewImages(
            study_instance_uid=study.uid,
            source=ImageSource.CFIND if conversation.endpoint.protocol == Protocol.DICOM else ImageSource.QIDO,
            series=conversation.series(study.uid) if named else (),
            series_count=study.series_count, instance_count=study.image_count,
            availability=study.availability if study.availability in Availability.values else "",
            retrieve_ae_title=study.retrieve_ae_title, accession_number=study.accession_number,
            patient_id=study.patient_id, patient_name=study.patient_name, modality=next(iter(study.modalities), ""),
        ),
        by=system_user("dicom"), exam=exam, at=at,
    )  # fmt: skip


# Studies of a patient


def studies_of(patient: Patient, endpoint: Endpoint, *, seconds: float) -> list[Study]:
    """What the archive has under any of the patient's numbers, newest first. Raises Unreachable."""
    found: dict[str, Study] = {}
    with asking(endpoint, seconds) as conversation:
        for one in patient.identifiers.all():
            for study in conversation.studies({"PatientID": one.value}):
                if belongs(study, patient, one):
                    found[study.uid] = study
    return sorted(found.values(), key=lambda study: study.day, reverse=True)


def belongs(study: Study, patient: Patient, identifier: PatientIdentifier) -> bool:
    """Whether a study under a number is this patient's: two authorities may count alike (SCN-23).

    An archive that names no issuer must know the name and birth date.
    """
    if study.patient_id != identifier.value:
        return False
    if study.issuer:
        return fold(study.issuer) == fold(identifier.authority)
    born = patient.birth_date.replace("-", "")
    family = study.patient_name.partition("=")[0].partition("^")[0]
    return bool(born) and born == study.birth_date and fold(family) == fold(patient.family)
