"""What hangs in the invented department, for the radar: archives that know more than the machines said, exams left open."""

from datetime import datetime, timedelta
from random import Random

from ris.exams.models import Exam, StudyImages
from ris.exams.models_images import ImageSource
from ris.exams.states import ExamStatus
from ris.orders.models import RequestedProcedure
from ris.orders.states import OrderStatus
from scheduling.states import AppointmentStatus

#: Since when an archive is asked here.
_ASKED = timedelta(hours=30)


def leave_stuck(rng: Random, now: datetime) -> str:
    """Images of what was done, but for two exams; of one nobody began; and two exams that never ended."""
    done = list(
        Exam.objects.filter(status=ExamStatus.COMPLETED, ended_at__gte=now - _ASKED)
        .exclude(procedure__images__isnull=False)
        .order_by("-ended_at", "pk")
    )
    # The newest are still on their way; of the others two have lost theirs.
    lost = {exam.pk for exam in done[4:40:18]}
    made = [
        _images(exam.procedure, exam.image_count or rng.randrange(2, 400), exam.ended_at or now)
        for exam in done
        if exam.pk not in lost
    ]
    left = list(Exam.objects.filter(status=ExamStatus.IN_PROGRESS).order_by("started_at", "pk")[:2])
    for place, exam in enumerate(left):
        began = now - timedelta(hours=2 + place, minutes=rng.randrange(5, 50))
        Exam.objects.filter(pk=exam.pk).update(started_at=began, status_at=began)
        if place == 0:
            made.append(_images(exam.procedure, 212, began + timedelta(minutes=25)))
    forgotten = (
        RequestedProcedure.objects.filter(
            order__status=OrderStatus.SCHEDULED,
            order__appointments__status__in=[AppointmentStatus.BOOKED, AppointmentStatus.CONFIRMED],
            order__appointments__during__startswith__range=(
                now - timedelta(hours=12),
                now + timedelta(hours=30),
            ),
        )
        .order_by("order__appointments__during", "pk")
        .first()
    )
    if forgotten is not None:
        made.append(_images(forgotten, 4, now - timedelta(minutes=40)))
    StudyImages.objects.bulk_create(sorted(made, key=lambda one: one.first_seen_at), batch_size=500)
    return f"{len(made):,} studies in the archive"


def _images(procedure: RequestedProcedure, count: int, at: datetime) -> StudyImages:
    return StudyImages(
        study_instance_uid=procedure.study_instance_uid, procedure=procedure, source=ImageSource.QIDO,
        series_count=1 + count // 120, instance_count=count, first_seen_at=at, seen_at=at,
    )  # fmt: skip
