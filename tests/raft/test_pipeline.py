"""Batches, windows and limits (thesis 10.2), and servers that lag or have lost their disk."""

from __future__ import annotations

import pytest

from atm.raft.errors import EntryTooLarge
from atm.raft.messages import AppendEntries
from atm.raft.ready import Role
from tests.raft.network import ELECTION_TICKS_MAX, HEARTBEAT_TICKS, Network
from tests.raft.single import (
    Single,
    append,
    append_accepted,
    append_refused,
    appends,
    vote_granted,
    vote_request,
)


def entries_sent(sent: list[AppendEntries]) -> list[int]:
    return [entry.index for message in sent for entry in message.entries]


# -- slow followers, batches, limits -----------------------------------------------------------------


def test_a_stuck_follower_fills_its_window_and_delays_no_other() -> None:
    """Scenario 28: its window fills and stops; it catches up later."""
    network = Network("abc", batch_entries_max=2, window_batches=3)
    network.elect("a")
    network.isolate("c")
    network.pass_time(HEARTBEAT_TICKS)
    network.heal()
    network.drops = lambda envelope: "c" in (envelope.to, envelope.sender)
    sent_to_c = 0
    for number in range(50):
        network.submit("a", b"%d" % number)
        sent_to_c += sum(
            len(x.message.entries)
            for x in network.in_flight
            if x.to == "c" and isinstance(x.message, AppendEntries)
        )
        network.deliver()
    assert sent_to_c <= 2 * 3
    assert len(network.servers["a"].commands) == 50
    network.heal()
    network.pass_time(10 * HEARTBEAT_TICKS)
    assert len(network.servers["c"].commands) == 50


def test_the_pipeline_does_not_wait_for_answers() -> None:
    a = Single("abc", batch_entries_max=1, window_batches=4)
    a.lead()
    a.receive(append_accepted("b", 1, 1))
    sent = appends(a.propose(*[b"x"] * 10), to="b")
    assert entries_sent(sent) == [2, 3, 4, 5]
    assert entries_sent(appends(a.receive(append_accepted("b", 1, 3)), to="b")) == [6, 7]


def test_followers_with_one_next_index_get_the_same_message() -> None:
    a = Single("abcde", window_batches=1)
    a.lead()
    a.receive(*(append_accepted(name, 1, 1) for name in "bcde"))
    a.propose(b"x")
    a.receive(append_accepted("c", 1, 2), append_accepted("e", 1, 2))
    a.propose(b"y")
    for answer in (
        append_accepted("b", 1, 2),
        append_accepted("c", 1, 3),
        append_accepted("d", 1, 2),
        append_accepted("e", 1, 3),
    ):
        a.raft.step(answer)
    sent = a.propose(b"z")
    b, c, d, e = (message for name in "bcde" for message in appends(sent, to=name))
    assert (entries_sent([b]), entries_sent([c])) == ([3, 4], [4])
    assert b is d
    assert c is e


def test_a_follower_that_needs_evicted_entries_gets_them_from_the_disk() -> None:
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
    a.receive(append_accepted("b", 1, 1))
    sent = appends(a.propose(*[b"x" * 3_000] * 9), to="b")
    assert all(sum(len(entry.data) for entry in message.entries) <= 10_000 for message in sent)


def test_an_entry_over_the_limit_is_refused_when_proposed() -> None:
    """Scenario 29: with a clear error, and nothing of the batch is appended."""
    network = Network("abc", entry_bytes_max=100)
    network.elect("a")
    last_index = network["a"].last_index
    with pytest.raises(EntryTooLarge, match="101 bytes is over the limit of 100"):
        network.submit("a", b"fits", b"x" * 101)
    assert network["a"].last_index == last_index
    network.submit("a", b"x" * 100)
    network.pass_time(HEARTBEAT_TICKS)
    assert network.servers["c"].commands == [b"x" * 100]


# -- a wiped disk ------------------------------------------------------------------------------------


def test_a_server_with_a_wiped_disk_is_not_counted_but_catches_up() -> None:
    """Scenario 26: no endless loop, no quiet vote; its acknowledgements commit nothing."""
    network = Network("abc")
    network.elect("a")
    network.submit("a", b"x")
    network.pass_time(HEARTBEAT_TICKS)
    network.crash("c")
    network.wipe("c")
    for name in "ab":
        network[name].demote("c", "new")
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
    a.raft.demote("c", "new")
    a.campaign()
    a.receive(vote_granted("c", 1))
    assert a.raft.role is Role.CANDIDATE
    a.receive(vote_granted("b", 1))
    assert a.raft.role is Role.LEADER


