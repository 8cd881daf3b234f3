"""Frames: a 4-byte big-endian length, then that many bytes."""

from __future__ import annotations

from collections.abc import Iterator

LENGTH_BYTES = 4
CLIENT_FRAME_BYTES_MAX = 64 * 1024
PEER_FRAME_BYTES_MAX = 8 * 1024 * 1024


class FrameTooLarge(Exception):
    """The other side announced, or we were about to send, a frame over the limit."""

    def __init__(self, length: int, frame_bytes_max: int) -> None:
        super().__init__(f"a frame of {length} bytes is over the limit of {frame_bytes_max}")


def frame(payload: bytes) -> bytes:
    """Return `payload` with its length in front."""
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


class FrameReader:
    """Cuts a stream of bytes into frames; holds at most one unfinished frame and one piece of input.

    A frame's claim is believed only up to the limit, and memory grows only with bytes that arrived.
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

        What was yielded is forgotten when the iteration ends, at the end or where it is left.
        """
        buffer = self._buffer
        data: bytes | bytearray = piece  # as long as nothing was left over, without another copy of it
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
