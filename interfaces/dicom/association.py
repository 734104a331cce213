"""One association (PS3.8 9.2) on one connection: negotiation, messages in, answers out, time limits.

Whatever a peer sends or withholds costs others nothing: sizes are capped before bytes are kept, and every
state a peer can leave us in has a deadline that only a complete protocol data unit moves.
"""

import asyncio
import logging
import socket
import traceback
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from interfaces.dicom import dimse, pdu
from interfaces.dicom.dimse import Command
from interfaces.dicom.elements import EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN
from interfaces.dicom.pdu import BadPDU
from interfaces.dicom.stations import Caller, Peer
from interfaces.dicom.status import (
    SOP_CLASS_NOT_SUPPORTED,
    UNRECOGNIZED_OPERATION,
    Refused,
)
from interfaces.dicom.twins import OURSELVES
from ris.core import certificates

if TYPE_CHECKING:
    from interfaces.dicom.ae import ApplicationEntity

log = logging.getLogger("lightbox.dicom")

MAX_PDU = 65_536
#: Some peers exceed the length they were told; what no peer needs is refused unread.
_PDU_CAP = 1_048_576
_ASSOCIATE_CAP = 131_072
_COMMAND_CAP = 65_536
#: A data set over its service's cap is read past up to here, so that it can be refused by status.
_DISCARD_CAP = 67_108_864
_WAITING_CAP = 16
#: A peer that asks for smaller pieces than this would have us send mostly headers.
_LEAST_MAX_PDU = 128

HANDSHAKE_SECONDS = 5.0
ASSOCIATE_SECONDS = 5.0
MESSAGE_SECONDS = 30.0
IDLE_SECONDS = 60.0
_CLOSE_SECONDS = 5.0

