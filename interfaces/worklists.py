"""Reads for the console: channels, messages, dead letters."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db.models import Count, Exists, F, Max, Min, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from interfaces import causes
from interfaces.causes import Cause
from interfaces.models import (
    Alarm,
    Case,
    CaseStatus,
    Direction,
    Endpoint,
    InboundMessage,
    OutboundMessage,
    ReceivedDataset,
)
from interfaces.states import OPEN, InboundState, OutboundState
from ris.accounts.models import User
from ris.audit.models import AuditEvent
from ris.patients.models import PatientIdentifier
from ris.patients.search import search_patients

Rows = TypeVar("Rows", bound="QuerySet[Any]")

#: A queue older than this is slow, whoever is to blame.
SLOW = timedelta(minutes=5)
#: Over which time the rate of a channel is taken.
_RATE = timedelta(minutes=5)
_DAY = timedelta(days=1)
#: Messages that wait for a person.
STUCK = [OutboundState.REJECTED, OutboundState.HELD]
_MOVING = [OutboundState.QUEUED, OutboundState.SENT]


@dataclass(frozen=True)
class Channel:
    """How one partner's line is doing."""

    endpoint: Endpoint
    #: up, slow, stopped, paused
    state: str
    queue: int
    oldest: datetime | None
    #: Refused and failed ones of the last 24 hours.
    refused: int
    #: When a message last was applied, or accepted.
    last: datetime | None
    per_minute: float = 0.0
    #: The first message that waits for a person, and why.
    failing: int | None = None
    cause: Cause | None = None
    #: What that one holds back, and what passes it.
    behind: int = 0
    passed: int = 0

    @property
    def strict(self) -> bool:
        """A refused message stops the whole queue, as the partner's profile has it."""
        return self.endpoint.option("order") == "strict"


def channels() -> list[Channel]:
    """Every active partner with its queue: a fixed number of queries, and two more for each failing line."""
    now = timezone.now()
    endpoints = list(Endpoint.objects.filter(active=True).annotate(**_firsts(now)))
    out = _sent(now)
    came = _received(now)
    failing = {
        **{("in", one.pk): one for one in _failing(InboundMessage, endpoints, "failed_in")},
        **{("out", one.pk): one for one in _failing(OutboundMessage, endpoints, "failed_out")},
    }
    return [
        _inbound(one, came.get(one.pk, {}), failing.get(("in", one.failed_in)))  # type: ignore[attr-defined]
        if one.direction == Direction.IN
        else _outbound(one, out.get(one.pk, {}), failing.get(("out", one.failed_out)), now)  # type: ignore[attr-defined]
        for one in endpoints
    ]


def _firsts(now: datetime) -> dict[str, Subquery]:
    """Of each partner: when a message last went well, and the first one that waits for a person."""
    came = InboundMessage.objects.filter(endpoint=OuterRef("pk")).order_by("-pk")
    told = OutboundMessage.objects.filter(endpoint=OuterRef("pk"))
    twin = InboundMessage.objects.filter(
        sender=OuterRef("sender"), control_id=OuterRef("control_id"), status=InboundState.PROCESSED
    ).exclude(control_id="")
    refused = came.filter(
        ~Exists(twin), status__in=[InboundState.REJECTED, InboundState.FAILED], received_at__gte=now - _DAY
    )
    return {
        "good_in": Subquery(came.filter(status=InboundState.PROCESSED).values("received_at")[:1]),
        "good_out": Subquery(
            told.filter(status=OutboundState.ACCEPTED).order_by("-pk").values("answered_at")[:1]
        ),
        "failed_in": Subquery(refused.values("pk")[:1]),
        "failed_out": Subquery(told.filter(status__in=STUCK).order_by("pk").values("pk")[:1]),
    }


def _failing(model: type[Any], endpoints: Iterable[Any], column: str) -> list[Any]:
    wanted = [pk for one in endpoints if (pk := getattr(one, column))]
    return list(model.objects.select_related("endpoint").filter(pk__in=wanted)) if wanted else []


def _sent(now: datetime) -> dict[int, Mapping[str, Any]]:
    """By partner: what waits, for how long, and how much went off lately."""
    moving, stuck = Q(status__in=_MOVING), Q(status__in=STUCK)
    recent = Q(created_at__gte=now - _DAY)
    rows = (
        OutboundMessage.objects.filter(Q(status__in=list(OPEN)) | recent)
        .values("endpoint")
        .annotate(
            queue=Count("pk", filter=moving | Q(status=OutboundState.HELD)),
            oldest=Min("created_at", filter=moving),
            refused=Count("pk", filter=Q(status=OutboundState.REJECTED) | (recent & stuck)),
            sent=Count("pk", filter=Q(answered_at__gte=now - _RATE)),
        )
    )
    return {row["endpoint"]: row for row in rows}


