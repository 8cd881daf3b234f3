"""Figure 3 of the paper, checked from outside: by what each server saves, sends and applies.

A voter is a server with its disk: a majority is counted in the configuration that the leader uses, and what a
disk has held counts for this disk alone. Each fact is checked once, when it arises, so that a check after
every step is cheap; facts about any server and term are kept for the whole run, crashes included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from atm.ledger.commands import BANK, Expire
from atm.raft import messages as m
from atm.raft.membership import Configuration, decode_configuration
from atm.raft.messages import Entry, EntryKind, HardState, NodeId, Outgoing
from atm.raft.raft import Raft
from atm.raft.ready import Ready, Role
from atm.wire.codec import encode
from atm.wire.log_entries import command_data
from tests.support.store import Store

Disk: TypeAlias = tuple[NodeId, str]  # a server with a store id: "" for its first disk
# Proposed by the leader, not by a customer.
EXPIRE = command_data(BANK, encode(Expire()))
EXPIRES = (EXPIRE, command_data(BANK, encode(Expire(limit=500))))


class Violation(AssertionError):
    """A promise of Raft or of the bank did not hold; `promise` names it."""

    def __init__(self, text: str, promise: str = "") -> None:
        super().__init__(text)
        self.promise = promise


def voting_disks(configuration: Configuration) -> frozenset[Disk]:
    return frozenset((member.node, member.store) for member in configuration if member.voter)


def require(condition: bool, promise: str, detail: object = "") -> None:
    if not condition:
        raise Violation(f"{promise}: {detail}", promise)


@dataclass
class Seen:
    """The last state seen of one server; after a crash only what must survive is kept."""

    term: int = 0
    commit_index: int = 0
    applied_index: int = 0
    led_term: int = 0  # the term in which its last Ready was a leader's


@dataclass
class Checks:
    """The promises of all servers of a cluster together; `stores` are their disks."""

    stores: Mapping[NodeId, Store]
    committed: list[Entry] = field(default_factory=list)
    committed_in: list[int] = field(default_factory=list)  # the term whose leader committed it
    leaders: dict[int, NodeId] = field(default_factory=dict)
    voters: frozenset[Disk] = frozenset()  # of the newest committed configuration; at first all servers
    on_commit: Callable[[int], None] = lambda index: None
    committed_by: list[frozenset[Disk]] = field(default_factory=list)  # who voted in that configuration
    disks: dict[NodeId, str] = field(default_factory=dict)  # the store id of each, "" where it has none here
    first_disks: Mapping[NodeId, str] = field(default_factory=dict)  # which a configuration may leave out
    _lost: dict[Disk, list[int]] = field(default_factory=dict)  # the terms of the entries on a lost disk
    _seen: dict[NodeId, Seen] = field(default_factory=dict)
    _written: dict[tuple[int, int], tuple[int, Entry]] = field(default_factory=dict)
    _votes: dict[tuple[Disk, int], NodeId] = field(default_factory=dict)
    _sent: dict[tuple[int, int], int] = field(default_factory=dict)  # (leader's term, index) -> entry's term

    def __post_init__(self) -> None:
        self.disks = self.disks or dict(self.first_disks)
        self.voters = self.voters or frozenset(map(self.disk_of, self.stores))

    def restarted(self, name: NodeId, applied_index: int) -> None:
        """`name` starts again from its store, with a state machine at `applied_index`."""
        before = self._seen.get(name, Seen())
        term = self.stores[name].hard_state.term
        require(term >= before.term or before.term == 0, "terms never go back", f"{name} at {term}")
        self._seen[name] = Seen(term=term, applied_index=applied_index)

    def wiped(self, name: NodeId, disk: str = "new") -> None:
        """`name` is about to lose its disk, and gets `disk`: it counts where a configuration names that.

        Servers that have not been told yet may still count promises from before, as messages are in flight.
        """
        store = self.stores[name]
        in_snapshot = [entry.term for entry in self.committed[: store.start.index]]
        self._lost[self.disk_of(name)] = in_snapshot + [entry.term for entry in store.entries]
        self.disks[name] = disk
        self._seen[name] = Seen()

    def voting(self, configuration: Configuration) -> frozenset[Disk]:
        """Return the voters; one without a store has the disk that it was first seen with."""
        return frozenset(
            (name, store or self.first_disks.get(name, "")) for name, store in voting_disks(configuration)
        )

    def disk_of(self, name: NodeId) -> Disk:
        """Return the server with the disk that it has now."""
        return name, self.disks.get(name, "")

    def stepped(self, name: NodeId, raft: Raft) -> None:
        """`name` has handled a message, a tick or a proposal."""
        seen = self._seen.setdefault(name, Seen())
        require(raft.term >= seen.term, "the term is monotonic", name)
        require(raft.commit_index >= seen.commit_index, "the commit index is monotonic", name)
        if raft.role is Role.LEADER:
            if raft.term not in self.leaders:
                self._check_election(name, raft)
            leader = self.leaders.setdefault(raft.term, name)
            require(leader == name, "election safety", f"{leader} and {name} lead term {raft.term}")
        if self.leaders.get(raft.term) == name:  # also if it has just removed itself and stepped down
            self._leader_committed(name, raft)
        require(
            raft.commit_index <= len(self.committed),
            "only leaders commit",
            f"{name} commits {raft.commit_index} but leaders only {len(self.committed)}",
        )
        seen.commit_index = raft.commit_index

    def ready(self, name: NodeId, ready: Ready) -> None:
        """`name` is about to perform `ready`."""
        seen, store, term = self._seen.setdefault(name, Seen()), self.stores[name], ready.hard_state.term
        require(term >= store.hard_state.term, "a saved term never goes back", name)
        if term == store.hard_state.term and store.hard_state.voted_for is not None:
            kept = ready.hard_state.voted_for == store.hard_state.voted_for
            require(kept, "a vote is kept in its term", (name, store.hard_state, ready.hard_state))
        if ready.role is Role.LEADER:
            if seen.led_term == term:
                append_only = not ready.entries or ready.entries[0].index == store.last_index + 1
                require(append_only, "leader append-only", f"{name} in term {term}")
            else:
                self._check_completeness(name, term, ready.entries)
            seen.led_term = term
        else:
            seen.led_term = 0
        self._check_entries(name, ready.entries, ready.reset_log)

    def saved(self, name: NodeId) -> None:
        """`name` has saved; its term is durable now."""
        seen = self._seen[name]
        seen.term = max(seen.term, self.stores[name].hard_state.term)

    def sent(self, name: NodeId, outgoing: Iterable[Outgoing]) -> None:
        """`name` sends; a response is a promise, so what it promises must be on the disk."""
        hard_state = self.stores[name].hard_state
        for out in outgoing:
            require(out.to != name, "no server sends to itself", out)
            match out.message:
                case m.RequestVoteResponse(pre_vote=False, granted=True) as vote:
                    self._check_vote(name, out.to, vote, hard_state)
                case m.RequestVote(pre_vote=False) as request:
                    durable = hard_state.term > request.term or (
                        (hard_state.term, hard_state.voted_for) == (request.term, name)
                    )
                    require(durable, "a candidate's own vote is durable before it asks", (name, hard_state))
                case m.AppendEntries() as append:
                    require(self.leaders.get(append.term) == name, "only a leader sends entries", (name, out))
                    self._note_append(append)
                case m.AppendEntriesResponse(success=True) as acknowledgement:
                    self._check_acknowledgement(name, acknowledgement)
                case m.InstallSnapshot() as offer:
                    require(
                        self.leaders.get(offer.term) == name, "only a leader offers a snapshot", (name, out)
                    )
                    self._check_snapshot(name, offer.snapshot)
                case m.InstallSnapshotResponse(installed=True) as installed:
                    committed_term = self.committed[installed.index - 1].term
                    durable = self._held(name, installed.index) == committed_term
                    require(durable, "what is said to be installed is durable", (name, installed))
                case _:
                    pass

    def applied(self, name: NodeId, entries: Sequence[Entry]) -> None:
        """`name` applies `entries`: in order, without a gap, committed and durable here."""
        seen = self._seen[name]
        for entry in entries:
            require(
                entry.index == seen.applied_index + 1,
                "applied in order",
                (name, entry.index, seen.applied_index),
            )
            require(entry.index <= len(self.committed), "only committed entries are applied", (name, entry))
            require(entry == self.committed[entry.index - 1], "state-machine safety", (name, entry))
            durable = self.stores[name].term_at(entry.index) == entry.term
            require(durable, "the state machine is never ahead of the durable log", (name, entry))
            seen.applied_index = entry.index

    def took_snapshot(self, name: NodeId, snapshot: m.Snapshot) -> None:
        """`name` has a snapshot of its state machine, durably."""
        self._check_snapshot(name, snapshot)
        require(snapshot.index <= self._seen[name].applied_index, "a snapshot is of what is applied", name)

    def installed(self, name: NodeId, snapshot: m.Snapshot) -> None:
        """The state machine of `name` was replaced by what is in `snapshot`, durably."""
        seen = self._seen[name]
        self._check_snapshot(name, snapshot)
        require(snapshot.index > seen.applied_index, "an install does not go back", (name, snapshot))
        seen.applied_index = snapshot.index

    def ends_holds(self, name: NodeId, term: int, applied_index: int) -> None:
        """`name` leads `term`; a hold is due in its ledger at `applied_index`: one command ends it soon."""
        proposed = [
            entry
            for entry in self.stores[name].tail(applied_index + 1)
            if entry.term == term and entry.data in EXPIRES
        ]
        require(len(proposed) == 1, "what is due is ended at once, by one command", (name, proposed))

    # -- the single checks -----------------------------------------------------------------

    def _held(self, name: NodeId, index: int) -> int | None:
        """Return the term of the entry at `index` that `name` holds durably, in its log or in a snapshot."""
        store = self.stores[name]
        if index <= store.start.index:
            return self.committed[index - 1].term if index else 0
        return store.term_at(index)

    def _check_snapshot(self, name: NodeId, snapshot: m.Snapshot) -> None:
        """A snapshot is of what is committed."""
        require(
            0 < snapshot.index <= len(self.committed), "a snapshot is of what is committed", (name, snapshot)
        )
        last = self.committed[snapshot.index - 1]
        same = (snapshot.term, snapshot.time_us) == (last.term, last.time_us)
        require(same, "a snapshot names its last entry", (name, snapshot, last))

    def _check_election(self, name: NodeId, raft: Raft) -> None:
        """A majority of its configuration has durably voted for the new leader, itself included."""
        own, term = self.stores[name].hard_state, raft.term
        given = {voter for (voter, in_term), to in self._votes.items() if (in_term, to) == (term, name)}
        if (own.term, own.voted_for) == (term, name):
            given.add(self.disk_of(name))
        voters = self.voting(raft.configuration[1])
        detail = f"{name} leads term {term} by {sorted(given)} of {sorted(voters)}"
        require(2 * len(voters & given) > len(voters), "a leader is elected by a majority", detail)
        leaves = raft.configuration[0] > raft.commit_index
        require(leaves or self.disk_of(name) in voters, "only a voter is elected, or one that leaves", detail)

    def _held_once(self, disk: Disk, index: int) -> int | None:
        """Return the term of the entry at `index` on a disk, also on one that was lost."""
        name, lost = disk[0], self._lost.get(disk, [])
        if disk == self.disk_of(name) and (not lost or index <= self.stores[name].last_index):
            return self._held(name, index)
        return lost[index - 1] if index <= len(lost) else None

    def _leader_committed(self, name: NodeId, raft: Raft) -> None:
        first = max(self._seen[name].commit_index, len(self.committed)) + 1
        if raft.commit_index < first:
            return
        store = self.stores[name]
        last_term = store.term_at(raft.commit_index)
        require(
            last_term == raft.term, "commit only by an entry of the current term", (name, raft.commit_index)
        )
        voters = self.voting(raft.configuration[1])
        for index in range(first, raft.commit_index + 1):
            entry = store.entry_at(index)
            holders = [disk for disk in voters if self._held_once(disk, index) == entry.term]
            promise = "a committed entry is durable on a majority"
            require(2 * len(holders) > len(voters), promise, f"{index} is on {holders} of {voters}")
            if entry.kind == EntryKind.MEMBERSHIP:
                self._check_next_configuration(entry)
            later = not self.committed or entry.time_us > self.committed[-1].time_us
            require(later, "time stamps rise with the index", (entry, self.committed[-1:]))
            self.committed.append(entry)
            self.committed_in.append(raft.term)
            self.committed_by.append(voters)
            self.on_commit(index)

    def _check_next_configuration(self, entry: Entry) -> None:
        """Committed configurations differ by one voter at most from one to the next (thesis 4.1)."""
        voters = self.voting(decode_configuration(entry.data))
        changed = self.voters ^ voters
        require(len(changed) <= 1, "one voter changes at a time", (entry.index, self.voters, voters))
        self.voters = voters

    def _check_completeness(self, name: NodeId, term: int, unsaved: Sequence[Entry]) -> None:
        """A leader of `term` holds what was committed in lower terms (it may win by late votes)."""
        store = self.stores[name]
        fresh = {entry.index: entry.term for entry in unsaved}
        first_fresh = min(fresh, default=store.last_index + 1)
        for entry, commit_term in zip(self.committed, self.committed_in, strict=True):
            if commit_term < term:
                is_fresh = entry.index >= first_fresh
                held = fresh.get(entry.index) if is_fresh else self._held(name, entry.index)
                require(
                    held == entry.term, "leader completeness", f"{name} in term {term} lacks {entry.index}"
                )

    def _check_entries(self, name: NodeId, entries: Sequence[Entry], reset_log: m.Snapshot | None) -> None:
        """Log matching, by induction: (index, term) fixes the entry and the term of the one before."""
        if not entries:
            return
        store = self.stores[name]
        prev_term = store.term_at(entries[0].index - 1)
        if reset_log is not None and entries[0].index == reset_log.index + 1:
            prev_term = reset_log.term
        assert prev_term is not None, f"{name} saves after a gap"
        for entry in entries:
            known = self._written.setdefault((entry.index, entry.term), (prev_term, entry))
            require(known == (prev_term, entry), "log matching", (name, entry, known))
            require(entry.term >= prev_term, "terms never fall along the log", (name, entry))
            prev_term = entry.term
            if entry.index <= len(self.committed):
                self._check_replaced(name, entry)

    def _check_replaced(self, name: NodeId, entry: Entry) -> None:
        """Only a leader deposed before the commit may replace a committed entry, on a server without part in
        the commit; a majority still holds the entry.
        """
        committed_term = self.committed[entry.index - 1].term
        voters = self.committed_by[entry.index - 1]
        if self.disk_of(name) not in voters:
            return
        if self.stores[name].term_at(entry.index) != committed_term or entry.term == committed_term:
            return
        late = entry.term < self.committed_in[entry.index - 1]
        require(late, "a committed entry is never replaced", (name, entry))
        others = [
            disk
            for disk in voters
            if disk[0] != name and self._held_once(disk, entry.index) == committed_term
        ]
        promise = "a committed entry stays on a majority"
        require(2 * len(others) > len(voters), promise, (name, entry, others))

    def _check_vote(
        self, name: NodeId, to: NodeId, vote: m.RequestVoteResponse, hard_state: HardState
    ) -> None:
        durable = hard_state.term > vote.term or (hard_state.term == vote.term and hard_state.voted_for == to)
        require(durable, "a vote is durable before it leaves", (name, vote, hard_state))
        first = self._votes.setdefault((self.disk_of(name), vote.term), to)
        require(first == to, "one vote a term", f"{name} voted for {first} and {to} in term {vote.term}")

    def _note_append(self, append: m.AppendEntries) -> None:
        self._sent[append.term, append.prev_log_index] = append.prev_log_term
        for entry in append.entries:
            self._sent[append.term, entry.index] = entry.term

    def _check_acknowledgement(self, name: NodeId, response: m.AppendEntriesResponse) -> None:
        """The log of `name` is, durably, the log of the term's leader up to `match_index`."""
        store, index = self.stores[name], response.match_index
        require(store.hard_state.term >= response.term, "an acknowledged term is durable", (name, response))
        if store.hard_state.term > response.term:
            return
        if index:
            sent_term = self._sent.get((response.term, index))
            require(sent_term is not None, "only what was sent is acknowledged", (name, response))
            require(
                self._held(name, index) == sent_term,
                "what is acknowledged is durable and the leader's",
                (name, response, store.term_at(index), sent_term),
            )
