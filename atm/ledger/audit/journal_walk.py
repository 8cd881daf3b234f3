"""One walk over the whole journal: its chain of hashes, its running balances, and what they add up to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from atm.ledger.journal_hash import Remark, row_hash
from atm.ledger.posting import NO_HASH, POSTINGS_PER_ENTRY

JOURNAL = """select posting, time_us, debit_account, credit_account, amount, debit_balance, credit_balance,
    request_id, hash, null, null from journal order by posting"""
# From feature level 2 on postings may have remarks.
REMARKED_JOURNAL = """select posting, time_us, debit_account, credit_account, amount, debit_balance,
    credit_balance, request_id, hash, code, text from journal left join remark using (posting)
    order by posting"""

RemarkedRow = tuple[int, int, str, str, int, int, int, str, bytes, int | None, str | None]


class JournalWalk:
    """Walks once. Memory grows with the accounts, not with the postings.

    After a wrong row it continues with the values of that row, so that each wrong row is reported once.
    """

    def __init__(self, report: Callable[[str], None], at: Sequence[int]) -> None:
        """`report` gets a line for each problem; `at` are the log indexes whose chain hash is wanted."""
        self._report = report
        self._wanted = sorted(set(at), reverse=True)  # the next one last
        self.chain: dict[int, bytes] = {}
        self.count = 0
        self.last_posting = 0
        self.last_hash = NO_HASH
        self._balances: dict[str, int] = {}  # as in the last row of each account
        self._drift: defaultdict[str, int] = defaultdict(int)  # the sum of the amounts less that

    def walk_rows(self, rows: Iterable[RemarkedRow]) -> None:
        """Walk over all rows of the journal, in the order of their numbers."""
        balances, report = self._balances, self._report
        last_hash, last_posting, last_us = self.last_hash, self.last_posting, 0
        wanted_from = self._wanted_from()
        for row in rows:
            number, time_us, debit, credit, amount, debit_balance, credit_balance, request_id = row[:8]
            found, code, text = row[8:]
            remark = None if code is None and text is None else Remark(code, text)
            if number >= wanted_from:
                self._note_chain(number // POSTINGS_PER_ENTRY, last_hash)
                wanted_from = self._wanted_from()
            expected = row_hash(
                last_hash,
                number,
                time_us,
                debit,
                credit,
                amount,
                debit_balance,
                credit_balance,
                request_id,
                remark,
            )
            if expected != found:
                report(f"{_at(number)}: its hash does not fit its contents and the posting before it")
                if not isinstance(found, bytes):
                    raise TypeError("a hash that is not bytes")
            if number != last_posting + 1 and number % POSTINGS_PER_ENTRY:
                report(f"{_at(number)}: the posting before it in its entry is missing")
            if time_us < last_us:
                report(f"{_at(number)}: its time is before that of the posting before it")
            if balances.get(debit, 0) - amount != debit_balance:
                self._note_drift(number, debit, -amount, debit_balance)
            if balances.get(credit, 0) + amount != credit_balance:
                self._note_drift(number, credit, amount, credit_balance)
            balances[debit], balances[credit] = debit_balance, credit_balance
            last_hash, last_posting, last_us = found, number, time_us
            self.count += 1
            self.last_posting, self.last_hash = last_posting, last_hash

    def finish(self, applied_index: int) -> None:
        """Note the chain at the wanted indexes after the last posting, up to `applied_index`."""
        self._note_chain(applied_index + 1, self.last_hash)

    def check_balances(self, kept: Iterable[tuple[str, int]]) -> None:
        """Report every account whose balance is not the sum of its postings; call it last."""
        for account, balance in kept:
            total = self._balances.pop(account, 0) + self._drift.get(account, 0)
            if balance != total:
                self._report(f"balance of {account}: it is {balance}, and its postings add up to {total}")
        for account, last_balance in self._balances.items():
            total = last_balance + self._drift.get(account, 0)
            self._report(f"balance of {account}: there is none, and its postings add up to {total}")

    def _note_drift(self, number: int, account: str, change: int, found: int) -> None:
        before = self._balances.get(account, 0)
        self._drift[account] += before + change - found
        self._report(
            f"{_at(number)}: {account} had {before}, was changed by {change}, and the row says {found}"
        )

    def _wanted_from(self) -> int | float:
        """Return the lowest posting number after the next wanted index."""
        return (self._wanted[-1] + 1) * POSTINGS_PER_ENTRY if self._wanted else float("inf")

    def _note_chain(self, before_index: int, journal_hash: bytes) -> None:
        while self._wanted and self._wanted[-1] < before_index:
            self.chain[self._wanted.pop()] = journal_hash


def _at(number: int) -> str:
    return f"posting {number} (log entry {number // POSTINGS_PER_ENTRY})"
