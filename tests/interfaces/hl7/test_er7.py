"""Reading ER7: nothing lost, nothing guessed, never slow."""

import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interfaces.hl7 import er7
from ris.core.errors import BadValue, RisError

HEADER = "MSH|^~\\&|EMR|HOSP|RIS|RAD|20260301||ADT^A08|1|P|2.5.1"


def message(*lines: str, header: str = HEADER) -> er7.Message:
    return er7.Message("\r".join([header, *lines]))


def test_a_field_is_read_by_its_path() -> None:
    msg = message("PID|1||7^^^A&1.2&ISO^MR~8^^^B||OKAFOR^ADAEZE")
    assert msg.get("PID-3") == "7"
    assert msg.get("PID-3.4.2") == "1.2"
    assert msg.get("PID-3[2].4") == "B"
    assert msg.get("PID-5.2") == "ADAEZE"
    assert msg.get("PID-99") == msg.get("ZZZ-1") == msg.get("PID-3[9]") == ""
    assert msg.get("MSH-9.2") == "A08"
    assert msg.get("MSH-2") == "^~\\&"


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\r\n"])
def test_any_line_end_ends_a_segment(end: str) -> None:
    msg = er7.Message(end.join([HEADER, "EVN||20260301", "PID|||7"]) + end)
    assert [segment.name for segment in msg.segments] == ["MSH", "EVN", "PID"]


def test_the_sender_chooses_the_separators() -> None:
    """MLLP-11."""
    msg = er7.Message("MSH#!@%*#A#B#C#D#20260301##ADT!A01#MSG007#P#2.5\rPID#1##12345!!!MRN##DOE*X!JOHN!A")
    assert (msg.get("MSH-9.2"), msg.get("PID-3.4"), msg.get("PID-5.1.2"), msg.get("PID-5.3")) == (
        "A01", "MRN", "X", "A",
    )  # fmt: skip


@pytest.mark.parametrize(
    "header", ["MSH|", "MSH|^", "MSH|^^~\\&|A", "MSH|A~\\&|B", "MSHA^~\\&", "PID|||7", "", "GET / HTTP/1.1"]
)
def test_without_usable_separators_nothing_is_read(header: str) -> None:
    with pytest.raises(er7.Unreadable):
        er7.Message(header)


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("O\\T\\M \\F\\ \\S\\ \\R\\ \\E\\", "O&M | ^ ~ \\"),
        ("one\\.br\\two\\.sp\\three\\.sp2\\four", "one\ntwo\nthree\n\nfour"),
        ("\\X48C3A9\\ and \\XE9\\", "Hé and é"),
        ("\\X0D\\PID|", "\nPID|"),
        ("\\H\\bold\\N\\ text", "bold text"),
        ("kept \\Z99\\ and \\.xx\\", "kept \\Z99\\ and \\.xx\\"),
        ("C:\\temp", "C:\\temp"),
        ("odd hex \\X0\\", "odd hex \\X0\\"),
    ],
)
def test_escapes_are_undone_and_unknown_ones_kept(sent: str, meant: str) -> None:
    """MLLP-12."""
    assert er7.decode(sent) == meant


def test_empty_says_nothing_and_two_quotes_delete() -> None:
    """MLLP-13."""
    msg = message('PID|||7||A^B||""|')
    pid = msg.segments[1]
    assert pid.first(7).is_delete
    assert not pid.first(8).is_delete
    assert pid.get(7) == pid.get(8) == ""


@pytest.mark.parametrize(
    ("declared", "codec"),
    [
        ("8859/1", "iso-8859-1"),
        ("UNICODE UTF-8", "utf-8"),
        ("8859/2~UNICODE UTF-8", "iso-8859-2"),
        ("", "utf-8"),
        ("GB 18030-2000", "gb18030"),
        ("KS X 1001", "euc_kr"),
    ],
)
def test_msh_18_names_the_character_set(declared: str, codec: str) -> None:
    name = {"iso-8859-2": "Łódź", "gb18030": "王小東", "euc_kr": "김희중"}.get(codec, "NÚÑEZ")
    raw = f"{HEADER}||||||{declared}\rPID|||7||{name}^JOSE".encode(codec)
    assert er7.read(raw).get("PID-5") == name


def test_a_kanji_that_contains_a_separator_stays_whole() -> None:
    """宇都宮 is ESC $ B 1 ' E T 5 \\ in ISO 2022: the last byte is a backslash."""
    raw = f"{HEADER}||||||ISO IR6~ISO IR87\rPID|||7||u^t=宇都宮^太郎=うつのみや^たろう".encode("iso2022_jp")
    msg = er7.read(raw)
    assert msg.segments[1].raw(5) == "u^t=宇都宮^太郎=うつのみや^たろう"


