"""One event, and what stands at the top of a file of events."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

FORMAT: Final = 1

KINDS: Final = {
    "started": "the node has read its files and begins: where its log ends",
    "stopped": "the node ends, and why",
    "role": "its role or its term has changed, or it gave up its leader; with the cause",
    "leader": "it has heard the leader of its term for the first time",
    "vote": "it has granted or refused a vote or a pre-vote, with the reason",
    "vote_received": "it campaigns, and a voter has answered",
    "sent": "it has sent a message of Raft to another node",
    "received": "it has received one",
    "append": "entries are durable in its log",
    "commit": "it knows that all up to this entry is committed",
    "apply": "its ledger has applied these entries",
    "request": "a request of a client has arrived, or was forwarded to it",
    "answer": "it has answered a command that is committed, or refused a request",
    "read": "it has answered requests that only read, as of its commit index",
    "membership": "other members are in use",
    "peer": "the connection of another node has come or gone",
    "snapshot": "it has taken or installed a snapshot, or is to fetch one",
    "rejected": "it has dropped a message that no node which keeps to the protocol sends",
    "lane": "on PostgreSQL: it has taken or lost a lane, or sees who has it now",
    "written": "on PostgreSQL: the database has its commands of a lane",
    "engine": "on PostgreSQL: the database cannot be used, or can be again",
}


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened at one node; which fields there are depends on `kind`. docs/events.md has the table.

    `number` rises by 1 or 0 from an event of a node to the next: what was noted at once has one number.
    `at_us` is the node's monotonic clock in microseconds. `term` and `role` are the node's own, after the
    event.
    """

    number: int
    at_us: int
    node: str
    kind: str
    term: int = 0
    role: str = ""
    # role
    before: str | None = None
    cause: str | None = None
    by: str | None = None
    votes: tuple[str, ...] | None = None
    leader: str | None = None
    # vote, vote_received
    candidate: str | None = None
    voter: str | None = None
    pre_vote: bool | None = None
    campaign_term: int | None = None
    granted: bool | None = None
    why: str | None = None
    voted_for: str | None = None
    counted: bool | None = None
    count: int | None = None
    needed: int | None = None
    # places in logs
    index: int | None = None
    last_index: int | None = None
    last_term: int | None = None
    own_last_index: int | None = None
    own_last_term: int | None = None
    # sent, received
    peer: str | None = None
    message: str | None = None
    message_term: int | None = None
    prev_index: int | None = None
    prev_term: int | None = None
    entries: int | None = None
    commit_index: int | None = None
    match_index: int | None = None
    success: bool | None = None
    round: int | None = None
    # append
    sync_us: int | None = None
    # clients
    op: str | None = None
    request: str | None = None
    outcome: str | None = None
    forwarded: bool | None = None
    # membership
    voters: tuple[str, ...] | None = None
    learners: tuple[str, ...] | None = None
    # on PostgreSQL
    lane: int | None = None
    # others
    what: str | None = None
    text: str | None = None
    version: str | None = None
    more: int | None = None


class Header(Struct, frozen=True, kw_only=True):
    """The first line of a file, and the top of an answer: whose events they are, and when that was.

    `wall_us` (since 1970) and `monotonic_us` are the node's two clocks at one moment, so that files of
    several nodes can be laid side by side. `recorder` names the numbering: another one after each start.
    `missed` counts the numbers that were asked for and are not kept any more.
    """

    format: int = FORMAT
    node: str
    cluster: str | None = None
    version: str = ""
    wall_us: int = 0
    monotonic_us: int = 0
    recorder: int = 0
    missed: int = 0
    reason: str | None = None  # for which the file was written

    def wall_time_us(self, event: Event) -> int:
        """Return when an event of this node was, in microseconds since 1970."""
        return self.wall_time_us_at(event.at_us)

    def wall_time_us_at(self, monotonic_us: int) -> int:
        """Return the same for a moment on this node's monotonic clock."""
        return monotonic_us - self.monotonic_us + self.wall_us
