"""Log replication: sections 5.3 and 5.4 of the paper, batches and pipeline of the thesis (10.2)."""

from __future__ import annotations

import pytest

from atm.raft.errors import EntryTooLarge, NotLeader, SafetyViolated
from atm.raft.messages import AppendEntries, AppendEntriesResponse, HardState
from atm.raft.ready import Role
from tests.raft.network import EFFECTS, ELECTION_TICKS_MAX, HEARTBEAT_TICKS, Network
from tests.raft.single import (
    Single,
    acknowledge,
    append,
    appends,
    ask,
    behind,
    grant,
    refuse,
    reject,
    responses,
)


def entries_sent(sent: list[AppendEntries]) -> list[int]:
    return [entry.index for message in sent for entry in message.entries]


# -- what a follower does with an append (Figure 2, AppendEntries) --------------------------------------------


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
def test_a_follower_takes_what_follows_on_its_log(
    log: tuple[int, ...], prev: tuple[int, int], terms: tuple[int, ...], success: bool, after: list[int]
) -> None:
    a = Single(log=log, term=4)
    (answer,) = responses(a.receive(append("b", 4, prev, terms)))
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
    """Whatever the server had sent when it died, it keeps."""
    a = Single(term=1)
    a.server.crash_before = effect
    answers = responses(a.receive(append("b", 1, (0, 0), (1, 1))))
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
        (answer,) = responses(a.receive(message))
        assert answer.match_index == message.prev_log_index + 2
        assert a.server.log_terms == [1] * 6


def test_appends_that_overtake_each_other_leave_no_gap() -> None:
    a = Single(term=1)
    (refused,) = responses(a.receive(append("b", 1, (2, 1), (1, 1))))
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
    """Scenario 19: the follower's log is longer, and what is behind need not be the leader's."""
    a = Single(log=(1, 1, 1, 2, 2), term=3)
    (answer,) = responses(a.receive(append("b", 3, (1, 1), (1,) * sent)))
    assert (answer.success, answer.match_index) == (True, 1 + sent)


def test_a_conflict_with_a_committed_entry_stops_the_server() -> None:
    """Scenario 22: that state cannot be legal; nothing is cut, and the server says so loudly."""
    a = Single(log=(1, 1, 1), commit_index=2)
    with pytest.raises(SafetyViolated):
        a.receive(append("b", 2, (1, 1), (2,)))
    assert a.server.log_terms == [1, 1, 1]
    b = Single(log=(1, 1, 1), commit_index=2)
    b.receive(append("b", 2, (2, 1), (2,)))
    assert b.server.log_terms == [1, 1, 2]


# -- what a leader believes (Figure 2, leaders) ---------------------------------------------------------------


def test_an_acknowledgement_of_an_older_term_is_ignored() -> None:
    """Scenario 23: it speaks of a log that may have been replaced."""
    a = Single(log=(1, 1), term=3)
    a.lead()
    a.receive(acknowledge("b", 3, 3), acknowledge("c", 1, 3), reject("c", 3, 2))
    assert a.raft.matched() == {"b": 0, "c": 0}
    assert a.raft.commit_index == 0
    a.receive(acknowledge("b", 4, 3))
    assert a.raft.commit_index == 3


def test_acknowledgements_of_a_lost_leadership_do_not_commit_in_the_next() -> None:
    """The same server leads again in a later term, and an answer to its first leadership arrives."""
    network = Network("abcde")
    network.elect("a")
    network.submit("a", b"x")
    network.take(AppendEntries)
    network.submit("a", b"y")
    network.deliver()
    late = [AppendEntriesResponse(sender=s, term=1, success=True, match_index=3, conflict_index=0, conflict_term=0, round=0) for s in "bcde"]
    network.step_down("a")
    network.isolate("a")
    network.heal()
    network.elect("b")
    network.elect("a")
    before = network["a"].matched()
    for message in late:
        network.post("a", message)
    assert network["a"].matched() == before


