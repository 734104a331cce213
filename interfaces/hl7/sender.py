"""Sends the queues: each partner's in order, one message in flight on a kept-open line, all partners at once.

One event loop holds the lines of a process, so a partner that is silent costs a waiting coroutine and no worker.
One database session holds their locks: what it may write, no other sender writes at that time.
"""

import asyncio
import logging
import os
import random
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import psycopg2
from django.core.exceptions import ObjectDoesNotExist
from django.db import Error, InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from interfaces import engine
from interfaces.hl7 import answers, profile, receiver, sequence
from interfaces.hl7.line import Answer, Line, NoAnswer
from interfaces.models import Endpoint, OnAmbiguous, OutboundMessage
from ris.core import faults

log = logging.getLogger(__name__)

Result = TypeVar("Result")

#: How long a line with nothing to send is kept.
LINGER = 60.0
#: How often the session shows that it lives, and looks for what nobody was woken for.
_BEAT = 2.0
#: A sender that was stopped for so long loses its session, and with it its locks.
_IDLE_LIMIT = "20s"
#: Of a backlog so many messages are claimed together.
_AHEAD = 32
#: How long they stay claimed before the first byte. Far less than the idle limit: one that was stopped sends none.
_AHEAD_SECONDS = 1.0
_TRIES = 3


class SessionLost(Exception):
    """The database session ended, and the locks it held: nothing may be sent or settled under them."""


class Session:
    """One thread with one database session."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sender")
        #: Counts the sessions: work that began in an earlier one is refused.
        self.number = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.get_running_loop().run_in_executor(self._pool, lambda: connection.close())
        self._pool.shutdown()

    async def run(self, work: Callable[[], Result], number: int | None = None) -> Result:
        """Do `work` in the database. Raises SessionLost."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, work, number)

    def _run(self, work: Callable[[], Result], number: int | None) -> Result:
        for left in reversed(range(_TRIES)):
            try:
                return self._try(work, number)
            except OperationalError:
                # A deadlock. The session stands, and with it the locks.
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")

    def _try(self, work: Callable[[], Result], number: int | None) -> Result:
        if number is not None and number != self.number:
            raise SessionLost
        try:
            if connection.connection is None:
                connection.connect()
                with connection.cursor() as cursor:
                    cursor.execute("SET idle_session_timeout = %s", [_IDLE_LIMIT])
            return work()
        except (OperationalError, InterfaceError) as error:
            if connection.connection is not None and connection.is_usable():
                raise
            self.number += 1
            connection.close()
            raise SessionLost from error


@dataclass(frozen=True, slots=True)
class Turn:
    """What to do next for a partner: send `messages`, which are claimed when the line to it is open."""

    endpoint: Endpoint
    messages: list[OutboundMessage]
    #: False when nothing may be sent now: paused, retired, or waiting after a failure.
    served: bool


#: Writes what became of one attempt; False when it is no longer ours.
Settle = Callable[[], bool]


class Overtaken(Exception):
    """Another sender has taken up the message since."""


@transaction.atomic
def _settle(outcomes: list[Settle]) -> None:
    if not all(write() for write in outcomes):
        raise Overtaken


def _turn(endpoint_id: int, opened: tuple[str, bool, str] | None, settle: list[Settle]) -> Turn:
    """Settle what was sent and claim what comes next in one transaction."""
    with transaction.atomic(), engine.without_savepoints():
        _settle(settle)
        endpoint = engine.partner(endpoint_id)
        now = timezone.now()
        if not endpoint.active or endpoint.paused or endpoint.next_attempt_at > now:
            return Turn(endpoint, [], served=False)
        numbered = option(endpoint, "sequence") == "yes"
        strict = numbered or option(endpoint, "order") == "strict"
        while (message := engine.next_due(endpoint_id, at=now, strict=strict)) is not None:
            if not engine.may_send(message, endpoint):
                continue
            if opened != place_of(endpoint):
                return Turn(endpoint, [message], served=True)
            if engine.mark_sent(message):
                if numbered:
                    sequence.number(message, endpoint)
                # Where a repeat could do harm, or one message waits for the other, they go one by one.
                alone = strict or endpoint.on_ambiguous != OnAmbiguous.RESEND
                more = [] if alone else engine.mark_sent_ahead(message, at=now, most=_AHEAD - 1)
                return Turn(endpoint, [message, *more], served=True)
        return Turn(endpoint, [], served=True)


