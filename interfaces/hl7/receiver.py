"""From a frame's bytes to the answer: stored (commit 1), applied with its answer (commit 2), then answered.

Runs in the listener's threads; knows nothing of sockets.
"""

import logging
import traceback
from collections.abc import Iterator
from copy import copy
from datetime import timedelta

from django.db import (
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connection,
    transaction,
)

from interfaces import cases, engine
from interfaces.engine import Arrival, NewMessage, Verdict
from interfaces.hl7 import ack, batches, er7, mllp, profile, refusals, sequence
from interfaces.hl7.ack import Header, Problem, Unsupported
from interfaces.hl7.er7 import Message
from interfaces.hl7.inbound import reader_for
from interfaces.hl7.reading import Context, Outcome, placed
from interfaces.models import Endpoint, InboundMessage, Protocol
from interfaces.states import InboundState
from ris.audit.trail import record_access, working_for
from ris.core import faults
from ris.core.errors import RisError
from ris.core.identifiers import new_control_id

log = logging.getLogger(__name__)

#: 2.2 to 2.8.2 are read alike; later ones may have moved what we read (MLLP-10).
VERSIONS = {"2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2"}
_TRIES = 3


class NotStored(Exception):
    """The database did not take the message. The peer gets no answer and will send it again."""


class Impostor(Exception):
    """Who says to be this partner does not have its certificate. The refusal is sent, the connection closed."""


def receive(frame: mllp.Frame, peer: str, certificate: str = "") -> Iterator[bytes]:
    """Answer a frame: a message, in enhanced mode by up to two answers, or a batch. Raises NotStored, Impostor.

    An answer is yielded only after the commit it speaks of. `certificate` is the fingerprint of the peer's,
    over TLS.
    """
    if frame.oversize or not batches.is_batch(frame.message):
        yield from _receive(frame, peer, certificate)
        return
    try:
        batch = batches.read(frame.message)
    except er7.Unreadable:
        yield from _receive(frame, peer, certificate)  # kept and refused as a whole
        return
    one_by_one = (_receive(mllp.Frame(message), peer, certificate) for message in batch.messages)
    endpoint = endpoint_of(ack.header_of(batch.messages[0], None))
    if endpoint is not None and profile.option(endpoint.profile, "batch_acks") == "each":
        for answers in one_by_one:
            yield from answers
    else:
        yield batches.answer(batch, [one for answers in one_by_one for one in answers], new_control_id())


def _receive(frame: mllp.Frame, peer: str, certificate: str) -> Iterator[bytes]:
    raw = frame.message
    header = ack.header_of(raw, None)
    sender = f"{header.sending_application}|{header.sending_facility}"
    try:
        endpoint = endpoint_of(header)
        trusted = endpoint is None or _is_known_by(endpoint, certificate)
        if not trusted:
            # Kept as nobody's: it must neither repeat the partner's message nor be one.
            endpoint, sender = None, ""
        message, fresh = engine.store(
            Arrival(
                raw=raw, endpoint=endpoint, peer=peer, control_id=header.control_id, type=header.kind, sender=sender
            )
        )  # fmt: skip
        faults.point("after_inbox_insert")
        repeated = not fresh and message.status == InboundState.PROCESSED
        refusal = None
        if repeated:
            engine.count_repeat(message)
        elif header.accept_ack:
            refusal = _header_problem(header, endpoint, raw, frame)
            if ack.wants(header.accept_ack, accepted=refusal is None):
                code = refusal.commit_code if refusal else "CA"
                yield ack.build(header, code, control_id=new_control_id(), problem=refusal)
        if not repeated:
            message = apply(message.pk, oversize=frame.oversize, stored=message if fresh else None)
    except (OperationalError, InterfaceError) as error:
        raise NotStored from error
    faults.point("after_inbox_commit_before_ack")
    if repeated and ack.wants(header.accept_ack, accepted=True):
        yield ack.build(header, "CA", control_id=new_control_id())
    committed_no = refusal is not None and ack.wants(header.accept_ack, accepted=False)
    if not committed_no and _is_answered(header, endpoint, accepted=message.status == InboundState.PROCESSED):
        yield bytes(message.ack or b"")
    if not trusted:
        record_access(
            None, "node.refused", subject=f"message:{message.pk}", outcome="refused", reason=f"certificate of {peer}"
        )  # fmt: skip
        raise Impostor


