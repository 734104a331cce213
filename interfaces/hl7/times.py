"""HL7 time stamps (TS, DTM): any precision, with or without an offset (2.5.1 2.A.22)."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from enum import IntEnum

from ris.core.errors import BadValue

_TS = re.compile(
    r"(?P<year>\d{4})(?:(?P<month>\d{2})(?:(?P<day>\d{2})(?:(?P<hour>\d{2})(?:(?P<minute>\d{2})"
    r"(?:(?P<second>\d{2})(?:\.(?P<fraction>\d{1,6})\d*)?)?)?)?)?)?(?P<offset>[+-]\d{4}|Z)?",
    re.ASCII,
)


class Precision(IntEnum):
    YEAR = 4
    MONTH = 6
    DAY = 8
    HOUR = 10
    MINUTE = 12
    SECOND = 14


@dataclass(frozen=True, slots=True)
class TimeStamp:
    """A moment as precisely as it was sent; parts not sent are the earliest possible."""

    moment: datetime
    precision: Precision

    @property
    def day(self) -> date:
        """The calendar day in the sender's own offset."""
        return self.moment.date()

    @property
    def partial_date(self) -> str:
        """YYYY, YYYY-MM or YYYY-MM-DD, no more than was sent."""
        text = self.moment.date().isoformat()
        return {Precision.YEAR: text[:4], Precision.MONTH: text[:7]}.get(self.precision, text)


def parse(text: str, zone: tzinfo, *, location: str) -> TimeStamp | None:
    """Read a TS; None when empty. Without an offset it is a time of `zone`.

    Raises BadValue at `location` for text that is no date, or a date no calendar has.
    """
    if not text:
        return None
    match = _TS.fullmatch(text)
    if match is None:
        raise BadValue("This is no HL7 date or time (YYYYMMDDHHMMSS).", location=location)
    parts = match.groupdict()
    names = ("year", "month", "day", "hour", "minute", "second")
    given = [name for name in names if parts[name] is not None]
    precision = list(Precision)[len(given) - 1]
    try:
        moment = datetime(
            int(parts["year"]),
            int(parts["month"] or 1),
            int(parts["day"] or 1),
            int(parts["hour"] or 0),
            int(parts["minute"] or 0),
            # 60 is a leap second in HL7; datetime has none.
            min(int(parts["second"] or 0), 59),
            int((parts["fraction"] or "0").ljust(6, "0")),
            tzinfo=_offset(parts["offset"], zone),
        )
        # A year at the edge of the calendar has no UTC time to store.
        moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadValue("There is no such date or time in the calendar.", location=location) from None
    if int(parts["second"] or 0) > 60:
        raise BadValue("There is no such date or time in the calendar.", location=location)
    return TimeStamp(moment, precision)


def _offset(text: str | None, zone: tzinfo) -> tzinfo:
    if not text:
        return zone
    if text == "Z":
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[3:])
    if int(text[3:]) > 59:
        raise ValueError(text)
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def moment(text: str, zone: tzinfo, *, location: str) -> datetime | None:
    """A time of day is needed: a date alone counts from its midnight."""
    stamp = parse(text, zone, location=location)
    return stamp.moment if stamp else None


def birth_date(text: str, zone: tzinfo, *, location: str) -> str:
    """PID-7 as YYYY[-MM[-DD]], keeping what is unknown unknown ("1956", "195600", "19560000").

    The day as written counts; an offset never moves a birthday.
    """
    digits = re.match(r"[0-9]{4,8}", text)
    if digits is not None:
        known = digits.group()
        while len(known) in (6, 8) and known.endswith("00") and len(known) > 4:
            known = known[:-2]
        if known != digits.group():
            text = known
    stamp = parse(text, zone, location=location)
    return stamp.partial_date if stamp else ""


def write(moment: datetime, zone: tzinfo, *, offset: bool) -> str:
    """YYYYMMDDHHMMSS in `zone`, with +ZZZZ from version 2.5 on (MLLP-21)."""
    local = moment.astimezone(zone)
    return local.strftime("%Y%m%d%H%M%S%z" if offset else "%Y%m%d%H%M%S")
