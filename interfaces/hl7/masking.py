"""A message for the eyes of whoever looks after the line: its shape and its codes, but no patient, until it is shown.

What is masked stays where it was, so that a missing component or a wrong authority still shows.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from interfaces.hl7 import charsets, er7, names
from interfaces.hl7.er7 import Separators
from interfaces.hl7.names import FieldRow, SegmentRow
from ris.core.errors import RisError

MASK = "•••"
#: A line longer than this is a picture or a PDF; nobody reads it.
_LONGEST_LINE = 2000

#: Fields of segments about a person that tell nothing of him or her: set ids, codes, indicators.
_PLAIN = {
    "PID": {1, 8, 15, 16, 17, 22, 24, 26, 27, 28, 30, 31, 32, 35, 36},
    "PD1": {1, 2, 7, 11, 12, 15, 16},
    "NK1": {1, 3, 7, 14, 15, 17, 20},
    "GT1": {1, 9, 10, 11},
    "IN1": {1, 2, 15, 17, 20, 21, 22, 25, 27, 31, 32, 35},
    "IN2": set[int](),
    "MRG": set[int](),
    "ACC": {2, 4, 5, 6},
}  # fmt: skip
#: Numbers (CX): the number is masked, and who gave it and of what kind it is are not.
_NUMBERS = {("PID", 2), ("PID", 3), ("PID", 4), ("PID", 18), ("PID", 21), ("MRG", 1), ("MRG", 2), ("MRG", 3), ("MRG", 4),
            ("MRG", 5), ("MRG", 6), ("PV1", 5), ("PV1", 19), ("PV1", 50), ("NK1", 33), ("GT1", 2)}  # fmt: skip
#: What is written about the patient: findings, notes, reasons, diagnoses.
_TEXTS = {("OBX", 5), ("NTE", 3), ("OBR", 13), ("OBR", 31), ("ORC", 16), ("AL1", 3), ("AL1", 5), ("DG1", 3), ("DG1", 4),
          ("PV2", 3), ("TXA", 25)}  # fmt: skip
_NAME = re.compile(r"[A-Z][A-Z0-9]{2}")


def _hides(segment: str, field: int, component: int) -> bool:
    """Whether this place may tell who the patient is or how he or she fares."""
    if (segment, field) in _NUMBERS:
        return component in (1, 2, 3)
    if segment in _PLAIN:
        return field not in _PLAIN[segment]
    # A site's own segment may hold anything; ZDS holds a Study Instance UID.
    return (segment, field) in _TEXTS or (segment.startswith("Z") and segment != "ZDS")


def is_private(location: str) -> bool:
    """Whether "PID-5.1" is a place that is masked."""
    found = re.fullmatch(r"([A-Z][A-Z0-9]{2})(?:\[\d+\])?-(\d+)(?:\[\d+\])?(?:\.(\d+))?.*", location)
    return found is not None and _hides(found[1], int(found[2]), int(found[3] or 1))


def masked(value: str, segment: str, field: int, separators: Separators = er7.STANDARD) -> str:
    """A field as sent, with `MASK` for each value that is hidden; separators and `""` stay."""
    if not value:
        return value
    repetitions = value.split(separators.repetition) if separators.repetition else [value]
    if (segment, field) in _TEXTS:
        return MASK
    return separators.repetition.join(_masked_parts(one, segment, field, separators) for one in repetitions)


def _masked_parts(value: str, segment: str, field: int, separators: Separators) -> str:
    return separators.component.join(
        MASK if part and part != er7.DELETE and _hides(segment, field, position) else part
        for position, part in enumerate(value.split(separators.component), 1)
    )


@dataclass(frozen=True, slots=True)
class Line:
    """A segment as sent: its name, and the rest of the line with its separators."""

    name: str
    rest: str


def lines(raw: bytes, *, show: bool) -> list[Line]:
    """The message line by line, whatever the bytes are; with `show`, unmasked."""
    try:
        text = charsets.decode(raw)
    except RisError:
        text = raw.decode("latin-1")
    found = [line for line in re.split(r"[\r\n]+", text.strip("\x0b\x1c\r\n ")) if line]
    if not found:
        return []
    try:
        separators = er7.separators_of(found[0])
    except RisError:
        separators = er7.STANDARD
    return [_line(one, separators, show=show) for one in found]


def _line(line: str, separators: Separators, *, show: bool) -> Line:
    name = line.split(separators.field, 1)[0].upper()
    if not show and not _NAME.fullmatch(name):
        return Line("", MASK)  # half of a field: it may be anything
    if not show and name != "MSH":
        first, *fields = line.split(separators.field)
        line = separators.field.join(
            [first, *(masked(value, name, position, separators) for position, value in enumerate(fields, 1))]
        )
    more = len(line) - _LONGEST_LINE
    return Line(line[:3], line[3:] if more <= 0 else f"{line[3:_LONGEST_LINE]} … {more:,} more characters")


def tree(raw: bytes, *, show: bool) -> list[SegmentRow]:
    """Segments and fields with their names. Raises RisError when the message cannot be read."""
    rows = names.parsed(raw)
    if show:
        return rows
    return [SegmentRow(row.name, tuple(_masked_rows(row))) for row in rows]


def _masked_rows(segment: SegmentRow) -> Iterator[FieldRow]:
    for row in segment.fields:
        field = int(row.location.rpartition("-")[2])
        hidden = _hides(segment.name, field, 1)
        parts = tuple(
            (place, name, MASK if value and _hides(segment.name, field, number_of(place)) else value)
            for place, name, value in row.parts
        )
        yield FieldRow(row.location, row.name, MASK if hidden and row.raw else row.raw, parts)


def number_of(place: str) -> int:
    """The component's number in "PID-3.4"."""
    return int(place.rpartition(".")[2]) if "." in place else 1
