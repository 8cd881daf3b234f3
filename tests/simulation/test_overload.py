"""Customers who ask again sooner than the servers carry what they ask for: a queue of tries grows."""

from __future__ import annotations

from atm.raft.ready import Role
from tests.simulation import plan as plans
from tests.simulation.sim_server import SimServer
from tests.simulation.world import Simulation

IMPATIENT = {
    "nodes": 3,
    "spares": 0,
    "clients": 12,
    "faults": {},
    "changes": {},
    "old_release_share": 0.0,
    "batch_entries_max": 1,
    "window_batches": 1,
    "latency_us": (2_000, 20_000),
    "patience_us": 70_000,
    "tries_max": 100,
    "read_share": 0.1,
    "snapshot_log_bytes": 2_000,
}


class Overload:
    """Three servers whose customers ask without patience; nothing fails unless the test says so."""

    def __init__(self, message_faults: dict[str, float], **changes: object) -> None:
        changes = {**IMPATIENT, "message_faults": message_faults, **changes}
        self.simulation = Simulation(plans.changed(40265, changes))
        self.servers = self.simulation.servers.values()

    def let_pass(self, elections: int) -> None:
        """Let so many election timeouts pass."""
        loop = self.simulation.loop
        loop.run_until(loop.now_us + elections * self.simulation.plan.election_us)

    @property
    def leader(self) -> SimServer:
        (leader,) = [server for server in self.servers if server.up and server.core.role is Role.LEADER]
        return leader

    def behind(self, follower: SimServer) -> int:
        """Return how many committed entries `follower` has not applied."""
        return self.leader.core.commit_index - follower.bank.applied_index


def test_a_queue_that_the_faults_have_left_is_worked_off_and_then_there_is_service() -> None:
    """An entry takes a round trip here: to wait for hundreds of them is no fault of the servers."""
    overload = Overload({})
    overload.let_pass(60)
    assert overload.leader.queued > 400
    overload.simulation._calm_down()


def test_a_server_that_needs_a_snapshot_gets_it_while_the_queue_grows() -> None:
    """What waits makes the log longer than all limits, but no cut would make it shorter. Seed 40265."""
    overload = Overload({"doubled": 0.1, "delayed": 0.1})
    overload.let_pass(30)
    absent = next(server for server in overload.servers if server is not overload.leader)
    absent.die(power_cut=False)
    overload.let_pass(20)
    absent.start_again()
    overload.let_pass(10)
    before = overload.behind(absent)
    overload.let_pass(20)
    assert overload.behind(absent) < before
    assert absent.fired["install"] == 1, "after it, the entries come"


def test_a_server_that_lost_its_disk_gets_a_whole_log_however_long_that_takes() -> None:
    """No snapshot is due in this plan, and an entry takes a round trip. Seed 51029."""
    overload = Overload({}, clients=4, snapshot_log_bytes=64 << 20)
    overload.let_pass(80)
    absent = next(server for server in overload.servers if server is not overload.leader)
    absent.die(power_cut=False)
    absent.wipe()
    absent.start_again()
    overload.simulation._calm_down()
