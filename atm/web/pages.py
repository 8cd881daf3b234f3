"""What a page of the web server is made of: `create_app` mounts a list of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import BaseRoute, Route

STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True)
class WebPage:
    """A page, as the navigation names it, and all that is served for it.

    `path` is "/" or of one part, such as "/learn". All `routes` are that path or below it. `sources` adds
    to the content security policy there, by directive: `{"script-src": "'wasm-unsafe-eval'"}`. An endpoint
    finds the bank as `request.app.state.bank`.
    """

    path: str
    title: str
    routes: Sequence[BaseRoute]
    sources: Mapping[str, str] = field(default_factory=dict)


def html_route(path: str, file: str) -> Route:
    """Return a route that serves a file of static/ as the page at `path`."""

    async def page(_request: Request) -> FileResponse:
        return FileResponse(STATIC / file, headers={"cache-control": "no-cache"})

    return Route(path, page, methods=["GET"])
