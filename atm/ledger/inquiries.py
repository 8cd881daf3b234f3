"""Requests that only read: balances now and at a past time, statements, receipts, exceptions, accounts."""

from __future__ import annotations

from typing import Any, TypeVar, assert_never

import msgspec
from msgspec.structs import asdict, replace

from atm.ledger import approvals
from atm.ledger.accounts import WRONG_PINS_MAX, Account
from atm.ledger.commands import (
    CASH,
    PAGE_TEXTS_BYTES_MAX,
    Accounts,
    AccountState,
    ApprovalLimit,
    Approvals,
    Deed,
    Deeds,
    Exceptions,
    Find,
    Holds,
    HoldState,
    JournalPosting,
    Line,
    Lookup,
    Outcome,
    Pepper,
    PepperView,
    Query,
    Read,
    ReadResult,
    Roles,
    RoleState,
    Statement,
    WaitingRequest,
    Watch,
)
from atm.ledger.currencies import currency_of, currency_said
from atm.ledger.deeds import DEED_COLUMNS
from atm.ledger.finding import find_postings
from atm.ledger.peppers import FIRST_GENERATION, PepperState, generation_of, of_generation
from atm.ledger.pin_lock import is_locked, tries_left
from atm.ledger.posting import NO_HASH
from atm.ledger.rows import HOLDS_OF, Cursor, LedgerRows, Row

Posted = TypeVar("Posted", Line, JournalPosting)
Shown = TypeVar("Shown", JournalPosting, HoldState, RoleState, Deed, ApprovalLimit, WaitingRequest)

# Of an approval, what it approved; of what came from another lane, what it was there.
OP = """case op when 'approve' then (select asked.op from receipt as asked
    where asked.request_id = json_extract(receipt.details, '$.request'))
    when 'arrive' then case when json_extract(receipt.details, '$.reverses') is null then 'transfer'
        else 'reverse' end
    else op end"""
# Of a transfer between lanes, who it came from or went to, in place of the account `transit:`.
OTHER = """case when substr({other}, 1, 8) = 'transit:' then
    coalesce(json_extract(receipt.details, '$.payer'), json_extract(receipt.details, '$.target'),
        (select json_extract(reversed.details, '$.payer') from receipt as asked join receipt as reversed
        on reversed.request_id = json_extract(asked.details, '$.original')
        where asked.request_id = case receipt.op when 'approve'
            then json_extract(receipt.details, '$.request') else receipt.request_id end))
    else {other} end"""
LINE = f"""posting, journal.time_us, {OP}, journal.request_id, {{account}}, {OTHER},
    {{sign}} journal.amount, {{balance}}, kind, {{{{besides}}}}"""
DEBITS = LINE.format(account="debit_account", other="credit_account", sign="-", balance="debit_balance")
CREDITS = LINE.format(account="credit_account", other="debit_account", sign="", balance="credit_balance")
LINES = "from journal join receipt using (request_id) left join exception using (posting) {joins}"
# Below feature level 2 there are no remarks, and no other currencies than the first.
LEVEL_1 = {"besides": "null, null, null", "joins": ""}
LEVEL_2 = {
    "besides": "remark.code, remark.text, currency",
    "joins": """left join remark using (posting)
        left join account_currency on account_currency.account = debit_account""",
}

# The two conditions on each side are those of the journal's indexes.
STATEMENT = f"""
    select {DEBITS} {LINES}
    where debit_account = :account and debit_account <> 'cash' and posting < :before
    union all
    select {CREDITS} {LINES}
    where credit_account = :account and credit_account <> 'cash' and posting < :before
    order by posting desc limit :limit"""
CASH_STATEMENT = f"""
    select {DEBITS} {LINES} where debit_account = :account and posting < :before
    union all
    select {CREDITS} {LINES} where credit_account = :account and posting < :before
    order by posting desc limit :limit"""
EXCEPTIONS = f"""
    select {DEBITS} from exception join journal using (posting) join receipt using (request_id) {{joins}}
    where posting < :before order by posting desc limit :limit"""
FOUND = f"""
    select {DEBITS} from json_each(?) join journal on posting = cast(value as bigint)
    join receipt using (request_id) left join exception using (posting) {{joins}}
    order by posting desc""".format(**LEVEL_2)
NO_POSTING = 2**63 - 1
# The bank's own accounts have no row in `account`. Names are compared by their bytes; "" is before all.
LISTED_ACCOUNTS = "account > :after and opened_us is not null order by account limit :limit"