def _received(now: datetime) -> dict[int | None, Mapping[str, Any]]:
    rows = (
        InboundMessage.objects.filter(received_at__gte=now - _DAY)
        .values("endpoint")
        .annotate(
            refused=Count("pk", filter=Q(status__in=[InboundState.REJECTED, InboundState.FAILED])),
            unapplied=Count("pk", filter=Q(status=InboundState.RECEIVED)),
            oldest=Min("received_at", filter=Q(status=InboundState.RECEIVED)),
            came=Count("pk", filter=Q(received_at__gte=now - _RATE)),
        )
    )
    return {row["endpoint"]: row for row in rows}


def _rate(count: int) -> float:
    return count / (_RATE.total_seconds() / 60)


def _inbound(endpoint: Any, row: Mapping[str, Any], failing: InboundMessage | None) -> Channel:
    return Channel(
        endpoint, "paused" if endpoint.paused else "up", row.get("unapplied", 0), row.get("oldest"), row.get("refused", 0),
        endpoint.good_in, _rate(row.get("came", 0)),
        failing.pk if failing else None, causes.of_inbound(failing) if failing else None,
    )  # fmt: skip


def _outbound(
    endpoint: Any, row: Mapping[str, Any], failing: OutboundMessage | None, now: datetime
) -> Channel:
    oldest: datetime | None = row.get("oldest")
    if endpoint.paused:
        state = "paused"
    elif endpoint.down_since is not None:
        state = "stopped"
    elif oldest is not None and now - oldest > SLOW:
        state = "slow"
    else:
        state = "up"
    behind = passed = 0
    if failing is not None:
        later = OutboundMessage.objects.filter(endpoint=endpoint.pk, pk__gt=failing.pk)
        counts = later.aggregate(
            behind=Count("pk", filter=Q(key=failing.key, status__in=list(OPEN))),
            passed=Count("pk", filter=~Q(key=failing.key)),
        )
        behind, passed = counts["behind"], counts["passed"]
    return Channel(
        endpoint, state, row.get("queue", 0), oldest, row.get("refused", 0), endpoint.good_out, _rate(row.get("sent", 0)),
        failing.pk if failing else None, causes.of_outbound(failing) if failing else None, behind, passed,
    )  # fmt: skip


@dataclass(frozen=True)
class DicomService:
    """How much the modalities ask and tell."""

    queries: int
    refused: int
    last: datetime | None
    told: int


def dicom_service() -> DicomService:
    """The worklist and the performed steps, over the last hour and day."""
    now = timezone.now()
    asked = AuditEvent.objects.filter(
        user__in=User.objects.filter(username="dicom").values("pk"), action="worklist.query", at__gte=now - _DAY
    ).aggregate(
        queries=Count("pk", filter=Q(at__gte=now - timedelta(hours=1))),
        refused=Count("pk", filter=Q(outcome="refused")),
        last=Max("at", filter=Q(outcome="ok")),
    )  # fmt: skip
    told = ReceivedDataset.objects.filter(received_at__gte=now - _DAY).count()
    return DicomService(asked["queries"], asked["refused"], asked["last"], told)


# Messages


@dataclass(frozen=True)
class Wanted:
    """What somebody looks for; everything empty is everything."""

    status: str = ""
    endpoint: int | None = None
    type: str = ""
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None


def inbound(wanted: Wanted = Wanted()) -> QuerySet[InboundMessage]:
    """Messages that came in, newest first."""
    rows = InboundMessage.objects.select_related("endpoint").order_by("-id")
    return _narrowed(rows, wanted, "received_at")


def outbound(wanted: Wanted = Wanted()) -> QuerySet[OutboundMessage]:
    """Messages that go out, newest first."""
    rows = OutboundMessage.objects.select_related("endpoint").order_by("-id")
    return _narrowed(rows, wanted, "created_at")


def _narrowed(rows: Rows, wanted: Wanted, when: str) -> Rows:
    if wanted.status:
        rows = rows.filter(status__in=wanted.status.split(","))
    if wanted.endpoint is not None:
        rows = rows.filter(endpoint=wanted.endpoint or None)
    if wanted.type:
        rows = (
            rows.filter(type=wanted.type) if "^" in wanted.type else rows.filter(type__startswith=wanted.type)
        )
    if wanted.since:
        rows = rows.filter(**{f"{when}__gte": wanted.since})
    if wanted.until:
        rows = rows.filter(**{f"{when}__lt": wanted.until})
    return rows.filter(_mentions(wanted.text)) if wanted.text else rows


