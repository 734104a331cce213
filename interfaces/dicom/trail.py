"""The audit of queries, written a moment after their answers, many at a time."""

import asyncio
import contextlib
from collections import deque
from datetime import UTC, datetime
from functools import partial
from typing import Any

from interfaces.dicom.association import log_failure
from interfaces.dicom.database import Database
from interfaces.dicom.twin_actions import learn
from interfaces.dicom.twins import Twins
from ris.accounts.models import system_user
from ris.audit.trail import Access, record_accesses

_FLUSH_SECONDS = 0.25
_RETRY_SECONDS = 2.0
_BATCH = 500


class Trail:
    """Audit rows of this process on their way to the database.

    They wait in memory for a quarter of a second at most while the database answers, and `close` writes
    the last of them: only a SIGKILL can lose any, and only those of queries just answered.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._notes: deque[Access] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        #: What the machines show of themselves, written on the same way.
        self.twins = Twins()

    def start(self) -> None:
        self._writer = asyncio.get_running_loop().create_task(self._write_on())

    def note(self, action: str, *, source: str, outcome: str, **details: Any) -> None:
        """Remember an access; `details` hold no patient data."""
        self._notes.append(Access(datetime.now(UTC), action, source, outcome, details))

    async def _write_on(self) -> None:
        while not self._ending.is_set():
            pause = _FLUSH_SECONDS
            try:
                await self._flush()
            except Exception as problem:  # the edge of the loop: the notes stay for the next try
                log_failure("writing the audit of queries", problem)
                pause = _RETRY_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause)

    async def _flush(self) -> None:
        while self._notes:
            batch = [self._notes[place] for place in range(min(len(self._notes), _BATCH))]
            await self._database.write(partial(_write, batch))
            for _ in batch:
                self._notes.popleft()
        if news := self.twins.due(all_of_it=self._ending.is_set()):
            await self._database.write(partial(learn, news))

    async def close(self) -> None:
        """Write what is left."""
        self._ending.set()
        if self._writer is not None:
            await self._writer
        await self._flush()


def _write(batch: list[Access]) -> None:
    record_accesses(system_user("dicom"), batch)
