"""The invariants of one server: as much of Figure 3 as one server can see of itself.

`check_server` checks one state, `check_change` a state against the one before; `CheckedRaft` calls both after
every call. Log matching, leader completeness and state-machine safety need a view of all servers:
tests/support/checks.py checks them.
"""

from __future__ import annotations

from msgspec import Struct

from atm.raft import transitions
from atm.raft.candidate import Candidate
from atm.raft.configurations import members_of
from atm.raft.errors import InvariantBroken
from atm.raft.follower import Follower
from atm.raft.leader import Leader
from atm.raft.membership import Configuration, decode_configuration
from atm.raft.messages import NodeId
from atm.raft.progress import Progress, ProgressState
from atm.raft.raft import Raft
from atm.raft.ready import Role


def _require(condition: bool, raft: Raft, promise: str) -> None:
    if not condition:
        raise InvariantBroken(promise, _summary(raft))


def _summary(raft: Raft) -> str:
    return (
        f"{raft.node_id} is {raft.role.value} in term {raft.term}, voted for {raft.voted_for or 'none'}, "
        f"log ends at {raft.last_index}, saved to {raft.saved_index}, committed to {raft.commit_index}, "
        f"applied to {raft.applied_index}"
    )


# -- one state ---------------------------------------------------------------------------------------


def check_server(raft: Raft) -> None:
    """Raise `InvariantBroken` unless the state is one that correct code can reach."""
    log, term, voted_for, membership = raft.log, raft.term, raft.voted_for, raft.membership
    applied_index, commit_index, saved_index = raft.applied_index, raft.commit_index, raft.saved_index
    last_index, configuration_index = log.last_index, raft.configuration[0]
    saved_term, saved_vote = raft.saved_vote
    _require(log.base_index <= applied_index, raft, "entries that are not applied are in memory")
    _require(applied_index <= commit_index, raft, "only committed entries are applied")
    _require(commit_index <= last_index, raft, "only entries of the log are committed")
    _require(applied_index <= saved_index, raft, "only durable entries are applied")
    _require(saved_index <= last_index, raft, "only entries of the log are saved")
    _require(configuration_index <= last_index, raft, "the configuration in use is in the log")
    _require(log.last_term <= term, raft, "no entry is of a later term than the server's")
    _check_snapshot(raft)
    _require(saved_term <= term, raft, "the saved term is not ahead of the current one")
    vote_kept = saved_term < term or saved_vote in (None, voted_for)
    _require(vote_kept, raft, "a vote that was saved is kept in its term")
    role = raft.role_data
    if isinstance(role, Follower):
        _require(role.leader != raft.node_id, raft, "a follower follows another server")
    elif isinstance(role, Candidate):
        _require(raft.may_campaign, raft, "only a voter campaigns, or one that leaves")
        _check_candidate(raft, role)
    else:
        pending = configuration_index > commit_index
        _require(pending or membership.is_voter(raft.node_id), raft, "only a voter leads, or one that leaves")
        _check_leader(raft, role)


def _check_snapshot(raft: Raft) -> None:
    start, snapshot = raft.log.start, raft.snapshot
    _require(start.index <= raft.log.base_index, raft, "entries in memory are of the log")
    if snapshot is None:
        return
    _require(snapshot.index <= raft.applied_index, raft, "a snapshot is of what is applied")
    _require(start.index <= snapshot.index, raft, "no entry is missing between the snapshot and the log")
    agrees = raft.log.agrees(snapshot.index, snapshot.term)
    _require(agrees, raft, "the snapshot is of the log's own entry")


def _check_candidate(raft: Raft, role: Candidate) -> None:
    if role.pre_vote:
        _require(role.campaign_term == raft.term + 1, raft, "a pre-vote is about the next term")
    else:
        _require(role.campaign_term == raft.term, raft, "a candidate campaigns for its own term")
        _require(raft.voted_for == raft.node_id, raft, "a candidate votes for itself")
        durable = raft.node_id not in role.votes or raft.saved_vote == (raft.term, raft.node_id)
        _require(durable, raft, "a candidate counts its own vote only once it is durable")
    _require(
        not role.has_won(raft.membership), raft, "a candidate with the votes of a majority becomes leader"
    )
    _require(all(map(raft.membership.is_voter, role.votes)), raft, "only voters' votes are counted")


def _check_leader(raft: Raft, role: Leader) -> None:
    log, term, start = raft.log, raft.term, max(role.term_start_index, raft.log.start.index)
    _require(role.term == term, raft, "a leader leads its own term")
    _require(raft.voted_for == raft.node_id, raft, "a leader has voted for itself")
    _require(log.term_at(start) == term, raft, "a leader's term starts with an entry of its own")
    _require(log.last_term == term, raft, "a leader's log ends in its own term")
    complete = {*role.progress} == {*raft.membership.others(raft.node_id)}
    _require(complete, raft, "a leader keeps the progress of every other member")
    for progress in role.progress.values():
        _check_progress(raft, progress)
        _require(progress.round_echoed <= role.reads.round, raft, "followers echo only rounds that were sent")
    if role.reads.pending:
        _check_reads(raft, role)
    uncommitted = raft.configurations.from_index(raft.commit_index)[1:]
    own = [index for index, _ in uncommitted if index >= role.term_start_index]
    _require(len(own) <= 1, raft, "one change of the membership is under way at a time")
    if role.transfer is not None:
        target, told = role.transfer.target, role.transfer.told
        _require(raft.membership.is_voter(target), raft, "leadership is handed to a voter")
        whole = not told or role.progress[target].match_index == raft.last_index
        _require(whole, raft, "leadership is handed to a server with the whole log")


