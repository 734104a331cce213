"""Reads and writes ER7, the `|^~\\&` encoding of HL7 v2 (HL7 2.5.1 2.5, 2.7).

The reader loses nothing, knows no grammar and costs time linear in the message. hl7apy takes 25 ms for an
ORM and drops segments it does not expect; it is kept for names and for building hints (`names.py`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from interfaces.hl7 import charsets
from interfaces.hl7.charsets import CHARSETS as CHARSETS
from interfaces.hl7.charsets import header_line as header_line
from ris.core.errors import BadValue, RisError

MAX_SEGMENTS = 5_000
MAX_REPETITIONS = 1_000
MAX_COMPONENTS = 500
MAX_FIELD = 20 * 1024 * 1024
#: HL7's way to say "delete what you have"; an empty field says "leave it" (2.5.1 2.5.3.3).
DELETE = '""'


class Unreadable(RisError):
    """These bytes are no HL7 message: nothing in them can be acted on."""

    code = "unreadable"


class BadSegment(BadValue):
    """A segment is malformed or out of place (table 0357, 100)."""

    code = "segment_sequence"


@dataclass(frozen=True, slots=True)
class Separators:
    """MSH-1 and MSH-2 as the sender chose them."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    sub: str = "&"

    @property
    def plain(self) -> bool:
        return self == STANDARD


STANDARD = Separators()

#: Segments that name their own separators.
_HEADERS = ("MSH", "BHS", "FHS")


def separators_of(header: str) -> Separators:
    """Read MSH-1 and MSH-2. Raises Unreadable when they are missing, equal or letters."""
    if header[:3] in ("FHS", "BHS"):
        raise Unreadable("A batch was sent (FHS or BHS); send each message in a frame of its own.")
    if not header.startswith("MSH") or len(header) < 5:
        raise Unreadable("The message does not begin with an MSH segment.")
    field = header[3]
    marks = header[4:].split(field, 1)[0]
    given = field + marks[:4]
    if (
        len(marks) < 2
        or len(set(given)) != len(given)
        or any(mark.isalnum() or mark.isspace() for mark in given)
    ):
        raise Unreadable("MSH-1 and MSH-2 do not name usable separators.")
    component, repetition = marks[0], marks[1]
    escape = marks[2] if len(marks) > 2 else ""
    sub = marks[3] if len(marks) > 3 else ""
    return Separators(field, component, repetition, escape, sub)


class Segment:
    """One segment; fields are split when they are asked for."""

    __slots__ = ("_fields", "index", "name", "separators")

    def __init__(self, line: str, separators: Separators, index: int) -> None:
        fields = line.split(separators.field)
        self.name = fields[0].upper()
        if self.name in _HEADERS:
            # MSH-1 is the separator itself, so every later field moves up by one.
            fields.insert(1, separators.field)
        self._fields = fields
        self.separators = separators
        #: Which segment of this name it is, from 1: ERR-2.2 counts so.
        self.index = index

    def __len__(self) -> int:
        return len(self._fields) - 1

    def location(self, field: int, component: int = 0) -> str:
        """ "PID-7", or "OBR[2]-4.1" for the second OBR."""
        name = self.name if self.index == 1 else f"{self.name}[{self.index}]"
        return f"{name}-{field}.{component}" if component else f"{name}-{field}"

    def raw(self, field: int) -> str:
        """The field as sent, escapes and separators included."""
        return self._fields[field] if field < len(self._fields) else ""

    def repetitions(self, field: int) -> list["Repetition"]:
        raw = self.raw(field)
        if not raw:
            return []
        separators = self.separators
        if self.name in _HEADERS and field <= 2:
            return [Repetition(raw, Separators("", "", "", "", ""), self, field)]
        if separators.repetition not in raw:
            return [Repetition(raw, separators, self, field)]
        if raw.count(separators.repetition) >= MAX_REPETITIONS:
            raise BadValue(
                f"This field repeats more than {MAX_REPETITIONS} times.", location=self.location(field)
            )
        return [Repetition(part, separators, self, field) for part in raw.split(separators.repetition)]

    def first(self, field: int) -> "Repetition":
        """The first repetition; an empty one when the field is empty."""
        found = self.repetitions(field)
        return found[0] if found else Repetition("", self.separators, self, field)

    def get(self, field: int, component: int = 1, sub: int = 1) -> str:
        raw = self._fields[field] if field < len(self._fields) else ""
        if not raw:
            return ""
        marks = self.separators
        if component == sub == 1 and not (
            marks.component in raw or marks.repetition in raw or (marks.escape or "\0") in raw
            or (marks.sub or "\0") in raw
        ):  # fmt: skip
            # Most fields are one plain value.
            return "" if raw == DELETE else raw.strip()
        return self.first(field).get(component, sub)

    def restated(self, field: int) -> str:
        """The raw field with the standard separators, for echoing it in an answer: nothing that could end a frame."""
        raw = printable(self.raw(field))
        if self.separators.plain or not raw:
            return raw
        return "~".join(
            "^".join("&".join(encode(sub) for sub in part) for part in repetition.parts())
            for repetition in self.repetitions(field)
        )


