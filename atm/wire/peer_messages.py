"""Messages between servers: arrays that start with a tag, which are small and fast.

The format is written down in docs/protocol.md. The rule of extension: a newer release appends new
elements, and a release that does not know them ignores them. Nothing else changes within a version of the
protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Self

from msgspec import Meta, Struct
from msgspec.msgpack import Decoder

from atm.ledger.commands import Actor
from atm.ledger.state_hash import ROWS_MAX, RowsFrom
from atm.raft.messages import (
    InstallSnapshot,
    InstallSnapshotResponse,
    Number,
    RaftMessage,
    Snapshot,
    TimeoutNow,
)
from atm.wire.codec import decode


class Hello(Struct, frozen=True, kw_only=True, array_like=True, tag=20):
    """The first frame on a connection between servers: the caller, its cluster, and what it supports.

    The first five elements are those of release 1.0, so that each release can tell the other why it refuses:
    release 1.0 had one version of the protocol, and nothing after `pepper`.

    `cluster` is the cluster's id, empty if the caller does not know it yet; then `config`, the digest of its
    cluster.ini, is compared.
    `store` names the caller's data folder: it changes when a server comes back with an empty one.
    `pepper` names the secret that PINs are sealed with, which all servers share.
    From `peer_address` on: release 1.2. The addresses are those at which the caller is to be reached.
    `incarnation` tells one start on this data folder from all others (`incarnation_of`), 0 if none is
    counted. `last_index` is where the caller's log ends on its disk. `purpose` is what the connection is for:
    "" for messages of servers. `member_at` is the index of the newest entry of the caller's log that names
    members if it names the caller, else 0. `earlier` are the incarnations of the starts before this one, the
    oldest first, as many as are known. `further_peppers` names the peppers of the caller's file behind the
    first one, which is `pepper`.
    """

    protocol_max: int
    cluster: str
    node: str
    store: str
    pepper: str
    protocol_min: int = 0
    release: str = "1.0"
    feature_level: int = 0  # the highest that the caller knows
    config: str = ""
    peer_address: str = ""
    client_address: str = ""
    incarnation: int = 0
    last_index: int = 0
    purpose: str = ""
    member_at: int = 0
    earlier: tuple[Number, ...] = ()
    further_peppers: tuple[str, ...] = ()


START_BITS = 20


def incarnation_of(starts: int, drawn: int) -> int:
    """Return the incarnation of a process: how often its folder was started on, and a random number."""
    return starts << START_BITS | drawn % (1 << START_BITS)


def incarnations_of(starts: int, drawn: Sequence[int]) -> tuple[int, ...]:
    """Return the incarnations of the last of so many starts, at which these numbers were drawn."""
    first = starts - len(drawn) + 1
    return tuple(incarnation_of(first + place, number) for place, number in enumerate(drawn))


def starts_of(incarnation: int) -> int:
    return incarnation >> START_BITS


class Welcome(Struct, frozen=True, kw_only=True, array_like=True, tag=21):
    """The hello was accepted; `learner` if the caller has shown another store id before (a lost disk).

    `protocol` is the version used on this connection: the highest that both know. `stale` if the caller's
    data folder is an old copy of one that has run later: it must take a new store id, and is a learner.
    """

    node: str
    learner: bool
    protocol: int
    stale: bool = False


class Refused(Struct, frozen=True, kw_only=True, array_like=True, tag=22):
    """The hello was refused; `reason` is a line for the operator. The connection is closed.

    `removed_at` is the log index at which the caller was removed from the cluster, 0 if it was not.
    """

    reason: str
    removed_at: int = 0


ForwardedRequest = tuple[int, str, int, bytes]  # number, actor, roles, request payload


class Forward(Struct, frozen=True, kw_only=True, array_like=True, gc=False, tag=23):
    """Clients' requests forwarded to the leader, as (number, actor, request payload).

    `roles` has a byte for each, the roles of the actor's certificate; it is empty if all are 0. Release 1.1
    ignores it.
    """

    sender: str
    requests: tuple[tuple[int, Actor, bytes], ...]
    roles: bytes = b""

    def __post_init__(self) -> None:
        if self.roles and len(self.roles) != len(self.requests):
            raise ValueError("each request has its roles, or none has any")

    @classmethod
    def of(cls, sender: str, requests: Sequence[ForwardedRequest], **further: int) -> Self:
        """Return the message that forwards these requests; `further` are elements of a subclass."""
        roles = bytes(each[2] for each in requests)
        return cls(
            sender=sender,
            requests=tuple((number, actor, payload) for number, actor, _, payload in requests),
            roles=roles if any(roles) else b"",
            **further,
        )

    def each(self) -> Iterator[ForwardedRequest]:
        """Yield the requests with their roles."""
        bits = self.roles or bytes(len(self.requests))
        for (number, actor, payload), roles in zip(self.requests, bits, strict=True):
            yield number, actor, roles, payload


class ForwardToLane(Forward, frozen=True, kw_only=True, array_like=True, gc=False, tag=33):
    """Requests forwarded to the writer of a lane: between servers of a bank on PostgreSQL only."""

    lane: Annotated[int, Meta(ge=0)]


class ForwardReply(Struct, frozen=True, kw_only=True, array_like=True, gc=False, tag=24):
    """Replies to forwarded requests, as (number, reply payload) pairs."""

    sender: str
    answers: tuple[tuple[int, bytes], ...]


class FetchSnapshot(Struct, frozen=True, kw_only=True, array_like=True, gc=False, tag=25):
    """Asks for a piece of a snapshot's file, on a connection whose hello says `FETCH` (protocol 4)."""

    index: Number
    sha256: str
    offset: Number


