"""How a log begins: with the BOOTSTRAP entry of one server."""

from __future__ import annotations

from msgspec.structs import replace

from atm.raft.messages import EntryKind
from tests.raft.network import Network
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
