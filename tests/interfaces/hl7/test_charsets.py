"""MLLP-14 and conformance 3.3: MSH-18 in both directions; no letter is guessed, replaced or lost."""

import pytest

from interfaces.hl7 import charsets, er7
from ris.core.errors import BadValue

HEADER = "MSH|^~\\&|EMR|HOSP|RIS|RAD|20260301||ADT^A08|1|P|2.5.1||||||"
#: A MESA name of test 141 (SCN-14), byte for byte.
MESA = b"utsunomiya^tarou=\x1b$B1'ET5\\\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$&$D$N$_$d\x1b(B^\x1b$B$?$m$&\x1b(B"


def name(declared: str, raw: bytes) -> str:
    read = er7.read(f"{HEADER}{declared}\rPID|||7||".encode() + raw + b"||19780214")
    assert read.get("PID-7") == "19780214"
    return read.segments[1].raw(5)


@pytest.mark.parametrize(
    ("declared", "raw", "meant"),
    [
        ("", "NÚÑEZ".encode(), "NÚÑEZ"),
        ("ASCII", b"DOE", "DOE"),
        ("8859/1", "NÚÑEZ".encode("latin-1"), "NÚÑEZ"),
        ("8859/2", "Łódź".encode("iso-8859-2"), "Łódź"),
        ("8859/3", "Ĉapelo".encode("iso-8859-3"), "Ĉapelo"),
        ("8859/4", "Šiauliai".encode("iso-8859-4"), "Šiauliai"),
        ("8859/5", "Люкceмбypг".encode("iso-8859-5"), "Люкceмбypг"),
        ("8859/6", "قباني".encode("iso-8859-6"), "قباني"),
        ("8859/7", "Διονυσιος".encode("iso-8859-7"), "Διονυσιος"),
        ("8859/8", "שרון".encode("iso-8859-8"), "שרון"),
        ("8859/9", "Çavuşoğlu".encode("iso-8859-9"), "Çavuşoğlu"),
        ("8859/15", "Œuvrard".encode("iso-8859-15"), "Œuvrard"),
        ("UNICODE UTF-8", "Wang^XiaoDong=王^小東".encode(), "Wang^XiaoDong=王^小東"),
        ("GB 18030-2000", "王^小东".encode("gb18030"), "王^小东"),
        ("BIG-5", "王^功".encode("big5"), "王^功"),  # 功 is A5 5C: half of it looks like an escape mark
        ("KS X 1001", "김^희중".encode("euc_kr"), "김^희중"),
        ("ISO IR6~KS X 1001", b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", "Hong^Gildong=洪^吉洞"),
        ("ISO IR6~ISO IR87", MESA, "utsunomiya^tarou=宇都宮^太郎=うつのみや^たろう"),
        ("ISO IR14", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
        ("ISO IR14~ISO IR87", b"\xd4\xcf\xc0\xde=\x1b$B;3ED\x1b(J", "ﾔﾏﾀﾞ=山田"),
        ("8859/1~ISO IR87", b"M\xfcller=\x1b$B;3ED\x1b(B^\xe9", "Müller=山田^é"),
        ("ISO IR6~ISO IR87~ISO IR159", b"=\x1b$(D0\"\x1b(B^\x1b$B;3\x1b(B", "=丄^山"),
    ],
)  # fmt: skip
def test_every_set_is_read(declared: str, raw: bytes, meant: str) -> None:
    """MLLP-14, SCN-14."""
    assert name(declared, raw) == meant


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_known_by_its_first_bytes(codec: str) -> None:
    assert er7.read(f"{HEADER}UNICODE UTF-16\rPID|||7||Łódź^王".encode(codec)).get("PID-5.2") == "王"


@pytest.mark.parametrize(
    ("declared", "raw", "place"),
    [
        ("UNICODE UTF-8", "NÚÑEZ".encode("latin-1"), "PID-5"),
        ("", "NÚÑEZ".encode("latin-1"), "PID-5"),
        ("ASCII", "NÚÑEZ".encode(), "PID-5"),
        ("8859/3", b"\xa5", "PID-5"),
        ("ISO IR6~ISO IR87", "Müller".encode("latin-1"), "PID-5"),
        ("ISO IR6~ISO IR87", b"DOE=\x1b$B\x7f\x7f\x1b(B", "PID-5"),
        ("ISO IR6~ISO IR 999", b"DOE=\x1b%/A", "MSH-18"),
        ("EBCDIC", "é".encode(), "MSH-18"),
        ("UNICODE UTF-8", b"\xc0\xaf", "PID-5"),  # an overlong /
        ("UNICODE UTF-8", b"\xed\xa0\x80", "PID-5"),  # half of a surrogate pair
    ],
)
def test_bytes_of_another_set_are_refused_with_their_place(declared: str, raw: bytes, place: str) -> None:
    """ERR-03."""
    with pytest.raises(BadValue) as refusal:
        name(declared, raw)
    assert refusal.value.location == place


@pytest.mark.parametrize(
    ("text", "wanted", "declared"),
    [
        ("DOE", "8859/1", ""),
        ("Müller", "8859/1", "8859/1"),
        ("Łódź", "8859/2", "8859/2"),
        ("Łódź", "8859/1", "UNICODE UTF-8"),
        ("山田^太郎", "ISO IR87", "ISO IR6~ISO IR87"),
        ("Müller=山田", "ISO IR87", "UNICODE UTF-8"),
        ("王小东", "GB 18030-2000", "GB 18030-2000"),
        ("김희중", "KS X 1001", "KS X 1001"),
        ("é", "UNICODE UTF-16", "UNICODE UTF-8"),
    ],
)
def test_what_goes_out_is_read_back_by_the_set_it_names(text: str, wanted: str, declared: str) -> None:
    named, codec, sent = charsets.choose(text, wanted)
    assert (named, sent) == (declared, text)
    assert er7.read(f"{HEADER}{named}\rPID|||7||{sent}".encode(codec)).segments[1].raw(5) == text


def test_accents_go_only_where_the_site_said_so_and_no_letter_with_them() -> None:
    assert charsets.choose("Dvořák", "8859/1", transliterate=True) == ("8859/1", "iso-8859-1", "Dvorák")
    assert charsets.choose("Dvořak", "8859/1", transliterate=True) == ("", "ascii", "Dvorak")
    assert charsets.choose("王", "8859/1", transliterate=True) == ("UNICODE UTF-8", "utf-8", "王")
