"""The contents of a command, by which a repeated id is recognised, and the accounts that it names."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec
from msgspec.structs import asdict, replace

from atm.ledger.commands import (
    NOT_HASHED,
    Arrive,
    Batch,
    Command,
    Contents,
    Credit,
    Debit,
    LaneCommand,
    Limited,
    LogCommand,
    MoneyRequest,
    Post,
    Reseal,
    SetPin,
    Transfer,
)
from atm.ledger.journal_hash import Remark
from atm.ledger.peppers import FIRST_GENERATION, generation_of, of_generation

_NO_DETAILS = frozenset({"id", "end_user", "account", "amount", "pin", "old_pin"})
_NO_DIGEST = ""  # of a new PIN that was not hashed, or for an older pepper than the current one


def contents_of(command: Command | Arrive, generation: int = FIRST_GENERATION) -> Contents:
    """Return what is asked. A request under an id that was used with other contents is refused.

    A PIN authenticates the customer and is no part of the contents. The new PIN of `set_pin` is: a hash
    stands for it, if it was sealed for the current `generation` of the pepper, or a later one.
    """
    match command:
        case Credit():
            details = None if _is_plain(command) else _json(_besides(command))
            return Contents(op="credit", account=command.account, amount=command.amount, details=details)
        case Debit():
            besides = _besides(command, everything=command.all)
            details = _json(besides) if besides else None
            return Contents(op="debit", account=command.account, amount=command.amount, details=details)
        case Transfer():
            besides = _besides(command, everything=command.all)
            if besides:
                details = _json({"target": command.target} | besides)
            else:
                details = f'{{"target":"{command.target}"}}'  # the same; a name has nothing to escape
            return Contents(op="transfer", account=command.account, amount=command.amount, details=details)
        case _:
            fields = asdict(command)
            others = {
                name: value
                for name, value in fields.items()
                if name not in _NO_DETAILS and value is not None and (value is not False or name == "final")
            }
            if isinstance(command, Post) and command.final:
                del others["final"]  # as a command of release 1.1, which does not know it
            if isinstance(command, Batch):
                others["legs"] = [(leg.account, leg.target, leg.amount) for leg in command.legs]
            if isinstance(command, SetPin):
                others["pin"] = _digest(command.pin, generation)
            return Contents(
                op=str(command.__struct_config__.tag),
                account=fields.get("account"),
                amount=fields.get("amount"),
                details=_json(others) if others else None,
            )


def remark_of(command: MoneyRequest) -> Remark | None:
    """Return the code and the text of its postings, None if it has neither."""
    if command.code is None and command.text is None:
        return None
    return Remark(command.code, command.text)


def _is_plain(command: MoneyRequest) -> bool:
    """Return whether there is nothing besides, as in all requests of release 1.1."""
    return command.code is None and command.text is None and command.currency is None


def _besides(command: MoneyRequest, *, everything: bool = False) -> dict[str, Any]:
    """Return that all there is was asked for, currency, code and text, as far as there are any."""
    if _is_plain(command) and not everything:
        return {}
    said = {
        "all": everything or None,
        "currency": command.currency,
        "code": command.code,
        "text": command.text,
    }
    return {name: value for name, value in said.items() if value is not None}


def same_contents(first: Contents, again: Contents) -> bool:
    """Return whether the same is asked: of two new PINs, as far as both are known for one pepper."""
    if first == again:
        return True
    if first.op != "set_pin" or first.op != again.op or first.account != again.account:
        return False
    assert first.details is not None
    assert again.details is not None
    digests = _new_pin(first.details), _new_pin(again.details)
    return _NO_DIGEST in digests or generation_of(digests[0]) != generation_of(digests[1])


def holds_older_pin(details: str, generation: int) -> bool:
    """Return whether the details of a `set_pin` have a digest of a PIN that was sealed for an older pepper.

    Who knows that pepper can try PINs on the digest.
    """
    digest = _new_pin(details)
    return digest != _NO_DIGEST and generation_of(digest) < generation


def without_pin(asked: Contents) -> Contents:
    """Return what a `set_pin` asked without the digest of its new PIN."""
    return replace(asked, details=_json({"pin": _NO_DIGEST}))


def _new_pin(details: str) -> str:
    """Return the digest of the new PIN in the details of a `set_pin`."""
    return msgspec.json.decode(details, type=dict[str, str])["pin"]


def _digest(pin: str, generation: int) -> str:
    if pin == NOT_HASHED or generation_of(pin) < generation:
        return _NO_DIGEST
    return of_generation(generation_of(pin), hashlib.sha256(pin.encode()).hexdigest()[:16])


def _json(details: dict[str, Any]) -> str:
    return msgspec.json.encode(details).decode()


def named_in(asked: Contents, field: Literal["hold", "original", "request"]) -> str:
    """Return the id that a `post` or a `void` names, or a `reverse`, or an `approve`."""
    return str(details_of(asked)[field])


def details_of(asked: Contents) -> dict[str, Any]:
    """Return the details of a request by their names, none if it has none."""
    return {} if asked.details is None else msgspec.json.decode(asked.details, type=dict[str, Any])


def asked_again(asked: Contents, request_id: str) -> Limited:
    """Return the request that had these contents, under another id."""
    fields = {"op": asked.op, "id": request_id, "account": asked.account, "amount": asked.amount}
    said = {name: value for name, value in (fields | details_of(asked)).items() if value is not None}
    again: Limited = msgspec.convert(said, Limited)
    return again


def accounts_named(command: LogCommand | LaneCommand) -> tuple[str, ...]:
    """Return the accounts that the command names itself."""
    match command:
        case Transfer():
            return command.account, command.target
        case Batch():
            return (*[leg.account for leg in command.legs], *[leg.target for leg in command.legs])
        case Reseal():
            return tuple(name for name, _ in command.seals)
        case _:
            account = getattr(command, "account", None)
            return () if account is None else (account,)
