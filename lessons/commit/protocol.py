"""What two- and three-phase commit share: servers with a copy each, payments, and who coordinates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

from lessons.commit.world import AMOUNT_MINOR, TIMEOUT_US, World
from lessons.wording import amount_text


@dataclass
class Copy:
    """What one server has on its disk. `undecided` are payments it has voted for, in which state."""

    decided: dict[int, bool] = field(default_factory=dict)  # committed or not, by payment
    undecided: dict[int, str] = field(default_factory=dict)

    @property
    def balance_minor(self) -> int:
        return AMOUNT_MINOR * sum(self.decided.values())


class Protocol(ABC):
    """A commit protocol on a `World`; `acknowledged(payment)` is called when a customer hears of it.

    `voted(payment)` is called at the moment when a coordinator has all votes, before it does anything with
    them: where it hurts most to die.
    """

    name: str

    def __init__(
        self, world: World, acknowledged: Callable[[int], None], voted: Callable[[int], None] = lambda _: None
    ) -> None:
        self.world = world
        self.copies = {name: Copy() for name in world.names}
        self._acknowledged, self._voted = acknowledged, voted
        for name in world.names:
            self.show(name)

    @abstractmethod
    def coordinator_of(self, node: str) -> str:
        """Return who coordinates, as `node` sees it."""

    @abstractmethod
    def begin(self, coordinator: str, payment: int) -> None:
        """`coordinator` is asked to bring a payment about."""

    def pay(self, node: str, payment: int) -> None:
        """A customer at `node` pays in."""
        world = self.world
        if not world.up[node]:
            return
        coordinator = self.coordinator_of(node)
        if coordinator == node:
            self.begin(node, payment)
            return
        text = f"A customer pays in {amount_text(AMOUNT_MINOR)}: payment {payment}"
        heard: list[int] = []

        def arrive() -> None:
            world.send(
                coordinator, node, f"I have payment {payment}", "append-answer", lambda: heard.append(payment)
            )
            self.begin(coordinator, payment)

        world.send(node, coordinator, text, "other", arrive)
        world.later(node, TIMEOUT_US, lambda: None if heard else self.not_answered(node, coordinator))

    @abstractmethod
    def not_answered(self, node: str, coordinator: str) -> None:
        """Nothing was heard of the coordinator in time."""

    @abstractmethod
    def recover(self, node: str) -> None:
        """`node` has started again, with its copy."""

    def decide(self, node: str, payment: int, commits: bool) -> None:
        """`node` notes the outcome of a payment, durably."""
        copy = self.copies[node]
        copy.undecided.pop(payment, None)
        known = copy.decided.setdefault(payment, commits)
        if known == commits:
            self.show(node)

    def show(self, node: str) -> None:
        copy = self.copies[node]
        coordinates = self.coordinator_of(node) == node
        role = "coordinator" if coordinates else "participant"
        if copy.undecided:
            payment, state = next(iter(copy.undecided.items()))
            role = state if state == "blocked" else f"{state} {payment}"
        self.world.show(
            node,
            up=self.world.up[node],
            role=role,
            look="blocked"
            if "blocked" in copy.undecided.values()
            else "leader"
            if coordinates
            else "follower",
            lines=[amount_text(copy.balance_minor), f"{sum(copy.decided.values())} paid"],
        )