def test_a_late_rejection_never_lowers_what_matched() -> None:
    """Scenario 24: next_index stays above match_index; the next append starts there."""
    a = Single(log=(1, 1, 1, 1))
    a.lead()
    a.receive(acknowledge("b", 2, 5))
    for refused_index in (5, 4, 1, 0):
        a.receive(reject("b", 2, refused_index, (1, 0)))
    a.propose(b"x")
    a.receive(reject("b", 2, 6, (1, 0)))
    a.propose(b"y")
    sent = appends(a.tick(HEARTBEAT_TICKS), to="b")
    assert sent
    assert all(message.prev_log_index >= 5 for message in sent)
    assert a.raft.matched()["b"] == 5


def test_a_late_acknowledgement_never_lowers_what_matched() -> None:
    a = Single(log=(1, 1, 1, 1))
    a.lead()
    a.receive(acknowledge("b", 2, 5), acknowledge("b", 2, 2), acknowledge("b", 2, 0))
    assert a.raft.matched()["b"] == 5


def test_a_senseless_answer_is_survived() -> None:
    """Hints of 0, beyond the end, or of unknown terms; an acknowledgement of what was never sent."""
    a = Single(log=(1, 1, 2))
    a.lead()
    for refused_index in (3, 2, 1, 0, 99):
        for conflict in ((0, 0), (99, 0), (1, 9), (99, 2), (-5, 0)):
            a.receive(reject("b", 3, refused_index, conflict))
    a.receive(acknowledge("b", 3, 99), acknowledge("c", 3, 99))
    assert a.raft.commit_index == 0
    sent = appends(a.tick(HEARTBEAT_TICKS))
    assert all(0 <= message.prev_log_index <= a.raft.last_index for message in sent)


def test_what_was_acknowledged_is_not_sent_again() -> None:
    a = Single()
    a.lead()
    a.receive(acknowledge("b", 1, 1), acknowledge("c", 1, 1))
    a.propose(b"x")
    a.receive(acknowledge("b", 1, 2), acknowledge("c", 1, 2))
    assert entries_sent(appends(a.tick(10 * HEARTBEAT_TICKS))) == []


