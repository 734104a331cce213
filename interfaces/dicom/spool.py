"""What modalities report while the database is away: kept on disk before it is answered, done in order when it is back.

Each message has a number of its own, under which the database remembers which of its writes were made
(`database.repeatable`): one that is done again after a kill, or whose commit was never heard of, has its effect once.
"""

import asyncio
import hashlib
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID, uuid4

from interfaces import cases
from interfaces.cases import NewCase
from interfaces.dicom import dimse
from interfaces.dicom.association import MAX_PDU, Context, Request, log_failure
from interfaces.dicom.database import Away, Database, Repeatable, repeatable
from interfaces.dicom.dimse import Command
from interfaces.dicom.standin import open_private
from interfaces.dicom.stations import Caller
from interfaces.dicom.status import DUPLICATE_INSTANCE, SUCCESS, Refused
from interfaces.models import CaseKind
from ris.core.identifiers import new_uid

if TYPE_CHECKING:
    from interfaces.dicom.ae import Operation, Service

Result = TypeVar("Result")
log = logging.getLogger("lightbox.dicom")

#: While the spool is being worked off, new messages wait so long for their turn; then they join it.
_TURN_SECONDS = 5.0
#: An error of ours is tried so often before a person has to look; the ones behind it go on then.
_MOST_TRIES, _PAUSE_SECONDS = 5, 0.2

_TABLE = """
CREATE TABLE IF NOT EXISTS message (
  id INTEGER PRIMARY KEY AUTOINCREMENT, number TEXT NOT NULL UNIQUE, calling TEXT NOT NULL, peer TEXT NOT NULL,
  field INTEGER NOT NULL, sop_class TEXT NOT NULL, sop_instance TEXT NOT NULL, explicit INTEGER NOT NULL,
  digest TEXT NOT NULL, data_set BLOB NOT NULL, tries INTEGER NOT NULL DEFAULT 0
)
"""
_COLUMNS = "number, calling, peer, field, sop_class, sop_instance, explicit, digest, data_set"


@dataclass(frozen=True)
class Kept:
    """A message on disk."""

    number: UUID
    calling: str
    peer: str
    field: int
    sop_class: str
    sop_instance: str
    #: 0 or 1, as the file has it.
    explicit: int
    digest: str
    data_set: bytes

    @property
    def is_creation(self) -> bool:
        return self.field == dimse.N_CREATE_RQ

    @classmethod
    def of(cls, request: Request, number: UUID) -> "Kept":
        command, caller = request.command, request.assoc.caller
        return cls(
            number, caller.ae_title if caller else "", request.assoc.peer_address, command.field, command.sop_class,
            command.sop_instance, request.context.explicit, hashlib.sha256(request.data_set).hexdigest(),
            request.data_set,
        )  # fmt: skip

    def request(self) -> Request:
        """The same request, from nobody who waits for an answer."""
        command = Command(self.field, 0, self.sop_class, self.sop_instance, bool(self.data_set), 0)
        request = Request(
            Nobody(Caller(self.calling), self.peer), Context(1, self.sop_class, bool(self.explicit)), command
        )
        request.data_set = self.data_set
        return request


@dataclass(frozen=True)
class Nobody:
    """Stands for the association of a message that was answered when it was kept."""

    caller: Caller | None
    peer_address: str
    peer_max_pdu: int = MAX_PDU
    is_our_own_try: bool = False

    async def send(self, data: bytes) -> None:
        return


