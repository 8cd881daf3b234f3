"""The peppers of the simulated bank. Customers' PINs come sealed for the first one (workload.py)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from msgspec.structs import replace

from atm.ledger.commands import Batch, Debit, Hold, Login, SetPin, Transfer
from atm.server.security.peppers import PEPPER_BYTES, Peppers
from atm.wire.client_messages import ClientRequest


@cache
def peppers(lines: int) -> Peppers:
    """Return the first so many peppers."""
    return Peppers([bytes([line]) * PEPPER_BYTES for line in range(1, lines + 1)])


def sealed(request: ClientRequest, generation_of: Callable[[str], int], current: int) -> ClientRequest:
    """Return a request with its PINs carried over to what their accounts have, a new one to the current."""

    def to(generation: int, pin: str | None) -> str | None:
        return None if pin is None else peppers(generation).carried(pin, generation)

    def pin_of(paying: Any) -> str | None:
        return to(generation_of(paying.account), paying.pin)

    match request:
        case Debit() | Transfer() | Hold() | Login():
            return replace(request, pin=pin_of(request))
        case Batch():
            return replace(request, legs=tuple(replace(leg, pin=pin_of(leg)) for leg in request.legs))
        case SetPin():
            old_pin = to(generation_of(request.account), request.old_pin)
            return replace(request, pin=to(current, request.pin), old_pin=old_pin)
    return request
