"""What a fault may touch: the nodes as processes, their surroundings, and the network between them."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from atm.client.each_node import ask_one
from atm.config import load
from atm.local_cluster import LocalCluster
from atm.wire.client_messages import Members, MembersReply, MemberView
from tests.chaos.network import Network
from tests.support.odd_node import odd_command

MEMBERS = 5  # of those that the configuration names; the others are spare
WELL_WITHIN_S = 60.0
LAG_MAX = 200  # entries

T = TypeVar("T")


class NotMended(Exception):
    """What an operator did has not led where it should; `str()` of it says what is missing."""


class Scene(LocalCluster):
    """A cluster whose nodes may live in namespaces, be started under another program, and be exchanged.

    The first five nodes of `config` are its members. The nodes read a `cluster.ini` that names only members.
    """

    def __init__(self, config: Path, network: Network | None, chance: random.Random) -> None:
        self._everyone = config
        names = list(load(config).nodes)
        self.spares = names[MEMBERS:]  # names of machines that stand empty
        self._cluster_ini = config.with_name("members.ini")
        self._write_cluster_ini(names[:MEMBERS])
        super().__init__(self._cluster_ini)
        self.net = network
        self.chance = chance
        self.jumps = 0  # of the clock, so far
        self.newest_stamp_us: Callable[[], int] = lambda: 0  # the newest receipt's time
        self.companions: Sequence[Fault] = ()  # that may strike while an operator works
        self.struck_beside = ""  # the last of them
        self.remark = ""  # what else is to be told of the last fault
        self._wrappers: dict[str, list[str]] = {}
        self._clocks: set[str] = set()  # whose clock can be set

    @property
    def network(self) -> Network:
        assert self.net is not None, "this fault needs namespaces"
        return self.net

    @property
    def nodes(self) -> list[str]:
        return list(self.cluster.nodes)

    @property
    def folder(self) -> Path:
        """What this run may write to."""
        return self._cluster_ini.parent

    def data_of(self, name: str) -> Path:
        return self.cluster.data_dir / name

    # -- processes -------------------------------------------------------------------------------------

    def command(self, name: str) -> list[str]:
        inside = self.net.inside(name) if self.net is not None else []
        command = super().command(name)
        if name in self._clocks:
            command = odd_command(self._clock_file(name), name, self.cluster.path)
        return [*inside, *self._wrappers.get(name, []), *command]

    def start_under(self, name: str, wrapper: list[str]) -> None:
        """Start the node under a program that becomes it; only this time."""
        self._wrappers[name] = wrapper
        try:
            self.start(name)
        finally:
            del self._wrappers[name]

    def start_with_a_clock(self, name: str) -> None:
        """Start the node so that its clock can be set; only this time."""
        self._clocks.add(name)
        try:
            self.set_clock(name, 0)
            self.start(name)
        finally:
            self._clocks.remove(name)

    def set_clock(self, name: str, ahead_s: float) -> None:
        new = self._clock_file(name).with_suffix(".new")
        new.write_bytes(msgspec.json.encode({"ahead_s": ahead_s}))
        new.replace(self._clock_file(name))

    def _clock_file(self, name: str) -> Path:
        return self.folder / f"{name}.clock"

    def pid(self, name: str) -> int:
        return self.processes[name].pid

    def kill_at_once(self, names: Iterable[str]) -> bool:
        """Kill -9; return whether all of them died of it."""
        names = list(names)
        for name in names:
            self.processes[name].kill()
        for name in names:
            self.kill(name)
        return all(self.processes[name].returncode == -signal.SIGKILL for name in names)

    def is_stopped(self, name: str) -> bool:
        """Return whether the process hangs after SIGSTOP."""
        status = Path(f"/proc/{self.pid(name)}/stat").read_text()
        return status.rpartition(")")[2].split()[0] in "Tt"

    def wait_until_ended(self, name: str, deadline_s: float) -> int | None:
        """Return the exit code of a node that ends by itself, or None if it does not."""
        return wait_for(self.processes[name].poll, deadline_s)

    def wait_until_up(self, name: str, deadline_s: float = 15.0) -> bool:
        """Return whether the node answers in time."""
        return wait_for(lambda: self.status(name) is not None or None, deadline_s) is not None

    # -- who is drawn ----------------------------------------------------------------------------------

    def choose(self, count: int, among: Iterable[str] | None = None) -> list[str]:
        return self.chance.sample(self.nodes if among is None else list(among), count)

    def followers(self, count: int = 1) -> list[str]:
        """Draw some that do not lead."""
        leader = self.wait_for_leader()
        return self.choose(count, [name for name in self.nodes if name != leader])

    def leader_and(self, count: int) -> list[str]:
        """Return the leader and some others that are drawn."""
        leader = self.wait_for_leader()
        return [leader, *self.choose(count, [name for name in self.nodes if name != leader])]

    def leader_and_others(self) -> list[str]:
        """Return all nodes, the leader first."""
        return self.leader_and(len(self.nodes) - 1)

    # -- membership ------------------------------------------------------------------------------------

    def list_members(self, names: Iterable[str]) -> None:
        """Have cluster.ini name these from now on."""
        self._write_cluster_ini(names)
        self.cluster = load(self._cluster_ini)

    def _write_cluster_ini(self, names: Iterable[str]) -> None:
        head, *sections = self._everyone.read_text(encoding="utf-8").split("\n[node ")
        kept = [text for text in sections if text.partition("]")[0] in names]
        self._cluster_ini.write_text("\n[node ".join([head, *kept]), encoding="utf-8")

    def members(self) -> tuple[MemberView, ...]:
        """Return the members, as the node knows them that has applied most; none if no node answers."""
        answers = [
            ask_one(self.cluster.nodes[name].client, Members(id="m"), 1.0, self.credentials, name)
            for name in self.nodes
        ]
        known = [answer for answer in answers if isinstance(answer, MembersReply)]
        return max(known, key=lambda answer: answer.index).members if known else ()

    def wait_until_well(self) -> None:
        """Return when every node is a voter and follows; raise `NotMended` if that takes too long."""
        if wait_for(lambda: self.is_well() or None, WELL_WITHIN_S) is None:
            raise NotMended(f"after {WELL_WITHIN_S:g} s {self._what_is_not_well() or 'all was well at last'}")

    def is_well(self) -> bool:
        return self._what_is_not_well() is None

    def _what_is_not_well(self) -> str | None:
        found = {member.node: member for member in self.members()}
        if found.keys() != set(self.nodes):
            return f"the members are {', '.join(found) or 'unknown'}, and cluster.ini names {self.nodes}"
        statuses = {name: self.status(name) for name in self.nodes}
        committed = (
            max(status.commit_index for status in statuses.values() if status)
            if any(statuses.values())
            else 0
        )
        for name, status in statuses.items():
            if not (found[name].voter and found[name].peer):
                return f"{name} has no vote, or no address"
            if status is None or status.voter is not True:
                return f"{name} does not say that it has a vote: {status}"
            if status.leader is None or committed - status.applied_index > LAG_MAX:
                return f"{name} has not caught up: {status}"
        return None


Story = Generator[str, None, bool]


@dataclass(frozen=True)
class Fault:
    """A kind of fault; `needs` is what must be there: "", namespaces, switch, prlimit, strace, faketime."""

    name: str
    needs: str
    story: Callable[[Scene], Story]


def finish(story: Story) -> bool:
    """Let a fault heal; return whether it fired."""
    try:
        next(story)
    except StopIteration as end:
        fired: bool = end.value
        return fired
    raise AssertionError("a fault is told in two parts")


def wait_for(look: Callable[[], T | None], deadline_s: float) -> T | None:
    """Look again and again until there is something to see; return it, or None at the deadline."""
    deadline = time.monotonic() + deadline_s
    while (seen := look()) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return seen
