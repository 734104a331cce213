"""How the department writes dates, times, ages and numbers (ux.md 3.6), and reads the days people type."""

import re
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import timezone

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

SEXES = {
    "M": "Male",
    "F": "Female",
    "O": "Other",
    "A": "Ambiguous",
    "N": "Not specified",
    "U": "Not known",
    "": "Not known",
}


def local(at: datetime) -> datetime:
    """`at` in the facility's zone."""
    return at.astimezone(ZoneInfo(settings.RIS_FACILITY_TZ))


def today() -> date:
    """The facility's calendar day; in UTC it changes in the middle of a shift."""
    return local(timezone.now()).date()


def day(value: date | datetime | str | None) -> str:
    """19-Nov-2026; a partial date keeps its precision: Nov-2026, 2026. Months are never numbers."""
    if value in (None, ""):
        return ""
    if isinstance(value, str):
        parts = value.split("-")
        month = _MONTHS[int(parts[1]) - 1] if len(parts) > 1 else ""
        return "-".join([*parts[2:3], *([month] if month else []), parts[0]])
    if isinstance(value, datetime):
        value = local(value).date()
    assert isinstance(value, date)
    return f"{value.day:02d}-{_MONTHS[value.month - 1]}-{value.year:04d}"


def weekday(value: date | datetime | None) -> str:
    """Thu 19-Nov-2026."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        value = local(value).date()
    return f"{_DAYS[value.weekday()]} {day(value)}"


def clock(value: datetime | None) -> str:
    return f"{local(value):%H:%M}" if value else ""


def moment(value: datetime | None) -> str:
    return f"{day(value)} {clock(value)}" if value else ""


def span(start: datetime | None, end: datetime | None) -> str:
    """10:30–11:15."""
    return "–".join(part for part in (clock(start), clock(end)) if part)


def minutes(value: int | float | timedelta | None) -> str:
    """45 min, 1 h 12, 3 d 4 h."""
    if value is None:
        return ""
    total = round(value.total_seconds() / 60 if isinstance(value, timedelta) else value)
    if total < 60:
        return f"{total} min"
    hours, rest = divmod(total, 60)
    if hours < 24:
        return f"{hours} h {rest:02d}" if rest else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def relative(value: datetime | None, now: datetime | None = None) -> str:
    """in 16 min, 4 min ago, now."""
    if value is None:
        return ""
    gap = value - (now or timezone.now())
    if abs(gap) < timedelta(minutes=1):
        return "now"
    return f"in {minutes(gap)}" if gap > timedelta() else f"{minutes(-gap)} ago"


def age(born: date | str | None, on: date | None = None) -> str:
    """58y; below two years in months, below one in weeks, below four weeks in days.

    Of a partial birth date only the year counts, and what it leaves open is said: "about 58y".
    """
    if not born:
        return ""
    on = on or today()
    if isinstance(born, str):
        if len(born) < 10:
            return f"about {max(on.year - int(born[:4]), 0)}y"
        born = date.fromisoformat(born)
    days = (on - born).days
    if days < 0:
        return ""
    if days < 28:
        return f"{days}d"
    years = on.year - born.year - ((on.month, on.day) < (born.month, born.day))
    if years >= 2:
        return f"{years}y"
    if years < 1:
        return f"{days // 7}w"
    return f"{(on.year - born.year) * 12 + on.month - born.month - (on.day < born.day)}m"


def born(value: date | str | None, on: date | None = None) -> str:
    """14-Jul-1968 (58y); "Not known" rather than a blank or a question mark."""
    if not value:
        return "Not known"
    years = age(value, on)
    return f"{day(value)} ({years})" if years else day(value)


def mrn(value: str) -> str:
    """Nine digits in threes: 004 417 268. Others stay as their authority writes them."""
    return f"{value[:3]} {value[3:6]} {value[6:]}" if re.fullmatch(r"\d{9}", value) else value


def accession(value: str) -> str:
    """A26-114 0732: prefix and year, then three and four. Others' numbers stay as they are."""
    parts = re.fullmatch(r"([A-Z]{1,4}\d\d)(\d{3})(\d{4})", value)
    return f"{parts[1]}-{parts[2]} {parts[3]}" if parts else value


def phone(value: str) -> str:
    """Bare digits in groups that can be read aloud; what already has a shape keeps it."""
    if not re.fullmatch(r"\+?\d{7,13}", value):
        return value
    tail, rest = value[-4:], value[:-4]
    groups: list[str] = []
    while len(rest.lstrip("+")) > 3:
        groups.insert(0, rest[-3:])
        rest = rest[:-3]
    return " ".join(part for part in (rest, *groups, tail) if part)


def parse_day(text: str, on: date | None = None) -> date | None:
    """What a clerk types: t, +3d, +2w, -1m, 19 11, 19 11 26, 19-Nov, 2026-11-19. None when it is no day.

    Day comes before month. A day without a year is the nearest to come, at most a month ago.
    """
    on = on or today()
    text = text.strip().lower()
    if text in {"t", "today"}:
        return on
    if step := re.fullmatch(r"([+-])(\d{1,3})([dwmy]?)", text):
        count = int(step[2]) * (1 if step[1] == "+" else -1)
        if step[3] in {"", "d", "w"}:
            return on + timedelta(days=count * (7 if step[3] == "w" else 1))
        months = on.year * 12 + on.month - 1 + count * (12 if step[3] == "y" else 1)
        last = (date(months // 12, months % 12 + 1, 28) + timedelta(days=4)).replace(day=1) - timedelta(
            days=1
        )
        return last.replace(day=min(on.day, last.day))
    # "Thu 19-Nov-2026" is what the field itself shows.
    parts = [part for part in re.split(r"[\s./-]+", text) if part and part.capitalize() not in _DAYS]
    if len(parts) == 3 and len(parts[0]) == 4:
        parts.reverse()
    if len(parts) not in {2, 3}:
        return None
    names = [name.lower() for name in _MONTHS]
    month = names.index(parts[1][:3]) + 1 if parts[1][:3] in names else _number(parts[1])
    year = _number(parts[2]) if len(parts) == 3 else None
    if len(parts) == 3 and len(parts[2]) == 2 and year is not None:
        year += 2000
    try:
        found = date(on.year if year is None else year, month or 0, _number(parts[0]) or 0)
        if len(parts) == 2 and found < on - timedelta(days=31):
            found = found.replace(year=on.year + 1)
    except ValueError:
        return None
    return found if len(parts) == 2 or year is not None else None


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and text.isascii() else None
