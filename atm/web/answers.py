"""Answers in JSON: what the bank decided, and problems (RFC 9457) for all else.

A decision is a value, whatever it is: status 200 and its `outcome`. An error status says that nothing was
decided, and its `done` is false: nothing was done. An outcome that is not known is no error, but 202 with the
outcome "unknown".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import Response

from atm.client import Receipt
from atm.ledger.commands import Outcome

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
UNKNOWN = "unknown"  # the outcome of a request that may or may not be done
RETRY_S = 1
MISSING = frozenset({Outcome.NO_SUCH_ACCOUNT, Outcome.ORIGINAL_NOT_FOUND})


@dataclass(frozen=True)
class Problem:
    """A kind of problem: its status and its title."""

    status: int
    title: str


PROBLEMS = {
    "bad_request": Problem(400, "The request is not well formed"),
    "not_allowed": Problem(403, "Not allowed"),
    "cross_site": Problem(403, "Only the pages of this server may ask this"),
    "not_found": Problem(404, "There is nothing at this address"),
    "method_not_allowed": Problem(405, "This address does not take that method"),
    "too_slow": Problem(408, "The request did not arrive in time"),
    "too_large": Problem(413, "The request is too large"),
    "not_json": Problem(415, "The request is not JSON"),
    "wrong_host": Problem(421, "The request is for another server"),
    "internal": Problem(500, "The web server has a defect"),
    "unavailable": Problem(503, "The bank is not available"),
    "busy": Problem(503, "Too many requests are under way"),
    "other_bank": Problem(409, "The cursor is of another bank"),
}


def encoded(value: object) -> bytes:
    """Return a value as JSON, as all answers have it."""
    return msgspec.json.encode(value)


def answer(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return an answer in JSON."""
    return Response(encoded(value), status, headers, media_type=JSON)


def problem(code: str, detail: str, **further: Any) -> Response:
    """Return a problem of one of the kinds above: nothing was done, but for "internal", where none knows."""
    kind = PROBLEMS[code]
    told = {"type": f"urn:atm:problem:{code}", "title": kind.title, "status": kind.status, "code": code}
    told |= {"detail": detail, **further}
    if code != "internal":
        told["done"] = False
    headers = {"retry-after": str(RETRY_S)} if kind.status == 503 else None
    return Response(encoded(told), kind.status, headers, media_type=PROBLEM_JSON)


def decided(receipt: Receipt) -> Response:
    """Return a decision of the bank; what the web server's role does not allow is a problem."""
    if receipt.outcome is Outcome.NOT_ALLOWED:
        return problem(
            "not_allowed",
            "The role of this web server, or of the person it acts for, does not allow this",
            id=receipt.id,
            outcome=str(receipt.outcome),
        )
    return answer(receipt.as_dict())


def found(receipt: Receipt) -> Response:
    """Return what was read; without the account or the request that was asked for, status 404."""
    if receipt.outcome in MISSING and receipt.is_empty:
        return problem(
            "not_found",
            f"The bank knows nothing under this name or id ({receipt.outcome})",
            outcome=str(receipt.outcome),
        )
    return decided(receipt)


def unknown(request_id: str) -> Response:
    """Return that the request may or may not be done; the same one again tells."""
    told = {
        "id": request_id,
        "outcome": UNKNOWN,
        "detail": "It may or may not be done. PUT the same again under the same id: it is done once at most",
    }
    return answer(told, 202, {"retry-after": str(RETRY_S)})
