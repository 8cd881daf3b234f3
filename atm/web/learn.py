"""The page `/learn`: its files, those of Pyodide from the user's cache folder, and the project's sources."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from atm.learn import bundle
from atm.learn.assets import ASSETS, WHEELS, assets_folder, missing
from atm.learn.fetch import how_to_fetch
from atm.web.pages import WebPage

STATIC = Path(bundle.__file__).with_name("static")
MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
NEVER_CHANGES = {"cache-control": "private, max-age=31536000, immutable"}
ASK_AGAIN = {"cache-control": "no-cache"}


@cache
def _static() -> dict[str, Path]:
    """Return the files of the page by name; nothing else is ever opened."""
    return {path.name: path for path in STATIC.iterdir() if path.suffix in MEDIA_TYPES}


async def _page(_request: Request) -> Response:
    return FileResponse(_static()["learn.html"], media_type="text/html", headers=ASK_AGAIN)


async def _file(request: Request) -> Response:
    path = _static().get(request.path_params["name"])
    if path is None:
        raise HTTPException(404)
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers=ASK_AGAIN)


async def _asset(request: Request) -> Response:
    """Serve a file of Pyodide; its address has the version's contents, so a browser may keep it."""
    asset = ASSETS.get(request.path_params["name"])
    path = None if asset is None else assets_folder() / asset.name
    if asset is None or path is None or not path.is_file():
        raise HTTPException(404)
    return FileResponse(path, media_type=asset.media_type, headers=NEVER_CHANGES)


async def _sources(_request: Request) -> Response:
    return Response(bundle.current(), media_type="application/zip", headers=ASK_AGAIN)


async def _state(_request: Request) -> Response:
    """Say what is missing, and what to run for it."""
    wheels = [asset.name for package in WHEELS for asset in package.assets]
    return JSONResponse(
        {"missing": missing(assets_folder()), "command": how_to_fetch(), "wheels": wheels}, headers=ASK_AGAIN
    )


LEARN = WebPage(
    "/learn",
    "Learn",
    [
        Route("/learn", _page, methods=["GET"]),
        Route("/learn/state.json", _state, methods=["GET"]),
        Route("/learn/sources.zip", _sources, methods=["GET"]),
        Route("/learn/assets/{name}", _asset, methods=["GET"]),
        Route("/learn/{name}", _file, methods=["GET"]),
    ],
    sources={"script-src": "'wasm-unsafe-eval'"},
)
