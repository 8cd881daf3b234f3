"""A follower that is offered a snapshot (section 7): what it wants, installs, keeps, answers and rejects."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from atm.raft import InstallSnapshot, LogStart, Role, Snapshot, Violation, encode_configuration
from tests.raft.network import EFFECTS, ELECTION_TICKS_MAX, ELECTION_TICKS_MIN, INSTALL_STEPS, Network
from tests.raft.single import (
    Single,
    append,
    append_of,
    members,
    membership_entry,
    messages_after_sync,
    offer,
    offer_answers,
    snapshot_at,
    vote_request,
    votes,
)


def installed(a: Single, snapshot: Snapshot) -> None:
    """The caller has made the state machine of `a` what is in `snapshot`."""
    a.server.applied = [
        replace(append("b", 1, (0, 0), (1,)).entries[0], index=i) for i in range(1, snapshot.index + 1)
    ]
    a.raft.installed(snapshot)
    a.network.work("a")


# -- an offer ----------------------------------------------------------------------------------------


def test_an_offered_snapshot_is_wanted_once_until_it_fails() -> None:
    a = Single(log=(1, 1), commit_index=1)
    five = snapshot_at(5, 1)
    (answer,) = offer_answers(a.receive(offer("b", 2, five, round=3)))
    assert (answer.term, answer.index, answer.installed, answer.round) == (2, 5, False, 3)
    assert a.server.wanted == a.raft.installing == five
    assert (a.raft.leader, a.raft.term, a.server.store.hard_state.term) == ("b", 2, 2)
    a.server.wanted = None
    a.receive(offer("b", 2, five), offer("b", 2, five))
    assert a.server.wanted is None, "it is being fetched already"
    a.raft.install_failed(snapshot_at(4, 1))
    a.receive(offer("b", 2, five))
    assert a.server.wanted is None, "another one failed"
    a.raft.install_failed(five)
    assert a.raft.installing is None
    a.receive(offer("b", 2, five))
    assert a.server.wanted == five


def test_the_newest_offer_is_the_one_that_is_wanted() -> None:
    """A new leader offers its own file, even if it is of the same entry."""
    a = Single(term=1)
    for term, snapshot in ((1, snapshot_at(5, 1)), (2, snapshot_at(4, 1)), (3, snapshot_at(4, 1, "another"))):
        a.receive(offer("b", term, snapshot))
        assert a.server.wanted == a.raft.installing == snapshot


def test_a_late_offer_of_an_older_snapshot_does_not_replace_the_one_that_is_being_fetched() -> None:
    """One leader's newest only rises; another leader may have none so new. It is answered all the same."""
    a = Single(term=1)
    four, five = snapshot_at(4, 1), snapshot_at(5, 1)
    a.receive(offer("b", 2, four), offer("b", 2, five))
    a.server.wanted = None
    (answer,) = offer_answers(a.receive(offer("b", 2, four, round=1)))
    assert (answer.index, answer.installed, answer.round) == (4, False, 1)
    assert (a.server.wanted, a.raft.installing) == (None, five)
    a.receive(offer("c", 3, four))
    assert a.server.wanted == a.raft.installing == four


def test_an_offer_keeps_a_follower_from_campaigning_and_from_electing_others() -> None:
    a = Single(term=1)
    for _ in range(5):
        a.receive(offer("b", 1, snapshot_at(5, 1)))
        a.tick(ELECTION_TICKS_MIN - 1)
        assert votes(a.receive(vote_request("c", 2, pre_vote=True))) == [("c", False)]
    assert a.raft.role is Role.FOLLOWER


def test_a_stale_snapshot_is_not_installed() -> None:
    """Scenario 53: one of what is committed; and of an installed one, what agrees with the log stays."""
    a = Single(log=(1, 1, 1, 2), term=3, commit_index=3)
    for index in (1, 3):
        (answer,) = offer_answers(a.receive(offer("b", 3, snapshot_at(index, 1))))
        assert (answer.index, answer.installed) == (index, True)
    assert (a.server.wanted, a.raft.installing) == (None, None)
    a.raft.installed(snapshot_at(2, 1))
    a.network.work("a")
    assert (a.server.log_terms, a.raft.applied_index, a.raft.snapshot) == ([1, 1, 1, 2], 3, None)


def test_what_the_log_has_up_to_the_snapshot_is_committed_without_a_transfer() -> None:
    a = Single(log=(1, 1, 2, 2), term=3, commit_index=1)
    (answer,) = offer_answers(a.receive(offer("b", 3, snapshot_at(3, 2))))
    assert answer.installed
    assert (a.server.wanted, a.raft.commit_index, a.raft.applied_index) == (None, 3, 3)
    assert a.server.log_terms == [1, 1, 2, 2]


