"""What a machine sees on its worklist, and why something is not on it: each rule by the code that answers it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from io import BytesIO
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection
from django.utils import timezone
from pydicom.datadict import dictionary_description
from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode as decode_data_set
from pynetdicom.dsutils import encode as encode_data_set

from interfaces.dicom import attributes
from interfaces.dicom.attributes import STEP_SEQUENCE
from interfaces.dicom.charsets import Decoder, terms
from interfaces.dicom.datasets import Answers
from interfaces.dicom.elements import SPECIFIC_CHARACTER_SET, DataSet, read
from interfaces.dicom.matching import Criteria, is_key, read_keys
from interfaces.dicom.profiles import Profile
from interfaces.dicom.status import Refused
from interfaces.dicom.worklist import statement
from interfaces.models import StationTwin
from ris.core.formats import day, moment
from ris.department.models import Shown, Station
from ris.orders.models import Order
from ris.orders.states import OrderStatus
from scheduling.models import ScheduledProcedureStep
from scheduling.states import LIVE

_START_DATE = 0x00400002
_WAITING = [OrderStatus.REQUESTED, OrderStatus.SCHEDULED, OrderStatus.IN_PROGRESS]


def usual_identifier(station: Station, twin: StationTwin | None, now: datetime | None = None) -> Dataset:
    """What the machine usually asks, its days moved to today; for one that never asked, all it could see."""
    if twin is None or not twin.usual_query:
        identifier, step = Dataset(), Dataset()
        identifier.PatientName = identifier.PatientID = identifier.AccessionNumber = ""
        step.ScheduledStationAETitle = step.ScheduledProcedureStepStartDate = ""
        step.ScheduledProcedureStepStartTime = step.Modality = step.ScheduledProcedureStepDescription = ""
        identifier.ScheduledProcedureStepSequence = [step]
        return identifier
    identifier = decode_data_set(BytesIO(bytes(twin.usual_query)), not twin.usual_query_explicit, True)
    zone = station.room.facility.timezone
    asked = twin.last_query_at or now or timezone.now()
    gone = (_local(now or timezone.now(), zone).date() - _local(asked, zone).date()).days
    for step in identifier.get("ScheduledProcedureStepSequence", None) or ():
        dates = str(step.get("ScheduledProcedureStepStartDate", "") or "")
        if gone and dates:
            step.ScheduledProcedureStepStartDate = "-".join(_moved(one, gone) for one in dates.split("-"))
    return identifier


def _local(at: datetime, zone: str) -> datetime:
    return at.astimezone(ZoneInfo(zone))


def _moved(text: str, days: int) -> str:
    try:
        return f"{date.fromisoformat(text) + timedelta(days=days):%Y%m%d}"
    except ValueError:
        return text


def _read(identifier: Dataset) -> tuple[DataSet, Decoder]:
    """As the worklist reads it from the wire."""
    raw = encode_data_set(identifier, True, True) or b""
    found = read(raw, explicit=False)
    _, charset = found.get(SPECIFIC_CHARACTER_SET, ("CS", b""))
    return found, Decoder(terms(charset) if isinstance(charset, bytes) else [])


def seen_by(station: Station, identifier: Dataset, *, only: int | None = None) -> list[int]:
    """Keys of the steps that the worklist would answer, in its order. Raises Refused for what it would refuse."""
    keys, decode = _read(identifier)
    criteria = read_keys(keys, decode)
    Profile.of(station).narrow(criteria)
    if only is not None:
        criteria.add("step.id = %s::bigint", only)
    answers = Answers.to(keys, explicit=False)
    with connection.cursor() as cursor:
        cursor.execute(statement(criteria, answers, "step.id"), criteria.parameters)
        return [pk for (pk,) in cursor.fetchall()]


@dataclass(frozen=True)
class Rule:
    """One thing that decides whether a step is shown."""

    name: str
    holds: bool
    words: str


@dataclass(frozen=True)
class Explanation:
    """A step or, where nothing is booked, an order, and each rule for it."""

    order: Order
    step: ScheduledProcedureStep | None
    rules: Sequence[Rule]
    seen: bool

    @property
    def reasons(self) -> list[Rule]:
        return [rule for rule in self.rules if not rule.holds]


def explain(station: Station, order: Order, identifier: Dataset) -> list[Explanation]:
    """For each step of an order: is it on this machine's list, and by which rules."""
    steps = list(
        ScheduledProcedureStep.objects.filter(procedure__order=order)
        .select_related("appointment__room", "procedure")
        .order_by("-appointment", "pk")
    )
    standing = [step for step in steps if step.appointment.status in LIVE] or steps[:1]
    if not standing:
        return [Explanation(order, None, [*_of_order(station, order), _booked(None)], seen=False)]
    return [_explain_step(station, order, step, identifier) for step in standing]


