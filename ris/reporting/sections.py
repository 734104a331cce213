"""The text of a report: sections under LOINC headings (CID 7001)."""

import re
from collections.abc import Iterable, Sequence
from typing import TypedDict

from ris.core.errors import BadValue


class Section(TypedDict):
    code: str
    title: str
    text: str


CLINICAL = ("55752-0", "Clinical information")
TECHNIQUE = ("55111-9", "Technique")
COMPARISON = ("18834-2", "Comparison")
FINDINGS = ("59776-5", "Findings")
IMPRESSION = ("19005-8", "Impression")
ADDENDUM = ("55107-7", "Addendum")

STANDARD = [CLINICAL, TECHNIQUE, COMPARISON, FINDINGS, IMPRESSION]

#: A field of a template that has to be filled or cleared before signing: [stones: none / describe].
OPEN_FIELD = re.compile(r"\[[^\[\]\n]{1,80}\]")

_LONGEST = 100_000


def section(heading: tuple[str, str], text: str = "") -> Section:
    code, title = heading
    return {"code": code, "title": title, "text": text}


def checked(sections: Iterable[Section]) -> list[Section]:
    """The sections with line ends and control characters made plain. Raises BadValue when they are too long."""
    result: list[Section] = []
    for one in sections:
        text = one["text"].replace("\r\n", "\n").replace("\r", "\n")
        text = "".join(ch for ch in text if ch in "\n\t" or ord(ch) >= 32)
        if len(text) > _LONGEST:
            raise BadValue(f"{one['title']} is longer than {_LONGEST:,} characters.", location=one["code"])
        result.append({"code": str(one["code"])[:20], "title": str(one["title"])[:60], "text": text.rstrip()})
    return result


def plain_text(sections: Sequence[Section]) -> str:
    """The canonical text: heading, text, empty line; empty sections are left out."""
    return "\n\n".join(f"{one['title'].upper()}\n{one['text']}" for one in sections if one["text"].strip())


def open_fields(sections: Iterable[Section]) -> list[tuple[str, str]]:
    """(section title, field) of each field still open."""
    return [(one["title"], found) for one in sections for found in OPEN_FIELD.findall(one["text"])]


def text_of(sections: Iterable[Section], heading: tuple[str, str]) -> str:
    return next((one["text"] for one in sections if one["code"] == heading[0]), "")


_ROW = re.compile(r"([A-Z][A-Za-z ,/&()-]{1,30}):[ \t]*(.*)")


def rows(text: str) -> list[tuple[str, str]]:
    """(organ, words) of a text written organ by organ, a line each; [] when it is not.

    A line without an organ goes on with the row before it.
    """
    found: list[tuple[str, str]] = []
    for line in text.split("\n"):
        match = _ROW.fullmatch(line)
        if match:
            found.append((match[1], match[2]))
        elif found:
            label, words = found[-1]
            found[-1] = (label, f"{words}\n{line}".strip())
        else:
            found.append(("", line))
    return found if sum(1 for label, _ in found if label) >= 3 else []


def from_rows(found: Iterable[tuple[str, str]]) -> str:
    """The text of `rows` again; a row without words is left out."""
    lines = [
        f"{label}: {words.strip()}" if label else words.strip() for label, words in found if words.strip()
    ]
    return "\n".join(lines)
