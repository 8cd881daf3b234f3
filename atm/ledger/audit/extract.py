"""The journal and the accounts of a ledger, row by row, for exports."""

from __future__ import annotations

from collections.abc import Iterator

import apsw
import msgspec
from msgspec import Struct

from atm.ledger.audit.digest import table_names
from atm.ledger.commands import AccountName, AmountMinor, Code, RequestId, Text

# Of an approval, `asked` is what it approved and carried out; else it is the receipt itself.
JOURNAL = """select posting, journal.time_us, asked.op, journal.request_id, debit_account, credit_account,
    journal.amount, debit_balance, credit_balance,
    iif(asked.op = 'reverse', json_extract(asked.details, '$.original'), null), kind, lower(hex(hash)),
    {remark} from journal join receipt on receipt.request_id = journal.request_id
    join receipt as asked on asked.request_id =
        iif(receipt.op = 'approve', json_extract(receipt.details, '$.request'), receipt.request_id)
    left join exception using (posting) {remarks} order by posting"""
ACCOUNTS = """select account, coalesce(opened_us, 0), amount from balance left join account using (account)
    order by account"""


class JournalLine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One posting; the columns are explained in docs/ledger.md."""

    posting: int
    time_us: int
    op: str
    request_id: RequestId
    debit_account: AccountName
    credit_account: AccountName
    amount: AmountMinor
    debit_balance: int
    credit_balance: int
    reverses: RequestId | None
    exception: str | None
    hash: str
    code: Code | None = None
    text: Text | None = None


class AccountLine(Struct, frozen=True):
    """An account, when it was opened, and its balance."""

    account: str
    opened_us: int
    balance: int


def journal_lines(cursor: apsw.Cursor) -> Iterator[JournalLine]:
    """Yield all postings in their order; raise `msgspec.ValidationError` for an invalid one."""
    fields = JournalLine.__struct_fields__
    has_remarks = "remark" in table_names(cursor)
    remark = {"remark": "code, text", "remarks": "left join remark using (posting)"} if has_remarks else {}
    for row in cursor.execute(JOURNAL.format(**({"remark": "null, null", "remarks": ""} | remark))):
        yield msgspec.convert(dict(zip(fields, row, strict=True)), JournalLine)


def account_lines(cursor: apsw.Cursor) -> Iterator[AccountLine]:
    """Yield all accounts, the bank's own too, by name."""
    for row in cursor.execute(ACCOUNTS):
        yield msgspec.convert(dict(zip(AccountLine.__struct_fields__, row, strict=True)), AccountLine)
