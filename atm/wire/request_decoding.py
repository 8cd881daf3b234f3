"""Requests, as servers decode them.

Apart from the messages themselves: to prepare for every kind of request takes longer than a client needs to
ask one.
"""

from __future__ import annotations

from msgspec.msgpack import Decoder

from atm.ledger.commands import Arrive
from atm.wire.client_messages import ClientRequest, Forwardable
from atm.wire.codec import decode

_client_request: Decoder[ClientRequest] = Decoder(ClientRequest)
_forwardable: Decoder[Forwardable] = Decoder(Forwardable)
_for_lane: Decoder[Forwardable | Arrive] = Decoder(Forwardable | Arrive)


def decode_client_request(payload: bytes) -> ClientRequest:
    """Return a client's request; raise `Malformed`."""
    return decode(_client_request, payload)


def decode_forwardable(payload: bytes) -> Forwardable:
    """Return a request that another server forwarded; raise `Malformed`."""
    return decode(_forwardable, payload)


def decode_for_lane(payload: bytes) -> Forwardable | Arrive:
    """Return a request that another server of a bank on PostgreSQL has for a lane; raise `Malformed`."""
    return decode(_for_lane, payload)