def test_a_follower_that_lost_what_it_rejected_follows_by_an_offer() -> None:
    """What it rejected is committed by others and in the snapshot: the next heartbeat is answered."""
    a = Single(log=(1,), term=1, commit_index=1)
    a.raft._entry_check = lambda entries, last_time_us: "no"
    assert a.raft.step(append("b", 1, (1, 1), (1,))) is not None
    a.receive(offer("b", 1, snapshot_at(5, 1)))
    installed(a, snapshot_at(5, 1))
    (answer,) = messages_after_sync(a.receive(append("b", 1, (5, 1))))
    assert answer.success


# -- an install --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log", "commit_index"),
    [((), 0), ((1, 1), 2), ((1, 1, 2, 2, 2, 2), 2)],
    ids=["empty", "short", "conflict"],
)
def test_an_installed_snapshot_empties_a_log_that_lacks_its_last_entry(
    log: tuple[int, ...], commit_index: int
) -> None:
    """Scenario 56: the applied index is the snapshot's, and so is all that the caller put into it."""
    a = Single(log=log, term=3, commit_index=commit_index)
    five = replace(
        snapshot_at(5, 3), membership=encode_configuration(members("abc")), cluster_id="bank", size_bytes=7
    )
    a.receive(offer("b", 3, five))
    assert a.server.wanted == five
    installed(a, five)
    assert (a.raft.commit_index, a.raft.applied_index, a.raft.saved_index, a.raft.last_index) == (5, 5, 5, 5)
    assert a.server.store.start == a.raft.log.start == LogStart(5, 3, 5)
    assert (a.server.store.entries, a.raft.last_time_us) == ([], 5)
    assert (a.raft.snapshot, a.raft.installing) == (five, None)
    (answer,) = offer_answers(a.receive(offer("b", 3, five)))
    assert answer.installed
    (accepted,) = messages_after_sync(a.receive(append("b", 3, (5, 3), (3, 3), commit=6)))
    assert (accepted.success, accepted.match_index) == (True, 7)
    assert (a.server.log_terms, a.raft.applied_index) == ([3, 3], 6)


def test_a_log_that_has_the_snapshots_last_entry_is_kept() -> None:
    """What follows may be acknowledged: to empty it would lose it."""
    a = Single(log=(1, 1), term=3, commit_index=2)
    five = snapshot_at(5, 3)
    a.receive(offer("b", 3, five))
    a.receive(append("b", 3, (2, 1), (3, 3, 3, 3, 3), commit=3))
    assert a.raft.installing == five, "it is not committed here yet"
    installed(a, five)
    assert a.server.log_terms == [1, 1, 3, 3, 3, 3, 3]
    assert (a.raft.commit_index, a.raft.applied_index, a.raft.last_index) == (5, 5, 7)
    a.receive(append("b", 3, (7, 3), (), commit=7))
    assert a.raft.applied_index == 7


def test_a_snapshot_is_no_longer_wanted_once_the_log_has_caught_up() -> None:
    a = Single(log=(1, 1), term=1, commit_index=2)
    a.receive(offer("b", 1, snapshot_at(4, 1)))
    a.receive(append("b", 1, (2, 1), (1, 1), commit=3))
    assert a.raft.installing == snapshot_at(4, 1)
    a.receive(append("b", 1, (4, 1), (), commit=4))
    assert a.raft.installing is None


def test_nothing_is_installed_while_entries_wait_to_be_saved() -> None:
    """Their acknowledgement waits too: a log that is emptied now would break it."""
    a = Single(log=(1, 1), term=1, commit_index=2)
    four = snapshot_at(4, 1)
    a.receive(offer("b", 1, four))
    a.raft.step(append("b", 1, (2, 1), (1,)))
    assert a.raft.installing is None
    with pytest.raises(AssertionError, match="not the one to be installed"):
        a.raft.installed(four)
    ready = a.raft.ready()
    assert ready is not None
    with pytest.raises(AssertionError, match="being performed"):
        a.raft.installed(four)
    a.raft.advance(ready)
    assert a.raft.installing == four


def test_only_a_follower_installs() -> None:
    a = Single(term=1)
    five = snapshot_at(5, 1)
    a.receive(offer("b", 1, five))
    a.campaign(pre_vote=True)
    assert a.raft.installing is None
    with pytest.raises(AssertionError, match="not the one to be installed"):
        a.raft.installed(five)
    a.receive(append("b", 1))
    assert a.raft.installing == five


