"""What can get stuck: each app says of its own records what is expected next, by when, and what puts it right.

`ris.desk` shows all of it on one page; an app adds to it by a module `stuck.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Fix:
    """What a person can do about it with one click: go to a page, or act at once."""

    word: str
    url: str
    #: POST to `url`; else it is a link.
    acts: bool = False
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Stuck:
    """One record that waits for its next event."""

    id: int
    order: int | None
    since: datetime
    #: What the kind's statement says of it.
    detail: dict[str, Any]
    accession: str = ""


@dataclass(frozen=True)
class Minutes:
    """How long may pass until it is late, by the order's priority."""

    routine: int
    urgent: int
    stat: int


@dataclass(frozen=True)
class Kind:
    """One way to be stuck.

    `sql` gives the columns id, order_id, facility_id, since, detail (jsonb) of what waits; it may name %(now)s, and
    %(before)s, before which it has to wait for the shortest of all deadlines to have passed.
    """

    name: str
    word: str
    #: The event that is expected next, as people say it: "a time".
    expected: str
    #: Who puts it right: the right that `fix` takes.
    right: str
    within: Minutes
    sql: str
    words: Callable[[Stuck], str]
    fix: Callable[[Stuck], Fix]
    #: Only the hours count in which the facility is open.
    in_hours: bool = False
    #: Fills in `detail` of all rows at once, where one statement cannot say it.
    prepare: Callable[[list[Stuck], datetime], None] | None = None


_kinds: dict[str, Kind] = {}


def watched(*kinds: Kind) -> None:
    """Have these kinds looked for."""
    for kind in kinds:
        if _kinds.get(kind.name, kind) != kind:
            raise ValueError(f"two kinds of being stuck are called {kind.name}")
        _kinds[kind.name] = kind


def kinds() -> Mapping[str, Kind]:
    """All kinds, in the order of the workflow."""
    return _kinds
