"""Checks before a request is sent; each refusal says what would be right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import get_args, get_type_hints

import msgspec
from msgspec.structs import asdict

from atm.client.errors import InvalidAccount, InvalidAmount, InvalidPin, InvalidRequest, InvalidRequestId
from atm.ledger.commands import (
    AMOUNT_MINOR_MAX,
    CODE_MAX,
    END_USER_CHARS_MAX,
    TEXT_CHARS_MAX,
    AccountName,
    AmountMinor,
    AmountOrNothing,
    AnyAccount,
    Batch,
    BookAccount,
    Code,
    Command,
    EndUser,
    Leg,
    Pin,
    Read,
    RequestId,
    RotatePepper,
    Text,
)

ACCOUNT_RULE = "An account's name is 1 to 64 letters, digits or . _ - and starts with a letter or digit"
AMOUNT_RULE = f"An amount is a whole number of minor units (int) from 1 to {AMOUNT_MINOR_MAX}"
AMOUNT_OR_NOTHING_RULE = f"This amount is a whole number of minor units (int) from 0 to {AMOUNT_MINOR_MAX}"
REQUEST_ID_RULE = "A request id is 1 to 64 printable ASCII characters without spaces"
END_USER_RULE = (
    f"An end user's name is 1 to {END_USER_CHARS_MAX} letters, digits or _ . -, the first no . and no -"
)
CODE_RULE = f"A code is a whole number from 1 to {CODE_MAX}"
TEXT_RULE = f"A text is 1 to {TEXT_CHARS_MAX} characters that a screen shows, without a blank at either end"
PIN_RULE = "A PIN is 4 to 12 digits"

TOGETHER_MAX = 1_000  # requests of one `submit`

SUBMITTED = frozenset(get_args(Command)) - {RotatePepper}  # which has an answer of another kind
READS = frozenset(get_args(Read))
_PLAIN_PIN = re.compile(r"[0-9]{4,12}", re.ASCII)
_FIELD = re.compile(r"`\$(?P<leg>\.legs\[[0-9.]+\])?\.(?P<field>[a-z_]+)`")  # in msgspec's words
_RULES: tuple[tuple[object, type[InvalidRequest], str], ...] = (
    (AccountName, InvalidAccount, ACCOUNT_RULE),
    (BookAccount, InvalidAccount, ACCOUNT_RULE),
    (AnyAccount, InvalidAccount, ACCOUNT_RULE),
    (AmountMinor, InvalidAmount, AMOUNT_RULE),
    (AmountOrNothing, InvalidAmount, AMOUNT_OR_NOTHING_RULE),
    (RequestId, InvalidRequestId, REQUEST_ID_RULE),
    (EndUser, InvalidRequest, END_USER_RULE),
    (Code, InvalidRequest, CODE_RULE),
    (Text, InvalidRequest, TEXT_RULE),
    (Pin, InvalidPin, PIN_RULE),
)


def check_request(request: Command | Read) -> None:
    """Raise one of the `InvalidRequest` kinds unless the request is well formed."""
    whole = asdict(request)
    if isinstance(request, Batch):
        whole["legs"] = [asdict(leg) for leg in request.legs]
    for part in (whole, *whole.get("legs", ())):
        for name in ("pin", "old_pin"):
            check_pin(part.get(name))
    try:
        msgspec.convert(whole | {"op": request.__struct_config__.tag}, type(request))
    except msgspec.ValidationError as error:
        raise refusal_of(type(request), str(error)) from None


def check_kinds(requests: Sequence[object], kinds: frozenset[type]) -> None:
    """Raise `InvalidRequest` unless so many may be sent together, and each is of one of the kinds."""
    if len(requests) > TOGETHER_MAX:
        raise InvalidRequest(f"At most {TOGETHER_MAX:,} requests are sent together, not {len(requests):,}")
    for request in requests:
        if type(request) not in kinds:
            raise InvalidRequest(f"{type(request).__name__} cannot be sent together with others like this")


def check_ids_differ(requests: Sequence[Command | Read]) -> None:
    """Raise `InvalidRequestId` unless each request has an id of its own."""
    ids: set[str] = set()
    for request in requests:
        if request.id in ids:
            raise InvalidRequestId(f"Each request has an id of its own, but two have {request.id}")
        ids.add(request.id)


def check_either(amount: object, *, everything: bool) -> None:
    """Raise `InvalidAmount` unless there is an amount, or everything is asked for, and not both."""
    if (amount is None) is not everything:
        raise InvalidAmount(f"{AMOUNT_RULE}; with everything=True there is none")


def check_account(account: str) -> None:
    """Raise `InvalidAccount` unless it has the form of a name, or of one of the bank's own: `cash:EUR`."""
    try:
        msgspec.convert(account, AnyAccount)
    except msgspec.ValidationError:
        raise InvalidAccount(ACCOUNT_RULE) from None


def check_pin(pin: object) -> None:
    """Raise `InvalidPin` unless it is None or has the form of a PIN."""
    if pin is not None and not (isinstance(pin, str) and _PLAIN_PIN.fullmatch(pin)):
        raise InvalidPin(PIN_RULE)


def refusal_of(request: type[msgspec.Struct], what: str) -> InvalidRequest:
    """Return the exception for a field of the wrong type, with the rule of that type.

    `what` is what msgspec says of it.
    """
    found = _FIELD.search(what)
    if found is not None:
        struct = Leg if found["leg"] else request
        hint = get_type_hints(struct, include_extras=True)[found["field"]]
        for kind, refusal, rule in _RULES:
            if kind in (hint, *get_args(hint)):
                return refusal(rule)
    return InvalidRequest(f"Not a request: {what}")
