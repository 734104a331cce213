"""Keys of a C-FIND identifier into SQL conditions (PS3.4 C.2.2.2, K.4.1.3).

Values reach the database as parameters only; `%` and `_` of the client are letters, never wildcards.
"""

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

from interfaces.dicom.attributes import (
    LOCAL_START,
    NAME_PARTS,
    SHOWN,
    STEP_SEQUENCE,
    WORKLIST,
    Attribute,
    Match,
)
from interfaces.dicom.charsets import Decoder
from interfaces.dicom.elements import DataSet
from interfaces.dicom.status import IDENTIFIER_DOES_NOT_MATCH, Refused

#: In every identifier for other reasons than matching: character set, time zone, and the level that
#: only Query/Retrieve knows (PS3.4 K.4.1.1.3).
NOT_KEYS = frozenset({0x00080005, 0x00080201, 0x00080052})

_STATION = 0x00400001


def is_key(tag: int) -> bool:
    return tag not in NOT_KEYS and tag & 0xFFFF != 0


@dataclass
class Criteria:
    """What the keys ask for. `parameters` belong to the `%s` of `conditions`, in order.

    Every `%s` is cast, because the statement is planned before its values are known.
    """

    conditions: list[str] = field(default_factory=list)
    parameters: list[Any] = field(default_factory=list)
    tables: set[str] = field(default_factory=set)
    #: An optional key that we do not have, or do not match on: answers are FF01.
    some_unsupported: bool = False
    #: Keys with a value, for the audit.
    used: list[int] = field(default_factory=list)
    #: Scheduled Procedure Step Status (0040,0020) of the steps that may be found at all.
    shown: tuple[str, ...] = SHOWN

    def add(self, condition: str, *parameters: Any) -> None:
        self.conditions.append(condition)
        self.parameters.extend(parameters)


def read_keys(identifier: DataSet, decode: Decoder) -> Criteria:
    """Raises Refused (A900) for values that cannot be and for more than one item in a sequence."""
    criteria = Criteria()
    _read_level(criteria, identifier, WORKLIST, decode)
    step = single_item(identifier, STEP_SEQUENCE) or {}
    _match_start(criteria, text_of(step, 0x00400002, decode), text_of(step, 0x00400003, decode))
    return criteria


def _refuse(tag: int, why: str) -> Refused:
    return Refused(IDENTIFIER_DOES_NOT_MATCH, f"({tag >> 16:04X},{tag & 0xFFFF:04X}) {why}", tags=(tag,))


def single_item(data_set: DataSet, tag: int) -> DataSet | None:
    """The single item of a sequence key; None when it is absent, empty or universal."""
    _, value = data_set.get(tag, ("SQ", []))
    if isinstance(value, bytes):
        if value:
            raise _refuse(tag, "is no sequence.")
        return None
    if len(value) > 1:
        raise _refuse(tag, "holds more than one item.")
    return value[0] if value else None


def text_of(data_set: DataSet, tag: int, decode: Decoder) -> str:
    _, value = data_set.get(tag, ("", b""))
    if not isinstance(value, bytes):
        raise _refuse(tag, "is a sequence.")
    try:
        return decode(value).strip(" \0")
    except UnicodeDecodeError:
        raise _refuse(tag, "is not in its character set.") from None


def _read_level(criteria: Criteria, keys: DataSet, known: dict[int, Attribute], decode: Decoder) -> None:
    for tag in keys:
        if not is_key(tag):
            continue
        attribute = known.get(tag)
        if attribute is None:
            criteria.some_unsupported = True
        elif attribute.vr == "SQ":
            item = single_item(keys, tag)
            if item is None:
                continue
            if attribute.match is Match.ITEM:
                _read_level(criteria, item, dict(attribute.item), decode)
            else:
                criteria.some_unsupported |= any(value for _, value in item.values())
        else:
            _match(criteria, tag, attribute, keys, decode)


