"""Rows of the worklist into data sets: only what was asked for, in the caller's character set.

Our own bytes, because an answer of 50 items must not cost pydicom's 100 ms.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from interfaces.dicom.attributes import COMPONENT, GROUP, LOCAL_START, STEP_SEQUENCE, WORKLIST, Attribute
from interfaces.dicom.charsets import Encoder
from interfaces.dicom.elements import (
    NEXT_ITEM,
    SEQUENCE_END,
    SPECIFIC_CHARACTER_SET,
    DataSet,
    element,
    sequence_start,
    vr_of,
)
from interfaces.dicom.matching import is_key
from interfaces.dicom.profiles import PLAIN_MANNER, Manner
from ris.department.models import Offset

#: The values of one step, parted by U+001E.
Row = str
SEPARATOR = "\x1e"

_TIMEZONE_OFFSET = 0x00080201
_OTHER_PATIENT_IDS = 0x00101002

#: Most characters of a value (PS3.5 table 6.2-1); PN: of a component group.
_LIMITS = {
    "AE": 16,
    "CS": 16,
    "DA": 8,
    "DS": 16,
    "LO": 64,
    "LT": 10240,
    "PN": 64,
    "SH": 16,
    "TM": 14,
    "UI": 64,
    "UT": 10240,
}
#: What a machine shows to people, and may cut; of the same VRs, the numbers that must come as they are.
_TEXTS = frozenset({"LO", "LT", "PN", "UT"})
_NUMBERS = frozenset({0x00100020, 0x00100021, 0x00380010, 0x00400031, 0x00402016, 0x00402017})
_CONTROLS = {code: " " for code in (*range(32), 127)}
#: A backslash would part the value in two; no letter of it may.
_ONE_LINE = str.maketrans({**_CONTROLS, "\\": "/"})
_NAME_PART = str.maketrans({**_CONTROLS, "\\": " ", "^": " ", "=": " "})
#: The other groups come as they are written in DICOM, with their own carets.
_NAME_GROUP = str.maketrans({**_CONTROLS, "\\": " ", "=": " "})
#: What asks for a closer look: delimiters and controls, but for the two that part values and components.
_UNUSUAL = re.compile(r"[\x00-\x1d\x7f\\^=]")
_MANY_LINES = {code: " " for code in range(32) if chr(code) not in "\r\n\t\f"}
#: The longest text that is written without a closer look.
_SHORT = 64

_DIFFERENCE = f"({LOCAL_START} - (step.starts_at AT TIME ZONE 'UTC'))"
#: Timezone Offset From UTC (0008,0201) of the times returned with it; never empty.
OFFSET = Attribute(
    "SH",
    f"CASE WHEN {_DIFFERENCE} < interval '0' THEN '-' ELSE '+' END"
    f" || to_char(greatest({_DIFFERENCE}, -{_DIFFERENCE}), 'HH24MI')",
)


@dataclass(frozen=True, slots=True)
class _Value:
    """An attribute and the column of its value; None: the record holds nothing for it."""

    tag: int
    vr: str
    column: int | None
    many: bool = False
    #: Most characters; of a name: of each of its component groups.
    limit: int = 64
    capitals: bool = False


@dataclass(frozen=True, slots=True)
class _Item:
    """A sequence of one item, or of none where nothing is known of it: a code without its value is no code."""

    tag: int
    inside: "tuple[_Value | _Item, ...]"


class _Heads(dict[int, tuple[str, str]]):
    """What stands before and after a value of so many characters, as one string of bytes each (Latin-1)."""

    def __init__(self, before: bytes, value: _Value, *, explicit: bool, optional: bool) -> None:
        super().__init__()
        self._before, self._value, self._explicit, self._optional = before, value, explicit, optional

    def __missing__(self, length: int) -> tuple[str, str]:
        """Raises LookupError for what needs a closer look: long, or empty where an item may have to go."""
        if length > min(_SHORT, self._value.limit) or self._value.capitals or (self._optional and not length):
            raise LookupError
        whole = element(self._value.tag, self._value.vr, b"\0" * length, explicit=self._explicit)
        start = len(whole) - length - (length & 1)
        pad = "" if not length & 1 else "\0" if self._value.vr == "UI" else " "
        self[length] = ((self._before + whole[:start]).decode("latin-1"), pad)
        return self[length]


class Answers:
    """How to answer identifiers of one shape: the columns to read, and their rows as data sets."""

    def __init__(self, identifier: DataSet, *, explicit: bool, manner: Manner = PLAIN_MANNER) -> None:
        self.columns: list[str] = []
        self.tables: set[str] = set()
        self._explicit = explicit
        self._manner = manner
        if manner.offset == Offset.ALWAYS:
            identifier = {**identifier, _TIMEZONE_OFFSET: ("SH", b"")}
        self._tree = self._level(identifier, WORKLIST)
        # The same, flat: a column, whether it is a name, and what stands around its value; then the rest.
        self._fields: list[tuple[int, bool, _Heads]] = []
        self._rest = self._flatten(self._tree, b"", optional=False).decode("latin-1")

    @classmethod
    def to(cls, identifier: DataSet, *, explicit: bool, manner: Manner = PLAIN_MANNER) -> "Answers":
        """Kept by shape: a machine asks the same way all day."""
        shape = (explicit, manner, _shape(identifier))
        known = _KNOWN.get(shape)
        if known is None:
            if len(_KNOWN) >= _MOST_SHAPES:
                _KNOWN.clear()
            known = _KNOWN[shape] = cls(identifier, explicit=explicit, manner=manner)
        return known

    def _level(self, requested: DataSet, known: Mapping[int, Attribute]) -> tuple[_Value | _Item, ...]:
        found: list[_Value | _Item] = []
        for tag in sorted(requested):
            if is_key(tag):
                vr, keys = requested[tag]
                attribute = known.get(tag) or Attribute(vr if vr != "UN" else vr_of(tag))
                found.append(self._node(tag, attribute, keys))
            elif tag == _TIMEZONE_OFFSET and self._manner.offset != Offset.NEVER:
                found.append(_Value(tag, "SH", self._column(OFFSET)))
        return tuple(found)

    def _node(self, tag: int, attribute: Attribute, keys: bytes | list[DataSet]) -> _Value | _Item:
        if tag in self._manner.withheld:
            return _Value(tag, attribute.vr, None)
        if attribute.vr != "SQ" or attribute.sql:
            column = self._column(attribute) if attribute.sql else None
            limit = _LIMITS.get(attribute.vr, 0)
            if attribute.vr not in _TEXTS or tag in _NUMBERS:
                return _Value(tag, attribute.vr, column, attribute.many, limit)
            limit = min(limit, self._manner.longest_text or limit)
            return _Value(tag, attribute.vr, column, attribute.many, limit, self._manner.capitals)
        item = keys[0] if keys and isinstance(keys, list) else {}
        # An item without keys asks for all of them (PS3.4 C.2.2.2.6).
        if not any(map(is_key, item)):
            item = {key: (inner.vr, b"") for key, inner in attribute.item.items()}
        return _Item(tag, self._level(item, attribute.item))

    def _column(self, attribute: Attribute) -> int:
        self.tables.update(attribute.tables)
        if attribute.sql not in self.columns:
            self.columns.append(attribute.sql)
        return self.columns.index(attribute.sql)

    def _flatten(self, level: tuple[_Value | _Item, ...], before: bytes, *, optional: bool) -> bytes:
        """Add the level's fields; returns the bytes that stand after the last of them."""
        for node in level:
            if isinstance(node, _Item) and _has_column(node):
                before += sequence_start(node.tag, explicit=self._explicit)
                # Of the step something is always known; any other item may have to go.
                optional_item = node.tag != STEP_SEQUENCE
                before = self._flatten(node.inside, before, optional=optional_item) + SEQUENCE_END
            elif isinstance(node, _Item):
                before += element(node.tag, "SQ", b"", explicit=self._explicit)
            elif node.column is None:
                before += element(node.tag, node.vr, b"", explicit=self._explicit)
            else:
                heads = _Heads(before, node, explicit=self._explicit, optional=optional)
                self._fields.append((node.column, node.vr == "PN", heads))
                before = b""
        return before

    # Writing

    @property
    def select(self) -> str:
        """The columns as one text, which costs a third of what reading each by itself does."""
        values = ", ".join(f"coalesce({sql}, '')" for sql in self.columns) or "''"
        return f"concat_ws('{SEPARATOR}', {values})"

    def data_set(self, row: Row, encode: Encoder) -> bytes:
        """The answer for one row; most are short, printable ASCII without delimiters throughout."""
        values = row.split(SEPARATOR)
        if row.isascii() and not _UNUSUAL.search(row):
            try:
                return self._plain(values)
            except LookupError:
                pass
        return self._any(values, encode)

    def _plain(self, values: list[str]) -> bytes:
        pieces = []
        for column, is_name, heads in self._fields:
            value = values[column]
            if is_name:
                value = value.replace(COMPONENT, "^").rstrip("^")
            before, after = heads[len(value)]
            pieces.append(before)
            pieces.append(value)
            pieces.append(after)
        pieces.append(self._rest)
        return "".join(pieces).encode("latin-1")

    def _any(self, values: list[str], encode: Encoder) -> bytes:
        encode.beyond_ascii = False
        body, _ = self._write(self._tree, values, encode)
        if not encode.beyond_ascii:
            return body
        # The lowest tag we return, so it stands first; never empty (PS3.4 table K.6-1).
        return element(SPECIFIC_CHARACTER_SET, "CS", encode.name.encode(), explicit=self._explicit) + body

    def _write(
        self, level: tuple[_Value | _Item, ...], values: list[str], encode: Encoder
    ) -> tuple[bytes, bool]:
        """The encoded level, and whether it says anything."""
        pieces = []
        something = False
        explicit = self._explicit
        for node in level:
            if isinstance(node, _Item):
                inside, known = self._write(node.inside, values, encode)
                whole = sequence_start(node.tag, explicit=explicit) + inside + SEQUENCE_END
                pieces.append(whole if known else element(node.tag, "SQ", b"", explicit=explicit))
            else:
                value = values[node.column] if node.column is not None else ""
                if node.tag == _OTHER_PATIENT_IDS and value:
                    pieces.append(self._other_patient_ids(value, encode))
                    known = True
                else:
                    encoded = _encoded(node, value, encode) if value else b""
                    pieces.append(element(node.tag, node.vr, encoded, explicit=explicit))
                    known = bool(encoded)
            something |= known
        return b"".join(pieces), something

    def _other_patient_ids(self, numbers: str, encode: Encoder) -> bytes:
        explicit = self._explicit
        items = []
        for number in numbers.split(GROUP):
            value, _, authority = number.partition(COMPONENT)
            items.append(
                element(0x00100020, "LO", encode(value.translate(_ONE_LINE)), explicit=explicit)
                + element(0x00100021, "LO", encode(authority.translate(_ONE_LINE)), explicit=explicit)
                + element(0x00100022, "CS", b"TEXT", explicit=explicit)
            )
        return sequence_start(_OTHER_PATIENT_IDS, explicit=explicit) + NEXT_ITEM.join(items) + SEQUENCE_END