def _explain_step(
    station: Station, order: Order, step: ScheduledProcedureStep, identifier: Dataset
) -> Explanation:
    profile = Profile.of(station)
    rules = [*_of_order(station, order), _booked(step), _status(step, profile)]
    try:
        keys, decode = _read(identifier)
        criteria = read_keys(keys, decode)
        seen = station.active and bool(seen_by(station, identifier, only=step.pk))
    except Refused as refusal:
        rules.append(Rule("Its query", False, f"The worklist refuses its usual query: {refusal.comment}"))
        return Explanation(order, step, rules, seen=False)
    rules += [*_of_settings(station, step, profile, criteria), *_of_keys(step, keys, decode)]
    return Explanation(order, step, rules, seen=seen)


def _of_order(station: Station, order: Order) -> Iterator[Rule]:
    yield Rule(
        "May connect", station.active,
        f"{station} may connect." if station.active else f"{station} is switched off in its settings.",
    )  # fmt: skip
    if any(one.procedure_type_id is None for one in order.procedures.all()):
        yield Rule("Exam code", False, "Its exam code is in no catalogue here, so it cannot be booked.")
    word = order.get_status_display().lower()
    why = f" ({order.cancel_reason})" if order.cancel_reason else ""
    yield Rule("Order", order.status in _WAITING, f"The order is {word}{why}.")


def _booked(step: ScheduledProcedureStep | None) -> Rule:
    if step is None:
        return Rule("Booked", False, "Nothing is booked for it: a worklist shows what has a time.")
    appointment = step.appointment
    when = f"{appointment.room.name}, {moment(appointment.starts_at)}"
    if appointment.status in LIVE:
        return Rule("Booked", True, f"It is booked: {when}.")
    return Rule("Booked", False, f"Its booking ({when}) is {appointment.get_status_display().lower()}.")


def _status(step: ScheduledProcedureStep, profile: Profile) -> Rule:
    shown = step.status.upper() in profile.shown
    words = ", ".join(Shown(term).label.lower() for term in Shown.values if term in profile.shown) or "none"
    return Rule(
        "Status", shown, f"The step is {step.get_status_display().lower()}; this machine is shown: {words}."
    )


def _of_settings(
    station: Station, step: ScheduledProcedureStep, profile: Profile, criteria: Criteria
) -> Iterator[Rule]:
    if profile.only_own(criteria):
        titles = ", ".join(step.station_ae_titles) or "no machine"
        yield Rule(
            "Its own exams only", station.ae_title in step.station_ae_titles,
            f"Its settings show only its own exams; this one is for {titles}.",
        )  # fmt: skip
    first, last = profile.days(criteria)
    if first is not None or last is not None:
        start = _local(step.starts_at, station.room.facility.timezone).replace(tzinfo=None)
        inside = (first is None or start >= first) and (last is None or start < last)
        until = day(last - timedelta(days=1)) if last else "any day"
        yield Rule(
            "Days shown", inside,
            f"Its settings show {day(first) if first else 'any day'} to {until}; the exam is on {day(start)}.",
        )  # fmt: skip


def _of_keys(step: ScheduledProcedureStep, keys: DataSet, decode: Decoder) -> Iterator[Rule]:
    """Each key with a value by itself, matched by the code that matches all of them."""
    for tag, alone in _alone(keys):
        criteria = read_keys(alone, decode)
        if not criteria.conditions:
            continue
        joins = "\n".join(join for table, join in attributes.TABLES.items() if table in criteria.tables)
        sql = f"SELECT 1 {attributes.FROM}{joins}\nWHERE step.id = %s AND " + " AND ".join(
            criteria.conditions
        )
        with connection.cursor() as cursor:
            cursor.execute(sql, [step.pk, *criteria.parameters])
            holds = cursor.fetchone() is not None
        asked = _value(alone, tag)
        name = dictionary_description(tag)
        has = _held(step, tag)
        words = f"It asks for {asked}" + (f"; this exam has {has}." if has else ".")
        yield Rule(name, holds, words)


def _alone(keys: DataSet) -> Iterator[tuple[int, DataSet]]:
    """The keys with values, one at a time; start date and time stay together, because they are one range."""
    for tag, (vr, value) in keys.items():
        if not is_key(tag):
            continue
        if tag == STEP_SEQUENCE and not isinstance(value, bytes):
            for item in value[:1]:
                for inner, (inner_vr, inner_value) in item.items():
                    if inner_value and inner != 0x00400003:
                        pair: DataSet = {inner: (inner_vr, inner_value)}
                        if inner == _START_DATE and 0x00400003 in item:
                            pair[0x00400003] = item[0x00400003]
                        yield inner, {STEP_SEQUENCE: ("SQ", [pair])}
        elif isinstance(value, bytes) and value.strip(b" \0"):
            yield tag, {tag: (vr, value)}


def _value(alone: DataSet, tag: int) -> str:
    level: Any = alone
    if STEP_SEQUENCE in alone:
        level = alone[STEP_SEQUENCE][1][0]
    _, value = level[tag]
    return value.decode("ascii", "replace").strip(" \0") if isinstance(value, bytes) else "an item"


def _held(step: ScheduledProcedureStep, tag: int) -> str:
    return {
        0x00080060: step.modality,
        0x00400001: ", ".join(step.station_ae_titles) or "no machine",
        _START_DATE: moment(step.starts_at),
    }.get(tag, "")
