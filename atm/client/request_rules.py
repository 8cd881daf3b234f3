"""What is refused before it is sent, each with a line that says what would be right."""

from __future__ import annotations

from typing import Any

import msgspec

from atm.client.errors import InvalidAccount, InvalidAmount, InvalidRequestId
from atm.ledger.commands import (
    AMOUNT_MINOR_MAX,
    AccountName,
    AmountMinor,
    Command,
    Credit,
    Debit,
    Query,
    RequestId,
)

ACCOUNT_RULE = "An account's name is 1 to 64 letters, digits or . _ - and starts with a letter or digit"
AMOUNT_RULE = f"An amount is a whole number of minor units (int) from 1 to {AMOUNT_MINOR_MAX}"
REQUEST_ID_RULE = "A request id is 1 to 64 printable ASCII characters without spaces"


def check_request(request: Command | Query) -> None:
    """Raise `InvalidRequestId`, `InvalidAccount` or `InvalidAmount` unless the request is well formed."""
    if not _fits(request.id, RequestId):
        raise InvalidRequestId(REQUEST_ID_RULE)
    check_account(request.account)
    if isinstance(request, Credit | Debit) and not _fits(request.amount, AmountMinor):
        raise InvalidAmount(AMOUNT_RULE)


def check_account(account: str) -> None:
    """Raise `InvalidAccount` unless it can be an account's name; whether there is one, the bank knows."""
    if not _fits(account, AccountName):
        raise InvalidAccount(ACCOUNT_RULE)


def _fits(value: object, kind: Any) -> bool:
    """Return whether `value` is of that type, within its limits; `True` is no int, nor is `1.0`."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True
