"""Bad DICOM: streams of protocol data units, data sets and keys, made of good ones; the same seed, the same mutant.

Streams run through a real `Association` without a network, whose services read what they are sent but touch no
database. Each must be answered as PS3.8 has it: with a well-formed unit, an abort at most, and nothing left behind.
"""

import asyncio
import contextlib
import random
import struct
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import django

django.setup()

from interfaces.dicom import dimse, listener, mpps, pdu, worklist  # noqa: E402
from interfaces.dicom.ae import ApplicationEntity, Service  # noqa: E402
from interfaces.dicom.association import Association, Request  # noqa: E402
from interfaces.dicom.attributes import WORKLIST  # noqa: E402
from interfaces.dicom.charsets import Decoder, UnknownCharacterSet  # noqa: E402
from interfaces.dicom.datasets import Answers  # noqa: E402
from interfaces.dicom.elements import BadDataSet, read  # noqa: E402
from interfaces.dicom.jsonmodel import json_model  # noqa: E402
from interfaces.dicom.matching import is_key, read_keys  # noqa: E402
from interfaces.dicom.profiles import PLAIN_MANNER  # noqa: E402
from interfaces.dicom.stations import Caller, Peer  # noqa: E402
from interfaces.dicom.status import SUCCESS, Refused  # noqa: E402

#: Seconds of the processor's own time.
LIMIT = 1.0
VALUES = (
    "*",
    "?",
    "%",
    "_",
    "'",
    '"',
    ";",
    "\\",
    "\\\\",
    "*" * 200,
    "?" * 64,
    "'; DROP TABLE patients_patient; --",
    "A" * 65_536,
    "20260230",
    "00000000",
    "99991231",
    "-",
    "--",
    "20260301-",
    "-20260301",
    "20260401-20260301",
    "2026",
    "24",
    "2460",
    "236060",
    "0700-",
    "-0700",
    "1200-1100",
    "\\".join(f"1.2.{n}" for n in range(10_000)),
    "A^B^C^D^E^F^G",
    "A=B=C=D",
    "^^^^",
    "====",
    "\u5c71\u7530^\u592a\u90ce",
    "\x1b$B;3ED\x1b(B",
    "\x1b",
    "\x00",
    "\x1e\x1f\x1d",
    "1e400",
    "NaN",
    "-1",
    "9" * 400,
    "../../etc/passwd",
)
CHARSETS = (
    "",
    "ISO_IR 100",
    "ISO_IR 192",
    "ISO 2022 IR 87",
    "\\ISO 2022 IR 87",
    "ISO 2022 IR 6\\ISO 2022 IR 149",
    "GB18030",
    "KLINGON",
    "\\\\\\",
    "ISO_IR 13\\ISO 2022 IR 159",
    "GBK\\ISO_IR 192",
)
_LENGTHS = (0, 1, 2, 3, 7, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)

# Good ones


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body) & 0xFFFF) + body


def associate(
    contexts: int = 3, *, called: bytes = b"LIGHTBOX", calling: bytes = b"CT1", uid: bytes = b""
) -> bytes:
    classes = [listener.VERIFICATION, worklist.SOP_CLASS, mpps.SOP_CLASS]
    proposed = b"".join(
        _item(
            0x20,
            bytes((2 * n + 1 & 0xFF, 0, 0, 0))
            + _item(0x30, uid or classes[n % 3].encode())
            + _item(0x40, b"1.2.840.10008.1.2"),
        )
        for n in range(contexts)
    )
    user = _item(0x50, _item(0x51, struct.pack(">I", 16384)) + _item(0x52, b"1.2.3") + _item(0x55, b"FUZZ"))
    body = (
        struct.pack(">HH", 1, 0) + called[:16].ljust(16) + calling[:16].ljust(16) + bytes(32)
        + _item(0x10, pdu.APPLICATION_CONTEXT) + proposed + user
    )  # fmt: skip
    return _unit(1, body)


