"""The HL7 conformance statement, written from the tables the engine works by and from the tests that show each row."""

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from interfaces.hl7 import ack, er7, mllp, receiver
from interfaces.hl7.inbound import READERS
from interfaces.hl7.profile import CHOICES

_ROW = re.compile(r"\b[A-Z]{2,4}[0-9]?-(?:[0-9]{1,2}|[A-I])\b")
_RANGE = re.compile(r"\b([A-Z]{2,4}[0-9]?)-([0-9]{2}) to \1-([0-9]{2})\b")
_TEST = re.compile(r"^(?:    )?def (test_\w+)", re.MULTILINE)

_SENT = (
    ("orders", "RAD-3 to the placer (ORM^O01, OMG^O19), RAD-4 and RAD-13 (ORM^O01 with ZDS, OMI^O23 with IPC), RAD-12 "
               "(ADT) where the profile asks"),
    ("results", "RAD-28 and RAD-128 (ORU^R01), MDM^T02, T06, T10, T11"),
    ("schedule", "RAD-48 (SIU^S12, S13, S14, S15, S26)"),
    ("charges", "RAD-35 (DFT^P03)"),
)  # fmt: skip


def shown_by(tests: Path) -> dict[str, list[str]]:
    """The rows named in each test's text, or in its file's own docstring: {row: ["tests/x/test_y.py::test_z"]}."""
    found: dict[str, list[str]] = {}
    for path in sorted(tests.rglob("test_*.py")):
        text = path.read_text()
        starts = [(one.start(), one.group(1)) for one in _TEST.finditer(text)]
        ends = [start for start, _ in starts[1:]] + [len(text)]
        name = str(path.relative_to(tests.parent))
        for (start, test), end in zip(starts, ends, strict=True):
            # The decorators before a test are its table of cases.
            head = text.rfind("\n\n\n", 0, start)
            for row in _rows(text[max(head, 0) : end]):
                found.setdefault(row, []).append(f"{name}::{test}")
        for row in _rows(text[: text.find('"""', 3)]):
            found.setdefault(row, []).append(name)
    return found


def _rows(text: str) -> list[str]:
    ranges = (
        f"{kind}-{number:02d}"
        for kind, first, last in _RANGE.findall(text)
        for number in range(int(first), int(last) + 1)
    )
    return sorted({*_ROW.findall(text), *ranges})


def conformance_statement(rows: Path, shown: dict[str, list[str]]) -> str:
    """Markdown. `rows` is the list of requirements, a line each: row, what."""
    return "\n".join([*_statement(), *_table(rows, shown)]) + "\n"


def _statement() -> Iterator[str]:
    yield f"""# HL7 v2 conformance statement of Lightbox RIS

Written by `manage.py hl7_conformance` from the tables the engine works by; a test compares the two. What one partner is
sent, field by field and with samples, stands on its page under Admin, Partners, Interface contract.

## Transport and answers

* MLLP on one port; over TLS 1.2 or newer on another. A message has at most {mllp.MAX_MESSAGE // 1024 // 1024} MB.
* Versions {", ".join(sorted(receiver.VERSIONS))} are read alike; what we send is 2.3.1 to 2.5.1 by partner.
* Character sets (MSH-18): {", ".join(er7.CHARSETS)}.
* Original mode: one answer, after the bytes are stored and their effect is committed. Enhanced mode where MSH-15 or
  MSH-16 ask for it. The same bytes under the same MSH-10 get the stored answer.

| Code | Table 0357 |
|---|---|"""
    for code, text in ack.CODES.items():
        yield f"| {code} | {text} |"
    yield "\n## Taken\n\n| Message | What it does |\n|---|---|"
    for kind, read in sorted(READERS.items()):
        yield f"| {kind} | {_sentence(read)} |"
    yield "\n## Sent\n\n| Facts | Messages |\n|---|---|"
    for group, text in _SENT:
        yield f"| {group} | {text} |"
    yield "\n## Choices of a partner's profile\n\n| Key | Values | Usual | Meaning |\n|---|---|---|---|"
    for key, choice in CHOICES.items():
        yield f"| {key} | {', '.join(choice.values) or 'text'} | {choice.default or '–'} | {choice.meaning} |"


def _sentence(read: Callable[..., object]) -> str:
    return " ".join((read.__doc__ or "").split()).split(". ")[0].rstrip(".").replace("|", "\\|")


def _table(rows: Path, shown: dict[str, list[str]]) -> Iterator[str]:
    with rows.open(newline="") as lines:
        table = [(line["row"], line["what"]) for line in csv.DictReader(lines)]
    built = [(row, what) for row, what in table if shown.get(row)]
    yield "\n## Row by row\n\nEach requirement with tests that show it (at most three)."
    yield "\n| Row | What | Shown by |\n|---|---|---|"
    for row, what in built:
        tests = "<br>".join(f"`{one}`" for one in shown[row][:3])
        yield f"| {row} | {what} | {tests} |"
    yield "\n## Not shown by a test\n\nNot built, or not yet shown.\n\n| Row | What |\n|---|---|"
    for row, what in table:
        if not shown.get(row):
            yield f"| {row} | {what} |"
