"""A leader that has cut its log (section 7): whom it offers a snapshot, which one, and until when."""

from __future__ import annotations

import pytest

from atm.raft import RaftMessage, Role, Snapshot, Violation
from atm.raft.leader import Leader
from atm.raft.log import BEGINNING
from atm.raft.progress import SILENT_TIMEOUTS, Progress, ProgressState
from tests.raft.network import ELECTION_TICKS_MAX, HEARTBEAT_TICKS, Network
from tests.raft.single import (
    Single,
    append_accepted,
    append_refused,
    appends,
    offer_answered,
    offers,
)


def leader(*, kept: int = 0) -> tuple[Single, Snapshot]:
    """Return the leader of term 2 and its snapshot of entry 6; `c` is probed at 5, and has not answered."""
    a = Single(log=(1,) * 5, term=1)
    a.lead()
    a.receive(append_accepted("b", 2, 5), append_accepted("b", 2, 6))
    assert a.raft.applied_index == 6
    snapshot = a.network.take_snapshot("a", kept=kept)
    a.sent()
    return a, snapshot


def offering(*, kept: int = 0) -> tuple[Single, Snapshot]:
    """Return a leader that offers its snapshot to `c`, whose log is empty."""
    a, snapshot = leader(kept=kept)
    a.receive(append_refused("c", 2, 5, (1, 0)))
    assert of(a, "c").state is ProgressState.SNAPSHOT
    return a, snapshot


def of(a: Single, name: str) -> Progress:
    role = a.raft.role_data
    assert isinstance(role, Leader)
    return role.progress[name]


def take_snapshot(a: Single, *, kept: int = 0) -> Snapshot:
    """Commit one more entry, and take a snapshot of it."""
    a.propose(b"x")
    a.receive(append_accepted("b", a.raft.term, a.raft.last_index))
    snapshot = a.network.take_snapshot("a", kept=kept)
    a.sent()
    return snapshot


# -- who is offered a snapshot -------------------------------------------------------------------------


def test_a_follower_that_needs_what_was_cut_is_offered_the_snapshot_in_place_of_heartbeats() -> None:
    a, snapshot = offering()
    sent = a.tick(2 * HEARTBEAT_TICKS)
    assert [message.snapshot for message in offers(sent, "c")] == [snapshot] * 2
    assert appends(sent, "c") == []
    assert offers(sent, "b") == []
    assert appends(a.propose(b"y"), "c") == [], "nothing else is sent to it"


@pytest.mark.parametrize(("needs", "offered"), [(1, True), (4, True), (5, False)])
def test_a_follower_that_needs_what_is_left_gets_entries(needs: int, offered: bool) -> None:
    """Entries 5 and 6 are left: the term before them is still known."""
    a, _ = leader(kept=2)
    sent = a.receive(append_refused("c", 2, 5, (needs, 0)))
    assert [message.prev_log_index for message in appends(sent, "c")] == ([] if offered else [4])
    assert bool(offers(a.tick(HEARTBEAT_TICKS), "c")) == offered


def test_a_leader_that_cuts_what_followers_still_need_offers_them_the_snapshot() -> None:
    """Whether it was probing them or replicating to them."""
    a = Single("abcde", batch_entries_max=1, window_batches=2)
    a.lead()
    a.receive(*(append_accepted(name, 1, 1) for name in "bcd"))
    a.propose(*[b"x"] * 5)
    for index in (3, 5, 6):
        a.receive(*(append_accepted(name, 1, index) for name in "bc"))
    a.receive(append_refused("e", 1, 0, (1, 0)))
    assert [of(a, name).next_index for name in "bcde"] == [7, 7, 4, 1]
    a.network.take_snapshot("a")
    states = [of(a, name).state for name in "bcde"]
    assert states == [ProgressState.REPLICATE] * 2 + [ProgressState.SNAPSHOT] * 2
    sent = a.tick(HEARTBEAT_TICKS)
    assert [bool(offers(sent, name)) for name in "bcde"] == [False, False, True, True]


def test_entries_that_are_left_are_read_from_the_disk_and_cut_ones_never() -> None:
    network = Network("abc", memory_bytes_max=1_000, batch_entries_max=3)
    network.elect("a")
    network.isolate("c")
    for number in range(30):
        network.submit("a", b"%d" % number)
        network.deliver()
    network.take_snapshot("a", kept=30)
    assert network["a"].log.start.index == 1
    assert network["a"].log.base_index > 20
    network.heal()
    network.pass_time(20 * HEARTBEAT_TICKS)
    assert network.servers["c"].store.start == BEGINNING, "it needed entry 2, and that is left"
    assert network.converged()


