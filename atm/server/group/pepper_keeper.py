"""Changes the pepper while the bank serves: lets a leader make it current, and carry the stored PINs over.

The ledger says which pepper is current and whether all is carried over to it, so the next leader, or this
one after a restart, goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from atm.ledger.commands import BANK, Reseal, RotatePepper
from atm.ledger.ledger import ClusterState
from atm.ledger.peppers import PepperState, generation_of
from atm.ledger.requests import holds_older_pin
from atm.raft import Configuration, EntryKind, NodeId, Role
from atm.server.group.administration import Done, Refused
from atm.wire.codec import encode
from atm.wire.log_entries import command_data

PAUSE_S = 0.05  # between two entries, so that customers do not notice
ACCOUNTS_AT_ONCE = 100  # looked at, and carried over by one entry, which takes every server a few ms
REQUESTS_AT_ONCE = 1_000  # looked at; few of them set a PIN


class Core(Protocol):
    """What the keeper needs of `Raft`."""

    @property
    def role(self) -> Role: ...
    @property
    def term(self) -> int: ...
    @property
    def configuration(self) -> tuple[int, Configuration]: ...

    def propose(self, data: Sequence[bytes], now_us: int, kind: EntryKind = EntryKind.COMMAND) -> int: ...


class StoredPins(Protocol):
    """What is sealed, as the books have it."""

    def pins_after(self, account: str, limit: int) -> Sequence[tuple[str, str | None]]: ...
    def new_pins_after(self, request_id: str, limit: int) -> Sequence[tuple[str, str | None]]: ...


class Books(StoredPins, Protocol):
    """What the keeper needs of the ledger."""

    @property
    def decided_index(self) -> int: ...
    @property
    def cluster(self) -> ClusterState: ...
    @property
    def pepper(self) -> PepperState: ...


class KnownPeppers(Protocol):
    """What it needs of the peppers in this server's file."""

    @property
    def names(self) -> Sequence[str]: ...

    def knows(self, current: PepperState) -> bool: ...
    def carried(self, seal: str, generation: int) -> str: ...


class Pass(Struct):
    """How far this leader has gone through the ledger: what was looked at last, None at the end."""

    term: int
    generation: int
    account: str | None = ""
    request_id: str | None = ""
    prepared: Reseal | None = None  # not proposed yet
    newest_index: int = 0  # of the last entry that was proposed


class PepperKeeper:
    """Decides on a newer pepper, and carries over to it, on a leader only. Only within an iteration."""

    def __init__(
        self,
        node: NodeId,
        core: Core,
        ledger: Books,
        own: Callable[[], KnownPeppers],
        others: Callable[[], Mapping[NodeId, Sequence[str]]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`own` are the peppers of this server, `others` the names that the connected ones have told."""
        self._node, self._core, self._ledger = node, core, ledger
        self._own, self._others = own, others
        self._clock = clock
        self._pass = Pass(0, 0)
        self._not_before_s = 0.0

    def check_rotation(self, request: RotatePepper) -> Done | None:
        """Return None if it may be proposed; raise `Refused` unless every member knows the pepper."""
        level = self._ledger.cluster.feature_level
        if level < request.level:
            raise Refused(
                f"the cluster is at feature level {level}, at which the pepper cannot be changed: run "
                "release 1.2 or newer on all nodes, and start those that are down"
            )
        others = {**self._others(), self._node: self._own().names}
        known = {member.node: others.get(member.node) for member in self._core.configuration[1]}
        return check_rotation(request, self._ledger.pepper, known)

    # -- carrying over --------------------------------------------------------------------------------

    def look(self) -> None:
        """Prepare the next entry, if one is due. The lock is not held: this reads the ledger's file."""
        current, own = self._ledger.pepper, self._own()
        if self._core.role is not Role.LEADER or current.carried_index is not None or not own.knows(current):
            return
        if (self._pass.term, self._pass.generation) != (self._core.term, current.generation):
            self._pass = Pass(self._core.term, current.generation)
        is_under_way = self._pass.prepared is not None or self._pass.newest_index > self._ledger.decided_index
        if is_under_way or self._clock() < self._not_before_s:
            return
        self._not_before_s = self._clock() + PAUSE_S
        self._pass.prepared = next_reseal(self._pass, self._ledger, own)

    def propose(self, now_us: int) -> None:
        """Propose what was prepared by this leader, if anything."""
        at = self._pass
        if at.prepared is not None and at.term == self._core.term:
            at.newest_index = self._core.propose([command_data(BANK, encode(at.prepared))], now_us)
            at.prepared = None


def check_rotation(
    request: RotatePepper, current: PepperState, known: Mapping[NodeId, Sequence[str] | None]
) -> Done | None:
    """Return None if it may be decided; raise `Refused` unless every member knows the pepper.

    `known` are the names of the peppers in each member's file, None of one that does not tell them.
    """
    if (request.generation, request.pepper) == (current.generation, current.name):
        return Done(f"pepper {current.name} is current already", current.log_index)
    if request.generation <= current.generation:
        raise Refused(f"pepper {current.name} is current, and {request.pepper} is not a newer one")
    lacking = ", ".join(why for node, names in known.items() if (why := _lack_of(node, names, request)))
    if lacking:
        raise Refused(
            f"pepper {request.pepper} is not known to all members: {lacking}. Copy the pepper file there"
        )
    return None


def _lack_of(node: NodeId, names: Sequence[str] | None, request: RotatePepper) -> str:
    """Return why a member cannot use the pepper, "" if it can."""
    if names is None:
        return f"{node} is not connected"
    known = tuple(names[request.generation - 1 : request.generation])
    return "" if known == (request.pepper,) else f"{node} lacks it"


def next_reseal(at: Pass, stored: StoredPins, own: KnownPeppers) -> Reseal | None:
    """Look at some more of the ledger; return what is to be carried over, None if nothing is.

    One pass is enough: nothing is sealed for an older pepper since the newer one is current.
    """
    generation = at.generation
    if at.account is not None:
        pins = stored.pins_after(at.account, ACCOUNTS_AT_ONCE)
        at.account = pins[-1][0] if len(pins) == ACCOUNTS_AT_ONCE else None
        seals = tuple(
            (name, own.carried(seal, generation))
            for name, seal in pins
            if seal is not None and generation_of(seal) < generation
        )
        return Reseal(generation=generation, seals=seals) if seals else None
    if at.request_id is not None:
        asked = stored.new_pins_after(at.request_id, REQUESTS_AT_ONCE)
        at.request_id = asked[-1][0] if len(asked) == REQUESTS_AT_ONCE else None
        receipts = tuple(
            request_id
            for request_id, details in asked
            if details is not None and holds_older_pin(details, generation)
        )
        return Reseal(generation=generation, receipts=receipts) if receipts else None
    return Reseal(generation=generation, done=True)
