"""The journal and the accounts of a ledger, row by row, for exports."""

from __future__ import annotations

from collections.abc import Iterator

import apsw
import msgspec
from msgspec import Struct

from atm.ledger.audit.digest import table_names
from atm.ledger.commands import AmountMinor, AnyAccount, Code, RequestId, Text

# Of an approval, `asked` is what it approved and carried out; else it is the receipt itself.
JOURNAL = """select posting, journal.time_us, asked.op, journal.request_id, debit_account, credit_account,
    journal.amount, debit_balance, credit_balance,
    iif(asked.op = 'reverse', json_extract(asked.details, '$.original'), null), kind, lower(hex(hash)),
    {remark}, {currency}
    from journal join receipt on receipt.request_id = journal.request_id
    join receipt as asked on asked.request_id =
        iif(receipt.op = 'approve', json_extract(receipt.details, '$.request'), receipt.request_id)
    left join exception using (posting) {remarks} {join} order by posting"""
ACCOUNTS = """select balance.account, coalesce(opened_us, 0), amount, {currency} from balance
    left join account using (account) {join} order by balance.account"""


class JournalLine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One posting; the columns are explained in docs/ledger.md."""

    posting: int
    time_us: int
    op: str
    request_id: RequestId
    debit_account: AnyAccount
    credit_account: AnyAccount
    amount: AmountMinor
    debit_balance: int
    credit_balance: int
    reverses: RequestId | None
    exception: str | None
    hash: str
    code: Code | None = None
    text: Text | None = None
    currency: str | None = None  # None: the bank's first


class AccountLine(Struct, frozen=True):
    """An account, when it was opened, and its balance."""

    account: str
    opened_us: int
    balance: int
    currency: str | None = None  # None: the bank's first


def journal_lines(cursor: apsw.Cursor) -> Iterator[JournalLine]:
    """Yield all postings in their order; raise `msgspec.ValidationError` for an invalid one."""
    fields = JournalLine.__struct_fields__
    for row in cursor.execute(with_currency(cursor, _with_remarks(cursor, JOURNAL), "debit_account")):
        yield msgspec.convert(dict(zip(fields, row, strict=True)), JournalLine)


def account_lines(cursor: apsw.Cursor) -> Iterator[AccountLine]:
    """Yield all accounts, the bank's own too, by name."""
    for row in cursor.execute(with_currency(cursor, ACCOUNTS, "balance.account")):
        yield msgspec.convert(dict(zip(AccountLine.__struct_fields__, row, strict=True)), AccountLine)


def _with_remarks(cursor: apsw.Cursor, sql: str) -> str:
    """Return the query with its `{remark}` and `{remarks}` filled in, and nothing else."""
    if "remark" not in table_names(cursor):
        return sql.replace("{remark}", "null, null").replace("{remarks}", "")
    return sql.replace("{remark}", "code, text").replace("{remarks}", "left join remark using (posting)")


def with_currency(cursor: apsw.Cursor, sql: str, account: str) -> str:
    """Return the query with its `{currency}`, which its `{join}` finds for the account in this column."""
    if "account_currency" not in table_names(cursor):  # it is there from feature level 2 on
        return sql.format(currency="null", join="")
    return sql.format(
        currency="currency",
        join=f"left join account_currency on account_currency.account = {account}",
    )
