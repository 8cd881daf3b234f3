"""Two-phase commit. A participant that has voted yes may not decide alone: without the coordinator it waits.

The coordinator asks all servers to prepare. If all vote yes it notes `commit` on its disk, and tells them;
if one does not, or not in time, `abort`. A participant that hears nothing asks the others. One that knows the
outcome, or never voted, settles it; if all have voted yes and none knows, they are blocked: the coordinator
may have decided either way, and told a server that has died since.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lessons.commit.protocol import Protocol
from lessons.commit.world import TIMEOUT_US, World
from lessons.frames import TURN, MessageKind


class TwoPhase(Protocol):
    name = "Two-phase commit"

    def __init__(
        self, world: World, acknowledged: Callable[[int], None], voted: Callable[[int], None] = lambda _: None
    ) -> None:
        self._votes: dict[int, set[str]] = {}  # of payments under way, at the coordinator; lost when it dies
        super().__init__(world, acknowledged, voted)

    def coordinator_of(self, node: str) -> str:
        return self.world.names[0]

    def begin(self, coordinator: str, payment: int) -> None:
        if self.copies[coordinator].undecided:
            self._abort(coordinator, payment, "the account is locked by a payment that is not decided")
            return
        self._votes[payment] = {coordinator}
        self.copies[coordinator].undecided[payment] = "prepared"
        self.show(coordinator)
        for other in self._others(coordinator):
            text = f"Prepare payment {payment}"
            self.world.send(coordinator, other, text, "vote-request", partial(self._prepare, other, payment))
        self.world.later(coordinator, TIMEOUT_US, lambda: self._out_of_time(coordinator, payment))

    def _prepare(self, node: str, payment: int) -> None:
        """A participant votes; from its yes on the account is locked, and it may not change its mind."""
        copy, coordinator = self.copies[node], self.coordinator_of(node)
        if payment in copy.decided:
            return
        agrees = not copy.undecided
        if agrees:
            copy.undecided[payment] = "prepared"
            self.show(node)
            self.world.later(node, TIMEOUT_US, lambda: self._ask_others(node, payment))
        text = f"{'Yes, I am prepared for' if agrees else 'No, the account is locked:'} payment {payment}"
        kind: MessageKind = "vote" if agrees else "order"
        self.world.send(node, coordinator, text, kind, lambda: self._vote(coordinator, node, payment, agrees))

    def _vote(self, coordinator: str, voter: str, payment: int, agrees: bool) -> None:
        votes = self._votes.get(payment)
        if votes is None:
            return
        if not agrees:
            self._abort(coordinator, payment, f"{voter} has voted no")
            return
        votes.add(voter)
        if len(votes) == len(self.world.names):
            del self._votes[payment]
            self._voted(payment)
            if self.world.up[coordinator]:
                self._commit(coordinator, payment)

    def _commit(self, coordinator: str, payment: int) -> None:
        self.decide(coordinator, payment, True)
        why = "all have voted yes, and this is on its disk"
        self.world.note("commit", coordinator, f"{coordinator} commits payment {payment}", why)
        self._tell(coordinator, payment, True)
        self._acknowledged(payment)

    def _abort(self, coordinator: str, payment: int, why: str) -> None:
        self._votes.pop(payment, None)
        self.decide(coordinator, payment, False)
        self.world.note("refusal", coordinator, f"{coordinator} aborts payment {payment}", why)
        self._tell(coordinator, payment, False)

    def _out_of_time(self, coordinator: str, payment: int) -> None:
        if payment in self._votes:
            missing = [name for name in self.world.names if name not in self._votes[payment]]
            self._abort(coordinator, payment, f"no vote of {', '.join(missing)}: all must agree")

    def _tell(self, sender: str, payment: int, commits: bool) -> None:
        text = f"{'Commit' if commits else 'Abort'} payment {payment}"
        for other in self._others(sender):
            self.world.send(sender, other, text, "append", partial(self.decide, other, payment, commits))

    # -- without the coordinator --------------------------------------------------------------------------

    def _ask_others(self, node: str, payment: int) -> None:
        """A participant that has waited long enough asks everybody, again and again."""
        copy = self.copies[node]
        if payment not in copy.undecided:
            return
        if copy.undecided[payment] != "blocked":
            copy.undecided[payment] = "blocked"
            why = "it has voted yes, so the coordinator may have committed, or not: it may do neither"
            self.world.note("step-down", node, f"{node} is blocked on payment {payment}", why, TURN)
            self.show(node)
        for other in self._others(node):
            text = f"What became of payment {payment}?"
            self.world.send(node, other, text, "vote-request", partial(self._asked, other, node, payment))
        self.world.later(node, TIMEOUT_US, lambda: self._ask_others(node, payment))

    def _asked(self, node: str, asker: str, payment: int) -> None:
        """Tell what is known; a server that has not voted rules the payment out, and so settles it."""
        copy = self.copies[node]
        if payment not in copy.decided and payment not in copy.undecided:
            self.decide(node, payment, False)
        if payment in copy.decided:
            commits = copy.decided[payment]
            text = f"Payment {payment} is {'committed' if commits else 'aborted'}"
            self.world.send(node, asker, text, "append", lambda: self.decide(asker, payment, commits))

    def not_answered(self, node: str, coordinator: str) -> None:
        """Without its coordinator a server can do nothing for a new payment."""

    def recover(self, node: str) -> None:
        """A coordinator that noted no decision has made none, and aborts; a participant asks."""
        for payment in list(self.copies[node].undecided):
            if node == self.coordinator_of(node):
                self._abort(node, payment, "its disk has no decision, so it had made none")
            else:
                self._ask_others(node, payment)
        self.show(node)

    def _others(self, node: str) -> list[str]:
        return [name for name in self.world.names if name != node]
