"""What a scanner sends: GS1 element strings (GS1 General Specifications, chapters 3 and 7.8), or a plain code.

A DataMatrix or GS1-128 symbol holds pairs of an application identifier (AI) and a value. Values of fixed length
follow each other; others end at FNC1, which scanners send as GS (0x1D). People write the same with brackets:
(01)09501101530003(17)270331(10)4471.
"""

import calendar
import re
from dataclasses import dataclass
from datetime import date

from ris.core.errors import BadValue
from ris.core.formats import today

GS = "\x1d"
#: How scanners are set to send FNC1 where a control character would get lost.
_GS_WRITTEN = ("␝", "<GS>", "{GS}", "[GS]", "^]", "\\x1d", "\\u001d")
#: What announces the symbology (ISO/IEC 15424): GS1-128, DataBar, DataMatrix, QR.
_SYMBOLOGY = re.compile(r"\A\](?:C1|e\d|d2|Q3|J1)")

_DATES = {
    "11": "made on",
    "12": "due",
    "13": "packed on",
    "15": "best before",
    "16": "sell by",
    "17": "expires on",
}
#: AI -> length of its value; those here need no separator after them (figure 7.8.5-2).
_FIXED = {
    "00": 18,
    "01": 14,
    "02": 14,
    "03": 14,
    "04": 16,
    "18": 6,
    "19": 6,
    "20": 2,
    **dict.fromkeys(_DATES, 6),
}
#: AI, or how it begins -> most characters of its value, how many digits the AI has.
_VARIABLE = {
    "10": (20, 2), "21": (20, 2), "22": (20, 2), "30": (8, 2), "37": (8, 2), "90": (30, 2), "235": (28, 3),
    "240": (30, 3), "241": (30, 3), "242": (6, 3), "243": (20, 3), "250": (30, 3), "251": (30, 3), "253": (30, 3),
    "254": (20, 3), "255": (25, 3), "400": (30, 3), "401": (30, 3), "402": (17, 3), "410": (13, 3), "414": (13, 3),
    "415": (13, 3), "420": (20, 3), "421": (12, 3), "422": (3, 3), "7001": (13, 4), "7003": (10, 4), "7004": (4, 4),
    "7005": (12, 4), "7006": (6, 4), "8005": (6, 4), "8006": (18, 4), "8008": (12, 4), "8012": (20, 4), "8020": (25, 4),
    **{f"71{digit}": (20, 3) for digit in range(6)}, **{f"9{digit}": (90, 2) for digit in range(1, 10)},
}  # fmt: skip
#: Measures, AI 31nn to 36nn: four digits and a value of six.
_MEASURE = re.compile(r"3[1-6]\d\d")
#: Characters an element may hold (GS1 AI encodable character set 82).
_SET_82 = re.compile(r"\A[!\"%&'()*+,\-./0-9:;<=>?A-Z_a-z]*\Z")


@dataclass(frozen=True)
class Scan:
    """What a label says. A plain code that is no GTIN has only `text`."""

    gtin: str = ""
    lot: str = ""
    expires_on: date | None = None
    serial: str = ""
    text: str = ""


def read(scanned: str) -> Scan:
    """Raises BadValue with what is wrong with the label."""
    text = scanned.strip(" \t\r\n")
    if not text:
        raise BadValue("Scan the label, or type what it says.", location="scan")
    for written in _GS_WRITTEN:
        text = text.replace(written, GS)
    if re.match(r"\(\d{2,4}\)", text):
        return _scan(_bracketed(text))
    named = _SYMBOLOGY.match(text)
    if named or text.startswith(GS):
        return _scan(_elements(text[named.end() :] if named else text))
    text = re.sub(r"\A\][A-Za-z]\d", "", text)
    if GS in text or re.match(r"01[0-9]{14}", text):
        return _scan(_elements(text))
    if re.fullmatch(r"[0-9]{8}|[0-9]{12,14}", text):
        if not has_check_digit(text):
            raise BadValue(f"{text} has a wrong digit. Scan it again, or type it anew.", location="scan")
        return Scan(gtin=text.zfill(14))
    if len(text) > 40:
        raise BadValue("This is no label of a supply. Scan the one on the vial.", location="scan")
    return Scan(text=text)


