"""Each invariant of one server is broken by hand, and the error must name it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from atm.raft import Entry, EntryKind, InvariantBroken, LogStart, encode_configuration
from atm.raft.candidate import Candidate
from atm.raft.checked import CheckedRaft
from atm.raft.follower import Follower
from atm.raft.invariants import check_server
from atm.raft.leader import Leader, Transfer
from atm.raft.membership import Configuration, Member, Membership
from atm.raft.messages import ConfirmedRead
from atm.raft.progress import Progress, ProgressState
from atm.raft.voter import Voter
from tests.raft.single import (
    Single,
    append,
    append_accepted,
    append_refused,
    entries_after,
    snapshot_at,
    vote_request,
)

Break = Callable[[CheckedRaft], object]


def put(**fields: object) -> Break:
    """Return what sets private `fields` of a core."""

    def set_them(raft: CheckedRaft) -> None:
        for name, value in fields.items():
            setattr(raft, f"_{name}", value)

    return set_them


def observed(**fields: object) -> Break:
    """Return what changes `fields` of the state before, as the core has noted it."""
    return lambda raft: put(observed=replace(raft._observed, **fields))(raft)


def follower(commit_index: int = 2) -> CheckedRaft:
    """Return a follower of `b` in term 3, with entries of terms 1, 2, 3, the committed ones applied."""
    a = Single("abcde", log=(1, 2, 3), term=3, voted_for="b", commit_index=commit_index)
    a.receive(append("b", 3, (3, 3)))
    return a.raft


def candidate() -> CheckedRaft:
    a = Single("abcde", log=(1, 2, 3), term=3, commit_index=2)
    a.campaign()
    return a.raft


def pre_candidate() -> CheckedRaft:
    a = Single("abcde", log=(1, 2, 3), term=3, commit_index=2)
    a.campaign(pre_vote=True)
    return a.raft


def leader(*, committed: bool = True) -> CheckedRaft:
    """Return the leader of term 4; if its no-op at 4 is `committed`, entries 5 and 6 are on `b` alone."""
    a = Single("abcde", log=(1, 2, 3), term=3, commit_index=2)
    a.lead()
    if not committed:
        return a.raft
    a.receive(append_accepted("b", 4, 4), append_accepted("c", 4, 4))
    a.propose(b"x", b"y")
    a.receive(append_accepted("b", 4, 6))
    assert a.raft.commit_index == 4
    return a.raft


def lead(raft: CheckedRaft) -> Leader:
    assert isinstance(raft.role_data, Leader)
    return raft.role_data


def b_of(raft: CheckedRaft) -> Progress:
    return lead(raft).progress["b"]


def both(*breaks: Break) -> Break:
    def do_all(raft: CheckedRaft) -> None:
        for each in breaks:
            each(raft)

    return do_all


def cut(first: int, *terms: int) -> Break:
    """Return what replaces the log from `first` on by entries of `terms`, and calls them saved."""

    def do(raft: CheckedRaft) -> None:
        raft.log.truncate(first)
        entries = [
            Entry(index=first + offset, term=term, time_us=99 + offset, kind=EntryKind.COMMAND, data=b"new")
            for offset, term in enumerate(terms)
        ]
        raft.log.append(entries)
        raft._saved_index = raft.last_index

    return do


def forget_follower(raft: CheckedRaft) -> None:
    """What `b` has acknowledged is forgotten, so that nothing points beyond entry 5."""
    lead(raft).progress["b"] = Progress(next_index=6)
    for progress in lead(raft).progress.values():
        progress.next_index = min(progress.next_index, 6)
        progress.in_flight.clear()


def cut_log() -> CheckedRaft:
    """Return a follower in term 3 with a snapshot of entry 2, which its log begins after."""
    a = Single("abcde", log=(1, 2, 3), term=3, commit_index=2)
    a.network.take_snapshot("a")
    return a.raft


def offering() -> CheckedRaft:
    """Return a leader that offers its snapshot of entry 4 to `b`."""
    a = Single("abcde", log=(1, 2, 3), term=3, commit_index=2)
    a.lead()
    a.receive(append_accepted("c", 4, 4), append_accepted("d", 4, 4), append_refused("b", 4, 3, (1, 0)))
    a.network.take_snapshot("a")
    return a.raft


def reset(index: int, term: int) -> Break:
    """Return what empties the log, as if a snapshot of the entry at `index` had been installed."""

    def do(raft: CheckedRaft) -> None:
        snapshot = snapshot_at(index, term)
        raft.log.reset(snapshot)
        put(commit_index=index, applied_index=index, saved_index=index, snapshot=snapshot)(raft)

    return do


def confirmed(raft: CheckedRaft, *rounds_and_indices: tuple[int, int]) -> None:
    lead(raft).reads.pending.extend(
        (round, ConfirmedRead(number, index)) for number, (round, index) in enumerate(rounds_and_indices)
    )


def members(voters: str, **stores: str) -> Configuration:
    return tuple(Member(node=node, voter=True, store=stores.get(node, "")) for node in voters)


def configured(*after: tuple[int, Configuration]) -> Break:
    """Return what puts these configurations after the founding one, as if entries had brought them."""

    def do(raft: CheckedRaft) -> None:
        raft.configurations._all += after

    return do


def handing_over(target: str, *, told: bool = False) -> Break:
    return lambda raft: setattr(lead(raft), "transfer", Transfer(target, told=told))


ONE_MOMENT: list[tuple[Callable[[], CheckedRaft], Break, str]] = [
    (follower, lambda raft: setattr(raft.log, "base_index", 3), "entries that are not applied are in memory"),
    (follower, put(applied_index=3), "only committed entries are applied"),
    (follower, put(commit_index=4), "only entries of the log are committed"),
    (follower, put(saved_index=1), "only durable entries are applied"),
    (follower, put(saved_index=4), "only entries of the log are saved"),
    (follower, put(voter=Voter(2, None), saved_voter=Voter(2, None)), "no entry is of a later term"),
    (follower, put(saved_voter=Voter(4, None)), "the saved term is not ahead of the current one"),
    (follower, put(saved_voter=Voter(3, "c")), "a vote that was saved is kept in its term"),
    (follower, put(role=Follower("a")), "a follower follows another server"),
    (candidate, put(shown_stores={"a": "new"}), "only a voter campaigns"),
    (leader, put(membership=Membership("abcde", learners="a")), "only a voter leads, or one that leaves"),
    (pre_candidate, put(role=Candidate(3, pre_vote=True)), "a pre-vote is about the next term"),
    (candidate, put(role=Candidate(5, pre_vote=False)), "a candidate campaigns for its own term"),
    (candidate, put(voter=Voter(4, "b"), saved_voter=Voter(4, "b")), "a candidate votes for itself"),
    (candidate, put(saved_voter=Voter(3, None)), "counts its own vote only once it is durable"),
    (candidate, put(role=Candidate(4, False, set("abc"))), "with the votes of a majority becomes leader"),
    (candidate, put(role=Candidate(4, False, set("ax"))), "only voters' votes are counted"),
    (leader, lambda raft: setattr(lead(raft), "term", 3), "a leader leads its own term"),
    (leader, put(voter=Voter(4, "b"), saved_voter=Voter(4, "b")), "a leader has voted for itself"),
    (leader, lambda raft: setattr(lead(raft), "term_start_index", 3), "starts with an entry of its own"),
    (leader, cut(6, 3), "a leader's log ends in its own term"),
    (leader, lambda raft: lead(raft).progress.pop("e"), "keeps the progress of every other member"),
    (leader, lambda raft: setattr(b_of(raft), "next_index", 8), "next_index is after match_index"),
    (leader, lambda raft: setattr(b_of(raft), "match_index", 7), "next_index is after match_index"),
    (leader, lambda raft: setattr(b_of(raft), "in_flight", [1, 2, 3, 4, 5]), "in flight fit the window"),
    (leader, lambda raft: setattr(b_of(raft), "in_flight", [6]), "between match_index and next_index"),
    (leader, lambda raft: setattr(b_of(raft), "round_echoed", 1), "echo only rounds that were sent"),
    (leader, lambda raft: confirmed(raft, (2, 4), (1, 4)), "reads wait in the order of their rounds"),
    (leader, lambda raft: confirmed(raft, (9, 4)), "reads wait in the order of their rounds"),
    (leader, lambda raft: confirmed(raft, (0, 5)), "a read index is committed"),
    (leader, lambda raft: confirmed(raft, (0, 3)), "a read index is committed"),
    (follower, put(snapshot=snapshot_at(3, 3)), "a snapshot is of what is applied"),
    (cut_log, put(snapshot=snapshot_at(1, 1)), "no entry is missing between the snapshot and the log"),
    (cut_log, put(snapshot=snapshot_at(2, 1)), "the snapshot is of the log's own entry"),
    (cut_log, lambda raft: setattr(raft.log, "start", LogStart(3, 3, 3)), "entries in memory are of the log"),
    (leader, lambda raft: setattr(b_of(raft), "state", ProgressState.SNAPSHOT), "is offered a snapshot"),
    (offering, lambda raft: setattr(b_of(raft), "state", ProgressState.PROBE), "is offered a snapshot"),
    (offering, lambda raft: b_of(raft).in_flight.append(3), "offered a snapshot has no append in flight"),
    (follower, configured((4, members("abc"))), "the configuration in use is in the log"),
    (
        leader,
        configured((5, members("abc")), (6, members("ab"))),
        "one change of the membership is under way",
    ),
    (leader, handing_over("x"), "leadership is handed to a voter"),
    (leader, handing_over("c", told=True), "leadership is handed to a server with the whole log"),
]


@pytest.mark.parametrize(
    ("server", "break_it", "promise"), ONE_MOMENT, ids=lambda x: x if isinstance(x, str) else ""
)
def test_a_broken_invariant_of_one_state_is_named(
    server: Callable[[], CheckedRaft], break_it: Break, promise: str
) -> None:
    raft = server()
    check_server(raft)
    break_it(raft)
    with pytest.raises(InvariantBroken) as broken:
        check_server(raft)
    assert promise in broken.value.promise


def test_a_second_append_to_a_probing_follower_is_named() -> None:
    a = Single("abcde", log=(1, 2, 3), term=3)
    a.lead()
    progress = b_of(a.raft)
    assert (progress.state, len(progress.in_flight)) == (ProgressState.PROBE, 1)
    progress.in_flight.append(4)
    with pytest.raises(InvariantBroken, match="at most one append in flight"):
        check_server(a.raft)


def changed(configuration: Configuration) -> Break:
    """Return what lets a leader append this configuration, whatever the rules."""

    def do(raft: CheckedRaft) -> None:
        raft._append_own(EntryKind.MEMBERSHIP, [encode_configuration(configuration)], 0)

    return do


BETWEEN_TWO: list[tuple[Callable[[], CheckedRaft], Break, str]] = [
    (
        follower,
        both(cut(3, 2), put(voter=Voter(2, "b"), saved_voter=Voter(2, "b"))),
        "the term never goes back",
    ),
    (follower, put(saved_voter=Voter(2, None)), "the saved term never goes back"),
    (follower, put(commit_index=1, applied_index=1), "the commit index never goes back"),
    (follower, put(applied_index=1), "the applied index never goes back"),
    (follower, put(voter=Voter(3, "c"), saved_voter=Voter(3, "c")), "a vote is given once in a term"),
    (follower, put(voter=Voter(3, None), saved_voter=Voter(3, None)), "a vote is given once in a term"),
    (follower, put(role=Follower("c")), "a term has one leader"),
    (
        pre_candidate,
        put(role=Candidate(3, pre_vote=False), voter=Voter(3, "a")),
        "a role changes only as transitions.py says",
    ),
    (leader, put(role=Candidate(4, pre_vote=False)), "a role changes only as transitions.py says"),
    (follower, put(saved_index=2), "what was saved stays saved"),
    (follower, both(cut(3), put(saved_index=2)), "entries are cut only where one conflicts"),
    (follower, cut(2, 3), "a committed entry is never removed"),
    (follower, cut(2, 3, 3), "a committed entry is never removed"),
    (
        lambda: follower(commit_index=1),
        both(cut(3, 4), put(voter=Voter(4, None), saved_index=1)),
        "saved before a conflict stays saved",
    ),
    (follower, observed(base_index=3), "the base index never goes back"),
    (leader, both(cut(6), forget_follower), "leader append-only"),
    (
        lambda: leader(committed=False),
        both(put(commit_index=3), lambda raft: setattr(b_of(raft), "match_index", 3)),
        "a leader commits by an entry of its own term",
    ),
    (leader, lambda raft: setattr(b_of(raft), "match_index", 4), "match_index never goes back"),
    (leader, observed(round=5), "heartbeat rounds never go back"),
    (leader, put(commit_index=6), "a leader commits what a majority has saved"),
    (cut_log, observed(start_index=3), "the log's start never goes back"),
    (candidate, reset(9, 4), "only a follower installs a snapshot"),
    (
        follower,
        both(reset(9, 3), put(snapshot=None)),
        "a log that was emptied begins after a snapshot",
    ),
    (follower, both(reset(9, 3), lambda raft: raft.log.append(entries_after(9, (3,)))), "is emptied whole"),
    (follower, reset(3, 3), "a log that has the snapshot's last entry is kept"),
    (follower, configured((3, members("abc"))), "the newest configuration in the log is in use"),
    (leader, both(handing_over("b"), observed(transferring="b", last_index=5)), "nothing is proposed while"),
    (
        lambda: leader(committed=False),
        changed(members("abcd")),
        "a change of the membership waits for a committed entry of the leader's term",
    ),
    (
        leader,
        both(observed(configurations=((0, members("abcde")), (6, members("abcd")))), changed(members("abc"))),
        "a change of the membership waits for the last to be committed",
    ),
    (leader, changed(members("abc")), "adds or removes one voter at most"),
    (
        leader,
        both(observed(configurations=((0, members("abcde", e="old")),)), changed(members("abcde", e="new"))),
        "adds or removes one voter at most",
    ),
    (
        leader,
        both(
            changed((*members("acde"), Member(node="b", voter=True, since=7))),
            lambda raft: setattr(b_of(raft), "match_index", 6),
        ),
        "what was acknowledged without a vote does not count",
    ),
]


@pytest.mark.parametrize(
    ("server", "break_it", "promise"), BETWEEN_TWO, ids=lambda x: x if isinstance(x, str) else ""
)
def test_a_broken_invariant_of_a_change_is_named(
    server: Callable[[], CheckedRaft], break_it: Break, promise: str
) -> None:
    raft = server()
    break_it(raft)
    with pytest.raises(InvariantBroken) as broken:
        raft.tick()
    assert promise in broken.value.promise


def test_a_vote_for_a_server_that_lost_its_disk_is_named() -> None:
    raft = follower()
    raft.demote("c", "new")
    raft._voter = Voter(4, "c")
    with pytest.raises(InvariantBroken, match="a server that lost its disk gets no vote"):
        raft.tick()


def test_the_line_says_what_is_broken_in_which_state_and_what_to_do() -> None:
    raft = follower()
    raft._commit_index = 1
    raft._applied_index = 1
    with pytest.raises(InvariantBroken) as broken:
        raft.tick()
    assert str(broken.value).startswith(
        "an invariant of Raft is broken: the commit index never goes back. a is follower in term 3, "
        "voted for b, log ends at 3, saved to 3, committed to 1, applied to 1. This is a defect"
    )
    assert "\n" not in str(broken.value)
    assert str(broken.value).endswith("start the node again, and report this line")


def receive(raft: CheckedRaft) -> None:
    raft.step(vote_request("c", 5, pre_vote=True))


CALLS: list[Callable[[CheckedRaft], object]] = [
    receive,
    CheckedRaft.tick,
    lambda raft: raft.propose([b"x"], 0),
    lambda raft: raft.read(1),
    lambda raft: raft.demote("e", "new"),
    lambda raft: raft.change_membership(members("abcd"), 0),
    lambda raft: raft.transfer("b"),
    lambda raft: raft.snapshot_taken(snapshot_at(2, 2), 1),
    lambda raft: raft.installed(snapshot_at(1, 1)),
    lambda raft: raft.install_failed(snapshot_at(9, 2)),
]


@pytest.mark.parametrize("call", CALLS)
def test_every_call_is_checked(call: Callable[[CheckedRaft], object]) -> None:
    raft = leader()
    observed(commit_index=5)(raft)
    with pytest.raises(InvariantBroken, match="the commit index never goes back"):
        call(raft)


def test_ready_and_advance_are_checked() -> None:
    raft = leader()
    raft.propose([b"x"], 0)
    raft._saved_voter = Voter(9, None)
    with pytest.raises(InvariantBroken, match="the saved term is not ahead of the current one"):
        raft.ready()
    raft = leader()
    raft.propose([b"x"], 0)
    ready = raft.ready()
    assert ready is not None
    raft._commit_index = 99
    with pytest.raises(InvariantBroken, match="only entries of the log are committed"):
        raft.advance(ready)
