"""A scripted run: what happens to which server is said step by step, and nothing comes by chance."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from msgspec import msgpack
from msgspec.structs import replace

from atm.raft.ready import Role
from atm.wire.client_messages import AddMember, AdminChange, PromoteMember, RemoveMember
from atm.wire.codec import encode
from atm.wire.peer_messages import starts_of
from tests.simulation import plan as plans
from tests.simulation.people import caller
from tests.simulation.sim_server import SimServer
from tests.simulation.world import Simulation
from tests.support.checks import require

ELECTIONS_MAX = 100  # election timeouts until what is asked for must be so
QUIET = {
    "nodes": 3,
    "spares": 1,
    "clients": 1,
    "faults": {},
    "message_faults": {},
    "changes": {},
    "old_release_share": 0.0,
    "batch_entries_max": 1,
    "window_batches": 1,
    "snapshot_log_bytes": 64 << 20,  # none is due: the log is sent, entry by entry
}


class Script:
    """Three servers without faults, a spare one, and an operator."""

    def __init__(self) -> None:
        self.simulation = Simulation(plans.changed(1, QUIET))
        self._outcome = ""

    def reply(self, _number: int, payload: bytes) -> None:
        self._outcome = msgpack.decode(payload)["outcome"]

    def ask(self, request: AdminChange) -> None:
        """Ask the leader until it is done, under an id by which somebody asks who may."""
        named = (replace(request, id=f"{request.id}-{number}") for number in count())
        request = next(each for each in named if caller("", encode(each))[0] != "audrey")

        def is_done() -> bool:
            for server in self.simulation.servers.values():
                if server.up and server.core.role is Role.LEADER:
                    server.ask(self, 1, encode(request))
            return self._outcome == "ok"

        self._outcome = ""
        self.wait_until(is_done, str(request))

    def remove(self, node: str) -> None:
        """Remove a server, and wait until it has ended."""
        self.ask(RemoveMember(id=f"remove-{node}", node=node, yes=True))
        self.wait_until(lambda: self.server(node).retired, f"{node} ends")

    def add(self, node: str) -> None:
        """Add a server, with an empty folder."""
        at = self.server(node).address
        self.ask(AddMember(id=f"add-{node}", node=node, peer=str(at.peer), client=str(at.client)))
        self.simulation.administrator.start_members()

    def promote(self, node: str) -> None:
        self.ask(PromoteMember(id=f"promote-{node}", node=node))

    def stop(self, node: str) -> None:
        self.server(node).die(power_cut=False)

    def start(self, node: str) -> None:
        self.server(node).start_again()

    def server(self, node: str) -> SimServer:
        return self.simulation.servers[node]

    @property
    def committed(self) -> int:
        """How many entries are committed."""
        return len(self.simulation.checks.committed)

    def has_seen(self, by: str, node: str) -> bool:
        """Whether `by` has noted that `node` runs, on its folder as it is now."""
        folder, seen = self.server(node).folder, self.server(by).folder
        return starts_of(seen.highest_incarnation(node, folder.store)) == folder.incarnation

    def has_the_log_of(self, leader: str, node: str) -> bool:
        """Whether `leader` leads, and `node` has applied its whole log."""
        one, other = self.server(leader), self.server(node)
        leads = one.up and one.core.role is Role.LEADER
        return leads and other.bank.applied_index == one.storage.store.last_index

    def wait_until(self, condition: Callable[[], bool], what: str, looks: int = 1) -> None:
        """Let time pass until it is so, and look so many times in an election timeout."""
        loop, election_us = self.simulation.loop, self.simulation.plan.election_us
        for _ in range(ELECTIONS_MAX * looks):
            if condition():
                return
            loop.run_until(loop.now_us + election_us // looks)
        require(condition(), what, self.simulation._state())
