"""What the fields of a message are called, by hl7apy's tables of each version: for the monitor, never on the way
in or out (hl7apy takes 25 ms a message; its tables take 0.4 s to load, once a version)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import hl7apy
from hl7apy.exceptions import HL7apyException

from interfaces.hl7 import er7
from interfaces.hl7.er7 import Message
from ris.core.errors import RisError

#: More than this of one value is not shown: a PDF is two million letters.
SHOWN = 500

#: Segments that the standard does not have.
_OWN = {"ZDS": {1: ("Study Instance UID", "RP")}}

_ACRONYMS = {"Id": "ID", "Uid": "UID", "Ssn": "SSN", "Pid": "PID", "Obx": "OBX", "Nte": "NTE", "Pv1": "PV1", "Obr": "OBR",
             "Orc": "ORC", "Tq1": "TQ1", "Evn": "EVN"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field for a person to read: "PID-7", "Date time of birth", the text as sent, its parts."""

    location: str
    name: str
    raw: str
    #: (location, name, value) of each component, when there are several.
    parts: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class SegmentRow:
    name: str
    fields: tuple[FieldRow, ...]


def field_name(segment: str, field: int, version: str = "2.5.1") -> str:
    """ "Patient name" for PID-5; "" for a field the version does not have."""
    return _fields(segment, _known(version)).get(field, ("", ""))[0]


def component_name(segment: str, field: int, component: int, version: str = "2.5.1") -> str:
    version = _known(version)
    return _components(_fields(segment, version).get(field, ("", ""))[1], version).get(component, "")


def parsed(raw: bytes, default: str = "UNICODE UTF-8") -> list[SegmentRow]:
    """The message, segment by segment, with names. Raises RisError when it cannot be read."""
    message = er7.read(raw, default)
    version = _known(message.get("MSH-12"))
    return [SegmentRow(segment.name, tuple(_rows(message, number, version))) for number, segment in
            enumerate(message.segments)]  # fmt: skip


def _rows(message: Message, number: int, version: str) -> Iterator[FieldRow]:
    segment = message.segments[number]
    for field in range(1, len(segment) + 1):
        raw = segment.raw(field)
        if not raw:
            continue
        name, data_type = _fields(segment.name, version).get(field, ("", ""))
        for repetition in segment.repetitions(field) or []:
            try:
                components = repetition.parts()
            except RisError:
                components = []
            names = _components(data_type, version)
            parts = tuple(
                (segment.location(field, position), names.get(position, ""), "&".join(values)[:SHOWN])
                for position, values in enumerate(components, 1)
                if any(values)
            )
            shown = repetition.text()[:SHOWN]
            yield FieldRow(segment.location(field), name, shown, parts if len(components) > 1 else ())


@lru_cache(maxsize=64)
def _known(version: str) -> str:
    """The version whose tables are used: the message's own, else 2.5.1."""
    return version if version in hl7apy.SUPPORTED_LIBRARIES else "2.5.1"


@lru_cache(maxsize=1024)
def _fields(segment: str, version: str) -> dict[int, tuple[str, str]]:
    """{position: (name, data type)}"""
    if segment in _OWN:
        return _OWN[segment]
    try:
        structure: Any = hl7apy.load_library(version).SEGMENTS.get(segment)
    except HL7apyException:
        structure = None
    return {} if structure is None else dict(_numbered(structure[1]))


@lru_cache(maxsize=1024)
def _components(data_type: str, version: str) -> dict[int, str]:
    structure: Any = hl7apy.load_library(version).DATATYPES_STRUCTS.get(data_type)
    return {} if structure is None else {position: name for position, (name, _) in _numbered(structure)}


def _numbered(children: Any) -> Iterator[tuple[int, tuple[str, str]]]:
    for name, (_, _, data_type, long_name, *_), *_ in children:
        yield int(name.rpartition("_")[2]), (_words(long_name), data_type or "")


def _words(long_name: str | None) -> str:
    """DATE_TIME_OF_BIRTH: Date time of birth."""
    words = [_ACRONYMS.get(word.capitalize(), word.lower()) for word in (long_name or "").split("_")]
    text = " ".join(words)
    return text[:1].upper() + text[1:]
