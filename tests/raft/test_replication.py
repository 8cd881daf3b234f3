"""Log replication: sections 5.3 and 5.4 of the paper, batches and pipeline of the thesis (10.2)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from atm.raft.messages import AppendEntries, AppendEntriesResponse, HardState
from atm.raft.rejection import Violation
from tests.raft.network import EFFECTS, HEARTBEAT_TICKS, Network
from tests.raft.single import (
    Single,
    append,
    append_accepted,
    append_refused,
    appends,
    entries_after,
    messages_after_sync,
)


def entries_sent(sent: list[AppendEntries]) -> list[int]:
    return [entry.index for message in sent for entry in message.entries]


# -- what a follower does with an append (Figure 2, AppendEntries) -----------------------------------


@pytest.mark.parametrize(
    ("log", "prev", "terms", "success", "after"),
    [
        ((), (0, 0), (), True, []),
        ((), (0, 0), (4, 4), True, [4, 4]),
        ((1, 2), (2, 2), (4,), True, [1, 2, 4]),
        ((1, 2), (2, 3), (4,), False, [1, 2]),
        ((1, 2), (3, 2), (4,), False, [1, 2]),
        ((1, 2, 3), (1, 1), (2, 3), True, [1, 2, 3]),
        ((1, 2, 3), (1, 1), (2,), True, [1, 2, 3]),
        ((1, 2, 3), (1, 1), (4,), True, [1, 4]),
        ((1, 2, 2, 3), (1, 1), (2, 4), True, [1, 2, 4]),
        ((1, 2, 3), (0, 0), (), True, [1, 2, 3]),
        ((1, 2, 3), (0, 0), (4,), True, [4]),
    ],
)
def test_a_follower_appends_what_continues_its_log(
    log: tuple[int, ...], prev: tuple[int, int], terms: tuple[int, ...], success: bool, after: list[int]
) -> None:
    a = Single(log=log, term=4)
    (answer,) = messages_after_sync(a.receive(append("b", 4, prev, terms)))
    assert (answer.success, a.server.log_terms) == (success, after)
    assert answer.match_index == prev[0] + (len(terms) if success else 0)


def test_a_follower_agrees_with_each_log_of_figure_7() -> None:
    leader = (1, 1, 1, 4, 4, 5, 5, 6, 6, 6)
    followers = {
        "b": leader[:9],
        "c": leader[:4],
        "d": (*leader, 6),
        "e": (*leader, 7, 7),
        "f": (1, 1, 1, 4, 4, 4, 4),
        "g": (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
    }
    network = Network("abcdefg", logs={"a": leader, **followers}, hard_states={"a": HardState(term=7)})
    network.elect("a")
    network.pass_time(5 * HEARTBEAT_TICKS)
    assert all(server.log_terms == [*leader, 8] for server in network.servers.values())
    assert network.converged()


@pytest.mark.parametrize("effect", EFFECTS)
def test_an_acknowledged_entry_outlives_a_crash(effect: str) -> None:
    """Whatever the server had sent when it crashed, it has kept."""
    a = Single(term=1)
    a.server.crash_before = effect
    answers = messages_after_sync(a.receive(append("b", 1, (0, 0), (1, 1))))
    if answers:
        assert a.server.log_terms == [1, 1]
    a.network.restart("a")
    assert a.raft.last_index == len(a.server.log_terms)


def test_an_old_append_that_comes_again_changes_nothing() -> None:
    """Scenario 20: delivered again and out of order; nothing is truncated, nothing doubled."""
    a = Single(term=1)
    messages = [append("b", 1, (i, 1 if i else 0), (1, 1)) for i in range(0, 6, 2)]
    a.receive(*messages)
    for message in [*reversed(messages), *messages]:
        (answer,) = messages_after_sync(a.receive(message))
        assert answer.match_index == message.prev_log_index + 2
        assert a.server.log_terms == [1] * 6


@pytest.mark.parametrize(
    "impossible",
    [
        append("b", 3, prev=(0, 1)),
        append("b", 3, prev=(2, 0)),
        append("b", 3, prev=(2, 2), terms=(3, 2)),
        append("b", 3, prev=(2, 2), terms=(1,)),
        append("b", 3, prev=(2, 2), terms=(4,)),
        append("b", 2, prev=(2, 3)),
        replace(append("b", 3, prev=(2, 2)), entries=entries_after(3, (3,))),
        replace(append("b", 3, prev=(2, 2)), entries=(*entries_after(2, (3,)), *entries_after(4, (3,)))),
    ],
    ids=repr,
)
def test_an_append_that_no_leader_can_send_is_neither_applied_nor_answered(impossible: AppendEntries) -> None:
    """Indexes have no gap, terms never fall, and only the empty log has term 0."""
    follower = Single(log=(1, 2), term=2)
    assert not messages_after_sync(follower.receive(impossible))
    assert [entry.term for entry in follower.raft.log.slice(1, follower.raft.last_index)] == [1, 2]


def test_appends_that_overtake_each_other_leave_no_gap() -> None:
    a = Single(term=1)
    (refused,) = messages_after_sync(a.receive(append("b", 1, (2, 1), (1, 1))))
    assert (refused.success, a.server.log_terms) == (False, [])
    a.receive(append("b", 1, (0, 0), (1, 1)), append("b", 1, (2, 1), (1, 1)))
    assert a.server.log_terms == [1] * 4


def test_a_heartbeat_never_truncates() -> None:
    """Scenario 21: an append without entries, whatever it matches, drops nothing."""
    a = Single(log=(1, 1, 2, 2))
    for prev in ((0, 0), (1, 1), (2, 1), (3, 2), (3, 1), (9, 9)):
        a.receive(append("b", 3, prev))
        assert a.server.log_terms == [1, 1, 2, 2]


def test_a_heartbeat_that_matches_early_commits_no_divergent_tail() -> None:
    """Scenario 18: commit is clamped to what the append covers."""
    a = Single(log=(1, 1, 2, 2))
    a.receive(append("b", 3, (2, 1), (), commit=4))
    assert a.raft.commit_index == 2
    assert len(a.server.applied) == 2
    a.receive(append("b", 3, (2, 1), (3, 3), commit=3))
    assert a.raft.commit_index == 3
    assert [entry.term for entry in a.server.applied] == [1, 1, 3]


def test_a_refused_append_commits_nothing() -> None:
    """The ancestors moved the commit index before they looked at the log."""
    a = Single(log=(1, 1, 2, 2))
    a.receive(append("b", 3, (4, 3), (3,), commit=4))
    assert a.raft.commit_index == 0


def test_the_commit_index_never_goes_back() -> None:
    a = Single(log=(1, 1, 1))
    a.receive(append("b", 1, (3, 1), (), commit=3))
    a.receive(append("b", 1, (3, 1), (), commit=1), append("b", 1, (0, 0), (), commit=0))
    assert a.raft.commit_index == 3


def test_the_commit_index_does_not_grow_with_what_is_received() -> None:
    a = Single(term=1)
    a.receive(append("b", 1, (0, 0), (1, 1, 1), commit=1))
    assert a.raft.commit_index == 1


@pytest.mark.parametrize("sent", [0, 1, 2])
def test_a_follower_acknowledges_what_was_sent_and_not_its_own_last_index(sent: int) -> None:
    """Scenario 19: the follower's log is longer, and what follows need not be the leader's."""
    a = Single(log=(1, 1, 1, 2, 2), term=3)
    (answer,) = messages_after_sync(a.receive(append("b", 3, (1, 1), (1,) * sent)))
    assert (answer.success, answer.match_index) == (True, 1 + sent)


def test_a_conflict_with_a_committed_entry_is_rejected_and_reported() -> None:
    """Scenario 22: no correct leader sends it; nothing is cut, nothing promised, and it is reported."""
    a = Single(log=(1, 1, 1), commit_index=2)
    for _ in range(2):
        refusal = a.raft.step(append("b", 2, (1, 1), (2,)))
        assert refusal is not None
        assert refusal.violation is Violation.COMMITTED
        assert "entry 2 of term 2 conflicts with a committed entry of term 1" in refusal.what
    assert messages_after_sync(a.receive()) == []
    assert a.server.log_terms == [1, 1, 1]
    b = Single(log=(1, 1, 1), commit_index=2)
    b.receive(append("b", 2, (2, 1), (2,)))
    assert b.server.log_terms == [1, 1, 2]


# -- what a leader does with an answer (Figure 2, leaders) -------------------------------------------


def test_an_acknowledgement_of_an_older_term_is_ignored() -> None:
    """Scenario 23: it is about a log that may have been replaced."""
    a = Single(log=(1, 1), term=3)
    a.lead()
    a.receive(append_accepted("b", 3, 3), append_accepted("c", 1, 3), append_refused("c", 3, 2))
    assert a.raft.matched() == {"b": 0, "c": 0}
    assert a.raft.commit_index == 0
    a.receive(append_accepted("b", 4, 3))
    assert a.raft.commit_index == 3


def test_acknowledgements_of_a_lost_leadership_do_not_commit_in_the_next() -> None:
    """The same server leads again in a later term, and an answer to its first leadership arrives."""
    network = Network("abcde")
    network.elect("a")
    network.submit("a", b"x")
    network.take_in_flight(AppendEntries)
    network.submit("a", b"y")
    network.deliver()
    late = [
        AppendEntriesResponse(
            sender=s, term=1, success=True, match_index=3, conflict_index=0, conflict_term=0, round=0
        )
        for s in "bcde"
    ]
    network.step_down("a")
    network.isolate("a")
    network.heal()
    network.elect("b")
    network.elect("a")
    before = network["a"].matched()
    for message in late:
        network.inject("a", message)
    assert network["a"].matched() == before


def test_a_late_rejection_never_lowers_what_matched() -> None:
    """Scenario 24: next_index stays above match_index; the next append starts there."""
    a = Single(log=(1, 1, 1, 1))
    a.lead()
    a.receive(append_accepted("b", 2, 5))
    for refused_index in (5, 4, 1, 0):
        a.receive(append_refused("b", 2, refused_index, (1, 0)))
    a.propose(b"x")
    a.receive(append_refused("b", 2, 6, (1, 0)))
    a.propose(b"y")
    sent = appends(a.tick(HEARTBEAT_TICKS), to="b")
    assert sent
    assert all(message.prev_log_index >= 5 for message in sent)
    assert a.raft.matched()["b"] == 5


def test_a_late_acknowledgement_never_lowers_what_matched() -> None:
    a = Single(log=(1, 1, 1, 1))
    a.lead()
    a.receive(append_accepted("b", 2, 5), append_accepted("b", 2, 2), append_accepted("b", 2, 0))
    assert a.raft.matched()["b"] == 5


def test_a_senseless_answer_changes_nothing_that_holds() -> None:
    """Hints of 0, beyond the end, or of unknown terms; an acknowledgement of what was never sent."""
    a = Single(log=(1, 1, 2))
    a.lead()
    for refused_index in (3, 2, 1, 0, 99):
        for conflict in ((0, 0), (99, 0), (1, 9), (99, 2), (-5, 0)):
            a.receive(append_refused("b", 3, refused_index, conflict))
    a.receive(append_accepted("b", 3, 99), append_accepted("c", 3, 99))
    assert a.raft.commit_index == 0
    sent = appends(a.tick(HEARTBEAT_TICKS))
    assert all(0 <= message.prev_log_index <= a.raft.last_index for message in sent)


def test_what_was_acknowledged_is_not_sent_again() -> None:
    a = Single()
    a.lead()
    a.receive(append_accepted("b", 1, 1), append_accepted("c", 1, 1))
    a.propose(b"x")
    a.receive(append_accepted("b", 1, 2), append_accepted("c", 1, 2))
    assert entries_sent(appends(a.tick(10 * HEARTBEAT_TICKS))) == []


@pytest.mark.parametrize(("run", "rounds_max"), [(1, 12), (5, 8), (30, 6)])
def test_a_far_conflict_is_found_in_one_round_a_term(run: int, rounds_max: int) -> None:
    """Scenario 25: hundreds of conflicting entries; the leader goes back by terms, not by entries."""
    common = (1,) * 50
    mine = (*common, *(term for term in range(2, 5) for _ in range(100)))
    theirs = (*common, *(5 + position // run for position in range(4 * run)), *(20,) * 200)
    network = Network("abc", logs={"a": (*mine, 30), "b": theirs, "c": (*mine, 30)}, batch_entries_max=1000)
    network.elect("a")
    refusals = [
        envelope
        for envelope in network.delivered
        if isinstance(envelope.message, AppendEntriesResponse) and not envelope.message.success
    ]
    network.pass_time(HEARTBEAT_TICKS)
    assert network.converged()
    assert len(refusals) <= rounds_max


def test_the_refusal_hints_at_the_start_of_the_conflicting_term() -> None:
    a = Single(log=(1, 2, 2, 2, 3), term=4)
    (answer,) = messages_after_sync(a.receive(append("b", 4, (4, 3))))
    assert (answer.match_index, answer.conflict_index, answer.conflict_term) == (4, 2, 2)
    (answer,) = messages_after_sync(a.receive(append("b", 4, (9, 3))))
    assert (answer.match_index, answer.conflict_index, answer.conflict_term) == (9, 6, 0)


def test_the_refusal_never_hints_at_what_is_committed() -> None:
    a = Single(log=(1, 1, 2, 2), commit_index=3)
    (answer,) = messages_after_sync(a.receive(append("b", 5, (4, 4))))
    assert (answer.match_index, answer.conflict_index, answer.conflict_term) == (4, 4, 2)
