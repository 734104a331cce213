"""Threads that do an association's work in the database, each with a connection of its own."""

import asyncio
import itertools
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection, transaction

from interfaces.dicom.status import Refused
from interfaces.models import WriteDone

Result = TypeVar("Result")

_QUERY_CANCELED = "57014"
#: SQLSTATEs of a database that is not there or takes no more: connections (08), its end or start (57P), full (53).
_LOST = ("08", "57P", "53")
#: How much longer than a statement may take we wait for a database that says nothing at all.
_PATIENCE = 3.0


class TookTooLong(Exception):
    """The database gave up on a statement after the time we allow it."""


class Away(Exception):
    """The database cannot be reached, or does not answer."""


@dataclass
class Reach:
    """Whether the database is there, for all pools of a process: who finds it away spares the others the wait."""

    is_away: bool = False


@dataclass
class Repeatable:
    """A message whose writes are made once however often it is done: `place` counts them."""

    message: UUID
    place: "itertools.count[int]" = field(default_factory=itertools.count)


#: The message that the running task works on, when it is one that may have to be done again.
repeatable: ContextVar[Repeatable | None] = ContextVar("repeatable", default=None)


class Database:
    """A bounded pool. A connection the database has dropped is replaced when it is next needed.

    Raises Away where there is no database, at once while `reach` says so.
    """

    def __init__(
        self, name: str, threads: int, *, statement_seconds: float, reach: Reach | None = None
    ) -> None:
        self.reach = reach or Reach()
        self._seconds = statement_seconds
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._limit = int(statement_seconds * 1000)
        self._opened: dict[int, Any] = {}
        self._busy = 0

    async def read(self, work: Callable[[], Result]) -> Result:
        """Do `work`, which changes nothing; a second time when the connection turned out to be dead."""
        return await self._run(partial(self._read, work))

    async def write(self, work: Callable[[], Result]) -> Result:
        """Do `work` once, on a connection that answers; of a `repeatable` message, what was done already is not."""
        message = repeatable.get()
        if message is None:
            return await self._run(partial(self._write, work))
        once = partial(_once, message.message, next(message.place), work)
        return cast(Result, await self._run(partial(self._write, once)))

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self.reach.is_away:
            raise Away
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        self._busy += 1
        future.add_done_callback(self._rest)
        try:
            return await asyncio.wait_for(asyncio.shield(future), self._seconds + _PATIENCE)
        except TimeoutError:
            # It may still be done; whoever does it again is `repeatable`.
            problem: Exception | None = None
        except (OperationalError, InterfaceError) as lost:
            if not _is_lost(lost):
                raise
            problem = lost
        self.reach.is_away = True
        raise Away from problem

    def _rest(self, done: "asyncio.Future[Any]") -> None:
        self._busy -= 1
        if not done.cancelled():
            done.exception()  # nobody may be waiting for it any more

    def _read(self, work: Callable[[], Result]) -> Result:
        self._connect()
        try:
            return work()
        except (OperationalError, InterfaceError) as problem:
            if getattr(problem.__cause__, "pgcode", None) == _QUERY_CANCELED:
                raise TookTooLong from problem
            connection.close()
        self._connect()
        return work()

    def _write(self, work: Callable[[], Result]) -> Result:
        if connection.connection is not None and not connection.is_usable():
            connection.close()
        self._connect()
        return work()

    def _connect(self) -> None:
        if connection.connection is not None:
            return
        connection.ensure_connection()
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = %s", [self._limit])
            # Planning the worklist's joins costs several times what running them does.
            cursor.execute("SET plan_cache_mode = force_generic_plan")
        self._opened[threading.get_ident()] = connection.connection

    def close(self) -> bool:
        """Give the connections back; False, and they stay, while a thread is still at work."""
        self._pool.shutdown(wait=not self._busy, cancel_futures=True)
        if self._busy:
            return False
        for opened in self._opened.values():
            opened.close()
        return True


def _is_lost(problem: OperationalError | InterfaceError) -> bool:
    code = getattr(problem.__cause__, "pgcode", None)
    return code is None or code.startswith(_LOST)


def _once(message: UUID, place: int, work: Callable[[], Result]) -> Result | None:
    """The write and its mark in one transaction; a refusal is an outcome and is kept like any other."""
    refusal: Refused | None = None
    result: Result | None = None
    with transaction.atomic():
        if WriteDone.mark(message, place):
            try:
                result = work()
            except Refused as refused:
                refusal = refused
    if refusal is not None:
        raise refusal
    return result


class _Statements(threading.local):
    """The statements prepared on this thread's connection, by their text."""

    connection: Any = None
    names: dict[str, str]


_prepared = _Statements()
_MOST_STATEMENTS = 200


def fetch_prepared(sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """All rows of a query that is planned once for each connection; its `%s` must be cast."""
    with connection.cursor() as cursor:
        if _prepared.connection is not connection.connection:
            _prepared.connection, _prepared.names = connection.connection, {}
        name = _prepared.names.get(sql)
        if name is None:
            if len(_prepared.names) >= _MOST_STATEMENTS:
                cursor.execute("DEALLOCATE ALL")
                _prepared.names.clear()
            name = f"worklist_{len(_prepared.names)}"
            numbered = re.sub("%s", _numbers(), sql)
            cursor.execute(f"PREPARE {name} AS {numbered}")
            _prepared.names[sql] = name
        places = f"({', '.join(['%s'] * len(parameters))})" if parameters else ""
        cursor.execute(f"EXECUTE {name}{places}", parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _numbers() -> Callable[[re.Match[str]], str]:
    number = itertools.count(1)
    return lambda _: f"${next(number)}"
