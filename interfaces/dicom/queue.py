"""Sends what waits for partners of DICOM and DICOMweb: in order for each key, until it is answered.

The rows, their states and the lock of a line are those of HL7 (`interfaces.engine`). Objects bear their UIDs, so
one that arrives twice is one object: an answer that was lost is asked for again.
"""

import logging
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from django.db import Error, close_old_connections, connection, transaction
from django.utils import timezone
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from interfaces import dicomweb, engine
from interfaces.dicom import scu
from interfaces.dicom.scu import Line, Unreachable
from interfaces.dicom.store_commitment import take_report
from interfaces.engine import NewMessage
from interfaces.models import Endpoint, OutboundMessage, Protocol
from ris.audit.trail import record_access, working_for
from ris.exams.models import PerformedProcedureStep

log = logging.getLogger("lightbox.dicom")

_BACK_OFF = "1,2,5,10,30,60"
#: How long an association is kept for the report of a commitment; later ones come on one of the archive's.
_REPORT_SECONDS = 2.0
_MOST_LINES = 8


def forward_step(
    operation: str, sop_class: str, instance: str, transfer_syntax: str, data_set: bytes
) -> None:
    """Queue what a modality said of a performed step for everybody who wants to hear it, byte for byte (RAD-6,
    RAD-7). Call it in the transaction of the verb, so that only what was taken is forwarded (MPPS-08)."""
    partners = engine.subscribers("performed_steps", Protocol.DICOM)
    if not partners:
        return
    raw = scu.envelope(data_set, sop_class, instance, transfer_syntax)
    step = PerformedProcedureStep.objects.filter(sop_instance_uid=instance).first()
    exam = step.exams.select_related("order").first() if step else None
    for endpoint in partners:
        message = engine.enqueue(
            NewMessage(
                endpoint=endpoint, event=None, purpose=f"{operation} of a performed step", type=f"{operation} MPPS",
                key=instance, render=lambda _: raw, patient_id=exam.order.patient_id if exam else None,
                accession_number=exam.order.accession_number if exam else "",
            )
        )  # fmt: skip
        if message is not None:
            with working_for(endpoint.name):
                record_access(
                    endpoint.user, "message.sent", patient=message.patient_id, subject=f"mpps:{instance}"[:120],
                    message=message.pk,
                )  # fmt: skip


def drain(endpoint_id: int) -> int:
    """Send what is due to one partner; how many messages were answered. 0 when another sender is at it."""
    if not engine.take_line(endpoint_id):
        return 0
    try:
        return _Run(endpoint_id).send_all()
    finally:
        engine.leave_line(endpoint_id)


class _Run:
    """A partner's queue from its first due message to the last."""

    def __init__(self, endpoint_id: int) -> None:
        self._endpoint_id = endpoint_id
        self._line: Line | None = None
        self._place: tuple[str, str, bool] | None = None
        self._answered = 0

    def send_all(self) -> int:
        try:
            while self._send_next():
                pass
            self._await_reports()
        finally:
            self._hang_up()
        return self._answered

    def _send_next(self) -> bool:
        """False when there is nothing to send now, or nobody takes it."""
        while True:
            endpoint, now = engine.partner(self._endpoint_id), timezone.now()
            if not endpoint.active or endpoint.paused or endpoint.next_attempt_at > now:
                return False
            message = engine.next_due(self._endpoint_id, at=now)
            if message is None:
                return False
            if engine.may_send(message, endpoint):
                break
        raw, again = message.raw, message.attempts > 0
        try:
            self._connect(endpoint, raw)
        except Unreachable as trouble:
            _line_down(endpoint, str(trouble))
            return False
        if not engine.mark_sent(message):
            return True
        try:
            answer = self._ask(endpoint, message, raw, again=again)
        except (Unreachable, dicomweb.Unreachable) as trouble:
            with transaction.atomic():
                _line_down(endpoint, str(trouble))
                engine.mark_unanswered(
                    message,
                    endpoint,
                    answer=None,
                    text=str(trouble),
                    retry_in=_wait(endpoint, message.attempts),
                )
            return False
        except Exception as problem:  # the edge of the queue: what cannot be sent must not stop the rest
            log.error("message %s cannot be sent: %s", message.pk, type(problem).__name__)
            answer = scu.Answer("", f"We cannot send it: {type(problem).__name__}", accepted=False)
        with transaction.atomic():
            engine.line_up(endpoint)
            _settle(endpoint, message, answer)
        self._answered += 1
        return True

    def _connect(self, endpoint: Endpoint, raw: bytes) -> None:
        if endpoint.protocol == Protocol.DICOMWEB:
            return
        place = (endpoint.address, endpoint.ae_title, endpoint.tls)
        try:
            sop_class, syntax = scu.contexts_of(raw)
        except InvalidDicomError:
            return  # it is refused when it is to be sent
        line = self._line
        if line is not None and line.is_open and place == self._place and line.proposed(sop_class, syntax):
            return
        self._hang_up()
        self._line = Line(endpoint, [(sop_class, syntax), *scu.USUAL_CONTEXTS], on_commitment=_reported)
        self._place = place

    def _ask(
        self, endpoint: Endpoint, message: OutboundMessage, raw: bytes, *, again: bool
    ) -> scu.Answer | dicomweb.Stored:
        if endpoint.protocol == Protocol.DICOMWEB:
            return dicomweb.store(endpoint, raw)
        assert self._line is not None, "connected above"
        return self._line.send(message.type.split()[0], raw, again=again)

    def _await_reports(self) -> None:
        end = time.monotonic() + _REPORT_SECONDS
        while (
            self._line is not None
            and self._line.is_open
            and self._line.awaited > 0
            and time.monotonic() < end
        ):
            time.sleep(0.02)

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


