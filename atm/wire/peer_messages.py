"""What servers say to each other: arrays that start with a tag, which are small and fast.

The format is written down in docs/protocol.md.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.msgpack import Decoder

from atm.raft.messages import RaftMessage
from atm.wire.codec import decode

PROTOCOL_VERSION = 2


class Hello(Struct, frozen=True, kw_only=True, array_like=True, tag=20):
    """The first frame on a connection between servers: who calls, and for which cluster.

    `store` names the caller's data folder: it changes when a server comes back with an empty one.
    `pepper` names the secret that PINs are sealed with, which all servers share.
    """

    version: int
    cluster: str
    node: str
    store: str
    pepper: str


class Welcome(Struct, frozen=True, kw_only=True, array_like=True, tag=21):
    """The hello was accepted; `learner` if the caller was known under another store (wiped disk)."""

    node: str
    learner: bool


class Refused(Struct, frozen=True, kw_only=True, array_like=True, tag=22):
    """The hello was refused, and why, in a line for people; the connection is then closed."""

    reason: str


class Forward(Struct, frozen=True, kw_only=True, array_like=True, gc=False, tag=23):
    """Tellers' requests passed on to the leader, as (number, request payload) pairs."""

    sender: str
    requests: tuple[tuple[int, bytes], ...]


class ForwardReply(Struct, frozen=True, kw_only=True, array_like=True, gc=False, tag=24):
    """Answers to forwarded requests, as (number, answer payload) pairs."""

    sender: str
    answers: tuple[tuple[int, bytes], ...]


PeerMessage = RaftMessage | Forward | ForwardReply

_peer_message: Decoder[PeerMessage] = Decoder(PeerMessage)
_hello: Decoder[Hello] = Decoder(Hello)
_hello_reply: Decoder[Welcome | Refused] = Decoder(Welcome | Refused)


def decode_peer_message(payload: bytes) -> PeerMessage:
    """Return a message of another server after its hello; raise `Malformed`."""
    return decode(_peer_message, payload)


def decode_hello(payload: bytes) -> Hello:
    """Return the first message of another server; raise `Malformed`."""
    return decode(_hello, payload)


def decode_hello_reply(payload: bytes) -> Welcome | Refused:
    """Return the answer to our hello; raise `Malformed`."""
    return decode(_hello_reply, payload)