def _is_known_by(endpoint: Endpoint, certificate: str) -> bool:
    """A partner bound to a certificate is nobody else's (ITI-19); one that uses TLS does not come without."""
    if endpoint.certificate_fingerprint:
        return certificate == endpoint.certificate_fingerprint
    return bool(certificate) or not endpoint.tls


def _is_answered(header: Header, endpoint: Endpoint | None, *, accepted: bool) -> bool:
    """Whether the application's answer goes back on the line."""
    if header.enhanced:
        elsewhere = endpoint is not None and endpoint.option("ack_to")
        return not elsewhere and ack.wants(header.application_ack, accepted=accepted)
    if header.type == "ACK":
        # An answer is not answered; only a person's eye can help one that we cannot place.
        return not accepted
    silence = endpoint is not None and profile.option(endpoint.profile, "never_ack") == "silence"
    return not (header.wants_none and silence)


# The closest match wins, a blank matches any. Beside its number the row's version, and its user's.
_PARTNER = """
SELECT e.id, concat_ws(' ', e.xmin, e.ctid, u.xmin, u.ctid)
FROM interfaces_endpoint e JOIN accounts_user u ON u.id = e.user_id
WHERE e.protocol = 'mllp' AND e.direction = 'in' AND e.active
    AND e.match_application IN ('', %s) AND e.match_facility IN ('', %s)
ORDER BY (e.match_application <> '')::int + (e.match_facility <> '')::int DESC, e.id DESC LIMIT 1
"""
_partners: dict[int, tuple[str, Endpoint]] = {}


def endpoint_of(header: Header) -> Endpoint | None:
    """The partner whose MSH-3 and MSH-4 these are. Asked for each message; read only when its row has changed."""
    application = header.sending_application.split("^")[0]
    facility = header.sending_facility.split("^")[0]
    with connection.cursor() as cursor:
        cursor.execute(_PARTNER, [application, facility])
        row = cursor.fetchone()
    if row is None:
        return None
    pk, version = row
    if pk not in _partners or _partners[pk][0] != version:
        _partners[pk] = version, Endpoint.objects.select_related("user").get(pk=pk)
    # A copy: what is looked up by way of it is remembered for one message only.
    return copy(_partners[pk][1])


def apply(pk: int, *, oversize: bool = False, stored: InboundMessage | None = None) -> InboundMessage:
    """Apply a stored message once, whoever else tries at the same time; returns it with its answer.

    `stored` is the message as it was stored just now. Raises OperationalError when the database does not let it;
    the message then waits for `recover`.
    """
    try:
        # What is accepted, nearly everything, needs none of the savepoints that a refusal goes back to; they
        # would be every third statement.
        with transaction.atomic(), engine.without_savepoints():
            return _apply(pk, oversize=oversize, stored=stored, at_once=True)
    except Exception:  # whatever it was, the careful way finds it again and says what
        log.debug("message %s is read once more", pk)
    for left in reversed(range(_TRIES)):
        try:
            with transaction.atomic():
                return _apply(pk, oversize=oversize)
        except (OperationalError, IntegrityError):
            # A deadlock, or somebody added the same row at the same moment: a second look finds it.
            if not left:
                raise
    raise AssertionError("the last try returns or raises")


