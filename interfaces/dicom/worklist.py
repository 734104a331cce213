"""Modality Worklist C-FIND (PS3.4 K): keys into one query over the live rows, rows into answers."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from pydicom.datadict import keyword_for_tag

from interfaces.dicom import attributes
from interfaces.dicom.association import Request
from interfaces.dicom.charsets import Decoder, Encoder, UnknownCharacterSet, terms
from interfaces.dicom.database import Away, Database, TookTooLong, fetch_prepared
from interfaces.dicom.datasets import SEPARATOR, Answers, Row
from interfaces.dicom.elements import SPECIFIC_CHARACTER_SET, BadDataSet, DataSet, read
from interfaces.dicom.matching import Criteria, is_key, read_keys
from interfaces.dicom.profiles import UNTOLD, Profile
from interfaces.dicom.standin import Copy, NoCopy
from interfaces.dicom.status import (
    CANCEL,
    IDENTIFIER_DOES_NOT_MATCH,
    OUT_OF_RESOURCES,
    PENDING,
    PENDING_KEY_UNSUPPORTED,
    SUCCESS,
    UNABLE_TO_PROCESS,
    Refused,
)
from interfaces.dicom.trail import Trail

log = logging.getLogger("lightbox.dicom")

SOP_CLASS = "1.2.840.10008.5.1.4.31"
IDENTIFIER_CAP = 262_144
#: More than any machine can show; the rest is told by A700.
MAX_MATCHES = 5000

_FIRST_CHUNK, _CHUNK = 250, 100
#: Between chunks of a long answer: time for a C-CANCEL to arrive before everything has been sent.
_PAUSE_SECONDS = 0.005


@dataclass
class Found:
    """The rows of one query, and how they are told."""

    answers: Answers
    rows: Sequence[Row]
    encode: Encoder
    pending: int
    used: list[int] = field(default_factory=list)
    #: For the final status: how old the answer is, where it came from the copy.
    note: str = ""


class Worklist:
    def __init__(self, database: Database, trail: Trail, copy: Copy) -> None:
        self._database = database
        self._trail = trail
        #: What answers while the database is away.
        self._copy = copy

    async def find(self, request: Request) -> None:
        """Answer a C-FIND: all matches, then the final status (PS3.4 K.4.1.3)."""
        started = time.perf_counter()
        sent = 0
        used: list[int] = []
        status = UNABLE_TO_PROCESS
        try:
            found, messages = await self._search(request)
            used = found.used
            status, sent = await self._send(request, found, messages)
        except Refused as refusal:
            status = refusal.status
            raise
        except TookTooLong:
            status = OUT_OF_RESOURCES
            raise Refused(status, "The search took too long; narrow the query.") from None
        except ConnectionError:
            status = CANCEL
            raise
        finally:
            self._note(request, status, used, sent, time.perf_counter() - started)

    async def _search(self, request: Request) -> tuple[Found, list[bytes]]:
        try:
            return await self._database.read(partial(_search, request, _rows))
        except Away:
            # Not in the pool: its threads may still wait for the database.
            found, messages = await asyncio.to_thread(_search, request, self._copy_rows)
            found.note = self._copy.load().note
            return found, messages

    def _copy_rows(
        self, identifier: DataSet, decode: Decoder, criteria: Criteria, answers: Answers, profile: Profile
    ) -> list[Row]:
        try:
            snapshot = self._copy.load()
        except NoCopy:
            raise Refused(UNABLE_TO_PROCESS, "The RIS is down and has no copy.") from None
        log.warning("worklist answered from a copy %.0f s old", snapshot.age.total_seconds())
        return snapshot.answer(identifier, decode, criteria, answers, profile)

    async def _send(self, request: Request, found: Found, first: list[bytes]) -> tuple[int, int]:
        """Write the answers, all in one piece when they are few. Returns the final status and how many went out."""
        rows = found.rows[:MAX_MATCHES]
        messages, sent = first, len(first)
        while sent < len(rows) and not request.cancelled:
            await request.send(b"".join(messages))
            await asyncio.sleep(_PAUSE_SECONDS)
            chunk = rows[sent : sent + _CHUNK]
            messages = await asyncio.to_thread(_encode, request, found, chunk)
            sent += len(chunk)
        if request.cancelled:
            await request.send(request.head(CANCEL))
            return CANCEL, sent - len(messages)
        if len(found.rows) > MAX_MATCHES:
            final = request.head(
                OUT_OF_RESOURCES, comment=f"More than {MAX_MATCHES} matches; narrow the query."
            )
        else:
            final = request.head(SUCCESS, comment=found.note)
        await request.send(b"".join((*messages, final)))
        return (OUT_OF_RESOURCES if len(found.rows) > MAX_MATCHES else SUCCESS), sent

    def _note(self, request: Request, status: int, used: list[int], sent: int, seconds: float) -> None:
        caller = request.assoc.caller
        self._trail.note(
            "worklist.query",
            source=f"{caller.ae_title if caller else ''} {request.assoc.peer_address}",
            outcome="ok" if status in {SUCCESS, CANCEL} else "refused",
            keys=[keyword_for_tag(tag) or f"{tag:08X}" for tag in used],
            matches=sent,
            status=f"{status:04X}",
            ms=round(seconds * 1000, 1),
        )
        self._trail.twins.queried(
            caller.ae_title if caller and not request.assoc.is_our_own_try else "",
            request.assoc.peer_address, request.data_set,
            explicit=request.context.explicit, matches=sent, ms=round(seconds * 1000, 1),
        )  # fmt: skip


#: The matching rows of an identifier as read, in the order and with the columns of the answers.
Rows = Callable[[DataSet, Decoder, Criteria, Answers, Profile], list[Row]]


def _search(request: Request, matching_rows: Rows) -> tuple[Found, list[bytes]]:
    """Everything up to the first bytes of the answer; runs in a thread."""
    explicit = request.context.explicit
    identifier = _identifier(request, explicit=explicit)
    caller = request.assoc.caller
    profile = caller.profile if caller else UNTOLD
    encode = profile.encoder()
    answers = Answers.to(identifier, explicit=explicit, manner=profile.manner)
    if not any(map(is_key, identifier)):
        # No key attribute, no match (PS3.4 K.4.1.3.1).
        return Found(answers, [], encode, PENDING), []
    try:
        decode = Decoder(_charset(identifier))
    except UnknownCharacterSet:
        raise Refused(IDENTIFIER_DOES_NOT_MATCH, "(0008,0005) names an unknown character set.") from None
    criteria = read_keys(identifier, decode)
    profile.narrow(criteria)
    rows = matching_rows(identifier, decode, criteria, answers, profile)
    pending = PENDING_KEY_UNSUPPORTED if criteria.some_unsupported else PENDING
    found = Found(answers, rows, encode, pending, criteria.used)
    messages = _encode(request, found, rows[: min(_FIRST_CHUNK, MAX_MATCHES)])
    if encode.replaced or encode.cut:
        log.warning(
            "answer to %s: %d characters replaced, %d values cut",
            caller.ae_title if caller else "",
            encode.replaced,
            encode.cut,
        )
    return found, messages


def _identifier(request: Request, *, explicit: bool) -> DataSet:
    try:
        return read(request.data_set, explicit=explicit)
    except BadDataSet as problem:
        raise Refused(IDENTIFIER_DOES_NOT_MATCH, f"Identifier: {problem}.") from None


def _charset(identifier: DataSet) -> list[str]:
    _, value = identifier.get(SPECIFIC_CHARACTER_SET, ("CS", b""))
    return terms(value) if isinstance(value, bytes) else ["?"]


def statement(criteria: Criteria, answers: Answers, columns: str = "") -> str:
    """The one query of a C-FIND; its `%s` are `criteria.parameters`."""
    needed = criteria.tables | answers.tables
    joins = "\n".join(join for table, join in attributes.TABLES.items() if table in needed)
    where = " AND ".join((attributes.visible(criteria.shown), *criteria.conditions))
    return (
        f"SELECT {columns or answers.select} {attributes.FROM}{joins}\nWHERE {where}\n"
        f"ORDER BY step.starts_at, {attributes.URGENCY}, step.id LIMIT {MAX_MATCHES + 1}"
    )


def _rows(
    identifier: DataSet, decode: Decoder, criteria: Criteria, answers: Answers, profile: Profile
) -> list[Row]:
    rows = [row for (row,) in fetch_prepared(statement(criteria, answers), criteria.parameters)]
    columns = answers.columns
    if any(row.count(SEPARATOR) != max(len(columns), 1) - 1 for row in rows):
        # Somebody's text holds the separator itself.
        apart = fetch_prepared(statement(criteria, answers, ", ".join(columns)), criteria.parameters)
        rows = [SEPARATOR.join((value or "").replace(SEPARATOR, " ") for value in row) for row in apart]
    return rows


def _encode(request: Request, found: Found, rows: Sequence[Row]) -> list[bytes]:
    data_set, encode, answer = found.answers.data_set, found.encode, request.answer
    head = request.head(found.pending, with_data_set=True)
    return [head + answer(data_set(row, encode)) for row in rows]
