"""The commands of a transcript, performed on a `Network`; see `COMMANDS` for what each does."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from msgspec.structs import replace

from atm.raft import (
    AppendEntries,
    ChangeRefused,
    HardState,
    Member,
    NodeId,
    RequestVote,
    Transferring,
)
from tests.raft.network import Envelope, Network
from tests.raft.transcripts.wording import View, changes_text, envelope_text, state_text

TICKS_MAX = 1000


class NoSuchCommand(Exception):
    """A line after `>` that is no command, or has wrong arguments."""


class RecordingNetwork(Network):
    """A network that records each message as it arrives or is lost, and what that changes."""

    lines: list[str]

    def deliver_one(self) -> None:
        envelope = self.in_flight[0]
        before, delivered = View.of(self.servers[envelope.to]), len(self.delivered)
        line = len(self.lines)
        super().deliver_one()
        lost = "" if len(self.delivered) > delivered else " (lost)"
        self.lines[line:line] = [envelope_text(envelope) + lost]
        self.lines += changes_text(envelope.to, before, View.of(self.servers[envelope.to]))


class Script:
    """One transcript's run; `run` performs a command and returns what happened, a line each."""

    def __init__(self) -> None:
        self._logs: dict[NodeId, list[int]] = {}
        self._terms: dict[NodeId, int] = {}
        self._network: RecordingNetwork | None = None

    @property
    def network(self) -> RecordingNetwork:
        if self._network is None:
            raise NoSuchCommand("the first command is `start`")
        return self._network

    def run(self, command: str) -> list[str]:
        name, *arguments = shlex.split(command)
        if name not in COMMANDS:
            raise NoSuchCommand(f"{name!r} is none of {', '.join(COMMANDS)}")
        lines: list[str] = []
        if self._network is not None:
            self._network.lines = lines
        COMMANDS[name](self, *arguments)
        return lines or (self._network.lines if self._network else [])

    # -- the commands ----------------------------------------------------------------------------

    def log(self, name: NodeId, *words: str) -> None:
        """`log n1 1 1 2 term=3`, before `start`: n1 has entries of terms 1, 1, 2, and has reached term 3."""
        *terms, last = words
        _, given, term = last.partition("=")
        self._logs[name] = [int(term) for term in terms] + ([] if given else [int(last)])
        self._terms[name] = int(term if given else last)

    def start(self, *words: str) -> None:
        """`start n1 n2 n3 +n4 window_batches=2`: they start, with these settings; n4 is no member yet."""
        names = [word.lstrip("+") for word in words if "=" not in word]
        joining = [word[1:] for word in words if word.startswith("+")]
        limits = {key: int(value) for key, value in (word.split("=") for word in words if "=" in word)}
        hard_states = {name: HardState(term=term) for name, term in self._terms.items()}
        self._network = RecordingNetwork(names, logs=self._logs, hard_states=hard_states, joining=joining)
        for server in self._network.servers.values():
            server.config = replace(server.config, **limits)
        self._network.restart(*names)
        self._network.lines = [state_text(server) for server in self._network.servers.values()]

    def tick(self, name: NodeId, *how: str) -> None:
        """`tick n1 30`, `tick n1 until campaign` (or `heartbeat`, or a role): time passes for n1 alone."""
        network = self.network
        with self._changes(name):
            if how[:1] != ("until",):
                network.tick([name], int(how[0]) if how else 1)
                return
            for _ in range(TICKS_MAX):
                before = len(network.in_flight)
                network.tick([name])
                if self._has_come(name, how[1], list(network.in_flight)[before:]):
                    return
        raise NoSuchCommand(f"{how[1]!r} has not come in {TICKS_MAX} ticks")

    def _has_come(self, name: NodeId, what: str, sent: Sequence[Envelope]) -> bool:
        messages = [envelope.message for envelope in sent]
        if what == "campaign":
            return any(isinstance(message, RequestVote) for message in messages)
        if what == "heartbeat":
            return any(isinstance(message, AppendEntries) for message in messages)
        return self.network[name].role.value == what

    def deliver(self, *which: str) -> None:
        """`deliver`: until none is in flight; `deliver 3`: three; `deliver n1 n2`: those from n1 to n2."""
        network = self.network
        if not which:
            network.deliver()
        elif len(which) == 1:
            for _ in range(int(which[0])):
                network.deliver_one()
        else:
            for envelope in [x for x in network.in_flight if (x.sender, x.to) == which]:
                network.in_flight.remove(envelope)
                network.in_flight.appendleft(envelope)
                network.deliver_one()

    def drop(self, *which: str) -> None:
        """`drop`: all messages in flight are lost; `drop n1 n2`: those from n1 to n2."""
        network = self.network
        lost: Counter[str] = Counter()
        for envelope in list(network.in_flight):
            if not which or (envelope.sender, envelope.to) == which:
                network.in_flight.remove(envelope)
                lost[envelope_text(envelope)] += 1
        network.lines += [f"{text} (lost{f' {n} times' if n > 1 else ''})" for text, n in lost.items()]

    def elect(self, name: NodeId) -> None:
        """`elect n1`: the others' timeouts pass, n1 campaigns and wins; only the outcome is shown."""
        network = self.network
        before = {server.name: View.of(server) for server in network.servers.values()}
        lines, network.lines = network.lines, []
        network.elect(name)
        network.lines = lines
        for server in network.servers.values():
            network.lines += changes_text(server.name, before[server.name], View.of(server))

    def cut(self, one: NodeId, *others: NodeId) -> None:
        """`cut n1 n2 n3`: the links between n1 and each of the others fail."""
        for other in others:
            self.network.cut(one, other)

    def heal(self) -> None:
        """`heal`: all links work."""
        self.network.heal()

    def propose(self, name: NodeId, *commands: str) -> None:
        """`propose n1 "x" "y"`: clients propose x and y to n1."""
        with self._changes(name):
            try:
                self.network.submit(name, *(command.encode() for command in commands))
            except Transferring as held:
                self.network.lines.append(f"    held: {held}")

    def change(self, name: NodeId, *words: str) -> None:
        """`change n1 n1 n2 n3 +n4`: n1, a leader, is asked for these voters, and the learner n4."""
        members = tuple(Member(node=word.lstrip("+"), voter=not word.startswith("+")) for word in words)
        with self._changes(name):
            try:
                self.network.change(name, members)
            except ChangeRefused as refusal:
                self.network.lines.append(f"    refused: {refusal}")

    def transfer(self, name: NodeId, target: NodeId) -> None:
        """`transfer n1 n2`: n1, a leader, is asked to hand over to n2."""
        with self._changes(name):
            self.network.transfer(name, target)

    def read(self, name: NodeId, read_id: str) -> None:
        """`read n1 7`: a client requests read 7."""
        with self._changes(name):
            self.network.read(name, int(read_id))

    def crash(self, name: NodeId) -> None:
        """`crash n1`: it stops; what is on its disk stays."""
        with self._changes(name):
            self.network.crash(name)

    def restart(self, name: NodeId) -> None:
        """`restart n1`: it starts from its disk."""
        with self._changes(name):
            self.network.restart(name)

    def snapshot(self, name: NodeId, kept: str = "0") -> None:
        """`snapshot n1 2`: it takes a snapshot, and cuts its log but for the last two entries."""
        with self._changes(name):
            self.network.take_snapshot(name, kept=int(kept))

    def install(self, name: NodeId) -> None:
        """`install n3`: it has fetched the snapshot that it wants, and installs it."""
        with self._changes(name):
            if not self.network.fetch(name):
                raise NoSuchCommand(f"{name} can fetch no snapshot")

    def waiting(self) -> None:
        """`waiting`: show the messages in flight."""
        self.network.lines += [envelope_text(envelope) for envelope in self.network.in_flight]

    def servers(self) -> None:
        """`servers`: show each."""
        self.network.lines += [state_text(server) for server in self.network.servers.values()]

    @contextmanager
    def _changes(self, name: NodeId) -> Iterator[None]:
        """Record what changes at `name` meanwhile."""
        server = self.network.servers[name]
        before = View.of(server)
        yield
        self.network.lines += changes_text(name, before, View.of(server))


COMMANDS: dict[str, Callable[..., None]] = {
    name: getattr(Script, name)
    for name in (
        "log",
        "start",
        "tick",
        "elect",
        "deliver",
        "drop",
        "cut",
        "heal",
        "propose",
        "change",
        "transfer",
        "read",
        "crash",
        "restart",
        "snapshot",
        "install",
        "waiting",
        "servers",
    )
}


def regenerated(text: str) -> str:
    """Return a transcript with the same comments and commands, and what happens now after each."""
    script, lines = Script(), []
    for line in text.splitlines():
        if line.startswith("> "):
            lines += [line, *script.run(line[2:])]
        elif line.startswith("#") or not line:
            lines.append(line)
    return "\n".join(lines) + "\n"
