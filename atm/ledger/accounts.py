"""The rules of one account: its state, its PIN, its daily limit."""

from __future__ import annotations

import hmac
from typing import Literal

from msgspec import Struct

from atm.ledger.commands import NOT_HASHED, OK, Outcome
from atm.ledger.peppers import generation_of

WRONG_PINS_MAX = 3  # in a row, at any servers; then the account is locked
DAY_US = 24 * 3600 * 1_000_000

State = Literal["open", "frozen", "closed", "banks_own"]


class PinNotHashed(Exception):
    """A PIN has to be compared or set that was not hashed, or for another pepper: to be asked again."""


class Account(Struct):
    """An account while commands are decided on it; all amounts are in minor units.

    `held` is the sum of its active holds. `withdrawn` is what was paid out or held since `counted_from_us`,
    if that is today: the start of the day (UTC), or later if the `daily_limit` was set later.

    The fields from `locked_until_us` on are used from feature level 2 on (pin_lock.py): None if that level's
    lock was never needed, 0 if no lock stands. `wrong_today` and `unlocks_today` are of the day `pins_day`,
    `wrong_unseen` are the wrong PINs since the last right login. `ceiling` is that of the balance, or None;
    `transfers_from` the log entry since which transfers count towards the daily limit, None: they do not.
    """

    name: str
    balance: int = 0
    opened_us: int = 0
    state: State = "open"
    held: int = 0
    pin: str | None = None
    wrong_pins: int = 0
    daily_limit: int | None = None
    counted_from_us: int = 0
    withdrawn: int = 0
    locked_until_us: int | None = None
    pins_day: int = 0
    wrong_today: int = 0
    unlocks_today: int = 0
    wrong_unseen: int = 0
    ceiling: int | None = None
    transfers_from: int | None = None
    active_holds: int | None = None  # None: not counted yet; no column, but what the ledger's rows come to

    @property
    def available(self) -> int:
        """What may be paid out; below zero if a late posting took what was held."""
        return self.balance - self.held

    @property
    def is_banks_own(self) -> bool:
        """Whether it is `cash` or `writeoff`."""
        return self.state == "banks_own"

    @property
    def locked(self) -> bool:
        """Whether every PIN is refused until an operator unlocks the account, by the rule of release 1.1."""
        return self.wrong_pins >= WRONG_PINS_MAX

    def check_pin(self, pin: str | None, *, locked: bool) -> Outcome:
        """Return `OK`, `WRONG_PIN` or `LOCKED`, and count wrong PINs in a row; all PINs here are sealed.

        An account without a PIN accepts any. A missing PIN is no guess, so it is refused and not counted.
        Raises `PinNotHashed`, and changes nothing, if the PIN would have to be compared, and was not hashed
        or for another pepper.
        """
        if self.pin is None:
            return OK
        if locked:
            return Outcome.LOCKED
        if pin is None:
            return Outcome.WRONG_PIN
        if pin == NOT_HASHED or generation_of(pin) != generation_of(self.pin):
            raise PinNotHashed
        if hmac.compare_digest(self.pin, pin):
            self.wrong_pins = 0
            return OK
        self.wrong_pins += 1
        return Outcome.WRONG_PIN

    def exceeds_limit(self, amount: int, now_us: int) -> bool:
        """Return whether a withdrawal of `amount` now would exceed the daily limit."""
        if self.daily_limit is None:
            return False
        withdrawn = self.withdrawn if day_of(self.counted_from_us) == day_of(now_us) else 0
        return withdrawn + amount > self.daily_limit

    def note_withdrawal(self, amount: int, now_us: int) -> None:
        """Count `amount` towards the daily limit; the first withdrawal of a day starts from 0."""
        if day_of(self.counted_from_us) != day_of(now_us):
            self.count_from(day_of(now_us) * DAY_US)
        self.withdrawn += amount

    def counts(self, withdrawn_us: int, now_us: int) -> bool:
        """Return whether a withdrawal at `withdrawn_us` is part of what counts towards today's limit."""
        return (
            self.daily_limit is not None
            and self.counted_from_us <= withdrawn_us
            and day_of(self.counted_from_us) == day_of(now_us)
        )

    def count_from(self, time_us: int) -> None:
        """Count towards the limit from `time_us` on, starting at 0."""
        self.withdrawn = 0
        self.counted_from_us = time_us


def may_move(account: Account | None) -> Outcome:
    """Return `OK`, or why no money may enter or leave by a customer's command."""
    if account is not None:
        if account.state == "open":
            return OK
        if account.state == "frozen":
            return Outcome.ACCOUNT_FROZEN
    return exists(account)


def exists(account: Account | None) -> Outcome:
    """Return `OK` for a customer's account that is not closed; the bank's own do not exist for customers."""
    if account is None or account.is_banks_own:
        return Outcome.NO_SUCH_ACCOUNT
    return Outcome.ACCOUNT_CLOSED if account.state == "closed" else OK


def day_of(time_us: int) -> int:
    """Return the day (UTC, since 1970) of a time stamp."""
    return time_us // DAY_US
