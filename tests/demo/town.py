"""Three branches and a coordinator without processes: who is down does not answer."""

from __future__ import annotations

from pathlib import Path

from demo.two_phase.branch import Branch
from demo.two_phase.coordinator import Coordinator
from demo.two_phase.messages import COORDINATOR, Inquire, Look, Outcome, Reply, Request, Transfer, branch_of

ACCOUNTS = {"north/alice": 100, "south/bob": 100, "east/dave": 100}
TRANSFER = Transfer(id="T1", source="north/alice", target="south/bob", amount=40)


class Killed(Exception):
    """The coordinator ends here, as by kill -9."""


class Town:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.down: set[str] = set()
        self.asked: list[tuple[str, Request]] = []
        self.kill_at: str | None = None
        self.branches = {name: self._branch(name) for name in ("north", "south", "east")}
        self.coordinator = self._coordinator()

    def _branch(self, name: str) -> Branch:
        accounts = {account: amount for account, amount in ACCOUNTS.items() if branch_of(account) == name}
        return Branch(name, self.folder / f"{name}.db", accounts)

    def _coordinator(self) -> Coordinator:
        return Coordinator(self.folder / "coordinator.db", self.ask, self._reached)

    def _reached(self, _transaction: str, stage: str) -> None:
        if stage == self.kill_at:
            raise Killed

    def ask(self, whom: str, request: Request) -> Reply | None:
        self.asked.append((whom, request))
        if whom in self.down:
            return None
        if whom == COORDINATOR:
            return self.coordinator.answer(request)
        return self.branches[whom].answer(request)

    def kill_the_coordinator_at(self, stage: str, transfer: Transfer = TRANSFER) -> None:
        """Have it serve the transfer up to `stage` and die there."""
        self.kill_at = stage
        try:
            self.coordinator.answer(transfer)
        except Killed:
            self.down.add(COORDINATOR)
        else:
            raise AssertionError(f"it never came to {stage}")

    def start_the_coordinator_again(self) -> None:
        self.coordinator.close()
        self.kill_at = None
        self.coordinator = self._coordinator()
        self.down.discard(COORDINATOR)

    def restart(self, name: str) -> None:
        self.branches[name].close()
        self.branches[name] = self._branch(name)

    def settle(self, name: str) -> list[str]:
        """Have the branch ask about all that it waits for; return why it still waits."""
        branch = self.branches[name]
        return [branch.settle(promise, self.ask) for promise in branch.in_doubt()]

    def balance(self, account: str) -> int | None:
        return self.branches[branch_of(account)].answer(Look(account=account)).balance

    def state(self, name: str, transaction: str = "T1") -> Outcome:
        return self.branches[name].answer(Inquire(id=transaction)).outcome