def test_a_snapshot_that_was_offered_to_a_candidate_is_reported_when_it_follows() -> None:
    a = Single(term=1)
    a.receive(offer("b", 1, snapshot_at(5, 1)))
    a.server.wanted = None
    a.raft.install_failed(snapshot_at(5, 1))
    a.raft.step(offer("b", 1, snapshot_at(5, 1)))
    for _ in range(ELECTION_TICKS_MAX):
        a.raft.tick()
    assert a.raft.role is Role.PRE_CANDIDATE
    a.receive()
    assert a.server.wanted is None
    a.receive(append("b", 1))
    assert a.server.wanted == snapshot_at(5, 1)


def test_a_server_whose_log_is_in_a_snapshot_starts_votes_and_leads_as_if_it_had_it() -> None:
    """It has nothing but an installed snapshot: the log goes on after it, without a second BOOTSTRAP."""
    a = Single(term=3, bootstrap=b"founding")
    five = snapshot_at(5, 2)
    a.receive(offer("b", 3, five))
    a.server.files[five] = []
    installed(a, five)
    a.restart()
    assert (a.raft.last_index, a.raft.commit_index, a.raft.snapshot) == (5, 5, five)
    assert votes(a.receive(vote_request("c", 4, (2, 4)))) == [("c", False)]
    assert votes(a.receive(vote_request("c", 4, (2, 5)))) == [("c", True)]
    a.network.now_us = 0
    a.lead()
    (first, *_) = a.server.store.entries
    assert (first.index, first.data, first.time_us) == (6, b"", 6)


# -- appends to a log that was cut ---------------------------------------------------------------------


def cut_log() -> Single:
    """Return a follower of `b` in term 3, with entries 4 to 6 of terms 2, 2, 3 after what was cut."""
    a = Single(log=(1, 1, 2, 2, 2, 3), term=3, commit_index=4)
    a.network.take_snapshot("a", kept=1)
    assert (a.raft.log.start, a.server.log_terms) == (LogStart(3, 2, 3), [2, 2, 3])
    return a


@pytest.mark.parametrize(
    ("prev", "terms", "success", "after"),
    [
        ((0, 0), (), True, [2, 2, 3]),
        ((0, 0), (1,), True, [2, 2, 3]),
        ((0, 0), (1, 1, 2), True, [2, 2, 3]),
        ((1, 1), (1, 2, 2, 2, 3, 3), True, [2, 2, 3, 3]),
        ((2, 1), (2, 2, 3), True, [2, 3]),
        ((3, 2), (2, 2), True, [2, 2, 3]),
        ((4, 2), (3,), True, [2, 3]),
        ((6, 2), (3,), False, [2, 2, 3]),
    ],
)
def test_a_follower_skips_what_is_before_its_log(
    prev: tuple[int, int], terms: tuple[int, ...], success: bool, after: list[int]
) -> None:
    a = cut_log()
    (answer,) = messages_after_sync(a.receive(append("b", 3, prev, terms)))
    assert (answer.success, a.server.log_terms) == (success, after)
    assert answer.match_index == prev[0] + (len(terms) if success else 0)


@pytest.mark.parametrize("terms", [(1, 3), (1, 2, 3)], ids=["the start", "after it"])
def test_an_append_that_conflicts_with_the_start_is_rejected_and_reported(terms: tuple[int, ...]) -> None:
    a = cut_log()
    refusal = a.raft.step(append("b", 3, (1, 1), terms))
    assert refusal is not None
    assert refusal.violation is Violation.COMMITTED
    assert "of term 3 conflicts with a committed entry of term 2" in refusal.what


def test_a_refusal_never_hints_at_what_was_cut() -> None:
    """All of the run of term 2 but its end is gone: the hint is the first entry that may conflict."""
    a = cut_log()
    (answer,) = messages_after_sync(a.receive(append("b", 4, (5, 3))))
    assert (answer.match_index, answer.conflict_index, answer.conflict_term) == (5, 5, 2)
    (answer,) = messages_after_sync(a.receive(append("b", 4, (3, 1))))
    assert (answer.success, answer.conflict_index) == (False, 5)
    (answer,) = messages_after_sync(a.receive(append("b", 4, (9, 3))))
    assert (answer.conflict_index, answer.conflict_term) == (7, 0)


