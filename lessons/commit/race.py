"""One fault, three protocols: how long no payment was acknowledged, and whether the copies still agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Literal

from msgspec import Struct

from lessons.commit.on_raft import OnRaft
from lessons.commit.protocol import Protocol
from lessons.commit.three_phase import ThreePhase
from lessons.commit.two_phase import TwoPhase
from lessons.commit.world import AMOUNT_MINOR, World
from lessons.frames import Frame
from lessons.wording import amount_text

PAYMENT_EVERY_US = 100_000
FAULT_AT_PAYMENT = 10  # when the votes of this one are in
RAFT_DELAY_US = 25_000  # after that payment was asked for, its entry is on the way to the followers
OUTAGE_US = 3_000_000
END_US = 7_000_000
SETTLE_US = 2_000_000  # without new payments, so that what is under way can end

ProtocolName = Literal["two_phase", "three_phase", "raft"]
PROTOCOLS: Mapping[ProtocolName, type[Protocol] | type[OnRaft]] = {
    "two_phase": TwoPhase,
    "three_phase": ThreePhase,
    "raft": OnRaft,
}


class Fault(Struct, frozen=True):
    """What happens at the worst moment; `what` in a sentence for the reader."""

    name: str
    title: str
    what: str


FAULTS = (
    Fault(
        "returns",
        "The coordinator dies, and is back after 3 s",
        "The coordinator (with Raft, the leader) dies when all have voted for payment 10, before it has told "
        "anybody.",
    ),
    Fault("dies", "The coordinator dies for good", "As before, but nobody starts it again."),
    Fault(
        "split",
        "The network is split for 3 s",
        "When all have voted for payment 10, the coordinator (with Raft, the leader) and one more server are "
        "cut off from the other three.",
    ),
    Fault(
        "participant",
        "One other server dies for 3 s",
        "A server that is neither coordinator nor leader dies.",
    ),
)


class Result(Struct):
    """What became of the payments after the fault.

    `unavailable_us` is the longest time without an acknowledgement; `ended` is False if that was still going
    on at the end. `split` are the payments that some copies have and others do not.
    """

    protocol: str
    unavailable_us: int
    ended: bool
    acknowledged: int
    asked: int
    split: list[int]
    balances: list[str]
    why: str


def run(protocol: ProtocolName, fault: str, take: Callable[[Frame], None]) -> Result:
    """Run one protocol under one fault; pass its frames on."""
    assert fault in {each.name for each in FAULTS}
    return _on_raft(fault, take) if protocol == "raft" else _on_copies(protocol, fault, take)


def _on_copies(protocol: ProtocolName, fault: str, take: Callable[[Frame], None]) -> Result:
    acknowledged: list[int] = []
    at_us: list[int] = []
    world = World(take)

    def note(payment: int) -> None:
        acknowledged.append(payment)
        at_us.append(world.now_us)

    def strike(payment: int) -> None:
        if payment == FAULT_AT_PAYMENT:
            struck.append(world.now_us)
            _strike(fault, world, system)

    struck: list[int] = []
    made = PROTOCOLS[protocol]
    assert issubclass(made, Protocol)
    system = made(world, note, strike)
    asked = 0
    for moment_us in range(0, END_US, PAYMENT_EVERY_US):
        world.loop.after(moment_us, lambda n=asked: system.pay(world.names[n % 5], n))  # type: ignore[misc]
        asked += 1
    world.loop.run_until(END_US + SETTLE_US)
    longest_us, ended = _longest_gap(at_us, struck[0] if struck else 0)
    copies = [copy.decided for name, copy in system.copies.items() if world.up[name]]
    payments = set().union(*copies)
    split = sorted(p for p in payments if len({copy[p] for copy in copies if p in copy}) > 1)
    # A payment that one side has done and the other has never heard of is split, too.
    split += (
        sorted(
            p
            for p in payments - set(split)
            if any(c.get(p) for c in copies) and not all(p in c for c in copies)
        )
        if fault == "split"
        else []
    )
    balances = sorted({amount_text(AMOUNT_MINOR * sum(decided.values())) for decided in copies})
    return Result(
        system.name,
        longest_us,
        ended,
        len(acknowledged),
        asked,
        sorted(split),
        balances,
        _why(protocol, fault),
    )


def _strike(fault: str, world: World, system: Protocol) -> None:
    first, second, *_ = world.names
    match fault:
        case "returns" | "dies":
            world.kill(first)
        case "participant":
            world.kill(world.names[-1])
        case "split":
            world.split([first, second])
            world.loop.after(OUTAGE_US, world.mend)
    victim = {"returns": first, "participant": world.names[-1]}.get(fault)
    if victim is not None:

        def back() -> None:
            world.start(victim)
            system.recover(victim)

        world.loop.after(OUTAGE_US, back)


def _on_raft(fault: str, take: Callable[[Frame], None]) -> Result:
    at_us: list[int] = []
    system = OnRaft(take, lambda payment: at_us.append(system.now_us))
    playground = system.playground
    names = system.names
    due = [(moment_us, "pay", n) for n, moment_us in enumerate(range(0, END_US, PAYMENT_EVERY_US))]
    fault_us = FAULT_AT_PAYMENT * PAYMENT_EVERY_US + RAFT_DELAY_US
    due += [(fault_us, "strike", 0), (fault_us + OUTAGE_US, "mend", 0)]
    for moment_us, what, number in sorted(due):
        playground.advance(moment_us - system.now_us)
        match what, fault:
            case "pay", _:
                system.pay(names[number % 5], number)
            case "strike", "returns" | "dies":
                playground.kill(names[0])
            case "strike", "split":
                playground.isolate(*names[:2])
            case "strike", _:
                playground.kill(names[-1])
            case "mend", "split":
                playground.mend()
            case "mend", "returns":
                playground.start(names[0])
            case "mend", "participant":
                playground.start(names[-1])
    playground.advance(END_US + SETTLE_US - system.now_us)
    longest_us, ended = _longest_gap(at_us, fault_us)
    balances = sorted(amount_text(balance) for balance in system.balances())
    asked = END_US // PAYMENT_EVERY_US
    split: list[int] = [] if len(balances) == 1 and not playground.broken else [-1]
    return Result(system.name, longest_us, ended, len(at_us), asked, split, balances, _why("raft", fault))


def _longest_gap(at_us: list[int], struck_us: int) -> tuple[int, bool]:
    """Return the longest time after the fault in which nothing was acknowledged, and whether it has ended."""
    times = sorted([struck_us, *(at for at in at_us if struck_us < at <= END_US), END_US])
    gaps = [(later - earlier, later) for earlier, later in pairwise(times)]
    longest_us, until_us = max(gaps)
    return longest_us, until_us < END_US or longest_us <= 2 * PAYMENT_EVERY_US


def _why(protocol: ProtocolName, fault: str) -> str:
    return _REASONS[protocol, fault]


_REASONS: Mapping[tuple[ProtocolName, str], str] = {
    (
        "two_phase",
        "returns",
    ): "The others have voted yes and may not decide alone: they wait for the coordinator.",
    (
        "two_phase",
        "dies",
    ): "The others have voted yes and may not decide alone: they wait for ever, or for a person.",
    (
        "two_phase",
        "split",
    ): "Three servers have voted yes and hear nothing: they are blocked, and all must agree.",
    ("two_phase", "participant"): "All must agree, so one dead server stops every payment.",
    ("three_phase", "returns"): "The others do not know that all know, abort, and go on without it.",
    ("three_phase", "dies"): "The others do not know that all know, abort, and go on without it.",
    (
        "three_phase",
        "split",
    ): "Two servers know that all have agreed and commit; three do not and abort. Then both "
    "sides take payments.",
    (
        "three_phase",
        "participant",
    ): "It is taken for dead, and the others go on; when it is back, it asks what it missed.",
    (
        "raft",
        "returns",
    ): "A majority elects another leader; requests are repeated under their ids, and done once.",
    (
        "raft",
        "dies",
    ): "A majority elects another leader; requests are repeated under their ids, and done once.",
    (
        "raft",
        "split",
    ): "The side with a majority elects a leader. The other side acknowledges nothing, and follows "
    "when the network is whole.",
    (
        "raft",
        "participant",
    ): "A majority is enough; the server catches up from the leader's log when it is back.",
}
