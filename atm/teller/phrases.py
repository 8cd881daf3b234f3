"""Sentences that the teller uses in several places; each says what to do, if there is something to do."""

from __future__ import annotations

from atm.client.errors import OutcomeUnknown
from atm.ledger.commands import ACTIVE_HOLDS_MAX, Outcome
from atm.money import format_amount
from atm.timestamps import format_timestamp

MINUTE_MS = 60_000

# `{id}` is the request's own reference, `{named}` the one that it names: a hold, an original, a request.
_REFUSALS = {
    Outcome.INSUFFICIENT_FUNDS: "Insufficient account balance",
    Outcome.LIMIT_EXCEEDED: "The balance would be too large, and nothing was changed: try a smaller amount",
    Outcome.ID_REUSED: "The reference {id} belongs to another request: nothing was changed",
    Outcome.WRONG_PIN: "Wrong PIN: after three in a row the account is locked",
    Outcome.HOLD_NOT_FOUND: "No hold has the reference {named}: check it",
    Outcome.HOLD_ALREADY_POSTED: "The hold {named} was confirmed already: nothing was changed",
    Outcome.HOLD_ALREADY_VOIDED: "The hold {named} was cancelled already: nothing was changed",
    Outcome.HOLD_EXPIRED: "The hold {named} has expired: nothing is held any more",
    Outcome.EXCEEDS_HOLD: "More than is left of the hold {named}: confirm that much, or less",
    Outcome.ALREADY_REVERSED: (
        "{id} was reversed before it reached the bank: it is not done, and never will be"
    ),
    Outcome.EXCEEDS_ORIGINAL: (
        "More than was moved under {named}, or is left of it: reverse that much, or less "
        "(a batch or a hold only as a whole)"
    ),
    Outcome.CURRENCY_MISMATCH: (
        "The account is in another currency, and nothing was changed: name the account's, such as 12.50 EUR"
    ),
    Outcome.ALREADY_APPROVED: "{named} was approved already, and carried out: nothing was changed",
    Outcome.APPROVAL_EXPIRED: "{named} was asked more than a day ago: whoever needs it has to ask again",
    Outcome.ORIGINAL_NOT_FOUND: "Nothing is known under {named}: check the reference",
}


def refusal(outcome: Outcome, account: str, request_id: str, named: str) -> str:
    """Return why the bank refused a request about `account`, or about what is `named`."""
    match outcome:
        case Outcome.NO_SUCH_ACCOUNT:
            return no_such_account(account)
        case Outcome.EXISTS:
            return f"There is an account {account} already (to use it, type: account {account})"
        case Outcome.ACCOUNT_FROZEN:
            return frozen(account)
        case Outcome.ACCOUNT_CLOSED:
            return closed(account)
        case Outcome.NOT_EMPTY:
            return f"{account} is not empty: pay out its balance and end its holds first"
        case Outcome.LOCKED:
            return locked(account)
        case Outcome.CEILING_EXCEEDED:
            return over_the_ceiling(account)
        case _:
            usual = f"The bank declined, and nothing was changed: {outcome.replace('_', ' ')}"
            return _REFUSALS.get(outcome, usual).format(id=request_id, named=named)


def unknown_original(reference: str, *, was_asked: bool) -> str:
    """Return that there is nothing to reverse; and to whom was not asked, how to have it declined."""
    text = f"Nothing is known under {reference}, and nothing was done: check the reference"
    option = "to have such a request declined should it still arrive, start the teller with --tombstone"
    return text if was_asked else f"{text} ({option})"


def ask_for_tombstone(reference: str) -> str:
    """Return the question before a request that the bank does not know is declined for ever."""
    return (
        f"Nothing is known under {reference}: is it mistyped? To have such a request declined for ever, "
        "should it still arrive, type yes: "
    )


def active_holds(count: int, held: int, currency: str | None) -> str:
    """Return how many holds an account has, and how much they hold in all."""
    number = (
        "1 hold" if count == 1 else f"{count:,} holds" + (" or more" if count == ACTIVE_HOLDS_MAX else "")
    )
    return f"{number}, {format_amount(held, currency)} in all"


def over_the_ceiling(account: str) -> str:
    """Return that a balance may not become so large."""
    return (
        f"The balance of {account} would rise over its ceiling, and nothing was changed: try a smaller amount"
    )


def needs_approval(request_id: str) -> str:
    """Return that nothing was done yet, and who can have it done."""
    return (
        "It is above the limit for one person, and nothing was changed: within a day another operator can "
        f"type: approve {request_id}"
    )


def still_unknown(request_id: str, *, journalled: bool) -> str:
    """Return that the outcome is unknown, and when the teller asks again."""
    also = ", or when it starts again" if journalled else ""
    again = f"the teller asks again before the next command{also}"
    return f"{OutcomeUnknown(request_id)}: do not repeat the request; {again}"


def log_in_first(account: str) -> str:
    """Return that the account needs a login."""
    return f"{account} has a PIN: log in first (type: login)"


def banks_own(account: str) -> str:
    """Return that the account is the bank's own."""
    return f"{account} is the bank's own account: to look into it, start the teller with --operator"


def locked(account: str, until_us: int | None = None) -> str:
    """Return that no PIN is accepted, until when if that is known, and who can help."""
    if until_us is None:
        return f"{account} is locked after three wrong PINs: an operator of the bank can unlock it"
    until = format_timestamp(until_us)
    return f"{account} is locked after wrong PINs until {until} UTC: an operator of the bank can unlock it"


def wrong_pin(tries_left: int) -> str:
    """Return that the PIN was wrong, and how often it may be tried."""
    tries = "one more locks the account" if tries_left == 1 else f"{tries_left} more lock the account"
    return f"Wrong PIN: {tries}"


def wrong_pins_before(count: int) -> str:
    """Return how many wrong PINs there were since the last login, before this one."""
    number = "One wrong PIN was" if count == 1 else f"{count} wrong PINs were"
    return f"{number} typed since the last login: if it was not you, tell the bank"


def no_such_account(account: str) -> str:
    """Return that there is no such account, and how to open it."""
    return f"No such account: {account} (to open it, type: open {account})"


def frozen(account: str) -> str:
    """Return that the account is frozen, and who can help."""
    return f"{account} is frozen: nothing goes in or out until an operator unfreezes it"


def closed(account: str) -> str:
    """Return that the account is closed, and what to do."""
    return f"{account} is closed for ever: use another account"


def duration(milliseconds: int) -> str:
    """Return a time of whole minutes in words."""
    minutes = milliseconds // MINUTE_MS
    return "1 minute" if minutes == 1 else f"{minutes} minutes"
