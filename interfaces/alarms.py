"""Alarms: one for each cause, however many messages it stops. They start, count and clear by themselves; people take
them or quiet them."""

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from smtplib import SMTPException

from django.conf import settings
from django.core.cache import cache
from django.core.checks import CheckMessage, Error
from django.core.mail import send_mail
from django.db import connection, transaction
from django.db.models import Count, Exists, Min, OuterRef, Q, Subquery
from django.db.models.functions import ExtractHour
from django.utils import timezone

from interfaces import cases, tls
from interfaces.hl7.profile import QUIET_HOURS
from interfaces.modalities import silent_machines
from interfaces.models import (
    Alarm,
    AlarmRule,
    Case,
    CaseKind,
    CaseStatus,
    Direction,
    Endpoint,
    InboundMessage,
    OutboundMessage,
    Protocol,
)
from interfaces.states import InboundState, OutboundState
from ris.accounts.models import User
from ris.accounts.permissions import require
from ris.audit.trail import record_access
from ris.core.errors import BadValue, IllegalTransition
from ris.core.formats import local, moment
from ris.department.models import Station

log = logging.getLogger(__name__)

#: A line that is back within this time is no news.
DOWN_AFTER = timedelta(seconds=30)
QUEUE_AFTER = timedelta(minutes=5)
#: A refused inbound message is its sender's to put right; after this time it is history.
REFUSED_WITHIN = timedelta(hours=1)
#: A case that nobody has taken for so long is told of.
CASE_AFTER = timedelta(minutes=15)
CERTIFICATE_DAYS = 30
#: How much longer than usual a sender may be silent, and how few messages are too few to know what is usual.
_SILENT, _KNOWN_BY, _LEARNED_FROM = 3, 7, 7
_LEAST_SILENCE = timedelta(minutes=5)
_LOCK = (2575, 1)


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause that is there now."""

    rule: AlarmRule
    endpoint: int | None
    cause: str
    count: int
    since: datetime

    @property
    def key(self) -> tuple[str, int | None, str]:
        return (str(self.rule), self.endpoint, self.cause)


def watch(now: datetime | None = None) -> int:
    """Look once at everything; start, count and clear alarms, and tell whoever wants to know. How many are open.

    May run anywhere and as often as one likes: a second one at the same time leaves at once.
    """
    now = now or timezone.now()
    cases.settle()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", _LOCK)
            if not cursor.fetchone()[0]:
                return Alarm.objects.filter(cleared_at=None).count()
        found = {one.key: one for one in findings(now)}
        to_tell = _settle(found, now)
    _mail(to_tell)
    return len(found)


def _settle(found: dict[tuple[str, int | None, str], Finding], now: datetime) -> list[Alarm]:
    """Make the open alarms those that were found; returns the ones to tell of."""
    due: list[Alarm] = []
    known = {
        (one.rule, one.endpoint_id, one.cause): one
        for one in Alarm.objects.select_related("endpoint").filter(cleared_at=None)
    }
    gone = [one.pk for key, one in known.items() if key not in found]
    Alarm.objects.filter(pk__in=gone).update(cleared_at=now)
    for key, one in found.items():
        alarm = known.get(key)
        if alarm is None:
            endpoint = Endpoint.objects.get(pk=one.endpoint) if one.endpoint else None
            quiet = quiet_until(endpoint, now)
            alarm = Alarm.objects.create(
                rule=one.rule, endpoint=endpoint, cause=one.cause, count=one.count, started_at=one.since,
                last_seen_at=now, quiet_until=quiet,
            )  # fmt: skip
            if quiet is None:
                due.append(alarm)
            continue
        speaks = alarm.quiet_until is not None and alarm.quiet_until <= now
        if speaks:
            alarm.quiet_until = None
            due.append(alarm)
        if speaks or alarm.count != one.count or now - alarm.last_seen_at > timedelta(minutes=1):
            alarm.count, alarm.last_seen_at = one.count, now
            alarm.save(update_fields=["count", "last_seen_at", "quiet_until"])
    return due


# What is wrong now


def findings(now: datetime) -> Iterator[Finding]:
    """Every cause that is there now, in as many queries however many partners there are."""
    endpoints = {one.pk: one for one in Endpoint.objects.filter(active=True)}
    watched = {pk: one for pk, one in endpoints.items() if not one.paused}
    down = [one for one in _lines_down(watched.values(), now)]
    refused = [*_refused_out(watched), *_refused_in(endpoints, now)]
    yield from down
    yield from refused
    # Behind a line that is down or a queue that a refusal stops, the age of the queue is no cause of its own.
    stopped = {one.endpoint for one in down} | {
        one.endpoint
        for one in refused
        if one.endpoint in watched and watched[one.endpoint].option("order") == "strict"
    }
    yield from _old_queues([pk for pk in watched if pk not in stopped], now)
    yield from _silent(watched, now)
    yield from _waiting_cases(now)
    yield from _silent_machines(now)
    yield from _certificates(now)


def _lines_down(endpoints: Iterable[Endpoint], now: datetime) -> Iterator[Finding]:
    for one in endpoints:
        if one.down_since is not None and one.down_since <= now - DOWN_AFTER:
            yield Finding(AlarmRule.LINE_DOWN, one.pk, "", one.failures, one.down_since)


def _refused_out(endpoints: Iterable[int]) -> list[Finding]:
    rows = (
        OutboundMessage.objects.filter(status=OutboundState.REJECTED, endpoint__in=list(endpoints))
        .values("endpoint", "ack_code", "error_text")
        .annotate(count=Count("pk"), since=Min("created_at"))
    )
    return _grouped(
        (row["endpoint"], f"{row['ack_code']} {row['error_text']}", row["count"], row["since"])
        for row in rows
    )


def _refused_in(endpoints: Iterable[int], now: datetime) -> list[Finding]:
    applied = InboundMessage.objects.filter(
        sender=OuterRef("sender"), control_id=OuterRef("control_id"), status=InboundState.PROCESSED
    ).exclude(control_id="")
    rows = (
        InboundMessage.objects.filter(
            ~Exists(applied), Q(endpoint=None) | Q(endpoint__in=list(endpoints)), received_at__gte=now - REFUSED_WITHIN,
            status__in=[InboundState.REJECTED, InboundState.FAILED],
        )
        .values("endpoint", "error_location", "error_text")
        .annotate(count=Count("pk"), since=Min("received_at"))
    )  # fmt: skip
    return _grouped(
        (row["endpoint"], f"{row['error_location']} {row['error_text']}", row["count"], row["since"])
        for row in rows
    )


def _grouped(rows: Iterable[tuple[int | None, str, int, datetime]]) -> list[Finding]:
    """One finding for texts that differ in a number only."""
    found: dict[tuple[int | None, str], Finding] = {}
    for endpoint, text, count, since in rows:
        cause = cause_of(text)
        known = found.get((endpoint, cause))
        if known is not None:
            count, since = count + known.count, min(since, known.since)
        found[endpoint, cause] = Finding(AlarmRule.REFUSALS, endpoint, cause, count, since)
    return list(found.values())


def cause_of(text: str) -> str:
    """ "AE Unknown patient 4711": a number that stands alone is of one message, and tells of a patient."""
    return " ".join(re.sub(r"(?<![A-Za-z0-9-])\d{2,}(?![A-Za-z0-9])", "#", text).split())[:200]


def _old_queues(endpoints: list[int], now: datetime) -> Iterator[Finding]:
    stuck = OutboundMessage.objects.filter(
        endpoint=OuterRef("endpoint"), key=OuterRef("key"), pk__lt=OuterRef("pk"),
        status__in=[OutboundState.REJECTED, OutboundState.HELD],
    )  # fmt: skip
    rows = (
        OutboundMessage.objects.filter(
            ~Exists(stuck), status__in=[OutboundState.QUEUED, OutboundState.SENT], endpoint__in=endpoints,
            created_at__lt=now - QUEUE_AFTER,
        )
        .values("endpoint")
        .annotate(count=Count("pk"), since=Min("created_at"))
    )  # fmt: skip
    for row in rows:
        yield Finding(AlarmRule.QUEUE_AGE, row["endpoint"], "", row["count"], row["since"])


def _silent(endpoints: dict[int, Endpoint], now: datetime) -> Iterator[Finding]:
    senders = [
        pk for pk, one in endpoints.items() if one.direction == Direction.IN and one.protocol == Protocol.MLLP
    ]
    newest = InboundMessage.objects.filter(endpoint=OuterRef("pk")).order_by("-pk").values("received_at")[:1]
    usual = usual_gaps(now) if senders else {}
    for pk, last in (
        Endpoint.objects.filter(pk__in=senders).annotate(last=Subquery(newest)).values_list("pk", "last")
    ):
        allowed = _may_be_silent(endpoints[pk], usual.get(pk))
        if last is not None and allowed is not None and now - last > allowed:
            minutes = int((now - last).total_seconds() // 60)
            yield Finding(AlarmRule.SILENCE, pk, "", minutes, last)


def _may_be_silent(endpoint: Endpoint, usual: timedelta | None) -> timedelta | None:
    """How long; None for as long as it likes."""
    chosen = endpoint.option("silence_minutes")
    if chosen.isdigit():
        return timedelta(minutes=int(chosen)) if int(chosen) else None
    return max(_SILENT * usual, _LEAST_SILENCE) if usual else None


def usual_gaps(now: datetime) -> dict[int, timedelta]:
    """By sender: the usual time between two messages at this hour of the day, over the last week. Learned hourly."""

    def learn() -> dict[int, timedelta]:
        rows = (
            InboundMessage.objects.filter(
                received_at__gte=now - timedelta(days=_LEARNED_FROM), endpoint__isnull=False
            )
            .annotate(hour=ExtractHour("received_at"))
            .filter(hour=now.hour)
            .values("endpoint")
            .annotate(count=Count("pk"))
        )
        return {
            row["endpoint"]: timedelta(hours=_LEARNED_FROM) / row["count"]
            for row in rows
            if row["count"] >= _KNOWN_BY
        }

    learned: dict[int, timedelta] = cache.get_or_set(f"alarms.usual.{now:%Y%m%d%H}", learn, 3600) or {}
    return learned


def _waiting_cases(now: datetime) -> Iterator[Finding]:
    """Refusals have an alarm of their own."""
    waiting = Case.objects.filter(status=CaseStatus.OPEN, owner=None, opened_at__lte=now - CASE_AFTER).exclude(
        kind=CaseKind.REFUSED
    ).aggregate(count=Count("pk"), since=Min("opened_at"))  # fmt: skip
    if waiting["count"]:
        yield Finding(AlarmRule.CASES, None, "", waiting["count"], waiting["since"])


def _silent_machines(now: datetime) -> Iterator[Finding]:
    for one in silent_machines(now):
        assert one.twin is not None
        assert one.twin.last_heard_at is not None
        minutes = int((now - one.twin.last_heard_at).total_seconds() // 60)
        yield Finding(AlarmRule.STATION, None, one.station.ae_title, minutes, one.twin.last_heard_at)


def _certificates(now: datetime) -> Iterator[Finding]:
    """Ours, and those that partners and stations are bound to."""
    days = tls.days_left(now=now)
    if days is not None and days < CERTIFICATE_DAYS:
        yield Finding(AlarmRule.CERTIFICATE, None, "", max(days, 0), now)
    soon = Q(active=True, certificate_ends_at__lt=now + timedelta(days=CERTIFICATE_DAYS))
    ending: list[tuple[int | None, str, datetime | None]] = [
        *(
            (pk, "", ends)
            for pk, ends in Endpoint.objects.filter(soon).values_list("pk", "certificate_ends_at")
        ),
        *(
            (None, title, ends)
            for title, ends in Station.objects.filter(soon).values_list("ae_title", "certificate_ends_at")
        ),
    ]
    for endpoint, cause, ends in ending:
        assert ends is not None, "asked for above"
        yield Finding(AlarmRule.CERTIFICATE, endpoint, cause, max((ends - now).days, 0), now)


# In words


def words_for(alarm: Alarm) -> str:
    """What is wrong, in a sentence that names no patient."""
    name = alarm.endpoint.name if alarm.endpoint else "an unknown sender"
    match alarm.rule:
        case AlarmRule.LINE_DOWN:
            return f"{name} cannot be reached"
        case AlarmRule.QUEUE_AGE:
            return f"Messages for {name} wait too long"
        case AlarmRule.REFUSALS:
            incoming = alarm.endpoint is None or alarm.endpoint.direction == Direction.IN
            return f"Messages from {name} are refused" if incoming else f"{name} refuses messages"
        case AlarmRule.SILENCE:
            return f"Nothing has come from {name}"
        case AlarmRule.STATION:
            return f"{alarm.cause} is silent"
        case AlarmRule.CASES:
            return "Cases wait for somebody"
        case _:
            whose = f"The certificate of {alarm.endpoint or alarm.cause}"
            ours = "Our TLS certificate"
            return f"{whose if alarm.endpoint or alarm.cause else ours} ends in {alarm.count} days"


# Telling


def quiet_until(endpoint: Endpoint | None, now: datetime) -> datetime | None:
    """The end of the quiet hours (`22-6`, `22:00-06:30`) of the partner or the house if they are now."""
    text = (endpoint.option("quiet_hours") if endpoint else "") or settings.RIS_QUIET_HOURS
    if not text:
        return None
    start, end = quiet_hours(text)
    here = local(now)
    clock = here.time()
    within = start <= clock < end if start <= end else clock >= start or clock < end
    if not within:
        return None
    ends = here.replace(hour=end.hour, minute=end.minute, second=0, microsecond=0)
    return ends if ends > here else ends + timedelta(days=1)


def quiet_hours(text: str) -> tuple[time, time]:
    """Raises BadValue."""
    found = re.fullmatch(QUIET_HOURS, text, re.ASCII)
    if found is None:
        raise BadValue("Quiet hours look like 22-6 or 22:00-06:30.", location="quiet_hours")
    return time(int(found[1]) % 24, int(found[2] or 0)), time(int(found[3]) % 24, int(found[4] or 0))


def settings_check(**_: object) -> list[CheckMessage]:
    """A wrong RIS_QUIET_HOURS stops the start, not the alarms."""
    try:
        quiet_hours(settings.RIS_QUIET_HOURS or "22-6")
    except BadValue as problem:
        return [
            Error(f"RIS_QUIET_HOURS is {settings.RIS_QUIET_HOURS!r}. {problem.message}", id="interfaces.E101")
        ]
    return []


def _mail(alarms: list[Alarm]) -> None:
    """To RIS_ALARM_MAIL, if it is set. What a partner wrote stays here: it may name a patient."""
    if not settings.RIS_ALARM_MAIL:
        return
    where = (
        f"{settings.CSRF_TRUSTED_ORIGINS[0]}/interfaces/alarms"
        if settings.CSRF_TRUSTED_ORIGINS
        else "/interfaces/alarms"
    )
    for one in alarms:
        text = f"{words_for(one)}.\nSince {moment(one.started_at)}, count {one.count}.\n\n{where}\n"
        try:
            send_mail(f"Lightbox: {words_for(one)}", text, None, settings.RIS_ALARM_MAIL)
        except (SMTPException, OSError) as error:
            log.warning("alarm %s could not be mailed: %s", one.pk, type(error).__name__)


# What people do


@transaction.atomic
def take(alarm: Alarm, *, by: User) -> None:
    """Say that somebody sees to it."""
    _change(alarm, "alarm.taken", by, owner=by)


@transaction.atomic
def leave(alarm: Alarm, *, by: User) -> None:
    _change(alarm, "alarm.left", by, owner=None)


@transaction.atomic
def quiet(alarm: Alarm, hours: int, *, by: User) -> None:
    """Tell nobody of it for some hours; it still shows. 0 hours takes the quiet back."""
    if not 0 <= hours <= 72:
        raise BadValue("An alarm can be quiet for 72 hours at most.", location="hours")
    until = timezone.now() + timedelta(hours=hours) if hours else None
    _change(alarm, "alarm.quieted" if hours else "alarm.spoke", by, quiet_until=until)


def _change(alarm: Alarm, action: str, by: User, **values: object) -> None:
    require(by, "case.settle")
    if not Alarm.objects.filter(pk=alarm.pk, cleared_at=None).update(**values):
        raise IllegalTransition("The alarm has cleared by itself.")
    record_access(by, action, subject=f"alarm:{alarm.pk}")
