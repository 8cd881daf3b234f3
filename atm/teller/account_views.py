"""What only reads: balances, statements, receipts and lists, and who may see each."""

from __future__ import annotations

from msgspec.structs import replace

from atm.client import new_request_id
from atm.ledger.commands import PAGE_LINES_MAX, Lookup, Outcome, Page, Query, Read, Statement
from atm.teller import table_reports as reports
from atm.teller.date_range import lines_between
from atm.teller.identity import Identity, PinChecks
from atm.teller.intents import ShowDays
from atm.teller.output import Output
from atm.teller.report import Report, command_name, decided
from atm.teller.request_runner import RequestRunner
from atm.teller.session_state import SessionState


class AccountViews:
    """Shows what the bank has recorded; raises `NotDone` if this person may not see it."""

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

    def show(self, request: Read) -> Report:
        """Show what a reading command asks for; raise `NotDone` if this person may not see the account."""
        if isinstance(request, Query) and request.at_us is None:  # its answer says whether there is a PIN
            found = self._runner.ask(request)
            self._pins.refuse_without_login("query", found)
            return decided(request, found)
        if "account" in request.__struct_fields__:
            self._pins.require_login(command_name(request))
        found = self._runner.ask(request)
        if not isinstance(request, Page) or found.outcome is not Outcome.OK:
            return decided(request, found)
        self._state.note_page(request, found)
        return reports.page(request, found, self._output.columns, local=self._output.shows_local)

    def days(self, asked: ShowDays) -> Report:
        """Show all postings of some days."""
        self._pins.require_login("days")
        request = Statement(id=new_request_id(), account=asked.account, limit=PAGE_LINES_MAX)
        found = self._runner.ask(request)
        if found.outcome is not Outcome.OK:
            return decided(request, found)

        lines = tuple(lines_between(self._runner.ask, asked.account, asked.from_us, asked.to_us))
        found = replace(found, lines=lines, next=None)
        return reports.page(request, found, self._output.columns, local=self._output.shows_local)

    def receipt(self, reference: str) -> Report:
        """Show the receipt of a reference, with the balance only if this person may see the account's."""
        self._pins.require_login("receipt")
        lookup = Lookup(id=new_request_id(), request_id=reference)
        found = self._runner.ask(lookup)
        if found.asked is None:
            return replace(decided(lookup, found), request_id=reference)
        is_own = self._operator or found.asked.account == self._identity.account
        return reports.receipt(
            reference, found, self._output.columns, with_balance=is_own, local=self._output.shows_local
        )
