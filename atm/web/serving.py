"""The application on a socket, by uvicorn, until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator

import uvicorn

from atm.web.app import WebApp

ANSWER_WITHIN_S = 1.0  # after a signal; what is not answered then is told that its outcome is unknown
STOP_WITHIN_S = 3
CONNECTIONS_MAX = 2_000


class _Server(uvicorn.Server):
    """Stops at SIGINT and SIGTERM, with its streams, and lets the program end by itself."""

    def __init__(self, config: uvicorn.Config, app: WebApp) -> None:
        super().__init__(config)
        self._app = app

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, loop)
        yield

    def _stop(self, loop: asyncio.AbstractEventLoop) -> None:
        self._app.end_streams()
        loop.call_later(ANSWER_WITHIN_S, self._app.end_requests)
        self.should_exit = True


def serve(app: WebApp, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM; what is under way then has a second."""
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_graceful_shutdown=STOP_WITHIN_S,
        lifespan="on",
        http="h11",
        ws="none",
    )
    asyncio.run(_Server(config, app).serve(sockets=[listener]))
