"""Frames: a 4-byte big-endian length, then that many bytes."""

from __future__ import annotations

from collections.abc import Iterator

LENGTH_BYTES = 4
CLIENT_FRAME_BYTES_MAX = 64 * 1024
PEER_FRAME_BYTES_MAX = 8 * 1024 * 1024


class FrameTooLarge(Exception):
    """A frame to be received or sent is over the limit."""

    def __init__(self, length: int, frame_bytes_max: int) -> None:
        super().__init__(f"a frame of {length} bytes is over the limit of {frame_bytes_max}")


def frame(payload: bytes) -> bytes:
    """Return `payload` with its length before it."""
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


class FrameReader:
    """Splits a stream of bytes into frames; holds at most one unfinished frame and one piece of input.

    Memory is used for bytes that arrived, not for a length that was announced.
    """

    def __init__(self, frame_bytes_max: int) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._buffer = bytearray()

    @property
    def unfinished(self) -> bool:
        """Whether a frame has begun to arrive and has not ended."""
        return bool(self._buffer)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the payload of each frame that `piece` completes; raise `FrameTooLarge`.

        Yielded frames are dropped from the buffer when the iteration ends, also if it is left early.
        """
        buffer = self._buffer
        data: bytes | bytearray = piece  # without a copy, unless an unfinished frame was left over
        if buffer:
            buffer += piece
            data = buffer
        start, end = 0, len(data)
        try:
            while end - start >= LENGTH_BYTES:
                body = start + LENGTH_BYTES
                length = int.from_bytes(data[start:body], "big")
                if length > self._frame_bytes_max:
                    raise FrameTooLarge(length, self._frame_bytes_max)
                if end - body < length:
                    break
                start = body + length
                yield bytes(data[body:start])
        finally:
            if data is buffer:
                del buffer[:start]
            else:
                buffer += data[start:]