def _reported(report: Dataset) -> None:
    """The archive's word on the same association; heard in a thread of the association's."""
    try:
        take_report(report)
    finally:
        connection.close()


def _settle(endpoint: Endpoint, message: OutboundMessage, answer: scu.Answer | dicomweb.Stored) -> None:
    said = f"{answer.code} {answer.text}".strip().encode()
    if answer.accepted:
        engine.mark_accepted(message, code=answer.code, answer=said)
        return
    allowed = int(endpoint.option("ae_retries", "0") or 0)
    retry = _wait(endpoint, message.attempts) if answer.transient or message.refusals < allowed else None
    log.warning("endpoint %s: message %s answered %s", endpoint.pk, message.pk, answer.code)
    engine.mark_refused(message, code=answer.code, answer=said, text=answer.text, retry_in=retry)


def _line_down(endpoint: Endpoint, text: str) -> None:
    log.warning("endpoint %s: no answer", endpoint.pk)
    engine.line_down(endpoint, text=text, retry_in=_wait(endpoint, endpoint.failures + 1))


def _wait(endpoint: Endpoint, failures: int) -> timedelta:
    steps = [int(seconds) for seconds in (endpoint.option("back_off") or _BACK_OFF).split(",")]
    return engine.back_off(failures, random.random(), steps)


class Couriers:
    """The threads of this process that send: one for each partner that has something due, so a silent one holds no
    worker. A process has a few; a partner that finds none is served by the next sweep."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0
        self._busy: set[int] = set()
        self._again: set[int] = set()

    def wake(self, endpoint_id: int) -> None:
        """Have an endpoint's queue sent; returns at once."""
        with self._guard:
            if self._pool is None or self._process != os.getpid():
                self._pool = ThreadPoolExecutor(_MOST_LINES, thread_name_prefix="courier")
                self._process, self._busy, self._again = os.getpid(), set(), set()
            if endpoint_id in self._busy:
                self._again.add(endpoint_id)
                return
            self._busy.add(endpoint_id)
            self._pool.submit(self._serve, endpoint_id)

    def stop(self) -> None:
        """Begin no more; what is on its way ends with the process, and is sent again after it."""
        with self._guard:
            pool, self._pool = self._pool, None
        if pool is not None and self._process == os.getpid():
            pool.shutdown(wait=False, cancel_futures=True)

    def _serve(self, endpoint_id: int) -> None:
        try:
            close_old_connections()
            drain(endpoint_id)
        except Error as problem:
            log.warning("endpoint %s: the database does not answer (%s)", endpoint_id, type(problem).__name__)
        except Exception as problem:  # the edge of the queue: its text may quote what was sent
            log.error("endpoint %s: sending failed: %s", endpoint_id, type(problem).__name__)
        finally:
            # The lock of the line goes with the session.
            connection.close()
            with self._guard:
                self._busy.discard(endpoint_id)
                once_more = endpoint_id in self._again and self._pool is not None
                self._again.discard(endpoint_id)
            if once_more:
                self.wake(endpoint_id)


#: Those of this process.
couriers = Couriers()
