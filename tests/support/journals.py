"""Writes a journal as `bin/ledger export` does, of a bank that never was."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec

from atm.ledger.audit.extract import JournalLine
from atm.ledger.commands import CASH

FIRST_US = 1_700_000_000_000_000


def write_journal(path: Path, accounts: int, postings: int) -> None:
    """Write so many postings as JSON lines: half credits, half transfers, between random accounts."""
    chance, encode = random.Random(accounts), msgspec.json.Encoder().encode
    balances = {f"customer-{number}": 0 for number in range(accounts)} | {CASH: 0}
    names = list(balances)[:-1]
    with path.open("wb") as file:
        for number in range(postings):
            payer, payee = chance.sample(names, 2)
            op = "transfer" if number % 2 and balances[payer] else "credit"
            payer = payer if op == "transfer" else CASH
            amount = chance.randint(1, balances[payer] if op == "transfer" else 100_000)
            balances[payer] -= amount
            balances[payee] += amount
            line = JournalLine(
                posting=64 * (number + 1),
                time_us=FIRST_US + number,
                op=op,
                request_id=f"posting-{number:012}",
                debit_account=payer,
                credit_account=payee,
                amount=amount,
                debit_balance=balances[payer],
                credit_balance=balances[payee],
                reverses=None,
                exception=None,
                hash="",
            )
            file.write(encode(line) + b"\n")
