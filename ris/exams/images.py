"""What was sent and what the archive holds, side by side (IAN-02, MPPS-22)."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from ris.exams.models import Exam, StudyImages
from ris.exams.models_images import Availability


@dataclass(frozen=True)
class ImageCheck:
    """`sent` is what the modality or a person said, `held` what the archive said; None where nobody has."""

    sent: int | None
    held: int | None
    missing: int
    availability: str

    @property
    def complete(self) -> bool:
        """Whether a radiologist will see all of it at once."""
        return self.held is not None and not self.missing and self.availability == Availability.ONLINE

    @property
    def words(self) -> str:
        """412 sent, 388 in the archive."""
        if self.held is None:
            return f"{self.sent} sent, not seen in the archive yet" if self.sent is not None else ""
        where = "in the archive" if self.availability == Availability.ONLINE else self.availability.lower()
        return f"{self.sent} sent, {self.held} {where}" if self.sent is not None else f"{self.held} {where}"


def image_checks(exams: Iterable[Exam]) -> dict[int, ImageCheck]:
    """For each exam, by key, what came of its images; one query for all of them."""
    wanted = list(exams)
    held: dict[int, list[StudyImages]] = defaultdict(list)
    studies = StudyImages.objects.filter(procedure__in={exam.procedure_id for exam in wanted})
    for images in studies.defer("series"):
        held[images.procedure_id or 0].append(images)
    return {exam.pk: _check(exam, held[exam.procedure_id]) for exam in wanted}


def image_check(exam: Exam) -> ImageCheck:
    return image_checks([exam])[exam.pk]


def _check(exam: Exam, studies: list[StudyImages]) -> ImageCheck:
    sent = exam.image_count
    if not studies:
        return ImageCheck(sent, None, sent or 0, "")
    held = sum(one.instance_count for one in studies)
    by_name = [one.missing for one in studies]
    named = sum(one for one in by_name if one is not None)
    # Where instances were named on both sides they say more than the counts.
    missing = named if None not in by_name else max(named, (sent or 0) - held, 0)
    worst = max((one.availability for one in studies), key=Availability.values.index)
    return ImageCheck(sent, held, missing, worst)