FIRST_AT_OR_AFTER = "select posting, time_us from journal where posting >= ? order by posting limit 1"
LAST_POSTING = "select max(posting) from journal"
ROLE_CHANGES_AFTER = """select name, granted, revoked, log_index from role_change where name > ?
    order by name limit ?"""
DEEDS_BEFORE = f"select {DEED_COLUMNS} from deed where deed < ? order by deed desc limit ?"
POSTINGS_BEHIND = f"""
    select posting, journal.time_us, {OP}, journal.request_id, debit_account, credit_account, journal.amount,
    debit_balance, credit_balance, lower(hex(hash)), {{besides}}
    from journal join receipt using (request_id) {{joins}} where posting > ? order by posting limit ?"""
HASH_UP_TO = "select lower(hex(hash)) from journal where posting <= ? order by posting desc limit 1"
CLUSTER_ID = "select id from cluster"
LIMITS = "select op, amount, log_index from approval_limit where amount is not null order by op"
WAITING_BEFORE = """select log_index, asked_us, asked_by, roles, op,
    coalesce(account, json_extract(details, '$.original')), amount, stake, request_id
    from approval join receipt using (request_id)
    where approved_by is null and asked_us >= ? and log_index < ? order by asked_us desc limit ?"""
OLDER_PINS = "select count(*) from account where pin is not null and substr(pin, 1, length(:seal)) <> :seal"


def balance_view(query: Query, account: Account, now_us: int) -> ReadResult:
    """Return the answer to a query of the balance at that time, which is the present."""
    pin = _pin_state(account, now_us)
    counted = pin == "set" and account.locked_until_us is not None
    generation = FIRST_GENERATION if account.pin is None else generation_of(account.pin)
    tries = tries_left(account, now_us) if counted else WRONG_PINS_MAX
    return ReadResult(
        id=query.id,
        outcome=Outcome.OK,
        balance=account.balance,
        available=account.available,
        state="open" if account.is_banks_own else account.state,
        pin=pin,
        locked_until_us=account.locked_until_us if pin == "locked" else None,
        tries_left=tries if tries < WRONG_PINS_MAX else None,
        wrong_pins=account.wrong_unseen or None,
        sealed_for=None if generation == FIRST_GENERATION else generation,
        ceiling=account.ceiling,
        transfers_count=None if account.transfers_from is None else True,
        currency=account.currency,
    )


