"""Snapshots, cut logs and installs in a random order of faults; Figure 3 holds after each step."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from atm.raft.ready import Role
from tests.raft.network import EFFECTS, ELECTION_TICKS_MAX, INSTALL_STEPS, Network
from tests.raft.server import Server

STEPS = 250

Happening = Callable[[Server], None]


class Turmoil:
    """A network to which something happens at each step; at most one server has lost its disk."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(f"snapshots {seed}")
        names = self.chance.choice(("abc", "abcde"))
        batch = self.chance.choice((1, 3, 50))
        self.network = Network(names, seed=seed, batch_entries_max=batch, memory_bytes_max=1_500)
        self.network.fetches = False
        self.wiped: str | None = None
        self.installs = 0

    def step(self) -> None:
        network, chance = self.network, self.chance
        server = chance.choice(list(network.servers.values()))
        if server.raft is None:
            if chance.random() < 0.3:
                self._restart(server)
            return
        kinds = self._kinds()
        happens = chance.choices(list(kinds), list(kinds.values()))[0]
        happens(server)
        if chance.random() < 0.5:
            network.pass_time(chance.randint(1, 20))
        else:
            self._deliver_some()

    def _kinds(self) -> dict[Happening, float]:
        """Return what may happen to a server, and how often, relatively."""
        return {
            self._submit: 10,
            self._snapshot: 4,
            self._fetch: 8,
            self._crash: 1,
            self._cut: 1,
            self._heal: 2,
            self._wipe: 0.3,
        }

    def _deliver_some(self) -> None:
        network, chance = self.network, self.chance
        for _ in range(chance.randint(0, len(network.in_flight))):
            fate = chance.random()
            if fate < 0.1:
                network.in_flight.popleft()
            elif fate < 0.2:
                network.in_flight.rotate(-1)
            elif fate < 0.3:
                network.in_flight.append(network.in_flight[0])
            else:
                network.deliver_one()

    def _submit(self, server: Server) -> None:
        leader = self.network.leader()
        if leader is not None:
            self.network.submit(leader, *[b"x" * 40] * self.chance.randint(1, 6))

    def _snapshot(self, server: Server) -> None:
        newest = server.snapshot
        if server.applied and (newest is None or newest.index < len(server.applied)):
            cut = self.chance.random() < 0.8
            self.network.take_snapshot(server.name, kept=self.chance.choice((0, 0, 1, 5)), cut=cut)

    def _fetch(self, server: Server) -> None:
        crash_before = self.chance.choice(INSTALL_STEPS) if self.chance.random() < 0.2 else None
        if self.chance.random() < 0.2:
            server.crash_before = self.chance.choice(EFFECTS)
        self.installs += self.network.fetch(server.name, crash_before=crash_before)

    def _crash(self, server: Server) -> None:
        if self.chance.random() < 0.5:
            self.network.crash(server.name)
        else:
            server.crash_before = self.chance.choice(EFFECTS)

    def _cut(self, server: Server) -> None:
        other = self.chance.choice([s for s in self.network.servers if s != server.name])
        self.network.cut(server.name, other)

    def _heal(self, server: Server) -> None:
        self.network.heal()

    def _wipe(self, server: Server) -> None:
        if self.wiped in (None, server.name):
            self.wiped = server.name
            self.network.crash(server.name)
            self.network.wipe(server.name, f"{server.disk}+")
            self.network.in_flight.clear()  # what it sent before must not be believed
            for other in self.network.alive:
                other.core.demote(server.name, server.disk)
            self.network.restart(server.name)

    def _restart(self, server: Server) -> None:
        self.network.restart(server.name)
        if self.wiped is not None and self.wiped != server.name:
            self.network[server.name].demote(self.wiped, self.network.servers[self.wiped].disk)

    def calm_down(self) -> None:
        network = self.network
        network.heal()
        network.fetches = True
        for server in network.servers.values():
            server.crash_before = None
            if server.raft is None:
                self._restart(server)
        network.pass_time(20 * ELECTION_TICKS_MAX, until=self._agree)
        assert self._agree(), network

    def _agree(self) -> bool:
        leaders = [server for server in self.network.alive if server.core.role is Role.LEADER]
        return len(leaders) == 1 and self.network.converged()


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_nothing_is_lost_and_all_agree_in_the_end(seed: int) -> None:
    turmoil = Turmoil(seed)
    for _ in range(STEPS):
        turmoil.step()
    turmoil.calm_down()
    applied = [server.applied for server in turmoil.network.servers.values()]
    assert all(each == turmoil.network.checks.committed for each in applied)


def test_what_is_random_is_no_rarity() -> None:
    """Else the test above would show nothing: there are installs, and commits go on."""
    installs, commits = [], []
    for seed in range(5):
        turmoil = Turmoil(seed)
        for _ in range(STEPS):
            turmoil.step()
        installs.append(turmoil.installs)
        commits.append(len(turmoil.network.checks.committed))
    assert sum(installs) >= 5
    assert min(commits) >= 20