class SnapshotChunk(Struct, frozen=True, kw_only=True, array_like=True, gc=False, tag=26):
    """A piece of the file, of `CHUNK_BYTES_MAX` at most; `end` if nothing follows it."""

    index: Number
    offset: Number
    data: bytes
    end: bool


class SnapshotGone(Struct, frozen=True, kw_only=True, array_like=True, gc=False, tag=27):
    """The snapshot that was asked for is not there (any more): the leader offers a newer one, or will."""

    index: Number


class AskForSnapshot(Struct, frozen=True, kw_only=True, array_like=True, gc=False, tag=31):
    """Asks, on such a connection, for a snapshot of entry `at_least` or a later one; it is made if needed.

    A release that does not know it ends the connection.
    """

    at_least: Number


class SnapshotThere(Struct, frozen=True, kw_only=True, array_like=True, gc=False, tag=32):
    """The snapshot that may be fetched now."""

    snapshot: Snapshot


FETCH = "fetch"  # the purpose of a connection on which a snapshot is fetched
CHUNK_BYTES_MAX = 256 * 1024
CHUNK_FRAME_BYTES_MAX = CHUNK_BYTES_MAX + 1024


Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]


class LedgerHash(Struct, frozen=True, kw_only=True, array_like=True, tag=28):
    """The hashes of the sender's ledger as of entry `index`, see `StateHash`. From protocol 4 on."""

    sender: str
    index: Number
    journal: Hash
    decided_from: Number
    decisions: Hash
    rows_from: RowsFrom
    rows_max: Annotated[int, Meta(ge=1, le=ROWS_MAX)]
    rows: Hash


class NodeReport(Struct, frozen=True, kw_only=True, array_like=True, tag=29):
    """How the sender is, told once a second: clock, disk, ledger, peppers. From protocol 4 on.

    `time_us` is its time of day; `is_low` if the disk has less room than the reserve; `peppers` are the names
    of those in its file.
    """

    sender: str
    time_us: Number
    is_low: bool
    free_bytes: Number
    applied_index: Number
    peppers: tuple[str, ...] = ()


class CheckLedger(Struct, frozen=True, kw_only=True, array_like=True, tag=30):
    """A leader asks for a `LedgerHash` as of entry `index`, which nobody has passed. From protocol 4 on."""

    sender: str
    index: Number
    rows_from: RowsFrom
    rows_max: Annotated[int, Meta(ge=1, le=ROWS_MAX)]


PeerReport = LedgerHash | NodeReport | CheckLedger  # what servers tell each other about themselves
PEER_REPORTS_PROTOCOL = 4  # the version of the protocol from which on they do

PeerMessage = RaftMessage | Forward | ForwardReply | PeerReport

# Messages that not every version of the protocol knows, and the first that does.
NEWER: dict[type[RaftMessage], int] = {TimeoutNow: 4, InstallSnapshot: 4, InstallSnapshotResponse: 4}

_peer_message: Decoder[PeerMessage] = Decoder(PeerMessage)
_lane_message: Decoder[ForwardToLane | ForwardReply] = Decoder(ForwardToLane | ForwardReply)
_hello: Decoder[Hello] = Decoder(Hello)
_hello_reply: Decoder[Welcome | Refused] = Decoder(Welcome | Refused)
_fetch: Decoder[FetchSnapshot | AskForSnapshot] = Decoder(FetchSnapshot | AskForSnapshot)
_fetched: Decoder[SnapshotChunk | SnapshotThere | SnapshotGone] = Decoder(
    SnapshotChunk | SnapshotThere | SnapshotGone
)


def decode_peer_message(payload: bytes) -> PeerMessage:
    """Return a message that another server sent after its hello; raise `Malformed`."""
    return decode(_peer_message, payload)


def decode_lane_message(payload: bytes) -> ForwardToLane | ForwardReply:
    """Return a message of another server of a bank on PostgreSQL; raise `Malformed`."""
    return decode(_lane_message, payload)


def decode_hello(payload: bytes) -> Hello:
    """Return the hello of another server; raise `Malformed`."""
    return decode(_hello, payload)


def decode_hello_reply(payload: bytes) -> Welcome | Refused:
    """Return another server's answer to our hello; raise `Malformed`."""
    return decode(_hello_reply, payload)


def decode_fetch(payload: bytes) -> FetchSnapshot | AskForSnapshot:
    """Return a request on a connection for fetching; raise `Malformed`."""
    return decode(_fetch, payload)


def decode_fetched(payload: bytes) -> SnapshotChunk | SnapshotThere | SnapshotGone:
    """Return the answer to a `FetchSnapshot` or an `AskForSnapshot`; raise `Malformed`."""
    return decode(_fetched, payload)
