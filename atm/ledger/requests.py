"""The contents of a command, by which a repeated id is recognised, and the accounts that it names."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from msgspec.structs import asdict

from atm.ledger.commands import (
    NOT_HASHED,
    Batch,
    Command,
    Contents,
    Credit,
    Debit,
    Limited,
    LogCommand,
    SetPin,
    Transfer,
)

_NO_DETAILS = frozenset({"id", "end_user", "account", "amount", "pin", "old_pin"})
_PIN_NOT_HASHED = ""  # no digest
_SET_PIN_NOT_HASHED = '{"pin":""}'  # the details of `set_pin` then


def contents_of(command: Command) -> Contents:
    """Return what is asked. A request under an id that was used with other contents is refused.

    A PIN authenticates the customer and is no part of the contents. The new PIN of `set_pin` is: a hash
    stands for it, if it was sealed.
    """
    match command:
        case Credit():
            return Contents(op="credit", account=command.account, amount=command.amount)
        case Debit():
            return Contents(op="debit", account=command.account, amount=command.amount)
        case Transfer():
            details = _json({"target": command.target})
            return Contents(op="transfer", account=command.account, amount=command.amount, details=details)
        case _:
            fields = asdict(command)
            others = {
                name: value for name, value in fields.items() if name not in _NO_DETAILS and value is not None
            }
            if isinstance(command, Batch):
                others["legs"] = [(leg.account, leg.target, leg.amount) for leg in command.legs]
            if isinstance(command, SetPin):
                others["pin"] = _PIN_NOT_HASHED if command.pin == NOT_HASHED else _digest(command.pin)
            return Contents(
                op=str(command.__struct_config__.tag),
                account=fields.get("account"),
                amount=fields.get("amount"),
                details=_json(others) if others else None,
            )


def same_contents(first: Contents, again: Contents) -> bool:
    """Return whether the same is asked: of two new PINs, as far as both were hashed."""
    if first == again:
        return True
    if first.op != "set_pin" or first.op != again.op or first.account != again.account:
        return False
    return _SET_PIN_NOT_HASHED in (first.details, again.details)


def _digest(pin: str) -> str:
    return hashlib.sha256(pin.encode()).hexdigest()[:16]


def _json(details: dict[str, Any]) -> str:
    return msgspec.json.encode(details).decode()


def hold_named(asked: Contents) -> str:
    """Return the id of the hold that a `post` or a `void` names."""
    assert asked.details is not None
    return msgspec.json.decode(asked.details, type=dict[str, str])["hold"]


def request_named(asked: Contents) -> str:
    """Return the id of the request that an `approve` names."""
    assert asked.details is not None
    return msgspec.json.decode(asked.details, type=dict[str, str])["request"]


def asked_again(asked: Contents, request_id: str) -> Limited:
    """Return the request that had these contents, under another id."""
    fields = {"op": asked.op, "id": request_id, "account": asked.account, "amount": asked.amount}
    details = {} if asked.details is None else msgspec.json.decode(asked.details, type=dict[str, str])
    said = {name: value for name, value in (fields | details).items() if value is not None}
    again: Limited = msgspec.convert(said, Limited)
    return again


def accounts_named(command: LogCommand) -> tuple[str, ...]:
    """Return the accounts that the command names itself."""
    match command:
        case Transfer():
            return command.account, command.target
        case Batch():
            return tuple(name for leg in command.legs for name in (leg.account, leg.target))
        case _:
            account = getattr(command, "account", None)
            return () if account is None else (account,)
