"""Faults made on purpose in the nodes of this machine and in their links: bin/run makes them for its bin/web.

The two speak over a pair of sockets that bin/run makes and hands down: it has no address, so nobody else can
ask, and a bin/web that was started alone has none. Each request and each answer is a line of JSON.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from atm.checkout import command_here
from atm.local_links import LinkedCluster
from atm.local_proxy import Direction

NodeFault = Literal["kill", "pause", "resume", "start"]
LinkFault = Literal["cut", "mend"]
State = Literal["running", "paused", "stopped"]
POSSIBLE: Mapping[State, frozenset[str]] = {
    "running": frozenset({"kill", "pause"}),
    "paused": frozenset({"resume", "kill"}),
    "stopped": frozenset({"start"}),
}
ANSWER_WITHIN_S = 10.0
LINE_BYTES_MAX = 128 * 1024  # more than the body of a request to bin/web


class Fault(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A fault in a node, or in links: each from the node that sends to the one that receives."""

    fault: NodeFault | LinkFault
    node: str = ""
    links: Sequence[Direction] = ()


class Situation(Struct, frozen=True, kw_only=True):
    """The nodes that can be changed, those of them whose links can be cut, and what is cut."""

    servers: Mapping[str, State] = {}
    linked: Sequence[str] = ()
    cuts: Sequence[Direction] = ()


class _Answer(Struct, frozen=True, kw_only=True):
    situation: Situation
    refused: str | None = None


class FaultServer:
    """Makes faults in the nodes that a `LinkedCluster` has started, and in their links, until `end`."""

    def __init__(self, cluster: LinkedCluster, start: Callable[[str], None]) -> None:
        """`start` starts a node, unless it must not any more."""
        self._cluster = cluster
        self._start = start
        self._paused: set[str] = set()
        self._making = threading.Lock()  # guards _paused and _ended; no fault is made once that is set
        self._ended = False
        self._own: socket.socket | None = None

    def begin(self) -> socket.socket:
        """Answer in the background; return the end for the process that asks, for that one alone."""
        self._own, other = socket.socketpair()
        threading.Thread(target=self._answer_all, args=(self._own,), name="faults", daemon=True).start()
        return other

    def end(self) -> None:
        """Make no fault any more."""
        with self._making:
            self._ended = True
        if self._own is not None:
            with contextlib.suppress(OSError):
                self._own.shutdown(socket.SHUT_RDWR)

    def _answer_all(self, own: socket.socket) -> None:
        with own, contextlib.suppress(OSError), own.makefile("rwb") as lines:
            while line := lines.readline(LINE_BYTES_MAX):
                lines.write(msgspec.json.encode(self._answer(line)) + b"\n")
                lines.flush()

    def _answer(self, line: bytes) -> _Answer:
        """Make the fault that is asked for, if any; tell how things are after it, or why it is not made."""
        asked = msgspec.json.decode(line, type=Fault | None)
        with self._making:
            refused = None if asked is None else self._make(asked)
            situation = Situation(
                servers={name: self._state(name) for name in self._cluster.processes},
                linked=self._cluster.linked,
                cuts=sorted(self._cluster.cuts),
            )
        return _Answer(situation=situation, refused=refused)

    def _make(self, asked: Fault) -> str | None:
        if self._ended:
            return "the bank is about to stop"
        match asked.fault:
            case "cut" | "mend" as fault:
                return self._change_links(fault, asked.links)
            case fault:
                return self._change_node(asked.node, fault)

    def _change_links(self, fault: LinkFault, links: Sequence[Direction]) -> str | None:
        if not links:
            return "no link is named"
        for source, target in links:
            if source == target or not {source, target}.issubset(self._cluster.linked):
                return (
                    f"there is no link from {source[:64]} to {target[:64]} that could be cut: both must be "
                    f"servers that {command_here('run')} has started, on loopback addresses, without TLS"
                )
        try:
            if fault == "cut":
                self._cluster.cut(links)
            else:
                self._cluster.mend(links)
        except OSError as error:
            return f"the links cannot be changed: {error}"
        return None

    def _change_node(self, name: str, fault: NodeFault) -> str | None:
        if name not in self._cluster.processes:
            return f"{name} is no server that {command_here('run')} has started"
        state = self._state(name)
        if fault not in POSSIBLE[state]:
            return f"{name} is {state}: what can be done is {' or '.join(sorted(POSSIBLE[state]))}"
        match fault:
            case "kill":
                self._cluster.kill(name)
            case "pause":
                self._cluster.pause(name)
                self._paused.add(name)
            case "resume":
                self._cluster.resume(name)
                self._paused.discard(name)
            case "start":
                self._start(name)
        return None

    def _state(self, name: str) -> State:
        if self._cluster.processes[name].poll() is not None:
            self._paused.discard(name)
            return "stopped"
        return "paused" if name in self._paused else "running"


class FaultsRefused(Exception):
    """The fault was not made; `str()` is a line for people."""


class FaultClient:
    """The other end, in bin/web. Threads may ask at once."""

    def __init__(self, connection: socket.socket) -> None:
        """Take over the connection."""
        connection.settimeout(ANSWER_WITHIN_S)
        self._lines = connection.makefile("rwb")
        self._asking = threading.Lock()  # guards the connection: an answer belongs to the request before it

    def situation(self) -> Situation:
        """Return what can be changed, and how it is."""
        return self._ask(None)

    def make(self, fault: Fault) -> Situation:
        """Make a fault, and return how things are after it; raise `FaultsRefused`."""
        return self._ask(fault)

    def _ask(self, asked: Fault | None) -> Situation:
        with self._asking:
            try:
                self._lines.write(msgspec.json.encode(asked) + b"\n")
                self._lines.flush()
                line = self._lines.readline()
            except (OSError, ValueError) as error:
                raise FaultsRefused(f"{command_here('run')} does not answer: {error}") from None
        if not line:
            raise FaultsRefused(f"{command_here('run')} has ended")
        answer = msgspec.json.decode(line, type=_Answer)
        if answer.refused is not None:
            raise FaultsRefused(answer.refused)
        return answer.situation
