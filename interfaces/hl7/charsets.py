"""Character sets of MSH-18 (table 0211, conformance 3.3) in both directions. Nothing is guessed or replaced.

Japanese and other ISO 2022 sets switch by escape sequences, so the whole message is decoded before it is split:
a `|` may be half of a kanji.
"""

import re
import unicodedata

from ris.core.errors import BadValue

UTF_8 = "UNICODE UTF-8"

#: MSH-18 to Python's codec.
CHARSETS = {
    "ASCII": "ascii",
    "8859/1": "iso-8859-1",
    "8859/2": "iso-8859-2",
    "8859/3": "iso-8859-3",
    "8859/4": "iso-8859-4",
    "8859/5": "iso-8859-5",
    "8859/6": "iso-8859-6",
    "8859/7": "iso-8859-7",
    "8859/8": "iso-8859-8",
    "8859/9": "iso-8859-9",
    "8859/15": "iso-8859-15",
    "ISO IR6": "ascii",
    "ISO IR14": "shift_jis",
    "ISO IR87": "iso2022_jp_ext",
    "ISO IR159": "iso2022_jp_ext",
    "KS X 1001": "euc_kr",
    "GB 18030-2000": "gb18030",
    "BIG-5": "big5hkscs",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UNICODE UTF-16": "utf-16",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
}

#: What designates a set for the bytes after it (ISO 2022), to the codec of a stretch in it.
_DESIGNATES = {
    b"\x1b(B": "ascii",
    b"\x1b(J": "shift_jis",
    b"\x1b)I": "shift_jis",
    b"\x1b-A": "iso-8859-1",
    b"\x1b-B": "iso-8859-2",
    b"\x1b-C": "iso-8859-3",
    b"\x1b-D": "iso-8859-4",
    b"\x1b-L": "iso-8859-5",
    b"\x1b-G": "iso-8859-6",
    b"\x1b-F": "iso-8859-7",
    b"\x1b-H": "iso-8859-8",
    b"\x1b-M": "iso-8859-9",
    b"\x1b$)C": "euc_kr",
    b"\x1b$)A": "gb2312",
}
_ESCAPES = re.compile(rb"(\x1b(?:[(),*+-][A-Z]|\$[()]?[A-Z@]))")
#: Sets of two bytes that stand in the place of ASCII: Python's ISO 2022 codec reads those.
_TWO_BYTES = re.compile(rb"\x1b\$(?:[@B]|\(D)")
_LINE_END = re.compile(r"[\r\n]+")


def header_line(raw: bytes) -> str:
    """The first line of the bytes, readable even when the rest is not."""
    start = raw.removeprefix(b"\xef\xbb\xbf").lstrip(b"\x0b\r\n ")
    if _is_utf_16(start):
        start = (
            start[:8192].decode("utf-16" if start[:1] in b"\xff\xfe" else _order(start), "replace").encode()
        )
    end = min(
        (position for position in (start.find(b"\r"), start.find(b"\n")) if position >= 0), default=len(start)
    )
    return start[: min(end, 4096)].decode("iso-8859-1")


def _is_utf_16(raw: bytes) -> bool:
    return raw[:2] in (b"\xff\xfe", b"\xfe\xff") or raw[:4] in (b"M\0S\0", b"\0M\0S")


def _order(raw: bytes) -> str:
    return "utf-16-be" if raw[:1] == b"\0" else "utf-16-le"


def declared(raw: bytes) -> list[str]:
    """The names in MSH-18."""
    header = header_line(raw)
    fields = header.split(header[3:4] or "|")
    marks = fields[1] if len(fields) > 1 else ""
    names = fields[17].split(marks[1] if len(marks) > 1 else "~") if len(fields) > 17 else []
    return [name.strip().upper() for name in names if name.strip()]


def decode(raw: bytes, default: str = UTF_8) -> str:
    """The text of a message by MSH-18, or by the endpoint's default when MSH-18 is empty.

    Of several sets the first holds at the start, the others are reached by escape sequences (2.5.1 2.15.9.18).
    Raises BadValue naming the field that holds the first byte which cannot be: a wrong letter in a name is a
    wrong name. An unknown set is allowed for plain ASCII.
    """
    names = declared(raw)
    name = names[0] if names else default
    codec = CHARSETS.get(name, "ascii" if name else "utf-8")
    try:
        if _is_utf_16(raw):
            text = raw.decode("utf-16" if raw[:1] in b"\xff\xfe" else _order(raw))
        elif b"\x1b" in raw and codec not in ("utf-8", "gb18030"):
            text = _decode_switched(raw, codec)
        else:
            text = raw.decode("utf-8" if codec == "utf-16" else codec)
            text = _plain(text) if codec == "shift_jis" else text
    except UnicodeDecodeError as error:
        _refuse_unknown(names)
        how = "declared" if names else "assumed"
        raise BadValue(
            f"The bytes are not {'~'.join(names) or name or codec}, the {how} character set; name the right one in MSH-18.",
            location=_locate(raw[: error.start]),
        ) from None
    if "\x1b" in text:
        _refuse_unknown(names)
    if "\x00" in text:
        raise BadValue("The message holds a NUL character.", location=_locate(raw[: raw.find(b"\x00")]))
    return text