def place_of(endpoint: Endpoint) -> tuple[str, bool, str]:
    return endpoint.address, endpoint.tls, endpoint.certificate_fingerprint if endpoint.tls else ""


def option(endpoint: Endpoint, key: str) -> str:
    return profile.option(endpoint.profile, key)


class Delivery:
    """One partner's queue, as long as this process serves it."""

    def __init__(self, session: Session, endpoint_id: int, linger: float) -> None:
        self._session = session
        self._endpoint_id = endpoint_id
        self._linger = linger
        self.woken = asyncio.Event()
        self.stopping = False
        self.answered = 0
        self._line: Line | None = None
        self._late: list[Answer] = []
        self._replies: list[int] = []

    async def serve(self) -> None:
        """Send what is due until nothing has come for `linger` seconds; at once when another sender does so."""
        number = self._session.number
        if not await self._session.run(partial(engine.take_line, self._endpoint_id), number):
            return
        try:
            await self._serve(number)
        except Overtaken:
            log.warning("endpoint %s: another sender has taken over", self._endpoint_id)
        except SessionLost:
            log.warning("endpoint %s: the database session was lost", self._endpoint_id)
        finally:
            if self._line is not None:
                self._line.close()
            with suppress(SessionLost):
                await self._hear_late(number)
                await self._session.run(partial(engine.leave_line, self._endpoint_id), number)

    async def _serve(self, number: int) -> None:
        settle: list[Settle] = []
        clock = asyncio.get_running_loop().time
        ends = clock() + self._linger
        while True:
            self.woken.clear()
            opened = self._line.place if self._line is not None and self._line.is_usable else None
            turn = await self._session.run(
                partial(_turn, self._endpoint_id, None if self.stopping else opened, settle), number
            )
            settle = []
            await self._hear_late(number)
            while self._replies:
                # In another thread: what it waits for must not keep the other lines waiting.
                await asyncio.get_running_loop().run_in_executor(None, _apply, self._replies.pop())
            if not turn.served or self.stopping:
                return
            if not turn.messages:
                try:
                    async with asyncio.timeout_at(ends):
                        await self.woken.wait()
                except TimeoutError:
                    return
                continue
            if opened != place_of(turn.endpoint):
                settle = await self._open(turn.endpoint)
            else:
                settle = await self._send_all(turn, number)
            ends = clock() + self._linger

    async def _open(self, endpoint: Endpoint) -> list[Settle]:
        if self._line is not None:
            self._line.close()
        try:
            hear = self._hear if option(endpoint, "acks") != "original" else None
            self._line = await Line.open(place_of(endpoint), hear)
        except (OSError, ValueError) as error:
            # Nothing left: the message stays as it was, the line waits.
            self._line = None
            log.warning("endpoint %s: cannot connect (%s)", endpoint.pk, type(error).__name__)
            text = f"Cannot connect to {endpoint.address}: {error}"
            return [partial(_down, endpoint, text, _wait(endpoint, endpoint.failures + 1))]
        return []

    async def _send_all(self, turn: Turn, number: int) -> list[Settle]:
        """One after the other; returns what is still to be written of them. While one is on its way, the outcomes
        of those before it are written, so a kill repeats one or two. What the line, the time or a refusal of an
        earlier one of its key does not allow any more goes back into the queue."""
        clock = asyncio.get_running_loop().time
        ends = clock() + _AHEAD_SECONDS
        outcomes: list[Settle] = []
        refused: set[str] = set()
        writing: asyncio.Task[None] | None = None
        try:
            for done, message in enumerate(turn.messages):
                usable = self._line is not None and self._line.is_usable
                if done and (not usable or self.stopping or clock() > ends):
                    return [*outcomes, partial(engine.put_back, turn.messages[done:])]
                if message.key in refused:
                    outcomes.append(partial(engine.put_back, [message]))
                    continue
                if outcomes and (writing is None or writing.done()):
                    if writing is not None:
                        writing.result()
                    writing = asyncio.create_task(self._write(outcomes, number))
                outcome, accepted = await self._send(turn.endpoint, message)
                outcomes.append(outcome)
                if not accepted:
                    refused.add(message.key)
        finally:
            if writing is not None:
                await writing
        return outcomes

    async def _write(self, outcomes: list[Settle], number: int) -> None:
        while outcomes:
            now = outcomes.copy()
            outcomes.clear()
            await self._session.run(partial(_settle, now), number)

    async def _send(self, endpoint: Endpoint, message: OutboundMessage) -> tuple[Settle, bool]:
        """One attempt; returns what is to be written of it, and whether it was accepted. No transaction is open
        around the network."""
        assert self._line is not None, "a message is claimed for an open line"
        faults.point("after_claim")
        if not self._line.is_usable:
            return partial(engine.mark_not_sent, message), False
        both = option(endpoint, "acks") == "enhanced" and option(endpoint, "application_acks") == "line"
        try:
            answer = await self._line.exchange(
                message.raw, message.control_id, float(endpoint.answer_timeout), until_applied=both
            )
        except NoAnswer as trouble:
            log.warning("endpoint %s: message %s got no answer", endpoint.pk, message.pk)
            return partial(_unanswered, endpoint, message, trouble), False
        faults.point("after_ack_before_commit")
        self.answered += 1
        return partial(_answered, endpoint, message, answer, self._replies), answer.accepted

    def _hear(self, answer: Answer) -> None:
        self._late.append(answer)
        self.woken.set()

    async def _hear_late(self, number: int) -> None:
        while self._late:
            answer = self._late.pop(0)
            await self._session.run(partial(_take_late, answer), number)


