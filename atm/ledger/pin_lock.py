"""The lock of an account's PIN from feature level 2 on: by log time, longer with each further wrong PIN.

The third wrong PIN in a row locks the account for a minute, each further one for twice as long, up to a day.
Neither time nor `unlock` takes anything off that count; the right PIN does. The tenth wrong PIN of a day
(UTC) locks it likewise, whatever was in between, so two guesses between any two logins of a customer do not
go on for ever. Before that level the third locks until `unlock`, as in release 1.1 (`Account.check_pin`).
"""

from __future__ import annotations

from atm.ledger.accounts import DAY_US, WRONG_PINS_MAX, Account, day_of
from atm.ledger.commands import OK, Outcome

LOCK_LEVEL = 2  # the feature level from which on these rules hold
FIRST_LOCK_US = 60 * 1_000_000
LOCK_US_MAX = DAY_US
DOUBLINGS_MAX = 11  # then it is the longest
WRONG_PINS_A_DAY = 10
UNLOCKS_A_DAY = 3

assert FIRST_LOCK_US << DOUBLINGS_MAX >= LOCK_US_MAX


def is_locked(account: Account, now_us: int) -> bool:
    """Return whether every PIN is refused at that time."""
    if account.locked_until_us is None:  # it was never locked by these rules
        return account.locked
    return now_us < account.locked_until_us


def check_pin(account: Account, pin: str | None, now_us: int) -> Outcome:
    """Do as `Account.check_pin` with the lock of this level."""
    before = account.wrong_pins
    outcome = account.check_pin(pin, locked=is_locked(account, now_us))
    if account.wrong_pins > before:
        _count_wrong(account, now_us)
    return outcome


def tries_left(account: Account, now_us: int) -> int:
    """Return how many wrong PINs lock the account, which is not locked now; at least 1."""
    wrong_today = account.wrong_today if account.pins_day == day_of(now_us) else 0
    return max(1, min(WRONG_PINS_MAX - account.wrong_pins, WRONG_PINS_A_DAY - wrong_today))


def unlock(account: Account, now_us: int) -> Outcome:
    """End the present lock, and nothing else; `LIMIT_EXCEEDED` if that was done too often today."""
    _begin_day(account, now_us)
    if account.unlocks_today >= UNLOCKS_A_DAY:
        return Outcome.LIMIT_EXCEEDED
    account.unlocks_today += 1
    account.locked_until_us = 0
    return OK


def reset(account: Account) -> None:
    """Remove the PIN, and forget all wrong ones and the lock: they were about that PIN."""
    account.pin = None
    account.wrong_pins = account.wrong_today = account.wrong_unseen = 0
    if account.locked_until_us is not None:
        account.locked_until_us = 0


def _count_wrong(account: Account, now_us: int) -> None:
    """Count a wrong PIN, which is counted among those in a row, towards the lock."""
    _begin_day(account, now_us)
    account.wrong_today += 1
    account.wrong_unseen += 1
    doublings = max(account.wrong_pins - WRONG_PINS_MAX, account.wrong_today - WRONG_PINS_A_DAY)
    if doublings >= 0:
        lock_us = min(FIRST_LOCK_US << min(doublings, DOUBLINGS_MAX), LOCK_US_MAX)
        account.locked_until_us = now_us + lock_us
    elif account.locked_until_us is None:
        account.locked_until_us = 0


def _begin_day(account: Account, now_us: int) -> None:
    if account.pins_day != day_of(now_us):
        account.pins_day = day_of(now_us)
        account.wrong_today = account.unlocks_today = 0