def test_a_vote_of_a_server_that_is_demoted_later_does_not_count() -> None:
    a = Single("abcde")
    a.campaign()
    a.receive(vote_granted("b", 1))
    a.raft.demote("b", "new")
    a.receive(vote_granted("c", 1))
    assert a.raft.role is Role.CANDIDATE
    a.receive(vote_granted("d", 1))
    assert a.raft.role is Role.LEADER


def test_a_server_with_a_wiped_disk_gets_no_vote() -> None:
    a = Single()
    a.raft.demote("c", "new")
    assert [
        o
        for o in a.receive(vote_request("c", 5, (4, 4)))
        if o.to == "c" and getattr(o.message, "granted", False)
    ] == []


def test_a_late_acknowledgement_from_before_the_wipe_does_not_stop_the_catch_up() -> None:
    """It is from before the wipe; the leader must go back to the start of the new log."""
    network = Network("abc")
    network.elect("a")
    network.submit("a", b"x")
    late = append_accepted("c", 1, 2)
    network.pass_time(HEARTBEAT_TICKS)
    network.crash("c")
    network.wipe("c")
    for name in "ab":
        network[name].demote("c", "new")
    network.inject("a", late)
    network.restart("c")
    network.pass_time(10 * HEARTBEAT_TICKS)
    assert network.servers["c"].commands == [b"x"]


def test_a_server_with_a_wiped_disk_has_a_match_index_of_0() -> None:
    a = Single()
    a.lead()
    a.receive(append_accepted("b", 1, 1), append_accepted("c", 1, 1))
    a.raft.demote("c", "new")
    assert a.raft.matched() == {"b": 1, "c": 0}


def test_a_late_refusal_does_not_stop_the_pipeline() -> None:
    """The follower has accepted more than it refused before: nothing is sent again."""
    a = Single()
    a.lead()
    a.receive(append_accepted("b", 1, 1))
    a.propose(b"x")
    assert appends(a.receive(append_refused("b", 1, 0), append_refused("b", 1, 1)), "b") == []
    assert entries_sent(appends(a.propose(b"y"), "b")) == [3]


def test_followers_learn_of_each_commit_with_the_next_tick() -> None:
    """An idle leader sends an extra heartbeat, each time."""
    a = Single()
    a.lead()
    for index in range(1, 4):
        a.receive(append_accepted("b", 1, index), append_accepted("c", 1, index))
        assert a.raft.commit_index == index
        assert index in [append.leader_commit for append in appends(a.tick(2), "b")]
        a.propose(b"x")


def test_a_replicating_follower_that_needs_evicted_entries_is_probed_from_the_disk() -> None:
    """The window is emptied with the pipeline: how many entries a disk read sends is not known."""
    a = Single("abc", batch_entries_max=1, window_batches=2, memory_bytes_max=1_000)
    a.lead()
    a.receive(append_accepted("b", 1, 1), append_accepted("c", 1, 1))
    a.propose(*[b"x"] * 20)
    for index in range(2, 22):
        a.receive(append_accepted("b", 1, index))
    assert a.raft.log.base_index > 4, "c's next entry is only on the disk"
    assert entries_sent(appends(a.receive(append_accepted("c", 1, 2)), to="c")) == [4]
    assert entries_sent(appends(a.receive(append_accepted("c", 1, 4)), to="c")) == [5]


def test_a_follower_applies_committed_entries_together_and_a_leader_at_once() -> None:
    a = Single("abc", follower_apply_ticks=2, batch_entries_max=4)

    def applied_after(committed: int) -> int:
        a.receive(append("b", 1, prev=(committed - 1, min(1, committed - 1)), terms=[1], commit=committed))
        return a.raft.applied_index

    a.tick(2)
    assert applied_after(1) == 1, "after a quiet while at once"
    assert applied_after(2) == 1
    a.tick()
    assert applied_after(3) == 1
    a.tick()
    assert a.raft.applied_index == 3
    assert [applied_after(index) for index in (4, 5, 6, 7)] == [3, 3, 3, 7], "a full batch does not wait"
    leader = Single("a", follower_apply_ticks=1000)
    leader.lead()
    leader.propose(b"x")
    assert leader.raft.applied_index == 2


def test_one_ready_applies_a_bounded_number_of_bytes() -> None:
    a = Single("abc", log=[1] * 6, commit_index=0, apply_bytes_max=500)
    a.raft.step(append("b", 1, prev=(6, 1), commit=6))
    ready = a.raft.ready()
    assert ready is not None
    assert len(ready.committed) == 2