def _take_late(answer: Answer) -> bool:
    with transaction.atomic():
        message = engine.answered_later(
            answer.control_id, code=answer.code, answer=answer.raw, text=answer.text
        )
        if message is not None:
            answers.accepted(message, answer.code)
    return message is not None


def _wait(endpoint: Endpoint, failures: int) -> timedelta:
    steps = [int(seconds) for seconds in option(endpoint, "back_off").split(",")]
    return engine.back_off(failures, random.random(), steps)


def _down(endpoint: Endpoint, text: str, wait: timedelta) -> bool:
    engine.line_down(endpoint, text=text, retry_in=wait)
    return True


def _unanswered(endpoint: Endpoint, message: OutboundMessage, trouble: NoAnswer) -> bool:
    engine.line_down(endpoint, text=trouble.text, retry_in=_wait(endpoint, endpoint.failures + 1))
    retry = _wait(endpoint, message.attempts)
    return engine.mark_unanswered(message, endpoint, answer=trouble.answer, text=trouble.text, retry_in=retry)


def _answered(endpoint: Endpoint, message: OutboundMessage, answer: Answer, replies: list[int]) -> bool:
    """In the transaction of the turn."""
    engine.line_up(endpoint)
    if not answer.accepted:
        return _refused(endpoint, message, answer)
    if not engine.mark_accepted(message, code=answer.code, answer=answer.raw):
        return False
    answers.accepted(message, answer.code)
    if not answer.type.startswith("ACK"):
        # ORR^O02 answers an order with more than a code: what it says is applied like any message.
        replies += receiver.take_reply(answer.raw, endpoint)
    return True


def _apply(pk: int) -> None:
    try:
        receiver.apply(pk)
    except (Error, ObjectDoesNotExist) as error:
        log.warning("message %s still waits: %s", pk, type(error).__name__)
    finally:
        connection.close()


def _refused(endpoint: Endpoint, message: OutboundMessage, answer: Answer) -> bool:
    """AE, AR: a person looks. Some partners say so for "busy": their profile allows a few retries first."""
    transient = answer.code in ("AE", "CE") or option(endpoint, "ar_is_transient") == "yes"
    allowed = option(endpoint, "ae_retries")
    retry: timedelta | None = None
    if transient and message.refusals < int(allowed):
        retry = _wait(endpoint, message.refusals + 1)
    log.warning("endpoint %s: message %s answered %s", endpoint.pk, message.pk, answer.code)
    return engine.mark_refused(message, code=answer.code, answer=answer.raw, text=answer.text, retry_in=retry)


