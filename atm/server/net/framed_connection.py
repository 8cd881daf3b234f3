"""A connection that the reader reads frame by frame, each with a deadline."""

from __future__ import annotations

import socket

from atm.server.net.connection import Connection, FrameDeadline, StalledFrame
from atm.tls.tls_socket import TlsSocket
from atm.wire.framing import FrameReader


class FramedConnection(Connection):
    """A `Source` of the reader. Subclasses say what a frame means, and how an error is reported."""

    def __init__(
        self,
        stream: socket.socket | TlsSocket,
        outbox_bytes_max: int,
        blocked: set[Connection],
        *,
        frame_bytes_max: int,
        partial_frame_s: float,
    ) -> None:
        super().__init__(stream, outbox_bytes_max, blocked)
        self._deadline = FrameDeadline(partial_frame_s)
        self._frames = FrameReader(frame_bytes_max)

    # -- the reader's thread -------------------------------------------------------------------------

    @property
    def deadline_s(self) -> float | None:
        """When the unfinished frame must be complete; None if there is none."""
        return self._deadline.at_s

    def receive(self, piece: bytes) -> bool:
        """Call `on_frame` for each frame that `piece` completes; return whether to go on reading."""
        payload, frames = b"", 0
        more, in_record = bool(piece), False
        try:
            if self.tls is not None and piece:
                piece = self.tls.decrypt(piece)
                more, in_record = not self.tls.ended, not piece
            for payload in self._frames.feed(piece):
                frames += 1
                self.on_frame(payload)
        except Exception as error:
            self.on_error(error, payload)
            return False
        self._deadline.update(unfinished=self._frames.unfinished or in_record, frame_ended=frames > 0)
        return more

    def on_stall(self) -> None:
        """The deadline of the unfinished frame has passed."""
        self.on_error(StalledFrame(self._deadline.partial_frame_s), b"")

    def on_frame(self, payload: bytes) -> None:
        """Called with each frame's payload; what this raises goes to `on_error`."""
        raise NotImplementedError

    def on_error(self, error: Exception, payload: bytes) -> None:
        """Called with the error that ended reading, and the payload if `on_frame` raised it."""
        raise NotImplementedError

    def on_end(self) -> None:
        """Called when nothing more is read: the socket may be closed."""
        raise NotImplementedError
