"""Protocol data units of the DICOM upper layer (PS3.8 9.3) as bytes.

Reading trusts no length: whatever does not fit its frame raises `BadPDU`.
"""

import struct
from dataclasses import dataclass, field

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)

APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
RELEASE_RP_BYTES = struct.pack(">BBI", RELEASE_RP, 0, 4) + bytes(4)

#: Presentation context results (PS3.8 table 9-18).
ACCEPTED, USER_REJECTION, NO_ABSTRACT_SYNTAX, NO_TRANSFER_SYNTAX = 0, 1, 3, 4


class BadPDU(Exception):
    """The peer's bytes break PS3.8; `reason` is the A-ABORT reason of table 9-26."""

    def __init__(self, text: str, reason: int = 6) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ProposedContext:
    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(slots=True)
class AssociateRequest:
    """An A-ASSOCIATE-RQ (PS3.8 9.3.2) as far as we answer to it."""

    called: str
    calling: str
    protocol_version: int
    header: bytes
    application_context: bytes = b""
    contexts: list[ProposedContext] = field(default_factory=list)
    max_pdu: int = 0
    #: Proposed (SCU, SCP) roles by SOP class (PS3.7 D.3.3.4).
    roles: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    #: SOP class extended negotiation, application information by SOP class (PS3.7 D.3.3.5).
    extended: dict[str, bytes] = field(default_factory=dict)
    #: The peer's software (PS3.7 D.3.3.2), which no answer depends on.
    implementation_uid: str = ""
    implementation_name: str = ""


@dataclass(frozen=True, slots=True)
class ContextResult:
    context_id: int
    result: int
    transfer_syntax: str


def _items(data: bytes, start: int, end: int) -> list[tuple[int, int, int]]:
    """(type, start, end) of the items between two offsets."""
    found = []
    while start < end:
        if end - start < 4:
            raise BadPDU("an item is cut off")
        kind, _, length = struct.unpack_from(">BBH", data, start)
        start += 4
        if start + length > end:
            raise BadPDU("an item is longer than its frame")
        found.append((kind, start, start + length))
        start += length
    return found


def _uid(data: bytes) -> str:
    # Some peers pad UIDs here as in a data set, though PS3.8 F.1 says not to.
    return data.rstrip(b"\0 ").decode("ascii", "replace")


def _counted_uid(data: bytes) -> tuple[str, bytes]:
    """A two-byte length, a UID, and the rest (PS3.7 tables D.3-9, D.3-11)."""
    length = int.from_bytes(data[:2], "big")
    if len(data) < 2 + length:
        raise BadPDU("a negotiation item is cut off")
    return _uid(data[2 : 2 + length]), data[2 + length :]


def read_associate_request(body: bytes) -> AssociateRequest:
    """The A-ASSOCIATE-RQ whose bytes after the six of the header are `body`."""
    if len(body) < 68:
        raise BadPDU("A-ASSOCIATE-RQ is too short")
    request = AssociateRequest(
        called=body[4:20].decode("ascii", "replace").strip(" \0"),
        calling=body[20:36].decode("ascii", "replace").strip(" \0"),
        protocol_version=int.from_bytes(body[:2], "big"),
        header=body[:68],
    )
    for kind, start, end in _items(body, 68, len(body)):
        if kind == 0x10:
            request.application_context = body[start:end].rstrip(b"\0 ")
        elif kind == 0x20:
            request.contexts.append(_read_context(body, start, end))
        elif kind == 0x50:
            _read_user_information(request, body, start, end)
    if not request.contexts:
        raise BadPDU("no presentation context is proposed")
    if len({context.context_id for context in request.contexts}) != len(request.contexts):
        raise BadPDU("a presentation context id is proposed twice")
    return request


def _read_context(body: bytes, start: int, end: int) -> ProposedContext:
    if end - start < 4:
        raise BadPDU("a presentation context is cut off")
    context_id, abstract, transfers = body[start], "", []
    for kind, item, item_end in _items(body, start + 4, end):
        if kind == 0x30:
            abstract = _uid(body[item:item_end])
        elif kind == 0x40:
            transfers.append(_uid(body[item:item_end]))
    if not context_id & 1:
        raise BadPDU("a presentation context id is even")
    return ProposedContext(context_id, abstract, tuple(transfers))


