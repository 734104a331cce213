"""Writing what machines have shown, and reading what their queries ask for."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from pydicom.datadict import keyword_for_tag

from interfaces.dicom.attributes import STEP_SEQUENCE
from interfaces.dicom.elements import SPECIFIC_CHARACTER_SET, BadDataSet, DataSet, read
from interfaces.dicom.matching import is_key
from interfaces.dicom.twins import News
from interfaces.models import StationDay, StationTwin
from ris.department.models import Station

#: Machines nobody has added; the one that was longest silent makes room for the next.
MOST_STRANGERS = 200
#: How many values of a sort a twin remembers: addresses, character sets, keys.
_MOST_VALUES = 120
DAYS_KEPT = timedelta(days=90)

_SCHEDULED = frozenset(
    {
        "ScheduledStationAETitle",
        "ScheduledStationName",
        "ScheduledProcedureStepStartDate",
        "ScheduledProcedureStepStartTime",
        "ScheduledProcedureStepStatus",
        "Modality",
    }
)


def learn(batch: Iterable[News]) -> None:
    """Add what was seen to the twins, a transaction for each machine."""
    known = set(Station.objects.values_list("ae_title", flat=True))
    for news in batch:
        with transaction.atomic():
            _learn(news, known)


def _learn(news: News, known: set[str]) -> None:
    if news.ae_title not in known:
        _make_room(news.ae_title, known)
    StationTwin.objects.bulk_create(
        [StationTwin(ae_title=news.ae_title, first_heard_at=news.first_at)], ignore_conflicts=True
    )
    twin = StationTwin.objects.select_for_update().get(ae_title=news.ae_title)
    at = news.last_at.isoformat()
    heard = news.proposal is not None and news.accepted
    if heard or news.query or news.step_at or news.echo_at:
        twin.last_heard_at = news.last_at
    if news.address:
        _remember(twin.addresses, news.address, at)
    if news.proposal is not None and (heard or not twin.contexts):
        _take_proposal(twin, news)
    if news.query is not None:
        _take_query(twin, news, at)
    twin.last_step_at = news.step_at or twin.last_step_at
    twin.last_echo_at = news.echo_at or twin.last_echo_at
    if news.refused_at is not None:
        twin.last_refused_at, twin.refused_because = news.refused_at, news.refused_because[:80]
        twin.refused += sum(counts[5] for counts in news.counts.values())
    twin.save()
    for (day, hour), counts in news.counts.items():
        _count(twin, day, hour, counts)


def _make_room(title: str, known: set[str]) -> None:
    strangers = StationTwin.objects.exclude(ae_title__in=known)
    if (
        not strangers.filter(ae_title=title).exists() and strangers.count() >= MOST_STRANGERS
    ):  # a flood of invented titles
        oldest = strangers.order_by("last_refused_at", "pk").first()
        if oldest is not None:
            oldest.delete()


def _remember(values: dict[str, str], value: str, at: str) -> None:
    values[value] = at
    while len(values) > _MOST_VALUES:
        del values[min(values, key=lambda key: values[key])]


def _take_proposal(twin: StationTwin, news: News) -> None:
    proposal = news.proposal
    assert proposal is not None
    twin.tls = news.tls
    twin.implementation_uid = proposal.implementation_uid[:64]
    twin.implementation_name = proposal.implementation_name[:16]
    twin.max_pdu = min(proposal.max_pdu, 2**31 - 1)
    twin.contexts = [
        {
            "sop_class": one.abstract_syntax[:64], "transfer_syntaxes": [uid[:64] for uid in one.transfer_syntaxes[:20]],
            "accepted": one.abstract_syntax in news.accepted,
        }
        for one in proposal.contexts[:128]
    ]  # fmt: skip


def _take_query(twin: StationTwin, news: News, at: str) -> None:
    assert news.query is not None
    raw, explicit = news.query
    twin.last_query_at, twin.last_matches, twin.last_query_ms = news.query_at, news.matches, news.query_ms
    try:
        identifier = read(raw, explicit=explicit)
    except BadDataSet:
        return
    _, charset = identifier.get(SPECIFIC_CHARACTER_SET, ("CS", b""))
    if isinstance(charset, bytes) and charset.strip():
        _remember(twin.character_sets, charset.decode("ascii", "replace").strip(" \0")[:64], at)
    matching = set()
    for keyword, has_value in keys_of(identifier):
        _remember(twin.matching_keys if has_value else twin.return_keys, keyword, at)
        matching |= {keyword} if has_value else set()
    # A query for a patient or an accession number is of that moment and says who it was.
    if matching <= _SCHEDULED and identifier and len(raw) <= 16_384:
        twin.usual_query, twin.usual_query_explicit = raw, explicit


def keys_of(identifier: DataSet) -> Iterator[tuple[str, bool]]:
    """Each key by its keyword, and whether it has a value; those of the step's item like all others."""
    for tag, (_, value) in identifier.items():
        if not is_key(tag):
            continue
        if tag == STEP_SEQUENCE and not isinstance(value, bytes):
            for item in value:
                yield from keys_of(item)
        elif isinstance(value, bytes):
            yield keyword_for_tag(tag) or f"{tag:08X}", bool(value.strip(b" \0*"))
        else:
            yield keyword_for_tag(tag) or f"{tag:08X}", any(_has_value(item) for item in value)


def _has_value(item: Any) -> bool:
    return any(has_value for _, has_value in keys_of(item))


def _count(twin: StationTwin, day: datetime, hour: int, counts: list[int]) -> None:
    heard, associations, queries, matches, steps, refused = counts
    row, fresh = StationDay.objects.select_for_update().get_or_create(twin=twin, day=day.date())
    row.hours[hour] += heard
    row.associations += associations
    row.queries += queries
    row.matches += matches
    row.steps += steps
    row.refused += refused
    row.save()
    if fresh:
        StationDay.objects.filter(twin=twin, day__lt=day.date() - DAYS_KEPT).delete()
