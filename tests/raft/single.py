"""One core that is given messages written by hand; its answers are the result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from atm.raft.checked import CheckedRaft
from atm.raft.membership import Configuration, Member, encode_configuration
from atm.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Entry,
    EntryKind,
    HardState,
    InstallSnapshot,
    InstallSnapshotResponse,
    NodeId,
    Outgoing,
    RaftMessage,
    RequestVote,
    RequestVoteResponse,
    Snapshot,
)
from atm.raft.raft import Raft
from atm.raft.ready import Ready, Role
from tests.raft.network import ELECTION_TICKS_MAX, Network, snapshot_of
from tests.raft.server import Server
from tests.support.checks import Checks
from tests.support.store import entries_of_terms


class Unchecked(Checks):
    """The promises of a cluster cannot be checked with one server and messages written by hand."""

    def stepped(self, name: NodeId, raft: Raft) -> None: ...

    def ready(self, name: NodeId, ready: Ready) -> None: ...

    def saved(self, name: NodeId) -> None: ...

    def sent(self, name: NodeId, outgoing: Iterable[Outgoing]) -> None: ...

    def applied(self, name: NodeId, entries: Sequence[Entry]) -> None: ...

    def took_snapshot(self, name: NodeId, snapshot: Snapshot) -> None: ...

    def installed(self, name: NodeId, snapshot: Snapshot) -> None: ...


class Single:
    """Server `a` of a cluster of `names`; the messages of the others are written by hand."""

    def __init__(
        self,
        names: str = "abc",
        *,
        log: Sequence[int] = (),
        term: int | None = None,
        voted_for: NodeId | None = None,
        commit_index: int = 0,
        **limits: Any,
    ) -> None:
        term = (log[-1] if log else 0) if term is None else term
        hard_state = HardState(term=term, voted_for=voted_for, commit_index=commit_index)
        down = names.replace("a", "")
        self.network = Network(
            names, logs={"a": log}, hard_states={"a": hard_state}, down=down, checks=Unchecked, **limits
        )
        self.network.work("a")
        self.network.in_flight.clear()

    @property
    def server(self) -> Server:
        return self.network.servers["a"]

    @property
    def raft(self) -> CheckedRaft:
        return self.network["a"]

    def receive(self, *messages: RaftMessage) -> list[Outgoing]:
        """Step all `messages` before any work is performed, as a busy server would; return what is sent."""
        for message in messages:
            self.raft.step(message)
        self.network.work("a")
        return self.sent()

    def tick(self, ticks: int = 1) -> list[Outgoing]:
        self.network.tick("a", ticks)
        return self.sent()

    def propose(self, *commands: bytes) -> list[Outgoing]:
        self.network.submit("a", *commands)
        return self.sent()

    def sent(self) -> list[Outgoing]:
        """Remove and return the messages sent since the last call."""
        return [Outgoing(envelope.to, envelope.message) for envelope in self.network.take_in_flight()]

    def restart(self) -> None:
        self.network.crash("a")
        self.network.restart("a")

    def campaign(self, *, pre_vote: bool = False) -> list[Outgoing]:
        """Time out and, unless only the pre-vote is wanted, win it; return the requests sent."""
        for _ in range(ELECTION_TICKS_MAX + 1):
            if sent := [out for out in self.tick() if isinstance(out.message, RequestVote)]:
                break
        if pre_vote:
            return sent
        peers = self.server.config.peers
        term = self.raft.term + 1
        return self.receive(
            *(vote_granted(peer, term, pre_vote=True) for peer in peers[: (len(peers) + 1) // 2])
        )

    def lead(self) -> list[Outgoing]:
        """Win an election; return the first appends."""
        self.campaign()
        peers = self.server.config.peers
        sent = self.receive(*(vote_granted(peer, self.raft.term) for peer in peers[: (len(peers) + 1) // 2]))
        assert self.raft.role is Role.LEADER
        return sent


# -- messages, with defaults for what a test does not care about ------------------------------------


def vote_request(
    sender: NodeId,
    term: int,
    last: tuple[int, int] = (0, 0),
    *,
    pre_vote: bool = False,
    transfer: bool = False,
    folder: tuple[str, int] = ("", 0),
) -> RequestVote:
    """Ask for a vote; `last` is (term, index) of the candidate's last entry, as votes compare them.

    `folder` is the store that its configuration names, and the entry that does.
    """
    return RequestVote(
        sender=sender,
        term=term,
        last_log_term=last[0],
        last_log_index=last[1],
        pre_vote=pre_vote,
        transfer=transfer,
        store=folder[0],
        store_since=folder[1],
    )


def vote_granted(sender: NodeId, term: int, *, pre_vote: bool = False) -> RequestVoteResponse:
    return RequestVoteResponse(sender=sender, term=term, granted=True, pre_vote=pre_vote)


def vote_refused(sender: NodeId, term: int, *, pre_vote: bool = False) -> RequestVoteResponse:
    return RequestVoteResponse(sender=sender, term=term, granted=False, pre_vote=pre_vote)


def append(
    sender: NodeId,
    term: int,
    prev: tuple[int, int] = (0, 0),
    terms: Sequence[int] = (),
    commit: int = 0,
    round: int = 0,
) -> AppendEntries:
    """Append entries of `terms` after `prev`, an (index, term)."""
    index, prev_term = prev
    return AppendEntries(
        sender=sender,
        term=term,
        prev_log_index=index,
        prev_log_term=prev_term,
        entries=entries_after(index, terms),
        leader_commit=commit,
        round=round,
    )


def entries_after(index: int, terms: Sequence[int]) -> tuple[Entry, ...]:
    """Return entries of `terms` after `index`, equal to those of a hand-made log."""
    return tuple(entries_of_terms(*([0] * index), *terms)[index:])


def append_accepted(sender: NodeId, term: int, match_index: int, round: int = 0) -> AppendEntriesResponse:
    return AppendEntriesResponse(
        sender=sender,
        term=term,
        success=True,
        match_index=match_index,
        conflict_index=0,
        conflict_term=0,
        round=round,
    )


def append_refused(
    sender: NodeId, term: int, refused_index: int, conflict: tuple[int, int] = (1, 0), round: int = 0
) -> AppendEntriesResponse:
    """Refuse `refused_index`; `conflict` is (index, term) of the hint."""
    return AppendEntriesResponse(
        sender=sender,
        term=term,
        success=False,
        match_index=refused_index,
        conflict_index=conflict[0],
        conflict_term=conflict[1],
        round=round,
    )


def snapshot_at(index: int, term: int, name: str = "") -> Snapshot:
    """Return a snapshot up to the entry at `index`, of `term`, with the time stamp of a hand-made log."""
    return snapshot_of(entries_after(index - 1, (term,))[0], name)


def offer(sender: NodeId, term: int, snapshot: Snapshot, round: int = 0) -> InstallSnapshot:
    return InstallSnapshot(sender=sender, term=term, snapshot=snapshot, round=round)


def offer_answered(
    sender: NodeId, term: int, index: int, round: int = 0, *, installed: bool = True
) -> InstallSnapshotResponse:
    return InstallSnapshotResponse(sender=sender, term=term, index=index, installed=installed, round=round)


def votes(sent: Sequence[Outgoing]) -> list[tuple[NodeId, bool]]:
    """Return (to, granted) of the answers to vote requests in `sent`."""
    return [(o.to, o.message.granted) for o in sent if isinstance(o.message, RequestVoteResponse)]


def appends(sent: Sequence[Outgoing], to: NodeId | None = None) -> list[AppendEntries]:
    return [o.message for o in sent if isinstance(o.message, AppendEntries) and to in (None, o.to)]


def offers(sent: Sequence[Outgoing], to: NodeId | None = None) -> list[InstallSnapshot]:
    return [o.message for o in sent if isinstance(o.message, InstallSnapshot) and to in (None, o.to)]


def offer_answers(sent: Sequence[Outgoing]) -> list[InstallSnapshotResponse]:
    return [o.message for o in sent if isinstance(o.message, InstallSnapshotResponse)]


def messages_after_sync(sent: Sequence[Outgoing]) -> list[AppendEntriesResponse]:
    return [o.message for o in sent if isinstance(o.message, AppendEntriesResponse)]


def members(voters: str, learners: str = "", **stores: str) -> Configuration:
    return tuple(
        Member(node=node, voter=node in voters, store=stores.get(node, "")) for node in voters + learners
    )


def membership_entry(index: int, term: int, configuration: Configuration) -> Entry:
    data = encode_configuration(configuration)
    return Entry(index=index, term=term, time_us=index, kind=EntryKind.MEMBERSHIP, data=data)


def append_of(sender: str, term: int, prev: tuple[int, int], *entries: Entry) -> AppendEntries:
    return replace(append(sender, term, prev), entries=entries)
