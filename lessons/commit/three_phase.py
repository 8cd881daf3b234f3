"""Three-phase commit. Nobody waits for ever: whoever hears nothing decides alone, two perhaps differently.

Between vote and decision there is a phase in which all learn that all have voted yes. A participant that
hears nothing any more commits if it knows that, and aborts if it does not. That is right as long as a server
that is not heard has died, and wrong when the network is split: one side knows, and the other does not.

Who coordinates is the first server that is not taken for dead, and it goes on with those that are left: the
protocol is made for servers that fail by stopping, and for a network that never does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lessons.commit.protocol import Protocol
from lessons.commit.world import TIMEOUT_US, World
from lessons.frames import TURN

READY, PREPARED = "ready", "pre-committed"


class ThreePhase(Protocol):
    name = "Three-phase commit"

    def __init__(
        self, world: World, acknowledged: Callable[[int], None], voted: Callable[[int], None] = lambda _: None
    ) -> None:
        self._dead: dict[str, set[str]] = {name: set() for name in world.names}  # as each server believes
        self._votes: dict[tuple[str, int], set[str]] = {}  # by coordinator and payment, of each phase in turn
        self._awaited: dict[tuple[str, int], set[str]] = {}  # who takes part, from the first phase on
        super().__init__(world, acknowledged, voted)

    def coordinator_of(self, node: str) -> str:
        return next(name for name in self.world.names if name not in self._dead[node])

    def begin(self, coordinator: str, payment: int) -> None:
        if not self._free(coordinator, payment):
            return
        self.copies[coordinator].undecided[payment] = READY
        self.show(coordinator)
        self._awaited[coordinator, payment] = set(self._alive(coordinator))
        self._ask(coordinator, payment, f"Can you commit payment {payment}?", self._can_commit)

    def _ask(
        self, coordinator: str, payment: int, text: str, arrival: Callable[[str, str, int], None]
    ) -> None:
        """Begin a phase: ask all that are not taken for dead, and wait for their answers."""
        key = (coordinator, payment)
        votes = self._votes[key] = {coordinator}
        for other in sorted(self._awaited[key]):
            self.world.send(
                coordinator, other, text, "vote-request", partial(arrival, other, coordinator, payment)
            )
        self.world.later(coordinator, TIMEOUT_US, lambda: self._out_of_time(coordinator, payment, votes))
        self._look(coordinator, payment)

    def _can_commit(self, node: str, coordinator: str, payment: int) -> None:
        agrees = self._free(node, payment)
        if agrees:
            self.copies[node].undecided[payment] = READY
            self.show(node)
            self.world.later(node, 2 * TIMEOUT_US, lambda: self._decide_alone(node, coordinator, payment))
        text = f"{'Yes' if agrees else 'No, the account is locked'}, payment {payment}"
        self._answer(node, coordinator, payment, text, agrees)

    def _pre_commit(self, node: str, coordinator: str, payment: int) -> None:
        if payment in self.copies[node].undecided:
            self.copies[node].undecided[payment] = PREPARED
            self.show(node)
            self._answer(node, coordinator, payment, f"I know that all agree to payment {payment}", True)

    def _answer(self, node: str, coordinator: str, payment: int, text: str, agrees: bool) -> None:
        def arrive() -> None:
            votes = self._votes.get((coordinator, payment))
            if votes is None:
                return
            if not agrees:
                self._end(coordinator, payment, False, f"{node} has voted no")
                return
            votes.add(node)
            self._look(coordinator, payment)

        self.world.send(node, coordinator, text, "vote" if agrees else "order", arrive)

    def _look(self, coordinator: str, payment: int) -> None:
        """Go on to the next phase once all have answered."""
        if not self._votes[coordinator, payment] >= self._awaited[coordinator, payment]:
            return
        copy = self.copies[coordinator]
        if copy.undecided.get(payment) == READY:
            copy.undecided[payment] = PREPARED
            self.show(coordinator)
            self._voted(payment)
            if self.world.up[coordinator]:
                self._ask(coordinator, payment, f"All agree to payment {payment}", self._pre_commit)
        elif payment in copy.undecided:
            self._end(coordinator, payment, True, "all know that all agree")

    def _end(self, coordinator: str, payment: int, commits: bool, why: str) -> None:
        self._votes.pop((coordinator, payment), None)
        self.decide(coordinator, payment, commits)
        kind = "commit" if commits else "refusal"
        verb = "commits" if commits else "aborts"
        self.world.note(kind, coordinator, f"{coordinator} {verb} payment {payment}", why)
        text = f"{'Commit' if commits else 'Abort'} payment {payment}"
        for other in self._alive(coordinator):
            self.world.send(coordinator, other, text, "append", partial(self.decide, other, payment, commits))
        if commits:
            self._acknowledged(payment)

    # -- whoever hears nothing decides alone -----------------------------------------------------------

    def _out_of_time(self, coordinator: str, payment: int, votes: set[str]) -> None:
        if self._votes.get((coordinator, payment)) is not votes:
            return
        missing = self._awaited[coordinator, payment] - votes
        self._take_for_dead(coordinator, missing)
        commits = self.copies[coordinator].undecided.get(payment) == PREPARED
        what = "all had agreed" if commits else "they may not have agreed"
        self._end(coordinator, payment, commits, f"{', '.join(sorted(missing))} did not answer, and {what}")

    def _decide_alone(self, node: str, coordinator: str, payment: int) -> None:
        """The coordinator is silent: commit if all are known to agree, abort if not."""
        state = self.copies[node].undecided.get(payment)
        if state is None:
            return
        commits = state == PREPARED
        self._take_for_dead(node, {coordinator})
        self.decide(node, payment, commits)
        why = "it knew that all agree" if commits else "it did not know whether all agree"
        text = f"{node} {'commits' if commits else 'aborts'} payment {payment} on its own"
        self.world.note("step-down", node, text, f"{coordinator} is silent, and {why}", TURN)

    def not_answered(self, node: str, coordinator: str) -> None:
        self._take_for_dead(node, {coordinator})

    def _take_for_dead(self, node: str, others: set[str]) -> None:
        new = others - self._dead[node] - {node}
        if new:
            before = self.coordinator_of(node)
            self._dead[node] |= new
            self.world.note("report", node, f"{node} takes {', '.join(sorted(new))} for dead")
            if self.coordinator_of(node) == node != before:
                self.world.note(
                    "elected", node, f"{node} coordinates from now on", "it is the first that is left", TURN
                )
            self.show(node)

    def recover(self, node: str) -> None:
        """A server that is back tells the others, and takes over what they have decided meanwhile."""
        for other in self.world.names:
            if other != node:
                text = "I am back: what was decided?"
                self.world.send(node, other, text, "vote-request", partial(self._is_back, other, node))
        before = list(self.copies[node].undecided)
        self.world.later(node, TIMEOUT_US, lambda: self._settle(node, before))
        self.show(node)

    def _is_back(self, node: str, other: str) -> None:
        self._dead[node].discard(other)
        self.show(node)
        decided = dict(self.copies[node].decided)

        def learn() -> None:
            for payment, commits in decided.items():
                self.decide(other, payment, commits)

        self.world.send(node, other, f"These {len(decided)} payments", "append", learn)

    def _settle(self, node: str, payments: list[int]) -> None:
        """What nobody knew is decided as after a timeout."""
        for payment in payments:
            self._decide_alone(node, self.coordinator_of(node), payment)

    def _free(self, node: str, payment: int) -> bool:
        copy = self.copies[node]
        return not copy.undecided and payment not in copy.decided

    def _alive(self, node: str) -> list[str]:
        return [name for name in self.world.names if name != node and name not in self._dead[node]]