class File:
    """The messages that wait; one thread of `Spool` works on it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._open() as file:
            file.execute(_TABLE)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with open_private(self._path, durable=True) as file, file:
            yield file

    def keep(self, message: Kept) -> None:
        """On disk when this returns. The same bytes once more are the same message. Raises Refused."""
        with self._open() as file:
            known = file.execute(
                "SELECT digest FROM message WHERE sop_instance = ? AND field = ? ORDER BY id DESC",
                [message.sop_instance, message.field],
            ).fetchall()
            if known and known[0][0] == message.digest:
                return
            if known and message.is_creation:
                raise Refused(DUPLICATE_INSTANCE, "This instance exists already.")
            file.execute(
                f"INSERT INTO message ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [str(message.number), message.calling, message.peer, message.field, message.sop_class,
                 message.sop_instance, message.explicit, message.digest, message.data_set],
            )  # fmt: skip

    def count(self) -> int:
        with self._open() as file:
            return int(
                file.execute("SELECT count(*) FROM message WHERE tries < ?", [_MOST_TRIES]).fetchone()[0]
            )

    def first(self) -> Kept | None:
        with self._open() as file:
            row = file.execute(
                f"SELECT {_COLUMNS} FROM message WHERE tries < ? ORDER BY id LIMIT 1", [_MOST_TRIES]
            ).fetchone()
        return None if row is None else Kept(UUID(row[0]), *row[1:])

    def forget(self, number: UUID) -> None:
        with self._open() as file:
            file.execute("DELETE FROM message WHERE number = ?", [str(number)])

    def failed(self, number: UUID) -> int:
        """Count one more try; how many there were."""
        with self._open() as file:
            file.execute("UPDATE message SET tries = tries + 1 WHERE number = ?", [str(number)])
            return int(
                file.execute("SELECT tries FROM message WHERE number = ?", [str(number)]).fetchone()[0]
            )


class Spool:
    """Does operations now, or keeps them for later; `work_off` is called when the database is back."""

    def __init__(self, path: Path, database: Database) -> None:
        self._database = database
        self._file = File(path)
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="dicom-spool")
        self._is_empty = asyncio.Event()
        if not self._file.count():
            self._is_empty.set()

    @property
    def is_empty(self) -> bool:
        return self._is_empty.is_set()

    async def perform(
        self, operation: "Operation", request: Request, check: Callable[[Request], None]
    ) -> None:
        """`operation`; or without a database `check`, the disk, and success."""
        if not request.command.sop_instance:
            # Whoever does it again must make the same instance (PS3.7 10.1.5.1.4: the SCP names it).
            request.command = replace(request.command, sop_instance=new_uid())
        message = Kept.of(request, uuid4())
        if await self._has_its_turn():
            token = repeatable.set(Repeatable(message.number))
            try:
                await operation(request)
                return
            except Away:
                pass
            finally:
                repeatable.reset(token)
        check(request)
        self._is_empty.clear()
        await self._on_disk(partial(self._file.keep, message))
        log.warning("kept on disk from %s: %04X of %s", message.calling, message.field, message.sop_instance)
        await request.send(request.head(SUCCESS, sop_instance=message.sop_instance))

    async def _has_its_turn(self) -> bool:
        """What came before goes before."""
        if self._database.reach.is_away:
            return False
        try:
            await asyncio.wait_for(self._is_empty.wait(), _TURN_SECONDS)
        except TimeoutError:
            return False
        return True

    async def work_off(self, services: Mapping[str, "Service"]) -> None:
        """Do what waits, in order, until nothing does. Raises Away."""
        done = 0
        while (message := await self._on_disk(self._file.first)) is not None:
            await self._do(message, services)
            done += 1
        if done:
            log.warning("%d kept messages done", done)
        self._is_empty.set()

    async def _do(self, message: Kept, services: Mapping[str, "Service"]) -> None:
        operation = services[message.sop_class].operations[message.field]
        token = repeatable.set(Repeatable(message.number))
        why, stays = "", False
        try:
            await operation(message.request())
        except Away:
            raise
        except Refused as refusal:
            # Made before by the same modality, whose answer was lost: what it wanted is so.
            if refusal.status != DUPLICATE_INSTANCE:
                why = f"{refusal.status:04X} {refusal.comment}"
        except Exception as problem:  # the edge of the loop: it is tried again, others must not wait for ever
            log_failure(f"kept message {message.number}", problem)
            if await self._on_disk(partial(self._file.failed, message.number)) < _MOST_TRIES:
                await asyncio.sleep(_PAUSE_SECONDS)
                return
            why, stays = f"an error of ours, {type(problem).__name__}; its bytes stay on disk", True
        finally:
            repeatable.reset(token)
        if why:
            await self._database.write(partial(_open_case, message, why))
        if not stays:
            await self._on_disk(partial(self._file.forget, message.number))

    async def _on_disk(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)

    def close(self) -> None:
        self._disk.shutdown(wait=True)


def _open_case(message: Kept, why: str) -> None:
    """What was answered with success and cannot be done is a person's."""
    cases.open_case(
        NewCase(
            CaseKind.OTHER,
            f"dicom:{message.sop_instance}",
            f"What {message.calling} reported while the RIS was down could not be done: {why}",
            "Look at the exam; complete or correct it by hand.",
        )
    )
