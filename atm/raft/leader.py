"""A leader: what it knows of each follower's log, and which reads wait to be confirmed."""

from __future__ import annotations

from collections import deque

from msgspec import Struct, field

from atm.raft.config import RaftConfig
from atm.raft.log import Log
from atm.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    CatchUp,
    ConfirmedRead,
    Entry,
    NodeId,
    Outgoing,
)
from atm.raft.quorum import agreed_by_majority
from atm.raft.ready import Role


class Progress(Struct):
    """What a leader knows of one follower (Figure 2, volatile state on leaders).

    While `probing`, it looks for the place where the logs agree, one append at a time. Then it sends
    batch after batch without waiting (thesis 10.2.1), up to a window of `in_flight` ones, of which it
    keeps the last indices. `waiting` holds further entries back until an answer comes; should entries or
    answer be lost, the next heartbeat is a probe too.
    """

    next_index: int
    match_index: int = 0
    probing: bool = True
    waiting: bool = False
    in_flight: deque[int] = field(default_factory=deque)
    commit_sent: int = 0
    sent_this_tick: bool = False
    round_sent: int = 0
    round_echoed: int = 0
    heard: bool = False

    def accepts_entries(self, window_batches: int) -> bool:
        return not self.waiting and len(self.in_flight) < window_batches

    def sent(self, last_index: int) -> None:
        """Note that entries up to `last_index` are on their way."""
        if self.probing:
            self.waiting = True
        else:
            self.in_flight.append(last_index)
            self.next_index = last_index + 1

    def sent_from_disk(self) -> None:
        """Note that entries are on their way, but not how many: probe, as if the logs might differ."""
        self.probing = self.waiting = True
        self.in_flight.clear()

    def matched(self, match_index: int) -> None:
        """The follower's log agrees up to `match_index`, durably; late news changes nothing."""
        self.match_index = max(self.match_index, match_index)
        self.next_index = max(self.next_index, self.match_index + 1)
        self.probing = self.waiting = False
        while self.in_flight and self.in_flight[0] <= self.match_index:
            self.in_flight.popleft()

    def refused(self, response: AppendEntriesResponse, log: Log) -> None:
        """The logs differ at the refused index: probe from where the hint says, unless the news is old."""
        refused_index = response.match_index
        if refused_index <= self.match_index or (self.probing and refused_index != self.next_index - 1):
            return
        self.next_index = max(self.match_index + 1, min(self._hinted(response, log), refused_index))
        self.probing, self.waiting = True, False
        self.in_flight.clear()

    def _hinted(self, response: AppendEntriesResponse, log: Log) -> int:
        if response.conflict_term:
            last_of_term = log.last_index_of_term(response.conflict_term)
            if last_of_term is not None:
                return last_of_term + 1
        return response.conflict_index


class Leader(Struct):
    """A leader's own data; `term_start_index` is that of its no-op, the first entry of its term."""

    node_id: NodeId
    term: int
    term_start_index: int
    progress: dict[NodeId, Progress]
    round: int = 0
    new_reads: list[int] = field(default_factory=list)
    pending_reads: deque[tuple[int, ConfirmedRead]] = field(default_factory=deque)
    confirmed_round: int = 0

    role = Role.LEADER

    def replicate(
        self, log: Log, commit_index: int, config: RaftConfig
    ) -> tuple[list[Outgoing], list[CatchUp]]:
        """Send each follower what it lacks, as far as its window allows, and the newest read round."""
        appends: list[Outgoing] = []
        catch_ups: list[CatchUp] = []
        made: dict[int, AppendEntries] = {}  # by first index: followers at one place are sent one message
        for peer, progress in self.progress.items():
            while progress.next_index <= log.last_index and progress.accepts_entries(config.window_batches):
                if progress.next_index <= log.base_index:
                    catch_ups.append(self._catch_up(peer, log, commit_index, config))
                else:
                    appends.append(self._send_entries(peer, log, commit_index, config, made))
            if progress.round_sent < self.round:
                appends.append(self.heartbeat(peer, log, commit_index))
        return appends, catch_ups

    def heartbeat(self, peer: NodeId, log: Log, commit_index: int) -> Outgoing:
        """Return an append without entries; should the last one be lost, its refusal will tell."""
        progress = self.progress[peer]
        self._note_sent(progress, commit_index)
        return Outgoing(peer, self._append_for(progress, log, commit_index, ()))

    def _send_entries(
        self, peer: NodeId, log: Log, commit_index: int, config: RaftConfig, made: dict[int, AppendEntries]
    ) -> Outgoing:
        progress = self.progress[peer]
        append = made.get(progress.next_index)
        if append is None:
            last_index = min(log.last_index, progress.next_index + config.batch_entries_max - 1)
            entries = log.slice(progress.next_index, last_index, config.batch_bytes_max)
            append = made[progress.next_index] = self._append_for(progress, log, commit_index, entries)
        self._note_sent(progress, commit_index)
        progress.sent(append.entries[-1].index)
        return Outgoing(peer, append)

    def _catch_up(self, peer: NodeId, log: Log, commit_index: int, config: RaftConfig) -> CatchUp:
        """Let entries be read from the disk; how many will fit is not known, so wait for the answer."""
        progress = self.progress[peer]
        last_index = min(log.base_index, progress.next_index + config.batch_entries_max - 1)
        append = self._append_for(progress, log, commit_index, ())
        self._note_sent(progress, commit_index)
        progress.sent_from_disk()
        return CatchUp(to=peer, append=append, last_index=last_index)

    def _note_sent(self, progress: Progress, commit_index: int) -> None:
        progress.commit_sent = commit_index
        progress.sent_this_tick = True
        progress.round_sent = self.round

    def _append_for(
        self, progress: Progress, log: Log, commit_index: int, entries: tuple[Entry, ...]
    ) -> AppendEntries:
        prev_log_index = progress.next_index - 1
        prev_log_term = log.term_at(prev_log_index)
        assert prev_log_term is not None
        return AppendEntries(
            sender=self.node_id,
            term=self.term,
            prev_log_index=prev_log_index,
            prev_log_term=prev_log_term,
            entries=entries,
            commit_index=commit_index,
            round=self.round,
        )

    def register_reads(self, commit_index: int) -> None:
        """Give the reads that came in since the last round one round and one read index (thesis 6.4)."""
        if self.new_reads and commit_index >= self.term_start_index:
            self.round += 1
            self.pending_reads.extend(
                (self.round, ConfirmedRead(read, commit_index)) for read in self.new_reads
            )
            self.new_reads.clear()

    def confirm_rounds(self, learners: set[NodeId], servers: int) -> None:
        """Note the newest round that a majority, this leader included, has echoed."""
        echoed = [p.round_echoed for node, p in self.progress.items() if node not in learners]
        self.confirmed_round = agreed_by_majority([self.round, *echoed], servers)

    def take_confirmed_reads(self, applied_index: int) -> tuple[ConfirmedRead, ...]:
        reads = []
        while (
            self.pending_reads
            and self.pending_reads[0][0] <= self.confirmed_round
            and self.pending_reads[0][1].index <= applied_index
        ):
            reads.append(self.pending_reads.popleft()[1])
        return tuple(reads)

    def all_read_ids(self) -> list[int]:
        return [read.read_id for _, read in self.pending_reads] + self.new_reads
