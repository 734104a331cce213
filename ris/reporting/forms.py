"""What the reader types: the words of each section under the headings the draft has."""

from collections.abc import Sequence

from django.utils.datastructures import MultiValueDict

from ris.core.errors import BadValue
from ris.reporting.sections import Section, from_rows


def written(sent: MultiValueDict[str, str], headings: Sequence[Section]) -> list[Section]:
    """The draft's sections with the words sent; a section that was not sent keeps its own."""
    return [
        Section(code=one["code"], title=one["title"], text=_words(sent, place, one["text"]))
        for place, one in enumerate(headings)
    ]


def _words(sent: MultiValueDict[str, str], place: int, known: str) -> str:
    if f"text-{place}" in sent:
        return str(sent[f"text-{place}"])
    labels, rows = sent.getlist(f"label-{place}"), sent.getlist(f"row-{place}")
    if rows and len(labels) == len(rows):
        return from_rows(zip(map(str, labels), map(str, rows), strict=True))
    return known


def version_of(sent: MultiValueDict[str, str]) -> int:
    """The version of the text the writer saw; `over` is that of the other text they chose to replace."""
    try:
        return int(str(sent.get("over") or sent["version"]))
    except (LookupError, ValueError):
        raise BadValue("The page did not say which text it holds. Reload it.") from None
