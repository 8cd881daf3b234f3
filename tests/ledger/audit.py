"""An audit of a ledger that shares no code with the program: SQL, sums and hashes."""

from __future__ import annotations

import hashlib
from collections import defaultdict

from atm.ledger.ledger import Ledger

JOURNAL = """select posting, journal.time_us, debit_account, credit_account, journal.amount,
    debit_balance, credit_balance, request_id, hash, receipt.log_index, receipt.time_us, outcome
    from journal join receipt using (request_id) order by posting"""
HELD = """select account, held, (select coalesce(sum(amount - posted), 0) from hold
    where hold.account = account.account and hold.state = 'active') from account"""
OVERDRAWN = """select balance.account from balance where amount < 0 and account not in ('cash', 'writeoff')
    and account not like '%:%'
    and account not in (select debit_account from exception join journal using (posting)
                        where kind = 'overdrawn')"""


def audit(ledger: Ledger) -> None:
    """Fail unless balances, journal, holds and hash chain of a ledger are consistent."""
    rows = ledger._database.cursor().execute
    balances: dict[str, int] = dict(rows("select account, amount from balance"))
    assert sum(balances.values()) == 0, "money was made or lost"
    found: dict[str, int] = defaultdict(int)
    chain, last_us = bytes(32), 0
    for *row, journal_hash, log_index, decided_us, outcome in rows(JOURNAL):
        number, time_us, debit, credit, amount, debit_balance, credit_balance, _ = row
        found[debit] -= amount
        found[credit] += amount
        running = (debit_balance, credit_balance)
        assert running == (found[debit], found[credit]), f"the running balances of {number}"
        chain = hashlib.sha256(chain + " ".join(map(str, row)).encode()).digest()
        assert chain == journal_hash, f"the chain is broken at {number}"
        assert (number // 64, time_us, "ok") == (log_index, decided_us, outcome), f"the receipt of {number}"
        assert time_us >= last_us, f"time went back at {number}"
        last_us = time_us
    assert {name: found[name] for name in balances} == balances, "balances are what the journal adds up to"
    assert found.keys() <= balances.keys()
    wrong = [row for row in rows(HELD) if row[1] != row[2]]
    assert not wrong, "what is held is the sum of the active holds"
    assert rows(OVERDRAWN).fetchall() == [], "no account is below zero without an exception"
    customers = {name for (name,) in rows("select account from account")}
    own = {name for name in balances if name.split(":")[0] in ("cash", "writeoff")}
    assert customers == balances.keys() - own, "each customer has an account, the bank none"
    assert rows("select 1 from pragma_foreign_key_check").fetchall() == []
