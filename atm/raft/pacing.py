"""Whom a leader sends at once what is new, and whose answers it looks at at once: pace, never safety.

Nothing of Raft depends on this file. Without it, every follower is sent everything at once, and every answer is
looked at as it comes.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from atm.raft.membership import Membership
from atm.raft.messages import NodeId
from atm.raft.progress import Progress
from atm.raft.read_index import ReadIndex


class Pacing(Struct):
    """With `RaftConfig.spare_ticks`: who is sent what is new at once, and who later, in fewer and larger pieces.

    All servers are sent what is new at once only while there is a race: until so many have answered as make a
    majority with the leader. The others are `spares` then, and are sent what is new every so many ticks, up to
    `spare_index` and `spare_round`. Each heartbeat begins another race, and so does an entry that takes the
    quick ones too long.
    """

    race_index: int  # what was there when the race began
    race_round: int = 0
    quick: set[NodeId] = field(default_factory=set)  # who has answered in this race, and the leader
    spares: set[NodeId] = field(default_factory=set)
    spare_index: int = 0
    spare_round: int = 0

    def due(self, peer: NodeId, last_index: int, round: int) -> tuple[int, int]:
        """Return up to which index and which heartbeat round `peer` is to be sent now."""
        return (self.spare_index, self.spare_round) if peer in self.spares else (last_index, round)

    def race(self, last_index: int, round: int) -> None:
        """Send all servers what is new at once, until a majority has answered something newer than now."""
        self.quick.clear()
        self.spares.clear()
        self.race_index, self.race_round = last_index, round

    def note_answer(
        self, peer: NodeId, progress: Mapping[NodeId, Progress], membership: Membership, leader: NodeId
    ) -> None:
        """Count an answer in the race; the last one needed ends it."""
        answered = progress[peer]
        new = answered.match_index > self.race_index or answered.round_echoed > self.race_round
        if not new or not membership.is_voter(peer) or membership.majority.has({*self.quick, leader}):
            return
        self.quick.add(peer)
        if membership.majority.has({*self.quick, leader}):
            self.spares = progress.keys() - self.quick

    def tick(self, last_index: int, round: int, commit_index: int) -> None:
        """Let the spares have what is new; if the quick ones have not committed it in time, send to all again."""
        if self.spares and commit_index < self.spare_index:
            self.race(last_index, round)
        self.spare_index, self.spare_round = last_index, round

    def acknowledgements_wanted(
        self,
        progress: Mapping[NodeId, Progress],
        matched: Mapping[NodeId, int],
        membership: Membership,
        reads: ReadIndex,
        commit_index: int,
        last_index: int,
    ) -> int:
        """See `Raft.acknowledgements_wanted`; `matched` is how far each log agrees, the leader's own saved one too."""
        for peer, follower in progress.items():
            if follower.heard and follower.next_index <= self.due(peer, last_index, 0)[0]:
                return 1  # there is more to send to one that answers, once there is room in its window
        missing = [len(progress) + 1]
        if commit_index < last_index:
            ahead = {node for node, match_index in matched.items() if match_index > commit_index}
            missing.append(membership.majority.lacks(ahead))
        if reads.pending:
            round = reads.pending[0][0]
            echoed = {
                node for node in matched if node not in progress or progress[node].round_echoed >= round
            }
            missing.append(membership.majority.lacks(echoed))
        return max(1, min(missing))