def _match(criteria: Criteria, tag: int, attribute: Attribute, keys: DataSet, decode: Decoder) -> None:
    if attribute.match is Match.NONE:
        _, value = keys[tag]
        criteria.some_unsupported |= bool(value)
        return
    text = text_of(keys, tag, decode)
    values = [value.strip() for value in text.split("\\")]
    values = [value for value in values if value]
    # An asterisk alone is universal matching (PS3.4 C.2.2.2.4).
    if not values or "*" in values:
        return
    criteria.used.append(tag)
    if not attribute.within:
        criteria.tables.update(attribute.tables)
    if attribute.match is Match.NAME:
        _match_name(criteria, attribute, values)
    elif attribute.match is Match.DATE:
        _match_date(criteria, tag, attribute, text)
    elif attribute.match in {Match.START_DATE, Match.START_TIME}:
        pass  # both together, once the whole identifier has been read
    elif tag == _STATION:
        match_station(criteria, values)
    elif attribute.match is Match.ANY_OF_MANY:
        criteria.add(f"{attribute.key} && %s::varchar[]", values)
    else:
        wild = attribute.match is Match.WILDCARD and any(_has_wildcard(value) for value in values)
        parameter: str | list[str]
        if wild:
            comparison, parameter = "LIKE ANY(%s::text[])", [like(value) for value in values]
        elif len(values) == 1:
            comparison, parameter = "= %s::text", values[0]
        else:
            comparison, parameter = "= ANY(%s::text[])", values
        condition = f"{attribute.key or attribute.sql} {comparison}"
        criteria.add(attribute.within.format(condition) if attribute.within else condition, parameter)


def match_station(criteria: Criteria, titles: list[str]) -> None:
    """Any of a step's machines; each arm has its index. One title by itself lets the planner know how few it has."""
    first, parameter = ("= %s::text", titles[0]) if len(titles) == 1 else ("= ANY(%s::text[])", titles)
    criteria.add(
        f"(step.station_ae_titles[1] {first}"
        " OR step.station_ae_titles[2] IS NOT NULL AND step.station_ae_titles && %s::varchar[])",
        parameter,
        titles,
    )


def _has_wildcard(value: str) -> bool:
    return "*" in value or "?" in value


def like(value: str) -> str:
    """A DICOM wildcard pattern as one of SQL LIKE."""
    escaped = re.sub(r"([%_\\])", r"\\\1", value)
    return escaped.replace("*", "%").replace("?", "_")


# Person names


def _match_name(criteria: Criteria, attribute: Attribute, values: list[str]) -> None:
    """Any component group of the key may match any of the name; letters of either case (PS3.4 C.2.2.2.1)."""
    if not attribute.sql:
        criteria.add("FALSE")
        return
    table = attribute.tables[-1] if attribute.tables else "patient"
    options: list[str] = []
    parameters: list[Any] = []
    for value in values:
        for group in value.split("="):
            pattern = upper(group.rstrip("^ "))
            if pattern:
                _add_name_options(table, pattern, options, parameters)
    # Delimiters alone say nothing, and match like nothing: universally.
    if options:
        criteria.add(f"({' OR '.join(options)})", *parameters)


def _add_name_options(table: str, pattern: str, options: list[str], parameters: list[Any]) -> None:
    whole = " || '^' || ".join(f"{table}.{part}" for part in NAME_PARTS)
    operator, value = ("LIKE", like(pattern)) if _has_wildcard(pattern) else ("=", pattern)
    # The literal beginning of the family name bounds an index scan; these operators are those of the
    # index's operator class, and unlike LIKE they use it under a plan made before the value is known.
    start = re.split(r"[*?^]", pattern, maxsplit=1)[0]
    bounds = ""
    if start:
        bounds = f"upper({table}.family) ~>=~ %s::text AND upper({table}.family) ~<~ %s::text AND "
        parameters += [start, f"{start}\U0010ffff"]
    options.append(f"({bounds}rtrim(upper({whole}), '^') {operator} %s::text)")
    parameters.append(value)
    if table == "patient":
        for group in ("ideographic", "phonetic"):
            options.append(f"({table}.{group} <> '' AND upper({table}.{group}) {operator} %s::text)")
            parameters.append(value)


def upper(text: str) -> str:
    """As PostgreSQL's upper() does it: letter by letter, so that ß stays."""
    return "".join(
        letter.upper() if len(letter.upper()) == 1 else letter
        for letter in unicodedata.normalize("NFC", text)
    )


# Dates and times


def _match_date(criteria: Criteria, tag: int, attribute: Attribute, text: str) -> None:
    earliest, latest = date_range(tag, text)
    # A date known in part only is unknown, and an unknown value matches no key.
    criteria.add(f"length({attribute.key}) = 10")
    if earliest:
        criteria.add(f"{attribute.key} >= %s::text", earliest.isoformat())
    if latest:
        criteria.add(f"{attribute.key} <= %s::text", latest.isoformat())


