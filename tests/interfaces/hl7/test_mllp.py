"""Framing: however the bytes come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interfaces.hl7.mllp import Deframer, frame


def frames(deframer: Deframer, *pieces: bytes) -> list[bytes]:
    return [one.message for piece in pieces for one in deframer.feed(piece)]


@given(
    st.lists(st.binary(max_size=40).map(lambda raw: raw.translate(None, b"\x0b\x1c")), max_size=6), st.data()
)
def test_frames_come_out_whole_however_they_are_split(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frame(one) for one in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert frames(Deframer(), *pieces) == messages


def test_byte_by_byte() -> None:
    stream = b"noise" + frame(b"MSH|one") + b"\r\n" + frame(b"MSH|two")
    assert frames(Deframer(), *(bytes([byte]) for byte in stream)) == [b"MSH|one", b"MSH|two"]


def test_a_half_frame_is_given_up_when_a_new_one_starts() -> None:
    assert frames(Deframer(), b"\x0bMSH|ha", b"lf\r\x0bMSH|whole\x1c\r") == [b"MSH|whole"]
    assert frames(Deframer(), b"\x0b\x0bMSH|whole\x1c\r") == [b"MSH|whole"]


def test_only_both_end_bytes_end_a_frame() -> None:
    deframer = Deframer()
    assert frames(deframer, b"\x0bMSH|a\x1c", b"still a\x1c") == []
    assert frames(deframer, b"\r") == [b"MSH|a\x1cstill a"]


@pytest.mark.parametrize("piece", [1, 7, 1000, 100_000])
def test_a_message_over_the_limit_is_cut_and_the_next_one_is_whole(piece: int) -> None:
    deframer = Deframer(limit=1000)
    stream = frame(b"MSH|big" + b"x" * 3000) + frame(b"MSH|next")
    found = [one for at in range(0, len(stream), piece) for one in deframer.feed(stream[at : at + piece])]
    assert [one.oversize for one in found] == [True, False]
    assert found[0].message.startswith(b"MSH|big")
    assert found[1].message == b"MSH|next"


def test_an_endless_message_is_not_kept_in_memory() -> None:
    deframer = Deframer(limit=100_000)
    deframer.feed(b"\x0bMSH|")
    for _ in range(100):
        assert deframer.feed(b"x" * 50_000) == []
    assert deframer.buffered < 200_000
