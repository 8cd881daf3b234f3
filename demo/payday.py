"""Payday: a page that uses the Python client as a program of your own would (docs/python.md).

Run it with a bank, such as that of `bin/run`: `python -m demo.payday`. It can be stopped and run again at any
time of the same month: nothing is paid twice.
"""

from __future__ import annotations

import sys

from atm.client import Client, ClientError, Credit, Outcome, OutcomeUnknown, Unavailable, Unfinished
from atm.money import format_amount

SALARIES = {"ann": 3_100_00, "bob": 2_450_50, "eve": 2_900_00}  # minor units


def pay(client: Client, month: str) -> int:
    """Pay all salaries of a month, each under an id that says what it is for; return their sum."""
    for name in SALARIES:
        client.open(name)  # "ok", or "exists": both will do
    receipts = client.submit(
        Credit(id=f"salary-{month}-{name}", account=name, amount=amount) for name, amount in SALARIES.items()
    )
    for name, receipt in zip(SALARIES, receipts, strict=True):
        if not receipt.ok:
            print(f"{name} was not paid: {receipt.outcome}", file=sys.stderr)
    return sum(amount for amount, receipt in zip(SALARIES.values(), receipts, strict=True) if receipt.ok)


def pay_rent(client: Client, month: str, tenant: str, landlord: str, rent: int) -> str:
    """Move the rent, if there is enough; say how it went."""
    moved = client.transfer(tenant, landlord, rent, request_id=f"rent-{month}-{tenant}")
    if moved.ok:  # so its balance is an int
        return f"{tenant} has {format_amount(moved.balance)} left"
    if moved.outcome is Outcome.INSUFFICIENT_FUNDS:
        return f"{tenant} has only {format_amount(client.query(tenant).check().balance)}"
    return f"{tenant}'s rent was refused: {moved.outcome}"


def main(month: str) -> int:
    """Pay, and print the books; return 0, or 1 if the bank did not answer."""
    try:
        with Client() as client:  # the bank of $ATM_CONFIG, or of cluster.ini in this folder
            print(f"Paid {format_amount(pay(client, month))} for {month}")
            print(pay_rent(client, month, "bob", "ann", 900_00))
            for account in client.all_accounts():
                print(f"{account.account}: {format_amount(account.balance)}")
            for line in client.statement_lines("ann"):
                print(f"{line.op} {format_amount(line.amount)} from or to {line.other}")
    except (OutcomeUnknown, Unfinished) as error:
        print(f"{error}. Run this again: nothing is paid twice", file=sys.stderr)
        return 1
    except Unavailable as error:
        print(f"{error}. Nothing more was done", file=sys.stderr)
        return 1
    except ClientError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1] if len(sys.argv) > 1 else "2026-11"))
