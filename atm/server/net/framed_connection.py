"""A connection that the reader reads, frame by frame, each within its time."""

from __future__ import annotations

import socket

from atm.server.net.connection import Connection, FrameDeadline, StalledFrame
from atm.wire.framing import FrameReader


class FramedConnection(Connection):
    """A `Source` of the reader. What a frame means, and what a bad one is answered, is its subclasses'."""

    def __init__(
        self,
        sock: socket.socket,
        outbox_bytes_max: int,
        blocked: set[Connection],
        *,
        frame_bytes_max: int,
        partial_frame_s: float,
    ) -> None:
        super().__init__(sock, outbox_bytes_max, blocked)
        self._deadline = FrameDeadline(partial_frame_s)
        self._frames = FrameReader(frame_bytes_max)

    # -- the reader's thread -------------------------------------------------------------------------

    @property
    def deadline_s(self) -> float | None:
        """When the unfinished frame must be whole; None if there is none."""
        return self._deadline.at_s

    def receive(self, piece: bytes) -> bool:
        """Take the frames that `piece` completes; return whether to go on reading."""
        payload, frames = b"", 0
        try:
            for payload in self._frames.feed(piece):
                frames += 1
                self.on_frame(payload)
        except Exception as error:
            self.on_error(error, payload)
            return False
        self._deadline.note(unfinished=self._frames.unfinished, frame_ended=frames > 0)
        return bool(piece)

    def on_stall(self) -> None:
        """A frame has begun and does not end."""
        self.on_error(StalledFrame(self._deadline.partial_frame_s), b"")

    def on_frame(self, payload: bytes) -> None:
        """Take a frame's payload; whatever is raised is given to `on_error`."""
        raise NotImplementedError

    def on_error(self, error: Exception, payload: bytes) -> None:
        """Hear why nothing more is read: what was raised, and the last payload if it was by `on_frame`."""
        raise NotImplementedError

    def on_end(self) -> None:
        """Nothing more is read: the socket may be closed."""
        raise NotImplementedError
