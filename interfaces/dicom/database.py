"""Threads that do an association's work in the database, each with a connection of its own."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

Result = TypeVar("Result")

_QUERY_CANCELED = "57014"


class TookTooLong(Exception):
    """The database gave up on a statement after the time we allow it."""


class Database:
    """A bounded pool. A connection the database has dropped is replaced when it is next needed."""

    def __init__(self, name: str, threads: int, *, statement_seconds: float) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._limit = int(statement_seconds * 1000)
        self._opened: list[BaseDatabaseWrapper] = []
        self._lock = threading.Lock()

    async def read(self, work: Callable[[], Result]) -> Result:
        """Do `work`, which changes nothing; a second time when the connection turned out to be dead."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, work)

    async def write(self, work: Callable[[], Result]) -> Result:
        """Do `work` once, on a connection that answers."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._write, work)

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
        connection.connect()
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = %s", [self._limit])
        with self._lock:
            mine = connections[DEFAULT_DB_ALIAS]
            if mine not in self._opened:
                self._opened.append(mine)

    def close(self) -> None:
        """Let running work end, then give the connections back."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for opened in self._opened:
            opened.inc_thread_sharing()
            opened.close()
