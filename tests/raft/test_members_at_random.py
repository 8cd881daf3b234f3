"""Changes of the membership, transfers, lost disks and snapshots in a random order of faults.

Figure 3 holds after each step, with majorities as each leader counts them. Every step can end in a crash, and
what an administrator asks for next may come before what was asked for last is done.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from random import Random

import pytest
from msgspec.structs import replace

from atm.raft import ChangeRefused, Configuration, Member, NodeId, Role, Transferring
from tests.raft.network import EFFECTS, Network
from tests.raft.server import Server
from tests.raft.test_snapshots_at_random import Happening, Turmoil
from tests.support.checks import voting_disks

STEPS = 300
VOTERS_MAX = 5


class MembersTurmoil(Turmoil):
    """Six servers, of which some are members at first; no disk is lost that a majority needs."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(f"members {seed}")
        founders = self.chance.choice(("a", "abc", "abc", "abcde"))
        joining = "".join(sorted(set("abcdef") - set(founders)))
        self.network = Network("abcdef", seed=seed, joining=joining, memory_bytes_max=1_500)
        self.network.fetches = False
        self.did: Counter[str] = Counter()
        self.installs = 0

    def _kinds(self) -> dict[Happening, float]:
        return {
            **super()._kinds(),
            self._snapshot: 2,
            self._fetch: 4,
            self._wipe: 1,
            self._change: 12,
            self._transfer: 5,
        }

    def _submit(self, server: Server) -> None:
        with suppress(Transferring):
            super()._submit(server)

    # -- what an administrator asks for --------------------------------------------------------------

    def _change(self, server: Server) -> None:
        leader = self.network.leader()
        if leader is None:
            return
        if self.chance.random() < 0.2:
            self.network.servers[leader].crash_before = self.chance.choice(EFFECTS)
        what, members = self._drawn(leader)
        if what == "promote" and not self._has_caught_up(leader, members[-1].node):
            return
        if not self._has_majority(members):
            return
        try:
            self.network.change(leader, members)
            self.did[what] += 1
        except ChangeRefused:
            self.did["refused"] += 1

    def _drawn(self, leader: NodeId) -> tuple[str, Configuration]:
        """Return what is asked for, and the members after it."""
        _, now = self.network[leader].configuration
        known = {member.node: member for member in now}
        lost = [name for name in known if known[name].store != self.network.servers[name].disk]
        name = self.chance.choice("abcdef") if self.chance.random() < 0.8 else leader
        if lost and self.chance.random() < 0.5:
            name = self.chance.choice(lost)
        disk = self.network.servers[name].disk
        if name not in known:
            what, member = "add", Member(node=name, voter=False, store=disk)
        elif self.chance.random() < 0.3:
            return f"remove {'the leader' if name == leader else ''}", tuple(m for m in now if m.node != name)
        elif known[name].store != disk:
            what, member = "replace", Member(node=name, voter=False, store=disk)
        elif not known[name].voter and sum(m.voter for m in now) < VOTERS_MAX:
            what, member = "promote", Member(node=name, voter=True, store=disk)
        else:
            what, member = "move", replace(known[name], peer=f"{self.chance.random()}")
        known.pop(name, None)
        return what, (*known.values(), member)

    def _has_caught_up(self, leader: NodeId, learner: NodeId) -> bool:
        """Whether the learner has the configuration in use; else it would not know whose votes count."""
        core = self.network[leader]
        return core.matched().get(learner, 0) >= core.configuration[0]

    def _has_majority(self, members: Configuration) -> bool:
        """Whether more than half of the voters have the disk that their promises are on."""
        voters = voting_disks(members)
        return 2 * len(voters & self._disks()) > len(voters)

    def _disks(self) -> set[tuple[NodeId, str]]:
        return {(server.name, server.disk) for server in self.network.servers.values()}

    def _transfer(self, server: Server) -> None:
        leader = self.network.leader()
        if leader is not None:
            with suppress(ChangeRefused):
                self.network.transfer(leader, self.chance.choice((None, *"abcdef")))
                self.did["transfer"] += 1

    # -- disks ---------------------------------------------------------------------------------------

    def _wipe(self, server: Server) -> None:
        """Only if every configuration that some log has or a leader may use keeps a majority without it."""
        network = self.network
        lost = (server.name, server.disk)
        needs = [voting_disks(members) for members in self._configurations()]
        left = self._disks() - {lost}
        if not all(2 * len(voters & left) > len(voters) for voters in needs) or not needs:
            return
        network.crash(server.name)
        network.wipe(server.name, f"{server.disk}+")
        if not server.config.peers:
            server.founding = ()  # else it would found a cluster of its own
        network.in_flight.clear()  # what it sent before must not be believed
        for other in network.alive:
            other.core.demote(server.name, server.disk)
        network.restart(server.name)
        self._tell_of_lost_disks(server)
        self.did["wipe"] += 1

    def _configurations(self) -> list[Configuration]:
        """Return the configurations in use; also those that servers that are down would start with."""
        found = []
        for server in self.network.servers.values():
            if server.raft is None:
                server.recover()
                server.start()
                found.append(server.core.configuration[1])
                server.raft = None
            else:
                found.append(server.core.configuration[1])
        return [members for members in found if members]

    def _restart(self, server: Server) -> None:
        self.network.restart(server.name)
        self._tell_of_lost_disks(server)

    def _tell_of_lost_disks(self, server: Server) -> None:
        for other in self.network.servers.values():
            if other.disk:  # its own, too
                server.core.demote(other.name, other.disk)

    # -- the end -------------------------------------------------------------------------------------

    def _agree(self) -> bool:
        """Whether one server leads, and all members have its log and have applied it."""
        leaders = [server for server in self.network.alive if server.core.role is Role.LEADER]
        if len(leaders) != 1:
            return False
        members = [self.network.servers[name] for name in leaders[0].core.membership.members]
        last_index, committed = leaders[0].core.last_index, self.network.checks.committed
        return len(committed) == last_index and all(member.applied == committed for member in members)


@pytest.mark.parametrize("seed", range(25))
def test_whatever_an_administrator_asks_for_nothing_is_lost_and_the_members_agree(seed: int) -> None:
    turmoil = MembersTurmoil(seed)
    for _ in range(STEPS):
        turmoil.step()
    turmoil.calm_down()


def test_what_is_asked_for_at_random_is_no_rarity() -> None:
    did: Counter[str] = Counter()
    for seed in range(6):
        turmoil = MembersTurmoil(seed)
        for _ in range(STEPS):
            turmoil.step()
        did += turmoil.did
        assert len(turmoil.network.checks.committed) >= 20
    often = ("add", "promote", "remove ", "refused", "transfer")
    assert min(did[what] for what in often) >= 10, did
    assert min(did[what] for what in ("remove the leader", "replace", "wipe")) >= 3, did
