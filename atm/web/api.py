"""/api/v1: the bank's requests as JSON over HTTP. docs/http.md explains it, openapi.py describes it.

The id of a command is in its path and chosen by the client, so `PUT` may be repeated: the bank does it once,
and answers all of them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from atm.client import (
    ClientClosed,
    ClusterStatus,
    InvalidRequest,
    NotAllowed,
    OutcomeUnknown,
    Rejected,
    Unavailable,
    new_request_id,
)
from atm.client.cluster_health import health_fields
from atm.client.node_status import status_fields
from atm.client.request_rules import refusal_of
from atm.currencies import FIRST_MINOR_UNITS, MINOR_UNITS
from atm.identity import Role
from atm.ledger.commands import (
    Accounts,
    Approvals,
    Command,
    Deeds,
    Exceptions,
    Find,
    Holds,
    Lookup,
    Query,
    Read,
    RotatePepper,
    Statement,
)
from atm.permissions import PERMITTED
from atm.version import RELEASE
from atm.web.answers import answer, decided, found, problem, unknown
from atm.web.bank import Bank, Busy
from atm.web.bodies import NotRead, json_body

Kind = TypeVar("Kind", bound=Command | Read)

NOT_IN_A_BODY = ("id", "end_user", "op")

# What only administrators may do has no place on a page: bin/admin does it.
COMMANDS: Final[Mapping[str, type[Command]]] = {
    kind.__struct_config__.tag: kind
    for kind in get_args(Command)
    if kind is not RotatePepper and PERMITTED[kind.__struct_config__.tag] != {Role.ADMIN}
}


@dataclass(frozen=True)
class Resource:
    """An address that is read: the request that it is, and which part of the address is which field."""

    path: str
    read: type[Read]
    does: str
    in_path: Mapping[str, str] = field(default_factory=dict)


RESOURCES: Final = (
    Resource("/accounts", Accounts, "The customers' accounts by name."),
    Resource(
        "/accounts/{name}", Query, "The balance of an account, now or at a past time.", {"name": "account"}
    ),
    Resource(
        "/accounts/{name}/statement",
        Statement,
        "The postings of an account, the latest first.",
        {"name": "account"},
    ),
    Resource("/accounts/{name}/holds", Holds, "The active holds of an account.", {"name": "account"}),
    Resource("/requests/{id}", Lookup, "What was decided under a request id.", {"id": "request_id"}),
    Resource("/exceptions", Exceptions, "The postings that a person should look at, the latest first."),
    Resource("/find", Find, "The postings with a code or a text, the latest first."),
    Resource("/deeds", Deeds, "What operators and administrators did, the latest first."),
    Resource("/approvals", Approvals, "The requests that wait for an approval, and the limits that are set."),
)


def routes() -> list[BaseRoute]:
    """Return the routes below /api/v1, without the events."""
    reads = [Route(_matching(resource.path), _reading(resource), methods=["GET"]) for resource in RESOURCES]
    return [
        Route("/requests/{id:path}", put_request, methods=["PUT"]),
        *reads,
        Route("/status", get_status, methods=["GET"]),
        Route("/health", get_health, methods=["GET"]),
        Route("/me", get_me, methods=["GET"]),
        Route("/currencies", get_currencies, methods=["GET"]),
    ]


def _matching(path: str) -> str:
    """Return the path as the router takes it: a request id may have a slash in it."""
    return path.replace("{id}", "{id:path}")


async def put_request(request: Request) -> Response:
    """Carry out the command in the body under the id in the path, once however often it is put."""
    request_id: str = request.path_params["id"]
    try:
        return await _answered(request, command_of(request_id, await json_body(request)))
    except NotRead as error:
        return error.response
    except InvalidRequest as error:
        return problem("bad_request", str(error))


def command_of(request_id: str, body: bytes) -> Command:
    """Return the command in a body; raise `InvalidRequest`, whose text says what would be right."""
    try:
        fields: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f'The body is no JSON object such as {{"op": "query"}}: {error}') from None
    kind = COMMANDS.get(op) if isinstance(op := fields.get("op"), str) else None
    if kind is None:
        raise InvalidRequest(f'The body has no "op" that is known here: it is one of {", ".join(COMMANDS)}')
    if fields.get("id", request_id) != request_id:
        raise InvalidRequest("The body has another id than the path: leave it out")
    if "end_user" in fields:
        raise InvalidRequest("For whom a request is, is not said in its body (docs/web.md)")
    return _converted(kind, fields | {"id": request_id}, strict=True)


def read_of(resource: Resource, path: Mapping[str, str], query: Mapping[str, str]) -> Read:
    """Return the request for a resource; raise `InvalidRequest`."""
    for name in (*NOT_IN_A_BODY, *resource.in_path.values()):
        if name in query:
            raise InvalidRequest(f"{resource.path} takes no {name}")
    fields: dict[str, Any] = {resource.in_path[name]: value for name, value in path.items()} | dict(query)
    fields |= {"id": new_request_id(), "op": resource.read.__struct_config__.tag}
    return _converted(resource.read, fields, strict=False)


def _converted(kind: type[Kind], fields: Mapping[str, Any], *, strict: bool) -> Kind:
    try:
        return msgspec.convert(fields, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise refusal_of(kind, str(error)) from None


def _reading(resource: Resource) -> Any:
    async def read(request: Request) -> Response:
        try:
            asked = read_of(resource, request.path_params, request.query_params)
            return await _answered(request, asked)
        except InvalidRequest as error:
            return problem("bad_request", str(error))

    return read


async def _answered(request: Request, asked: Command | Read) -> Response:
    """Ask the bank, and return its answer or why there is none; raise `InvalidRequest`."""
    bank: Bank = request.app.state.bank
    try:
        receipt = await bank.ask(asked, end_user_of(request, bank))
    except OutcomeUnknown as error:
        return unknown(error.request_id)
    except ClientClosed:
        return problem("unavailable", "The web server stops; nothing was done")
    except Busy:
        return problem("busy", "The web server has too many requests under way: ask again")
    except Unavailable as error:
        return problem("unavailable", f"{error}; nothing was done")
    except NotAllowed as error:
        return problem("not_allowed", f"{error}; nothing was done")
    except Rejected as error:
        return problem("bad_request", str(error))
    return decided(receipt) if isinstance(asked, Command) else found(receipt)


def end_user_of(request: Request, bank: Bank) -> str | None:
    """Return whom the proxy in front names; raise `InvalidRequest` if it should, and does not."""
    if not bank.user_header:
        return None
    named = request.headers.getlist(bank.user_header)
    if len(named) != 1 or not named[0]:
        raise InvalidRequest(f"The proxy in front must name the end user in {bank.user_header}, once")
    return named[0]


async def get_status(request: Request) -> Response:
    """Tell how the servers are doing, as `bin/admin status --json` does."""
    return await _of_status(request, status_fields)


async def get_health(request: Request) -> Response:
    """Tell the verdict on the servers and what it was made of: `bin/admin health` and `status` in one."""
    bank: Bank = request.app.state.bank
    return await _of_status(
        request, lambda status: status_fields(status) | health_fields(status, bank.judge(status))
    )


async def _of_status(request: Request, told: Callable[[ClusterStatus], dict[str, object]]) -> Response:
    bank: Bank = request.app.state.bank
    try:
        return answer(told(await bank.status()))
    except NotAllowed as error:
        return problem("not_allowed", str(error))
    except Unavailable as error:  # the certificates of all servers are wrong, or of this one
        return problem("unavailable", str(error))


async def get_me(request: Request) -> Response:
    """Tell who the web server is to the bank, what that may do, and which pages there are."""
    bank: Bank = request.app.state.bank
    return answer(
        {
            "identity": bank.identity.name,
            "roles": sorted(bank.identity.roles),
            "may": bank.permitted(),
            "release": RELEASE,
            "pages": [{"path": page.path, "title": page.title} for page in request.app.state.pages],
        }
    )


async def get_currencies(_request: Request) -> Response:
    """Tell into how many decimals each currency is divided; the bank's first one has no code."""
    return answer({"first": FIRST_MINOR_UNITS, "decimals": dict(MINOR_UNITS)})
