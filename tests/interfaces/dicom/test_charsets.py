"""Text in the character sets of PS3.3 C.12.1.1.2, against pydicom's."""

import pytest
from pydicom.charset import convert_encodings
from pydicom.valuerep import PersonName

from interfaces.dicom.charsets import Decoder, Encoder, UnknownCharacterSet, terms

TEXTS = {
    "ISO_IR 100": "Äneas^Rüdiger",
    "ISO_IR 101": "Wałęsa^Łukasz",
    "ISO_IR 109": "Ġorġ^Ħal",
    "ISO_IR 110": "Ģirts^Šķēle",
    "ISO_IR 126": "Διονυσιος",
    "ISO_IR 127": "قباني^لنزار",
    "ISO_IR 138": "שרון^דבורה",
    "ISO_IR 144": "Люкceмбypг",
    "ISO_IR 148": "Çavuşoğlu",
    "ISO_IR 192": "Wang^XiaoDong=王^小東=ワン",
    "GB18030": "Wang^XiaoDong=王^小东",
    "\\ISO 2022 IR 87": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "ISO 2022 IR 13\\ISO 2022 IR 87": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "ISO 2022 IR 6\\ISO 2022 IR 149": "Hong^Gildong=洪^吉洞=홍^길동",
}


@pytest.mark.parametrize("charset", TEXTS)
def test_text_comes_back_as_it_went(charset: str) -> None:
    encode = Encoder(charset)
    encoded = encode(TEXTS[charset])
    assert Decoder(terms(charset.encode()))(encoded) == TEXTS[charset]
    assert encode.replaced == 0
    assert encode.beyond_ascii
    assert encode.name == charset


@pytest.mark.parametrize("charset", TEXTS)
def test_pydicom_reads_the_same_name(charset: str) -> None:
    name = PersonName(Encoder(charset)(TEXTS[charset]), convert_encodings(charset.split("\\")))
    assert str(name.decode()) == TEXTS[charset]


def test_letters_a_set_lacks_lose_their_accent_or_become_question_marks() -> None:
    encode = Encoder("ISO_IR 100")
    assert encode("Müller Őry 山") == b"M\xfcller Ory ?"
    assert encode.replaced == 2
    plain = Encoder("ISO_IR 6")
    assert plain("Müller 山") == b"Muller ?"
    assert not plain.beyond_ascii


def test_ascii_needs_no_set_to_be_named() -> None:
    encode = Encoder()
    assert encode("Doe^Jane") == b"Doe^Jane"
    assert not encode.beyond_ascii


def test_bytes_that_are_not_of_the_declared_set_are_refused() -> None:
    with pytest.raises(UnicodeDecodeError):
        Decoder(["ISO_IR 192"])(b"M\xfcller")


def test_latin_letters_without_a_declared_set_are_read_as_such() -> None:
    assert Decoder()(b"M\xfcller") == Decoder(["ISO_IR 6"])(b"M\xfcller") == "Müller"


def test_an_unknown_set_is_refused() -> None:
    with pytest.raises(UnknownCharacterSet):
        Decoder(["ISO_IR 100", "KLINGON"])
    with pytest.raises(UnknownCharacterSet):
        Encoder("KLINGON")


def test_decomposed_letters_are_composed() -> None:
    assert Decoder(["ISO_IR 192"])("Mu\u0308ller".encode()) == "Müller"
