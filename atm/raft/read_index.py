"""Reads without an entry in the log: ReadIndex (thesis 6.4)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from msgspec import Struct, field

from atm.raft.membership import Membership
from atm.raft.messages import ConfirmedRead, NodeId


class ReadIndex(Struct):
    """The reads of one leader.

    Each read waits for three things: a read index (the commit index, once an entry of this term is
    committed); a heartbeat round, begun after the read was requested, that a majority has echoed, which shows
    that this server still led; and the state machine, which must have applied the read index.
    """

    round: int = 0  # the newest heartbeat round
    confirmed_round: int = 0  # the newest that a majority has echoed
    new: list[int] = field(default_factory=list)  # read ids that have no round yet
    pending: deque[tuple[int, ConfirmedRead]] = field(default_factory=deque)  # with the round of each

    def add_read(self, read_id: int) -> None:
        self.new.append(read_id)

    def begin_round(self, commit_index: int, term_start_index: int) -> None:
        """Begin a round for the reads requested since the last one; their read index is `commit_index`."""
        if self.new and commit_index >= term_start_index:
            self.round += 1
            self.pending.extend((self.round, ConfirmedRead(read_id, commit_index)) for read_id in self.new)
            self.new.clear()

    def confirm(self, membership: Membership, echoed: Mapping[NodeId, int]) -> None:
        """Note the newest round that a majority has `echoed`."""
        self.confirmed_round = membership.majority.reached(echoed)

    def take_confirmed(self, applied_index: int) -> tuple[ConfirmedRead, ...]:
        """Remove and return the reads that may be answered when `applied_index` is applied."""
        reads = []
        while (
            self.pending
            and self.pending[0][0] <= self.confirmed_round
            and self.pending[0][1].index <= applied_index
        ):
            reads.append(self.pending.popleft()[1])
        return tuple(reads)

    def all_ids(self) -> list[int]:
        """Return the ids of all reads that wait."""
        return [read.read_id for _, read in self.pending] + self.new
