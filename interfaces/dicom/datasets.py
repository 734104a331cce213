"""Rows of the worklist into data sets: only what was asked for, in the caller's character set.

Our own bytes, because an answer of 50 items must not cost pydicom's 100 ms.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from interfaces.dicom.attributes import LOCAL_START, WORKLIST, Attribute
from interfaces.dicom.charsets import Encoder
from interfaces.dicom.elements import SPECIFIC_CHARACTER_SET, DataSet, element, header, sequence, vr_of
from interfaces.dicom.matching import is_key

Row = Sequence[Any]
Write = Callable[[Row, Encoder], bytes]

_TIMEZONE_OFFSET = 0x00080201
_OTHER_PATIENT_IDS = 0x00101002

#: Most characters of a value (PS3.5 table 6.2-1); PN: of a component group.
_LIMITS = {"AE": 16, "CS": 16, "DS": 16, "LO": 64, "LT": 10240, "PN": 64, "SH": 16, "UI": 64}
_CONTROLS = {code: " " for code in (*range(32), 127)}
#: A backslash would part the value in two; no letter of it may.
_ONE_LINE = str.maketrans({**_CONTROLS, "\\": "/"})
_NAME_PART = str.maketrans({**_CONTROLS, "\\": " ", "^": " ", "=": " "})
_NAME_GROUP = str.maketrans({**_CONTROLS, "\\": " ", "=": " "})
_MANY_LINES = {code: " " for code in range(32) if chr(code) not in "\r\n\t\f"}


class Answers:
    """How to answer one identifier: the columns to read, and their rows as data sets."""

    def __init__(self, identifier: DataSet, *, explicit: bool) -> None:
        self.columns: list[str] = []
        self.tables: set[str] = set()
        self.cut = 0
        self._explicit = explicit
        self._writers = [write for write, _ in self._level(identifier, WORKLIST)]

    def data_set(self, row: Row, encode: Encoder) -> bytes:
        encode.beyond_ascii = False
        body = b"".join([write(row, encode) for write in self._writers])
        if not encode.beyond_ascii:
            return body
        # The lowest tag we return, so it stands first; never empty (PS3.4 table K.6-1).
        return element(SPECIFIC_CHARACTER_SET, "CS", encode.name.encode(), explicit=self._explicit) + body

    def _column(self, attribute: Attribute) -> int:
        self.tables.update(attribute.tables)
        if attribute.sql not in self.columns:
            self.columns.append(attribute.sql)
        return self.columns.index(attribute.sql)

    def _level(self, requested: DataSet, known: Mapping[int, Attribute]) -> list[tuple[Write, bytes]]:
        """What writes each requested attribute, and what it writes where nothing is known."""
        writers = []
        for tag in sorted(requested):
            if is_key(tag):
                vr, keys = requested[tag]
                attribute = known.get(tag) or Attribute(vr if vr != "UN" else vr_of(tag))
                writers.append((self._writer(tag, attribute, keys), self._empty(tag, attribute.vr)))
            elif tag == _TIMEZONE_OFFSET:
                writers.append((self._value(tag, _OFFSET), b""))
        return writers

    def _writer(self, tag: int, attribute: Attribute, keys: bytes | list[DataSet]) -> Write:
        if tag == _OTHER_PATIENT_IDS:
            return self._other_patient_ids(attribute)
        if attribute.vr != "SQ":
            return self._value(tag, attribute) if attribute.sql else _constant(self._empty(tag, attribute.vr))
        item = keys[0] if keys and isinstance(keys, list) else {}
        # An item without keys asks for all of them (PS3.4 C.2.2.2.6).
        if not any(map(is_key, item)):
            item = {key: (inner.vr, b"") for key, inner in attribute.item.items()}
        return self._sequence(tag, self._level(item, attribute.item))

    def _empty(self, tag: int, vr: str) -> bytes:
        return element(tag, vr, b"", explicit=self._explicit)

    def _value(self, tag: int, attribute: Attribute) -> Write:
        column = self._column(attribute)
        start, length = header(tag, attribute.vr, explicit=self._explicit)
        empty, pack = start + length.pack(0), length.pack
        finish = _FINISH.get(attribute.vr, Answers._text)
        vr, pad = attribute.vr, b"\0" if attribute.vr == "UI" else b" "

        def write(row: Row, encode: Encoder) -> bytes:
            value = row[column]
            if not value:
                return empty
            encoded = finish(self, value, vr, encode)
            if len(encoded) & 1:
                encoded += pad
            return start + pack(len(encoded)) + encoded

        return write

    def _sequence(self, tag: int, level: list[tuple[Write, bytes]]) -> Write:
        explicit = self._explicit
        writers = [write for write, _ in level]
        blank = [empty for _, empty in level]

        def write(row: Row, encode: Encoder) -> bytes:
            pieces = [one(row, encode) for one in writers]
            # An item of which nothing is known is left out: a code without its value is none.
            items = [] if pieces == blank else [b"".join(pieces)]
            return sequence(tag, items, explicit=explicit)

        return write

    def _other_patient_ids(self, attribute: Attribute) -> Write:
        column, explicit = self._column(attribute), self._explicit

        def write(row: Row, encode: Encoder) -> bytes:
            items = [
                element(0x00100020, "LO", self._text(value, "LO", encode), explicit=explicit)
                + element(0x00100021, "LO", self._text(authority, "LO", encode), explicit=explicit)
                + element(0x00100022, "CS", b"TEXT", explicit=explicit)
                for value, authority in row[column] or []
            ]
            return sequence(_OTHER_PATIENT_IDS, items, explicit=explicit)

        return write

    # Values by VR

    def _cut(self, text: str, limit: int) -> str:
        if len(text) > limit:
            self.cut += 1
            return text[:limit].rstrip()
        return text

    def _text(self, value: str | list[str], vr: str, encode: Encoder) -> bytes:
        limit = _LIMITS.get(vr, 64)
        if isinstance(value, list):
            cleaned = (one.translate(_ONE_LINE).strip() for one in value if one)
            return encode("\\".join(self._cut(one, limit) for one in cleaned if one))
        if not value.isprintable() or "\\" in value:
            value = value.translate(_ONE_LINE).strip()
        return encode(value if len(value) <= limit else self._cut(value, limit))

    def _lines(self, value: str, vr: str, encode: Encoder) -> bytes:
        return encode(self._cut(value.translate(_MANY_LINES), _LIMITS.get(vr, 10240)))

    def _name(self, value: str, vr: str, encode: Encoder) -> bytes:
        alphabetic, *others = value.split("\x1e")
        parts = [part.translate(_NAME_PART).strip() for part in alphabetic.split("\x1f")]
        groups = ["^".join(parts), *(group.translate(_NAME_GROUP) for group in others)]
        return encode(
            "=".join(self._cut(group.rstrip("^ "), 64).rstrip("^ ") for group in groups).rstrip("=")
        )

    def _date(self, value: str, vr: str, encode: Encoder) -> bytes:
        digits = value.replace("-", "")
        # Known in part only: no DICOM date.
        return digits.encode() if len(digits) == 8 else b""

    def _number(self, value: int, vr: str, encode: Encoder) -> bytes:
        return struct.pack("<H", value)


def _constant(encoded: bytes) -> Write:
    return lambda row, encode: encoded


_DIFFERENCE = f"({LOCAL_START} - (step.starts_at AT TIME ZONE 'UTC'))"
#: Timezone Offset From UTC (0008,0201) of the times returned with it; never empty.
_OFFSET = Attribute(
    "SH",
    f"CASE WHEN {_DIFFERENCE} < interval '0' THEN '-' ELSE '+' END"
    f" || to_char(greatest({_DIFFERENCE}, -{_DIFFERENCE}), 'HH24MI')",
)

_FINISH: dict[str, Callable[[Answers, Any, str, Encoder], bytes]] = {
    "PN": Answers._name,
    "DA": Answers._date,
    "US": Answers._number,
    "LT": Answers._lines,
    "UT": Answers._lines,
}
