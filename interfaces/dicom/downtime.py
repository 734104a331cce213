"""Going on without the database: noticing that it is away, and making good what was put off when it is back."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from django.db import Error, connection

from interfaces.dicom import stations
from interfaces.dicom.association import log_failure
from interfaces.dicom.database import Away, Database
from interfaces.dicom.spool import Spool
from interfaces.dicom.standin import REFRESH_SECONDS, Copy
from interfaces.models import WriteDone

if TYPE_CHECKING:
    from interfaces.dicom.ae import Service

log = logging.getLogger("lightbox.dicom")

_LOOK_SECONDS = 0.5
_ANSWER_SECONDS = 5.0
_GRACE_SECONDS = 1.0


class Downtime:
    """Keeps the copy fresh while the database is there, looks for it while it is away, then works off the spool."""

    def __init__(self, folder: Path, reading: Database, writing: Database) -> None:
        self.copy = Copy(folder / "worklist.sqlite3")
        self.spool = Spool(folder / "reported.sqlite3", writing)
        self._reach = reading.reach
        self._reading = reading
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="dicom-asks")
        self._watcher: asyncio.Task[None] | None = None
        self._refresh_at = 0.0
        self._was_away = False
        self._ending = asyncio.Event()

    def start(self, services: Mapping[str, "Service"]) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch(services))

    async def close(self) -> None:
        self._ending.set()
        if self._watcher is not None:
            # What it does now is soon done; only a database that says nothing is left behind.
            await asyncio.wait([self._watcher], timeout=_GRACE_SECONDS)
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
        self._asking.shutdown(wait=False, cancel_futures=True)
        self.spool.close()

    async def _watch(self, services: Mapping[str, "Service"]) -> None:
        while not self._ending.is_set():
            try:
                await self._look(services)
            except Away:
                pass
            except Exception as problem:  # the edge of the loop: what failed is tried again
                log_failure("the watch over the database", problem)
                self._refresh_at = asyncio.get_running_loop().time() + REFRESH_SECONDS / 4
            if self._reach.is_away and not self._was_away:
                log.warning("the database is away; the worklist is answered from the copy")
            self._was_away = self._reach.is_away
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), _LOOK_SECONDS)

    async def _look(self, services: Mapping[str, "Service"]) -> None:
        if self._reach.is_away:
            if not await self._answers():
                return
            self._reach.is_away = False
            log.warning("the database is back")
            self.copy.forget()
        if not self.spool.is_empty:
            await self.spool.work_off(services)
        now = asyncio.get_running_loop().time()
        if now >= self._refresh_at:
            await self._reading.read(self._refresh)
            self._refresh_at = now + REFRESH_SECONDS

    def _refresh(self) -> None:
        self.copy.refresh(stations.rows())
        WriteDone.let_go()

    async def _answers(self) -> bool:
        """Asked in a thread of its own: those of the pools may hang."""
        asked = asyncio.get_running_loop().run_in_executor(self._asking, _ask)
        try:
            return await asyncio.wait_for(asyncio.shield(asked), _ANSWER_SECONDS)
        except TimeoutError:
            asked.add_done_callback(lambda done: done.cancelled() or done.exception())
            return False


def _ask() -> bool:
    try:
        connection.ensure_connection()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return True
    except Error:
        return False
    finally:
        connection.close()
