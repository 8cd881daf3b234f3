"""What a read must have been answered at an index of the log, by the model of the bank."""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase
from typing import Any

from atm.ledger.commands import Accounts, Approvals, Exceptions, Find, Holds, Lookup, Query, Read, Statement
from tests.simulation import bank_rules
from tests.simulation.bank_model import BankModel, Row
from tests.simulation.bank_rules import US_PER_DAY, WRONG_PINS, WRONG_PINS_A_DAY, sealed_for

Answer = dict[str, Any]
SMALL = str.maketrans(ascii_uppercase, ascii_lowercase)


def view(model: BankModel, request: Read, index: int, now_us: int = 0) -> Answer:
    """Return the answer's fields, but for those that are empty, after `index` was applied.

    Locks that have ended by `now_us` are told as ended.
    """
    match request:
        case Query(at_us=None):
            account = request.account
            answer = _balance(model, account, index) | _pin(model, account, index, now_us)
            answer |= _limits(model, account, index)
        case Query(at_us=at_us):
            answer = _past_balance(model, request.account, at_us or 0, index)
        case Statement():
            answer = _statement(model, request, index)
        case Lookup():
            answer = _lookup(model, request.request_id, index)
        case Exceptions():
            kinds = _kinds(model, index)
            lines = [_line(model, row, 2, kinds) for row in model.journal.at(index) if row[0] in kinds]
            answer = {"outcome": "ok", **_page(lines, request)}
        case Find():
            answer = _found(model, request, index)
        case Accounts():
            answer = _accounts(model, request, index, now_us)
        case Holds():
            answer = _holds(model, request, index)
        case Approvals():
            answer = _approvals(model, request, index, now_us)
    return {"id": request.id, **{name: value for name, value in answer.items() if value is not None}}


def _balance(model: BankModel, name: str, index: int) -> Answer:
    balance, account = model.balance.at(index, name), model.account.at(index, name)
    if balance is None:
        return {"outcome": "no_such_account"}
    if account is None:  # the bank's own
        account = (name, 0, "open", 0, None, 0)
    _, _, state, held, *_ = account
    amounts = {"balance": balance[1], "available": balance[1] - held}
    return {"outcome": "ok", **amounts, "state": state}


def _limits(model: BankModel, name: str, index: int) -> Answer:
    """Return what a query tells of the account's further limits."""
    _, ceiling, since = model.account_limit.at(index, name) or (name, None, None)
    return {"ceiling": ceiling, "transfers_count": None if since is None else True}


def _pin(model: BankModel, name: str, index: int, now_us: int) -> Answer:
    """Return what a query tells of the account's PIN; nothing if there is no such account."""
    if model.balance.at(index, name) is None:
        return {}
    _, _, _, _, pin, wrong_pins, *_ = model.account.at(index, name) or (name, 0, "open", 0, None, 0)
    lock = model.lock.at(index, name)
    generation = {} if pin is None or sealed_for(pin) == 1 else {"sealed_for": sealed_for(pin)}
    if lock is None:
        if wrong_pins >= WRONG_PINS:
            return {"pin": "locked", **generation}
        left, unseen = WRONG_PINS, 0
    else:
        _, until_us, day, wrong_today, _, unseen = lock
        if until_us > now_us:
            told = {"locked_until_us": until_us, "wrong_pins": unseen or None}
            return {"pin": "locked", **told, **generation}
        today = wrong_today if day == now_us // US_PER_DAY else 0
        left = max(1, min(WRONG_PINS - wrong_pins, WRONG_PINS_A_DAY - today))
    told = {"wrong_pins": unseen or None}
    if pin is None:
        return {"pin": "none", **told}
    return {"pin": "set", "tries_left": left if left < WRONG_PINS else None, **told, **generation}


def ends_of_day(model: BankModel, request: Read, index: int) -> list[int]:
    """Return the last moment of the day of which wrong PINs are counted, if the request asks for that."""
    lock = model.lock.at(index, request.account) if isinstance(request, Query) else None
    return [] if lock is None else [(lock[2] + 1) * US_PER_DAY - 1]


def _past_balance(model: BankModel, name: str, at_us: int, index: int) -> Answer:
    account = model.account.at(index, name)
    if model.balance.at(index, name) is None or (account is not None and account[1] > at_us):
        return {"outcome": "no_such_account"}
    balance = 0
    for row in model.journal.at(index):
        if row[1] <= at_us and name in row[2:4]:
            balance = row[5] if row[2] == name else row[6]
    return {"outcome": "ok", "balance": balance}


def _statement(model: BankModel, request: Statement, index: int) -> Answer:
    now, kinds = _balance(model, request.account, index), _kinds(model, index)
    if now["outcome"] != "ok":
        return now
    lines = [
        _line(model, row, side, kinds)
        for row in model.journal.at(index)
        for side in (2, 3)
        if row[side] == request.account
    ]
    shown = {"balance": now["balance"], "available": now["available"]}
    return {"outcome": "ok", **shown, **_page(lines, request)}


def _holds(model: BankModel, request: Holds, index: int) -> Answer:
    now = _balance(model, request.account, index)
    if now["outcome"] != "ok":
        return now
    rows = [
        {"request_id": request_id, "amount": amount, "time_us": since_us, "expires_us": until_us}
        | ({"posted": posted} if posted else {})
        for request_id, account, amount, since_us, until_us, state, posted in model.hold.all_at(index)
        if account == request.account and state == "active" and request_id > (request.after_hold or "")
    ]
    page = rows[: request.limit]
    following = page[-1]["request_id"] if rows[request.limit :] else None
    shown = {"balance": now["balance"], "available": now["available"]}
    return {"outcome": "ok", **shown, "holds": page, "next": following}