def _match_start(criteria: Criteria, date_text: str, time_text: str) -> None:
    """Start date and time: a combined range when both are ranges or one day (PS3.4 table K.6-1)."""
    days = date_range(0x00400002, date_text) if date_text.strip("*") else None
    times = time_range(0x00400003, time_text) if time_text.strip("*") else None
    if days is None and times is None:
        return
    if days is None or (times is not None and "-" not in time_text and days[0] != days[1]):
        # A time of day by itself, or the same one on each of several days.
        _match_time_of_day(criteria, times)
        times = None
    if days is None:
        return
    earliest, latest = days
    first, last = times or (None, None)
    if earliest:
        bound_start(criteria, ">=", datetime.combine(earliest, first or time.min))
    if latest:
        # `last` is the first moment after the range; None: the end of the day.
        end = (
            datetime.combine(latest, last) if last else datetime.combine(latest + timedelta(days=1), time.min)
        )
        bound_start(criteria, "<", end)


def _match_time_of_day(criteria: Criteria, times: tuple[time | None, time | None] | None) -> None:
    first, last = times or (None, None)
    if first:
        criteria.add(f"{LOCAL_START}::time >= %s::time", first.isoformat())
    if last:
        criteria.add(f"{LOCAL_START}::time < %s::time", last.isoformat())


def bound_start(criteria: Criteria, operator: str, local: datetime) -> None:
    """A bound on the facility's own clock, and one on the indexed column that holds for every facility.

    The second leaves an hour's room: when clocks are set back, a time of day comes twice and both are meant.
    """
    widest, room = ("min", "- interval '1 hour'") if operator == ">=" else ("max", "+ interval '1 hour'")
    moment = local.isoformat()
    criteria.add(
        f"step.starts_at {operator}"
        f" (SELECT {widest}(%s::timestamp AT TIME ZONE timezone) {room} FROM department_facility)",
        moment,
    )
    criteria.add(f"{LOCAL_START} {operator} %s::timestamp", moment)


def _range(tag: int, text: str) -> tuple[str, str]:
    """Both ends of `a-b`, `a-` or `-b`; of a single value, that value twice."""
    if "\\" in text:
        raise _refuse(tag, "takes one value or one range.")
    first, dash, last = (part.strip() for part in text.partition("-"))
    if not dash:
        return first, first
    if not (first or last) or "-" in last:
        raise _refuse(tag, "is no range.")
    return first, last


def date_range(tag: int, text: str) -> tuple[date | None, date | None]:
    first, last = _range(tag, text)
    return _date(tag, first), _date(tag, last)


def _date(tag: int, text: str) -> date | None:
    if not text:
        return None
    # YYYY.MM.DD is how ACR-NEMA wrote it, and old modalities still do (PS3.5 6.2, DA).
    digits = text.replace(".", "") if re.fullmatch(r"\d{4}\.\d\d\.\d\d", text) else text
    if not (re.fullmatch(r"\d{8}", digits) and digits.isascii()):
        raise _refuse(tag, "is no date of the form YYYYMMDD.")
    try:
        found = date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        raise _refuse(tag, "is no day of the calendar.") from None
    if found > date(9998, 12, 31):
        raise _refuse(tag, "is beyond the calendar.")
    return found


def time_range(tag: int, text: str) -> tuple[time | None, time | None]:
    """The first moment of the range and the first after it (None: midnight)."""
    first, last = _range(tag, text)
    start = _time(tag, first)[0] if first else None
    if not last:
        return start, None
    begins, precision = _time(tag, last)
    after = datetime.combine(date.min, begins) + precision
    return start, (None if after.date() > date.min else after.time())


def _time(tag: int, text: str) -> tuple[time, timedelta]:
    """A time and how long a moment of its precision lasts: 10 is an hour, 1030 a minute."""
    digits = text.replace(":", "") if re.fullmatch(r"\d\d:\d\d(:\d\d(\.\d{1,6})?)?", text) else text
    parts = re.fullmatch(r"([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:\.([0-9]{1,6}))?)?)?", digits)
    if parts is None:
        raise _refuse(tag, "is no time of the form HHMMSS.")
    hour, minute, second, fraction = parts.groups()
    if fraction:
        precision = timedelta(microseconds=10 ** (6 - len(fraction)))
    else:
        precision = timedelta(seconds=1) if second else timedelta(minutes=1) if minute else timedelta(hours=1)
    try:
        # A leap second is the last of its minute.
        found = time(
            int(hour), int(minute or 0), min(int(second or 0), 59), int((fraction or "").ljust(6, "0") or 0)
        )
    except ValueError:
        raise _refuse(tag, "is no time of day.") from None
    if second and int(second) > 60:
        raise _refuse(tag, "is no time of day.")
    return found, precision
