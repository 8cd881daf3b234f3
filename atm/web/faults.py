"""/api/v1/cluster/faults: faults in servers and their links, where bin/run started this web server.

Started alone it has no channel to bin/run, and this makes nothing.
"""

from __future__ import annotations

import asyncio

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from atm.checkout import command_here
from atm.local_faults import Fault, FaultClient, FaultsRefused, Situation
from atm.web.answers import answer, problem
from atm.web.bodies import NotRead, json_body


async def get_faults(request: Request) -> Response:
    """Tell which servers and links can be changed, and how they are."""
    faults: FaultClient | None = request.app.state.faults
    if faults is None:
        return _told(Situation())
    try:
        return _told(await asyncio.to_thread(faults.situation))
    except FaultsRefused:
        return _told(Situation())


async def post_fault(request: Request) -> Response:
    """Make a fault, and tell how things are after it."""
    faults: FaultClient | None = request.app.state.faults
    if faults is None:
        return problem(
            "not_allowed", f"Faults are made only where {command_here('run')} --web started the servers"
        )
    try:
        asked = msgspec.json.decode(await json_body(request), type=Fault)
        return _told(await asyncio.to_thread(faults.make, asked))
    except NotRead as error:
        return error.response
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return problem("bad_request", f"This is no fault: {error}")
    except FaultsRefused as error:
        return problem("bad_request", str(error))


def _told(situation: Situation) -> Response:
    return answer({"available": bool(situation.servers), **msgspec.structs.asdict(situation)})
