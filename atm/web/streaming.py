"""A stream of server-sent events: sent until its browser is gone, takes nothing for a while, or it ends."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

HEART_BEAT_S = 10.0
SEND_WITHIN_S = 20.0  # a browser that takes nothing for so long is dropped
RETRY_MS = 1_000  # after which a browser connects again
MEDIA_TYPE = "text/event-stream"


class EventStream(Response):
    """The answer that goes on for as long as the browser reads it; it counts as open from the start."""

    def __init__(self, leave: Callable[[], None]) -> None:
        """`leave` is called once, when the stream has ended or never began."""
        super().__init__(media_type=MEDIA_TYPE, headers={"x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._leave = leave

    @abstractmethod
    async def pieces(self, send: Send) -> None:
        """Send all events, each with `piece`."""

    def instead(self, other: Response) -> Response:
        """Give up the place, for another answer."""
        self._leave()
        return other

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the browser is gone, does not read, or the stream ends."""
        gone = asyncio.create_task(_disconnect(receive))
        sending = asyncio.create_task(self._send_all(send))
        try:
            await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._leave()
            for task in (gone, sending):
                task.cancel()
            for ended in await asyncio.gather(gone, sending, return_exceptions=True):
                if isinstance(ended, Exception) and not isinstance(ended, (TimeoutError, OSError)):
                    raise ended

    async def _send_all(self, send: Send) -> None:
        async with asyncio.timeout(SEND_WITHIN_S):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await self.pieces(send)
        async with asyncio.timeout(SEND_WITHIN_S):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def piece(self, send: Send, piece: bytes) -> None:
        """Send some of it; raise `TimeoutError` if the browser does not take it."""
        async with asyncio.timeout(SEND_WITHIN_S):
            await send({"type": "http.response.body", "body": piece, "more_body": True})


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