def test_the_answers_to_offers_keep_a_leader_and_confirm_its_reads() -> None:
    a, snapshot = offering()
    for _ in range(4 * ELECTION_TICKS_MAX // HEARTBEAT_TICKS):
        a.tick(HEARTBEAT_TICKS)
        a.receive(offer_answered("c", 2, snapshot.index, installed=False))
    assert a.raft.role is Role.LEADER
    a.raft.read(7)
    a.network.work("a")
    (message,) = offers(a.sent(), "c")
    assert (message.round, a.server.reads) == (1, [])
    a.receive(offer_answered("c", 2, snapshot.index, message.round, installed=False))
    assert [read.read_id for read in a.server.reads] == [7]


# -- until when ----------------------------------------------------------------------------------------


def test_once_it_is_installed_the_entries_after_it_follow() -> None:
    a, snapshot = offering()
    a.propose(b"y", b"z")
    a.receive(offer_answered("c", 2, snapshot.index, installed=False))
    assert of(a, "c").state is ProgressState.SNAPSHOT
    (append,) = appends(a.receive(offer_answered("c", 2, snapshot.index)), "c")
    assert (append.prev_log_index, append.prev_log_term, len(append.entries)) == (6, 2, 2)
    assert a.raft.matched()["c"] == 6
    assert a.raft.offered() == {}
    assert offers(a.tick(HEARTBEAT_TICKS), "c") == []


def test_a_follower_that_accepts_an_append_needs_no_snapshot() -> None:
    """A doubled, late answer: its log was never as short as a refusal said."""
    a, _ = offering(kept=2)
    a.receive(append_accepted("c", 2, 3))
    assert of(a, "c").state is ProgressState.SNAPSHOT, "it still needs entry 4, which was cut"
    (append,) = appends(a.receive(append_accepted("c", 2, 4)), "c")
    assert (append.prev_log_index, len(append.entries)) == (4, 2)
    assert (of(a, "c").state, a.raft.offered()) == (ProgressState.PROBE, {})


def test_a_late_refusal_does_not_end_an_offer() -> None:
    """Else the next would be of a newer snapshot, and the fetch would begin anew."""
    a, snapshot = offering()
    a.tick(HEARTBEAT_TICKS)
    newer = take_snapshot(a, kept=1)
    assert newer != snapshot
    a.receive(append_refused("c", 2, 6, (7, 0)), append_refused("c", 2, 7, (7, 0)))
    assert [message.snapshot for message in offers(a.tick(HEARTBEAT_TICKS), "c")] == [snapshot]


def test_the_same_snapshot_is_offered_until_the_log_no_longer_goes_on_from_it() -> None:
    a, first = offering()
    a.tick(HEARTBEAT_TICKS)
    assert a.raft.offered() == {"c": first}
    second = take_snapshot(a, kept=1)
    assert a.raft.snapshot == second
    assert [message.snapshot for message in offers(a.tick(HEARTBEAT_TICKS), "c")] == [first]
    assert a.raft.offered() == {"c": first}, "the entry after it is kept for it"
    third = take_snapshot(a, kept=1)
    assert [message.snapshot for message in offers(a.tick(HEARTBEAT_TICKS), "c")] == [third]
    assert a.raft.offered() == {"c": third}


def test_a_follower_that_was_silent_for_long_is_offered_the_newest() -> None:
    """Nothing is kept for it, while it is down for a week; back again, it may keep what it fetches."""
    a, first = offering()
    a.tick(HEARTBEAT_TICKS)
    second = take_snapshot(a, kept=5)
    ticks = 0
    while a.raft.offered() and ticks < 2 * SILENT_TIMEOUTS * ELECTION_TICKS_MAX:
        assert {message.snapshot for message in offers(a.tick(HEARTBEAT_TICKS), "c")} <= {first, second}
        ticks += HEARTBEAT_TICKS
        a.receive(append_accepted("b", 2, a.raft.last_index))
    assert 0 <= ticks - SILENT_TIMEOUTS * ELECTION_TICKS_MAX <= ELECTION_TICKS_MAX
    assert [message.snapshot for message in offers(a.tick(HEARTBEAT_TICKS), "c")] == [second]
    assert a.raft.offered() == {}
    a.receive(offer_answered("c", 2, second.index, installed=False))
    assert a.raft.offered() == {"c": second}
    third = take_snapshot(a, kept=5)
    assert offers(a.tick(HEARTBEAT_TICKS), "c")[-1].snapshot == second != third


def test_an_older_snapshot_than_the_newest_is_not_offered() -> None:
    """Another may have been installed while it was made."""
    a, snapshot = leader()
    newer = take_snapshot(a)
    a.raft.snapshot_taken(snapshot, snapshot.index + 1)
    assert (a.raft.snapshot, a.raft.log.start.index) == (newer, newer.index)


def test_without_a_snapshot_to_offer_a_follower_gets_heartbeats() -> None:
    """The file may be lost, and the next one is not made yet: that is no reason for an election."""
    a, _ = leader()
    a.server.files.clear()
    a.restart()
    assert (a.raft.snapshot, a.raft.log.start.index) == (None, 6)
    a.lead()
    a.receive(append_refused("c", 3, 6, (1, 0)))
    sent = a.tick(HEARTBEAT_TICKS)
    assert [(x.prev_log_index, x.prev_log_term, x.entries) for x in appends(sent, "c")] == [(6, 2, ())]
    assert a.raft.offered() == {}
    a.receive(append_accepted("b", 3, 7))
    snapshot = a.network.take_snapshot("a")
    assert [message.snapshot for message in offers(a.tick(HEARTBEAT_TICKS), "c")] == [snapshot]


def test_a_leader_may_cut_the_first_entry_of_its_own_term() -> None:
    a, _ = leader()
    take_snapshot(a)
    assert a.raft.log.term_at(6) is None
    a.propose(b"y")
    a.receive(append_accepted("b", 2, 8))
    assert (a.raft.role, a.raft.commit_index) == (Role.LEADER, 8)


def test_a_demoted_follower_that_was_offered_a_snapshot_begins_anew() -> None:
    """It lost its disk; and a late word of an install before that does not keep it from another."""
    a, snapshot = offering()
    a.receive(offer_answered("c", 2, snapshot.index))
    a.raft.demote("c", "new")
    a.receive(offer_answered("c", 2, snapshot.index))
    assert a.raft.matched()["c"] == 6
    a.receive(append_refused("c", 2, of(a, "c").next_index - 1, (1, 0)))
    assert a.raft.matched()["c"] == 0
    assert [message.snapshot for message in offers(a.tick(HEARTBEAT_TICKS), "c")] == [snapshot]


@pytest.mark.parametrize(
    "answer",
    [offer_answered("c", 2, 7), offer_answered("c", 2, 7, installed=False), offer_answered("c", 2, 6, 1)],
)
def test_an_answer_to_an_offer_that_was_never_made_is_refused(answer: RaftMessage) -> None:
    a, _ = offering()
    a.raft.read(1)
    refusal = a.raft.step(answer)
    assert refusal is not None
    assert refusal.violation is Violation.NEVER_SENT
    assert (a.raft.matched()["c"], of(a, "c").recently_active) == (0, True)


def test_an_answer_to_an_offer_of_an_older_term_is_ignored() -> None:
    a, snapshot = offering()
    a.network.step_down("a")
    a.lead()
    a.receive(offer_answered("c", 2, snapshot.index))
    assert a.raft.matched()["c"] == 0


def test_a_snapshot_of_what_is_not_applied_or_with_a_gap_after_it_is_a_mistake() -> None:
    a, snapshot = leader()
    with pytest.raises(AssertionError):
        a.raft.snapshot_taken(snapshot, snapshot.index + 2)
    ahead = Snapshot(
        index=7, term=1, time_us=9, size_bytes=0, sha256="", chain_hash="", membership=b"", cluster_id=""
    )
    with pytest.raises(AssertionError):
        a.raft.snapshot_taken(ahead, 7)


def test_conflicting_entries_behind_a_cut_log_are_found() -> None:
    """A follower's run of a lost term goes back beyond the leader's start: what it needs was cut."""
    theirs = (1, 1, 1, 3, 3, 3)
    network = Network("abc", logs={"a": theirs, "b": theirs, "c": (1, 1, 2, 2, 2, 2, 2)}, down="c")
    network.elect("a")
    network.submit("a", b"x")
    network.deliver()
    network.take_snapshot("a", kept=3)
    assert network["a"].log.start.index == 5
    network.restart("c")
    network.pass_time(4 * HEARTBEAT_TICKS)
    assert network.converged()
    assert network.servers["c"].store.start.index == 8