class Inquiries:
    """Queries by one cursor, whose statements stay prepared; `rows` are looked up by it, too."""

    def __init__(self, cursor: Cursor, rows: LedgerRows) -> None:
        self.rows = rows
        self._cursor = cursor

    def execute(self, request: Read, now_us: int) -> ReadResult:  # noqa: C901, PLR0912 - a case for each kind
        """Return the answer, with locks as they are at that time.

        The refusals are `NO_SUCH_ACCOUNT` and `ORIGINAL_NOT_FOUND`.
        """
        match request:
            case Query(at_us=None):
                return self._balance(request, now_us)
            case Query():
                return self._past_balance(request, request.at_us or 0)
            case Statement():
                return self._statement(request)
            case Lookup():
                return self._lookup(request)
            case Exceptions():
                return self._exceptions(request)
            case Find():
                return self._find(request)
            case Accounts():
                return self._accounts(request, now_us)
            case Roles():
                return self._roles(request)
            case Deeds():
                return self._deeds(request)
            case Holds():
                return self._holds(request)
            case Approvals():
                return self._approvals(request, now_us)
            case Watch():
                return self._watch(request)
            case Pepper():
                return self._pepper(request)
            case _:
                assert_never(request)

    def _balance(self, query: Query, now_us: int) -> ReadResult:
        account = self.rows.account(query.account)
        if account is None:
            return ReadResult(id=query.id, outcome=Outcome.NO_SUCH_ACCOUNT)
        return balance_view(query, account, now_us)

    def _past_balance(self, query: Query, at_us: int) -> ReadResult:
        account = self.rows.account(query.account)
        if account is None or account.opened_us > at_us:
            return ReadResult(id=query.id, outcome=Outcome.NO_SUCH_ACCOUNT)
        before = self._first_posting_after(at_us)
        lines = self._lines(account, before, 1)
        balance = lines[0].balance if lines else 0
        return ReadResult(id=query.id, outcome=Outcome.OK, balance=balance, currency=account.currency)

    def _first_posting_after(self, time_us: int) -> int:
        """Return the number of the first posting later than `time_us`: times rise with the numbers."""
        low, high = 0, (self._cursor.execute(LAST_POSTING).get or 0) + 1
        while low < high:
            middle = (low + high) // 2
            found: list[Any] = self._cursor.execute(FIRST_AT_OR_AFTER, (middle,)).fetchall()
            if found and found[0][1] <= time_us:
                low = found[0][0] + 1
            else:
                high = middle
        return low

    def _statement(self, request: Statement) -> ReadResult:
        account = self.rows.account(request.account)
        if account is None:
            return ReadResult(id=request.id, outcome=Outcome.NO_SUCH_ACCOUNT)
        lines = self._lines(account, request.before, request.limit + 1)
        page, following = _page(lines, request.limit)
        return ReadResult(
            id=request.id,
            outcome=Outcome.OK,
            balance=account.balance,
            available=account.available,
            currency=account.currency,
            lines=page,
            next=following,
        )

    def _lines(self, account: Account, before: int | None, limit: int) -> tuple[Line, ...]:
        sql = self._of_level(CASH_STATEMENT if account.name == CASH else STATEMENT)
        values = {"account": account.name, "before": NO_POSTING if before is None else before, "limit": limit}
        return tuple(map(_line, self._cursor.execute(sql, values)))

    def _exceptions(self, request: Exceptions) -> ReadResult:
        before = NO_POSTING if request.before is None else request.before
        values = {"before": before, "limit": request.limit + 1}
        rows = self._cursor.execute(self._of_level(EXCEPTIONS), values).fetchall()
        page, following = _page(tuple(map(_line, rows)), request.limit)
        return ReadResult(id=request.id, outcome=Outcome.OK, lines=page, next=following)

    def _of_level(self, sql: str) -> str:
        return sql.format(**(LEVEL_2 if self.rows.has_level_2 else LEVEL_1))

    def _find(self, request: Find) -> ReadResult:
        if not self.rows.has_level_2:
            return ReadResult(id=request.id, outcome=Outcome.OK, lines=())
        found = find_postings(self._cursor, request, NO_POSTING if request.before is None else request.before)
        numbers = msgspec.json.encode(found.postings).decode()
        lines = tuple(map(_line, self._cursor.execute(FOUND, (numbers,)).fetchall()))
        page, following = _page(lines, request.limit)
        return ReadResult(id=request.id, outcome=Outcome.OK, lines=page, next=following or found.next)

    def _accounts(self, request: Accounts, now_us: int) -> ReadResult:
        values = {"after": request.after or "", "limit": request.limit + 1}
        rows = self._cursor.execute(self.rows.accounts_where(LISTED_ACCOUNTS), values)
        found = [_account_state(Account(*row), now_us) for row in rows]
        page = tuple(found[: request.limit])
        following = page[-1].account if len(found) > request.limit else None
        return ReadResult(id=request.id, outcome=Outcome.OK, accounts=page, next=following)

    def _holds(self, request: Holds) -> ReadResult:
        account = self.rows.account(request.account)
        if account is None:
            return ReadResult(id=request.id, outcome=Outcome.NO_SUCH_ACCOUNT)
        values = (request.account, request.after_hold or "", request.limit + 1)
        found = [
            _struct(HoldState, (*row, account.currency)) for row in self._cursor.execute(HOLDS_OF, values)
        ]
        page = tuple(found[: request.limit])
        return ReadResult(
            id=request.id,
            outcome=Outcome.OK,
            balance=account.balance,
            available=account.available,
            currency=account.currency,
            holds=page,
            next=page[-1].request_id if len(found) > request.limit else None,
        )

    def _roles(self, request: Roles) -> ReadResult:
        values = (request.after_name or "", request.limit + 1)
        found = [_struct(RoleState, row) for row in self._newer(ROLE_CHANGES_AFTER, values)]
        page = tuple(found[: request.limit])
        following = page[-1].name if len(found) > request.limit else None
        return ReadResult(id=request.id, outcome=Outcome.OK, roles=page, next=following)

    def _deeds(self, request: Deeds) -> ReadResult:
        values = (NO_POSTING if request.before is None else request.before, request.limit + 1)
        found = [
            _struct(Deed, (*row, currency_said(self.rows, str(row[-1]))))
            for row in self._newer(DEEDS_BEFORE, values)
        ]
        page = tuple(found[: request.limit])
        following = page[-1].deed if len(found) > request.limit else None
        return ReadResult(id=request.id, outcome=Outcome.OK, deeds=page, next=following)

    def _approvals(self, request: Approvals, now_us: int) -> ReadResult:
        before = NO_POSTING if request.before is None else request.before
        values = (now_us - approvals.APPROVE_WITHIN_US, before, request.limit + 1)
        found = [
            _struct(WaitingRequest, (*row, currency_of(self.rows, str(row[-1]))))
            for row in self._newer(WAITING_BEFORE, values)
        ]
        page = tuple(found[: request.limit])
        return ReadResult(
            id=request.id,
            outcome=Outcome.OK,
            approvals=page,
            limits=tuple(_struct(ApprovalLimit, row) for row in self._newer(LIMITS)),
            next=page[-1].log_index if len(found) > request.limit else None,
        )

    def _watch(self, request: Watch) -> ReadResult:
        sql, values = self._of_level(POSTINGS_BEHIND), (request.after, request.limit)
        rows = self._cursor.execute(sql, values).fetchall()
        page, following = _page(tuple(_struct(JournalPosting, row) for row in rows), request.limit)
        return ReadResult(
            id=request.id,
            outcome=Outcome.OK,
            postings=page,
            hash=self._cursor.execute(HASH_UP_TO, (request.after,)).get or NO_HASH.hex(),
            cluster=self._cursor.execute(CLUSTER_ID).get,
            next=following,
        )

    def _pepper(self, request: Pepper) -> ReadResult:
        found = self.rows.pepper() if self.rows.has_level_2 else PepperState()
        older = 0
        if found.carried_index is None:
            older = self._cursor.execute(OLDER_PINS, {"seal": of_generation(found.generation, "")}).get
        view = PepperView(
            generation=found.generation,
            name=found.name,
            log_index=found.log_index,
            carried_index=found.carried_index,
            older=older,
        )
        return ReadResult(id=request.id, outcome=Outcome.OK, pepper=view)

    def _newer(self, sql: str, values: tuple[str | int, ...] = ()) -> list[Row]:
        """Return rows of a table that feature level 2 adds; none before it."""
        if not self.rows.has_level_2:
            return []
        return self._cursor.execute(sql, values).fetchall()

    def _lookup(self, request: Lookup) -> ReadResult:
        record = self.rows.record(request.request_id)
        if record is None:
            return ReadResult(id=request.id, outcome=Outcome.ORIGINAL_NOT_FOUND)
        approval = self.rows.approval(request.request_id)
        taken_back, reversed_by = self._reversals(request.request_id)
        currency = currency_of(self.rows, request.request_id)
        return ReadResult(
            **(asdict(replace(record.receipt, id=request.id)) | {"currency": currency}),
            asked=record.asked,
            actor=record.actor,
            reversed_by=reversed_by,
            taken_back=taken_back,
            approved_by=None if approval is None else approval.approved_by,
        )

    def _reversals(self, original: str) -> tuple[int | None, str | None]:
        """Return how much the reversals of a request moved in all, and the last one."""
        further = self.rows.last_refund(original)
        first = self.rows.reversal(original)
        if further is not None or first is None:
            return further or (None, None)
        reversal = self.rows.record(first)
        assert reversal is not None, f"{original} was reversed by {first}, which has no receipt"
        moved = sum(posting.amount_minor for posting in self.rows.postings(reversal.receipt.log_index))
        return moved or None, first


def _account_state(account: Account, now_us: int) -> AccountState:
    return AccountState(
        account=account.name,
        balance=account.balance,
        available=account.available,
        state=account.state,
        pin=_pin_state(account, now_us),
        currency=account.currency,
    )


def _pin_state(account: Account, now_us: int) -> str:
    return "locked" if is_locked(account, now_us) else "none" if account.pin is None else "set"


def _page(lines: tuple[Posted, ...], limit: int) -> tuple[tuple[Posted, ...], int | None]:
    """Return the first `limit` lines, or as many as a frame holds, and the cursor of the next page if any."""
    page, left = lines[:limit], PAGE_TEXTS_BYTES_MAX
    for place, line in enumerate(page):
        left -= 0 if line.text is None else len(line.text.encode())
        if left < 0:
            page = page[:place]
            break
    return page, page[-1].posting if len(lines) > len(page) else None


def _struct(kind: type[Shown], row: Row) -> Shown:
    return msgspec.convert(dict(zip(kind.__struct_fields__, row, strict=True)), kind)


def _line(row: Row) -> Line:
    return msgspec.convert(dict(zip(Line.__struct_fields__, row, strict=True)), Line)
