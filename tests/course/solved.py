"""The exercise, solved with what the paper says and nothing besides: the judge must pass it.

The tests plant the mistakes of students here. It is for teachers; a student who looks here learns less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from course.interface import (
    AppendEntries,
    AppendEntriesResponse,
    Entry,
    HardState,
    NodeId,
    Outgoing,
    RaftConfig,
    RaftMessage,
    Ready,
    RequestVote,
    RequestVoteResponse,
    Role,
    append,
    append_response,
    entry_after,
    vote_request,
    vote_response,
)


class StudentRaft:
    def __init__(
        self,
        config: RaftConfig,
        *,
        hard_state: HardState,
        entries: Sequence[Entry],
        random: Callable[[int, int], int],
    ) -> None:
        self.config = config
        self.random = random
        self.role = Role.FOLLOWER
        self.leader: NodeId | None = None
        self.term = hard_state.term
        self.voted_for: NodeId | None = hard_state.voted_for
        self.log: list[Entry] = list(entries)
        self.commit_index = 0
        self.last_applied = 0
        self.votes: set[NodeId] = set()
        self.next_index: dict[NodeId, int] = {}
        self.match_index: dict[NodeId, int] = {}
        self.saved = (self.term, self.voted_for)
        self.first_unsaved = len(self.log) + 1
        self.outbox: list[Outgoing] = []
        self.elapsed = self.timeout = 0
        self.reset_timer()

    # -- time and elections ------------------------------------------------------------------------

    def tick(self) -> None:
        self.elapsed += 1
        if self.role is Role.LEADER:
            if self.elapsed >= self.config.heartbeat_ticks:
                self.elapsed = 0
                self.replicate()
        elif self.elapsed >= self.timeout:
            self.campaign()

    def reset_timer(self) -> None:
        self.elapsed = 0
        self.timeout = self.random(self.config.election_ticks_min, self.config.election_ticks_max)

    def campaign(self) -> None:
        self.role, self.leader = Role.CANDIDATE, None
        self.term += 1
        self.voted_for = self.config.node_id
        self.votes = {self.config.node_id}
        self.reset_timer()
        for peer in self.config.peers:
            request = vote_request(
                self.config.node_id,
                self.term,
                last_log_index=len(self.log),
                last_log_term=self.term_at(len(self.log)),
            )
            self.send(peer, request)

    def lead(self) -> None:
        self.role, self.leader = Role.LEADER, self.config.node_id
        self.elapsed = 0
        self.next_index = {peer: len(self.log) + 1 for peer in self.config.peers}
        self.match_index = dict.fromkeys(self.config.peers, 0)
        self.replicate()

    def follow(self, term: int, leader: NodeId | None) -> None:
        if term > self.term:
            self.term, self.voted_for = term, None
        self.role, self.leader = Role.FOLLOWER, leader

    # -- messages ----------------------------------------------------------------------------------

    def step(self, message: RaftMessage) -> None:
        if message.term > self.term:
            self.follow(message.term, None)
        match message:
            case RequestVote():
                self.on_request_vote(message)
            case RequestVoteResponse():
                self.on_vote(message)
            case AppendEntries():
                self.on_append(message)
            case AppendEntriesResponse():
                self.on_append_response(message)

    def on_request_vote(self, request: RequestVote) -> None:
        own = (self.term_at(len(self.log)), len(self.log))
        up_to_date = (request.last_log_term, request.last_log_index) >= own
        free = self.voted_for in (None, request.sender)
        granted = request.term == self.term and free and up_to_date
        if granted:
            self.voted_for = request.sender
            self.reset_timer()
        self.send(request.sender, vote_response(self.config.node_id, self.term, granted=granted))

    def on_vote(self, response: RequestVoteResponse) -> None:
        if self.role is Role.CANDIDATE and response.term == self.term and response.granted:
            self.votes.add(response.sender)
            if self.is_majority(len(self.votes)):
                self.lead()

    def on_append(self, request: AppendEntries) -> None:
        success = False
        if request.term == self.term:
            self.follow(request.term, request.sender)
            self.reset_timer()
            success = self.has(request.prev_log_index, request.prev_log_term)
        match_index = request.prev_log_index
        if success:
            for entry in request.entries:
                self.put(entry)
            match_index += len(request.entries)
            self.commit_index = max(self.commit_index, min(request.leader_commit, match_index))
        response = append_response(self.config.node_id, self.term, success=success, match_index=match_index)
        self.send(request.sender, response)

    def put(self, entry: Entry) -> None:
        if self.has(entry.index, entry.term):
            return
        del self.log[entry.index - 1 :]
        self.log.append(entry)
        self.first_unsaved = min(self.first_unsaved, entry.index)

    def on_append_response(self, response: AppendEntriesResponse) -> None:
        if self.role is not Role.LEADER or response.term != self.term:
            return
        peer = response.sender
        if response.success:
            self.match_index[peer] = max(self.match_index[peer], response.match_index)
            self.next_index[peer] = max(self.next_index[peer], self.match_index[peer] + 1)
            self.commit()
        elif response.match_index >= self.match_index[peer]:
            self.next_index[peer] = max(1, min(self.next_index[peer] - 1, response.match_index))
            self.replicate_to(peer)

    def commit(self) -> None:
        for index in range(len(self.log), self.commit_index, -1):
            copies = 1 + sum(match >= index for match in self.match_index.values())
            if self.is_majority(copies) and self.term_at(index) == self.term:
                self.commit_index = index
                return

    # -- the leader --------------------------------------------------------------------------------

    def propose(self, data: Sequence[bytes], now_us: int) -> int:
        first = len(self.log) + 1
        for command in data:
            last = self.log[-1] if self.log else None
            self.log.append(entry_after(last, term=self.term, data=command, now_us=now_us))
        self.replicate()
        return first

    def replicate(self) -> None:
        for peer in self.config.peers:
            self.replicate_to(peer)

    def replicate_to(self, peer: NodeId) -> None:
        prev = self.next_index[peer] - 1
        request = append(
            self.config.node_id,
            self.term,
            prev_log_index=prev,
            prev_log_term=self.term_at(prev),
            entries=self.log[prev:],
            leader_commit=self.commit_index,
        )
        self.send(peer, request)

    # -- work --------------------------------------------------------------------------------------

    def ready(self) -> Ready | None:
        entries = tuple(self.log[self.first_unsaved - 1 :])
        committed = tuple(self.log[self.last_applied : self.commit_index])
        changed = self.saved != (self.term, self.voted_for)
        if not (self.outbox or entries or committed or changed):
            return None
        outbox, self.outbox = tuple(self.outbox), []
        return Ready(
            hard_state=HardState(term=self.term, voted_for=self.voted_for),
            entries=entries,
            messages_after_sync=outbox,
            committed=committed,
            role=self.role,
            leader=self.leader,
        )

    def advance(self, ready: Ready) -> None:
        self.saved = (ready.hard_state.term, ready.hard_state.voted_for)
        self.first_unsaved += len(ready.entries)
        self.last_applied += len(ready.committed)

    # -- the log -----------------------------------------------------------------------------------

    def send(self, to: NodeId, message: RaftMessage) -> None:
        self.outbox.append(Outgoing(to, message))

    def term_at(self, index: int) -> int:
        return self.log[index - 1].term if index else 0

    def has(self, index: int, term: int) -> bool:
        return index <= len(self.log) and self.term_at(index) == term

    def is_majority(self, count: int) -> bool:
        return 2 * count > len(self.config.peers) + 1