def _unit(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBI", kind, 0, len(body)) + body


def command(
    field: int, sop_class: str, *, data_set: bool, message: int = 1, instance: str = "1.2.3.4"
) -> bytes:
    def element(tag: int, value: bytes) -> bytes:
        return struct.pack("<HHI", 0, tag, len(value) + (len(value) & 1)) + value + b"\0" * (len(value) & 1)

    return b"".join((
        element(0x0002, sop_class.encode()), element(0x0100, struct.pack("<H", field)),
        element(0x0110, struct.pack("<H", message)), element(0x0800, struct.pack("<H", 1 if data_set else 0x0101)),
        element(0x1000, instance.encode()),
    ))  # fmt: skip


def values_of(context: int, flags: int, data: bytes, step: int = 16_000) -> bytes:
    """`data` as P-DATA-TF units; `flags` 1 for a command."""
    pieces = [data[at : at + step] for at in range(0, len(data), step)] or [b""]
    return b"".join(
        _unit(
            4,
            struct.pack(">IBB", len(one) + 2, context, flags | (2 if number == len(pieces) - 1 else 0)) + one,
        )
        for number, one in enumerate(pieces)
    )


Content = dict[int, "str | list[Content]"]


def implicit(content: Content) -> bytes:
    """In Implicit VR Little Endian and UTF-8."""
    parts = []
    for tag, value in sorted(content.items()):
        if isinstance(value, str):
            raw = value.encode("utf-8", "surrogatepass")
        else:
            items = [implicit(one) for one in value]
            raw = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(one)) + one for one in items)
        raw += b" " * (len(raw) & 1)
        parts.append(struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(raw)) + raw)
    return b"".join(parts)


def identifier(dice: random.Random) -> Content:
    """A query with up to six keys of the table, in it and in the step's item."""
    table = WORKLIST
    levels: list[Content] = []
    for known in (table, table[0x00400100].item):
        plain = [tag for tag, attribute in sorted(known.items()) if attribute.vr != "SQ"]
        levels.append(
            {tag: dice.choice(VALUES) if dice.random() < 0.7 else "" for tag in dice.sample(plain, 3)}
        )
    found, step = levels
    return {**found, 0x00400100: [step] * dice.choice((1, 1, 1, 1, 0, 2))}


def reported(dice: random.Random) -> Content:
    """An N-CREATE with attributes missing, empty or wrong."""
    item: Content = {0x0020000D: "1.2.3", 0x00080050: "", 0x00401001: "", 0x00400009: ""}
    found: Content = {
        0x00400270: [item], 0x00100010: "Fuzz^One", 0x00100020: "F1", 0x00100030: "19680714", 0x00400253: "P1",
        0x00400241: "CT1", 0x00080060: "CT", 0x00400244: "20310705", 0x00400245: "101500", 0x00400252: "IN PROGRESS",
        0x00400340: [],
    }  # fmt: skip
    for tag in dice.sample(sorted(found), dice.choice((0, 1, 1, 2, 3))):
        if dice.random() < 0.4:
            del found[tag]
        elif isinstance(found[tag], str):
            found[tag] = dice.choice(VALUES)[:200]
        else:
            lists: list[list[Content]] = [[], [{}], [item, item], [item] * 50]
            found[tag] = dice.choice(lists)
    return found


def encoded(content: Content, dice: random.Random) -> bytes:
    """With a character set that is not always the one it is written in."""
    return implicit({0x00080005: "ISO_IR 192" if dice.random() < 0.7 else dice.choice(CHARSETS), **content})


# Mutations


def _bytes(raw: bytes, dice: random.Random) -> bytes:
    found = bytearray(raw)
    for _ in range(dice.choice((1, 1, 2, 8))):
        if found:
            found[dice.randrange(len(found))] = dice.randrange(256)
    return bytes(found)


def _cut(raw: bytes, dice: random.Random) -> bytes:
    return raw[: dice.randrange(len(raw) + 1)]


def _length(raw: bytes, dice: random.Random) -> bytes:
    """Four or two bytes that lie about a length."""
    if len(raw) < 8:
        return raw
    at = dice.choice((2, dice.randrange(len(raw) - 4)))
    packed = struct.pack(dice.choice((">I", "<I")), dice.choice(_LENGTHS))
    return raw[:at] + packed + raw[at + 4 :]


def _insert(raw: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(raw) + 1)
    return raw[:at] + dice.randbytes(dice.choice((1, 2, 4, 6, 64))) + raw[at:]