def _read_user_information(request: AssociateRequest, body: bytes, start: int, end: int) -> None:
    for kind, item, item_end in _items(body, start, end):
        value = body[item:item_end]
        if kind == 0x51 and len(value) == 4:
            request.max_pdu = int.from_bytes(value, "big")
        elif kind == 0x54:
            sop_class, roles = _counted_uid(value)
            if len(roles) != 2:
                raise BadPDU("a role selection is cut off")
            request.roles[sop_class] = (bool(roles[0]), bool(roles[1]))
        elif kind == 0x56:
            sop_class, information = _counted_uid(value)
            request.extended[sop_class] = information
        elif kind == 0x52:
            request.implementation_uid = _uid(value)
        elif kind == 0x55:
            request.implementation_name = _uid(value).strip()
        # 0x53 asks for a window of asynchronous operations and
        # 0x58 offers an identity: not answering means the default, one operation and no identity.


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def associate_accept(
    request: AssociateRequest,
    results: list[ContextResult],
    *,
    max_pdu: int,
    implementation_uid: str,
    implementation_name: str,
    roles: dict[str, tuple[bool, bool]],
    extended: dict[str, bytes],
) -> bytes:
    """A-ASSOCIATE-AC (PS3.8 9.3.3). The AE titles go back as they came."""
    contexts = b"".join(
        _item(0x21, bytes((r.context_id, 0, r.result, 0)) + _item(0x40, r.transfer_syntax.encode()))
        for r in results
    )
    user = _item(0x51, max_pdu.to_bytes(4, "big")) + _item(0x52, implementation_uid.encode())
    for sop_class, (scu, scp) in roles.items():
        user += _item(0x54, struct.pack(">H", len(sop_class)) + sop_class.encode() + bytes((scu, scp)))
    user += _item(0x55, implementation_name.encode())
    for sop_class, information in extended.items():
        user += _item(0x56, struct.pack(">H", len(sop_class)) + sop_class.encode() + information)
    body = b"\0\1" + request.header[2:] + _item(0x10, APPLICATION_CONTEXT) + contexts + _item(0x50, user)
    return struct.pack(">BBI", ASSOCIATE_AC, 0, len(body)) + body


def associate_reject(result: int, source: int, reason: int) -> bytes:
    """A-ASSOCIATE-RJ (PS3.8 table 9-21): result 1 permanent, 2 transient."""
    return struct.pack(">BBIBBBB", ASSOCIATE_RJ, 0, 4, 0, result, source, reason)


def abort(source: int, reason: int) -> bytes:
    """A-ABORT (PS3.8 table 9-26): source 0 service user, 2 service provider."""
    return struct.pack(">BBIBBBB", ABORT, 0, 4, 0, 0, source, reason)


def data_values(body: bytes) -> list[tuple[int, int, bytes]]:
    """(context id, message control header, fragment) of each PDV in a P-DATA-TF (PS3.8 9.3.5)."""
    found = []
    at, end = 0, len(body)
    while at < end:
        if end - at < 6:
            raise BadPDU("a presentation data value is cut off")
        length = int.from_bytes(body[at : at + 4], "big")
        if length < 2 or at + 4 + length > end:
            raise BadPDU("a presentation data value is longer than its frame")
        found.append((body[at + 4], body[at + 5], body[at + 6 : at + 4 + length]))
        at += 4 + length
    return found


def p_data(context_id: int, data: bytes, *, command: bool, max_pdu: int) -> bytes:
    """`data` as one or more P-DATA-TF none of which is longer than the peer's limit (0: no limit)."""
    step = max_pdu - 6 if max_pdu else len(data)
    if len(data) <= step:
        return struct.pack(">BBIIBB", P_DATA, 0, len(data) + 6, len(data) + 2, context_id, command | 2) + data
    parts = []
    for at in range(0, len(data), step):
        piece = data[at : at + step]
        last = 2 if at + step >= len(data) else 0
        parts.append(
            struct.pack(">BBIIBB", P_DATA, 0, len(piece) + 6, len(piece) + 2, context_id, command | last)
        )
        parts.append(piece)
    return b"".join(parts)