def _refuse_unknown(names: list[str]) -> None:
    unknown = next((one for one in names if one not in CHARSETS), "")
    if unknown:
        raise BadValue(f"MSH-18 names the unknown character set {unknown[:20]}.", location="MSH-18")


def _plain(text: str) -> str:
    """JIS X 0201 has a yen sign and an overline where ASCII has the escape and the repetition mark."""
    return text.replace("\xa5", "\\").replace("\u203e", "~")


def _decode_switched(raw: bytes, codec: str) -> str:
    """Stretch by stretch, each in the set that the escape sequence before it designates."""
    pieces: list[str] = []
    at = 0
    current, designation = "ascii" if codec == "iso2022_jp_ext" else codec, b""
    for piece in _ESCAPES.split(raw):
        try:
            if not piece.startswith(b"\x1b"):
                pieces.append(_plain(_decode_stretch(piece, current, designation)))
            elif _TWO_BYTES.fullmatch(piece) or piece == b"\x1b(I":
                current, designation = "iso2022_jp_ext", piece
            elif piece in _DESIGNATES:
                # Back to ASCII is back to the first set, whose upper half was never left.
                back = piece == b"\x1b(B" and codec != "iso2022_jp_ext"
                current, designation = (codec if back else _DESIGNATES[piece]), b""
            else:
                raise UnicodeDecodeError(codec, raw, 0, 1, "an unknown escape sequence")
        except UnicodeDecodeError as error:
            raise UnicodeDecodeError(
                codec, raw, at + max(error.start - len(designation), 0), at + 1, ""
            ) from None
        at += len(piece)
    return "".join(pieces)


def _decode_stretch(piece: bytes, codec: str, designation: bytes) -> str:
    if not designation:
        return piece.decode(codec)
    # A field's end is also the end of the two bytes, for senders that forget to say so.
    end = next((place for place, byte in enumerate(piece) if byte in b"\r\n"), len(piece))
    return (designation + piece[:end] + b"\x1b(B").decode(codec) + piece[end:].decode("ascii")


def _locate(before: bytes) -> str:
    """The field in which the bytes `before` end."""
    text = before.decode("iso-8859-1").lstrip("\x0b\r\n ")
    lines = [line for line in _LINE_END.split(text) if line]
    if not lines:
        return "MSH-1"
    line = lines[-1]
    separator = lines[0][3:4] or "|"
    name = line[:3].upper()
    field = line.count(separator) + (1 if name == "MSH" else 0)
    index = sum(1 for other in lines if other[:3].upper() == name)
    return f"{name}-{field}" if index == 1 else f"{name}[{index}]-{field}"


#: Sets that are reached from ASCII by escape sequences: MSH-18 names both.
_SWITCHED = {
    "ISO IR87": ("ISO IR6~ISO IR87", "iso2022_jp"),
    "ISO IR159": ("ISO IR6~ISO IR87~ISO IR159", "iso2022_jp_ext"),
}


def choose(text: str, wanted: str, *, transliterate: bool = False) -> tuple[str, str, str]:
    """(MSH-18, codec, text) to send `text` in the set `wanted`: "" and ASCII when that is enough (MLLP-14).

    Letters that the set lacks make it UTF-8, or lose their accents where the site chose so and that suffices.
    """
    if text.isascii():
        return "", "ascii", text
    name, codec = _SWITCHED.get(wanted) or (wanted, CHARSETS.get(wanted, "utf-8"))
    # UTF-16 has no place in an MLLP frame.
    if codec not in ("utf-8", "utf-16"):
        candidates = [text, _unaccented(text, codec)] if transliterate else [text]
        for candidate in candidates:
            if _fits(candidate, codec):
                return ("", "ascii", candidate) if candidate.isascii() else (name, codec, candidate)
    return UTF_8, "utf-8", text


def _fits(text: str, codec: str) -> bool:
    try:
        # Both ways: a codec may write one letter for two.
        return text.encode(codec).decode(codec) == text
    except UnicodeError:
        return False


def _unaccented(text: str, codec: str) -> str:
    return "".join(
        letter if _fits(letter, codec) else "".join(
            part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(part)
        )
        for letter in text
    )  # fmt: skip
