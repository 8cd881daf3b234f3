"""What an import sends, what it skips, and what it counts, over a bank in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from atm.client import Client, NotAllowed, Receipt, Unfinished
from atm.ledger.commands import Command, Credit, Lookup, Open, Outcome, Query, Transfer
from atm.ledger.requests import contents_of
from atm.office.bulk_import import BulkImport, NotBooked, differences
from atm.office.windows import ImportRequest


class Bank:
    """Answers what an import asks; `sent` are the ids of each `submit`, `looked_up` those of all lookups."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []
        self.looked_up: list[str] = []
        self.outcomes: dict[str, Outcome] = {}  # by request id, other than ok
        self.breaks_behind: int | None = None  # requests: the bank is not available then
        self._decided: dict[str, tuple[Command, Receipt]] = {}

    def submit(self, commands: Sequence[Command]) -> list[Receipt]:
        self.sent.append([command.id for command in commands])
        receipts: dict[str, Receipt] = {}
        for command in commands:
            if self.breaks_behind is not None and len(self._decided) >= self.breaks_behind:
                raise Unfinished(receipts, (), (command.id,), "The bank is not available")
            receipts[command.id] = self._decide(command)
        return list(receipts.values())

    def _decide(self, command: Command) -> Receipt:
        if command.id not in self._decided:
            outcome = self.outcomes.get(command.id, Outcome.OK)
            receipt = Receipt(id=command.id, outcome=outcome, balance=7, log_index=len(self._decided) + 1)
            self._decided[command.id] = command, receipt
        return self._decided[command.id][1]

    def read_all(self, reads: Sequence[Lookup | Query]) -> list[Receipt]:
        return [self._found(read) if isinstance(read, Lookup) else self._balance(read) for read in reads]

    def _found(self, lookup: Lookup) -> Receipt:
        self.looked_up.append(lookup.request_id)
        if lookup.request_id not in self._decided:
            return Receipt(id=lookup.id, outcome=Outcome.ORIGINAL_NOT_FOUND)
        command, first = self._decided[lookup.request_id]
        return Receipt(
            id=lookup.id, outcome=first.outcome, log_index=first.log_index, asked=contents_of(command)
        )

    def _balance(self, query: Query) -> Receipt:
        if query.account == "nobody":
            return Receipt(id=query.id, outcome=Outcome.NO_SUCH_ACCOUNT)
        return Receipt(id=query.id, outcome=Outcome.OK, balance=7, available=7)


def importing(bank: Bank) -> BulkImport:
    return BulkImport(cast(Client, bank))


def credits(count: int) -> list[ImportRequest]:
    """Credits to as many accounts."""
    return [
        ImportRequest(f"line {number}", Credit(id=f"r{number}", account=f"a{number}", amount=1))
        for number in range(count)
    ]


def counts(bulk: BulkImport) -> tuple[int, int, int, int]:
    return bulk.booked, bulk.booked_before, bulk.opened, bulk.open_before


def test_accounts_are_opened_first_each_once_and_main_never() -> None:
    bank = Bank()
    transfer = Transfer(id="t", account="a0", target="main", amount=1)
    bulk = importing(bank)
    bulk.book_all([*credits(2), ImportRequest("line 3", transfer)])
    openings, then, last = bank.sent
    assert len(openings) == 2
    assert all(name.startswith("import-open-") for name in openings)
    assert (then, last) == (["r0", "r1"], ["t"])
    assert counts(bulk) == (3, 0, 2, 0)


def test_what_was_booked_before_is_not_sent_again_and_not_counted_as_booked() -> None:
    bank = Bank()
    importing(bank).book_all(credits(5))
    bank.sent.clear()
    bulk = importing(bank)
    bulk.book_all(credits(5))
    assert bank.sent == []
    assert counts(bulk) == (0, 5, 0, 5)


def test_an_import_that_broke_off_says_what_is_booked_and_goes_on_there() -> None:
    bank = Bank()
    bank.breaks_behind = 10 + 4
    bulk = importing(bank)
    with pytest.raises(Unfinished):
        bulk.book_all(credits(10))
    assert counts(bulk) == (4, 0, 10, 0)
    bank.breaks_behind = None
    bank.sent.clear()
    again = importing(bank)
    again.book_all(credits(10))
    assert bank.sent == [[f"r{number}" for number in range(4, 10)]]
    assert counts(again) == (6, 4, 0, 10)


def test_a_new_import_looks_nothing_up_once_nothing_was_found() -> None:
    bank = Bank()
    importing(bank).book_all(credits(5))
    assert len(bank.looked_up) == 5, "the openings"


def test_what_was_booked_before_behind_something_new_is_told_apart_by_its_log_entry() -> None:
    bank = Bank()
    importing(bank).book_all(credits(3)[2:])
    bulk = importing(bank)
    bulk.book_all(credits(1))
    bulk.book_all(credits(4)[1:])
    assert counts(bulk) == (3, 1, 3, 1)


def test_a_request_under_an_id_that_has_other_contents_is_sent_and_refused() -> None:
    bank = Bank()
    importing(bank).book_all(credits(1))
    bank.outcomes["r0"] = Outcome.ID_REUSED
    bank._decided["r0"] = Credit(id="r0", account="a0", amount=2), Receipt(id="r0", outcome=Outcome.ID_REUSED)
    with pytest.raises(NotBooked, match=r"^line 0 \(request r0\) was not booked: id_reused"):
        importing(bank).book_all(credits(1))


def test_the_first_refusal_is_told_and_what_else_was_done_is_counted() -> None:
    bank = Bank()
    bank.outcomes |= {"r1": Outcome.LIMIT_EXCEEDED, "r2": Outcome.ACCOUNT_FROZEN}
    bulk = importing(bank)
    with pytest.raises(NotBooked, match=r"^line 1 \(request r1\) was not booked: limit_exceeded"):
        bulk.book_all(credits(4))
    assert counts(bulk) == (2, 0, 4, 0)


def test_an_account_that_exists_is_as_good_as_opened_and_one_that_is_refused_stops_the_import() -> None:
    bank = Bank()
    opening = ImportRequest("line 1", Open(id="o", account="ann"), postings=0)
    bank.outcomes["o"] = Outcome.EXISTS
    bulk = importing(bank)
    bulk.book_all([opening])
    assert counts(bulk) == (0, 0, 0, 1)
    bank.outcomes["p"] = Outcome.ACCOUNT_CLOSED
    with pytest.raises(NotBooked, match=r"^line 1: account ann cannot be opened: account_closed"):
        bulk.book_all([opening._replace(command=Open(id="p", account="ann"))])
    bank.outcomes["q"] = Outcome.NOT_ALLOWED
    with pytest.raises(NotAllowed, match="open needs"):
        bulk.book_all([opening._replace(command=Open(id="q", account="ann"))])


def test_other_balances_than_those_of_the_file_are_counted_and_named() -> None:
    bank = Bank()
    bulk = importing(bank)
    bulk.book_all([request._replace(balance=7 + number) for number, request in enumerate(credits(3))])
    assert bulk.other_balances == 2
    said = {"ann": 7, "bob": 8, "nobody": 0}
    assert list(differences(cast(Client, bank), said)) == [("bob", 8, 7), ("nobody", 0, None)]