class Sender:
    """All lines of this process: a thread with an event loop, begun by the first wake-up."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._deliveries: dict[int, Delivery] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self, endpoint_id: int | None = None) -> None:
        """Have an endpoint's queue looked at; returns at once."""
        with self._guard:
            if self._loop is None or self._process != os.getpid():
                self._start()
            assert self._loop is not None, "it was started"
            if endpoint_id is not None:
                self._loop.call_soon_threadsafe(self._wake, endpoint_id)

    def stop(self, grace: float = 3.0) -> None:
        """Begin no more messages; those on their way may get their answer within `grace` seconds."""
        with self._guard:
            loop, self._loop = self._loop, None
        if loop is None or self._process != os.getpid():
            return
        ended: Future[None] = asyncio.run_coroutine_threadsafe(self._end(grace), loop)
        with suppress(TimeoutError):
            ended.result(grace + 5)
        loop.call_soon_threadsafe(loop.stop)

    def _start(self) -> None:
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._deliveries, self._tasks = {}, set()
        self._session = Session()
        threading.Thread(target=self._live, args=(self._loop,), name="sender-loop", daemon=True).start()

    def _live(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        self._begin(self._beat())
        self._begin(self._listen())
        loop.run_forever()

    def _begin(self, work: Any) -> None:
        assert self._loop is not None
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self, grace: float) -> None:
        for delivery in self._deliveries.values():
            delivery.stopping = True
            delivery.woken.set()
        end = asyncio.get_running_loop().time() + grace
        while self._deliveries and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.02)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.__aexit__(None, None, None)

    def _wake(self, endpoint_id: int) -> None:
        delivery = self._deliveries.get(endpoint_id)
        if delivery is not None:
            delivery.woken.set()
        elif self._loop is not None:
            self._deliveries[endpoint_id] = Delivery(self._session, endpoint_id, LINGER)
            self._begin(self._deliver(endpoint_id))

    async def _deliver(self, endpoint_id: int) -> None:
        delivery = self._deliveries[endpoint_id]
        try:
            await delivery.serve()
        except SessionLost:
            log.warning("endpoint %s: the database does not answer", endpoint_id)
        except Exception as error:  # the edge of the sender: one partner must not stop the others
            # Where it broke, not on what: an exception's text may hold what the message held.
            frames = "".join(traceback.format_tb(error.__traceback__))
            log.error("endpoint %s: the sender failed: %s\n%s", endpoint_id, type(error).__name__, frames)
        finally:
            del self._deliveries[endpoint_id]
        if delivery.woken.is_set() and not delivery.stopping:
            # Queued after our last look, while we still held the line.
            self._wake(endpoint_id)

    async def _beat(self) -> None:
        """Keeps the session alive, and finds what lost wake-ups and ended waits leave."""
        while True:
            try:
                due = await self._session.run(lambda: engine.endpoints_with_due_messages(at=timezone.now()))
                for endpoint_id in due:
                    # One that lingers on an open line too: the wait of a single message may have ended.
                    self._wake(endpoint_id)
            except SessionLost:
                log.warning("the sender's database session was lost")
            await asyncio.sleep(_BEAT)

    async def _listen(self) -> None:
        """Hear of messages the moment they are committed, from whatever process."""
        loop = asyncio.get_running_loop()
        while True:
            with suppress(psycopg2.Error, OperationalError):
                heard = await loop.run_in_executor(None, _listening)
                gone = asyncio.Event()
                loop.add_reader(heard.fileno(), self._heard, heard, gone)
                try:
                    await gone.wait()
                finally:
                    loop.remove_reader(heard.fileno())
                    heard.close()
            await asyncio.sleep(_BEAT)

    def _heard(self, heard: Any, gone: asyncio.Event) -> None:
        try:
            heard.poll()
        except psycopg2.Error:
            gone.set()
            return
        names = {int(notice.payload) for notice in heard.notifies}
        heard.notifies.clear()
        for endpoint_id in names:
            self._wake(endpoint_id)


def _listening() -> Any:
    """A database connection of its own that is told of what is queued."""
    raw = psycopg2.connect(**connection.get_connection_params())
    raw.autocommit = True
    with raw.cursor() as cursor:
        cursor.execute(f"LISTEN {engine.WAKE_UP}")
    return raw


#: The sender of this process.
sender = Sender()


def drain(endpoint_id: int, *, linger: float = 1.0) -> int:
    """Serve one partner here and now, until nothing has come for `linger` seconds; how many were answered."""

    async def serve() -> int:
        async with Session() as session:
            delivery = Delivery(session, endpoint_id, linger)
            alive = asyncio.create_task(_look_again(delivery))
            try:
                await delivery.serve()
            finally:
                alive.cancel()
            return delivery.answered

    # In a thread of its own: the caller's may have an event loop already.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(serve())).result()


async def _look_again(delivery: Delivery) -> None:
    while True:
        await asyncio.sleep(0.1)
        delivery.woken.set()
