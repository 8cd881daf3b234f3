"""How a log begins: with the BOOTSTRAP entry of one server."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from atm.raft import Member
from atm.raft.messages import AppendEntries, Entry, EntryKind, RequestVote
from tests.raft.network import ELECTION_TICKS_MAX, Network
from tests.raft.single import Single


def founders() -> Network:
    """Return a network whose servers each have another BOOTSTRAP entry."""
    network = Network("abc")
    for server in network.servers.values():
        server.config = replace(server.config, bootstrap=f"by {server.name}".encode())
        network.crash(server.name)
        network.restart(server.name)
    return network


def kinds(network: Network, name: str) -> list[int]:
    return [entry.kind for entry in network.servers[name].store.entries]


def test_the_first_leader_of_an_empty_log_appends_its_bootstrap_entry() -> None:
    network = founders()
    network.elect("b")
    network.submit("b", b"x")
    network.deliver()
    for server in network.servers.values():
        assert [(entry.index, entry.kind, entry.data) for entry in server.store.entries] == [
            (1, EntryKind.BOOTSTRAP, b"by b"),
            (2, EntryKind.COMMAND, b"x"),
        ]


def test_every_later_term_begins_with_a_no_op() -> None:
    network = founders()
    network.elect("b")
    network.elect("a")
    assert kinds(network, "c") == [EntryKind.BOOTSTRAP, EntryKind.NOOP]


def test_a_server_without_a_bootstrap_entry_begins_with_a_no_op() -> None:
    a = Single()
    a.lead()
    assert [entry.kind for entry in a.server.store.entries] == [EntryKind.NOOP]


def test_only_one_of_two_bootstrap_entries_is_committed() -> None:
    """The first leader crashes before it has sent its entry; back again, it gets that of the second."""
    network = founders()
    network.drops = lambda envelope: envelope.sender == "a" and bool(getattr(envelope.message, "entries", ()))
    network.elect("a")
    assert network.servers["a"].store.entries[0].data == b"by a"
    network.crash("a")
    network.drops = lambda envelope: False
    network.elect("b")
    network.restart("a")
    network.pass_time(200, network.converged)
    assert network.converged()
    assert {server.store.entries[0].data for server in network.servers.values()} == {b"by b"}
    assert {server.applied[0].data for server in network.servers.values()} == {b"by b"}


def bootstrap_append(*voters: str, term: int = 1) -> AppendEntries:
    data = msgspec.msgpack.encode(["an id", voters])
    entry = Entry(index=1, term=term, time_us=1, kind=EntryKind.BOOTSTRAP, data=data)
    return AppendEntries(
        sender="b", term=term, prev_log_index=0, prev_log_term=0, entries=(entry,), leader_commit=0, round=0
    )


def test_a_server_that_joins_is_no_voter_whatever_its_configuration_says() -> None:
    """With a list of its own it could win an election that the founders know nothing of."""
    a = Single("ab")
    a.receive(bootstrap_append("b", "c", "d"))
    assert [member.node for member in a.raft.configuration[1]] == ["b", "c", "d"]
    assert not [out for out in a.tick(10 * ELECTION_TICKS_MAX) if isinstance(out.message, RequestVote)]
    a.receive(bootstrap_append("a", "b", term=2))
    assert a.raft.membership.is_voter("a"), "the entry that left it out was never committed"
    a.restart()
    assert a.raft.membership.is_voter("a")


def test_a_leader_appends_what_it_found_the_cluster_with() -> None:
    a = Single("ab", bootstrap=msgspec.msgpack.encode(["an id", ["a", "b"]]))
    a.lead()
    assert a.raft.configuration == (1, (Member(node="a", voter=True), Member(node="b", voter=True)))
