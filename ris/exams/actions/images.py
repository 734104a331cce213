"""What the archive holds: told by its notices, or asked."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.core.errors import BadValue, MissingData
from ris.events.outbox import record
from ris.exams.models import Exam, PerformedProcedureStep, StudyImages
from ris.exams.models_images import Availability, ImageSource
from ris.exams.states import ExamStatus
from ris.orders.models import RequestedProcedure

#: What the archive says of the patient and the order, and how much of it is kept.
_SAID = {
    "retrieve_ae_title": 16,
    "accession_number": 64,
    "patient_id": 64,
    "patient_name": 200,
    "modality": 16,
}
_NO_ORDER = "The archive holds it, and no order is known for it."


@dataclass(frozen=True)
class SeriesImages:
    """One series. `count` is for sources that name no instances; `gone` are those the archive has no more."""

    series_instance_uid: str
    instances: Sequence[str] = ()
    gone: Sequence[str] = ()
    count: int | None = None
    availability: str = Availability.ONLINE


@dataclass(frozen=True)
class NewImages:
    """What a source says of one study.

    `whole` sources (a query) know the study and replace what was known; a notice only adds to it.
    The counts are for sources that name no series.
    """

    study_instance_uid: str
    source: str
    series: Sequence[SeriesImages] = ()
    series_count: int | None = None
    instance_count: int | None = None
    availability: str = ""
    retrieve_ae_title: str = ""
    accession_number: str = ""
    patient_id: str = ""
    patient_name: str = ""
    modality: str = ""
    whole: bool = True


@transaction.atomic
def note_images(
    new: NewImages, *, by: User, exam: Exam | None = None, at: datetime | None = None
) -> StudyImages:
    """Keep what the archive holds of a study. The fact `images.noted` is recorded when that has changed.

    It belongs to `exam` when the source was asked about one, else to the procedure with its Study Instance UID,
    else to the one its performed steps belong to; otherwise it waits on the reconciliation list.
    """
    require(by, "exam.perform")
    if not new.study_instance_uid:
        raise MissingData("A study has a Study Instance UID.", location="0020000D")
    told = {one.availability for one in new.series} | ({new.availability} - {""})
    if new.source not in ImageSource.values or not told <= set(Availability.values):
        raise BadValue("A source or an availability nobody knows.", location="00080056")
    images, fresh = StudyImages.objects.select_for_update(of=("self",)).get_or_create(
        study_instance_uid=new.study_instance_uid[:64],
        defaults={"source": new.source, "seen_at": at or timezone.now()},
    )
    before = _held(images)
    _take(images, new)
    if images.procedure_id is None:
        images.procedure = exam.procedure if exam else _procedure_of(images.study_instance_uid)
        images.problem = "" if images.procedure else images.problem or _NO_ORDER * fresh
    images.missing = missing_of(images)
    images.seen_at = at or timezone.now()
    images.save()
    if fresh or _held(images) != before:
        _record_noted(images, by=by)
    return images


def _held(images: StudyImages) -> tuple[Any, ...]:
    return (
        images.procedure_id, images.availability, images.series_count, images.instance_count, images.series,
        images.missing, images.retrieve_ae_title,
    )  # fmt: skip


def _take(images: StudyImages, new: NewImages) -> None:
    known: dict[str, Any] = {} if new.whole else dict(images.series)
    for one in new.series:
        before = known.get(one.series_instance_uid, {}).get("instances", [])
        instances = sorted({*before, *one.instances} - set(one.gone))
        known[one.series_instance_uid] = {
            "count": len(instances) if one.count is None else one.count,
            "availability": str(one.availability),
            **({"instances": instances} if instances else {}),
        }
    images.series = known
    images.series_count = len(known) if new.series_count is None else new.series_count
    counted = sum(one["count"] for one in known.values())
    images.instance_count = counted if new.instance_count is None else new.instance_count
    levels = [one["availability"] for one in known.values()] or [new.availability or Availability.ONLINE]
    images.availability = max(levels, key=Availability.values.index)
    images.source = new.source
    for column, limit in _SAID.items():
        setattr(images, column, getattr(new, column)[:limit] or getattr(images, column))


def _procedure_of(study_instance_uid: str) -> RequestedProcedure | None:
    known = RequestedProcedure.objects.filter(study_instance_uid=study_instance_uid).first()
    if known is not None:
        return known
    exam = (
        Exam.objects.filter(performed_steps__study_instance_uid=study_instance_uid)
        .exclude(status=ExamStatus.ENTERED_IN_ERROR)
        .select_related("procedure")
        .order_by("pk")
        .first()
    )
    return exam.procedure if exam else None


def _named(steps: Iterable[PerformedProcedureStep]) -> set[str]:
    """SOP Instance UIDs of the Performed Series Sequences (0040,0340)."""
    return {
        uid
        for step in steps
        for series in step.attributes.get("00400340", {}).get("Value", [])
        for sequence in ("00081140", "00400220")
        for item in series.get(sequence, {}).get("Value", [])
        for uid in item.get("00081155", {}).get("Value", [])
    }


def missing_of(images: StudyImages) -> int | None:
    """How many of the instances the modality named the archive has not; None while one of them named none."""
    held = images.instances
    named = _named(PerformedProcedureStep.objects.filter(study_instance_uid=images.study_instance_uid))
    return len(named - held) if named and held else None


def compare_images(study_instance_uid: str) -> None:
    """The modality has named its instances: set them against what the archive holds."""
    images = StudyImages.objects.filter(study_instance_uid=study_instance_uid).first()
    if images is None:
        return
    missing = missing_of(images)
    if missing != images.missing:
        images.missing = missing
        images.save(update_fields=["missing"])


def _record_noted(images: StudyImages, *, by: User) -> None:
    if images.procedure is None:
        record("images.noted", f"study:{images.pk}", by=by, study=images.pk)
        return
    order = images.procedure.order
    record(
        "images.noted", order.subject, by=by, patient=order.patient_id, order=order.pk,
        procedure=images.procedure_id, study=images.pk,
    )  # fmt: skip
