"""What the machines' own calls show of exams that never ended."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from interfaces.models import StationTwin
from ris.exams.completion import Evidence, shows_the_end, station_of, when
from ris.exams.models import Exam
from ris.exams.models_completion import EvidenceKind


@shows_the_end
def silent_since(exams: Sequence[Exam], now: datetime) -> Mapping[int, Evidence]:
    """The machine called after the exam began, and has called no more: no query, no MPPS, nothing."""
    stations = {exam.pk: station_of(exam) for exam in exams}
    heard = dict(
        StationTwin.objects.filter(ae_title__in=set(stations.values()) - {""}).values_list(
            "ae_title", "last_heard_at"
        )
    )
    found = {}
    for exam in exams:
        last = heard.get(stations[exam.pk])
        if last is not None and exam.started_at < last <= now:
            words = f"{stations[exam.pk]} has said nothing since {when(last)}"
            found[exam.pk] = Evidence(EvidenceKind.IDLE, words, ended_at=last, still_since=last)
    return found
