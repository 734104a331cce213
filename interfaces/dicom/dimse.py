"""Command sets of DIMSE messages (PS3.7 6.3.1, annex E): always Implicit VR Little Endian."""

import struct
from dataclasses import dataclass

from interfaces.dicom.pdu import BadPDU

C_STORE_RQ, C_FIND_RQ, C_ECHO_RQ, C_CANCEL_RQ = 0x0001, 0x0020, 0x0030, 0x0FFF
N_EVENT_REPORT_RQ, N_GET_RQ, N_SET_RQ, N_ACTION_RQ, N_CREATE_RQ = 0x0100, 0x0110, 0x0120, 0x0130, 0x0140
RESPONSE = 0x8000

_NO_DATA_SET = 0x0101
_WITH_DATA_SET = 0x0001


@dataclass(frozen=True, slots=True)
class Command:
    field: int
    message_id: int
    sop_class: str
    sop_instance: str
    has_data_set: bool
    #: Message ID Being Responded To: the operation a C-CANCEL ends.
    answers: int
    #: Event Type ID of an N-EVENT-REPORT, Action Type ID of an N-ACTION.
    type_id: int = 0
    #: Attribute Identifier List of an N-GET; empty: all.
    tags: tuple[int, ...] = ()

    @property
    def is_response(self) -> bool:
        return self.field != C_CANCEL_RQ and bool(self.field & RESPONSE)


def read_command(data: bytes) -> Command:
    """Raises BadPDU when the bytes are no command set."""
    values: dict[int, bytes] = {}
    at, end = 0, len(data)
    while at < end:
        if end - at < 8:
            raise BadPDU("a command element is cut off")
        group, element, length = struct.unpack_from("<HHI", data, at)
        at += 8
        if group or length > end - at:
            raise BadPDU("the command set holds what is no command element")
        values[element] = data[at : at + length]
        at += length

    def number(element: int) -> int:
        return int.from_bytes(values.get(element, b"")[:2], "little")

    def uid(element: int) -> str:
        return values.get(element, b"").rstrip(b"\0 ").decode("ascii", "replace")

    listed = values.get(0x1005, b"")
    if 0x0100 not in values or 0x0800 not in values:
        raise BadPDU("the command set lacks its command field or data set type")
    return Command(
        field=number(0x0100),
        message_id=number(0x0110),
        # Operations on an existing instance name it as requested, the others as affected.
        sop_class=uid(0x0002) or uid(0x0003),
        sop_instance=uid(0x1000) or uid(0x1001),
        has_data_set=number(0x0800) != _NO_DATA_SET,
        answers=number(0x0120),
        type_id=number(0x1002) or number(0x1008),
        tags=tuple(
            group << 16 | element
            for group, element in struct.iter_unpack("<HH", listed[: len(listed) // 4 * 4])
        ),
    )


def _element(element: int, value: bytes, pad: bytes = b"\0") -> bytes:
    if len(value) & 1:
        value += pad
    return struct.pack("<HHI", 0, element, len(value)) + value


def _us(element: int, number: int) -> bytes:
    return struct.pack("<HHIH", 0, element, 2, number)


def response(
    request: Command,
    status: int,
    *,
    with_data_set: bool = False,
    comment: str = "",
    error_id: int = 0,
    tags: tuple[int, ...] = (),
    sop_instance: str = "",
) -> bytes:
    """The command set that answers `request`, its elements in ascending order."""
    parts = [
        _element(0x0002, request.sop_class.encode()),
        _us(0x0100, request.field | RESPONSE),
        _us(0x0120, request.message_id),
        _us(0x0800, _WITH_DATA_SET if with_data_set else _NO_DATA_SET),
        _us(0x0900, status),
    ]
    if comment:
        # VR LO: 64 characters of the default repertoire.
        parts.append(_element(0x0902, comment.encode("ascii", "replace")[:64], b" "))
    if error_id:
        parts.append(_us(0x0903, error_id))
    if sop_instance:
        parts.append(_element(0x1000, sop_instance.encode("ascii", "replace")[:64]))
    if tags:
        parts.append(_element(0x1005, b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in tags)))
    body = b"".join(parts)
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body
