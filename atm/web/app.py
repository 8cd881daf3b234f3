"""The application: pages, static files, /api/v1, and the guard in front of them all."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from atm.local_faults import FaultClient
from atm.web import api
from atm.web.answers import problem
from atm.web.bank import Bank
from atm.web.cluster import ClusterFeed, get_cluster_events, post_recording
from atm.web.events import Events, get_events
from atm.web.faults import get_faults, post_fault
from atm.web.guard import LOOPBACK_HOSTS, Guard
from atm.web.learn import LEARN
from atm.web.openapi import get_description
from atm.web.pages import STATIC, WebPage, html_route

PAGES: Sequence[WebPage] = (
    WebPage("/", "Teller", [html_route("/", "teller.html")]),
    WebPage("/cluster", "Cluster", [html_route("/cluster", "cluster.html")]),
    LEARN,
)


class WebApp:
    """The application, and how to end what it does at once."""

    def __init__(self, app: ASGIApp, bank: Bank, streams: Sequence[Events | ClusterFeed]) -> None:
        self._app = app
        self._bank = bank
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._app(scope, receive, send)

    def end_streams(self) -> None:
        """End all streams: they would keep a server from stopping."""
        for stream in self._streams:
            stream.close()

    def end_requests(self) -> None:
        """End all requests that the bank has not answered; who asked is told so."""
        self._bank.close()


def create_app(
    bank: Bank,
    *,
    hosts: frozenset[str] = LOOPBACK_HOSTS,
    pages: Sequence[WebPage] = PAGES,
    faults: FaultClient | None = None,
) -> WebApp:
    """Return the application for a bank, which it closes at the end.

    It serves requests to these `hosts` only (names without ports), the `pages` beside /static, /api/v1 and
    /openapi.json. `faults` are those that the starter of servers and web server makes.
    """
    events, cluster = Events(bank), ClusterFeed(bank)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        events.close()
        cluster.close()
        bank.close()

    app = Starlette(
        routes=[
            Mount(
                "/api/v1",
                routes=[
                    *api.routes(),
                    Route("/events", get_events, methods=["GET"]),
                    Route("/cluster/events", get_cluster_events, methods=["GET"]),
                    Route("/cluster/recording", post_recording, methods=["POST"]),
                    Route("/cluster/faults", get_faults, methods=["GET"]),
                    Route("/cluster/faults", post_fault, methods=["POST"]),
                ],
            ),
            Route("/openapi.json", get_description, methods=["GET"]),
            Mount("/static", _Static(directory=STATIC)),
            Route("/favicon.ico", _favicon, methods=["GET"]),
            *(route for page in pages for route in page.routes),
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: _http_problem, Exception: _defect},
    )
    app.state.bank = bank
    app.state.events = events
    app.state.cluster = cluster
    app.state.faults = faults
    app.state.pages = tuple(pages)
    return WebApp(Guard(app, hosts, pages), bank, (events, cluster))


class _Static(StaticFiles):
    """Files that a browser asks for again each time, and is told when they have not changed."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["cache-control"] = "no-cache"
        return response


async def _favicon(_request: Request) -> Response:
    """Browsers ask for it even where a page names its icon."""
    return Response(status_code=204)


async def _http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
    response = problem(code, f"{request.method} {request.url.path[:100]} is not served here")
    response.headers.update(error.headers or {})
    return response


async def _defect(_request: Request, error: Exception) -> Response:
    """Without details, which are on stderr: a text of ours could be read by anybody."""
    return problem("internal", f"{type(error).__name__}; what is printed on the server's stderr tells more")
