"""What shows that an exam is over although its modality has not said so, and what the rules make of it."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max, Q, QuerySet
from django.utils import timezone

from ris.core.formats import clock, local, moment
from ris.department.models import Station
from ris.events.models import Event
from ris.exams.models import CompletionRule, Exam, PerformedProcedureStep, StudyImages
from ris.exams.models_completion import EvidenceKind, Response
from ris.exams.models_images import ImageSource
from ris.exams.states import ExamStatus, PerformedStepStatus
from ris.orders.models import Order
from ris.orders.states import OrderStatus

#: At most so many running exams are looked at in one go; far more than a department has rooms.
AT_ONCE = 200

#: What holds where no rule was made.
USUAL: Mapping[EvidenceKind, tuple[Response, int]] = {
    EvidenceKind.REPORT: (Response.PROPOSE, 0),
    EvidenceKind.IMAGES: (Response.PROPOSE, 20),
    EvidenceKind.IDLE: (Response.PROPOSE, 120),
}


@dataclass(frozen=True)
class Evidence:
    kind: EvidenceKind
    #: "212 images in the archive since 14:20"
    words: str
    #: When the exam was over, as far as it shows.
    ended_at: datetime
    #: Nothing new has come since.
    still_since: datetime
    #: When the exam had begun at the latest, where it shows that too.
    begun_by: datetime | None = None
    series: int | None = None
    images: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What a rule says of the evidence for one exam."""

    evidence: Evidence
    response: Response
    #: All that is known, as a sentence.
    words: str


Provider = Callable[[Sequence[Exam], datetime], Mapping[int, Evidence]]
_providers: list[Provider] = []


def shows_the_end(provider: Provider) -> Provider:
    """Register where evidence comes from, also from an app above: exams to what is known of each, by key."""
    _providers.append(provider)
    return provider


def running() -> QuerySet[Exam]:
    """Exams that have begun and not ended, the oldest first."""
    return (
        Exam.objects.filter(status=ExamStatus.IN_PROGRESS)
        .select_related("order", "procedure__procedure_type", "room")
        .prefetch_related("room__stations")
        .order_by("started_at", "pk")
    )


def station_of(exam: Exam) -> str:
    """The AE title of its machine: as it was told, else the only one of its room."""
    if exam.station_ae_title or exam.room is None:
        return exam.station_ae_title
    titles = [one.ae_title for one in exam.room.stations.all()]
    return titles[0] if len(titles) == 1 else ""


def evidence_for(exams: Sequence[Exam], now: datetime) -> dict[int, list[Evidence]]:
    """All evidence there is for each exam, in as many queries as there are sources."""
    found: dict[int, list[Evidence]] = defaultdict(list)
    for provider in _providers if exams else ():
        for pk, evidence in provider(exams, now).items():
            found[pk].append(evidence)
    return found


class Rules:
    """The completion rules, looked up by station, then modality, then everywhere."""

    def __init__(self) -> None:
        self._rules = {
            (rule.station_id, rule.modality, rule.evidence): (Response(rule.response), rule.minutes)
            for rule in CompletionRule.objects.all()
        }
        self._stations = dict(Station.objects.values_list("ae_title", "pk")) if self._rules else {}

    def of(self, station: str, modality: str, kind: EvidenceKind) -> tuple[Response, int]:
        reach = [(self._stations[station], "")] if station in self._stations else []
        for pk, code in (*reach, (None, modality), (None, "")):
            rule = self._rules.get((pk, code, kind))
            if rule is not None:
                return rule
        return USUAL[kind]


def verdicts(exams: Sequence[Exam], now: datetime | None = None) -> dict[int, Verdict]:
    """For the exams with ripe evidence: what to do about them. Doing goes before proposing, strong before weak."""
    at = now or timezone.now()
    rules = Rules()
    known, begun = evidence_for(exams, at), begun_words(exams)
    found = {}
    for exam in exams:
        ripe = []
        for evidence in known.get(exam.pk, ()):
            response, wait = rules.of(station_of(exam), _modality(exam), evidence.kind)
            if response != Response.OFF and at - evidence.still_since >= timedelta(minutes=wait):
                ripe.append((response != Response.DO, _STRENGTH[evidence.kind], evidence, response))
        if ripe:
            _, _, evidence, response = min(ripe, key=lambda one: one[:2])
            found[exam.pk] = Verdict(evidence, response, f"{begun[exam.pk]}; {evidence.words}.")
    return found


_STRENGTH = {kind: place for place, kind in enumerate(EvidenceKind)}


def _modality(exam: Exam) -> str:
    kind = exam.procedure.procedure_type
    return kind.modality if kind else ""


def begun_words(exams: Sequence[Exam]) -> dict[int, str]:
    """How each began: "MPPS began 14:02 and never ended"."""
    told = {
        exam: started
        for exam, started in PerformedProcedureStep.objects.filter(
            exams__in=[one.pk for one in exams], status=PerformedStepStatus.IN_PROGRESS
        ).values_list("exams", "started_at")
    }
    return {
        one.pk: f"MPPS began {when(told[one.pk])} and never ended"
        if one.pk in told
        else f"Started by hand {when(one.started_at)}, and no MPPS came"
        for one in exams
    }


