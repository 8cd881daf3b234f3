"""What a server watches besides its work, together with the others: so far, whether the ledgers are equal."""

from __future__ import annotations

from collections.abc import Sequence

from atm.ledger.commands import LedgerReceipt
from atm.ledger.ledger import Record
from atm.server.group.ledger_comparison import LedgerComparison
from atm.wire.peer_messages import PeerReport


class Guards:
    """The guards of one server, and the `StateMachine` of perform.py. Only within an iteration."""

    def __init__(self, comparison: LedgerComparison) -> None:
        self._comparison = comparison

    @property
    def alarms(self) -> list[str]:
        """Lines for people: what is wrong at present."""
        return self._comparison.alarms

    def receive(self, reports: Sequence[PeerReport]) -> None:
        """Take what the other servers say about themselves, before anything that came later is applied."""
        for report in reports:
            self._comparison.receive(report)

    def decide(self, records: Sequence[Record]) -> list[LedgerReceipt | None]:
        """Apply in memory, and return the receipt of each."""
        return self._comparison.decide(records)

    def tick(self) -> None:
        """Do what is due; last in an iteration."""
        self._comparison.tick()
