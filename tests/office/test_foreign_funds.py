"""What an import of other programs' books foresees: payments that the bank would refuse for their amount."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from atm.client import Client, NotAllowed, Receipt
from atm.ledger.commands import Batch, Command, Credit, Debit, Leg, Lookup, Outcome, Query, Transfer
from atm.ledger.requests import contents_of
from atm.office.foreign.funds import Foreseen, foreseen
from atm.office.windows import ImportRequest

BALANCE = 100


class Bank:
    """Has 100 on each account, ceilings of some, and what is `booked` already."""

    def __init__(self, ceilings: dict[str, int], *booked: Command) -> None:
        self._ceilings = ceilings
        self._booked = {command.id: command for command in booked}
        self.answers: Outcome = Outcome.OK

    def read_all(self, reads: Sequence[Lookup | Query]) -> list[Receipt]:
        return [self._found(read) if isinstance(read, Lookup) else self._account(read) for read in reads]

    def _account(self, query: Query) -> Receipt:
        if query.account == "new":
            return Receipt(id=query.id, outcome=Outcome.NO_SUCH_ACCOUNT)
        ceiling = self._ceilings.get(query.account)
        return Receipt(id=query.id, outcome=self.answers, balance=BALANCE, available=BALANCE, ceiling=ceiling)

    def _found(self, lookup: Lookup) -> Receipt:
        command = self._booked.get(lookup.request_id)
        if command is None:
            return Receipt(id=lookup.id, outcome=Outcome.ORIGINAL_NOT_FOUND)
        return Receipt(id=lookup.id, outcome=Outcome.OK, asked=contents_of(command))


def seen(bank: Bank, *commands: Command) -> list[Foreseen]:
    requests = [ImportRequest(f"line {number}", command) for number, command in enumerate(commands, 1)]
    return foreseen(cast(Client, bank), requests, ["ann"], ["ann", "bob", "new"])


def credit(id_: str, account: str, amount: int) -> Credit:
    return Credit(id=id_, account=account, amount=amount)


def test_who_pays_more_than_there_is_is_told_with_the_first_line_and_the_most_that_lacks() -> None:
    paid = [Debit(id=str(number), account="ann", amount=60) for number in range(3)]
    assert seen(Bank({}), *paid) == [Foreseen("line 2", "ann", 80)]


def test_a_balance_over_its_ceiling_is_told_with_the_first_line_and_the_most_that_is_over() -> None:
    bank = Bank({"bob": 150, "ann": 500})
    paid = [credit("1", "bob", 50), credit("2", "bob", 1), credit("3", "bob", 4), credit("4", "ann", 400)]
    assert seen(bank, *paid) == [Foreseen("line 2", "bob", 5, ceiling=150)]


def test_what_leaves_an_account_makes_room_below_its_ceiling() -> None:
    bank = Bank({"bob": 100})
    out, back = Debit(id="1", account="bob", amount=30), credit("2", "bob", 30)
    assert seen(bank, out, back) == []
    assert seen(bank, back, out) == [Foreseen("line 1", "bob", 30, ceiling=100)]


def test_each_leg_of_a_batch_counts_in_its_order() -> None:
    legs = Leg(account="ann", target="bob", amount=5), Leg(account="bob", target="new", amount=5)
    assert seen(Bank({"bob": 104}), Batch(id="1", legs=legs)) == [Foreseen("line 1", "bob", 1, ceiling=104)]
    assert seen(Bank({"bob": 105}), Batch(id="1", legs=legs)) == []


def test_what_is_booked_already_does_not_count_again() -> None:
    first = Transfer(id="1", account="ann", target="bob", amount=40)
    assert seen(Bank({"bob": 139}), first) == [Foreseen("line 1", "bob", 1, ceiling=139)]
    assert seen(Bank({"bob": 139}, first), first) == []


def test_an_account_that_is_not_open_has_nothing_and_no_ceiling() -> None:
    bank = Bank({})
    requests = [ImportRequest("line 1", Debit(id="1", account="new", amount=1))]
    assert foreseen(cast(Client, bank), requests, ["new"], ["new"]) == [Foreseen("line 1", "new", 1)]


def test_who_may_not_ask_for_balances_is_told_so() -> None:
    bank = Bank({})
    bank.answers = Outcome.NOT_ALLOWED
    with pytest.raises(NotAllowed):
        seen(bank)