def test_the_stamp_before_the_first_entry_is_that_of_the_snapshot() -> None:
    asked: list[tuple[int, int]] = []

    def note(entries: object, last_time_us: int) -> None:
        asked.append((a.raft.last_index, last_time_us))

    a = Single(term=1)
    a.receive(offer("b", 1, snapshot_at(5, 1)))
    installed(a, snapshot_at(5, 1))
    a.raft._entry_check = note
    a.receive(append("b", 1, (5, 1), (1,)))
    assert asked == [(5, 5)]


# -- what no leader offers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("forged", "violation"),
    [
        (offer("b", 3, replace(snapshot_at(9, 3), index=0)), Violation.UNSOUND),
        (offer("b", 3, replace(snapshot_at(9, 3), term=0)), Violation.UNSOUND),
        (offer("b", 3, snapshot_at(9, 4)), Violation.UNSOUND),
        (offer("b", 3, snapshot_at(4, 3)), Violation.COMMITTED),
        (offer("b", 3, snapshot_at(3, 1)), Violation.COMMITTED),
        (offer("b", 3, snapshot_at(9, 1)), Violation.COMMITTED),
        (offer("b", 3, replace(snapshot_at(9, 3), time_us=4)), Violation.COMMITTED),
        (offer("c", 3, snapshot_at(9, 3)), Violation.SECOND_LEADER),
        (offer("b", 2**60, snapshot_at(9, 3)), Violation.TERM),
    ],
    ids=[
        "of nothing",
        "of term 0",
        "of a later term",
        "the same entry, another term",
        "the start, another term",
        "a term that falls",
        "a time that goes back",
        "a second leader",
        "a term of no election",
    ],
)
def test_a_snapshot_that_no_leader_has_is_refused_and_changes_nothing(
    forged: InstallSnapshot, violation: Violation
) -> None:
    a = cut_log()
    a.receive(append("b", 3, (4, 2)))
    term = a.raft.term
    refusal = a.raft.step(forged)
    assert refusal is not None
    assert refusal.violation is violation
    assert a.receive() == []
    assert (a.server.wanted, a.raft.installing, a.raft.commit_index, a.raft.term) == (None, None, 4, term)


def test_an_offer_of_an_older_term_is_answered_with_the_newer() -> None:
    a = Single(term=4)
    (answer,) = offer_answers(a.receive(offer("b", 3, snapshot_at(5, 3), round=7)))
    assert (answer.term, answer.index, answer.installed, answer.round) == (4, 0, False, 0)
    assert (a.raft.installing, a.raft.leader) == (None, None)


def test_an_offer_of_a_server_that_is_no_member_is_taken() -> None:
    """It may lead by a newer configuration, which is in that very snapshot."""
    a = Single(term=1)
    snapshot = replace(snapshot_at(5, 1), membership=encode_configuration(members("abx", "c")))
    a.receive(offer("x", 9, snapshot))
    assert (a.raft.term, a.raft.leader, a.server.wanted) == (9, "x", snapshot)
    installed(a, snapshot)
    assert a.raft.configuration == (5, members("abx", "c"))
    assert a.raft.membership.voters == ("a", "b", "x")


def test_an_installed_configuration_is_rolled_back_to_and_an_uncommitted_one_is_gone() -> None:
    a = Single(log=(1,), term=1)
    a.receive(append_of("b", 1, (1, 1), membership_entry(2, 1, members("abcd"))))
    assert a.raft.configuration[0] == 2
    snapshot = replace(snapshot_at(5, 2), membership=encode_configuration(members("abc", "e")))
    a.receive(offer("c", 2, snapshot))
    installed(a, snapshot)
    a.receive(append_of("c", 2, (5, 2), membership_entry(6, 2, members("abce"))))
    assert a.raft.configuration == (6, members("abce"))
    a.receive(append_of("b", 3, (5, 2), *append("b", 3, (5, 2), (3,)).entries))
    assert a.raft.configuration == (5, members("abc", "e"))


def test_a_snapshot_with_a_configuration_that_is_none_is_rejected() -> None:
    a = Single(term=1)
    rejection = a.raft.step(offer("b", 1, replace(snapshot_at(5, 1), membership=b"\x90")))
    assert rejection is not None
    assert rejection.violation is Violation.UNSOUND
    assert (a.raft.leader, a.raft.installing) == (None, None)


# -- all servers together ------------------------------------------------------------------------------


def lagging(kept: int = 0) -> Network:
    """Return servers of which `c` lacks what `a`, the leader, has in a snapshot and no longer in its log."""
    network = Network("abc")
    network.elect("a")
    network.submit("a", b"x")
    network.deliver()
    network.tick("a", 5)
    network.deliver()
    network.isolate("c")
    network.submit("a", b"y", b"z")
    network.deliver()
    network.take_snapshot("a", kept=kept)
    network.fetches = False
    network.heal()
    return network


