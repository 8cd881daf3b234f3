"""The teller at work: one command after another, and what it remembers from one to the next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import assert_never

from atm.client import Client, Receipt, new_request_id
from atm.ledger.commands import (
    Close,
    Command,
    Credit,
    Debit,
    Exceptions,
    Freeze,
    Hold,
    Open,
    Outcome,
    Post,
    Query,
    Reverse,
    SetLimit,
    Statement,
    Transfer,
    Unfreeze,
    Unlock,
    Void,
    WriteOff,
)
from atm.money import format_amount
from atm.teller import sentences
from atm.teller import table_reports as reports
from atm.teller.arguments import InvalidCommand
from atm.teller.errands import Errands
from atm.teller.identity import AskPin, Identity, PinDesk
from atm.teller.language import OperatorsOnly, parse, shows_pin
from atm.teller.memory import Memory
from atm.teller.pending import Journal
from atm.teller.report import (
    DONE,
    INTERRUPTED,
    NOT_ALLOWED,
    USAGE,
    NotDone,
    Report,
    decided,
)
from atm.teller.voice import Voice
from atm.teller.window import Window
from atm.teller.wishes import (
    Cancel,
    ChangePin,
    Confirm,
    Help,
    LogIn,
    LogOut,
    More,
    Quit,
    ShowReceipt,
    ShowStatus,
    UseAccount,
    Wish,
)
from atm.teller.words import AVAILABLE, help_text

WELCOME = "Welcome to your ATM! You can check your balance, credit to or debit from your account"
COMMAND_CHARS_SHOWN = 100


class Teller:
    """Carries out what people type, about one account at a time."""

    def __init__(
        self,
        client: Client,
        journal: Journal | None,
        identity: Identity,
        voice: Voice,
        ask_pin: AskPin,
        *,
        operator: bool,
    ) -> None:
        self._client = client
        self._identity = identity
        self._voice = voice
        self._operator = operator
        self._errands = Errands(client, journal, voice, identity.pin_of)
        self._pins = PinDesk(self._errands, identity, ask_pin, operator=operator)
        self.memory = Memory(identity.account)
        self._window = Window(self._errands, self._pins, identity, self.memory, voice, operator=operator)

    def greet(self) -> None:
        """Say the three lines with which a session begins."""
        self._voice.say(WELCOME)
        try:
            report = self._window.balance(Query(id=new_request_id(), account=self._identity.account))
        except NotDone as fault:
            report = fault.report
        if report.code == DONE and report.balance is not None:
            self._voice.say(f"Your starting balance is {format_amount(report.balance)}")
        else:
            self._voice.say(report.text)
        self._voice.say(AVAILABLE)

    def serve(self, lines: Iterable[str], *, interactive: bool) -> int:
        """Carry out each line until one says to leave; return the exit code.

        Ctrl-C during a command ends a session only if nobody sits at it.
        """
        for line in lines:
            self._errands.interrupted = False
            try:
                if self.obey(line) is None:
                    break
            except KeyboardInterrupt:
                self._errands.interrupted = True
            if self._errands.interrupted and not interactive:
                return INTERRUPTED
        return DONE

    def run(self, commands: Iterable[str]) -> int:
        """Carry out the commands up to the first that is not done; return its exit code, or 0."""
        for command in commands:
            code = self.obey(command)
            if code is None:
                break
            if code != DONE:
                return code
        return DONE

    def obey(self, line: str) -> int | None:
        """Carry out one line and say what came of it; return its exit code, or None to leave."""
        self.log_out_if_idle()
        account, logged_in = self._identity.account, self._identity.logged_in
        try:
            wish = parse(
                line, account=self._identity.account, request_id=new_request_id(), operator=self._operator
            )
            return DONE if wish is None else self._fulfil(wish)
        except InvalidCommand as error:
            return self._tell(_invalid(line, error))
        except NotDone as fault:
            return self._tell(fault.report)
        finally:
            self._identity.note_use()
            if self._identity.account != account or (logged_in and not self._identity.logged_in):
                self.memory.forget_person()

    def log_out_if_idle(self) -> None:
        """Log out, and say so, if nothing was typed for too long."""
        line = self._identity.log_out_if_idle()
        if line is not None:
            self.memory.forget_person()
            self._voice.say(line)

    # -- one command -------------------------------------------------------------------------------

    def _fulfil(self, wish: Wish) -> int | None:  # noqa: C901, PLR0912 - a line for each kind
        match wish:
            case Credit() | Debit() | Transfer() | Hold() | Reverse() | WriteOff() | Open():
                return self._change(wish)
            case Freeze() | Unfreeze() | Unlock() | SetLimit() | Close():
                return self._change(wish)
            case Confirm():
                hold = self.memory.hold_or_refuse("confirm", wish.reference)
                return self._change(Post(id=new_request_id(), hold=hold, amount=wish.amount))
            case Cancel():
                hold = self.memory.hold_or_refuse("cancel", wish.reference)
                return self._change(Void(id=new_request_id(), hold=hold))
            case Query():
                return self._tell(self._window.balance(wish))
            case Statement() | Exceptions():
                return self._tell(self._window.page(wish))
            case More():
                return self._tell(self._window.page(self.memory.next_page_or_refuse()))
            case ShowReceipt():
                return self._tell(self._window.receipt(self.memory.reference_or_refuse(wish.reference)))
            case UseAccount():
                return self._tell(self._use(wish.account))
            case LogIn():
                return self._tell(self._pins.log_in(wish.account or self._identity.account))
            case LogOut():
                return self._tell(self._log_out())
            case ChangePin():
                return self._tell(self._pins.change_pin())
            case ShowStatus():
                return self._tell(reports.servers(self._client.status(), self._voice.columns))
            case Help():
                text = help_text(wish.topic, operator=self._operator, columns=self._voice.columns)
                return self._tell(Report(command="help", outcome="ok", code=DONE, text=text))
            case Quit():
                return None
            case _:
                assert_never(wish)

    def _tell(self, report: Report) -> int:
        self._voice.report(report)
        self.memory.learn(report)
        return report.code

    def _change(self, command: Command) -> int:
        self.memory.references.append(command.id)
        return self._errands.change(command, lambda receipt: self._tell(self._decision(command, receipt)))

    def _decision(self, command: Command, receipt: Receipt) -> Report:
        """Report a decision. A PIN that was refused is forgotten: each try with it would count."""
        report = decided(command, receipt)
        if isinstance(command, Hold) and report.code == DONE:
            self.memory.note_hold(command.id)
        if report.code != NOT_ALLOWED:
            return report
        account, was_logged_in = self._identity.account, self._identity.logged_in
        self._identity.log_out()
        if receipt.outcome is Outcome.LOCKED:
            return replace(report, text=sentences.locked(account))
        if not was_logged_in:
            return replace(report, outcome="login_needed", text=sentences.log_in_first(account))
        text = "Your PIN is not the right one any more, and you are logged out (to go on, type: login)"
        return replace(report, text=text)

    # -- accounts ----------------------------------------------------------------------------------

    def _use(self, account: str) -> Report:
        query = Query(id=new_request_id(), account=account)
        found = self._errands.ask(query)
        if found.outcome is not Outcome.OK or found.balance is None:
            return replace(decided(query, found), command="account")
        if account != self._identity.account:
            self._identity.use(account)
        try:
            self._pins.refuse_strangers("account", found.pin)
        except NotDone as refusal:
            text = f"Your account is now {account}. {refusal.report.text}"
            return replace(refusal.report, outcome="ok", code=DONE, text=text)
        text = f"Your account is now {account}, and its balance is: {format_amount(found.balance)}"
        return replace(decided(query, found, text), command="account")

    def _log_out(self) -> Report:
        text = "Logged out" if self._identity.logged_in else "You are not logged in"
        self._identity.log_out()
        return Report(command="logout", outcome="ok", code=DONE, text=text, account=self._identity.account)


def _invalid(line: str, error: InvalidCommand) -> Report:
    command = line.strip()[:COMMAND_CHARS_SHOWN]
    if isinstance(error, OperatorsOnly):
        return Report(command=command, outcome="not_allowed", code=NOT_ALLOWED, text=str(error))
    shown = "(a PIN, perhaps)" if shows_pin(line) else command
    return Report(command=shown, outcome="invalid", code=USAGE, text=str(error))