class Repetition:
    """One repetition of a field: components and subcomponents, unescaped when read."""

    __slots__ = ("_components", "_field", "_segment", "raw", "separators")

    def __init__(self, raw: str, separators: Separators, segment: Segment, field: int) -> None:
        self.raw = raw
        self.separators = separators
        self._segment = segment
        self._field = field
        self._components: list[str] | None = None

    @property
    def location(self) -> str:
        return self._segment.location(self._field)

    def part(self, raw: str) -> "Repetition":
        """A piece of this one, read as a repetition of its own."""
        return Repetition(raw, self.separators, self._segment, self._field)

    def __bool__(self) -> bool:
        return bool(self.raw)

    @property
    def is_delete(self) -> bool:
        return self.raw == DELETE

    def deletes(self, component: int) -> bool:
        """The sender says `""` for this component alone."""
        return self._split()[component - 1 : component] == [DELETE]

    def _split(self) -> list[str]:
        if self._components is None:
            mark = self.separators.component
            if not mark:
                self._components = [self.raw]
            elif self.raw.count(mark) >= MAX_COMPONENTS:
                raise BadValue(
                    f"This field has more than {MAX_COMPONENTS} components.", location=self.location
                )
            else:
                self._components = self.raw.split(mark)
        return self._components

    def get(self, component: int = 1, sub: int = 1) -> str:
        """The value, unescaped and trimmed; "" when absent. `""` (delete) reads as ""."""
        value = self.untrimmed(component, sub)
        return "" if value == DELETE else value.strip()

    def untrimmed(self, component: int = 1, sub: int = 1) -> str:
        components = self._split()
        if component > len(components):
            return ""
        value = components[component - 1]
        mark = self.separators.sub
        if mark and mark in value:
            if value.count(mark) >= MAX_COMPONENTS:
                raise BadValue(f"This field has more than {MAX_COMPONENTS} parts.", location=self.location)
            subs = value.split(mark)
            value = subs[sub - 1] if sub <= len(subs) else ""
        elif sub > 1:
            return ""
        return decode(value, self.separators)

    def parts(self) -> list[list[str]]:
        mark = self.separators.sub
        return [
            [decode(sub, self.separators) for sub in (component.split(mark) if mark else [component])]
            for component in self._split()
        ]

    def text(self) -> str:
        """The whole repetition as one text, for TX/FT/ST fields where `^` was left unescaped."""
        return decode(self.raw, self.separators).strip()


def _has_wide_field(line: str) -> bool:
    return len(line) > MAX_FIELD and max(map(len, line.split(line[3:4] or "|"))) > MAX_FIELD