@pytest.mark.parametrize(("run", "rounds_max"), [(1, 12), (5, 8), (30, 6)])
def test_a_far_conflict_is_found_in_one_round_a_term(run: int, rounds_max: int) -> None:
    """Scenario 25: a follower with hundreds of conflicting entries; back-up is by terms, not by entries."""
    common = (1,) * 50
    mine = (*common, *(term for term in range(2, 5) for _ in range(100)))
    theirs = (*common, *(5 + position // run for position in range(4 * run)), *(20,) * 200)
    network = Network("abc", logs={"a": (*mine, 30), "b": theirs, "c": (*mine, 30)}, batch_entries_max=1000)
    network.elect("a")
    refusals = [
        letter
        for letter in network.delivered
        if isinstance(letter.message, AppendEntriesResponse) and not letter.message.success
    ]
    network.pass_time(HEARTBEAT_TICKS)
    assert network.converged()
    assert len(refusals) <= rounds_max


def test_the_refusal_hints_at_the_start_of_the_conflicting_term() -> None:
    a = Single(log=(1, 2, 2, 2, 3), term=4)
    (answer,) = responses(a.receive(append("b", 4, (4, 3))))
    assert (answer.match_index, answer.conflict_index, answer.conflict_term) == (4, 2, 2)
    (answer,) = responses(a.receive(append("b", 4, (9, 3))))
    assert (answer.match_index, answer.conflict_index, answer.conflict_term) == (9, 6, 0)


# -- a wiped disk ---------------------------------------------------------------------------------------------


def test_a_server_with_a_wiped_disk_is_not_counted_but_catches_up() -> None:
    """Scenario 26: no endless loop, no quiet vote; its acknowledgements commit nothing."""
    network = Network("abc")
    network.elect("a")
    network.submit("a", b"x")
    network.pass_time(HEARTBEAT_TICKS)
    network.crash("c")
    network.wipe("c")
    for name in "ab":
        network[name].demote("c")
    network.restart("c")
    network.pass_time(3 * HEARTBEAT_TICKS)
    assert network.servers["c"].commands == [b"x"]
    network.isolate("b")
    commit_index = network["a"].commit_index
    network.submit("a", b"y")
    network.deliver()
    assert network["a"].commit_index == commit_index
    network.pass_time(5 * ELECTION_TICKS_MAX)
    assert network.leader() is None, "a leader and a learner are no majority of three"
    assert network["a"].term == network["b"].term
    network.heal()
    network.pass_time(5 * ELECTION_TICKS_MAX)
    assert network.leader() in ("a", "b")


def test_the_vote_of_a_server_with_a_wiped_disk_is_not_counted() -> None:
    a = Single()
    a.raft.demote("c")
    a.campaign()
    a.receive(grant("c", 1))
    assert a.raft.role is Role.CANDIDATE
    a.receive(grant("b", 1))
    assert a.raft.role is Role.LEADER


def test_a_server_with_a_wiped_disk_gets_no_vote() -> None:
    a = Single()
    a.raft.demote("c")
    assert [o for o in a.receive(ask("c", 5, (4, 4))) if o.to == "c" and getattr(o.message, "granted", False)] == []


def test_a_late_acknowledgement_from_before_the_wipe_does_not_stop_the_catch_up() -> None:
    """It was sent by the disk that is gone; the leader must go back to where the new one begins."""
    network = Network("abc")
    network.elect("a")
    network.submit("a", b"x")
    late = acknowledge("c", 1, 2)
    network.pass_time(HEARTBEAT_TICKS)
    network.crash("c")
    network.wipe("c")
    for name in "ab":
        network[name].demote("c")
    network.post("a", late)
    network.restart("c")
    network.pass_time(10 * HEARTBEAT_TICKS)
    assert network.servers["c"].commands == [b"x"]


# -- committing (5.4.2) ---------------------------------------------------------------------------------------


def test_an_older_term_is_not_committed_by_counting() -> None:
    """Scenario 17: Figure 8, from its moment (c): term 2 is on a majority, and yet not committed."""
    a = Single("abcde", log=(1, 2), term=3)
    a.lead()
    a.receive(acknowledge("b", 4, 2), acknowledge("c", 4, 2))
    assert a.raft.commit_index == 0
    a.receive(acknowledge("b", 4, 3))
    assert a.raft.commit_index == 0
    a.receive(acknowledge("c", 4, 3))
    assert a.raft.commit_index == 3


def test_figure_8_as_a_story() -> None:
    """All five moments, with the no-ops that the paper's picture leaves out."""
    network = Network("abcde", batch_entries_max=1)
    network.elect("a")
    network.pass_time(HEARTBEAT_TICKS)
    for name in "cde":
        network.cut("a", name)
    network.submit("a", b"two")  # (a) on a and b alone
    network.deliver()
    network.crash("a")
    network.heal()
    network.drops = lambda letter: isinstance(letter.message, AppendEntries)
    network.elect("e")  # (b) e leads by the votes of c, d and itself; its entry stays at home
    network.crash("e")
    network.restart("a")
    network.drops = lambda letter: isinstance(letter.message, AppendEntries) and letter.to not in "c"
    network.elect("a")  # (c) the entry of term 1 reaches c, and with it a majority
    network.drops = lambda letter: isinstance(letter.message, AppendEntries) and any(
        entry.term == network["a"].term for entry in letter.message.entries
    )
    network.pass_time(HEARTBEAT_TICKS)
    holders = [name for name in "abc" if network.servers[name].store.term_at(2) == 1]
    assert holders == ["a", "b", "c"]
    assert network["a"].commit_index == 1
    network.crash("a")
    network.restart("e")
    network.heal()
    network.elect("e")  # (d) e may still win, and its entry replaces the other everywhere
    network.restart("a")
    network.pass_time(3 * HEARTBEAT_TICKS)
    assert network.converged()
    assert all(b"two" not in server.commands for server in network.servers.values())


def test_a_new_leader_commits_what_its_predecessor_left() -> None:
    """Scenario 27: by its own no-op, with no client around."""
    network = Network("abc", logs={"a": (1, 1, 2), "b": (1, 1, 2), "c": (1, 1)})
    network.elect("b")
    network.pass_time(HEARTBEAT_TICKS)
    assert network["b"].commit_index == 4
    assert network.servers["b"].store.entries[-1].command == b""
    assert network.converged()


def test_a_leader_does_not_commit_past_what_a_majority_holds() -> None:
    a = Single("abcde")
    a.lead()
    a.propose(b"x", b"y", b"z")
    a.receive(acknowledge("b", 1, 4), acknowledge("c", 1, 2), acknowledge("d", 1, 1))
    assert a.raft.commit_index == 2
    a.receive(acknowledge("e", 1, 3))
    assert a.raft.commit_index == 3


def test_a_leader_counts_itself_only_once_it_has_saved() -> None:
    """It replicates while its disk syncs (thesis 10.2.1), but its own copy counts like any other."""
    a = Single()
    a.lead()
    a.receive(acknowledge("b", 1, 1))
    a.raft.propose([b"x"], 0)
    ready = a.raft.ready()
    assert ready is not None
    assert [entry.command for out in ready.messages for entry in appends([out])[0].entries] == [b"x"]
    a.raft.step(acknowledge("b", 1, 2))
    assert a.raft.commit_index == 1
    a.raft.advance(ready)
    assert a.raft.commit_index == 2


def test_an_advance_that_is_too_late_does_not_vouch_for_a_replaced_suffix() -> None:
    """Index and term: what was saved is no longer what the log holds."""
    a = Single()
    a.lead()
    a.raft.propose([b"x"], 0)
    ready = a.raft.ready()
    assert ready is not None
    a.raft.step(append("b", 2, (1, 1), (2, 2)))
    a.raft.advance(ready)
    assert a.raft.saved_index == 1
    after = a.raft.ready()
    assert after is not None
    assert [(entry.index, entry.term) for entry in after.entries] == [(2, 2), (3, 2)]


def test_the_order_of_effects_is_kept_by_what_is_in_which_field() -> None:
    """Promises are in `responses`, never in `messages`, which leave before the disk has them."""
    a = Single()
    a.raft.step(ask("b", 1))
    ready = a.raft.ready()
    assert ready is not None
    assert (ready.messages, len(ready.responses)) == ((), 1)
    a.raft.advance(ready)
    a.raft.step(append("b", 1, (0, 0), (1,)))
    ready = a.raft.ready()
    assert ready is not None
    assert (ready.messages, len(ready.responses)) == ((), 1)


# -- slow followers, batches, limits --------------------------------------------------------------------------


def test_a_stuck_follower_fills_its_window_and_nobody_else_notices() -> None:
    """Scenario 28: its window fills and stops; it catches up later."""
    network = Network("abc", batch_entries_max=2, window_batches=3)
    network.elect("a")
    network.isolate("c")
    network.pass_time(HEARTBEAT_TICKS)
    network.heal()
    network.drops = lambda letter: "c" in (letter.to, letter.sender)
    sent_to_c = 0
    for number in range(50):
        network.submit("a", b"%d" % number)
        sent_to_c += sum(len(x.message.entries) for x in network.in_flight if x.to == "c" and isinstance(x.message, AppendEntries))
        network.deliver()
    assert sent_to_c <= 2 * 3
    assert len(network.servers["a"].commands) == 50
    network.heal()
    network.pass_time(10 * HEARTBEAT_TICKS)
    assert len(network.servers["c"].commands) == 50


def test_the_pipeline_does_not_wait_for_answers() -> None:
    a = Single("abc", batch_entries_max=1, window_batches=4)
    a.lead()
    a.receive(acknowledge("b", 1, 1))
    sent = appends(a.propose(*[b"x"] * 10), to="b")
    assert entries_sent(sent) == [2, 3, 4, 5]
    assert entries_sent(appends(a.receive(acknowledge("b", 1, 3)), to="b")) == [6, 7]


def test_a_follower_behind_the_memory_is_served_from_the_disk() -> None:
    network = Network("abc", memory_bytes_max=2_000, batch_entries_max=7)
    network.elect("a")
    network.isolate("c")
    for number in range(100):
        network.submit("a", b"%d" % number)
        network.deliver()
    assert network["a"].log.base_index > 50
    network.heal()
    network.pass_time(20 * HEARTBEAT_TICKS)
    assert len(network.servers["c"].commands) == 100
    assert network.converged()


@pytest.mark.parametrize("batch", [1, 3, 512])
def test_batches_of_any_size_carry_the_same_log(batch: int) -> None:
    network = Network("abc", batch_entries_max=batch)
    network.elect("a")
    network.isolate("c")
    for number in range(20):
        network.submit("a", b"%d" % number)
        network.deliver()
    network.heal()
    network.pass_time(10 * HEARTBEAT_TICKS)
    assert network.converged()
    sizes = {len(x.message.entries) for x in network.delivered if isinstance(x.message, AppendEntries)}
    assert max(sizes) <= batch


def test_an_append_is_bounded_in_bytes() -> None:
    a = Single(batch_bytes_max=10_000, entry_bytes_max=4_000)
    a.lead()
    a.receive(acknowledge("b", 1, 1))
    sent = appends(a.propose(*[b"x" * 3_000] * 9), to="b")
    assert all(sum(len(entry.command) for entry in message.entries) <= 10_000 for message in sent)


def test_an_entry_over_the_limit_is_refused_when_proposed() -> None:
    """Scenario 29: with a clear error, and none of the batch is taken."""
    network = Network("abc", entry_bytes_max=100)
    network.elect("a")
    last_index = network["a"].last_index
    with pytest.raises(EntryTooLarge, match="101 bytes is over the limit of 100"):
        network.submit("a", b"fits", b"x" * 101)
    assert network["a"].last_index == last_index
    network.submit("a", b"x" * 100)
    network.pass_time(HEARTBEAT_TICKS)
    assert network.servers["c"].commands == [b"x" * 100]


# -- stepping down --------------------------------------------------------------------------------------------


def test_nothing_of_the_old_role_fires_after_stepping_down() -> None:
    """Scenario 30: no heartbeat, no replication, no commit, no proposal, no read of the former leader."""
    a = Single("abcde")
    a.lead()
    a.propose(b"x")
    a.raft.read(1)
    a.receive(append("b", 2))
    assert a.server.dropped_reads == [1]
    a.receive(acknowledge("b", 1, 2), acknowledge("c", 1, 2), acknowledge("d", 2, 2), acknowledge("e", 2, 2))
    a.receive(reject("c", 2, 2))
    assert a.raft.commit_index == 0
    assert a.raft.matched() == {}
    for _ in range(4):
        assert appends(a.tick(HEARTBEAT_TICKS)) == []
    with pytest.raises(NotLeader) as refused:
        a.propose(b"y")
    assert refused.value.leader == "b"
    with pytest.raises(NotLeader):
        a.raft.read(2)


def test_votes_that_arrive_after_the_campaign_change_nothing() -> None:
    a = Single("abcde")
    a.campaign()
    a.receive(append("b", 1))
    a.receive(grant("c", 1), grant("d", 1), grant("e", 1))
    assert a.raft.role is Role.FOLLOWER
    b = Single("abcde")
    b.lead()
    b.receive(grant("d", 1), refuse("e", 1))
    assert b.raft.role is Role.LEADER
    assert b.raft.last_index == 1, "a second no-op would mean a second start of the term"


# -- clients (38) ---------------------------------------------------------------------------------------------


def test_an_index_that_another_leader_fills_is_told_by_its_term() -> None:
    """Scenario 38: a leader is replaced before its entry committed, another entry commits at that index."""
    network = Network("abc")
    term = network.elect("a")
    network.pass_time(HEARTBEAT_TICKS)
    network.isolate("a")
    index = network.submit("a", b"mine")
    network.elect("b")
    network.deliver()
    network.heal()
    network.pass_time(3 * HEARTBEAT_TICKS)
    applied = network.servers["a"].applied[index - 1]
    assert (applied.index, applied.term > term) == (index, True)
    assert b"mine" not in network.servers["a"].commands
    assert network.converged()


def test_a_restart_applies_nothing_twice_and_leaves_nothing_out() -> None:
    """The applied index counts, whatever the state machine had reached when the server died."""
    network = Network("abc")
    network.elect("a")
    for number in range(5):
        network.submit("a", b"%d" % number)
        network.pass_time(HEARTBEAT_TICKS)
    for applied_index in (6, 4, 0):
        network.crash("c")
        network.restart("c", applied_index=applied_index)
        network.pass_time(2 * HEARTBEAT_TICKS)
        assert network.servers["c"].commands == [b"0", b"1", b"2", b"3", b"4"]


def test_a_restart_with_a_commit_hint_applies_without_a_leader() -> None:
    a = Single(log=(1, 1, 1), commit_index=2)
    assert [entry.index for entry in a.server.applied] == [1, 2]


def test_entries_behind_a_position_are_numbered_on() -> None:
    """The harness itself."""
    assert [(e.index, e.term) for e in behind(3, (5, 6))] == [(4, 5), (5, 6)]