# A-ABORT sources and reasons (PS3.8 table 9-26).
_BY_USER, _BY_PROVIDER = 0, 2
_NO_REASON, _UNRECOGNIZED, _UNEXPECTED, _BAD_VALUE = 0, 1, 2, 6


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context."""

    context_id: int
    sop_class: str
    explicit: bool


class Asker(Protocol):
    """Who asked for an operation, as far as the operation needs to know."""

    @property
    def caller(self) -> Caller | None: ...

    @property
    def peer_address(self) -> str: ...

    @property
    def peer_max_pdu(self) -> int: ...

    @property
    def is_our_own_try(self) -> bool: ...

    async def send(self, data: bytes) -> None: ...


class Request:
    """One DIMSE operation asked of us, and the way to answer it."""

    __slots__ = ("assoc", "cancelled", "command", "context", "data_set", "oversize")

    def __init__(self, assoc: Asker, context: Context, command: Command) -> None:
        self.assoc = assoc
        self.context = context
        self.command = command
        self.data_set = b""
        self.oversize = False
        #: Set by C-CANCEL, and when nobody is left to answer.
        self.cancelled = False

    def head(
        self,
        status: int,
        *,
        with_data_set: bool = False,
        comment: str = "",
        error_id: int = 0,
        tags: tuple[int, ...] = (),
        sop_instance: str = "",
    ) -> bytes:
        """The command of a response, ready to be written; it is all of it unless a data set follows."""
        command = dimse.response(
            self.command,
            status,
            with_data_set=with_data_set,
            comment=comment,
            error_id=error_id,
            tags=tags,
            sop_instance=sop_instance,
        )
        return pdu.p_data(self.context.context_id, command, command=True, max_pdu=self.assoc.peer_max_pdu)

    def answer(self, data_set: bytes) -> bytes:
        """The data set that follows a command, ready to be written."""
        return pdu.p_data(self.context.context_id, data_set, command=False, max_pdu=self.assoc.peer_max_pdu)

    async def send(self, messages: bytes) -> None:
        """Write, and wait while the peer reads too slowly. Raises ConnectionError when it has gone."""
        await self.assoc.send(messages)


class Association(asyncio.Protocol):
    """The acceptor's side. Operations run one at a time: no window is negotiated (PS3.7 D.3.3.3)."""

    transport: asyncio.Transport

    def __init__(self, ae: "ApplicationEntity", *, secured: bool = False) -> None:
        self.ae = ae
        self.secured = secured
        #: A page tries our services as this machine; of the machine itself it says nothing.
        self.is_our_own_try = False
        self.peer_address = ""
        #: SHA-256 of the certificate it showed; "" in clear text.
        self.certificate = ""
        self.caller: Caller | None = None
        self.peer_max_pdu = MAX_PDU
        self.is_open = False
        self.silent_since = ae.loop.time()
        self.deadline: float | None = self.silent_since + ASSOCIATE_SECONDS
        self._buffer = bytearray()
        self._contexts: dict[int, Context] = {}
        self._negotiating: asyncio.Task[None] | None = None
        self._closing = False
        # The message being received.
        self._command = bytearray()
        self._data_set = bytearray()
        self._request: Request | None = None
        self._discarded = 0
        self._finished = False
        # The operations asked for: the one that runs, and those that wait their turn.
        self._running: Request | None = None
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Event = asyncio.Event()
        self._writable.set()

    # Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.peer_address = peer[0] if peer else ""
        if not self.ae.admit_connection(self):
            self.transport.abort()
            return
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.secured:
            shown = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
            self.certificate = certificates.fingerprint(shown or b"")

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self.ae.forget_connection(self)
        self._give_up()
        if self._negotiating is not None:
            self._negotiating.cancel()

    def _give_up(self) -> None:
        """Nobody waits for an answer any more."""
        self.ae.release(len(self._data_set) + sum(len(request.data_set) for request in self._waiting))
        self._data_set.clear()
        self._waiting.clear()
        if self._running is not None:
            self._running.cancelled = True
        self._writable.set()

    @property
    def is_working(self) -> bool:
        return self._running is not None

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def send(self, data: bytes) -> None:
        if self._closing:
            raise ConnectionResetError
        self.transport.write(data)
        if not self._writable.is_set():
            try:
                await asyncio.wait_for(self._writable.wait(), MESSAGE_SECONDS)
            except TimeoutError:
                self.transport.abort()
            if self._closing or self.transport.is_closing():
                raise ConnectionResetError

    def check_deadline(self, now: float) -> None:
        """Called by the sweep of all connections."""
        if self.deadline is not None and now >= self.deadline:
            if self._closing or not self.is_open:
                self.transport.abort()
            else:
                self.abort(_BY_PROVIDER, _NO_REASON)

    def abort(self, source: int, reason: int) -> None:
        if self._closing:
            return
        self._end(pdu.abort(source, reason))
        # The peer may still be sending; closing now would reset the connection and lose what we said.
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _end(self, last_words: bytes) -> None:
        """Say the last thing, then leave it to the peer to close, for a while (PS3.8 9.2.3, ARTIM timer)."""
        self.transport.write(last_words)
        self._closing = True
        self._give_up()
        self.deadline = self.ae.loop.time() + _CLOSE_SECONDS

    # Reading

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        begins = self._is_between_messages
        self._finished = False
        self._buffer += data
        try:
            if self._negotiating is not None and len(self._buffer) > _ASSOCIATE_CAP:
                raise BadPDU("data before the association was accepted", _UNEXPECTED)
            self._read_pdus()
        except BadPDU as problem:
            log.warning("association with %s ended: %s", self._who, problem)
            self.abort(_BY_PROVIDER, problem.reason)
        if self._closing or not self.is_open:
            return
        if not self._is_between_messages:
            if begins or self._finished:
                self.deadline = self.ae.loop.time() + MESSAGE_SECONDS
        else:
            self._rest()

    @property
    def _is_between_messages(self) -> bool:
        return not self._buffer and not self._command and self._request is None

    def _rest(self) -> None:
        """Between messages: the peer may be idle for a while, but not while it waits for us."""
        self.deadline = None if self.is_working else self.ae.loop.time() + IDLE_SECONDS

    def _read_pdus(self) -> None:
        buffer = self._buffer
        while len(buffer) >= 6 and not self._closing and self._negotiating is None:
            kind = buffer[0]
            length = int.from_bytes(buffer[2:6], "big")
            if not pdu.ASSOCIATE_RQ <= kind <= pdu.ABORT:
                raise BadPDU("a protocol data unit of unknown type", _UNRECOGNIZED)
            if length > (_PDU_CAP if self.is_open else _ASSOCIATE_CAP):
                raise BadPDU("a protocol data unit over the size limit")
            if len(buffer) < 6 + length:
                return
            body = bytes(buffer[6 : 6 + length])
            del buffer[: 6 + length]
            self.silent_since = self.ae.loop.time()
            if kind == pdu.P_DATA and self.is_open:
                for value in pdu.data_values(body):
                    self._take(*value)
            elif kind == pdu.RELEASE_RQ and self.is_open:
                self._end(pdu.RELEASE_RP_BYTES)
            elif kind == pdu.ASSOCIATE_RQ and not self.is_open:
                self._negotiate(pdu.read_associate_request(body))
            elif kind == pdu.ABORT:
                self._closing = True
                self._give_up()
                self.transport.abort()
            else:
                raise BadPDU("a protocol data unit out of turn", _UNEXPECTED)

    @property
    def _who(self) -> str:
        return f"{self.caller.ae_title} at {self.peer_address}" if self.caller else self.peer_address

    # Negotiation

    def _negotiate(self, request: pdu.AssociateRequest) -> None:
        if not request.protocol_version & 1:
            self._reject(request, 1, 2, 2, "protocol version")
        elif request.application_context != pdu.APPLICATION_CONTEXT:
            self._reject(request, 1, 1, 2, "application context")
        elif request.called != self.ae.title:
            self._reject(request, 1, 1, 7, "called AE title")
        elif 0 < request.max_pdu < _LEAST_MAX_PDU:
            self._reject(request, 1, 1, 1, "maximum length")
        else:
            caller = self.ae.stations.known(self._peer(request))
            if caller is not None:
                self._accept(request, caller)
            else:
                self._negotiating = self.ae.loop.create_task(self._ask_for_caller(request))

    def _peer(self, request: pdu.AssociateRequest) -> Peer:
        return Peer(request.calling, self.peer_address, self.certificate)

    async def _ask_for_caller(self, request: pdu.AssociateRequest) -> None:
        """The calling AE title is not among those we know by heart: look it up before refusing it."""
        try:
            caller = await self.ae.stations.look_up(self._peer(request))
        except Exception as problem:
            log_failure("looking up a calling AE title", problem)
            # Rejected transient, service provider (presentation), temporary congestion.
            self._reject(request, 2, 3, 1, "record not reachable")
            return
        finally:
            self._negotiating = None
        if self._closing:
            return
        if caller is None:
            self._reject(request, 1, 1, 3, "calling AE title, address or certificate")
            self.ae.note_stranger(self._peer(request))
            return
        self._accept(request, caller)
        self.data_received(b"")

    def _reject(self, request: pdu.AssociateRequest, result: int, source: int, reason: int, why: str) -> None:
        log.warning(
            "association refused (%s): %r calls %r from %s",
            why,
            request.calling,
            request.called,
            self.peer_address,
        )
        self._end(pdu.associate_reject(result, source, reason))
        self.ae.twins.refused(request, self.peer_address, why)

    def _accept(self, request: pdu.AssociateRequest, caller: Caller) -> None:
        self.caller = caller
        # What a peer names is its limit for the body; six more bytes of header come on top.
        self.peer_max_pdu = min(request.max_pdu, MAX_PDU) or MAX_PDU
        results, roles, extended = [], {}, {}
        for proposed in request.contexts:
            service = self.ae.services.get(proposed.abstract_syntax)
            transfer = next((uid for uid in proposed.transfer_syntaxes if uid in TRANSFER_SYNTAXES), "")
            # Without role selection the association's requestor is the SCU.
            scu, scp = request.roles.get(proposed.abstract_syntax, (True, False))
            if service is None:
                outcome = pdu.NO_ABSTRACT_SYNTAX
            elif not transfer:
                outcome = pdu.NO_TRANSFER_SYNTAX
            elif not (scp if service.as_scu else scu):
                # It wants to be what we are ourselves (PS3.7 D.3.3.4).
                outcome = pdu.USER_REJECTION
            else:
                outcome = pdu.ACCEPTED
                self._contexts[proposed.context_id] = Context(
                    proposed.context_id, proposed.abstract_syntax, transfer == EXPLICIT_LITTLE_ENDIAN
                )
            if service is not None and proposed.abstract_syntax in request.roles:
                roles[proposed.abstract_syntax] = (False, scp) if service.as_scu else (scu, False)
            if service is not None and service.extended and proposed.abstract_syntax in request.extended:
                extended[proposed.abstract_syntax] = service.extended
            # The transfer syntax of a refused context means nothing (PS3.8 9.3.3.2), but some peers want one.
            results.append(
                pdu.ContextResult(proposed.context_id, outcome, transfer or IMPLICIT_LITTLE_ENDIAN)
            )
        self.is_open = True
        self.transport.write(
            pdu.associate_accept(
                request,
                results,
                max_pdu=MAX_PDU,
                implementation_uid=self.ae.implementation_uid,
                implementation_name=self.ae.implementation_name,
                roles=roles,
                extended=extended,
            )
        )
        self.is_our_own_try = request.implementation_name == OURSELVES and self.peer_address in _LOOPBACK
        if not self.is_our_own_try:
            self.ae.twins.associated(
                request, self.peer_address, tls=self.secured,
                accepted=frozenset(one.sop_class for one in self._contexts.values()),
            )  # fmt: skip
        self._rest()

    # Messages

    def _take(self, context_id: int, flags: int, fragment: bytes) -> None:
        """Add one presentation data value to the message it belongs to (PS3.8 annex E)."""
        context = self._contexts.get(context_id)
        if context is None or self._closing:
            raise BadPDU("data on a presentation context that was not accepted")
        if flags & 1:
            if self._request is not None:
                raise BadPDU("a command where a data set should follow", _UNEXPECTED)
            self._command += fragment
            if len(self._command) > _COMMAND_CAP:
                raise BadPDU("a command set over the size limit")
            if flags & 2:
                command = dimse.read_command(bytes(self._command))
                self._command.clear()
                self._take_command(context, command)
            return
        request = self._request
        if request is None or request.context is not context:
            raise BadPDU("a data set without its command", _UNEXPECTED)
        self._take_fragment(request, fragment)
        if flags & 2:
            request.data_set = bytes(self._data_set)
            self._data_set.clear()
            self._request = None
            self._discarded = 0
            self._enqueue(request)

    def _take_fragment(self, request: Request, fragment: bytes) -> None:
        service = self.ae.services[request.context.sop_class]
        if not request.oversize and len(self._data_set) + len(fragment) > service.data_set_cap:
            request.oversize = True
            self.ae.release(len(self._data_set))
            self._data_set.clear()
        if not request.oversize:
            self._data_set += fragment
            self.ae.hold(len(fragment))
            return
        self._discarded += len(fragment)
        if self._discarded > _DISCARD_CAP:
            raise BadPDU("a data set over the size limit")

    def _take_command(self, context: Context, command: Command) -> None:
        if command.is_response:
            raise BadPDU("a response to what was never asked", _UNEXPECTED)
        if command.field == dimse.C_CANCEL_RQ:
            for request in (self._running, *self._waiting):
                if request is not None and request.command.message_id == command.answers:
                    request.cancelled = True
            return
        request = Request(self, context, command)
        if command.has_data_set:
            self._request = request
        else:
            self._enqueue(request)

    def _enqueue(self, request: Request) -> None:
        self._finished = True
        self._waiting.append(request)
        if len(self._waiting) > _WAITING_CAP:
            raise BadPDU("more operations at once than were negotiated", _UNEXPECTED)
        if self._running is None:
            self._start_next()
        elif len(self._waiting) > 1:
            # Enough sent ahead; a C-CANCEL of what runs has had its chance to come before.
            self.transport.pause_reading()

    def _start_next(self) -> None:
        self._running = self._waiting.popleft() if self._waiting else None
        if not (self._waiting or self._closing or self.transport.is_reading()):
            self.transport.resume_reading()
        if self._running is not None:
            self._task = self.ae.loop.create_task(self._run(self._running))
        elif not self._closing and self._is_between_messages:
            self._rest()

    async def _run(self, request: Request) -> None:
        try:
            try:
                await self._perform(request)
                self._seen(request)
            except Refused as refusal:
                await request.send(
                    request.head(
                        refusal.status, comment=refusal.comment, error_id=refusal.error_id, tags=refusal.tags,
                        sop_instance=request.command.sop_instance,
                    )
                )  # fmt: skip
        except ConnectionError:
            pass  # the peer has gone; what was done stays done
        except Exception as problem:  # the edge of the association: the peer is told, others go on
            log_failure(f"operation {request.command.field:04X} of {self._who}", problem)
            self._refuse_unforeseen(request)
        finally:
            self.ae.release(len(request.data_set))
            self._start_next()

    def _seen(self, request: Request) -> None:
        title = self.caller.ae_title if self.caller and not self.is_our_own_try else ""
        if request.command.field == dimse.C_ECHO_RQ:
            self.ae.twins.echoed(title, self.peer_address)
        elif request.command.field in (dimse.N_CREATE_RQ, dimse.N_SET_RQ):
            self.ae.twins.reported(title, self.peer_address)

    def _refuse_unforeseen(self, request: Request) -> None:
        if not self._closing:
            status = self.ae.services[request.context.sop_class].failure
            self.transport.write(
                request.head(
                    status, comment="The RIS could not do this now. Send it again.",
                    sop_instance=request.command.sop_instance,
                )
            )  # fmt: skip

    async def _perform(self, request: Request) -> None:
        service = self.ae.services[request.context.sop_class]
        command = request.command
        if command.sop_class != request.context.sop_class:
            raise Refused(SOP_CLASS_NOT_SUPPORTED, "SOP class is not that of the context.")
        operation = service.operations.get(command.field)
        if operation is None:
            raise Refused(UNRECOGNIZED_OPERATION, "This SOP class has no such operation here.")
        if request.oversize:
            raise Refused(service.too_large, f"Data set is over {service.data_set_cap} bytes.")
        check = service.kept.get(command.field)
        if check is not None:
            await self.ae.spool.perform(operation, request, check)
        else:
            await operation(request)


_LOOPBACK = frozenset({"127.0.0.1", "::1"})
TRANSFER_SYNTAXES = (IMPLICIT_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN)


def log_failure(what: str, problem: BaseException) -> None:
    """Log where an unforeseen error arose, without its text: that may quote patient data."""
    frames = traceback.extract_tb(problem.__traceback__)
    where = " < ".join(
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames[-4:])
    )
    log.error("%s failed: %s (%s)", what, type(problem).__name__, where)