class Message:
    """The segments of one message, in order."""

    __slots__ = ("_named", "segments", "separators")

    def __init__(self, text: str) -> None:
        text = text.removeprefix("\ufeff").strip("\x0b\x1c\r\n ")
        # A regular expression takes fifty times as long over a document in OBX-5.
        lines = [line for line in text.replace("\n", "\r").split("\r") if line and not line.isspace()]
        if not lines:
            raise Unreadable("The frame is empty.")
        self.separators = separators_of(lines[0])
        if len(lines) > MAX_SEGMENTS:
            raise Unreadable(f"The message has more than {MAX_SEGMENTS} segments.")
        if len(text) > MAX_FIELD and (wide := next(filter(_has_wide_field, lines), None)):
            raise Unreadable(f"A field of {wide[:3]} is larger than {MAX_FIELD // 1024 // 1024} MB.")
        self._named: dict[str, list[Segment]] = {}
        self.segments: list[Segment] = []
        for line in lines:
            segment = Segment(line, self.separators, 1)
            alike = self._named.setdefault(segment.name, [])
            alike.append(segment)
            segment.index = len(alike)
            self.segments.append(segment)

    @property
    def header(self) -> Segment:
        return self.segments[0]

    def check_shape(self) -> None:
        """Refuse what a broken line end leaves behind: half of a field that became a "segment".

        Raises BadSegment. A short report or a second MSH in one frame must not pass (MLLP-17).
        """
        if len(self._named["MSH"]) == 1 and all(map(_SEGMENT_NAME.fullmatch, self._named)):
            return
        for position, segment in enumerate(self.segments, 1):
            if not _SEGMENT_NAME.fullmatch(segment.name):
                raise BadSegment(
                    f"Line {position} does not begin with a segment name; a line end inside a field must be "
                    "sent as \\.br\\ or \\X0D\\.",
                    location=f"{self.segments[position - 2].name}-1" if position > 1 else "MSH-1",
                )
            if position > 1 and segment.name == "MSH":
                raise BadSegment("The frame holds more than one message.", location=segment.location(1))

    def all(self, name: str) -> list[Segment]:
        return list(self._named.get(name, ()))

    def find(self, name: str) -> Segment | None:
        alike = self._named.get(name)
        return alike[0] if alike else None

    def get(self, path: str) -> str:
        """ "PID-5.1", "OBR-4", "PID-3[2].4.1": the value in the first segment of that name, or ""."""
        name, field, repetition, component, sub = _path(path)
        segment = self.find(name)
        if segment is None:
            return ""
        if repetition == 1:
            return segment.get(field, component, sub)
        found = segment.repetitions(field)
        return found[repetition - 1].get(component, sub) if repetition <= len(found) else ""


_SEGMENT_NAME = re.compile(r"[A-Z][A-Z0-9]{2}")
_PATH = re.compile(r"([A-Z][A-Z0-9]{2})-(\d+)(?:\[(\d+)\])?(?:\.(\d+))?(?:\.(\d+))?")


@lru_cache(maxsize=512)
def _path(path: str) -> tuple[str, int, int, int, int]:
    match = _PATH.fullmatch(path)
    if match is None:
        raise ValueError(f"{path!r} is no HL7 path")
    name, field, repetition, component, sub = match.groups()
    return name, int(field), int(repetition or 1), int(component or 1), int(sub or 1)


def read(raw: bytes, default: str = charsets.UTF_8) -> Message:
    """Bytes of one frame to segments. Raises Unreadable, BadValue or BadSegment."""
    return Message(charsets.decode(raw, default))


# Escape sequences (2.5.1 2.7)


