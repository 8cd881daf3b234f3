"""Reads by ReadIndex (thesis 6.4): none is ever stale, whatever happens to the leader."""

from __future__ import annotations

import pytest

from atm.raft.errors import NotLeader
from atm.raft.messages import AppendEntries
from atm.raft.ready import Role
from tests.raft.network import ELECTION_TICKS_MAX, HEARTBEAT_TICKS, Network
from tests.raft.single import Single, append, append_accepted, append_refused, appends


def test_a_read_waits_for_the_first_commit_of_the_term() -> None:
    """Scenario 31: before its no-op is committed, a leader does not know what its predecessors committed."""
    a = Single("abcde", log=(1, 1))
    a.lead()
    a.raft.read(7)
    round = max(message.round for message in appends(a.receive()) or [append("a", 2)])
    a.receive(append_accepted("b", 2, 2, round + 5), append_accepted("c", 2, 2, round + 5))
    assert a.server.reads == []
    sent = appends(a.receive(append_accepted("b", 2, 3, 0), append_accepted("c", 2, 3, 0)))
    round = max(message.round for message in sent)
    a.receive(append_accepted("b", 2, 3, round), append_accepted("c", 2, 3, round))
    assert [(read.read_id, read.index) for read in a.server.reads] == [(7, 3)]


def test_late_echoes_do_not_confirm_a_newer_read() -> None:
    """Scenario 32: the same read id tried again; the echoes of the first try do not count."""
    a = Single("abcde")
    a.lead()
    a.receive(append_accepted("b", 1, 1), append_accepted("c", 1, 1))
    a.raft.read(7)
    first = max(message.round for message in appends(a.receive()))
    a.receive(append_accepted("b", 1, 1, first), append_accepted("c", 1, 1, first))
    assert [read.read_id for read in a.server.reads] == [7]
    a.raft.read(7)
    second = max(message.round for message in appends(a.receive()))
    assert second > first
    a.receive(*(append_accepted(name, 1, 1, first) for name in "bcde"))
    assert len(a.server.reads) == 1
    a.receive(append_accepted("b", 1, 1, second), append_accepted("b", 1, 1, second))
    assert len(a.server.reads) == 1
    a.receive(append_accepted("e", 1, 1, second))
    assert [read.read_id for read in a.server.reads] == [7, 7]


def test_echoes_of_an_earlier_leadership_confirm_nothing() -> None:
    a = Single()
    a.lead()
    a.receive(append_accepted("b", 1, 1))
    a.raft.read(1)
    a.receive()
    a.network.step_down("a")
    assert a.server.dropped_reads == [1]
    a.lead()
    a.receive(append_accepted("b", 2, 2))
    a.raft.read(2)
    a.receive()
    a.receive(append_accepted("b", 1, 1, 99), append_accepted("c", 1, 1, 99))
    assert a.server.reads == []


def test_a_late_append_of_an_earlier_leadership_does_not_confirm_a_read_of_this_one() -> None:
    """Its receiver has adopted the new term and answers with it; it must not echo the old round."""
    network = Network("abc")
    network.elect("a")
    network.pass_time(HEARTBEAT_TICKS)
    for read_id in range(9):
        network.read("a", read_id)
    late = network.take_in_flight(AppendEntries)
    assert (
        max(envelope.message.round for envelope in late if isinstance(envelope.message, AppendEntries)) == 9
    )
    network.step_down("a")
    network.elect("a")
    network.pass_time(HEARTBEAT_TICKS)
    network.in_flight.extend(late)
    network.deliver()
    network.isolate("a")
    network.read("a", 99)
    network.deliver()
    assert [read.read_id for read in network.servers["a"].reads] == []


def test_a_leader_in_a_minority_answers_no_read() -> None:
    """Scenario 33: its reads fail, none is stale."""
    network = Network("abcde")
    network.elect("a")
    network.pass_time(HEARTBEAT_TICKS)
    network.isolate("a", "b")
    network.elect("c")
    network.submit("c", b"new")
    network.read("a", 1)
    network.pass_time(3 * ELECTION_TICKS_MAX)
    assert network.servers["a"].reads == []
    assert network.servers["a"].dropped_reads == [1]
    with pytest.raises(NotLeader):
        network.read("a", 2)
    network.heal()
    network.pass_time(2 * HEARTBEAT_TICKS)
    assert network.servers["a"].reads == []


