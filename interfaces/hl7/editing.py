"""Copies of messages that a person has changed: the text to edit, and the bytes it becomes."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from interfaces.hl7 import charsets, er7
from ris.core.errors import BadValue

#: A message with a document in it is not edited by hand.
MOST = 200_000


def text_of(raw: bytes, default: str = "UNICODE UTF-8") -> str:
    """One segment a line. Raises BadValue for what no person should edit."""
    if len(raw) > MOST:
        raise BadValue(f"Messages of more than {MOST // 1000} KB are not edited here.")
    return charsets.decode(raw, default).strip("\x0b\x1c\r\n ").replace("\r\n", "\n").replace("\r", "\n")


def raw_of(text: str, default: str = "UNICODE UTF-8") -> bytes:
    """The bytes of an edited text, in the character set its own MSH-18 names.

    Raises BadValue for a letter the set does not have, and Unreadable for a text that is no message.
    """
    lines = [line for line in re.split(r"[\r\n]+", text) if line.strip()]
    joined = "".join(f"{line}\r" for line in lines)
    er7.Message(joined).check_shape()
    return _encode(joined, default)


def _encode(text: str, default: str) -> bytes:
    """In the set that the text's own MSH-18 names; what cannot be read back as it is written is refused."""
    names = charsets.declared(text.encode("utf-8"))
    # Of several sets the Japanese ones switch by escape sequences, which their codec writes for all of them.
    codecs = [charsets.CHARSETS.get(name, "utf-8") for name in names or [default]]
    codec = next((one for one in codecs if one.startswith("iso2022")), codecs[0])
    try:
        raw = text.encode(codec)
        faithful = charsets.decode(raw, default) == text
    except (UnicodeEncodeError, BadValue):
        faithful = False
    if not faithful:
        name = names[0] if names else default
        raise BadValue(
            f"The character set {name} lacks a letter of this text; write it otherwise, or change MSH-18."
        )
    return raw


def with_values(raw: bytes, values: Mapping[tuple[str, int], str], default: str = "UNICODE UTF-8") -> bytes:
    """The same bytes with these fields set, in every segment of the name; a value is already ER7."""
    text = charsets.decode(raw, default)
    separator = er7.separators_of(text.lstrip("\ufeff\x0b\r\n ")).field
    lines = re.split(r"([\r\n]+)", text)
    for place, line in enumerate(lines):
        for (segment, position), value in values.items():
            if line.lstrip("\x0b")[:3].upper() == segment:
                lines[place] = line = _set(line, separator, position - (segment == "MSH"), value)
    return _encode("".join(lines), default)


def _set(line: str, separator: str, position: int, value: str) -> str:
    fields = line.split(separator)
    fields += [""] * (position + 1 - len(fields))
    fields[position] = value
    return separator.join(fields)


@dataclass(frozen=True, slots=True)
class Change:
    """A segment as it was and as it is; one of them is empty when it is new or gone."""

    before: str
    now: str


def changes(before: str, now: str) -> list[Change]:
    """The segments that differ, in order."""
    old, new = before.splitlines(), now.replace("\r\n", "\n").strip("\n").split("\n")
    found: list[Change] = []
    for kind, old_from, old_to, new_from, new_to in difflib.SequenceMatcher(
        a=old, b=new, autojunk=False
    ).get_opcodes():
        if kind == "equal":
            continue
        for number in range(max(old_to - old_from, new_to - new_from)):
            was = old[old_from + number] if old_from + number < old_to else ""
            is_ = new[new_from + number] if new_from + number < new_to else ""
            found.append(Change(was, is_))
    return found
