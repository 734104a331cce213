"""A partner's own words and ours, by the code maps that people keep for it. A word that no map has is left as it is.

Read once for each endpoint object, so once for a message.
"""

from collections.abc import Iterable

from django.db.models import prefetch_related_objects

from interfaces.models import CodeMap, CodeTable, Endpoint


def ours(endpoint: Endpoint, table: CodeTable, theirs: str) -> str:
    """What we call it."""
    word = theirs.strip().upper()
    return next((one.ours for one in _rows(endpoint, table) if one.theirs.upper() == word), theirs)


def theirs(endpoint: Endpoint, table: CodeTable, ours: str) -> str:
    """What the partner calls it; the first in the alphabet where it has several words."""
    return next((one.theirs for one in _rows(endpoint, table) if one.ours == ours), ours)


def has(endpoint: Endpoint, table: CodeTable) -> bool:
    """Whether the partner's words of this table are listed at all."""
    return any(_rows(endpoint, table))


def _rows(endpoint: Endpoint, table: CodeTable) -> Iterable[CodeMap]:
    prefetch_related_objects([endpoint], "code_maps")
    return (one for one in endpoint.code_maps.all() if one.table == table)