def _check_reads(raft: Raft, role: Leader) -> None:
    rounds = [number for number, _ in role.reads.pending]
    in_order = rounds == sorted(rounds) and rounds[-1] <= role.reads.round
    _require(in_order, raft, "reads wait in the order of their rounds")
    first, last = role.term_start_index, raft.commit_index
    committed = all(first <= read.index <= last for _, read in role.reads.pending)
    _require(committed, raft, "a read index is committed, and not before the leader's term")


def _check_progress(raft: Raft, progress: Progress) -> None:
    match_index, next_index, in_flight = progress.match_index, progress.next_index, progress.in_flight
    _require(
        match_index < next_index <= raft.last_index + 1,
        raft,
        "next_index is after match_index, and at most one after the log's end",
    )
    too_early = next_index < raft.log.first_index
    offers = progress.state is ProgressState.SNAPSHOT
    _require(
        too_early == offers, raft, "a follower that needs an entry from before the log is offered a snapshot"
    )
    if offers:
        _require(not in_flight, raft, "a follower that is offered a snapshot has no append in flight")
        return
    if progress.state is ProgressState.PROBE:
        _require(len(in_flight) <= 1, raft, "a probing follower has at most one append in flight")
        return
    _require(len(in_flight) <= raft.config.window_batches, raft, "appends in flight fit the window")
    ordered = all(match_index < index < next_index for index in in_flight) and list(in_flight) == sorted(
        in_flight
    )
    _require(ordered, raft, "appends in flight are between match_index and next_index, in order")


# -- a state and the one before ----------------------------------------------------------------------


class Observation(Struct, frozen=True):
    """One state of a server; `runs` are the log's runs of equal terms from the commit index on."""

    term: int
    voted_for: NodeId | None
    role: Role
    leader: NodeId | None
    commit_index: int
    applied_index: int
    base_index: int
    start_index: int
    saved_index: int
    saved_term: int
    last_index: int
    runs: tuple[tuple[int, int], ...]
    configurations: tuple[tuple[int, Configuration], ...]  # in use at the commit index, and after it
    transferring: NodeId | None
    matched: dict[NodeId, int]
    round: int

    @classmethod
    def of(cls, raft: Raft) -> Observation:
        log, role = raft.log, raft.role_data
        return cls(
            term=raft.term,
            voted_for=raft.voted_for,
            role=raft.role,
            leader=raft.leader,
            commit_index=raft.commit_index,
            applied_index=raft.applied_index,
            base_index=log.base_index,
            start_index=log.start.index,
            saved_index=raft.saved_index,
            saved_term=raft.saved_vote[0],
            last_index=log.last_index,
            runs=log.runs_from(raft.commit_index),
            configurations=raft.configurations.from_index(raft.commit_index),
            transferring=raft.transferring,
            matched=raft.matched(),
            round=role.reads.round if isinstance(role, Leader) else 0,
        )

    def term_at(self, index: int) -> int:
        """Return the term that the entry at `index`, from the commit index on, had; 0 for index 0."""
        return next((term for first, term in reversed(self.runs) if first <= index), 0)


def check_change(before: Observation, raft: Raft, named_later: NodeId | None = None) -> None:
    """Raise `InvariantBroken` unless one call can lead from `before` to the state of `raft`.

    `named_later` has asked for the vote, and `Raft.is_named_later`.
    """
    term, voted_for = raft.term, raft.voted_for
    _require(term >= before.term, raft, "the term never goes back")
    _require(raft.saved_vote[0] >= before.saved_term, raft, "the saved term never goes back")
    _require(raft.commit_index >= before.commit_index, raft, "the commit index never goes back")
    _require(raft.applied_index >= before.applied_index, raft, "the applied index never goes back")
    _require(raft.log.base_index >= before.base_index, raft, "the base index never goes back")
    _require(raft.log.start.index >= before.start_index, raft, "the log's start never goes back")
    _check_log_change(before, raft)
    if term == before.term:
        _check_change_in_term(before, raft)
    if voted_for is not None and (voted_for != before.voted_for or term != before.term):
        # itself: see `may_campaign`
        counts = voted_for in (raft.node_id, named_later) or not raft.has_lost_disk(voted_for)
        _require(counts, raft, "a server that lost its disk gets no vote")


