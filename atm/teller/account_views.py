"""Looking into the books: balances, statements, receipts, each for who may see it."""

from __future__ import annotations

from dataclasses import replace

from atm.client import new_request_id
from atm.ledger.commands import Exceptions, Lookup, Outcome, Query, Statement
from atm.teller import table_reports as reports
from atm.teller.identity import Identity, PinChecks
from atm.teller.output import Output
from atm.teller.report import Report, decided
from atm.teller.request_runner import RequestRunner
from atm.teller.session_state import SessionState


class AccountViews:
    """Shows what the bank has written down; raises `NotDone` before whom it does not."""

    def __init__(
        self,
        runner: RequestRunner,
        pins: PinChecks,
        identity: Identity,
        state: SessionState,
        output: Output,
        *,
        operator: bool,
    ) -> None:
        self._runner = runner
        self._pins = pins
        self._identity = identity
        self._state = state
        self._output = output
        self._operator = operator

    def balance(self, query: Query) -> Report:
        """Tell a balance, now or then."""
        if query.at_us is not None:
            self._pins.require_login("balance")
        receipt = self._runner.ask(query)
        self._pins.refuse_strangers("query", receipt.pin)
        return decided(query, receipt)

    def page(self, request: Statement | Exceptions) -> Report:
        """Show a page of a statement, or of the exceptions."""
        if isinstance(request, Statement):
            self._pins.require_login("statement")
        receipt = self._runner.ask(request)
        if receipt.outcome is not Outcome.OK:
            return decided(request, receipt)
        self._state.note_page(request, receipt.next)
        return reports.page(request, receipt, self._output.columns)

    def receipt(self, reference: str) -> Report:
        """Show a receipt to who knows its reference; its balance only to who may see the account's."""
        self._pins.require_login("receipt")
        lookup = Lookup(id=new_request_id(), request_id=reference)
        found = self._runner.ask(lookup)
        if found.asked is None:
            return replace(decided(lookup, found), request_id=reference)
        is_own = self._operator or found.asked.account == self._identity.account
        return reports.receipt(reference, found, self._output.columns, with_balance=is_own)