def _double(raw: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(raw) + 1)
    return raw[:at] + raw[at // 2 : at] + raw[at:]


def _sequence(raw: bytes, dice: random.Random) -> bytes:
    """Sequences that do not end, or lie deep in each other."""
    start = struct.pack("<HHI", 0x0040, 0x0100, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return raw + start * dice.choice((1, 2, 20, 1000)) + raw[: dice.randrange(len(raw) + 1)]


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _bytes,
    _bytes,
    _cut,
    _length,
    _length,
    _insert,
    _double,
)


def data_set(seed: int) -> bytes:
    """Data set number `seed`."""
    dice = random.Random(seed)
    raw = encoded((identifier if dice.random() < 0.5 else reported)(dice), dice)
    for _ in range(dice.choice((0, 1, 1, 2, 4))):
        raw = dice.choice((*MUTATIONS, _sequence))(raw, dice)
    return raw


def stream(seed: int) -> bytes:
    """Stream number `seed`: an association with a few messages, changed in one to four places."""
    dice = random.Random(seed)
    if seed % 16 == 0:
        # Every type with every length.
        kind, length = seed // 16 % 256, _LENGTHS[seed // 4096 % len(_LENGTHS)]
        return (
            (associate() if seed // 16 % 2 else b"")
            + struct.pack(">BBI", kind, 0, length)
            + dice.randbytes(200)
        )
    parts = [
        associate(
            dice.choice((3, 3, 3, 1, 0, 128, 255)), called=dice.choice((b"LIGHTBOX",) * 6 + (b"\0" * 16, b"../x", b"A" * 64)),
            calling=dice.choice((b"CT1", b"CT1", b"\\", b"\0")), uid=dice.choice((b"",) * 8 + (b"1." * 5000,)),
        )
    ]  # fmt: skip
    for number in range(dice.choice((1, 1, 2, 5))):
        field, context, sop_class, body = dice.choice((
            (dimse.C_ECHO_RQ, 1, listener.VERIFICATION, b""),
            (dimse.C_FIND_RQ, 3, worklist.SOP_CLASS, data_set(seed * 7 + number)),
            (dimse.N_CREATE_RQ, 5, mpps.SOP_CLASS, data_set(seed * 7 + number)),
            (dimse.N_SET_RQ, 5, mpps.SOP_CLASS, data_set(seed * 7 + number)),
            (dimse.C_CANCEL_RQ, 3, worklist.SOP_CLASS, b""),
        ))  # fmt: skip
        context = dice.choice((context,) * 9 + (dice.randrange(256),))
        asked = command(
            dice.choice((field,) * 9 + (dice.randrange(65_536),)),
            sop_class,
            data_set=bool(body),
            message=number,
        )
        parts.append(values_of(context, 1, asked, dice.choice((16_000, 16_000, 1, 7))))
        if body:
            parts.append(values_of(context, 0, body, dice.choice((16_000, 16_000, 500))))
    parts.append(dice.choice((_unit(5, bytes(4)), _unit(7, bytes(4)), b"", associate())))
    for _ in range(dice.choice((0, 1, 1, 2, 4))):
        number = dice.randrange(len(parts))
        parts[number] = dice.choice(MUTATIONS)(parts[number], dice)
    return b"".join(parts)


# The judge


def wrong_with_data_set(raw: bytes, limit: float = LIMIT) -> str:
    """ "" when it was read or refused as it should be; else what happened."""
    begun = time.thread_time()
    for explicit in (False, True):
        try:
            found = read(raw, explicit=explicit)
            with contextlib.suppress(UnknownCharacterSet, UnicodeDecodeError):
                json_model(found)
            _look_up(raw, explicit=explicit)
        except (BadDataSet, Refused):
            pass
        except Exception as error:
            return _where(error)
    if (spent := time.thread_time() - begun) > limit:
        return f"took {spent:.1f} s of processor time"
    return ""


def _look_up(raw: bytes, *, explicit: bool) -> None:
    """All that a C-FIND does without the database. Raises Refused, BadDataSet."""
    found = read(raw, explicit=explicit)
    try:
        decode = Decoder(worklist._charset(found))
    except UnknownCharacterSet:
        raise Refused(0xA900, "") from None
    answers = Answers.to(found, explicit=explicit, manner=PLAIN_MANNER)
    if any(map(is_key, found)):
        worklist.statement(read_keys(found, decode), answers)


def _where(error: BaseException) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {where.name}, line {where.lineno}"


class Line(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "socket": self})
        self.written = bytearray()
        self.is_over = False
        self._is_paused = False

    def setsockopt(self, *option: int) -> None:
        return

    def write(self, data: Any) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        return

    def abort(self) -> None:
        self.is_over = True

    def is_closing(self) -> bool:
        return self.is_over

    def is_reading(self) -> bool:
        return not self._is_paused

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False


class Anybody:
    """Stations that know everybody who has a title."""

    def known(self, peer: Peer) -> Caller | None:
        return Caller(peer.title)


class Here:
    """A spool that keeps nothing."""

    async def perform(self, operation: Any, request: Request, check: Callable[[Request], None]) -> None:
        check(request)
        await operation(request)


async def _success(request: Request) -> None:
    await request.send(request.head(SUCCESS))


async def _find(request: Request) -> None:
    try:
        _look_up(request.data_set, explicit=request.context.explicit)
    except BadDataSet:
        raise Refused(0xA900, "Identifier") from None
    await request.send(request.head(SUCCESS))


def _services() -> Mapping[str, Service]:
    return {
        listener.VERIFICATION: Service({dimse.C_ECHO_RQ: _success}),
        worklist.SOP_CLASS: Service({dimse.C_FIND_RQ: _find}, data_set_cap=worklist.IDENTIFIER_CAP),
        mpps.SOP_CLASS: Service(
            {dimse.N_CREATE_RQ: _success, dimse.N_SET_RQ: _success}, data_set_cap=mpps.DATA_SET_CAP,
            kept={dimse.N_CREATE_RQ: mpps.check_creation, dimse.N_SET_RQ: mpps.check_change},
        ),
    }  # fmt: skip


async def wrong_with_streams(seeds: range) -> list[tuple[int, str]]:
    """The seeds of the streams that did harm, and what happened."""
    loop = asyncio.get_running_loop()
    unforeseen: list[str] = []
    loop.set_exception_handler(
        lambda _, context: unforeseen.append(str(context.get("exception") or context["message"]))
    )
    ae = ApplicationEntity("LIGHTBOX", _services(), Anybody(), _Silent(), Here())  # type: ignore[arg-type]
    found = []
    for seed in seeds:
        raw, dice, begun = stream(seed), random.Random(seed), time.thread_time()
        association, line = Association(ae), Line()
        wrong = ""
        try:
            association.connection_made(line)
            while raw and not line.is_over:
                size = dice.choice((len(raw), 1000, 7)) if len(raw) < 5000 else len(raw)
                association.data_received(raw[:size])
                raw = raw[size:]
                for _ in range(3):
                    await asyncio.sleep(0)
            for _ in range(40):
                if not association.is_working:
                    break
                await asyncio.sleep(0)
            association.check_deadline(loop.time() + 1000)
            association.connection_lost(None)
            for _ in range(5):
                await asyncio.sleep(0)
        except Exception as error:
            wrong = _where(error)
        wrong = wrong or _misspoken(bytes(line.written)) or (unforeseen.pop() if unforeseen else "")
        if ae._held or ae._connections:
            wrong = wrong or f"{ae._held} bytes and {len(ae._connections)} connections are left behind"
            ae._held = 0
            ae._connections.clear()
        if (spent := time.thread_time() - begun) > LIMIT:
            wrong = wrong or f"took {spent:.1f} s of processor time"
        if wrong:
            found.append((seed, wrong))
    return found


class _Silent:
    """A trail that nobody reads, and its twins."""

    def __getattr__(self, name: str) -> Any:
        return _Silent()

    def __call__(self, *args: object, **more: object) -> None:
        return None


def _misspoken(said: bytes) -> str:
    """What we wrote, read as a peer would."""
    at, kinds = 0, []
    while at < len(said):
        if len(said) - at < 6:
            return "half a unit was written"
        kind, length = said[at], int.from_bytes(said[at + 2 : at + 6], "big")
        if at + 6 + length > len(said) or kind not in (2, 3, 4, 6, 7):
            return f"a unit of type {kind} and {length} bytes was written"
        body = said[at + 6 : at + 6 + length]
        if kind == 4:
            for _, flags, data in pdu.data_values(body):
                if flags & 1:
                    answer = dimse.read_command(data)
                    if not answer.is_response:
                        return "an answer is no response"
                    if b"could not do this" in data:
                        return "an error of ours was answered"
        kinds.append(kind)
        at += 6 + length
    if any(kind in (3, 6, 7) for kind in kinds[:-1]):
        return "something was written after the end"
    return ""


CHUNK = 2_000


def run(job: tuple[str, int, int]) -> list[tuple[str, int, str]]:
    """(streams or data sets, first, count): what did harm."""
    kind, first, count = job
    seeds = range(first, first + count)
    if kind == "stream":
        # In a thread of its own: the caller's may have an event loop already.
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(lambda: asyncio.run(wrong_with_streams(seeds))).result()
        return [(kind, seed, wrong) for seed, wrong in found]
    return [(kind, seed, wrong) for seed in seeds if (wrong := wrong_with_data_set(data_set(seed)))]


def jobs(streams: int, data_sets: int) -> list[tuple[str, int, int]]:
    return [
        (kind, first, min(CHUNK, count - first))
        for kind, count in (("stream", streams), ("data set", data_sets))
        for first in range(0, count, CHUNK)
    ]
