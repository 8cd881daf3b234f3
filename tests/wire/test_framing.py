from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atm.wire.framing import FrameReader, FrameTooLarge, frame

PAYLOADS = st.lists(st.binary(max_size=40), max_size=8)


@given(payloads=PAYLOADS, cuts=st.lists(st.integers(1, 30), max_size=40))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(
    payloads: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(map(frame, payloads))
    reader, position = FrameReader(64), 0
    found: list[bytes] = []
    for cut in [*cuts, len(stream)]:
        found += reader.feed(stream[position : position + cut])
        position += cut
    assert found == payloads
    assert not reader.unfinished


def test_a_frame_of_just_the_limit_passes_and_one_byte_more_does_not() -> None:
    assert list(FrameReader(8).feed(frame(b"x" * 8))) == [b"x" * 8]
    with pytest.raises(FrameTooLarge, match="a frame of 9 bytes is over the limit of 8"):
        list(FrameReader(8).feed(frame(b"x" * 9)))


def test_a_claim_of_4_gib_is_refused_before_its_bytes_arrive() -> None:
    with pytest.raises(FrameTooLarge):
        list(FrameReader(1024).feed(b"\xff\xff\xff\xff"))


def test_frames_before_one_that_is_too_large_are_delivered() -> None:
    pieces = FrameReader(8).feed(frame(b"good") + b"\xff\xff\xff\xff")
    assert next(pieces) == b"good"
    with pytest.raises(FrameTooLarge):
        next(pieces)


def test_half_a_frame_is_reported_as_unfinished() -> None:
    reader = FrameReader(8)
    assert list(reader.feed(frame(b"whole") + b"\x00")) == [b"whole"]
    assert reader.unfinished


def test_a_reader_that_is_left_after_a_frame_goes_on_with_the_next() -> None:
    reader = FrameReader(8)
    for payload in reader.feed(frame(b"one") + frame(b"two")):
        assert payload == b"one"
        break
    assert list(reader.feed(b"")) == [b"two"]
    assert not reader.unfinished
