"""What a leader knows about one follower (Figure 2, volatile state on leaders), and how it sends to it."""

from __future__ import annotations

from collections import deque
from enum import Enum

from msgspec import Struct, field

from atm.raft.log import Log
from atm.raft.messages import AppendEntriesResponse, Snapshot

SILENT_TIMEOUTS = 10  # election timeouts without an answer, after which an offered snapshot need not be kept


class ProgressState(Enum):
    """How the leader brings a follower up to date.

    PROBE looks for the index up to which the logs agree, one append at a time. REPLICATE sends up to a
    window of appends without waiting for answers (thesis 10.2.1). SNAPSHOT offers a snapshot: the follower
    needs an entry from before the leader's log (section 7).
    """

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Progress(Struct):
    """One follower; `in_flight` holds the last index of each append with entries that is not answered yet.

    Only `sent_from_disk`, `matched`, `refused` and `fit` change the state; it is SNAPSHOT exactly while
    `next_index` is before the first entry of our log. The answer to a heartbeat shows whether an append or
    its answer was lost.
    """

    next_index: int
    match_index: int = 0
    state: ProgressState = ProgressState.PROBE
    in_flight: deque[int] = field(default_factory=deque)
    commit_sent: int = 0
    sent_this_tick: bool = False
    round_sent: int = 0
    round_echoed: int = 0
    recently_active: bool = False  # whether it has answered since the last check-quorum
    silent_ticks: int = 0  # since its last answer
    silent_timeouts: int = 0  # check-quorums in a row without an answer
    snapshot: Snapshot | None = None  # in state SNAPSHOT, the one that was offered last

    def accepts_entries(self, window_batches: int) -> bool:
        """Return whether one more append may be in flight; while probing, only one may."""
        if self.state is ProgressState.SNAPSHOT:
            return False
        return len(self.in_flight) < (1 if self.state is ProgressState.PROBE else window_batches)

    def answered(self) -> None:
        """Note that the follower has answered."""
        self.recently_active = True
        self.silent_ticks = self.silent_timeouts = 0

    def take_recently_active(self) -> bool:
        """Return whether it has answered since the last call; start anew."""
        active, self.recently_active = self.recently_active, False
        self.silent_timeouts = 0 if active else self.silent_timeouts + 1
        return active

    @property
    def offered(self) -> Snapshot | None:
        """The snapshot that the follower may be fetching; one that is silent for long is not waited for."""
        return self.snapshot if self.silent_timeouts < SILENT_TIMEOUTS else None

    def choose_offer(self, newest: Snapshot | None, log: Log) -> Snapshot | None:
        """Return the snapshot to offer: the same again, as long as our log still goes on from it."""
        if self.offered is None or self.offered.index < log.start.index:
            self.snapshot = newest
        return self.snapshot

    def sent(self, last_index: int) -> None:
        """Note that entries up to `last_index` were sent."""
        self.in_flight.append(last_index)
        if self.state is ProgressState.REPLICATE:
            self.next_index = last_index + 1

    def sent_from_disk(self, last_index: int) -> None:
        """Note that entries up to `last_index` at most were sent; the answer says how many."""
        self._become(ProgressState.PROBE)
        self.in_flight.append(last_index)

    def matched(self, match_index: int, log: Log) -> None:
        """The follower's log agrees up to `match_index`, durably. A late answer changes nothing."""
        self.match_index = max(self.match_index, match_index)
        self.next_index = max(self.next_index, self.match_index + 1)
        if self.state is ProgressState.PROBE:
            self._become(ProgressState.REPLICATE)
        while self.in_flight and self.in_flight[0] <= self.match_index:
            self.in_flight.popleft()
        self.fit(log)

    def refused(self, response: AppendEntriesResponse, log: Log) -> None:
        """The logs differ at the refused index: probe from where the hint says. A late refusal is ignored."""
        refused_index = response.match_index
        probing = self.state is ProgressState.PROBE
        late = refused_index <= self.match_index or (probing and refused_index != self.next_index - 1)
        if late or self.state is ProgressState.SNAPSHOT:
            return
        self.next_index = max(self.match_index + 1, min(_hinted(response, log), refused_index))
        self._become(ProgressState.PROBE)
        self.fit(log)

    def fit(self, log: Log) -> None:
        """Enter or leave SNAPSHOT: our log may begin after the next entry."""
        if self.next_index < log.first_index:
            if self.state is not ProgressState.SNAPSHOT:
                self._become(ProgressState.SNAPSHOT)
        elif self.state is ProgressState.SNAPSHOT:
            self._become(ProgressState.PROBE)

    def _become(self, state: ProgressState) -> None:
        """Enter `state` with an empty window."""
        self.state = state
        self.in_flight.clear()
        self.snapshot = None


def _hinted(response: AppendEntriesResponse, log: Log) -> int:
    """Return the next index to try: after our last entry of the conflicting term, or where the hint says."""
    if response.conflict_term:
        last_of_term = log.last_index_of_term(response.conflict_term)
        if last_of_term is not None:
            return last_of_term + 1
    return response.conflict_index
