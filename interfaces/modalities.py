"""The machines beside what they have shown of themselves: who is silent, who was refused, how busy each is."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from interfaces.models import StationDay, StationTwin
from ris.department.models import Station

#: As for partners: how much longer than usual, learned from how many days, and how few times say nothing.
_SILENT, _LEARNED_FROM, _KNOWN_BY = 3, 7, 7
_LEAST_SILENCE = timedelta(minutes=5)


@dataclass(frozen=True)
class Machine:
    """A row of the modalities page."""

    station: Station
    twin: StationTwin | None
    #: The usual time between two calls at this hour of the day; None while too little is known.
    gap: timedelta | None
    silent: bool

    @property
    def state(self) -> str:
        if not self.station.active:
            return "inactive"
        if self.twin is None or self.twin.last_heard_at is None:
            return "unheard"
        return "silent" if self.silent else "up"


def machines(now: datetime | None = None) -> list[Machine]:
    """All stations, those that are silent first."""
    moment = now or timezone.now()
    twins = {twin.ae_title: twin for twin in StationTwin.objects.all()}
    gaps = usual_gaps(moment)
    found = [
        _machine(station, twins.get(station.ae_title), gaps.get(station.ae_title), moment)
        for station in Station.objects.select_related("room__facility").order_by("ae_title")
    ]
    return sorted(found, key=lambda one: (not one.silent, not one.station.active))


def machine(station: Station, now: datetime | None = None) -> Machine:
    moment = now or timezone.now()
    twin = StationTwin.objects.filter(ae_title=station.ae_title).first()
    return _machine(station, twin, usual_gaps(moment).get(station.ae_title), moment)


def _machine(station: Station, twin: StationTwin | None, gap: timedelta | None, now: datetime) -> Machine:
    last = twin.last_heard_at if twin else None
    silent = bool(station.active and last and gap and now - last > allowed(gap))
    return Machine(station, twin, gap, silent)


def allowed(gap: timedelta) -> timedelta:
    """How long a machine with this usual gap may say nothing."""
    return max(_SILENT * gap, _LEAST_SILENCE)


def usual_gaps(now: datetime) -> dict[str, timedelta]:
    """By AE title: the usual time between two calls at this hour of the day, over the last week."""
    rows = (
        StationDay.objects.filter(day__gte=now.date() - timedelta(days=_LEARNED_FROM), day__lt=now.date())
        .values("twin__ae_title")
        .annotate(heard=Sum(f"hours__{now.hour}"))
        .values_list("twin__ae_title", "heard")
    )
    return {
        title: timedelta(hours=_LEARNED_FROM) / heard
        for title, heard in rows
        if heard is not None and heard >= _KNOWN_BY
    }


def silent_machines(now: datetime) -> list[Machine]:
    """Machines that should have called by now."""
    return [one for one in machines(now) if one.silent]


def strangers() -> QuerySet[StationTwin]:
    """AE titles that called and are no station's, the newest first."""
    return (
        StationTwin.objects.exclude(ae_title__in=Station.objects.values("ae_title"))
        .exclude(ae_title=settings.RIS_AE_TITLE)
        .filter(Q(last_refused_at__isnull=False))
        .order_by("-last_refused_at")[:50]
    )


@dataclass(frozen=True)
class Day:
    day: date
    queries: int
    matches: int
    steps: int
    refused: int


def last_days(twin: StationTwin, days: int = 14) -> list[Day]:
    """What it did on each of the last days it did anything."""
    return [
        Day(row.day, row.queries, row.matches, row.steps, row.refused)
        for row in twin.days.order_by("-day")[:days]
    ]