def _apply(
    pk: int, *, oversize: bool, stored: InboundMessage | None = None, at_once: bool = False
) -> InboundMessage:
    """One try, in a transaction. `at_once` passes every refusal on instead of answering it."""
    message = engine.lock_received(pk, stored)
    if message is None:
        return InboundMessage.objects.get(pk=pk)
    endpoint = message.endpoint
    raw = bytes(message.raw)
    header = ack.header_of(raw, None)
    control_id = new_control_id()
    parsed: Message | None = None
    # With its number, by which the console finds what a message did.
    with working_for(f"{endpoint.name} {message.peer[:40]} in:{pk}" if endpoint else message.peer):
        try:
            # What has no usable header is rejected (AR) whatever else is wrong with it.
            endpoint = check_header(header, endpoint, raw, oversize=oversize)
            parsed = er7.read(raw, endpoint.encoding)
            header = ack.header_of(raw, parsed)
            expected = sequence.take(header, endpoint, message)
            if sequence.is_bare(header, endpoint):
                outcome = Outcome()
            else:
                read = reader_for(header.type, header.trigger)
                parsed.check_shape()
                with transaction.atomic():
                    outcome = read(parsed, Context(endpoint, header, message))
        except (OperationalError, IntegrityError, InterfaceError):
            raise
        except Exception as error:  # the edge of the listener: one message must not stop the others
            if at_once:
                raise
            problem = _problem_of(error, message)
            if isinstance(error, RisError):
                _note_refusal(message, endpoint, problem)
            if isinstance(error, RisError | DataError):
                _open_case(message, endpoint, problem, parsed, header)
            verdict = _refusal(header, problem, control_id)
        else:
            verdict = _acceptance(header, outcome, control_id, expected)
            cases.solve_topic(
                refusals.BY_TOPIC, refusals.topic(parsed, header.kind, endpoint), by=endpoint.user
            )
    faults.point("after_effect_before_mark")
    message.type = header.kind
    engine.settle(message, verdict)
    if endpoint is not None and header.enhanced:
        _answer_elsewhere(header, endpoint, message, verdict)
    return message


def _answer_elsewhere(header: Header, endpoint: Endpoint, message: InboundMessage, verdict: Verdict) -> None:
    """Queue the application's answer to the partner that the profile names, in the transaction of the outcome."""
    accepted = verdict.status == InboundState.PROCESSED
    if not endpoint.option("ack_to") or not ack.wants(header.application_ack, accepted=accepted):
        return
    to = Endpoint.objects.filter(name=endpoint.option("ack_to"), direction="out", active=True).first()
    if to is None:
        log.error("endpoint %s: there is no partner to take its answers (ack_to)", endpoint.pk)
        return
    engine.enqueue(
        NewMessage(
            endpoint=to, event=None, purpose=f"ACK to in:{message.pk}", type=f"ACK^{header.trigger}",
            key=f"ack:{message.pk}", render=lambda control_id: ack.as_message(verdict.ack, control_id),
            patient_id=verdict.patient_id, accession_number=verdict.accession_number,
        )
    )  # fmt: skip


def check_header(header: Header, endpoint: Endpoint | None, raw: bytes, *, oversize: bool) -> Endpoint:
    """Whether a message with this header may come in at all, and from whom (conformance 2.1).

    Raises Unreadable and Unsupported, which are answered with AR.
    """
    if oversize:
        raise er7.Unreadable(
            f"The message is larger than {mllp.MAX_MESSAGE // 1024 // 1024} MB; send it in parts."
        )
    if batches.is_batch(raw):
        batches.read(raw)
    er7.separators_of(er7.header_line(raw))
    for value, location in (
        (header.control_id, "MSH-10"),
        (header.type or (header.sequence in ("0", "-1") and "none"), "MSH-9"),
        (header.processing_id, "MSH-11"),
        (header.version, "MSH-12"),
    ):
        if not value:
            raise Unsupported("This field of the header is required.", hl7_code="101", location=location)
    if len(header.control_id) >= 200:
        raise Unsupported("The message control id is too long.", hl7_code="102", location="MSH-10")
    if header.version not in VERSIONS:
        raise Unsupported("Versions 2.2 to 2.8 are taken here.", hl7_code="203", location="MSH-12")
    if endpoint is None:
        raise Unsupported(
            "No partner is set up here under this MSH-3 and MSH-4.", hl7_code="207", location="MSH-3"
        )
    if endpoint.paused:
        raise Unsupported(
            "This interface is paused here; send the message again later.", hl7_code="207", location=""
        )
    if header.processing_id not in endpoint.option("processing", "P"):
        raise Unsupported(
            "This receiver takes production messages (P) from this sender.", hl7_code="202", location="MSH-11"
        )
    return endpoint


