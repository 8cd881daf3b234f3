"""Write Raft: copy this file, fill in what is missing, and run `python -m course my_raft.py --stage 1`.

Your class is one server. It is a pure state machine: no thread, no clock, no socket, no file. Messages and
ticks go in, and what is to be done comes out of `ready`:

    core.step(message) / core.tick() / core.propose(data, now_us)
    while ready := core.ready():
        send ready.messages
        save ready.hard_state and ready.entries, and wait until they are on the disk
        send ready.messages_after_sync
        apply ready.committed to the state machine, in order
        core.advance(ready)

The server may be killed between any two of these lines. What is saved then is all that it remembers.

Sections are those of "In Search of an Understandable Consensus Algorithm" (Ongaro and Ousterhout, extended
version); Figure 2 is the summary to have beside you. The stages:

1. **Election** (5.1, 5.2). `tick`, `step` for RequestVote and its response, heartbeats, `ready`, `advance`.
2. **Replication** (5.3, 5.4). `propose`, `step` for AppendEntries and its response, the commit index; and who
   may not be elected (5.4.1). Servers are paused and links cut, but no server is killed.
3. **Persistence** (Figure 2, persistent state). Servers are killed and start again from what was saved.

Each stage also asks for all that the ones before ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from course.interface import (
    Entry,
    HardState,
    NodeId,
    RaftConfig,
    RaftMessage,
    Ready,
    Role,
)


class StudentRaft:
    """One server: the state of Figure 2, and the rules that change it."""

    def __init__(
        self,
        config: RaftConfig,
        *,
        hard_state: HardState,
        entries: Sequence[Entry],
        random: Callable[[int, int], int],
    ) -> None:
        """Start, or start again, from what is on the disk; a server starts as a follower (5.2).

        `config.node_id` is this server, `config.peers` are the others. Times are in ticks: a leader sends
        heartbeats every `config.heartbeat_ticks`; an election timeout is drawn anew each time, from
        `config.election_ticks_min` to `config.election_ticks_max`, by `random(low, high)`, which returns an
        int of that range, both ends included. Use no other source of chance: a seed must be the same each
        time.

        `hard_state` and `entries` are what the last `Ready`s saved: term 0, no vote and no entries at first.
        The first entry has index 1.
        """
        self.config = config
        self.random = random
        self.role = Role.FOLLOWER
        self.leader: NodeId | None = None  # whom this server takes for the leader of its term
        # Persistent state: it changes here, and is on the disk once `advance` was called.
        self.term = hard_state.term
        self.voted_for: NodeId | None = hard_state.voted_for
        self.log: list[Entry] = list(entries)
        # Volatile state: the state machine starts empty, so entries are applied from the first one on.
        self.commit_index = 0
        self.last_applied = 0
        # Stage 1: add the timers, and the votes of a candidate.
        # Stage 2: add next_index and match_index of a leader, by peer.
        # `ready` needs to know which messages wait to be sent, and what of the log has been saved.

    def tick(self) -> None:
        """One tick of time has passed.

        Stage 1: a follower or candidate whose election timeout has passed starts an election (5.2): the next
        term, a vote for itself, RequestVote to all others. A leader sends AppendEntries to all others every
        `heartbeat_ticks`: they keep elections away. Without entries, they are heartbeats.
        """
        raise NotImplementedError("stage 1: `tick` counts towards the election timeout (section 5.2)")

    def step(self, message: RaftMessage) -> None:
        """Handle a message of another server, `message.sender`, whose term is `message.term`.

        Messages come late, twice, in another order, or not at all. First of all, for every message: a higher
        term makes this server a follower in that term, without a vote (5.1).

        Stage 1:
        - RequestVote: grant or refuse it. Answer by `vote_response`.
        - RequestVoteResponse: a candidate with the votes of a majority, its own included, leads (5.2).
        - AppendEntries, as a heartbeat: a leader of this term exists. One of an older term is refused.

        Stage 2:
        - RequestVote: refuse it if the candidate's log is less up to date than this one (5.4.1).
        - AppendEntries: refuse it if the log has no entry of `prev_log_term` at `prev_log_index`; remove what
          contradicts the new entries, and no more; append those that are new; follow `leader_commit` (5.3).
          Answer by `append_response`.
        - AppendEntriesResponse: move `match_index` and `next_index`; commit what a majority has, but count
          copies only for entries of this term (5.4.2, Figure 8).
        """
        raise NotImplementedError("stage 1: `step` handles RequestVote and its response (section 5.2)")

    def propose(self, data: Sequence[bytes], now_us: int) -> int:
        """A client asks this server, which leads, to replicate these commands; return the first's index.

        Stage 2: append an entry for each (`entry_after`), and send them to the others (5.3). The judge calls
        this only while `role` is Role.LEADER.
        """
        raise NotImplementedError("stage 2: `propose` appends to the leader's log (section 5.3)")

    def ready(self) -> Ready | None:
        """Return what is to be done now, or None; the judge does it, and then calls `advance`.

        A `Ready` has these fields; `hard_state`, `role` and `leader` must be given, the rest are empty tuples
        if you leave them out:

        - `hard_state`: HardState(term=…, voted_for=…), as they are now. Saved with `entries`, as one.
        - `entries`: those that are not saved yet, of consecutive indexes. If the log on the disk has an entry
          of the first one's index already, it and all behind it are replaced.
        - `messages`: `Outgoing(to, message)`, sent before anything is saved.
        - `messages_after_sync`: the same, sent once all is saved. A message that promises something belongs
          here: a vote, the request of a candidate that votes for itself, an acknowledgement of entries.
        - `committed`: entries to apply, from `last_applied + 1` on, no further than `commit_index`.
        - `role`, `leader`: as they are now.

        A message is sent once: forget what you have returned. Return None if nothing is to be sent, saved or
        applied, or the judge would ask for ever.
        """
        raise NotImplementedError("stage 1: `ready` says what to save and to send")

    def advance(self, ready: Ready) -> None:
        """Note that `ready` was done: its state and entries are on the disk, its `committed` are applied."""
        raise NotImplementedError("stage 1: `advance` notes what was saved and applied")