def has_check_digit(digits: str) -> bool:
    """Whether the last digit fits the others (GS1 General Specifications 7.9.1)."""
    if not (digits.isascii() and digits.isdecimal()):
        return False
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(reversed(digits)))
    return total % 10 == 0


def _bracketed(text: str) -> dict[str, str]:
    parts = re.split(r"\((\d{2,4})\)", text)
    found: dict[str, str] = {}
    for ai, value in zip(parts[1::2], parts[2::2], strict=True):
        length, least = _length(ai)
        value = value.rstrip(GS)
        if not least <= len(value) <= length:
            raise BadValue(
                f"({ai}) on the label has {len(value)} characters. Scan it again.", location="scan"
            )
        _take(found, ai, value)
    return found


def _elements(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    rest = text.lstrip(GS)
    while rest:
        ai = _ai_of(rest)
        rest = rest[len(ai) :]
        length, least = _length(ai)
        value = rest[:length] if least == length else rest[: length + 1].split(GS)[0]
        if GS in value or not least <= len(value) <= length:
            raise BadValue(
                f"The label breaks off or has lost a separator after ({ai}). Scan it again, or type it with brackets.",
                location="scan",
            )
        _take(found, ai, value)
        rest = rest[len(value) :].lstrip(GS)
    return found


def _ai_of(text: str) -> str:
    if text[:2] in _FIXED:
        return text[:2]
    if _MEASURE.match(text):
        return text[:4]
    for digits in (2, 3, 4):
        if _VARIABLE.get(text[:digits], (0, 0))[1] == digits:
            return text[:digits]
    raise BadValue(
        f"The label says “{text[:4]}…”, which no supply label has. Scan the GS1 code.", location="scan"
    )


def _length(ai: str) -> tuple[int, int]:
    """The most and the least characters of a value."""
    if ai in _FIXED:
        return _FIXED[ai], _FIXED[ai]
    if _MEASURE.fullmatch(ai):
        return 6, 6
    if ai not in _VARIABLE:
        raise BadValue(
            f"The label says ({ai}), which no supply label has. Scan the GS1 code.", location="scan"
        )
    return _VARIABLE[ai][0], 1


def _take(found: dict[str, str], ai: str, value: str) -> None:
    if not _SET_82.match(value):
        raise BadValue(
            f"({ai}) on the label holds a character that cannot be. Scan it again.", location="scan"
        )
    if found.setdefault(ai, value) != value:
        raise BadValue(f"The label says ({ai}) twice, and differently. Scan one label only.", location="scan")


def _scan(found: dict[str, str]) -> Scan:
    gtin = found.get("01", "")
    if gtin and not has_check_digit(gtin):
        raise BadValue(f"{gtin} has a wrong digit. Scan it again, or type it anew.", location="scan")
    if not gtin:
        raise BadValue(
            "The label does not say which item it is (01). Scan the one on the vial.", location="scan"
        )
    expires = found.get("17") or found.get("7003", "")[:6]
    return Scan(
        gtin=gtin,
        lot=found.get("10", ""),
        expires_on=_day(expires) if expires else None,
        serial=found.get("21", ""),
    )


def _day(text: str) -> date:
    """YYMMDD; day 00 is the last of the month (3.4.7), the century that of the next 49 years or the last 50 (7.12)."""
    try:
        year, month, day_of_month = (int(text[place : place + 2]) for place in (0, 2, 4))
        now = today().year
        year += now - now % 100
        if year - now > 50:
            year -= 100
        elif year - now < -49:
            year += 100
        return date(year, month, day_of_month or calendar.monthrange(year, month)[1])
    except (ValueError, IndexError, calendar.IllegalMonthError):
        raise BadValue(f"{text} is no date. Scan the label again.", location="scan") from None
