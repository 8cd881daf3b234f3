"""One server's Raft: every decision is made here, by the rules and data in the roles' files.

The order is that of Figure 2: the state, then `step` (rules for all servers, then one handler for each
message), `tick`, the clients' calls, the changes of role, and last `ready` and `advance`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

from atm.raft import transitions
from atm.raft.candidate import Candidate
from atm.raft.config import RaftConfig
from atm.raft.configurations import Configurations, founding_configuration, numbered, refusal_of_change
from atm.raft.errors import BadConfiguration, ChangeRefused, EntryTooLarge, NotLeader, Transferring
from atm.raft.events import (
    Cause,
    CoreEvent,
    LeaderLearned,
    RoleChanged,
    VoteDecided,
    VoteReceived,
    VoteRefusal,
    ignore,
)
from atm.raft.follower import Follower, committed_conflict, conflict_hint, first_new, stale_offer
from atm.raft.leader import Leader, Transfer
from atm.raft.log import Log
from atm.raft.membership import Configuration, Membership, decode_configuration, encode_configuration
from atm.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    CatchUp,
    ConfirmedRead,
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
    TimeoutNow,
)
from atm.raft.progress import Progress
from atm.raft.ready import Ready, Role
from atm.raft.rejection import Rejection, Violation
from atm.raft.term_limit import TermRateLimit
from atm.raft.timer import Timer
from atm.raft.voter import Voter

_MEMBERSHIP = int(EntryKind.MEMBERSHIP)  # an int, because this is compared for every entry
ABSTENTIONS_MAX = 5


class Raft:
    """The core of one server; `random(low, high)` returns an integer of that range, both ends included.

    `hard_state` and `log` are as saved on the disk; `applied_index` is the last entry that the state machine
    has applied, durably; `snapshot` is the newest one on the disk. `entry_check(entries, last_time_us)`
    returns why a leader's new entries must not be appended, or None; `last_time_us` is the time stamp of the
    entry before them. Raft itself knows neither the commands nor the time. `on_event` is told of what is rare
    and worth telling, with its reason (see `events`).

    `configuration` is the newest that the state machine has applied, and its entry's index; none means that
    this server and `config.peers` vote. Entries of the log after it change it. A server that joins starts
    with `(0, ())`: it is no member yet, and waits for a leader.
    """

    def __init__(
        self,
        config: RaftConfig,
        *,
        hard_state: HardState,
        log: Log,
        applied_index: int,
        random: Callable[[int, int], int],
        entry_check: Callable[[Sequence[Entry], int], str | None] = lambda entries, last_time_us: None,
        configuration: tuple[int, Configuration] | None = None,
        snapshot: Snapshot | None = None,
        on_event: Callable[[CoreEvent], None] = ignore,
    ) -> None:
        assert log.base_index <= applied_index <= log.last_index
        assert snapshot is None or log.start.index <= snapshot.index <= applied_index
        assert log.last_term <= hard_state.term
        self.config = config
        first = configuration or (0, founding_configuration((config.node_id, *config.peers)))
        self._configurations = Configurations(*first, log)
        self._shown_stores: dict[NodeId, str] = {}  # of the servers that have lost a disk
        self._membership = Membership.of(self._configurations.newest[1], self._shown_stores)
        self._log = log
        self._snapshot = snapshot
        self._commit_index = max(applied_index, min(hard_state.commit_index, log.last_index))
        self._applied_index = applied_index
        self._voter = Voter(hard_state.term, hard_state.voted_for)
        self._role: Follower | Candidate | Leader = Follower(None)
        self._saved_index = log.last_index  # the log is durable on this server up to this index
        self._saved_voter = self._voter
        self._election_timer = Timer(lambda: random(config.election_ticks_min, config.election_ticks_max))
        self._heartbeat_timer = Timer(lambda: config.heartbeat_ticks)
        self._quorum_timer = Timer(lambda: config.election_ticks_max)
        self._term_limit = TermRateLimit()
        self._entry_check = entry_check
        self._on_event = on_event
        self._ticks_since_apply = 0
        self._abstains = False
        self._abstentions = 0  # in a row, since a leader was known
        self._messages: list[Outgoing] = []  # to be sent at once
        self._messages_after_sync: list[Outgoing] = []  # to be sent once all state so far is durable
        self._dropped_reads: list[int] = []
        self._wanted: Snapshot | None = None  # offered to us, and not installed yet
        self._wanted_term = 0  # of the leader that offered it
        self._wanted_is_reported = True
        self._reset_log: Snapshot | None = None  # the log on disk is still to be emptied
        self._performing = False  # between `ready` and `advance`
        self._reported: tuple[Role, NodeId | None, int] = (self.role, self.leader, self.term)

    @property
    def node_id(self) -> NodeId:
        return self.config.node_id

    @property
    def membership(self) -> Membership:
        """The members of the cluster, as this server counts them."""
        return self._membership

    @property
    def configuration(self) -> tuple[int, Configuration]:
        """The newest configuration in the log, which is in use, and its entry's index; 0 if it has none."""
        return self._configurations.newest

    @property
    def configurations(self) -> Configurations:
        """The configurations of the log; for reading only."""
        return self._configurations

    @property
    def transferring(self) -> NodeId | None:
        """The server to which this leader is handing leadership over, if it is."""
        if isinstance(self._role, Leader) and self._role.transfer is not None:
            return self._role.transfer.target
        return None

    @property
    def log(self) -> Log:
        """The log; for reading only."""
        return self._log

    @property
    def commit_index(self) -> int:
        return self._commit_index

    @property
    def applied_index(self) -> int:
        return self._applied_index

    @property
    def term(self) -> int:
        return self._voter.term

    @property
    def voted_for(self) -> NodeId | None:
        return self._voter.voted_for

    @property
    def role(self) -> Role:
        return self._role.role

    @property
    def role_data(self) -> Follower | Candidate | Leader:
        """The role's own data; for reading only."""
        return self._role

    @property
    def leader(self) -> NodeId | None:
        """The leader of this term, as far as this server knows."""
        match self._role:
            case Leader():
                return self.node_id
            case Follower(leader):
                return leader
            case Candidate():
                return None

    @property
    def last_index(self) -> int:
        return self._log.last_index

    @property
    def last_time_us(self) -> int:
        """The time stamp of the log's last entry, 0 if there is none."""
        return self._log.last_time_us

    @property
    def saved_index(self) -> int:
        """The index up to which the log is durable on this server's own disk."""
        return self._saved_index

    @property
    def saved_vote(self) -> tuple[int, NodeId | None]:
        """The term and the vote that are durable on this server's own disk."""
        return self._saved_voter.term, self._saved_voter.voted_for

    @property
    def may_campaign(self) -> bool:
        """Whether this server may have to lead: it votes, or it is not committed that it does not.

        Until then its log may be the longest, so that no other server can be elected (thesis 4.2.2).
        """
        return any(
            Membership.of(members, self._shown_stores).is_voter(self.node_id)
            for members in self._configurations.possible(self._commit_index)
        )

    def has_lost_disk(self, node: NodeId) -> bool:
        """Return whether `node` may have lost a vote with its disk, and so has no part in elections."""
        shown = self._shown_stores.get(node)
        return shown is not None and all(
            (member.node, member.store) != (node, shown) for member in self.configuration[1]
        )

    def is_named_later(self, message: RaftMessage) -> bool:
        """Whether it is of the campaign of a server whose new disk is a voter's by an entry that we lack.

        That is one behind the configurations of which we know that they are committed: others may be undone.
        That server counts the votes by its own configuration, and no voter asks its own whether it may vote
        (thesis 4.1).
        """
        match message:
            case RequestVote(sender=node, store=store, store_since=since) if store:
                (known, _), *_ = self._configurations.from_index(self._commit_index)
                return store == self._shown_stores.get(node) and since > known
        return False

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest snapshot of this server, which it offers as a leader."""
        return self._snapshot

    @property
    def installing(self) -> Snapshot | None:
        """The snapshot that this follower is to fetch and install, while it still lacks what is in it.

        None also while entries wait to be saved: what is to happen to them is decided first.
        """
        wanted = self._wanted
        if wanted is None or not isinstance(self._role, Follower) or self._saved_index < self.last_index:
            return None
        return wanted if wanted.index > self._commit_index else None

    def offered(self) -> dict[NodeId, Snapshot]:
        """Return, on a leader, the snapshot that each follower may be fetching.

        Their files, and the entries after them, should be kept: else those followers start anew.
        """
        return self._role.offered() if isinstance(self._role, Leader) else {}

    def matched(self) -> dict[NodeId, int]:
        """Return, on a leader, the match index of each other server; else nothing."""
        if not isinstance(self._role, Leader):
            return {}
        return {node: progress.match_index for node, progress in self._role.progress.items()}

    # -- messages: rules for all servers (Figure 2), then one handler each ------------------------------

    def step(self, message: RaftMessage) -> Rejection | None:
        """Handle a message of another server. Terms are compared first (section 5.1).

        A request is answered whether or not its sender is in our configuration: it may be in a newer one
        (section 6). Return a `Rejection` if no server that follows the protocol can have sent the message; it
        was dropped.
        """
        is_vote = isinstance(message, RequestVote | RequestVoteResponse)
        lost = is_vote and self.has_lost_disk(message.sender) and not self.is_named_later(message)
        if lost or message.sender == self.node_id:
            if lost and isinstance(message, RequestVote):
                self._report_vote(message, VoteRefusal.DISK_LOST)
            return None
        if message.term < self.term:
            self._answer_old_term(message)
            return None
        refusal = self._rejection_of_term(message) or _rejection_of_structure(
            message, self.config.entry_bytes_max
        )
        if refusal is not None:
            return refusal
        if self._disturbs_leader(message):
            assert isinstance(message, RequestVote)
            self._report_vote(message, VoteRefusal.LEADER_ACTIVE)
            return None
        self._adopt_term(message)
        return self._handle(message)

    def _handle(self, message: RaftMessage) -> Rejection | None:
        match message:
            case RequestVote():
                self._handle_request_vote(message)
            case RequestVoteResponse():
                self._handle_request_vote_response(message)
            case AppendEntries():
                return self._handle_append_entries(message)
            case AppendEntriesResponse():
                return self._handle_append_entries_response(message)
            case InstallSnapshot():
                return self._handle_install_snapshot(message)
            case InstallSnapshotResponse():
                return self._handle_install_snapshot_response(message)
            case TimeoutNow():
                return self._handle_timeout_now(message)
            case _:
                assert_never(message)
        return None

    def _adopt_term(self, message: RaftMessage) -> None:
        """A higher term makes any server a follower of that term (section 5.1)."""
        if message.term > self.term and not _is_hypothetical(message):
            self._term_limit.consume(message.term - self.term)
            cause = Cause.HANDED_OVER if self.transferring == message.sender else Cause.HIGHER_TERM
            self._become_follower(message.term, leader=None, cause=cause, by=message.sender)

    def _rejection_of_term(self, message: RaftMessage) -> Rejection | None:
        """Return why the message's term is too far ahead to be true, or None; also for a pre-vote."""
        rise = message.term - self.term
        if rise == 0 or self._term_limit.allows(message.term, rise):
            return None
        self._term_limit.note_refusal()
        what = f"its term {message.term} is {rise} above {self.term}, more than elections can have raised it"
        return Rejection(sender=message.sender, violation=Violation.TERM, what=what)

    def _disturbs_leader(self, message: RaftMessage) -> bool:
        """Whether it is of a campaign while a leader is active (thesis 4.2.3): its sender may be removed."""
        match message:
            case RequestVote(pre_vote=False, transfer=False) if message.term > self.term:
                return self._has_active_leader()
        return False

    def _answer_old_term(self, message: RaftMessage) -> None:
        """Answer a request of an older term with ours, so that its sender adopts it; drop old responses."""
        match message:
            case RequestVote():
                self._report_vote(message, VoteRefusal.LOWER_TERM)
                self._respond_to_vote(message, granted=False)
            case AppendEntries():
                self._respond_to_append(message, success=False, match_index=0)
            case InstallSnapshot():
                self._respond_to_offer(message, index=0, installed=False)
            case RequestVoteResponse() | AppendEntriesResponse() | InstallSnapshotResponse() | TimeoutNow():
                pass
            case _:
                assert_never(message)

    def _handle_request_vote(self, request: RequestVote) -> None:
        granted = self._voter.grants(request, self._log)
        if (self.term, self.voted_for) == (request.term, request.sender):
            granted = granted and not self.has_lost_disk(request.sender)  # that vote was for the lost log
        if request.pre_vote:
            granted = granted and not self._has_active_leader()
        self._report_vote(request, None if granted else self._why_no_vote(request))
        if granted and not request.pre_vote:
            self._voter = self._voter.vote_for(request.sender)
            self._election_timer.reset()
        self._respond_to_vote(request, granted=granted)

    def _why_no_vote(self, request: RequestVote) -> VoteRefusal:
        """Return the reason for which `request`, not of an older term, was refused."""
        if request.pre_vote and self._has_active_leader():
            return VoteRefusal.LEADER_ACTIVE
        if request.term == self.term and self.voted_for not in (None, request.sender):
            return VoteRefusal.ALREADY_VOTED
        if not self._log.up_to_date(request.last_log_term, request.last_log_index):
            return VoteRefusal.LOG_BEHIND
        return VoteRefusal.DISK_LOST

    def _report_vote(self, request: RequestVote, refusal: VoteRefusal | None) -> None:
        event = VoteDecided(
            candidate=request.sender,
            term=request.term,
            pre_vote=request.pre_vote,
            refusal=refusal,
            own_term=self.term,
            voted_for=self.voted_for,
            leader=self.leader,
            last_index=request.last_log_index,
            last_term=request.last_log_term,
            own_last_index=self.last_index,
            own_last_term=self._log.last_term,
        )
        self._on_event(event)

    def _has_active_leader(self) -> bool:
        """Whether we lead, or an append came within the shortest election timeout (thesis 4.2.3)."""
        if isinstance(self._role, Leader):
            return True
        return self.leader is not None and self._election_timer.elapsed_ticks < self.config.election_ticks_min

    def _respond_to_vote(self, request: RequestVote, *, granted: bool) -> None:
        response = RequestVoteResponse(
            sender=self.node_id,
            term=request.term if granted else self.term,
            granted=granted,
            pre_vote=request.pre_vote,
        )
        self._messages_after_sync.append(Outgoing(request.sender, response))

    def _handle_request_vote_response(self, response: RequestVoteResponse) -> None:
        match self._role:
            case Candidate(campaign_term, pre_vote):
                asked = (response.term, response.pre_vote) == (campaign_term, pre_vote)
                self._report_answer(response, self._role, counted=response.granted and asked)
                if response.granted and asked:
                    self._count_vote(response.sender)
            case Follower() | Leader():
                pass  # the campaign is over

    def _report_answer(self, response: RequestVoteResponse, role: Candidate, *, counted: bool) -> None:
        counted = counted and self._membership.is_voter(response.sender)
        majority = self._membership.majority
        votes = role.votes | {response.sender} if counted else role.votes
        event = VoteReceived(
            voter=response.sender,
            term=response.term,
            pre_vote=response.pre_vote,
            granted=response.granted,
            counted=counted,
            votes=len(majority.counted & votes),
            needed=majority.needed,
        )
        self._on_event(event)

    def _count_vote(self, voter: NodeId) -> None:
        assert isinstance(self._role, Candidate)
        if self._membership.is_voter(voter):
            self._role.votes.add(voter)
        if self._role.has_won(self._membership):
            if self._role.pre_vote:
                self._become_candidate()
            else:
                self._become_leader()

    def _handle_append_entries(self, append: AppendEntries) -> Rejection | None:
        refusal = self._follow(append.sender)
        if refusal is not None:
            return refusal
        assert isinstance(self._role, Follower)
        new_entries = append.entries[first_new(append.entries, self._log) :]
        fits = self._log.agrees(append.prev_log_index, append.prev_log_term)
        if fits and new_entries:
            refusal = self._rejection_of_entries(append, new_entries)
            self._role.rejects_leader = refusal is not None
            if refusal is not None:
                return refusal
        if self._role.rejects_leader:
            return None
        self._election_timer.reset()
        if not fits:
            self._refuse_append(append)
            return None
        self._append_new_entries(new_entries)
        match_index = append.prev_log_index + len(append.entries)
        self._commit_index = max(self._commit_index, min(append.leader_commit, match_index))
        self._respond_to_append(append, success=True, match_index=match_index)
        return None

    def _follow(self, sender: NodeId) -> Rejection | None:
        """Follow `sender`, which says that it leads this term; return why it cannot, or None."""
        refusal = self._rejection_of_second_leader(sender)
        if refusal is None and self.leader is None:
            self._become_follower(self.term, leader=sender, cause=Cause.LEADER_FOUND, by=sender)
            self._on_event(LeaderLearned(term=self.term, leader=sender))
        return refusal

    def _rejection_of_second_leader(self, sender: NodeId) -> Rejection | None:
        if self.leader in (None, sender):
            return None
        what = f"it says it leads term {self.term}, but {self.leader} leads that term"
        return Rejection(sender=sender, violation=Violation.SECOND_LEADER, what=what)

    def _rejection_of_entries(self, append: AppendEntries, new_entries: Sequence[Entry]) -> Rejection | None:
        """Return why entries that are not in the log yet must not be appended, or None."""
        first = new_entries[0]
        if first.index <= self._commit_index:
            what = committed_conflict(first, self._log)
            return Rejection(sender=append.sender, violation=Violation.COMMITTED, what=what)
        why = _defect_of_configurations(new_entries)
        if why is None:
            why = self._entry_check(new_entries, self._log.time_us_at(first.index - 1))
        return None if why is None else Rejection(sender=append.sender, violation=Violation.ENTRY, what=why)

    def _append_new_entries(self, new_entries: Sequence[Entry]) -> None:
        """Append `new_entries`; cut entries of the log that conflict with them first (section 5.3)."""
        if not new_entries:
            return
        first_index = new_entries[0].index
        if first_index <= self.last_index:
            self._log.truncate(first_index)
            self._saved_index = min(self._saved_index, first_index - 1)
        rolled_back = self._configurations.truncate(first_index)
        self._log.append(new_entries)
        if self._configurations.append(new_entries, self._commit_index) or rolled_back:
            self._use_newest_configuration()

    def _use_newest_configuration(self) -> None:
        """Use it as soon as it is in the log, and until it is truncated, committed or not (section 6)."""
        self._membership = Membership.of(self._configurations.newest[1], self._shown_stores)
        if isinstance(self._role, Leader):
            index, members = self.configuration
            changed = {member.node for member in members if member.since == index}
            self._role.follow_members(self._membership.others(self.node_id), changed, next_index=index)
            self._role.reads.confirm(self._membership, self._role.echoed())

    def _refuse_append(self, append: AppendEntries) -> None:
        hint = conflict_hint(self._log, append.prev_log_index, self._commit_index)
        self._respond_to_append(append, success=False, match_index=append.prev_log_index, hint=hint)

    def _respond_to_append(
        self, append: AppendEntries, *, success: bool, match_index: int, hint: tuple[int, int] = (0, 0)
    ) -> None:
        response = AppendEntriesResponse(
            sender=self.node_id,
            term=self.term,
            success=success,
            match_index=match_index,
            conflict_index=hint[0],
            conflict_term=hint[1],
            # The response has our term: a round of an older term must not be taken for one of this term.
            round=append.round if append.term == self.term else 0,
        )
        self._messages_after_sync.append(Outgoing(append.sender, response))

    def _handle_append_entries_response(self, response: AppendEntriesResponse) -> Rejection | None:
        if not isinstance(self._role, Leader):
            return None
        refusal = self._rejection_of_answer(response, response.match_index, self.last_index)
        if refusal is not None:
            return refusal
        progress = self._note_answer(self._role, response.sender, response.round)
        if progress is None:
            return None
        if response.success:
            progress.matched(response.match_index, self._log)
            self._advance_commit_index()
        else:
            if self._membership.is_learner(response.sender):
                progress.match_index = 0  # a late acknowledgement may be from before the disk was lost
            progress.refused(response, self._log)
        return None

    def _rejection_of_answer(
        self, answer: AppendEntriesResponse | InstallSnapshotResponse, index: int, sent_index: int
    ) -> Rejection | None:
        """Return why this leader sent nothing that `answer`, about `index`, can be the answer to, or None."""
        assert isinstance(self._role, Leader)
        if index <= sent_index and answer.round <= self._role.reads.round:
            return None
        what = (
            f"it answers index {index} and round {answer.round}, but this leader never "
            f"sent more than {sent_index} and {self._role.reads.round}"
        )
        return Rejection(sender=answer.sender, violation=Violation.NEVER_SENT, what=what)

    def _note_answer(self, role: Leader, sender: NodeId, round: int) -> Progress | None:
        """Note that `sender` has answered, and echoed `round`; return its progress, or None if removed."""
        progress = role.progress.get(sender)
        if progress is None:
            return None
        progress.answered()
        if round > progress.round_echoed:
            progress.round_echoed = round
            role.reads.confirm(self._membership, role.echoed())
        return progress

    # -- snapshots (section 7) ----------------------------------------------------------------------------

    def _handle_install_snapshot(self, offer: InstallSnapshot) -> Rejection | None:
        """A leader offers a snapshot. If our log has its last entry, that is committed; else we want it."""
        refusal = self._follow(offer.sender)
        if refusal is not None:
            return refusal
        snapshot = offer.snapshot
        conflict = stale_offer(snapshot, self._log, self._commit_index)
        if conflict is not None:
            return Rejection(sender=offer.sender, violation=Violation.COMMITTED, what=conflict)
        assert isinstance(self._role, Follower)
        self._role.rejects_leader = False  # what was rejected is in the snapshot, or still to be sent
        self._election_timer.reset()
        if self._log.agrees(snapshot.index, snapshot.term):
            self._commit_index = max(self._commit_index, snapshot.index)
        installed = snapshot.index <= self._commit_index
        if not installed and snapshot != self._wanted and not self._is_late(snapshot):
            self._wanted, self._wanted_term = snapshot, self.term
            self._wanted_is_reported = False
        self._respond_to_offer(offer, index=snapshot.index, installed=installed)
        return None

    def _is_late(self, snapshot: Snapshot) -> bool:
        """Whether our leader has offered a newer one since: what it offers never goes back."""
        wanted = self._wanted
        return wanted is not None and self._wanted_term == self.term and snapshot.index < wanted.index

    def _respond_to_offer(self, offer: InstallSnapshot, *, index: int, installed: bool) -> None:
        response = InstallSnapshotResponse(
            sender=self.node_id,
            term=self.term,
            index=index,
            installed=installed,
            round=offer.round if offer.term == self.term else 0,  # as in the answer to an append
        )
        self._messages_after_sync.append(Outgoing(offer.sender, response))

    def _handle_install_snapshot_response(self, response: InstallSnapshotResponse) -> Rejection | None:
        if not isinstance(self._role, Leader):
            return None
        offered_index = self._snapshot.index if self._snapshot is not None else 0
        refusal = self._rejection_of_answer(response, response.index, offered_index)
        if refusal is not None:
            return refusal
        progress = self._note_answer(self._role, response.sender, response.round)
        if progress is not None and response.installed:
            progress.matched(response.index, self._log)
        return None

    def snapshot_taken(self, snapshot: Snapshot, first_index: int) -> None:
        """Note that `snapshot`, of this server's state machine, is durable, and verified.

        The log on disk has the entries from `first_index` on, which is at most one after what is in the
        snapshot: a follower that needs an earlier entry is offered the snapshot. One that is older than the
        newest, as when another was installed meanwhile, is not offered.
        """
        assert first_index - 1 <= snapshot.index <= self._applied_index
        if self._snapshot is None or snapshot.index >= self._snapshot.index:
            self._snapshot = snapshot
        self._log.compact(first_index - 1)
        if isinstance(self._role, Leader):
            for progress in self._role.progress.values():
                progress.fit(self._log)

    def installed(self, snapshot: Snapshot) -> None:
        """Note that the state machine now is, durably, as in `snapshot`, the one that was `installing`.

        Call it between an `advance` and the next `ready`. A log that has the snapshot's last entry is kept,
        since it may hold acknowledged entries after it; any other is emptied (`Ready.reset_log`). The leader
        learns of it by the answer to its next offer. A snapshot of what is applied already is ignored.
        """
        assert not self._performing, "a Ready is being performed"
        if snapshot.index <= self._applied_index:
            return
        assert snapshot == self.installing, f"snapshot {snapshot.index} is not the one to be installed"
        if not self._log.agrees(snapshot.index, snapshot.term):
            self._log.reset(snapshot)
            self._saved_index = snapshot.index
            self._reset_log = snapshot
            self._configurations.reset(snapshot.index, snapshot.membership)
            self._use_newest_configuration()
        self._commit_index = self._applied_index = snapshot.index
        self._snapshot, self._wanted = snapshot, None

    def install_failed(self, snapshot: Snapshot) -> None:
        """Note that `snapshot` could not be fetched, or was not what was offered: an offer counts anew."""
        if snapshot == self._wanted:
            self._wanted = None

    def _advance_commit_index(self) -> None:
        """Commit what a majority has saved, up to an entry of this term (section 5.4.2, Figure 8)."""
        assert isinstance(self._role, Leader)
        if self._commit_index == self.last_index:
            return
        agreed_index = self._membership.majority.reached(self._role.matched(self._saved_index))
        if agreed_index > self._commit_index and self._log.term_at(agreed_index) == self.term:
            self._commit_index = agreed_index
            self._step_down_if_removed(self._role)

    def _step_down_if_removed(self, role: Leader) -> None:
        """A leader that has removed itself leads until that is committed, and says so (section 6)."""
        if self.configuration[0] > self._commit_index or self._membership.is_voter(self.node_id):
            return
        self._messages += [
            role.heartbeat(peer, self._log, self._commit_index, self._snapshot) for peer in role.progress
        ]
        self._become_follower(self.term, leader=None, cause=Cause.REMOVED)

    def _handle_timeout_now(self, message: TimeoutNow) -> Rejection | None:
        """The leader hands over: campaign at once, without a pre-vote (thesis 3.10)."""
        refusal = self._rejection_of_second_leader(message.sender)
        if refusal is not None:
            return refusal
        may_lead = self._membership.is_voter(self.node_id) and not self._abstains
        if isinstance(self._role, Follower) and may_lead:
            self._become_candidate(transfer=True, by=message.sender)
        return None

    # -- time ------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """One tick of time has passed."""
        self._ticks_since_apply += 1
        self._term_limit.tick()
        if isinstance(self._role, Leader):
            self._tick_leader(self._role)
        elif self._election_timer.tick():
            self._campaign()

    def abstain(self, abstains: bool) -> None:
        """Leave campaigns to others, or not: for a server that should not lead. It votes; a leader leads on.

        It waits for `ABSTENTIONS_MAX` election timeouts: no other can win if it alone has the newest entries.
        """
        self._abstains = abstains

    def _campaign(self) -> None:
        """No leader for an election timeout; a server that need not lead, or abstains, only notes it."""
        self._abstentions = 0 if self.leader is not None else self._abstentions
        abstains = self._abstains and self._abstentions < ABSTENTIONS_MAX
        self._abstentions += abstains
        if self.may_campaign and not abstains:
            self._become_pre_candidate()
        else:
            self._become_follower(self.term, leader=None, cause=Cause.NOT_CAMPAIGNING, by=self.leader)

    def _tick_leader(self, role: Leader) -> None:
        if self._quorum_timer.tick() and not self._membership.majority.has(role.take_recently_active()):
            # Check-quorum (thesis 6.2): no majority has answered for an election timeout.
            self._become_follower(self.term, leader=None, cause=Cause.NO_MAJORITY)
            return
        if role.transfer is not None:
            role.transfer.ticks += 1
            if role.transfer.ticks >= self.config.election_ticks_max:
                role.transfer = None  # the target is down or too slow: go on
        heartbeat_due = self._heartbeat_timer.tick()
        for peer, progress in role.progress.items():
            progress.silent_ticks += 1
            behind = progress.commit_sent < min(self._commit_index, progress.match_index)
            if heartbeat_due or (behind and not progress.sent_this_tick):
                self._messages.append(role.heartbeat(peer, self._log, self._commit_index, self._snapshot))
            progress.sent_this_tick = False

    # -- clients' calls --------------------------------------------------------------------------------

    def propose(self, data: Sequence[bytes], now_us: int, kind: EntryKind = EntryKind.COMMAND) -> int:
        """Append an entry of `kind` for each of `data` to the log of this leader; return the first's index.

        `now_us` is the wall clock; the entries' time stamps rise even if it goes back.
        Raises `NotLeader`, `Transferring`, or `EntryTooLarge`; then nothing is appended.
        """
        if not isinstance(self._role, Leader):
            raise NotLeader(self.leader)
        if self._role.transfer is not None:
            raise Transferring(self._role.transfer.target)
        assert kind not in (EntryKind.NOOP, EntryKind.BOOTSTRAP), "only a new leader appends these"
        assert kind is not EntryKind.MEMBERSHIP, "`change_membership` appends these"
        return self._propose(kind, data, now_us)

    def _propose(self, kind: EntryKind, data: Sequence[bytes], now_us: int) -> int:
        for each in data:
            if len(each) > self.config.entry_bytes_max:
                raise EntryTooLarge(len(each), self.config.entry_bytes_max)
        first_index = self.last_index + 1
        self._append_own(kind, data, now_us)
        return first_index

    def _append_own(self, kind: EntryKind, data: Sequence[bytes], now_us: int) -> None:
        index = self.last_index + 1
        time_us = max(self._log.last_time_us + 1, now_us)
        term = self.term
        entries = [
            Entry(index=index + offset, term=term, time_us=time_us + offset, kind=kind, data=each)
            for offset, each in enumerate(data)
        ]
        self._log.append(entries)
        if kind is not EntryKind.COMMAND and self._configurations.append(entries, self._commit_index):
            self._use_newest_configuration()

    def read(self, read_id: int) -> None:
        """Request a read that sees every write acknowledged so far (ReadIndex); raises `NotLeader`.

        The id is returned in `Ready.reads`, or in `Ready.dropped_reads` if this server stops leading first.
        """
        if not isinstance(self._role, Leader):
            raise NotLeader(self.leader)
        self._role.reads.add_read(read_id)

    def change_membership(self, members: Configuration, now_us: int, reason: bytes = b"") -> int:
        """Append the configuration of these members, which is used at once; return its entry's index.

        Of the voters, at most one is added or removed. `Member.since` is set here. `reason` stands behind
        the members, see `encode_configuration`. Raises `NotLeader`, `ChangeRefused`, or `EntryTooLarge`; then
        nothing is appended.
        """
        if not isinstance(self._role, Leader):
            raise NotLeader(self.leader)
        refusal = self._why_not_now(self._role) or refusal_of_change(
            self.configuration[1], members, self._shown_stores
        )
        if refusal is not None:
            raise ChangeRefused(refusal)
        members = numbered(members, self.configuration[1], self.last_index + 1)
        return self._propose(EntryKind.MEMBERSHIP, [encode_configuration(members, reason)], now_us)

    def _why_not_now(self, role: Leader) -> str | None:
        """Return why no change of the membership may begin now, or None; docs/raft.md has the reasons."""
        index = self.configuration[0]
        if self._commit_index < role.term_start_index:
            return "the leader has not yet committed an entry of its term: try again"
        if index > self._commit_index:
            return f"the change in entry {index} is not committed yet: one at a time, try again"
        if role.transfer is not None:
            return f"leadership is being handed to {role.transfer.target}: try again"
        return None

    def transfer(self, target: NodeId | None) -> NodeId:
        """Hand leadership to `target`, or to the best voter; return which (thesis 3.10).

        Until it leads, or an election timeout has passed, `transferring` is set and nothing is proposed.
        Raises `NotLeader` or `ChangeRefused`.
        """
        chosen = self.successor(target)
        assert isinstance(self._role, Leader)
        if self._role.transfer is None:
            self._role.transfer = Transfer(chosen)
        return chosen

    def successor(self, target: NodeId | None) -> NodeId:
        """Return to whom `transfer` would hand leadership now, and raise what it would raise."""
        role = self._role
        if not isinstance(role, Leader):
            raise NotLeader(self.leader)
        if role.transfer is not None:
            if target not in (None, role.transfer.target):
                raise ChangeRefused(f"leadership is being handed to {role.transfer.target}: try again")
            return role.transfer.target
        able = [
            peer
            for peer, progress in role.progress.items()
            if self._membership.is_voter(peer) and progress.silent_ticks < self.config.election_ticks_min
        ]
        if target is not None and target not in able:
            raise ChangeRefused(self._why_not_leader(target))
        if not able:
            raise ChangeRefused("no other voter answers, so none can lead")
        return target or max(able, key=lambda peer: role.progress[peer].match_index)

    def _why_not_leader(self, target: NodeId) -> str:
        if target == self.node_id:
            return f"{target} leads already"
        if not self._membership.is_voter(target):
            return f"{target} has no vote, so it cannot lead"
        return f"{target} does not answer, so it cannot lead now"

    def demote(self, node_id: NodeId, store: str) -> None:
        """Note that a server has shown `store`: its disk is not the one that it was first seen with.

        It may have lost a vote or entries that it acknowledged. So its votes and acknowledgements do not
        count, unless the configuration has it as a voter with this very store. It still receives the log,
        from the start.

        Also for this server itself: with a new disk it must not take the configurations of old entries, which
        it receives again, for ones that name it.
        """
        counted = self._membership.is_voter(node_id)
        self._shown_stores[node_id] = store
        self._membership = Membership.of(self._configurations.newest[1], self._shown_stores)
        if counted and self._membership.is_voter(node_id):
            return  # it has connected again, with the very disk that the configuration names
        if node_id == self.node_id:
            if not isinstance(self._role, Follower) and not self.may_campaign:
                self._become_follower(self.term, leader=None, cause=Cause.DISK_LOST)
        elif isinstance(self._role, Candidate):
            self._role.votes.discard(node_id)
        elif isinstance(self._role, Leader) and node_id in self._role.progress:
            self._role.progress[node_id] = Progress(next_index=self.last_index + 1)
            self._role.reads.confirm(self._membership, self._role.echoed())
            if self.transferring == node_id:
                self._role.transfer = None

    # -- changes of role: each role is entered by one method -------------------------------------------

    def _become(
        self,
        role: Follower | Candidate | Leader,
        cause: Cause,
        by: NodeId | None = None,
        *,
        term_before: int | None = None,
    ) -> None:
        """Enter `role`; `term_before` is the term until now, if it was raised for this."""
        transitions.check(self.role, role.role)
        before = self._role
        if isinstance(self._role, Leader):
            self._dropped_reads += self._role.reads.all_ids()
        if (self.role, role.role) != (Role.FOLLOWER, Role.FOLLOWER):
            self._election_timer.reset()  # a follower that only adopts a term does not reset it
        self._role = role
        self._report_role(before, cause, by, self.term if term_before is None else term_before)

    def _report_role(
        self, before: Follower | Candidate | Leader, cause: Cause, by: NodeId | None, term_before: int
    ) -> None:
        """Report a change of role or term, or that a follower gave up its leader."""
        gave_up = isinstance(before, Follower) and before.leader is not None and self.leader is None
        remains = before.role is self.role is Role.FOLLOWER and term_before == self.term
        if remains and not gave_up:
            return
        votes: set[NodeId] = set()
        if isinstance(before, Candidate) and cause in (Cause.PRE_VOTE_WON, Cause.ELECTION_WON):
            votes = before.votes
        event = RoleChanged(
            before=before.role,
            after=self.role,
            term_before=term_before,
            term=self.term,
            leader=self.leader,
            cause=cause,
            by=by,
            votes=tuple(sorted(votes)),
            last_index=self.last_index,
            last_term=self._log.last_term,
        )
        self._on_event(event)

    def _become_follower(
        self, term: int, leader: NodeId | None, *, cause: Cause, by: NodeId | None = None
    ) -> None:
        term_before = self.term
        self._voter = self._voter.in_term(term)
        self._become(Follower(leader), cause, by, term_before=term_before)

    def _become_pre_candidate(self) -> None:
        again = isinstance(self._role, Candidate)
        cause = Cause.CAMPAIGN_TIMEOUT if again else Cause.ELECTION_TIMEOUT
        self._become(Candidate(campaign_term=self.term + 1, pre_vote=True), cause, self.leader)
        self._messages += self._vote_requests()
        self._count_vote(self.node_id)

    def _become_candidate(self, *, transfer: bool = False, by: NodeId | None = None) -> None:
        """Start an election (section 5.2); our own vote counts once it is durable, in `advance`."""
        self._voter = self._voter.in_term(self.term + 1).vote_for(self.node_id)
        cause = Cause.ORDERED_TO_CAMPAIGN if transfer else Cause.PRE_VOTE_WON
        self._become(Candidate(campaign_term=self.term, pre_vote=False), cause, by, term_before=self.term - 1)
        self._messages_after_sync += self._vote_requests(transfer=transfer)

    def _vote_requests(self, *, transfer: bool = False) -> list[Outgoing]:
        assert isinstance(self._role, Candidate)
        store, store_since = self._named_store()
        request = RequestVote(
            sender=self.node_id,
            term=self._role.campaign_term,
            last_log_index=self.last_index,
            last_log_term=self._log.last_term,
            pre_vote=self._role.pre_vote,
            transfer=transfer,
            store=store,
            store_since=store_since,
        )
        others = self._membership.others(self.node_id)
        return [Outgoing(peer, request) for peer in others if self._membership.is_voter(peer)]

    def _named_store(self) -> tuple[str, int]:
        """Return our new disk and the entry by which it is a voter's, or none; see `RequestVote`."""
        shown = self._shown_stores.get(self.node_id)
        for member in self.configuration[1]:
            if member.node == self.node_id and member.voter and member.store == shown:
                return member.store, member.since
        return "", 0

    def _become_leader(self) -> None:
        """Become leader, and append an entry at once: committing it commits those of older terms (section 8).

        It is a no-op, or in an empty log the BOOTSTRAP entry of the configuration, if there is one.
        """
        next_index = self.last_index + 1
        others = self._membership.others(self.node_id)
        progress = {peer: Progress(next_index=next_index) for peer in others}
        self._become(
            Leader(node_id=self.node_id, term=self.term, term_start_index=next_index, progress=progress),
            Cause.ELECTION_WON,
        )
        self._heartbeat_timer.reset()
        self._quorum_timer.reset()
        if next_index == 1 and self.config.bootstrap:
            self._append_own(EntryKind.BOOTSTRAP, [self.config.bootstrap], now_us=0)
        else:
            self._append_own(EntryKind.NOOP, [b""], now_us=0)

    # -- ready and advance -----------------------------------------------------------------------------

    def ready(self) -> Ready | None:
        """Return the work to be done now, or None. Call `advance` before the next call."""
        catch_ups: list[CatchUp] = []
        if isinstance(self._role, Leader):
            self._role.reads.begin_round(self._commit_index, self._role.term_start_index)
            appends, catch_ups = self._role.replicate(
                self._log, self._commit_index, self.config, self._snapshot
            )
            self._messages += appends
            self._messages += self._role.hand_over(self.last_index)
        committed = self._next_committed()
        reads = self._next_reads(committed)
        install = None if self._wanted_is_reported else self.installing
        state = (self.role, self.leader, self.term)
        if not (
            self._messages
            or self._messages_after_sync
            or catch_ups
            or committed
            or reads
            or self._dropped_reads
            or install
            or self._reset_log
            or self._saved_index < self.last_index
            or self._saved_voter != self._voter
            or self._reported != state
        ):
            return None
        ready = Ready(
            messages=tuple(self._messages),
            catch_ups=tuple(catch_ups),
            reset_log=self._reset_log,
            hard_state=HardState(term=self.term, voted_for=self.voted_for, commit_index=self._commit_index),
            entries=self._unsaved_entries(),
            messages_after_sync=tuple(self._messages_after_sync),
            committed=committed,
            reads=reads,
            dropped_reads=tuple(self._dropped_reads),
            install=install,
            role=self.role,
            leader=self.leader,
        )
        self._reported = state
        self._messages.clear()
        self._messages_after_sync.clear()
        self._dropped_reads.clear()
        self._wanted_is_reported = self._wanted_is_reported or install is not None
        self._reset_log = None
        self._performing = True
        return ready

    def _unsaved_entries(self) -> tuple[Entry, ...]:
        if self._saved_index == self.last_index:
            return ()
        return self._log.slice(self._saved_index + 1, self.last_index)

    def _next_committed(self) -> tuple[Entry, ...]:
        """Return the committed entries to apply now.

        A follower may wait until there are more: a transaction of the state machine costs as much as many
        entries.
        """
        count = min(self._commit_index - self._applied_index, self.config.batch_entries_max)
        waits = (
            self._ticks_since_apply < self.config.follower_apply_ticks
            and count < self.config.batch_entries_max
            and not isinstance(self._role, Leader)
        )
        if count == 0 or waits:
            return ()
        self._ticks_since_apply = 0
        return self._log.slice(
            self._applied_index + 1, self._applied_index + count, self.config.apply_bytes_max
        )

    def _next_reads(self, committed: Sequence[Entry]) -> tuple[ConfirmedRead, ...]:
        if not isinstance(self._role, Leader) or not self._role.reads.pending:
            return ()
        self._role.reads.confirm(self._membership, self._role.echoed())
        return self._role.reads.take_confirmed(self._applied_index + len(committed))

    def advance(self, ready: Ready) -> None:
        """Note that `ready` was performed: its entries are durable, its committed entries applied."""
        self._performing = False
        self._note_saved(ready)
        self._applied_index += len(ready.committed)
        self._log.evict(min(self._applied_index, self._saved_index), self.config.memory_bytes_max)
        match self._role:
            case Leader():
                self._advance_commit_index()
            case Candidate(campaign_term, pre_vote=False) if campaign_term == self._saved_voter.term:
                self._count_vote(self.node_id)
            case _:
                pass

    def _note_saved(self, ready: Ready) -> None:
        """Compare index *and* term: the saved entries may have been replaced in the log meanwhile."""
        self._saved_voter = Voter(ready.hard_state.term, ready.hard_state.voted_for)
        for entry in reversed(ready.entries):
            if self._log.term_at(entry.index) == entry.term:
                self._saved_index = max(self._saved_index, entry.index)
                break