def test_a_leader_that_was_paused_during_an_election_answers_no_stale_read() -> None:
    """Scenario 34: stopped until another was elected, then continued; no lost write is acknowledged."""
    network = Network("abc")
    network.elect("a")
    network.pass_time(HEARTBEAT_TICKS)
    network.drops = lambda envelope: envelope.to == "a"
    network.elect("b")
    network.submit("b", b"new")
    network.deliver()
    network.read("a", 1)
    index = network.submit("a", b"lost")
    network.heal()
    network.pass_time(3 * HEARTBEAT_TICKS)
    assert network.servers["a"].reads == []
    assert network.servers["a"].dropped_reads == [1]
    assert network.servers["a"].applied[index - 1].data != b"lost"
    assert network["a"].role is Role.FOLLOWER
    assert network.servers["a"].commands == [b"new"]


def test_a_read_during_a_change_of_leader_waits_or_fails() -> None:
    """Scenario 35: leadership passes to another server in the middle of a read."""
    network = Network("abc")
    network.elect("a")
    network.pass_time(HEARTBEAT_TICKS)
    network.read("a", 1)
    heartbeats = network.take_in_flight(AppendEntries)
    assert heartbeats
    network.elect("b")
    network.submit("b", b"new")
    network.deliver()
    for envelope in heartbeats:
        network.inject(envelope.to, envelope.message)
    network.deliver()
    assert network.servers["a"].reads == []
    assert network.servers["a"].dropped_reads == [1]


def test_a_read_sees_every_write_acknowledged_before() -> None:
    network = Network("abc")
    network.elect("a")
    for number in range(5):
        index = network.submit("a", b"%d" % number)
        network.deliver()
        assert len(network.servers["a"].applied) == index
        network.read("a", number)
        network.deliver()
        assert network.servers["a"].reads[-1].index >= index
    assert [read.read_id for read in network.servers["a"].reads] == list(range(5))


def test_reads_that_come_together_share_one_round() -> None:
    a = Single()
    a.lead()
    a.receive(append_accepted("b", 1, 1))
    for read_id in range(10):
        a.raft.read(read_id)
    sent = appends(a.receive())
    assert len(sent) == 2
    a.receive(append_accepted("c", 1, 1, sent[0].round))
    assert [read.read_id for read in a.server.reads] == list(range(10))


def test_a_refused_append_still_confirms_leadership() -> None:
    """A follower that lags answers in the term, so the leader still led when it answered."""
    a = Single(log=(1, 1))
    a.lead()
    a.receive(append_accepted("b", 2, 3))
    a.raft.read(1)
    (round,) = {message.round for message in appends(a.receive())}
    a.receive(append_refused("c", 2, 2, (1, 0), round))
    assert [read.read_id for read in a.server.reads] == [1]


def test_one_server_alone_reads_at_once() -> None:
    network = Network("a")
    network.pass_time(ELECTION_TICKS_MAX + 1)
    network.submit("a", b"x")
    network.read("a", 1)
    assert [(read.read_id, read.index) for read in network.servers["a"].reads] == [(1, 2)]


def test_lost_echoes_delay_a_read_and_do_not_lose_it() -> None:
    network = Network("abc")
    network.elect("a")
    network.pass_time(HEARTBEAT_TICKS)
    network.read("a", 1)
    network.take_in_flight()
    assert network.servers["a"].reads == []
    network.pass_time(2 * HEARTBEAT_TICKS)
    assert [read.read_id for read in network.servers["a"].reads] == [1]


def test_a_follower_does_not_read() -> None:
    network = Network("abc")
    network.elect("a")
    with pytest.raises(NotLeader) as refused:
        network["b"].read(1)
    assert refused.value.leader == "a"


def test_a_read_waits_until_what_it_must_see_is_applied() -> None:
    a = Single(batch_entries_max=1)
    a.lead()
    a.propose(b"x", b"y")
    a.raft.step(append_accepted("b", 1, 3))
    a.raft.read(7)
    for index in (1, 2, 3):
        ready = a.raft.ready()
        assert ready is not None
        assert [entry.index for entry in ready.committed] == [index]
        assert [read.read_id for read in ready.reads] == ([7] if index == 3 else [])
        a.raft.step(append_accepted("b", 1, 3, round=1))
        a.raft.advance(ready)


def test_a_server_with_a_wiped_disk_confirms_no_read() -> None:
    """It may have lost its vote for a later leader."""
    a = Single("abcde")
    a.lead()
    a.receive(append_accepted("b", 1, 1), append_accepted("c", 1, 1))
    a.raft.demote("d", "new")
    a.raft.read(7)
    (round,) = {message.round for message in appends(a.receive())}
    a.receive(append_accepted("b", 1, 1, round), append_accepted("d", 1, 1, round))
    assert a.server.reads == []
    a.receive(append_accepted("c", 1, 1, round))
    assert [read.read_id for read in a.server.reads] == [7]
