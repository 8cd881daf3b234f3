"""A leader: the appends that bring each follower's log up to date."""

from __future__ import annotations

from collections.abc import Sequence, Set

from msgspec import Struct, field

from atm.raft.config import RaftConfig
from atm.raft.log import Log
from atm.raft.messages import (
    AppendEntries,
    CatchUp,
    Entry,
    InstallSnapshot,
    NodeId,
    Outgoing,
    Snapshot,
    TimeoutNow,
)
from atm.raft.progress import Progress, ProgressState
from atm.raft.read_index import ReadIndex
from atm.raft.ready import Role


class Transfer(Struct):
    """Leadership is being handed to `target`, since `ticks`; `told` once it was asked to campaign."""

    target: NodeId
    ticks: int = 0
    told: bool = False


class Leader(Struct):
    """A leader's own data; `term_start_index` is the index of the first entry of its term."""

    node_id: NodeId
    term: int
    term_start_index: int
    progress: dict[NodeId, Progress]
    reads: ReadIndex = field(default_factory=ReadIndex)
    transfer: Transfer | None = None

    role = Role.LEADER

    def follow_members(self, others: Sequence[NodeId], changed: Set[NodeId], next_index: int) -> None:
        """Keep the progress of these servers alone; one that is new or `changed` is probed from `next_index`.

        What a server acknowledged before it got a vote may have been of the disk that it has lost.
        """
        known = {peer: progress for peer, progress in self.progress.items() if peer not in changed}
        self.progress = {peer: known.get(peer) or Progress(next_index=next_index) for peer in others}

    def hand_over(self, last_index: int) -> list[Outgoing]:
        """Return the order to campaign, once, when the transfer's target has the whole log (thesis 3.10)."""
        transfer = self.transfer
        if transfer is None or transfer.told or self.progress[transfer.target].match_index < last_index:
            return []
        transfer.told = True
        return [Outgoing(transfer.target, TimeoutNow(sender=self.node_id, term=self.term))]

    def replicate(
        self, log: Log, commit_index: int, config: RaftConfig, snapshot: Snapshot | None
    ) -> tuple[list[Outgoing], list[CatchUp]]:
        """Return the appends that each follower's window allows, and the newest heartbeat round for each."""
        appends: list[Outgoing] = []
        catch_ups: list[CatchUp] = []
        made: dict[
            int, AppendEntries
        ] = {}  # by first index: followers with the same next_index get the same message
        last_index, newest_round = log.last_index, self.reads.round
        for peer, progress in self.progress.items():
            while progress.next_index <= last_index and progress.accepts_entries(config.window_batches):
                if progress.next_index <= log.base_index:
                    catch_ups.append(self._catch_up(peer, log, commit_index, config))
                else:
                    appends.append(self._send_entries(peer, log, commit_index, config, made))
            if progress.round_sent < newest_round:
                appends.append(self.heartbeat(peer, log, commit_index, snapshot))
        return appends, catch_ups

    def heartbeat(self, peer: NodeId, log: Log, commit_index: int, snapshot: Snapshot | None) -> Outgoing:
        """Return an append without entries. The follower refuses it if an append before it was lost.

        A follower that needs an entry from before the log is offered a snapshot instead: the one that it was
        offered before, or `snapshot`, our newest.
        """
        progress = self.progress[peer]
        self._note_sent(progress, commit_index)
        if progress.state is ProgressState.SNAPSHOT:
            offer = progress.choose_offer(snapshot, log)
            if offer is not None:
                return Outgoing(peer, self._offer(offer))
        return Outgoing(peer, self._append_for(progress, log, commit_index, ()))

    def _offer(self, snapshot: Snapshot) -> InstallSnapshot:
        return InstallSnapshot(sender=self.node_id, term=self.term, snapshot=snapshot, round=self.reads.round)

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
        """Return an append whose entries the caller reads from the disk.

        How many fit a message is not known here, so nothing more is sent before the answer.
        """
        progress = self.progress[peer]
        last_index = min(log.base_index, progress.next_index + config.batch_entries_max - 1)
        append = self._append_for(progress, log, commit_index, ())
        self._note_sent(progress, commit_index)
        progress.sent_from_disk(last_index)
        return CatchUp(to=peer, append=append, last_index=last_index)

    def _note_sent(self, progress: Progress, commit_index: int) -> None:
        progress.commit_sent = commit_index
        progress.sent_this_tick = True
        progress.round_sent = self.reads.round

    def _append_for(
        self, progress: Progress, log: Log, commit_index: int, entries: tuple[Entry, ...]
    ) -> AppendEntries:
        prev_log_index = max(progress.next_index - 1, log.start.index)  # the start, if nothing can be offered
        prev_log_term = log.term_at(prev_log_index)
        assert prev_log_term is not None
        return AppendEntries(
            sender=self.node_id,
            term=self.term,
            prev_log_index=prev_log_index,
            prev_log_term=prev_log_term,
            entries=entries,
            leader_commit=commit_index,
            round=self.reads.round,
        )

    def matched(self, saved_index: int) -> dict[NodeId, int]:
        """Return up to where each server's log agrees, durably; our own is `saved_index`."""
        matched = {peer: progress.match_index for peer, progress in self.progress.items()}
        matched[self.node_id] = saved_index
        return matched

    def echoed(self) -> dict[NodeId, int]:
        """Return the newest heartbeat round that each server has echoed; our own counts as echoed."""
        echoed = {peer: progress.round_echoed for peer, progress in self.progress.items()}
        echoed[self.node_id] = self.reads.round
        return echoed

    def take_recently_active(self) -> set[NodeId]:
        """Return the servers that have answered since the last call, this one included; start anew."""
        active = {peer for peer, progress in self.progress.items() if progress.take_recently_active()}
        return {*active, self.node_id}

    def offered(self) -> dict[NodeId, Snapshot]:
        """Return the snapshot that each follower may be fetching."""
        return {
            peer: progress.offered for peer, progress in self.progress.items() if progress.offered is not None
        }
