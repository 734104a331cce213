"""Data sets as bytes (PS3.5 7): Implicit and Explicit VR Little Endian, both kinds of length.

A read data set is `{tag: (VR, value)}`; the value is the element's bytes, or the list of a sequence's items.
"""

import struct
from functools import lru_cache

from pydicom.datadict import dictionary_VR

IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"

DataSet = dict[int, "Element"]
Element = tuple[str, "bytes | list[DataSet]"]

SPECIFIC_CHARACTER_SET = 0x00080005

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
#: Deeper nesting than any data set we serve has is an attack on the stack.
_MAX_DEPTH = 16


class BadDataSet(Exception):
    """The bytes are no data set in the negotiated transfer syntax."""


@lru_cache(maxsize=4096)
def vr_of(tag: int) -> str:
    """The VR in the DICOM dictionary; UN for private and unknown attributes."""
    try:
        # "US or SS" and the like are told apart by other attributes; none of ours is one.
        return dictionary_VR(tag)[:2]
    except KeyError:
        return "UN"


def read(data: bytes, *, explicit: bool) -> DataSet:
    """The data set that fills `data`.

    Raises BadDataSet on lengths that do not fit, repeated elements and nesting deeper than 16.
    """
    try:
        found, _ = _read(data, 0, len(data), explicit, 0, delimited=False)
    except struct.error:
        raise BadDataSet("an element is cut off") from None
    return found


def _read(
    data: bytes, at: int, end: int, explicit: bool, depth: int, *, delimited: bool
) -> tuple[DataSet, int]:
    if depth > _MAX_DEPTH:
        raise BadDataSet("sequences are nested too deep")
    found: DataSet = {}
    while at < end:
        group, element = struct.unpack_from("<HH", data, at)
        tag = group << 16 | element
        if tag == _ITEM_END and delimited:
            return found, at + 8
        if group == 0xFFFE:
            raise BadDataSet("a delimiter stands where an element should")
        if explicit:
            code = data[at + 4 : at + 6]
            if code in _LONG_VRS:
                (length,) = struct.unpack_from("<I", data, at + 8)
                at += 12
            else:
                (length,) = struct.unpack_from("<H", data, at + 6)
                at += 8
            if not (code.isalpha() and code.isupper()):
                raise BadDataSet("an element has no VR")
            vr = code.decode("ascii")
        else:
            (length,) = struct.unpack_from("<I", data, at + 4)
            at += 8
            vr = vr_of(tag)
        if tag in found:
            raise BadDataSet("an element stands twice")
        if length == _UNDEFINED:
            if vr not in {"SQ", "UN"}:
                raise BadDataSet("an element that is no sequence has no length")
            # UN of undefined length is an implicitly encoded sequence (PS3.5 6.2.2 note 4).
            items, at = _read_items(data, at, end, explicit and vr == "SQ", depth, delimited=True)
            found[tag] = ("SQ", items)
            continue
        if length > end - at:
            raise BadDataSet("an element is longer than its data set")
        if vr == "SQ":
            items, _ = _read_items(data, at, at + length, explicit, depth, delimited=False)
            found[tag] = (vr, items)
        else:
            found[tag] = (vr, data[at : at + length])
        at += length
    if delimited:
        raise BadDataSet("an item has no end")
    return found, at


def _read_items(
    data: bytes, at: int, end: int, explicit: bool, depth: int, *, delimited: bool
) -> tuple[list[DataSet], int]:
    items: list[DataSet] = []
    while at < end:
        group, element, length = struct.unpack_from("<HHI", data, at)
        at += 8
        tag = group << 16 | element
        if tag == _SEQUENCE_END and delimited:
            return items, at
        if tag != _ITEM:
            raise BadDataSet("a sequence holds what is no item")
        if length == _UNDEFINED:
            item, at = _read(data, at, end, explicit, depth + 1, delimited=True)
        else:
            if length > end - at:
                raise BadDataSet("an item is longer than its sequence")
            item, at = _read(data, at, at + length, explicit, depth + 1, delimited=False)
        items.append(item)
    if delimited:
        raise BadDataSet("a sequence has no end")
    return items, at


_LENGTH_16, _LENGTH_32 = struct.Struct("<H"), struct.Struct("<I")


def _header(tag: int, vr: str, *, explicit: bool) -> tuple[bytes, struct.Struct]:
    """The bytes before an element's length, and how that length is packed."""
    start = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if not explicit:
        return start, _LENGTH_32
    code = vr.encode("ascii")
    if code in _LONG_VRS:
        return start + code + b"\0\0", _LENGTH_32
    return start + code, _LENGTH_16


def element(tag: int, vr: str, value: bytes, *, explicit: bool) -> bytes:
    """One element; `value` is padded to an even length (PS3.5 6.2)."""
    start, length = _header(tag, vr, explicit=explicit)
    if len(value) & 1:
        value += b"\0" if vr in {"UI", "OB", "UN"} else b" "
    return start + length.pack(len(value)) + value


def _delimiter(tag: int, length: int) -> bytes:
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, length)


def sequence_start(tag: int, *, explicit: bool) -> bytes:
    """What stands before the elements of a sequence's first item. Its lengths are undefined, so that its bytes do not
    depend on what follows."""
    start, length = _header(tag, "SQ", explicit=explicit)
    return start + length.pack(_UNDEFINED) + _delimiter(_ITEM, _UNDEFINED)


#: Between two items of a sequence, and after the last one.
NEXT_ITEM = _delimiter(_ITEM_END, 0) + _delimiter(_ITEM, _UNDEFINED)
SEQUENCE_END = _delimiter(_ITEM_END, 0) + _delimiter(_SEQUENCE_END, 0)
