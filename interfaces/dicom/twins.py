"""What machines show of themselves, gathered in memory beside the answers and written every few seconds.

A note costs some dictionary work; reading identifiers and writing rows is done by `twin_actions` in a thread. What a
killed process had gathered is lost, and learned again with the next association.
"""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from interfaces.dicom.pdu import AssociateRequest

_FLUSH_SECONDS = 5.0
#: Implementation Version Name of our own tries: they are no machine's news.
OURSELVES = "LIGHTBOX_SELF"
#: More machines than any department has: what a flood of invented titles can take.
_MOST = 500


@dataclass
class News:
    """What was seen of one machine since the last writing."""

    ae_title: str
    first_at: datetime
    last_at: datetime
    address: str = ""
    tls: bool = False
    proposal: AssociateRequest | None = None
    accepted: frozenset[str] = frozenset()
    #: The newest query, and the newest that found anything to say about keys: (identifier, explicit).
    query: tuple[bytes, bool] | None = None
    matches: int = 0
    query_ms: float = 0.0
    query_at: datetime | None = None
    step_at: datetime | None = None
    echo_at: datetime | None = None
    refused_because: str = ""
    refused_at: datetime | None = None
    #: By (day, hour): [heard, associations, queries, matches, steps, refused]
    counts: dict[tuple[datetime, int], list[int]] = field(default_factory=dict)


_HEARD, _ASSOCIATIONS, _QUERIES, _MATCHES, _STEPS, _REFUSED = range(6)


class Twins:
    """Of this process; used by its event loop alone."""

    def __init__(self) -> None:
        self._news: dict[str, News] = {}
        # The first news is written at once.
        self._taken_at = float("-inf")

    def _of(self, title: str, address: str) -> News | None:
        now = datetime.now(UTC)
        news = self._news.get(title)
        if news is None:
            if len(self._news) >= _MOST or not title:
                return None
            news = self._news[title] = News(title, now, now)
        news.last_at = now
        news.address = address or news.address
        return news

    @staticmethod
    def _count(news: News, column: int, by: int = 1, *, heard: bool = True) -> None:
        at = news.last_at
        hour = (at.replace(hour=0, minute=0, second=0, microsecond=0), at.hour)
        counts = news.counts.setdefault(hour, [0] * 6)
        counts[column] += by
        counts[_HEARD] += heard

    def associated(
        self, request: AssociateRequest, address: str, *, tls: bool, accepted: frozenset[str]
    ) -> None:
        news = self._of(request.calling, address)
        if news is not None:
            news.proposal, news.accepted, news.tls = request, accepted, tls
            self._count(news, _ASSOCIATIONS)

    def refused(self, request: AssociateRequest, address: str, why: str) -> None:
        news = self._of(request.calling, address)
        if news is not None:
            news.refused_at, news.refused_because = news.last_at, why
            news.proposal = news.proposal or request
            self._count(news, _REFUSED, heard=False)

    def queried(
        self, title: str, address: str, identifier: bytes, *, explicit: bool, matches: int, ms: float
    ) -> None:
        news = self._of(title, address)
        if news is not None:
            news.query, news.matches, news.query_ms, news.query_at = (
                (identifier, explicit), matches, ms, news.last_at,
            )  # fmt: skip
            self._count(news, _QUERIES, heard=False)
            self._count(news, _MATCHES, matches, heard=False)

    def reported(self, title: str, address: str) -> None:
        """A performed procedure step was created or set."""
        news = self._of(title, address)
        if news is not None:
            news.step_at = news.last_at
            self._count(news, _STEPS)

    def echoed(self, title: str, address: str) -> None:
        news = self._of(title, address)
        if news is not None:
            news.echo_at = news.last_at

    def answering(self, title: str, host: str, port: int) -> None:
        """We ourselves, and where: the pages try our services there."""
        self._of(title, f"{host}:{port}")

    def due(self, *, all_of_it: bool = False) -> list[News]:
        """What is to be written now; it is then the caller's."""
        if not self._news or not (all_of_it or time.monotonic() - self._taken_at >= _FLUSH_SECONDS):
            return []
        self._taken_at = time.monotonic()
        taken, self._news = list(self._news.values()), {}
        return taken
