"""Committed log entries for tests, made from lines such as `a1 credit main 500`.

    o1 open ann               f1 freeze ann             s1 set_pin ann 1234
    c1 credit ann 500         u1 unfreeze ann           s2 set_pin ann 5678 old 1234
    d1 debit ann 500          k1 close ann              l1 login ann 1234
    t1 transfer ann bob 500   y1 unlock ann             m1 set_limit ann 500
                              z1 reset_pin ann
    h1 hold ann 500 60s       p1 post h1                m2 set_limit ann none
    w1 write_off ann 500      p2 post h1 300            r1 reverse c1
    b1 batch ann bob 500, bob eve 300                   r2 reverse c1 300
    x1 raise_hold ann h1 50   p3 post h1 30 more        -
    v1 void h1                expire, expire 2          d2 debit ann all
    g1 grant_role ann teller  g2 revoke_role ann *    m3 set_limit ann 500 transfers
    e1 set_ceiling ann 500    e2 set_ceiling ann none
    a1 approve w1             n1 set_approval_limit write_off 500 (or none)

What moves or holds money, but for `raise_hold`, may end in `code 7`, in `for any words`, or in both, in
this order.

`debit`, `transfer`, `hold`, `raise_hold` and each leg of a `batch` may end in `pin 1234`; the PIN `UNHASHED`
is one that its server did not hash. `expire` is the leader's own and has no id, and ends as many as it says;
`-` is a no-op. Spans of time are `60s`, `5m`, `2h`, `1d`, or several of them in a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import cast

from msgspec.structs import replace

from atm.identity import Role
from atm.ledger.commands import (
    AMOUNT_MINOR_MAX,
    BALANCE_MINOR_MAX,
    BANK,
    LOCAL,
    NOT_HASHED,
    Approve,
    Batch,
    Close,
    Command,
    Credit,
    Debit,
    Expire,
    Freeze,
    GrantRole,
    Hold,
    Leg,
    LevelRaise,
    LimitedOp,
    LogCommand,
    LoggedCommand,
    Login,
    MoneyRequest,
    Open,
    Post,
    Query,
    RaiseHold,
    Reseal,
    ResetPin,
    Reverse,
    RevokeRole,
    RoleName,
    RotatePepper,
    SetApprovalLimit,
    SetCeiling,
    SetLimit,
    SetPin,
    Transfer,
    Unfreeze,
    Unlock,
    Void,
    WriteOff,
)
from atm.ledger.ledger import Ledger, Record
from atm.ledger.posting import BANK_MINOR_MIN, Posting
from atm.ledger.unit_of_work import ApprovalRecord, HoldRecord, RaisedHold
from atm.permissions import bits_of

NAMED_AMOUNTS = {
    "LARGEST": AMOUNT_MINOR_MAX,
    "FULL": BALANCE_MINOR_MAX,
    "FULL-1": BALANCE_MINOR_MAX - 1,
    "BOTTOM": BANK_MINOR_MIN,
    "BOTTOM+1": BANK_MINOR_MIN + 1,
}
SECONDS_OF = {"s": 1, "m": 60, "h": 3600, "d": 86400}
MONEY = {"credit", "debit", "transfer", "hold", "raise_hold", "post", "void", "reverse", "write_off"}
ON_ACCOUNTS: dict[str, type[Open | Freeze | Unfreeze | Close | Unlock | ResetPin]] = {
    "open": Open,
    "freeze": Freeze,
    "unfreeze": Unfreeze,
    "close": Close,
    "unlock": Unlock,
    "reset_pin": ResetPin,
}


def nothing(_name: str) -> None:
    """Find nothing under any name."""


class EmptyLedger:
    """A ledger with nothing in it, for a `UnitOfWork` that begins with all that a test needs."""

    def hold(self, request_id: str) -> HoldRecord | None:
        return None

    def active_holds(self, account: str, limit: int) -> int:
        return 0

    def holds_due(self, time_us: int, after: tuple[int, str], limit: int | None) -> Sequence[HoldRecord]:
        return ()

    def postings(self, log_index: int) -> Sequence[Posting]:
        return ()

    def raised_hold(self, hold: str) -> RaisedHold | None:
        return None

    def reversal(self, original: str) -> str | None:
        return None

    def refunded(self, original: str) -> int | None:
        return None

    def approval(self, request_id: str) -> ApprovalRecord | None:
        return None


def amount(text: str) -> int:
    """Return minor units for a number or one of `NAMED_AMOUNTS`."""
    return NAMED_AMOUNTS[text] if text in NAMED_AMOUNTS else int(text)


def seconds(span: str) -> int:
    """Return the seconds of `90`, `60s`, or `1d2h`."""
    if span.isdigit():
        return int(span)
    assert re.fullmatch(r"([0-9]+[smhd])+", span), span
    return sum(int(number) * SECONDS_OF[unit] for number, unit in re.findall(r"([0-9]+)([smhd])", span))


def entry(line: str) -> LoggedCommand | LevelRaise | None:
    """Return what stands in the log for a line: a command, the leader's own `expire`, None for a no-op.

    Or `level 2`, which raises the feature level; or `reseal 2 ann=2:1234 forget s1 done`, the leader's own.
    """
    if line == "-":
        return None
    if line.startswith("level "):
        return LevelRaise(int(line.removeprefix("level ")))
    if line == "expire" or line.startswith("expire "):
        limit = line.removeprefix("expire").strip()
        return LoggedCommand(BANK, Expire(limit=int(limit) if limit else None))
    if line.startswith("reseal "):
        _, generation, *words = line.split()
        at = words.index("forget") if "forget" in words else len(words)
        seals = tuple(
            (name, seal) for name, _, seal in (word.partition("=") for word in words[:at] if "=" in word)
        )
        receipts = tuple(word for word in words[at + 1 :] if word != "done")
        done = "done" in words
        return LoggedCommand(
            BANK, Reseal(generation=int(generation), seals=seals, receipts=receipts, done=done)
        )
    return logged(command(line))


def logged(asked: LogCommand, actor: str = LOCAL, *roles: Role) -> LoggedCommand:
    """Return the command as a log entry holds it, from who has a certificate with these roles."""
    return LoggedCommand(actor, asked, bits_of(frozenset(roles)))


def command(line: str) -> Command:
    """Return the command that a line stands for."""
    request_id, op, rest = (*line.replace("UNHASHED", NOT_HASHED).split(maxsplit=2), "")[:3]
    if op in {*MONEY, "batch"} and (" code " in rest or " for " in rest):
        rest, _, text = rest.partition(" for ")
        rest, _, code = rest.partition(" code ")
        asked = command(f"{request_id} {op} {rest}")
        assert isinstance(asked, MoneyRequest)
        return replace(asked, code=int(code) if code else None, text=text or None)
    if op == "batch":
        return Batch(id=request_id, legs=tuple(_leg(text) for text in rest.split(",")))
    if op in MONEY:
        return _of_money(request_id, op, rest)
    return _of_account(request_id, op, rest)


def _of_money(request_id: str, op: str, rest: str) -> Command:  # noqa: C901 - a case for each kind
    words, pin = _words_and_pin(rest)
    match op, *words:
        case ["credit", account, number]:
            return Credit(id=request_id, account=account, amount=amount(number))
        case ["debit", account, "all"]:
            return Debit(id=request_id, account=account, all=True, pin=pin)
        case ["transfer", account, target, "all"]:
            return Transfer(id=request_id, account=account, target=target, all=True, pin=pin)
        case ["debit", account, number]:
            return Debit(id=request_id, account=account, amount=amount(number), pin=pin)
        case ["transfer", account, target, number]:
            return Transfer(id=request_id, account=account, target=target, amount=amount(number), pin=pin)
        case ["hold", account, number, span]:
            expires_ms = seconds(span) * 1000
            return Hold(id=request_id, account=account, amount=amount(number), expires_ms=expires_ms, pin=pin)
        case ["raise_hold", account, hold, number]:
            return RaiseHold(id=request_id, account=account, hold=hold, amount=amount(number), pin=pin)
        case ["post", hold, number, "more"]:
            return Post(id=request_id, hold=hold, amount=amount(number), final=False)
        case ["post", hold, *number]:
            return Post(id=request_id, hold=hold, amount=_amount_if_any(number))
        case ["void", hold]:
            return Void(id=request_id, hold=hold)
        case ["reverse", original, *number]:
            return Reverse(id=request_id, original=original, amount=_amount_if_any(number))
        case ["write_off", account, number]:
            return WriteOff(id=request_id, account=account, amount=amount(number))
        case _:
            raise ValueError(f"{op} {rest}")


def _of_account(request_id: str, op: str, rest: str) -> Command:  # noqa: C901 - a case for each kind
    match op, *rest.split():
        case [name, account] if name in ON_ACCOUNTS:
            return ON_ACCOUNTS[name](id=request_id, account=account)
        case ["set_pin", account, pin]:
            return SetPin(id=request_id, account=account, pin=pin)
        case ["set_pin", account, pin, "old", old_pin]:
            return SetPin(id=request_id, account=account, pin=pin, old_pin=old_pin)
        case ["login", account, pin]:
            return Login(id=request_id, account=account, pin=pin)
        case ["grant_role", name, role]:
            return GrantRole(id=request_id, name=name, role=cast(RoleName, role))
        case ["revoke_role", name, role]:
            return RevokeRole(id=request_id, name=name, role=None if role == "*" else cast(RoleName, role))
        case ["rotate_pepper", generation, name]:
            return RotatePepper(id=request_id, generation=int(generation), pepper=name)
        case ["approve", request]:
            return Approve(id=request_id, request=request)
        case ["set_approval_limit" | "set_limit" | "set_ceiling", limited, number, *also]:
            limit = None if number == "none" else amount(number)
            if op == "set_limit":
                return SetLimit(id=request_id, account=limited, amount=limit, transfers=also == ["transfers"])
            if op == "set_ceiling":
                return SetCeiling(id=request_id, account=limited, amount=limit)
            return SetApprovalLimit(id=request_id, limited=cast(LimitedOp, limited), amount=limit)
        case _:
            raise ValueError(f"{op} {rest}")


def _leg(text: str) -> Leg:
    (account, target, number), pin = _words_and_pin(text)
    return Leg(account=account, target=target, amount=amount(number), pin=pin)


def _words_and_pin(text: str) -> tuple[list[str], str | None]:
    words = text.split()
    return (words[:-2], words[-1]) if words[-2:-1] == ["pin"] else (words, None)


def _amount_if_any(words: Sequence[str]) -> int | None:
    return amount(*words) if words else None


def time_us(log_index: int) -> int:
    """Return the time stamp that these tests give the entry at `log_index`."""
    return 1_700_000_000_000_000 + log_index * 1000


def records(lines: Iterable[str], first_index: int = 1) -> list[Record]:
    """Return an entry for each line, at consecutive indexes."""
    return [(index, time_us(index), entry(line)) for index, line in enumerate(lines, first_index)]


def balance_of(ledger: Ledger, account: str) -> int | None:
    """Return what a query of the account would be told, None if there is no such account."""
    return ledger.view(Query(id="q", account=account)).balance


def apply_in_batches(ledger: Ledger, entries: Sequence[Record], size: int) -> None:
    """Apply what of `entries` lies beyond the ledger's applied index, `size` at a time."""
    rest = entries[ledger.applied_index :]
    for start in range(0, len(rest), size):
        ledger.apply(rest[start : start + size])