def test_latin_1_declared_as_utf_8_is_refused_with_its_place() -> None:
    raw = f"{HEADER}||||||UNICODE UTF-8\rPID|||7||NÚÑEZ^JOSE".encode("iso-8859-1")
    with pytest.raises(BadValue) as refusal:
        er7.read(raw)
    assert refusal.value.location == "PID-5"


def test_an_unknown_set_is_taken_for_plain_letters_only() -> None:
    plain = f"{HEADER}||||||ISO IR 999\rPID|||7||DOE".encode()
    assert er7.read(plain).get("PID-5") == "DOE"
    with pytest.raises(BadValue) as refusal:
        er7.read(plain + "é".encode())
    assert refusal.value.location == "MSH-18"


def test_half_of_a_broken_field_is_no_segment() -> None:
    """MLLP-17."""
    msg = message("OBX|4|ED|18748-4||^A^PDF^Base64^JVBERi0x", "A0KJSVFT0YNCg==||||||F")
    with pytest.raises(er7.BadSegment):
        msg.check_shape()


def test_two_messages_in_one_frame_are_no_message() -> None:
    with pytest.raises(er7.BadSegment):
        message("PID|||7", HEADER).check_shape()


@pytest.mark.parametrize(
    "wide",
    ["^" * 100_000, "~" * 1_000_000, "&" * 100_000, "|" * 1_000_000, "\\" * 1_000_000, "A\\.br\\" * 200_000],
)
def test_width_costs_linear_time(wide: str) -> None:
    """Of the processor's time, so that a busy machine does not matter; the goal for 1 MB is 0.2 s."""
    began = time.thread_time()
    try:
        msg = message(f"PID|||{wide}")
        msg.get("PID-3.1")
        msg.get("PID-5")
    except RisError:
        pass
    assert time.thread_time() - began < 2


def test_a_document_as_large_as_a_frame_is_read_or_refused_quickly() -> None:
    began = time.thread_time()
    assert message("OBX|1|ED|PDF||" + "A" * (20 * 1024 * 1024)).get("OBX-1") == "1"
    with pytest.raises(er7.Unreadable, match="OBX is larger than 20 MB"):
        message("PID|||7", "OBX|1|ED|PDF||" + "A" * (20 * 1024 * 1024 + 1))
    assert time.thread_time() - began < 6


def test_twice_the_width_costs_no_more_than_twice() -> None:
    """A reader whose cost grows by the square would need sixteen times as long for four times as much."""

    def cost(size: int) -> float:
        wide = "A^B~C\\T\\D&E" * size
        times = []
        for _ in range(5):
            began = time.thread_time()
            with suppress(RisError):
                message(f"PID|||{wide}|{wide}", f"OBX|1|FT|||{wide.replace('~', '').replace('^', '')}").get(
                    "OBX-5"
                )
            times.append(time.thread_time() - began)
        return min(times)

    assert cost(40_000) < 10 * cost(10_000)


def test_many_segments_are_refused_quickly() -> None:
    with pytest.raises(er7.Unreadable):
        message(*["NTE|1||x"] * 20_000)


def test_no_value_ends_its_field_or_its_segment() -> None:
    """MLLP-11, MLLP-12."""
    line = er7.segment("OBX", {1: "1", 5: "a|b^c~d&e\\f\r\nPID|evil\x0b\x1c\rg"})
    assert "\r" not in line
    assert "\x1c" not in line
    assert line.count("|") == 5
    read = er7.Message(f"{HEADER}\r{line}").get("OBX-5")
    assert read == "a|b^c~d&e\\f\nPID|evil\ng"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200))
def test_what_is_encoded_is_read_back(value: str) -> None:
    line = er7.segment("NTE", {3: ["", value, [value, value]]})
    repetition = er7.Message(f"{HEADER}\r{line}").segments[1].first(3)
    assert repetition.untrimmed(2) == repetition.untrimmed(3) == repetition.untrimmed(3, 2) == value


@settings(max_examples=300, deadline=1000)
@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    for start in (b"", HEADER.encode() + b"\rPID|"):
        try:
            msg = er7.read(start + raw)
            msg.check_shape()
            for segment in msg.segments:
                for field in range(1, 4):
                    for repetition in segment.repetitions(field):
                        repetition.parts()
        except RisError:
            pass
