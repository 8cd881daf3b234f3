"""When an entry is committed (section 5.4.2), and what clients may conclude from it."""

from __future__ import annotations

import pytest

from atm.raft.errors import NotLeader
from atm.raft.messages import AppendEntries
from atm.raft.ready import Role
from tests.raft.network import HEARTBEAT_TICKS, Network
from tests.raft.single import (
    Single,
    append,
    append_accepted,
    append_refused,
    appends,
    entries_after,
    vote_granted,
    vote_refused,
    vote_request,
)

# -- committing (5.4.2) ------------------------------------------------------------------------------


def test_an_older_term_is_not_committed_by_counting() -> None:
    """Scenario 17: Figure 8, from its state (c): term 2 is on a majority, and yet not committed."""
    a = Single("abcde", log=(1, 2), term=3)
    a.lead()
    a.receive(append_accepted("b", 4, 2), append_accepted("c", 4, 2))
    assert a.raft.commit_index == 0
    a.receive(append_accepted("b", 4, 3))
    assert a.raft.commit_index == 0
    a.receive(append_accepted("c", 4, 3))
    assert a.raft.commit_index == 3


def test_figure_8_as_a_story() -> None:
    """All five states, with the no-ops that the paper's picture leaves out."""
    network = Network("abcde", batch_entries_max=1)
    network.elect("a")
    network.pass_time(HEARTBEAT_TICKS)
    for name in "cde":
        network.cut("a", name)
    network.submit("a", b"two")  # (a) on a and b alone
    network.deliver()
    network.crash("a")
    network.heal()
    network.drops = lambda envelope: isinstance(envelope.message, AppendEntries)
    network.elect("e")  # (b) e leads by the votes of c, d and itself; its entry stays on its own disk
    network.crash("e")
    network.restart("a")
    network.drops = lambda envelope: isinstance(envelope.message, AppendEntries) and envelope.to not in "c"
    network.elect("a")  # (c) the entry of term 1 reaches c, and with it a majority
    network.drops = lambda envelope: (
        isinstance(envelope.message, AppendEntries)
        and any(entry.term == network["a"].term for entry in envelope.message.entries)
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
    """Scenario 27: by its own no-op, without a client."""
    network = Network("abc", logs={"a": (1, 1, 2), "b": (1, 1, 2), "c": (1, 1)})
    network.elect("b")
    network.pass_time(HEARTBEAT_TICKS)
    assert network["b"].commit_index == 4
    assert network.servers["b"].store.entries[-1].data == b""
    assert network.converged()


def test_a_leader_does_not_commit_past_what_a_majority_holds() -> None:
    a = Single("abcde")
    a.lead()
    a.propose(b"x", b"y", b"z")
    a.receive(append_accepted("b", 1, 4), append_accepted("c", 1, 2), append_accepted("d", 1, 1))
    assert a.raft.commit_index == 2
    a.receive(append_accepted("e", 1, 3))
    assert a.raft.commit_index == 3


def test_a_leader_counts_itself_only_once_it_has_saved() -> None:
    """It replicates while its disk syncs (thesis 10.2.1), but its own copy counts like any other."""
    a = Single()
    a.lead()
    a.receive(append_accepted("b", 1, 1))
    a.raft.propose([b"x"], 0)
    ready = a.raft.ready()
    assert ready is not None
    assert [entry.data for out in ready.messages for entry in appends([out])[0].entries] == [b"x"]
    a.raft.step(append_accepted("b", 1, 2))
    assert a.raft.commit_index == 1
    a.raft.advance(ready)
    assert a.raft.commit_index == 2


def test_a_late_advance_does_not_count_a_replaced_suffix_as_saved() -> None:
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


def test_promises_are_sent_only_after_the_sync() -> None:
    """Promises are in `messages_after_sync`, never in `messages`, which are sent before the sync."""
    a = Single()
    a.raft.step(vote_request("b", 1))
    ready = a.raft.ready()
    assert ready is not None
    assert (ready.messages, len(ready.messages_after_sync)) == ((), 1)
    a.raft.advance(ready)
    a.raft.step(append("b", 1, (0, 0), (1,)))
    ready = a.raft.ready()
    assert ready is not None
    assert (ready.messages, len(ready.messages_after_sync)) == ((), 1)


# -- stepping down -----------------------------------------------------------------------------------


def test_a_former_leader_no_longer_acts_as_one() -> None:
    """Scenario 30: no heartbeat, no replication, no commit, no proposal, no read of the former leader."""
    a = Single("abcde")
    a.lead()
    a.propose(b"x")
    a.raft.read(1)
    a.receive(append("b", 2))
    assert a.server.dropped_reads == [1]
    a.receive(
        append_accepted("b", 1, 2),
        append_accepted("c", 1, 2),
        append_accepted("d", 2, 2),
        append_accepted("e", 2, 2),
    )
    a.receive(append_refused("c", 2, 2))
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
    a.receive(vote_granted("c", 1), vote_granted("d", 1), vote_granted("e", 1))
    assert a.raft.role is Role.FOLLOWER
    b = Single("abcde")
    b.lead()
    b.receive(vote_granted("d", 1), vote_refused("e", 1))
    assert b.raft.role is Role.LEADER
    assert b.raft.last_index == 1, "a second no-op would mean a second start of the term"


# -- clients (38) ------------------------------------------------------------------------------------


def test_a_replaced_entry_is_recognised_by_its_term() -> None:
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


def test_hand_made_entries_continue_the_index() -> None:
    """The harness itself."""
    assert [(e.index, e.term) for e in entries_after(3, (5, 6))] == [(4, 5), (5, 6)]
