"""A patient's studies beside our own exams, as the archives list them: told within seconds, or not at all."""

from dataclasses import dataclass
from datetime import date

from interfaces.models import Endpoint
from ris.exams.models import Exam
from ris.orders.models import RequestedProcedure

#: A page does not wait longer for an archive.
SECONDS = 3.0
_MOST = 30


@dataclass(frozen=True, slots=True)
class Prior:
    """One study; `exam` is ours of the same study, if we have it."""

    archive: str
    day: date | None
    description: str
    modalities: str
    images: int | None
    accession_number: str
    exam: Exam | None
    #: The study that the page is about.
    is_this: bool


@dataclass(frozen=True, slots=True)
class Found:
    priors: list[Prior]
    #: In words, which archives did not answer.
    silent: list[str]
    #: How many more there are than the page shows.
    more: int
    asked: bool


def of(exam: Exam) -> Found:
    """The studies of the exam's patient at every archive that the site lets be asked."""
    # pydicom and pynetdicom are loaded by who asks first.
    from interfaces.dicom import archive
    from interfaces.dicom.scu import Unreachable

    endpoints = archive.archives("priors")
    studies: dict[str, tuple[Endpoint, archive.Study]] = {}
    silent = []
    for endpoint in endpoints:
        try:
            found = archive.studies_of(exam.order.patient, endpoint, seconds=SECONDS / len(endpoints))
        except Unreachable:
            silent.append(f"{endpoint.name} does not answer.")
        else:
            for study in found:
                studies.setdefault(study.uid, (endpoint, study))
    ours = _ours(exam, list(studies))
    listed = sorted(studies.values(), key=lambda one: one[1].day, reverse=True)
    rows = [
        Prior(
            archive=endpoint.name,
            day=_day(study.day),
            description=study.description,
            modalities=" ".join(one for one in study.modalities if one not in _NO_IMAGES),
            images=study.image_count,
            accession_number=study.accession_number,
            exam=ours.get(study.uid),
            is_this=study.uid == exam.procedure.study_instance_uid,
        )
        for endpoint, study in listed
    ]
    return Found(rows[:_MOST], silent, max(0, len(rows) - _MOST), bool(endpoints))


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


#: Reports, documents, key objects and presentation states lie beside the images.
_NO_IMAGES = {"SR", "DOC", "KO", "PR"}


def _ours(exam: Exam, uids: list[str]) -> dict[str, Exam]:
    """Exams of this patient by the UID of their study."""
    procedures = RequestedProcedure.objects.filter(
        study_instance_uid__in=uids, order__patient=exam.order.patient_id
    ).prefetch_related("exams__procedure__procedure_type", "exams__reported__report")
    return {one.study_instance_uid: list(one.exams.all())[-1] for one in procedures if one.exams.all()}