def _lookup(model: BankModel, request_id: str, index: int) -> Answer:
    row = next((row for row in model.receipts(index) if row[0] == request_id), None)
    if row is None:
        return {"outcome": "original_not_found"}
    _, op, account, amount, _, actor, outcome, balance, available, log_index, time_us = row
    asked = {"op": op, "account": account, "amount": amount, "details": row[4]}
    return {
        "outcome": outcome,
        "balance": balance,
        "available": available,
        "log_index": log_index,
        "time_us": time_us,
        "asked": {name: value for name, value in asked.items() if value is not None},
        "actor": actor,
        **_reversals(model, request_id, index),
        "approved_by": (model.approval.at(index, request_id) or (None,))[-1],
        **dict(model.first[request_id][1][6]),
    }


def _reversals(model: BankModel, request_id: str, index: int) -> Answer:
    """Return the last reversal, and what was taken back by all."""
    by = [by for of, by in model.reversal.at(index) if of == request_id]
    by += [by for of, _, by in model.refund.at(index) if of == request_id]
    taken_back = sum(row[4] for row in model.journal.at(index) if row[7] in by)
    return {"reversed_by": by[-1], "taken_back": taken_back or None} if by else {}


def _approvals(model: BankModel, request: Approvals, index: int, now_us: int) -> Answer:
    rows = []
    for request_id, actor, roles, asked_us, stake, approval in model.approval.all_at(index):
        asked, decision = model.first[request_id]
        row = {
            "log_index": decision[4],
            "time_us": asked_us,
            "actor": actor,
            "roles": roles,
            "op": asked["op"],
            "target": asked.get("account") or asked.get("original"),
            "amount": asked.get("amount"),
            "stake": stake,
            "request_id": request_id,
        }
        is_old = asked_us + bank_rules.APPROVE_WITHIN_US < now_us
        if approval is None and not is_old and (request.before is None or decision[4] < request.before):
            rows.append({name: value for name, value in row.items() if value is not None})
    rows.sort(key=lambda row: -row["log_index"])
    limits = [
        {"op": op, "amount": amount, "log_index": at}
        for op, amount, at in model.approval_limit.all_at(index)
        if amount is not None
    ]
    page = rows[: request.limit]
    following = page[-1]["log_index"] if rows[request.limit :] else None
    return {"outcome": "ok", "approvals": page, "limits": limits, "next": following}


def _found(model: BankModel, request: Find, index: int) -> Answer:
    """Return the postings that say what is looked for; small and capital letters of ASCII are alike."""

    def says(code: int | None, text: str | None) -> bool:
        if request.code not in (None, code):
            return False
        if request.text is None or text is None or request.whole:
            return request.text in (None, text)
        return request.text.translate(SMALL) in text.translate(SMALL)

    wanted = {number for number, code, text in model.remark.at(index) if says(code, text)}
    kinds = _kinds(model, index)
    lines = [_line(model, row, 2, kinds) for row in model.journal.at(index) if row[0] in wanted]
    return {"outcome": "ok", **_page(lines, request)}


def _accounts(model: BankModel, request: Accounts, index: int, now_us: int) -> Answer:
    names = [row[0] for row in model.account.all_at(index) if request.after is None or row[0] > request.after]
    page = [
        {"account": name, **_balance(model, name, index), "pin": _pin(model, name, index, now_us)["pin"]}
        for name in names[: request.limit]
    ]
    for account in page:
        del account["outcome"]
    return {
        "outcome": "ok",
        "accounts": page,
        "next": page[-1]["account"] if names[request.limit :] else None,
    }


def _line(model: BankModel, row: Row, side: int, kinds: dict[int, str]) -> Answer:
    """Return a journal row as its debit account (`side` 2) or its credit account (3) sees it."""
    number, time_us, request_id = row[0], row[1], row[7]
    line = {
        "posting": number,
        "time_us": time_us,
        "op": _carried_out(model, request_id)["op"],
        "request_id": request_id,
        "account": row[side],
        "other": row[5 - side],
        "amount": row[4] if side == 3 else -row[4],
        "balance": row[5 if side == 2 else 6],
    }
    if number in kinds:
        line["exception"] = kinds[number]
    _, code, text = model.remarks.get(number, (number, None, None))
    said = {"code": code, "text": text}
    return line | {name: value for name, value in said.items() if value is not None}


def _carried_out(model: BankModel, request_id: str) -> Answer:
    """Return what was asked under an id; of an approval, what it approved."""
    asked, _ = model.first[request_id]
    return model.first[asked["request"]][0] if asked["op"] == "approve" else asked


def _kinds(model: BankModel, index: int) -> dict[int, str]:
    kinds: dict[int, str] = dict(row[:2] for row in model.exception.at(index))
    return kinds


def _page(lines: list[Answer], request: Statement | Exceptions | Find) -> Answer:
    """Return the latest of the lines before `before`, and where the next page begins."""
    before = [line for line in lines if request.before is None or line["posting"] < request.before]
    page = before[::-1][: request.limit]
    return {"lines": page, "next": page[-1]["posting"] if len(before) > len(page) else None}