def test_a_follower_that_lags_behind_the_log_is_brought_up_to_date() -> None:
    network = lagging()
    network.pass_time(ELECTION_TICKS_MIN)
    assert network.servers["c"].commands == [b"x"]
    assert network.fetch("c")
    network.submit("a", b"after")
    network.pass_time(ELECTION_TICKS_MIN)
    assert network.converged()
    assert network.servers["c"].commands == [b"x", b"y", b"z", b"after"]
    assert network["a"].term == 1, "nobody campaigned meanwhile"


def test_offers_that_are_doubled_reordered_or_lost_start_one_fetch() -> None:
    """Scenario 55: the caller's fetch is told once; a lost offer or answer is made good by the next."""
    network = lagging()
    reports: list[Snapshot] = []
    lost = 0
    for _ in range(4 * ELECTION_TICKS_MIN):
        network.tick("ab")
        network.tick("c")
        offers = [x for x in network.in_flight if isinstance(x.message, InstallSnapshot)]
        network.in_flight.extend(reversed(offers))
        lost += len(offers)
        if lost % 3 == 1:
            network.take_in_flight(InstallSnapshot)
        network.deliver()
        if network.servers["c"].wanted is not None:
            reports.append(network.servers["c"].wanted)
            network.servers["c"].wanted = None
    assert len(reports) == 1
    network.servers["c"].wanted = reports[0]
    assert network.fetch("c")
    network.pass_time(ELECTION_TICKS_MIN)
    assert network.converged()


@pytest.mark.parametrize("step", INSTALL_STEPS)
def test_a_crash_in_the_middle_of_an_install_leaves_the_old_state_or_the_new(step: str) -> None:
    """Scenario 54: at each step; whichever state starts, the install is made good."""
    network = lagging()
    network.pass_time(ELECTION_TICKS_MIN)
    c = network.servers["c"]
    assert not network.fetch("c", crash_before=step)
    network.restart("c")
    old, new = [b"x"], [b"x", b"y", b"z"]
    assert c.commands == (new if step == "installed" else old)
    assert network["c"].last_index == len(c.applied)
    network.fetches = True
    network.submit("a", b"after")
    network.pass_time(4 * ELECTION_TICKS_MIN)
    assert c.commands == [*new, b"after"]
    assert network.converged()


@pytest.mark.parametrize("effect", EFFECTS)
def test_a_crash_while_the_log_is_emptied_leaves_no_gap(effect: str) -> None:
    network = lagging()
    network.pass_time(ELECTION_TICKS_MIN)
    network.servers["c"].crash_before = effect
    network.fetch("c")
    network.pass_time(ELECTION_TICKS_MIN)
    network.crash("c")
    network.restart("c")
    assert network["c"].log.start.index == network["c"].applied_index == 4
    network.pass_time(4 * ELECTION_TICKS_MIN)
    assert network.converged()


def test_a_log_and_a_state_machine_with_a_gap_between_them_do_not_start() -> None:
    network = lagging()
    network.crash("a")
    network.servers["a"].files.clear()
    with pytest.raises(AssertionError):
        network.restart("a", applied_index=2)


def test_a_server_with_a_wiped_disk_gets_its_state_by_an_install() -> None:
    """It is not counted, as ever; and what it acknowledged before the wipe is believed no longer."""
    network = lagging()
    network.fetches = True
    network.pass_time(ELECTION_TICKS_MIN)
    assert network["a"].matched()["c"] == 4
    network.crash("c")
    network.wipe("c")
    for name in "ab":
        network[name].demote("c", "new")
    network.restart("c")
    network.pass_time(2 * ELECTION_TICKS_MIN)
    assert network.servers["c"].commands == [b"x", b"y", b"z"]
    assert network.servers["c"].store.start.index == 4
    network.isolate("b")
    network.submit("a", b"not committed")
    network.pass_time(5)
    assert network["a"].commit_index == 4


def test_a_new_leader_that_has_only_a_snapshot_brings_the_others_up_to_date() -> None:
    network = lagging()
    network.fetches = True
    network.pass_time(ELECTION_TICKS_MIN)
    network.submit("a", b"after")
    network.deliver()
    network.isolate("a")
    network.elect("c")
    network.submit("c", b"of c")
    network.heal()
    network.pass_time(2 * ELECTION_TICKS_MIN)
    assert network.converged()
    assert network.servers["a"].commands == [b"x", b"y", b"z", b"after", b"of c"]
