"""Makes bad messages of good ones: the same seed, the same message (reliability: bad input)."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.stack import ROOT

CORPUS = Path(__file__).parent / "corpus"
#: Samples written by others, when the checkout stands beside them.
SAMPLES = ROOT.parent / "shared" / "data"

ADT = (
    "MSH|^~\\&|EMR|HOSP|LIGHTBOX|HARBOUR|20260301120000||ADT^A04|C1|P|2.3.1||||||UNICODE UTF-8\rEVN|A04|20260301115900\r"
    "PID|||004417268^^^HOSP^MR~99^^^OLD^PI||OKAFOR^ADAEZE^^^MRS||19680714|F|||12 QUAY RD^^NEW YORK^NY^10001||5550107719\r"
    "PV1||O|RAD^CT1||||1234^WEAVER^TIMOTHY^P^^DR|5101^NELL^FREDERICK^P^^DR|||||||||||V131-1^^^HOSP\r"
    "AL1|1|DA|PEN^Penicillin\r"
)
ORM = (
    "MSH|^~\\&|EMR|HOSP|LIGHTBOX|HARBOUR|20260301120000||ORM^O01|C2|P|2.5.1\r"
    "PID|||004417268^^^HOSP^MR||OKAFOR^ADAEZE||19680714|F\rPV1||O|RAD|||||||||||||||||V1\r"
    "ORC|NW|A1^EMR||G7|||1^once^^20260302090000^^S||20260301115500|||7101^ESTRADA^JAIME\r"
    "OBR|1|A1^EMR||CT-HEAD^CT head^L||||||||MRSA|headache \\T\\ nausea\\.br\\since May|||7101^ESTRADA|||||||||||1^once^^^^S"
    "|||WALK|R51^Headache\rNTE|1||first~second\rOBX|1|ED|PDF||^application^pdf^Base64^JVBERi0xLjQK||||||F\r"
)
MERGE = (
    "MSH|^~\\&|EMR|HOSP|||20260301120000||ADT^A40|C3|P|2.5.1|||AL|ER\rEVN|A40|20260301115900\r"
    "PID|||1^^^HOSP^MR||\u5c71\u7530^\u592a\u90ce^^^^^^I\rMRG|2^^^HOSP^MR\r"
)


def seeds() -> list[bytes]:
    """Good messages: ours, and those of others that are at hand."""
    found = [message.encode() for message in (ADT, ORM, MERGE)]
    if SAMPLES.is_dir():
        paths = sorted(path for path in SAMPLES.glob("hl7*/**/*.hl7") if path.stat().st_size < 4_000)
        found += [path.read_bytes().replace(b"\r\n", b"\r").replace(b"\n", b"\r") for path in paths[:150]]
    return found


def corpus() -> list[tuple[str, bytes]]:
    """Messages that once did harm, and each kind that must never do any."""
    return [(path.name, path.read_bytes()) for path in sorted(CORPUS.glob("*.hl7"))]


Mutation = Callable[[bytes, random.Random], bytes]

_HEADERS = [
    b"", b"MSH", b"MSH|", b"MSH|^", b"MSH|^~\\&", b"MSH||||||||ADT^A04|1|P|2.3", b"MSH|^^^^|A|B|C|D||ADT^A04|1|P|2.3",
    b"MSHA^~\\&AEMRA", b"MSH|abcd|EMR|HOSP|||1||ADT^A04|1|P|2.3", b"MSH|^~|EMR|HOSP|||1||ADT^A04|1|P|2.3",
    b"MSH|^~\\&#!?*|EMR|HOSP|||1||ADT^A04|1|P|2.3", b"msh|^~\\&|EMR|HOSP|||1||adt^a04|1|p|2.3",
    b"FHS|^~\\&|EMR\rBHS|^~\\&|EMR", b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>",
    b"GET / HTTP/1.1\r\nHost: x", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"MSA|AA|1", b"\xef\xbb\xbfMSH|^~\\&|E",
]  # fmt: skip
_VALUES = [
    b"", b'""', b'"', b"\x00", b"\x0b", b"\x1c", b"\x1c\x0b", b"\xff\xfe", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
    "\u202egro.live".encode(), "A\u200bB".encode(), b"\x1b$B;3ED\x1b(B", b"\x1b$", b"O'BRIEN; DROP TABLE",
    b"=cmd|' /C calc'!A0",
    b"<script>alert(1)</script>", b"{{7*7}}", b"%s%n", b"../../etc/passwd", b"\\X0D\\PID|9\\", b"\\X0", b"\\X\\", b"\\Xzz\\",
    b"\\E\\E\\", b"\\\\\\\\", b"\\.sp99999999\\", b"\\.sp-1\\", b"\\.in+9999\\", b"\\ZZZ\\", b"\\C2842\\", b"\\M2842\\",
    b"00000000", b"20260230", b"0001", b"99991231235959.9999+9999", b"20260301-9999", b"1e400", b"-1", b"NaN", b"9" * 300,
    b"A" * 5000, b"^" * 600, b"~" * 1100, b"&" * 600, b"^~&" * 300, "\U0001f9e0".encode(), b"\xa4\xe4\xf6\xfc", b"|" * 400,
]  # fmt: skip
_CHARSETS = [
    b"", b"ASCII", b"8859/1", b"8859/15", b"UNICODE UTF-8", b"UNICODE", b"ISO IR87", b"ISO IR14~ISO IR87", b"GB 18030-2000",
    b"KS X 1001", b"EBCDIC", b"utf-7", b"~~~", b"ISO IR159",
]  # fmt: skip
_TYPES = [
    b"", b"ADT", b"ADT^", b"^A04", b"ADT^A99", b"ZZZ^Z01", b"ORM", b"ADT^A04^ADT_A01", b"ACK", b"ACK^A04", b"ORR^O02",
    b"SIU^S12", b"ADT^A40", b"ADT^A43", b"ORU^R01", b"QBP^Q22", b"adt^a08", b"A" * 300,
]  # fmt: skip


def _lines(raw: bytes) -> list[bytes]:
    return [line for line in raw.split(b"\r") if line]


def _drop(raw: bytes, dice: random.Random) -> bytes:
    lines = _lines(raw)
    del lines[dice.randrange(len(lines))]
    return b"\r".join(lines) + b"\r"


def _double(raw: bytes, dice: random.Random) -> bytes:
    lines = _lines(raw)
    lines.insert(dice.randrange(len(lines) + 1), dice.choice(lines))
    return b"\r".join(lines) + b"\r"


def _swap(raw: bytes, dice: random.Random) -> bytes:
    lines = _lines(raw)
    dice.shuffle(lines)
    return b"\r".join(lines) + b"\r"


def _cut(raw: bytes, dice: random.Random) -> bytes:
    return raw[: dice.randrange(len(raw) + 1)]


def _header(raw: bytes, dice: random.Random) -> bytes:
    return b"\r".join([dice.choice(_HEADERS), *_lines(raw)[1:]])


def _field(raw: bytes, dice: random.Random) -> bytes:
    """Another value in one field of one segment."""
    lines = _lines(raw)
    number = dice.randrange(len(lines))
    fields = lines[number].split(b"|")
    fields[dice.randrange(len(fields))] = dice.choice(_VALUES)
    lines[number] = b"|".join(fields)
    return b"\r".join(lines) + b"\r"


def _component(raw: bytes, dice: random.Random) -> bytes:
    places = [number for number, byte in enumerate(raw) if byte in b"^~&|\\"]
    if not places:
        return raw
    where = dice.choice(places)
    return raw[: where + 1] + dice.choice(_VALUES) + raw[where + 1 :]


def _of_header(position: int, values: list[bytes]) -> Mutation:
    def mutate(raw: bytes, dice: random.Random) -> bytes:
        lines = _lines(raw)
        fields = lines[0].split(b"|")
        fields += [b""] * (position - len(fields))
        fields[position - 1] = dice.choice(values)
        return b"\r".join([b"|".join(fields), *lines[1:]]) + b"\r"

    return mutate


def _ends(raw: bytes, dice: random.Random) -> bytes:
    return b"".join(line + dice.choice([b"\r", b"\n", b"\r\n", b"\n\r", b"\r\r"]) for line in _lines(raw))


def _bytes(raw: bytes, dice: random.Random) -> bytes:
    found = bytearray(raw)
    for _ in range(dice.choice([1, 1, 2, 8])):
        if found:
            found[dice.randrange(len(found))] = dice.randrange(256)
    return bytes(found)


def _insert(raw: bytes, dice: random.Random) -> bytes:
    where = dice.randrange(len(raw) + 1)
    return raw[:where] + dice.choice(_VALUES) + raw[where:]


def _encoded(raw: bytes, dice: random.Random) -> bytes:
    text = raw.decode("utf-8", "replace")
    return text.encode(
        dice.choice(["utf-16", "utf-16-le", "latin-1", "cp1252", "shift_jis", "utf-7"]), "replace"
    )


def _separators(raw: bytes, dice: random.Random) -> bytes:
    """Other separators throughout, or only announced."""
    marks = bytes(dice.sample(b"|^~\\&#$%*!;:,/?@", 5))
    if dice.random() < 0.3:
        return raw[:3] + marks + raw[8:]
    return raw.translate(bytes.maketrans(b"|^~\\&", marks))


def _splice(raw: bytes, dice: random.Random) -> bytes:
    other = dice.choice([ADT, ORM, MERGE]).encode()
    return raw[: dice.randrange(len(raw) + 1)] + other[dice.randrange(len(other)) :]


MUTATIONS: list[Mutation] = [
    _drop, _double, _swap, _cut, _header, _field, _field, _field, _component, _component, _ends, _bytes, _insert, _encoded,
    _separators, _splice, _of_header(9, _TYPES), _of_header(10, [b"", b"X" * 199, b"X" * 10_000, b"1^2", b"\x00"]),
    _of_header(11, [b"", b"T", b"D", b"X", b"P^A"]), _of_header(12, [b"", b"9.9", b"2", b"2.5.1^USA", b"x" * 50]),
    _of_header(13, [b"", b"0", b"-1", b"5", b"x", b"9" * 40]), _of_header(15, [b"AL", b"NE", b"ER", b"SU", b"XX"]),
    _of_header(16, [b"AL", b"NE", b"ER", b"SU", b"XX"]), _of_header(18, _CHARSETS),
]  # fmt: skip


def mutant(seed: int, good: list[bytes]) -> bytes:
    """Mutant number `seed`: one to four changes to one of the good messages."""
    dice = random.Random(seed)
    raw = dice.choice(good)
    for _ in range(dice.choice([1, 1, 1, 2, 2, 4])):
        raw = dice.choice(MUTATIONS)(raw, dice) if _lines(raw) else dice.choice(_HEADERS)
    return raw


def giants() -> Iterator[tuple[str, bytes]]:
    """The ones that make a slow parser stand still."""
    head = ORM.encode()
    yield "100,000 components", head.replace(b"headache", b"^" * 100_000)
    yield "1,000,000 repetitions", head.replace(b"headache", b"~" * 1_000_000)
    yield "1,000,000 escapes", head.replace(b"headache", b"\\" * 1_000_000)
    yield "300,000 open escapes", head.replace(b"headache", b"\\X" * 300_000)
    yield "20,000 segments", head + b"NTE|1||x\r" * 20_000
    yield "1,000,000 line ends", head + b"\r\n" * 500_000
    yield "10 MB in a field", head.replace(b"headache", b"A" * 10_000_000)
    yield "1,000,000 fields", head + b"ZZZ" + b"|" * 1_000_000
    yield "10 MB of separators in MSH", head.replace(b"|HOSP|", b"|" * 10_000_000, 1)
