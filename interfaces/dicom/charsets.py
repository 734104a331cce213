"""Specific Character Set (0008,0005) in both directions (PS3.3 C.12.1.1.2, PS3.5 6.1)."""

import re
import unicodedata
from collections.abc import Sequence

from pydicom.charset import convert_encodings, custom_encoders, decode_bytes, encode_string, python_encoding

UTF_8 = "ISO_IR 192"

#: Where a run in another ISO 2022 set ends, beside control characters (PS3.5 6.1.2.5.3).
_DELIMITERS = set(b"\n\r\f\t\\^=")
_ASCII_TERMS = {"", "ISO_IR 6"}
#: Sets of one byte a letter or of none of ISO 2022's escapes; Latin-9 is newer than pydicom's table.
_CODECS = {
    "": "ascii",
    "ISO_IR 6": "ascii",
    "ISO_IR 100": "latin-1",
    "ISO_IR 203": "iso8859-15",
    UTF_8: "utf-8",
}

#: Latin letters and signs that are no base letter with an accent, as they are written without them.
_SPELT_OUT = {
    "ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D",
    "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ł": "l", "Ł": "L", "ħ": "h", "Ħ": "H", "ı": "i", "ŋ": "ng", "Ŋ": "Ng",
    "‘": "'", "’": "'", "‚": ",", "“": '"', "”": '"', "„": '"', "–": "-", "—": "-", "…": "...", "€": "EUR",
    "µ": "u", "·": ".", "×": "x",
}  # fmt: skip


def without_accents(letter: str) -> str:
    """A Latin letter in ASCII; what has no such form stays."""
    plain = _SPELT_OUT.get(letter) or unicodedata.normalize("NFKD", letter)[0]
    return plain if plain.isascii() else letter


class UnknownCharacterSet(Exception):
    """No such defined term."""


def terms(value: bytes) -> list[str]:
    """The defined terms in the bytes of a (0008,0005)."""
    return [term.strip(" \0") for term in value.decode("ascii", "replace").split("\\")]


def _known(charset: Sequence[str]) -> list[str]:
    for term in charset:
        if term not in python_encoding and term not in _CODECS:
            raise UnknownCharacterSet(term)
    return list(charset) or [""]


class Decoder:
    """Bytes of one data set into Unicode text, normalised (NFC)."""

    def __init__(self, charset: Sequence[str] = ()) -> None:
        charset = _known(charset)
        self._codec = _CODECS.get(charset[0], "") if len(charset) == 1 else ""
        if charset[0] in _ASCII_TERMS and len(charset) == 1:
            # Older modalities send ISO 8859-1 and forget to say so.
            self._codec = "latin-1"
        self._encodings = [] if self._codec else convert_encodings(charset)

    def __call__(self, value: bytes) -> str:
        """Raises UnicodeDecodeError on bytes that are not of the declared set."""
        if value.isascii() and b"\x1b" not in value:
            return value.decode("ascii")
        text = value.decode(self._codec) if self._codec else decode_bytes(value, self._encodings, _DELIMITERS)
        if "\ufffd" in text:
            raise UnicodeDecodeError("dicom", b"", 0, 0, "not of the declared character set")
        return unicodedata.normalize("NFC", text)


class Encoder:
    """Text into the set one station reads; counts what did not fit.

    Without a set, answers are UTF-8, which goes unnamed while all is ASCII.
    """

    def __init__(self, charset: str = "", *, without_accents: bool = False) -> None:
        self._without_accents = without_accents
        names = _known(terms(charset.encode()))
        self.name = "\\".join(names) if any(names) else UTF_8
        self.replaced = 0
        #: Values that were longer than their VR holds; counted by whoever cuts them.
        self.cut = 0
        #: Whether a value since this was last cleared needs the set to be named.
        self.beyond_ascii = False
        self._encodings: list[str] = []
        if self.name == UTF_8:
            self._codec = "utf-8"
        elif len(names) == 1 and not names[0].startswith("ISO 2022"):
            self._codec = _CODECS.get(names[0]) or python_encoding[names[0]]
        else:
            self._codec = ""
            self._encodings = convert_encodings(names)

    def __call__(self, text: str) -> bytes:
        """`text` in the set; a letter it lacks loses its accent, or becomes a question mark."""
        if text.isascii():
            return text.encode("ascii")
        text = unicodedata.normalize("NFC", text)
        if self._without_accents:
            text = "".join(map(without_accents, text))
        try:
            encoded = self._encode(text)
        except UnicodeEncodeError:
            encoded = self._encode("".join(map(self._nearest, text)))
        self.beyond_ascii |= not encoded.isascii() or b"\x1b" in encoded
        return encoded

    def has(self, text: str) -> bool:
        """Whether the set has all letters of `text`; when not, they count as replaced."""
        try:
            self._encode(text)
        except UnicodeEncodeError:
            self.replaced += len(text)
            return False
        return True

    def _encode(self, text: str) -> bytes:
        if self._codec:
            return text.encode(self._codec)
        # pydicom takes the default repertoire for ISO 8859-1, which would let accents through undeclared.
        beyond_ascii = [codec for codec in self._encodings if codec != "iso8859"]
        for letter in text:
            if not letter.isascii() and not any(_can(letter, codec) for codec in beyond_ascii):
                raise UnicodeEncodeError("dicom", "", 0, 0, "not in the station's sets")
        # Each component announces its set anew: a delimiter has ended the run before (PS3.5 6.1.2.5.3).
        pieces = re.split(r"([\\^=\n\r\f\t])", text)
        return b"".join(
            piece.encode() if piece.isascii() else encode_string(piece, self._encodings) for piece in pieces
        )

    def _nearest(self, letter: str) -> str:
        for candidate in (letter, without_accents(letter)):
            try:
                self._encode(candidate)
            except UnicodeEncodeError:
                continue
            self.replaced += candidate != letter
            return candidate
        self.replaced += 1
        return "?"


def _can(letter: str, codec: str) -> bool:
    encode = custom_encoders.get(codec)
    try:
        encode(letter, errors="strict") if encode else letter.encode(codec)
    except UnicodeError:
        return False
    return True