def _has_column(item: _Item) -> bool:
    return any(_has_column(one) if isinstance(one, _Item) else one.column is not None for one in item.inside)


def _encoded(node: _Value, value: str, encode: Encoder) -> bytes:
    if node.vr == "US":
        return int(value).to_bytes(2, "little")
    limit = node.limit
    if node.capitals:
        value = value.upper()
    if node.vr in {"LT", "UT"}:
        return encode(_cut(value.translate(_MANY_LINES), limit, encode))
    if node.vr == "PN":
        alphabetic, *others = value.split(GROUP)
        parts = (part.translate(_NAME_PART).strip() for part in alphabetic.split(COMPONENT))
        # A group in a script that the set lacks would be question marks, which no reader can use.
        others = [group if encode.has(group) else "" for group in others]
        groups = ("^".join(parts), *(group.translate(_NAME_GROUP) for group in others))
        return encode(
            "=".join(_cut(group.rstrip("^ "), limit, encode).rstrip("^ ") for group in groups).rstrip("=")
        )
    values = value.split("\\") if node.many else [value]
    cleaned = (one.translate(_ONE_LINE).strip() for one in values)
    return encode("\\".join(_cut(one, limit, encode) for one in cleaned if one))


def _cut(text: str, limit: int, encode: Encoder) -> str:
    if len(text) > limit:
        encode.cut += 1
        return text[:limit].rstrip()
    return text


Shape = tuple[tuple[int, str, "Shape | None"], ...]
_KNOWN: dict[tuple[bool, Manner, Shape], Answers] = {}
_MOST_SHAPES = 200


def _shape(data_set: DataSet) -> Shape:
    return tuple(
        (tag, vr, _shape(value[0]) if value and isinstance(value, list) else None)
        for tag, (vr, value) in data_set.items()
    )
