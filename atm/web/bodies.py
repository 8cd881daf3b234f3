"""The body of a request, read whole: bounded in size and in time."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from atm.web.answers import problem

BODY_BYTES_MAX = 64 * 1024
BODY_WITHIN_S = 10.0


class NotRead(Exception):
    """The body cannot be taken; `response` says why."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


async def json_body(request: Request) -> bytes:
    """Return a small body that says that it is JSON, which no form can send; raise `NotRead`."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise NotRead(problem("not_json", "Send the request with Content-Type: application/json"))
    return await whole_body(request)


async def whole_body(
    request: Request, bytes_max: int = BODY_BYTES_MAX, within_s: float = BODY_WITHIN_S
) -> bytes:
    """Return the whole body; raise `NotRead` if it is too large, too slow, or does not come."""
    pieces, size = [], 0
    try:
        async with asyncio.timeout(within_s):
            async for piece in request.stream():
                size += len(piece)
                if size > bytes_max:
                    raise NotRead(problem("too_large", f"A body has at most {bytes_max} bytes"))
                pieces.append(piece)
    except TimeoutError:
        raise NotRead(problem("too_slow", f"The body did not arrive within {within_s:.0f} s")) from None
    except ClientDisconnect:
        raise NotRead(problem("bad_request", "The body did not arrive")) from None
    return b"".join(pieces)