def _check_change_in_term(before: Observation, raft: Raft) -> None:
    _require(before.voted_for in (None, raft.voted_for), raft, "a vote is given once in a term")
    possible = transitions.possible_in_a_term(before.role, raft.role)
    _require(possible, raft, "within a term, a role changes only as transitions.py says")
    one_leader = raft.leader is None or before.leader in (None, raft.leader)
    _require(one_leader, raft, "a term has one leader (election safety)")
    role = raft.role_data
    if before.role is Role.LEADER and isinstance(role, Leader):
        _check_leader_change(before, raft, role)


def _check_log_change(before: Observation, raft: Raft) -> None:
    """A log only grows, except that uncommitted entries are cut where they conflict with a leader's."""
    if raft.log.start.index > before.commit_index:
        _check_reset(before, raft)
        return
    index = _check_cut(before, raft)
    _check_configuration_change(before, raft, index)


def _check_cut(before: Observation, raft: Raft) -> int:
    """Return the last index up to which the log is as before."""
    log, committed = raft.log, before.commit_index
    _require(log.term_at(committed) == before.term_at(committed), raft, "a committed entry is never removed")
    if log.term_at(before.last_index) == before.term_at(before.last_index):
        # By log matching, no entry was cut.
        _require(raft.saved_index >= before.saved_index, raft, "what was saved stays saved")
        return before.last_index
    leads = before.role is Role.LEADER and raft.role is Role.LEADER and raft.term == before.term
    _require(not leads, raft, "a leader's log only grows (leader append-only)")
    index = min(before.last_index, log.last_index)
    conflicts = log.term_at(index) != before.term_at(index)
    _require(conflicts, raft, "entries are cut only where one conflicts")
    while log.term_at(index) != before.term_at(index):
        index -= 1
    kept = min(before.saved_index, index) <= raft.saved_index
    _require(kept, raft, "what was saved before a conflict stays saved")
    return index


def _check_configuration_change(before: Observation, raft: Raft, kept_index: int) -> None:
    """The configuration is that of the newest entry that names one, which may be new or cut (section 6)."""
    expected = [known for known in before.configurations if known[0] <= kept_index]
    if kept_index < raft.last_index:
        for entry in raft.log.slice(kept_index + 1, raft.last_index):
            if members := members_of(entry):
                expected.append((entry.index, members))
    _require(raft.configuration == expected[-1], raft, "the newest configuration in the log is in use")


def _check_reset(before: Observation, raft: Raft) -> None:
    """A log that begins after more than was committed was emptied: a snapshot was installed."""
    start = raft.log.start
    _require(raft.role is Role.FOLLOWER, raft, "only a follower installs a snapshot")
    _require(raft.snapshot is not None, raft, "a log that was emptied begins after a snapshot")
    _require(raft.last_index == start.index, raft, "a log is emptied whole")
    held = start.index <= before.last_index and before.term_at(start.index) == start.term
    _require(not held, raft, "a log that has the snapshot's last entry is kept")
    snapshot = raft.snapshot
    if snapshot is not None and snapshot.membership and snapshot.index == start.index:
        taken = (snapshot.index, decode_configuration(snapshot.membership))
        _require(raft.configuration == taken, raft, "the configuration of an installed snapshot is in use")


def _check_leader_change(before: Observation, raft: Raft, role: Leader) -> None:
    _require(role.reads.round >= before.round, raft, "heartbeat rounds never go back")
    index, members = raft.configuration
    changed = {m.node for m in members if m.since == index} if index > before.configurations[-1][0] else ()
    for peer, match_index in before.matched.items():
        progress = role.progress.get(peer)
        if progress is None or raft.membership.is_learner(peer):
            continue
        if peer in changed:
            _require(progress.match_index == 0, raft, "what was acknowledged without a vote does not count")
        else:
            _require(progress.match_index >= match_index, raft, "match_index never goes back")
    if raft.transferring is not None and before.transferring == raft.transferring:
        quiet = raft.last_index == before.last_index
        _require(quiet, raft, "nothing is proposed while leadership is handed over")
    if raft.configuration != before.configurations[-1]:
        _check_own_change(before, raft, role)
    if raft.commit_index > before.commit_index:
        _require(
            raft.log.term_at(raft.commit_index) == raft.term,
            raft,
            "a leader commits by an entry of its own term (section 5.4.2)",
        )
        agreed_index = raft.membership.majority.reached(role.matched(raft.saved_index))
        _require(raft.commit_index <= agreed_index, raft, "a leader commits what a majority has saved")


def _check_own_change(before: Observation, raft: Raft, role: Leader) -> None:
    """This leader has changed the membership: by one voter at most, and not before the last was committed."""
    started = before.commit_index >= role.term_start_index
    _require(started, raft, "a change of the membership waits for a committed entry of the leader's term")
    index, old = before.configurations[-1]
    _require(
        index <= before.commit_index, raft, "a change of the membership waits for the last to be committed"
    )
    voters, now = (
        {(m.node, m.store) for m in members if m.voter} for members in (old, raft.configuration[1])
    )
    named = {(node, store) for node, store in now if (node, "") in voters}  # its first store
    now = (now - named) | {(node, "") for node, _ in named}
    _require(len(voters ^ now) <= 1, raft, "a change of the membership adds or removes one voter at most")
