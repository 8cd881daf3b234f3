"""Messages between clients and servers: maps, which are easy to write and read in any language.

The format is written down in docs/protocol.md.
"""

from __future__ import annotations

from typing import Annotated, Any, Self, TypeVar

import msgspec
from msgspec import DecodeError, Meta, Struct
from msgspec.msgpack import Decoder
from msgspec.structs import asdict

from atm.events.event import Event, Header
from atm.ledger.audit.findings import Findings, Indexes
from atm.ledger.commands import (
    Arrive,
    Command,
    LedgerReceipt,
    NoteDeed,
    Outcome,
    Read,
    ReadResult,
    Request,
    RotatePepper,
)
from atm.wire.backup_messages import BackupData, BackupOffer, BackupRequest, Number
from atm.wire.codec import Malformed, decode

T = TypeVar("T")

MEMBERS_MAX = 12  # voters and learners
MEMBERS_BYTES_MAX = 8 * 1024  # of all members, with the longest names and addresses, as a frame
EVENTS_MAX = 1_000  # numbers in one answer, if they fit
EVENTS_BYTES_MAX = 48 * 1024  # of the events in one answer
STATUS_BYTES_MAX = MEMBERS_BYTES_MAX + 4 * 1024

# The message with which a command is refused that needs a higher feature level than the cluster has.
UPGRADING = "it is being upgraded, and knows this command once all its servers run the newer release"


class Status(Request, frozen=True, kw_only=True, tag="status"):
    """Asks one server for its status; that server answers."""

    @property
    def answer_bytes_max(self) -> int:
        """The longest answer, as a frame."""
        return STATUS_BYTES_MAX


class Verify(Request, frozen=True, kw_only=True, tag="verify"):
    """Lets one server audit its ledger; that server answers when it is done."""

    at: Indexes = ()


class Events(Request, frozen=True, kw_only=True, tag="events"):
    """Asks one server what has happened in it, behind a cursor; that server answers.

    `after` counts in the numbering `recorder`; in another one it is not looked at. 0: the one of now.
    """

    after: Number = 0
    limit: Annotated[int, Meta(ge=1, le=EVENTS_MAX)] = EVENTS_MAX
    recorder: Number = 0


# -- administration of the cluster --------------------------------------------------------------------

NodeName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,31}\Z")]  # as in cluster.ini
HostPort = Annotated[str, Meta(pattern=r"^[!-~]{3,255}\Z")]  # the server that decides parses it
MemberPlace = Annotated[str, Meta(pattern=r"^[!-~]{0,260}\Z")]  # host:port, or empty


class Members(Request, frozen=True, kw_only=True, tag="members"):
    """Asks one server for the members of the cluster, as of the entry that it applied last."""

    @property
    def answer_bytes_max(self) -> int:
        """The longest answer, as a frame."""
        return MEMBERS_BYTES_MAX


class AddMember(Request, frozen=True, kw_only=True, tag="add_member"):
    """Add a server as a learner, which gets the log and has no vote."""

    node: NodeName
    peer: HostPort
    client: HostPort


class PromoteMember(Request, frozen=True, kw_only=True, tag="promote_member"):
    """Make a learner that has caught up a voter."""

    node: NodeName


class RemoveMember(Request, frozen=True, kw_only=True, tag="remove_member"):
    """Remove a server; `yes`: also if the number of voters falls."""

    node: NodeName
    yes: bool = False


class MoveMember(Request, frozen=True, kw_only=True, tag="move_member"):
    """Announce other addresses of a server."""

    node: NodeName
    peer: HostPort
    client: HostPort


class ReplaceMember(Request, frozen=True, kw_only=True, tag="replace_member"):
    """Make a server that lost its disk a learner by the data folder that it has now; then promote it."""

    node: NodeName


class TransferLeadership(Request, frozen=True, kw_only=True, tag="transfer_leadership"):
    """Let `node` lead in place of the leader; None: whoever has caught up best."""

    node: NodeName | None = None


class TakeSnapshot(Request, frozen=True, kw_only=True, tag="snapshot"):
    """Let the server that was asked take a snapshot now and cut its log."""


class MemberView(Struct, frozen=True, kw_only=True):
    """A member of the cluster; an address is empty if the log does not say it yet.

    `since` is the index of the log entry that made it a voter or a learner, 0 if it founded the cluster.
    """

    node: NodeName  # what a false server says here is printed
    voter: bool
    peer: MemberPlace
    client: MemberPlace
    since: int


class MembersReply(Struct, frozen=True, kw_only=True):
    """The members of the cluster, as of the log entry `index`, which the server has applied last."""

    id: str
    outcome: str
    index: int
    members: tuple[MemberView, ...]


class AdminReply(Struct, frozen=True, kw_only=True):
    """What became of a request to change the cluster: `ok`, or `refused`, which certainly changed nothing.

    With `not_allowed` it is the reply to whatever is no request of the bank, for who has no role for it.
    `message` is a line for people; `index` is that of the log entry that did it, 0 if none.
    """

    id: str
    outcome: str
    message: str
    index: int


class Reply(ReadResult, frozen=True, kw_only=True, omit_defaults=True):
    """The wire form of a `LedgerReceipt` or `ReadResult`; `leader` is the node that decided."""

    leader: str | None = None

    @classmethod
    def of(cls, decided: LedgerReceipt, leader: str | None = None) -> Self:
        """Return the reply to a client for a receipt, or for what was read."""
        if type(decided) is not LedgerReceipt:
            return cls(**asdict(decided), leader=leader)
        return cls(  # by hand: it takes a fourth of the time, and every command passes here
            id=decided.id,
            outcome=decided.outcome,
            balance=decided.balance,
            available=decided.available,
            log_index=decided.log_index,
            time_us=decided.time_us,
            leader=leader,
        )


