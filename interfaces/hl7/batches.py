"""Batches: FHS/BHS ... BTS/FTS around messages, in a frame or in a file (HL7 2.5.1 2.10.3)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from interfaces.hl7 import er7
from interfaces.hl7.er7 import Segment, Unreadable

_SEGMENTS = re.compile(rb"[^\r\n]+[\r\n]*")
_ENDS = {b"BTS": b"BHS", b"FTS": b"FHS"}


@dataclass(frozen=True, slots=True)
class Batch:
    """The messages byte for byte, and the header segments that an answer refers to."""

    messages: tuple[bytes, ...]
    file: Segment | None
    batch: Segment | None


def is_batch(raw: bytes) -> bool:
    return raw.removeprefix(b"\xef\xbb\xbf").lstrip(b"\x0b\r\n ")[:3] in (b"FHS", b"BHS")


def read(raw: bytes, *, from_file: bool = False) -> Batch:
    """Split a batch. Raises Unreadable when its trailers are missing or count other messages than there are:
    half a batch must not pass for a whole one. A file may also hold messages without any headers."""
    messages: list[list[bytes]] = []
    headers: dict[bytes, Segment] = {}
    open_: list[bytes] = []
    in_batch = batches = 0
    # A file may have been written with the frames of a line.
    raw = raw.removeprefix(b"\xef\xbb\xbf").translate(None, b"\x0b\x1c")
    for line in _SEGMENTS.findall(raw):
        name = line[:3]
        if name in (b"FHS", b"BHS"):
            if name in open_:
                raise Unreadable(f"A second {name.decode()} comes before the end of the first.")
            open_.append(name)
            headers.setdefault(name, _segment(line))
            in_batch = 0
        elif name in _ENDS:
            if not open_ or open_.pop() != _ENDS[name]:
                raise Unreadable(f"{name.decode()} ends what did not begin.")
            what, found = ("messages", in_batch) if name == b"BTS" else ("batches", batches)
            told = _segment(line, headers.get(_ENDS[name])).get(1)
            if told and told != str(found):
                raise Unreadable(f"{name.decode()}-1 says {told[:10]} {what}, but {found} came.")
            batches += name == b"BTS"
        elif name == b"MSH":
            messages.append([line])
            in_batch += 1
        elif messages and (open_ or from_file):
            messages[-1].append(line)
        elif line.strip():
            raise Unreadable("Something stands before the first message of the batch.")
    if open_:
        raise Unreadable(
            f"The batch has no {'BTS' if open_[-1] == b'BHS' else 'FTS'}: it did not come whole."
        )
    if not messages:
        raise Unreadable("The batch holds no message.")
    return Batch(tuple(b"".join(lines) for lines in messages), headers.get(b"FHS"), headers.get(b"BHS"))


def _segment(line: bytes, header: Segment | None = None) -> Segment:
    text = line.decode("iso-8859-1").rstrip("\r\n")
    if header is not None:
        return Segment(text, header.separators, 1)
    return Segment(text, er7.separators_of("MSH" + text[3:]), 1)


def answer(batch: Batch, answers: list[bytes], control_id: str) -> bytes:
    """A batch of the answers, in the order of the messages."""
    out: list[bytes] = []
    for name, header in (("FHS", batch.file), ("BHS", batch.batch)):
        if header is not None:
            fields: dict[int, str | er7.Raw] = {
                2: er7.Raw("^~\\&"), 3: er7.Raw(header.restated(5)), 4: er7.Raw(header.restated(6)),
                5: er7.Raw(header.restated(3)), 6: er7.Raw(header.restated(4)),
                7: datetime.now(UTC).strftime("%Y%m%d%H%M%S"), 11: control_id, 12: er7.Raw(header.restated(11)),
            }  # fmt: skip
            shifted = {position - 1: value for position, value in fields.items()}
            out.append(f"{er7.segment(name, shifted)}\r".encode())
    out += answers
    if batch.batch is not None:
        out.append(f"BTS|{len(answers)}\r".encode())
    if batch.file is not None:
        out.append(f"FTS|{1 if batch.batch is not None else 0}\r".encode())
    return b"".join(out)
