"""Requests that only read: pages of statements, past balances, receipts, exceptions, accounts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.ledger import inquiries
from atm.ledger import ledger as ledger_module
from atm.ledger.commands import (
    Accounts,
    Exceptions,
    JournalPosting,
    Line,
    Lookup,
    Query,
    ReadResult,
    Statement,
    Watch,
)
from atm.ledger.journal_hash import row_hash
from atm.ledger.ledger import Ledger, LedgerFault
from atm.ledger.rows import REVERSAL
from tests.support.entries import records, time_us

HISTORY = [
    "o1 open ann",
    "c1 credit ann 100",
    "o2 open bob",
    "t1 transfer ann bob 30",
    "d1 debit ann 20",
    "b1 batch ann bob 5, bob ann 7, ann bob 1",
    "r1 reverse d1 5",
    "h1 hold ann 50 1s",
    "w1 write_off bob 9",
    "d2 debit ann 500",
    "r2 reverse late-one",
    "late-one debit ann 1",
    "w2 write_off cash 2",
    "d3 debit bob 3",
]
# The latest first: posting, request id, other account, amount, balance after it.
ANN = [
    (7 * 64, "r1", "cash", 5, 56),
    (6 * 64 + 2, "b1", "bob", -1, 51),
    (6 * 64 + 1, "b1", "bob", 7, 52),
    (6 * 64, "b1", "bob", -5, 45),
    (5 * 64, "d1", "cash", -20, 50),
    (4 * 64, "t1", "bob", -30, 70),
    (2 * 64, "c1", "cash", 100, 100),
]
CASH = [
    (14 * 64, "d3", "bob", 3, -80),
    (13 * 64, "w2", "writeoff", 2, -83),
    (7 * 64, "r1", "ann", -5, -85),
    (5 * 64, "d1", "ann", 20, -80),
    (2 * 64, "c1", "ann", -100, -100),
]


@pytest.fixture(scope="module")
def ledger() -> Iterator[Ledger]:
    """Return a ledger with `HISTORY` applied; entry N is at log index N."""
    found = Ledger(":memory:")
    found.apply(records(HISTORY))
    yield found
    found.close()


def brief(lines: tuple[Line, ...] | None) -> list[tuple[int, str, str, int, int]]:
    assert lines is not None
    return [(line.posting, line.request_id, line.other, line.amount, line.balance) for line in lines]


def statement(ledger: Ledger, account: str, limit: int = 20, before: int | None = None) -> ReadResult:
    return ledger.view(Statement(id="s", account=account, limit=limit, before=before))


def balance_at(ledger: Ledger, account: str, at_us: int) -> int | str | None:
    view = ledger.view(Query(id="q", account=account, at_us=at_us))
    return view.balance if view.outcome == "ok" else str(view.outcome)


# -- statements ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("account", "expected"), [("ann", ANN), ("cash", CASH)])
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7, 8, 100])
def test_the_pages_of_a_statement_are_the_whole_of_it(
    account: str, expected: list[tuple[int, str, str, int, int]], limit: int, ledger: Ledger
) -> None:
    pages: list[list[tuple[int, str, str, int, int]]] = []
    before: int | str | None = None
    while True:
        assert not isinstance(before, str)
        page = statement(ledger, account, limit, before)
        pages.append(brief(page.lines))
        before = page.next
        if before is None:
            break
    assert [line for page in pages for line in page] == expected
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert 0 < len(pages[-1]) <= limit


def test_a_line_has_time_operation_and_exception(ledger: Ledger) -> None:
    lines = statement(ledger, "bob").lines
    assert lines is not None
    assert lines[1] == Line(
        posting=9 * 64,
        time_us=time_us(9),
        op="write_off",
        request_id="w1",
        account="bob",
        other="writeoff",
        amount=9,
        balance=38,
        exception="written_off",
    )
    assert [line.op for line in lines] == ["debit", "write_off", "batch", "batch", "batch", "transfer"]
    assert [line.exception for line in lines if line.op != "write_off"] == [None] * 5


def test_every_page_of_a_statement_has_the_present_balance(ledger: Ledger) -> None:
    for before in (None, 5 * 64, 0):
        page = statement(ledger, "ann", before=before)
        assert (page.outcome, page.balance, page.available) == ("ok", 56, 6)


def test_the_banks_own_accounts_have_statements_and_unknown_accounts_have_none(ledger: Ledger) -> None:
    assert brief(statement(ledger, "writeoff").lines) == [
        (13 * 64, "w2", "cash", -2, -11),
        (9 * 64, "w1", "bob", -9, -9),
    ]
    assert statement(ledger, "main").lines == ()
    stranger = statement(ledger, "zoe")
    assert (stranger.outcome, stranger.lines, stranger.balance) == ("no_such_account", None, None)


@pytest.mark.parametrize("before", [0, 1, 2 * 64])
def test_before_the_first_posting_a_statement_is_empty(before: int, ledger: Ledger) -> None:
    page = statement(ledger, "ann", before=before)
    assert (page.lines, page.next) == ((), None)


# -- balances of the past --------------------------------------------------------------------------


def test_a_past_balance_is_the_one_after_all_that_had_happened_by_then(ledger: Ledger) -> None:
    after = {1: 0, 2: 100, 3: 100, 4: 70, 5: 50, 6: 51, 7: 56, 8: 56, 14: 56}
    for index, expected in after.items():
        assert balance_at(ledger, "ann", time_us(index)) == expected, f"at entry {index}"
        assert balance_at(ledger, "ann", time_us(index) + 1) == expected, f"after entry {index}"
        if index > 1:
            before = after[max(earlier for earlier in after if earlier < index)]
            assert balance_at(ledger, "ann", time_us(index) - 1) == before, f"before entry {index}"
    assert balance_at(ledger, "ann", 2**62) == 56


def test_an_account_does_not_exist_before_it_was_opened(ledger: Ledger) -> None:
    assert balance_at(ledger, "bob", time_us(3) - 1) == "no_such_account"
    assert balance_at(ledger, "bob", time_us(3)) == 0
    assert balance_at(ledger, "zoe", time_us(3)) == "no_such_account"
    assert balance_at(ledger, "main", 0) == 0


def test_the_banks_own_accounts_have_past_balances(ledger: Ledger) -> None:
    past = [balance_at(ledger, "cash", time_us(index)) for index in (1, 2, 4, 5, 7, 12, 13, 14)]
    assert past == [0, -100, -100, -80, -85, -85, -83, -80]
    assert balance_at(ledger, "writeoff", time_us(9)) == -9
    assert balance_at(ledger, "cash", 0) == 0


def test_past_balances_without_postings_are_0() -> None:
    empty = Ledger(":memory:")
    assert balance_at(empty, "main", 2**62) == 0
    empty.close()


# -- what was decided, and what a person should look at ----------------------------------------------


def test_a_lookup_returns_the_first_receipt_and_what_was_asked(ledger: Ledger) -> None:
    view = ledger.view(Lookup(id="l", request_id="t1"))
    assert (view.id, view.outcome, view.balance, view.available) == ("l", "ok", 70, 70)
    assert (view.log_index, view.time_us, view.reversed_by, view.actor) == (4, time_us(4), None, "local")
    assert view.asked is not None
    assert (view.asked.op, view.asked.account, view.asked.amount) == ("transfer", "ann", 30)
    assert view.asked.details == '{"target":"bob"}'


@pytest.mark.parametrize(
    ("request_id", "outcome", "op", "reversed_by"),
    [
        ("d1", "ok", "debit", "r1"),
        ("d2", "insufficient_funds", "debit", None),
        ("r2", "original_not_found", "reverse", None),
        ("late-one", "already_reversed", "tombstone", None),
        ("never", "original_not_found", None, None),
    ],
)
def test_a_lookup_finds_declines_tombstones_and_reversals(
    request_id: str, outcome: str, op: str | None, reversed_by: str | None, ledger: Ledger
) -> None:
    view = ledger.view(Lookup(id="l", request_id=request_id))
    assert (view.outcome, view.asked and view.asked.op, view.reversed_by) == (outcome, op, reversed_by)


def test_exceptions_come_by_the_page_the_latest_first(ledger: Ledger) -> None:
    first = ledger.view(Exceptions(id="e", limit=1))
    assert brief(first.lines) == [(13 * 64, "w2", "cash", -2, -11)]
    assert first.next == 13 * 64
    assert isinstance(first.next, int)
    second = ledger.view(Exceptions(id="e", limit=1, before=first.next))
    assert brief(second.lines) == [(9 * 64, "w1", "bob", -9, -9)]
    assert second.next is None
    assert second.lines is not None
    assert second.lines[0].exception == "written_off"
    assert brief(ledger.view(Exceptions(id="e")).lines) == [*brief(first.lines), *brief(second.lines)]


def test_a_balance_comes_with_the_state_of_its_account(ledger: Ledger) -> None:
    view = ledger.view(Query(id="q", account="ann"))
    assert (view.balance, view.available, view.state, view.pin) == (56, 6, "open", "none")


# -- the journal itself ----------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
def test_the_pages_of_the_journal_are_all_postings_in_order_and_their_hashes_a_chain(
    limit: int, ledger: Ledger
) -> None:
    found: list[JournalPosting] = []
    while True:
        page = ledger.view(Watch(id="w", after=found[-1].posting if found else 0, limit=limit))
        assert page.hash == (found[-1].hash if found else "00" * 32)
        assert page.cluster == ledger.cluster.id
        if not page.postings:
            break
        found += page.postings
    assert [posted.posting for posted in found] == sorted({*numbers_of(ANN), *numbers_of(CASH), 9 * 64})
    last = bytes(32)
    for each in found:
        names = ("posting", "time_us", "debit_account", "credit_account", "amount")
        columns = [getattr(each, name) for name in (*names, "debit_balance", "credit_balance", "request_id")]
        last = row_hash(last, *columns)
        assert each.hash == last.hex()
    assert (found[0].op, found[0].request_id, found[0].log_index) == ("credit", "c1", 2)


def test_the_hash_before_a_page_is_that_of_the_last_posting_up_to_there(ledger: Ledger) -> None:
    whole = ledger.view(Watch(id="w")).postings or ()
    after = whole[2].posting + 5
    page = ledger.view(Watch(id="w", after=after))
    assert (page.hash, page.postings) == (whole[2].hash, whole[3:])
    beyond = ledger.view(Watch(id="w", after=2**63 - 1))
    assert (beyond.hash, beyond.postings) == (whole[-1].hash, ())


def numbers_of(lines: list[tuple[int, str, str, int, int]]) -> set[int]:
    return {line[0] for line in lines}


# -- how the file is searched ----------------------------------------------------------------------


def plan(ledger: Ledger, sql: str) -> list[str]:
    named = {"account": "ann", "before": 1000, "limit": 20}
    used = {name: value for name, value in named.items() if f":{name}" in sql}
    rows = ledger._database.cursor().execute(f"explain query plan {sql}", used or (1,) * sql.count("?"))
    return [str(row[3]) for row in rows]


def test_a_customers_statement_reads_its_own_postings_and_no_others(ledger: Ledger) -> None:
    steps = plan(ledger, inquiries.STATEMENT.format(**inquiries.NO_REMARKS))
    searched = [step for step in steps if "journal" in step]
    assert len(searched) == 2
    for step, index in zip(sorted(searched), ("journal_credit", "journal_debit"), strict=True):
        assert step.startswith(f"SEARCH journal USING INDEX {index}"), steps
        assert "rowid<?" in step, f"pages are found by their number: {steps}"
    assert not [step for step in steps if "SCAN" in step or "TEMP B-TREE" in step], steps


@pytest.mark.parametrize("sql", [inquiries.CASH_STATEMENT, inquiries.EXCEPTIONS, inquiries.POSTINGS_BEHIND])
def test_the_pages_of_all_are_read_from_where_they_begin_and_never_sorted(sql: str, ledger: Ledger) -> None:
    steps = plan(ledger, sql.format(**inquiries.NO_REMARKS))
    assert not [step for step in steps if "SCAN" in step or "TEMP B-TREE" in step], steps


@pytest.mark.parametrize(
    "sql", [inquiries.FIRST_AT_OR_AFTER, inquiries.LAST_POSTING, REVERSAL, inquiries.HASH_UP_TO]
)
def test_each_step_towards_a_past_balance_is_one_search(sql: str, ledger: Ledger) -> None:
    steps = plan(ledger, sql.format(**inquiries.NO_REMARKS))
    assert steps
    assert all(step.startswith("SEARCH") for step in steps), steps


@pytest.mark.parametrize("account", ["ann", "bob", "main", "cash", "writeoff", "stranger"])
def test_a_balance_is_the_same_from_memory_and_from_the_rows(account: str, tmp_path: Path) -> None:
    one = Ledger(tmp_path / "ledger.db")
    one.apply(records([*HISTORY, "f1 freeze bob", "h2 hold ann 1 9s"]))
    from_memory = one.view(Query(id="q", account=account))
    one.close()
    again = Ledger(tmp_path / "ledger.db")
    assert again.view(Query(id="q", account=account)) == from_memory
    again.close()


def test_what_could_not_be_written_is_not_answered_from_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.apply(records(["c1 credit main 100"]))
    with monkeypatch.context() as broken:
        broken.setattr(
            ledger_module, "SET_APPLIED", "update nowhere set log_index = ?"
        )  # what is written last
        with pytest.raises(LedgerFault):
            ledger.apply(records(["c1 credit main 100", "c2 credit main 11"])[1:])
    with pytest.raises(LedgerFault):
        ledger.view(Query(id="q", account="main"))
    ledger.close()


# -- accounts --------------------------------------------------------------------------------------

STATES = [
    "n1 open zoe",
    "n2 open Bo",
    "n3 set_pin zoe 1234",
    "f1 freeze bob",
    "n4 open carl",
    "n5 close carl",
]
STATES += [f"l{number} login zoe 9999" for number in range(3)]
NAMES = ["Bo", "ann", "bob", "carl", "main", "zoe"]


@pytest.fixture
def customers(ledger: Ledger) -> Ledger:
    """The history, and accounts in every state."""
    first = ledger.applied_index
    ledger.apply([(index, at, command) for index, at, command in records([*HISTORY, *STATES])[first:]])
    return ledger


def names(page: ReadResult) -> list[str]:
    assert page.outcome == "ok"
    assert page.accounts is not None
    return [account.account for account in page.accounts]


def test_accounts_lists_balance_state_and_pin_of_every_customer_by_name(customers: Ledger) -> None:
    page = customers.view(Accounts(id="a"))
    assert page.accounts is not None
    assert [(a.account, a.balance, a.available, a.state, a.pin) for a in page.accounts] == [
        ("Bo", 0, 0, "open", "none"),
        ("ann", 56, 6, "open", "none"),
        ("bob", 35, 35, "frozen", "none"),
        ("carl", 0, 0, "closed", "none"),
        ("main", 0, 0, "open", "none"),
        ("zoe", 0, 0, "open", "locked"),
    ]
    assert page.next is None


@pytest.mark.parametrize("limit", range(1, 8))
def test_the_pages_of_accounts_are_the_whole_list_each_once(limit: int, customers: Ledger) -> None:
    pages, after = [], None
    while True:
        page = customers.view(Accounts(id="a", limit=limit, after=after))
        pages.append(names(page))
        if page.next is None:
            break
        assert page.next == pages[-1][-1]
        after = str(page.next)
    assert [name for page in pages for name in page] == NAMES
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert pages[-1], "no page is empty: where the last is full, nothing is said to come"


@pytest.mark.parametrize(
    ("after", "expected"),
    [("Bo", NAMES[1:]), ("b", NAMES[2:]), ("0", NAMES), ("main", ["zoe"]), ("zoe", []), ("zz", [])],
)
def test_a_page_starts_after_a_name_whether_or_not_an_account_has_it(
    after: str, expected: list[str], customers: Ledger
) -> None:
    page = customers.view(Accounts(id="a", after=after))
    assert (names(page), page.next) == (expected, None)