def decode(value: str, separators: Separators = STANDARD) -> str:
    """Undo escapes. Formatting commands become line breaks or spaces; an unknown escape stays as sent."""
    if not separators.escape or separators.escape not in value:
        return value
    pattern, simple = _escapes(separators)
    mark = separators.escape

    def meaning(code: str) -> str:
        known = simple.get(code)
        return known if known is not None else _meaning(code, f"{mark}{code}{mark}")

    pieces = value.split(mark)
    if len(pieces) % 2 == 0:
        # The last mark begins nothing.
        tail = pieces.pop()
        pieces[-1] = f"{pieces[-1]}{mark}{tail}"
    codes = pieces[1::2]
    if "" in codes:
        # Two marks with nothing between them: the second may begin a code.
        return pattern.sub(lambda found: meaning(found.group(1)), value)
    meanings = {code: meaning(code) for code in set(codes)}
    pieces[1::2] = [meanings[code] for code in codes]
    return "".join(pieces)


@lru_cache(maxsize=16)
def _escapes(separators: Separators) -> tuple[re.Pattern[str], dict[str, str]]:
    mark = re.escape(separators.escape)
    simple = {
        "F": separators.field,
        "S": separators.component,
        "T": separators.sub or "&",
        "R": separators.repetition,
        "E": separators.escape,
        "H": "",
        "N": "",
        ".br": "\n",
    }
    return re.compile(f"{mark}([^{mark}]+){mark}"), simple


_COMMAND = re.compile(r"\.(br|sp|in|ti|fi|nf|ce|sk)\s*([+-]?\d{0,4})", re.IGNORECASE)


def _meaning(code: str, sent: str) -> str:
    if code[0] == "X" and len(code) > 1 and len(code) % 2 == 1:
        try:
            data = bytes.fromhex(code[1:])
        except ValueError:
            return sent
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = data.decode("iso-8859-1")
        return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    command = _COMMAND.fullmatch(code)
    if command is None:
        return sent
    kind, count = command.group(1).lower(), command.group(2)
    if kind in ("br", "ce"):
        return "\n"
    if kind == "sp":
        return "\n" * min(int(count or 1), 100)
    if kind in ("sk", "in", "ti"):
        return " " * min(abs(int(count or 1)), 100)
    return ""


_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


def printable(value: str) -> str:
    """Without control characters."""
    return _CONTROLS.sub("", value)


_ENCODE = str.maketrans(
    {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\n": "\\.br\\"}
)
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def encode(value: str) -> str:
    """Escape a value for sending. No value can end its field, its segment or the frame."""
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    return _NOT_TEXT.sub("", value).translate(_ENCODE)


#: A field to send: a plain value, components, or components with subcomponents.
Value: TypeAlias = str | Sequence[str | Sequence[str]]


def field(value: Value) -> str:
    """Encode one repetition of a field; trailing empty components are not sent."""
    if isinstance(value, str):
        return encode(value)
    components = [
        encode(part) if isinstance(part, str) else "&".join(map(encode, part)).rstrip("&") for part in value
    ]
    return "^".join(components).rstrip("^")


@dataclass(frozen=True, slots=True)
class Raw:
    """A field already in ER7: repetitions joined, or an identifier kept exactly as it was received."""

    text: str


def repeat(values: Iterable[Value]) -> Raw:
    return Raw("~".join(field(value) for value in values))


def segment(name: str, fields: Mapping[int, Value | Raw]) -> str:
    """One segment from {position: field}; positions not given are empty, trailing ones are not sent."""
    last = max(fields, default=0)
    out = [name]
    for position in range(1, last + 1):
        value = fields.get(position, "")
        out.append(value.text if isinstance(value, Raw) else field(value))
    return "|".join(out).rstrip("|")


def header(fields: Mapping[int, Value | Raw]) -> str:
    """MSH with the standard separators; positions as in the standard, from 3."""
    return segment("MSH", {1: Raw("^~\\&"), **{position - 1: value for position, value in fields.items()}})


def write(segments: Iterable[str]) -> bytes:
    """Segments to the bytes of a message, UTF-8 (the header says so when it matters)."""
    return "".join(line + "\r" for line in segments).encode()
