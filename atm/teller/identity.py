"""Who uses the teller: which account, and whether its PIN was given."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec.structs import replace

from atm.client import Receipt, new_request_id
from atm.client.errors import InvalidPin
from atm.client.request_rules import check_pin
from atm.ledger.commands import Login, Outcome, Query, SetPin
from atm.ledger.own_accounts import is_banks_own
from atm.money import format_amount
from atm.teller import phrases
from atm.teller.report import INTERRUPTED, NOT_ALLOWED, USAGE, NotDone, Report, decided
from atm.teller.request_runner import RequestRunner

IDLE_S = 120.0  # without a command; then the PIN must be given again

# Shows a prompt; returns what was typed without echo, or None at the end of input.
AskPin = Callable[[str], str | None]


class Identity:
    """The account in use, and its PIN: in memory from the login to the logout, and nowhere else."""

    def __init__(self, account: str, idle_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.account = account
        self._pin: str | None = None
        self._idle_s = idle_s
        self._clock = clock
        self._last_used = clock()

    @property
    def logged_in(self) -> bool:
        """Whether the PIN of the account was given."""
        return self._pin is not None

    def pin_of(self, account: str) -> str | None:
        """Return the PIN that was given, if it is this account's."""
        return self._pin if account == self.account else None

    def use(self, account: str, pin: str | None = None) -> None:
        """Change to an account, with its PIN if it was just given."""
        self.account, self._pin = account, pin

    def log_out(self) -> None:
        """Forget the PIN."""
        self._pin = None

    def note_use(self) -> None:
        """Restart the idle time."""
        self._last_used = self._clock()

    def log_out_if_idle(self) -> str | None:
        """Log out if nothing was done for too long; return the line that says so, or None."""
        if self._pin is None or self._clock() - self._last_used < self._idle_s:
            return None
        self.log_out()
        return f"Logged out: no command for {self._idle_s:g} seconds (to go on, type: login)"


class PinChecks:
    """Logins, PIN changes, and refusals without a login. PINs come from `ask_pin` and go to the bank only."""

    def __init__(self, runner: RequestRunner, identity: Identity, ask_pin: AskPin, *, operator: bool) -> None:
        self._runner = runner
        self._identity = identity
        self._ask_pin = ask_pin
        self._operator = operator

    def require_login(self, command: str) -> None:
        """Raise `NotDone` unless the account has no PIN, or it was given, or this is an operator."""
        account = self._identity.account
        if not self._operator and not self._identity.logged_in:
            query = Query(id=new_request_id(), account=account)
            self.refuse_without_login(command, self._runner.ask(query))

    def refuse_without_login(self, command: str, found: Receipt) -> None:
        """Do as `require_login`, knowing what the bank says of the account."""
        account = self._identity.account
        if self._operator or self._identity.logged_in:
            return
        if is_banks_own(account):
            raise NotDone(_not_allowed(command, "not_allowed", account, phrases.banks_own(account)))
        if found.pin == "locked":
            raise NotDone(_locked(command, account, found.locked_until_us))
        if found.pin == "set":
            raise NotDone(_not_allowed(command, "login_needed", account, phrases.log_in_first(account)))

    def log_in(self, account: str) -> Report:
        """Ask for the PIN of an account, if it has one, and change to it if the PIN is right."""
        found = self._look("login", account)
        if found.pin == "none":
            self._identity.use(account)
            query = Query(id=found.request_id, account=account)
            text = f"{_greeting(account, found)} (it has no PIN; to set one, type: pin)"
            return replace(decided(query, found, text), command="login")
        login = Login(
            id=new_request_id(), account=account, pin=_checked("login", self._ask(f"PIN of {account}: "))
        )
        receipt = self._runner.ask(login)
        if receipt.outcome is Outcome.OK:
            self._identity.use(account, login.pin)
            text = _greeting(account, receipt)
            if found.wrong_pins is not None:
                text += f"\n{phrases.wrong_pins_before(found.wrong_pins)}"
            return decided(login, receipt, text)
        if account == self._identity.account:
            self._identity.log_out()
        return self.refused(login, receipt)

    def change_pin(self) -> Report:
        """Ask for the old PIN, if there is one, and twice for the new one, and set it."""
        account = self._identity.account
        found = self._look("pin", account)
        old_pin = None
        if found.pin != "none":
            old_pin = _checked("pin", self._ask(f"Old PIN of {account}: "))
        pin = _checked("pin", self._ask(f"New PIN of {account}: "))
        if self._ask("New PIN again: ") != pin:
            raise NotDone(_mistyped("pin", "The two new PINs differ: nothing was changed"))
        request = SetPin(id=new_request_id(), account=account, pin=pin, old_pin=old_pin)
        receipt = self._runner.ask(request)
        if receipt.outcome is Outcome.OK:
            self._identity.use(account, pin)
            return decided(
                request, receipt, f"Successfully set the PIN of {account}; you are logged in with it"
            )
        self._identity.log_out()
        return self.refused(request, receipt)

    def refused(self, request: SetPin | Login, receipt: Receipt) -> Report:
        """Report a refusal; if it is about the PIN, with what the bank says of its lock now."""
        report = decided(request, receipt)
        if receipt.outcome not in (Outcome.WRONG_PIN, Outcome.LOCKED):
            return report
        try:
            found = self._runner.ask(Query(id=new_request_id(), account=request.account))
        except NotDone:  # what is known must do
            return report
        if found.pin == "locked":
            text = phrases.locked(request.account, found.locked_until_us)
        elif receipt.outcome is Outcome.WRONG_PIN and found.tries_left is not None:
            text = phrases.wrong_pin(found.tries_left)
        else:
            return report
        if receipt.outcome is Outcome.WRONG_PIN and found.pin == "locked":
            text = f"Wrong PIN: {text}"
        return replace(report, text=text)

    def _look(self, command: str, account: str) -> Receipt:
        """Return what the bank says of an account that can be used with a PIN; raise `NotDone`."""
        query = Query(id=new_request_id(), account=account)
        found = self._runner.ask(query)
        if found.outcome is not Outcome.OK:
            raise NotDone(replace(decided(query, found), command=command))
        if found.pin == "locked":
            raise NotDone(_locked(command, account, found.locked_until_us))
        return found

    def _ask(self, prompt: str) -> str | None:
        try:
            return self._ask_pin(prompt)
        except KeyboardInterrupt:
            self._runner.interrupted = True
            text = "Interrupted: this command was not carried out"
            report = Report(command="pin", outcome="interrupted", code=INTERRUPTED, text=text)
            raise NotDone(report) from None


def _greeting(account: str, found: Receipt) -> str:
    assert found.balance is not None
    return f"Your account is {account}, and its balance is: {format_amount(found.balance, found.currency)}"


def _checked(command: str, typed: str | None) -> str:
    """Return what was typed for a PIN, if it can be one; raise `NotDone`."""
    if typed is None:
        raise NotDone(_mistyped(command, "No PIN was given: nothing was changed"))
    try:
        check_pin(typed)
    except InvalidPin as error:
        raise NotDone(_mistyped(command, f"{error}: nothing was changed")) from None
    return typed


def _mistyped(command: str, text: str) -> Report:
    return Report(command=command, outcome="invalid", code=USAGE, text=text)


def _locked(command: str, account: str, until_us: int | None) -> Report:
    return _not_allowed(command, "locked", account, phrases.locked(account, until_us))


def _not_allowed(command: str, outcome: str, account: str, text: str) -> Report:
    return Report(command=command, outcome=outcome, code=NOT_ALLOWED, text=text, account=account)