class ErrorReply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The request was not decided here; `outcome` says what that means:

    - `bad_request`: not understood, certainly not done; closes the connection if framing is lost.
    - `busy`: too many requests are in progress here; this try certainly did nothing.
    - `no_space`: too many disks are nearly full, or PostgreSQL has no room; this try certainly did nothing.
    - `unavailable`: no leader is known here; this try certainly did nothing.
    - `untrusted`: the certificate does not belong at this port; it is about the connection, and has no id.
    - `unknown`: it was forwarded or proposed, and the outcome was not seen: it may or may not be done.
    """

    id: str
    outcome: str
    message: str = ""
    leader: str | None = None


class StatusReply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The status of a server; on a leader, `matched` is the match index of each other server.

    `version` is its release, `feature_level` that of the cluster, as far as this server has applied the log.
    From `voter` on: release 1.2. What is not known there is left out.
    """

    id: str
    outcome: str
    node: str
    role: str
    term: int
    leader: str | None
    commit_index: int
    applied_index: int
    last_index: int
    matched: dict[str, int]
    version: str
    feature_level: int
    cluster: str | None = None  # its id
    voter: bool | None = None  # whether its vote counts
    members: tuple[MemberView, ...] | None = None
    members_index: int | None = None  # the log entry that they are as of: applied, maybe in memory only
    peer: str | None = None  # the addresses at which it listens
    client: str | None = None
    incarnation: int | None = None  # how often it was started on its data folder
    uptime_s: float | None = None
    snapshot_index: int | None = None
    log_bytes: int | None = None
    ledger_bytes: int | None = None
    disk_free_bytes: int | None = None
    alarms: tuple[str, ...] = ()  # a line for people each
    clock_us: int | None = None  # microseconds since 1970 by its clock, at this answer
    sync_ms: float | None = None  # the longest sync of its log within some minutes
    config: str | None = None  # a digest of the nodes in its cluster.ini
    pepper: str | None = None  # the name of its first pepper, as in a hello
    further_peppers: tuple[str, ...] = ()  # likewise, of those behind it in its file
    certificate_ends_us: int | None = None  # when its own certificate expires, if it has one
    last_backup_us: int | None = None  # when the last backup of the bank was begun, as its ledger records it
    lanes: int | None = None  # how many the bank has, if more than one
    lanes_here: tuple[int, ...] | None = None  # of which this server is the writer


class VerifyReply(Struct, frozen=True, kw_only=True):
    """The findings of a server's audit of its own ledger."""

    id: str
    outcome: str = "ok"
    node: str
    findings: Findings


class EventsReply(Struct, frozen=True, kw_only=True):
    """The events of a server behind a cursor, fewer than were asked for if they would be too long.

    `next` is the cursor to go on after. `header` says how many numbers were lost before these (`missed`).
    """

    id: str
    outcome: str
    header: Header
    next: int
    events: tuple[Event, ...]


MemberChange = AddMember | PromoteMember | RemoveMember | MoveMember | ReplaceMember | TransferLeadership
AdminChange = MemberChange | RotatePepper  # the leader decides it, before any entry of the log
DecidedByLeader = Command | Read | AdminChange
Forwardable = DecidedByLeader | NoteDeed  # to the leader; a `NoteDeed` is a server's own
ClientRequest = DecidedByLeader | Status | Verify | Members | Events | TakeSnapshot | BackupRequest
QueuedRequest = ClientRequest | NoteDeed | Arrive  # for the run loop
ClientReply = (
    Reply
    | ErrorReply
    | StatusReply
    | VerifyReply
    | MembersReply
    | EventsReply
    | AdminReply
    | BackupOffer
    | BackupData
)

FAULT_OUTCOMES = frozenset({"bad_request", "busy", "no_space", "unavailable", "unknown", "untrusted"})


class _ReplyKind(Struct, frozen=True):
    """The fields that tell which kind of reply it is: replies have no tag on the wire."""

    outcome: str
    node: str | None = None
    findings: object = None
    members: object = None
    events: object = None
    index: int | None = None
    chain_hash: object = None
    data: object = None


_decoders: dict[type, Decoder[Any]] = {}  # each is made when its first reply comes: to make all takes ms


def _decoded(kind: type[T], payload: bytes) -> T:
    if kind not in _decoders:
        _decoders[kind] = Decoder(kind)
    decoder: Decoder[T] = _decoders[kind]
    return decode(decoder, payload)


def decode_client_reply(payload: bytes) -> ClientReply:
    """Return a server's reply to a client; raise `Malformed`.

    A `Reply` with the outcome `ok` has a balance, or the result that was requested.
    """
    kind = _decoded(_ReplyKind, payload)
    if kind.outcome in FAULT_OUTCOMES:
        return _decoded(ErrorReply, payload)
    kinds: tuple[tuple[object, type[ClientReply]], ...] = (
        (kind.findings, VerifyReply),
        (kind.chain_hash, BackupOffer),
        (kind.data, BackupData),
        (kind.events, EventsReply),
        (kind.node, StatusReply),
        (kind.members, MembersReply),
        (kind.index, AdminReply),
    )
    for value, reply_kind in kinds:
        if value is not None:
            return _decoded(reply_kind, payload)
    reply = _decoded(Reply, payload)
    if reply.outcome is Outcome.OK and reply.is_empty:
        raise Malformed("the reply says ok and has no balance")
    if reply.asked is not None and reply.asked.details is not None:
        decode_details(reply.asked.details)
    return reply


def decode_details(text: str) -> dict[str, Any]:
    """Return what the details of a request say, an object of JSON; raise `Malformed`."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (DecodeError, UnicodeError, RecursionError) as error:
        raise Malformed(f"the details of a request are no JSON: {error}") from error
