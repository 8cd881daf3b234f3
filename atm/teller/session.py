"""A session: one command after another, and what is remembered between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import assert_never

from msgspec.structs import replace

from atm.client import Client, NotAllowed, Receipt, Unavailable, new_request_id
from atm.command_line import printable
from atm.ledger.commands import Command, Outcome, Post, Query, RaiseHold, Read, Void
from atm.money import format_amount
from atm.teller import phrases
from atm.teller import table_reports as reports
from atm.teller.account_views import AccountViews
from atm.teller.arguments import InvalidCommand
from atm.teller.confirmations import AskYes, Confirmations
from atm.teller.help import AVAILABLE, help_text
from atm.teller.identity import AskPin, Identity, PinChecks
from atm.teller.intents import (
    Cancel,
    ChangePin,
    Confirm,
    Help,
    Intent,
    LogIn,
    LogOut,
    More,
    Quit,
    Raise,
    Settle,
    ShowDays,
    ShowReceipt,
    ShowStatus,
    TellersOwn,
    UseAccount,
)
from atm.teller.language import OperatorsOnly, parse, shows_pin
from atm.teller.output import Output
from atm.teller.report import (
    DONE,
    INTERRUPTED,
    NOT_ALLOWED,
    NOT_AVAILABLE,
    UNKNOWN,
    USAGE,
    NotDone,
    Report,
    decided,
)
from atm.teller.request_journal import RequestJournal
from atm.teller.request_runner import RequestRunner, Settled
from atm.teller.session_state import SessionState

WELCOME = "Welcome to your ATM! You can check your balance, credit to or debit from your account"
COMMAND_CHARS_SHOWN = 100
_TAKES_ID = Command | Confirm | Raise | Cancel


class Teller:
    """Carries out commands, about one account at a time."""

    def __init__(
        self,
        client: Client,
        journal: RequestJournal | None,
        identity: Identity,
        output: Output,
        ask_pin: AskPin,
        *,
        operator: bool,
        request_id: str | None = None,
        confirm_above: int | None = None,
        confirm: AskYes | None = None,
        tombstones: bool = False,
    ) -> None:
        """`request_id` is that of the only command to come, which then changes something.

        For `confirm_above`, `confirm` and `tombstones` see `Confirmations`.
        """
        self._client = client
        self._request_id = request_id
        self._identity = identity
        self._output = output
        self._operator = operator
        self._runner = RequestRunner(client, journal, output, identity.pin_of)
        self._confirmations = Confirmations(self._runner, confirm, above=confirm_above, tombstones=tombstones)
        self._pins = PinChecks(self._runner, identity, ask_pin, operator=operator)
        self.state = SessionState(identity.account)
        self._views = AccountViews(self._runner, self._pins, identity, self.state, output, operator=operator)

    @property
    def in_doubt(self) -> bool:
        """Whether the outcome of a request of this session is unknown, or could not be shown."""
        return self._runner.in_doubt

    def greet(self) -> None:
        """Print the three lines with which a session begins."""
        self._output.say(WELCOME)
        try:
            report = self._views.show(Query(id=new_request_id(), account=self._identity.account))
        except NotDone as fault:
            report = fault.report
        if report.code == DONE and report.balance is not None:
            currency = self._runner.currencies.get(self._identity.account)
            self._output.say(f"Your starting balance is {format_amount(report.balance, currency)}")
        else:
            self._output.say(report.text)
        self._output.say(AVAILABLE)

    def serve(self, lines: Iterable[str], *, interactive: bool) -> int:
        """Carry out each line until `quit`; return the exit code.

        If it is not interactive, that is the highest of the commands' codes, and Ctrl-C ends it.
        """
        highest = DONE
        for line in lines:
            self._runner.interrupted = False
            try:
                code = self.execute(line)
            except KeyboardInterrupt:
                code = INTERRUPTED
            if code is None:
                break
            highest = max(highest, code)
            if (self._runner.interrupted or code == INTERRUPTED) and not interactive:
                return UNKNOWN if self.in_doubt else INTERRUPTED
        return DONE if interactive else highest

    def run(self, commands: Iterable[str], place: Callable[[], str] | None = None) -> int:
        """Carry out the commands up to the first that is not done; return its exit code, or 0.

        `place` says where the last command was read, for the line that names the one that was not done.
        """
        for command in commands:
            code = self.execute(command)
            if code is None:
                break
            if code != DONE:
                if place is not None:
                    self._output.warn(f"{place()}: stopped at: {_shown(command)}")
                return code
        return DONE

    def execute(self, line: str) -> int | None:
        """Carry out one line and print its result; return its exit code, or None to leave."""
        self.log_out_if_idle()
        account, logged_in = self._identity.account, self._identity.logged_in
        try:
            request_id = self._request_id or new_request_id()
            intent = parse(
                line,
                account=self._identity.account,
                request_id=request_id,
                operator=self._operator,
                currencies=self._runner.currencies,
            )
            if self._request_id is not None and not isinstance(intent, _TAKES_ID):
                raise InvalidCommand("--id is for a command that changes something, other than a PIN")
            return DONE if intent is None else self._execute(intent)
        except InvalidCommand as error:
            return self._tell(_invalid(line, error))
        except NotDone as fault:
            return self._tell(fault.report)
        finally:
            self._identity.note_use()
            if self._identity.account != account or (logged_in and not self._identity.logged_in):
                self.state.forget_requests()

    def log_out_if_idle(self) -> None:
        """Log out, and print that, if nothing was typed for the idle time."""
        line = self._identity.log_out_if_idle()
        if line is not None:
            self.state.forget_requests()
            self._output.say(line)

    # -- one command -------------------------------------------------------------------------------

    def _execute(self, intent: Intent) -> int | None:
        if isinstance(intent, Read):
            return self._tell(self._views.show(intent))
        if isinstance(intent, Command):
            return self._change(intent)
        return self._do(intent)

    def _do(self, intent: TellersOwn) -> int | None:  # noqa: C901, PLR0912 - a line for each kind
        """Do what is about the session itself, or needs what it remembers."""
        match intent:
            case Confirm():
                hold = self.state.hold_or_refuse("confirm", intent.reference)
                return self._change(
                    Post(
                        id=intent.request_id,
                        hold=hold,
                        amount=intent.amount,
                        currency=intent.currency,
                        final=not intent.more,
                    )
                )
            case Raise():
                hold = self.state.hold_or_refuse("raise", intent.reference)
                return self._change(
                    RaiseHold(
                        id=intent.request_id,
                        account=self._identity.account,
                        hold=hold,
                        amount=intent.amount,
                        currency=intent.currency,
                    )
                )
            case Cancel():
                hold = self.state.hold_or_refuse("cancel", intent.reference)
                return self._change(Void(id=intent.request_id, hold=hold))
            case More():
                return self._tell(self._views.show(self.state.next_page_or_refuse()))
            case ShowReceipt():
                return self._tell(self._views.receipt(self.state.reference_or_refuse(intent.reference)))
            case ShowDays():
                return self._tell(self._views.days(intent))
            case UseAccount():
                return self._tell(self._use(intent.account))
            case LogIn():
                return self._tell(self._pins.log_in(intent.account or self._identity.account))
            case LogOut():
                return self._tell(self._log_out())
            case ChangePin():
                return self._tell(self._pins.change_pin())
            case Settle():
                return self._runner.settle(lambda settled, unknown: self._tell(_settled(settled, unknown)))
            case ShowStatus():
                return self._tell(self._servers())
            case Help():
                text = help_text(intent.topic, operator=self._operator, columns=self._output.columns)
                return self._tell(Report(command="help", outcome="ok", code=DONE, text=text))
            case Quit():
                return None
            case _:
                assert_never(intent)

    def _servers(self) -> Report:
        try:
            with self._output.waiting():
                found = self._client.cluster_status()
            return reports.servers(found, self._output.columns)
        except (NotAllowed, Unavailable) as error:  # none of them can be trusted, or trusts this teller
            refused = isinstance(error, NotAllowed)
            return Report(
                command="status",
                outcome="not_allowed" if refused else "unavailable",
                code=NOT_ALLOWED if refused else NOT_AVAILABLE,
                text=printable(str(error)),
            )

    def _tell(self, report: Report) -> int:
        self._output.report(report)
        self.state.learn(report)
        return report.code

    def _change(self, command: Command) -> int:
        self._confirmations.confirm_or_refuse(command)
        self.state.references.append(command.id)
        return self._runner.change(command, lambda receipt: self._tell(self._decision(command, receipt)))

    def _decision(self, command: Command, receipt: Receipt) -> Report:
        """Report a decision. A refused PIN is forgotten: each further try with it would count."""
        report = decided(command, receipt)
        self.state.note_decision(command, receipt.outcome)
        if receipt.outcome not in {Outcome.WRONG_PIN, Outcome.LOCKED}:
            return report
        account, was_logged_in = self._identity.account, self._identity.logged_in
        self._identity.log_out()
        if receipt.outcome is Outcome.LOCKED:
            return replace(report, text=phrases.locked(account))
        if not was_logged_in:
            return replace(report, outcome="login_needed", text=phrases.log_in_first(account))
        text = "Your PIN has changed: nothing was done, and you are logged out (to go on, type: login)"
        return replace(report, text=text)

    # -- accounts ----------------------------------------------------------------------------------

    def _use(self, account: str) -> Report:
        query = Query(id=new_request_id(), account=account)
        found = self._runner.ask(query)
        if found.outcome is not Outcome.OK or found.balance is None:
            return replace(decided(query, found), command="account")
        if account != self._identity.account:
            self._identity.use(account)
        try:
            self._pins.refuse_without_login("account", found)
        except NotDone as refusal:
            text = f"Your account is now {account}. {refusal.report.text}"
            return replace(refusal.report, outcome="ok", code=DONE, text=text)
        balance = format_amount(found.balance, found.currency)
        text = f"Your account is now {account}, and its balance is: {balance}"
        return replace(decided(query, found, text), command="account")

    def _log_out(self) -> Report:
        text = "Logged out" if self._identity.logged_in else "You are not logged in"
        self._identity.log_out()
        return Report(command="logout", outcome="ok", code=DONE, text=text, account=self._identity.account)


def _invalid(line: str, error: InvalidCommand) -> Report:
    if isinstance(error, OperatorsOnly):
        return Report(command=_shown(line), outcome="not_allowed", code=NOT_ALLOWED, text=str(error))
    return Report(command=_shown(line), outcome="invalid", code=USAGE, text=str(error))


def _shown(line: str) -> str:
    """Return a line as it may be shown."""
    return "(a PIN, perhaps)" if shows_pin(line) else line.strip()[:COMMAND_CHARS_SHOWN]


def _settled(settled: Sequence[Settled], unknown: str | None) -> Report:
    lines = [*(each.line for each in settled), *([] if unknown is None else [unknown])]
    return Report(
        command="settle",
        outcome="ok" if unknown is None else "unknown",
        code=DONE if unknown is None else UNKNOWN,
        text="\n".join(lines) or "There is nothing to settle: the outcome of every request is known",
        details={"settled": settled},
    )
