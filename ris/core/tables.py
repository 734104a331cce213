"""Tables as CSV that a spreadsheet opens without running anything in them."""

import csv
import io
from collections.abc import Iterable, Sequence

#: A cell that begins so is a formula to a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def guarded(value: object) -> str:
    """The cell as text; what would be a formula gets an apostrophe before it."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def unguarded(text: str) -> str:
    """What `guarded` was given, when a table comes back."""
    return text[1:] if text[:1] == "'" and text[1:].startswith(_FORMULA) else text


def as_csv(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """UTF-8 with a mark that tells spreadsheets so (RFC 4180)."""
    target = io.StringIO()
    writer = csv.writer(target)
    writer.writerow(header)
    writer.writerows([guarded(cell) for cell in row] for row in rows)
    return f"\ufeff{target.getvalue()}"