def _mentions(text: str) -> Q:
    """Control id, accession number, a patient's number or name, or words of the error. Each has its index."""
    plain = text.replace(" ", "")
    patients = set(PatientIdentifier.objects.filter(value=plain).values_list("patient", flat=True))
    if not any(letter.isdigit() for letter in plain):
        patients |= {one.pk for one in search_patients(text)}
    return (
        Q(control_id=plain)
        | Q(accession_number=plain.replace("-", ""))
        | Q(patient__in=patients)
        | (~Q(error_text="") & Q(error_text__icontains=text))
    )


def of_accession(accession_number: str) -> list[InboundMessage | OutboundMessage]:
    """Everything said about an order, in the order it was said."""
    found: Iterable[InboundMessage | OutboundMessage] = [
        *inbound().filter(accession_number=accession_number)[:100],
        *outbound().filter(accession_number=accession_number)[:100],
    ]
    return sorted(
        found, key=lambda one: one.received_at if isinstance(one, InboundMessage) else one.created_at
    )


def last_good(message: InboundMessage | OutboundMessage) -> InboundMessage | OutboundMessage | None:
    """The newest earlier message of the same type and partner that went well, else the newest of all."""
    rows: QuerySet[Any]
    if isinstance(message, InboundMessage):
        rows = InboundMessage.objects.filter(endpoint=message.endpoint_id, status=InboundState.PROCESSED)
    else:
        rows = OutboundMessage.objects.filter(
            endpoint=message.endpoint_id, status=OutboundState.ACCEPTED,
            purpose__startswith=message.purpose.partition(" ")[0],
        )  # fmt: skip
    rows = rows.filter(type=message.type).exclude(pk=message.pk).order_by("-pk")
    found: InboundMessage | OutboundMessage | None = rows.filter(pk__lt=message.pk).first() or rows.first()
    return found


@dataclass
class Letter:
    """A message to a partner that waits for a person."""

    message: OutboundMessage
    case: Case | None
    behind: int


def dead_letters() -> list[Letter]:
    """Refused and held messages, the oldest first, with whoever sees to each."""
    later = OutboundMessage.objects.filter(
        endpoint=OuterRef("endpoint"), key=OuterRef("key"), pk__gt=OuterRef("pk"), status__in=list(OPEN)
    ).values("key").annotate(number=Count("pk")).values("number")  # fmt: skip
    rows = list(
        OutboundMessage.objects.filter(status__in=STUCK)
        .select_related("endpoint")
        .annotate(behind=Subquery(later))
        .order_by("pk")[:500]
    )
    cases = {
        case.outbound_id: case
        for case in Case.objects.filter(outbound__in=rows, status=CaseStatus.OPEN).select_related("owner")
    }
    return [Letter(one, cases.get(one.pk), one.behind or 0) for one in rows]


# Sending again by filter


@dataclass
class Rerun:
    """What sending everything of a filter again would do."""

    upto: int
    #: (partner, how many, of which accepted before)
    partners: list[tuple[str, int, int]] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(count for _, count, _ in self.partners)

    @property
    def accepted(self) -> int:
        return sum(accepted for _, _, accepted in self.partners)


#: What may be sent again; what is on its way or given up may not.
RESENDABLE = (OutboundState.REJECTED, OutboundState.HELD, OutboundState.ACCEPTED)


def rerun(wanted: Wanted, upto: int | None = None) -> Rerun:
    """The dry run. `upto` keeps messages out that came after the first look."""
    rows = outbound(wanted).filter(status__in=RESENDABLE).order_by()
    if upto is None:
        upto = rows.aggregate(last=Max("pk"))["last"] or 0
    counts = (
        rows.filter(pk__lte=upto)
        .values(name=F("endpoint__name"))
        .annotate(count=Count("pk"), accepted=Count("pk", filter=Q(status=OutboundState.ACCEPTED)))
        .order_by("name")
    )
    return Rerun(upto, [(row["name"], row["count"], row["accepted"]) for row in counts])


def needing_somebody() -> int:
    """Open alarms that nobody has taken: the badge of the rail."""
    return Alarm.objects.filter(cleared_at=None, owner=None).count()


def blocked(endpoint: int) -> QuerySet[OutboundMessage]:
    """Messages that a refused or held one of the same key keeps waiting."""
    earlier = OutboundMessage.objects.filter(
        endpoint=OuterRef("endpoint"), key=OuterRef("key"), pk__lt=OuterRef("pk"), status__in=STUCK
    )
    return OutboundMessage.objects.filter(Exists(earlier), endpoint=endpoint, status__in=_MOVING)