def when(at: datetime) -> str:
    """14:20 of today, 19-Nov-2026 14:20 of another day."""
    return clock(at) if local(at).date() == local(timezone.now()).date() else moment(at)


# The evidence there is in this app


@shows_the_end
def images_in_the_archive(exams: Sequence[Exam], now: datetime) -> dict[int, Evidence]:
    """What an archive holds of the exam's study, and since when nothing was added."""
    held: dict[int, list[StudyImages]] = defaultdict(list)
    studies = _archived().filter(procedure__in={exam.procedure_id for exam in exams})
    for one in studies.select_related("procedure__order").defer("series"):
        held[one.procedure_id or 0].append(one)
    if not held:
        return {}
    changed = _changed([one for many in held.values() for one in many])
    found = {}
    for exam in exams:
        mine = held.get(exam.procedure_id, [])
        if mine:
            found[exam.pk] = _of_images(mine, changed)
    return found


def _archived() -> QuerySet[StudyImages]:
    return StudyImages.objects.filter(instance_count__gt=0).exclude(source=ImageSource.MPPS)


def _of_images(studies: list[StudyImages], changed: Mapping[int, datetime]) -> Evidence:
    count, since = sum(one.instance_count for one in studies), min(one.first_seen_at for one in studies)
    last = max(changed.get(one.pk, one.first_seen_at) for one in studies)
    return Evidence(
        EvidenceKind.IMAGES, f"{count} image{'' if count == 1 else 's'} in the archive since {when(since)}",
        ended_at=last, still_since=last, begun_by=since, series=sum(one.series_count for one in studies), images=count,
    )  # fmt: skip


def _changed(studies: Sequence[StudyImages]) -> dict[int, datetime]:
    """When each study last grew."""
    subjects = {one.procedure.order.subject for one in studies if one.procedure}
    rows = (
        Event.objects.filter(kind="images.noted", subject__in=subjects)
        .values_list("facts__study")
        .annotate(Max("at"))
        .order_by()
    )
    return {int(study): at for study, at in rows if study is not None}


@shows_the_end
def gone_on(exams: Sequence[Exam], now: datetime) -> dict[int, Evidence]:
    """The station has begun its next exam."""
    stations = {exam.pk: station_of(exam) for exam in exams}
    if not any(stations.values()):
        return {}
    earliest = min(exam.started_at for exam in exams)
    later = list(
        PerformedProcedureStep.objects.filter(
            station_ae_title__in=set(stations.values()) - {""}, started_at__gt=earliest
        )
        .exclude(started_at__gt=now)
        .order_by("started_at")
        .values_list("station_ae_title", "started_at", "exams")[: AT_ONCE * 4]
    )
    found = {}
    for exam in exams:
        after = [
            at for title, at, other in later
            if title == stations[exam.pk] and at > exam.started_at and other not in (None, exam.pk)
        ]  # fmt: skip
        if after:
            words = f"{stations[exam.pk]} began its next exam {when(after[0])}"
            found[exam.pk] = Evidence(EvidenceKind.IDLE, words, ended_at=after[0], still_since=after[0])
    return found


# Exams that nobody began


@dataclass(frozen=True)
class Unstarted:
    """An order that is still to be done, and whose images are in the archive."""

    order: Order
    evidence: Evidence
    response: Response
    minutes: int

    @property
    def words(self) -> str:
        return f"Nobody started it; {self.evidence.words}."


def unstarted(now: datetime | None = None, *, orders: Sequence[int] | None = None) -> list[Unstarted]:
    """Orders not begun of which an archive holds images, the oldest first."""
    at = now or timezone.now()
    waiting = Q(procedure__order__status__in=[OrderStatus.REQUESTED, OrderStatus.SCHEDULED])
    studies = (
        _archived()
        .filter(waiting, procedure__procedure_type__isnull=False)
        .select_related("procedure__order", "procedure__procedure_type")
        .defer("series")
        .order_by("first_seen_at", "pk")
    )
    if orders is not None:
        studies = studies.filter(procedure__order__in=orders)
    held: dict[int, list[StudyImages]] = defaultdict(list)
    for one in studies[:AT_ONCE]:
        assert one.procedure is not None
        held[one.procedure.order_id].append(one)
    changed = _changed([one for many in held.values() for one in many]) if held else {}
    rules = Rules() if held else None
    found = []
    for mine in held.values():
        procedure = mine[0].procedure
        assert procedure is not None
        assert procedure.procedure_type is not None
        assert rules is not None
        response, minutes = rules.of("", procedure.procedure_type.modality, EvidenceKind.IMAGES)
        if response != Response.OFF and min(one.first_seen_at for one in mine) <= at:
            found.append(Unstarted(procedure.order, _of_images(mine, changed), response, minutes))
    return found