def _is_hypothetical(message: RaftMessage) -> bool:
    """Return whether the term is one that a pre-vote asks about, which no server adopts (thesis 9.6)."""
    match message:
        case RequestVote(pre_vote=True) | RequestVoteResponse(pre_vote=True, granted=True):
            return True
        case _:
            return False


def _defect_of_configurations(entries: Sequence[Entry]) -> str | None:
    """Return why the data of a MEMBERSHIP entry, which would be used at once, is none, or None."""
    try:
        for entry in entries:
            if entry.kind == _MEMBERSHIP:
                decode_configuration(entry.data)
    except BadConfiguration as error:
        return f"its entry {entry.index} {error}"
    return None


def _rejection_of_structure(message: RaftMessage, entry_bytes_max: int) -> Rejection | None:
    """Return why no leader's log can contain these entries: indexes have no gap, terms never fall."""
    if isinstance(message, InstallSnapshot):
        return _rejection_of_snapshot(message)
    if not isinstance(message, AppendEntries):
        return None
    index, term, sound = message.prev_log_index, message.prev_log_term, True
    if (index == 0) != (term == 0):
        sound = False
    for entry in message.entries:
        index += 1
        if len(entry.data) > entry_bytes_max:
            what = f"entry {entry.index} has {len(entry.data)} bytes, over the limit of {entry_bytes_max}"
            return Rejection(sender=message.sender, violation=Violation.UNSOUND, what=what)
        sound = sound and entry.index == index and entry.term >= term
        term = entry.term
    if sound and term <= message.term:
        return None
    what = f"its entries after {message.prev_log_index} can be in no log of a leader of term {message.term}"
    return Rejection(sender=message.sender, violation=Violation.UNSOUND, what=what)


def _rejection_of_snapshot(offer: InstallSnapshot) -> Rejection | None:
    """Return why no leader can have taken this snapshot, or None."""
    snapshot = offer.snapshot
    if snapshot.membership:
        try:
            decode_configuration(snapshot.membership)
        except BadConfiguration as error:
            what = f"the configuration in its snapshot of entry {snapshot.index} {error}"
            return Rejection(sender=offer.sender, violation=Violation.UNSOUND, what=what)
    if snapshot.index and 0 < snapshot.term <= offer.term:
        return None
    what = f"no leader of term {offer.term} has a snapshot of entry {snapshot.index} of term {snapshot.term}"
    return Rejection(sender=offer.sender, violation=Violation.UNSOUND, what=what)