def _header_problem(
    header: Header, endpoint: Endpoint | None, raw: bytes, frame: mllp.Frame
) -> Problem | None:
    """Why the commit is refused (CR); None when the message is taken for processing (CA)."""
    try:
        endpoint = check_header(header, endpoint, raw, oversize=frame.oversize)
        if not sequence.is_bare(header, endpoint):
            reader_for(header.type, header.trigger)
        sequence.refuse_gap(header, endpoint, endpoint.last_sequence_in)
    except RisError as error:
        return ack.problem_of(error)
    return None


def _acceptance(header: Header, outcome: Outcome, control_id: str, expected: int | None) -> Verdict:
    answer = (
        outcome.answer(header, control_id)
        if outcome.answer
        else ack.build(header, "AA", control_id=control_id, expected=expected)
    )
    return Verdict(
        InboundState.PROCESSED, "AA", answer,
        patient_id=outcome.patient.pk if outcome.patient else None, accession_number=outcome.accession_number,
    )  # fmt: skip


def _problem_of(error: Exception, message: InboundMessage) -> Problem:
    if isinstance(error, RisError):
        return ack.problem_of(placed(error))
    if isinstance(error, DataError):
        return Problem("AE", "102", "", "A value is longer or larger than the record can hold.")
    _log(message, error)
    return ack.INTERNAL_ERROR


def _refusal(header: Header, problem: Problem, control_id: str) -> Verdict:
    status = InboundState.FAILED if problem is ack.INTERNAL_ERROR else InboundState.REJECTED
    return Verdict(
        status, problem.ack_code, ack.build(header, problem.ack_code, control_id=control_id, problem=problem),
        error_code=problem.code, error_location=problem.location, error_text=problem.text,
    )  # fmt: skip


def _open_case(
    message: InboundMessage,
    endpoint: Endpoint | None,
    problem: Problem,
    parsed: Message | None,
    header: Header,
) -> None:
    """What we answered AE waits here for a person, or for the same thing to come again and fit. An AR is the
    sender's to put right."""
    if endpoint is not None and problem.ack_code == "AE" and problem.expected is None:
        new = refusals.case_of(problem, parsed, header.kind, endpoint)
        cases.open_case(new, endpoint=endpoint, inbound=message)


def _note_refusal(message: InboundMessage, endpoint: Endpoint | None, problem: Problem) -> None:
    record_access(
        endpoint.user if endpoint else None, "message.refused", subject=f"message:{message.pk}", outcome="refused",
        reason=f"{problem.code} {problem.location}",
    )  # fmt: skip
    log.info("message %s refused: %s %s %s", message.pk, problem.ack_code, problem.code, problem.location)


def _log(message: InboundMessage, error: Exception) -> None:
    """Where it broke, not on what: an exception's text may hold what the message held."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("message %s could not be processed: %s\n%s", message.pk, type(error).__name__, frames)


def take(raw: bytes, peer: str, endpoint: Endpoint | None = None) -> bytes:
    """Store and apply one message that came by another way than a line; the application's answer."""
    header = ack.header_of(raw, None)
    message, fresh = engine.store(
        Arrival(
            raw=raw, endpoint=endpoint or endpoint_of(header), peer=peer, control_id=header.control_id,
            type=header.kind, sender=f"{header.sending_application}|{header.sending_facility}",
        )
    )  # fmt: skip
    if not fresh and message.status == InboundState.PROCESSED:
        engine.count_repeat(message)
        return bytes(message.ack)
    return bytes(apply(message.pk).ack)


def take_reply(raw: bytes, endpoint: Endpoint) -> list[int]:
    """Keep a reply that says more than accepted (ORR^O02), in the transaction that settles what it answers;
    returns what is to be applied once that is committed. What is not, `recover` applies."""
    header = ack.header_of(raw, None)
    message, fresh = engine.store(
        Arrival(
            raw=raw, endpoint=endpoint, peer=endpoint.address, control_id=header.control_id, type=header.kind,
            sender=f"{header.sending_application}|{header.sending_facility}",
        )
    )  # fmt: skip
    return [message.pk] if fresh else []


def recover(older_than: timedelta = timedelta()) -> int:
    """Apply what a killed listener had stored but not applied; how many were handled."""
    handled = 0
    for pk in engine.unapplied(Protocol.MLLP, older_than):
        try:
            apply(pk)
        except Error as error:
            log.warning("message %s still waits: %s", pk, type(error).__name__)
        else:
            handled += 1
    return handled
