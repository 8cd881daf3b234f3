"""Other programs' books become requests: exact, once, and said before anything is booked if they cannot."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atm.ledger.commands import Batch, Command, Credit, Debit, Leg, MoneyRequest, Transfer
from atm.office.foreign.beancount import read_beancount
from atm.office.foreign.csv_rows import read_rows
from atm.office.foreign.decimals import Point, exact_amount
from atm.office.foreign.entries import Entry, NotCarried, Problem
from atm.office.foreign.hledger import read_hledger
from atm.office.foreign.mapping import BadMapping, CsvLayout, Mapping, load_mapping
from atm.office.foreign.requests import Planned, planned
from atm.office.foreign.survey import Survey

Reader = Callable[[str, Mapping], Iterator[Entry | Problem]]

CSV_MAPPING = """
[accounts]
"Bob *" = "bob"
"*" = "cash"
[csv]
account = "alice"
date = "Date"
text = ["Reference"]
other_column = "Payee"
amount = "Amount"
"""
CSV = """Date,Payee,Reference,Amount
2026-01-02,Employer,salary,"1,000.00"
2026-01-03,Bob Smith,rent,-400
2026-01-03,Shop,,-12.5
"""
JOURNAL_MAPPING = """
commodity = "EUR"
[accounts]
"assets:checking" = "checking"
"assets:savings" = "savings"
"expenses:*" = "cash"
"income" = "cash"
"""
JOURNAL = """; a comment
account assets:checking
  note: none
2026-01-02 * (A1) salary  ; month: january
    assets:checking        1000.00 EUR
    income

2026/1/3 food and tools
    assets:checking        EUR -30.50
    expenses:food           20.00 EUR ; lunch
    expenses:tools  10.50 EUR
2026.01.04 ! saved
    * assets:savings   500 EUR = 500.00 EUR
    assets:checking
"""
BEAN_MAPPING = """
commodity = "EUR"
id = "bank-id"
[accounts]
"Assets:Checking" = "checking"
"Expenses:*" = "cash"
"Income:*" = "cash"
"""
BEAN = """option "title" "books"
* a heading
2026-01-01 open Assets:Checking EUR
  name: "x"
2026-01-02 * "Employer" "salary \\"January\\"" #work ^link-1
  bank-id: "B7"
  Assets:Checking   1,000.00 EUR
  Income:Salary    -1000.00 EUR ; all
2026-01-03 txn "food"
  Assets:Checking
  ! Expenses:Food  12.50 EUR
2026-01-04 balance Assets:Checking  987.50 EUR
"""


def requests(read: Reader, text: str, mapping: str) -> list[Planned]:
    """Return what the text becomes; there must be no problem."""
    loaded = load_mapping(mapping, "m.toml")
    found = list(planned(read(text, loaded), loaded))
    assert [each for each in found if isinstance(each, Problem)] == []
    return [each for each in found if isinstance(each, Planned)]


def commands(read: Reader, text: str, mapping: str) -> list[Command]:
    return [each.command for each in requests(read, text, mapping) if each.command is not None]


def problems(read: Reader, text: str, mapping: str) -> list[tuple[int, str]]:
    loaded = load_mapping(mapping, "m.toml")
    found = planned(read(text, loaded), loaded)
    return [(each.line, each.what) for each in found if isinstance(each, Problem)]


def without_id(command: Command) -> tuple[object, ...]:
    match command:
        case Credit() | Debit():
            return type(command), command.account, command.amount
        case Transfer():
            return type(command), command.account, command.target, command.amount
        case Batch():
            return type(command), *((leg.account, leg.target, leg.amount) for leg in command.legs)
    raise AssertionError(command)


# -- amounts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "point", "minor", "currency"),
    [
        ("12", ".", 12_00, ""),
        ("12.5", ".", 12_50, ""),
        ("-1,234,567.89", ".", -1_234_567_89, ""),
        ("+1.234.567,89", ",", 1_234_567_89, ""),
        ("1 234,50 €", ",", 1234_50, "€"),
        ("1\u00a0234,50-", ",", -1234_50, ""),
        ("1'234.50", ".", 1234_50, ""),
        ("\u221212.00", ".", -12_00, ""),
        ("-$5", ".", -5_00, "$"),
        ("$-5.00", ".", -5_00, "$"),
        ("EUR 3.07", ".", 3_07, "EUR"),
        ('3 "chocolate bar"', ".", 3_00, "chocolate bar"),
        ("999999999999.99", ".", 10**14 - 1, ""),
        ("0", ".", 0, ""),
    ],
)
def test_an_amount_is_read_exactly(text: str, point: Point, minor: int, currency: str) -> None:
    assert exact_amount(text, point) == (minor, currency)


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("", "."),
        ("abc", "."),
        ("1.000", "."),
        ("1,000", ","),
        ("12,50", "."),
        ("1,2345.00", "."),
        ("1,234 567.00", "."),
        ("1.23.45", "."),
        ("1e3", "."),
        ("0x10", "."),
        ("nan", "."),
        ("--5", "."),
        ("-5-", "."),
        ("€5 EUR", "."),
        ("10/2", "."),
        ("1_000", "."),
        ("١٢", "."),
        ("1000000000000", "."),
        ("5.", "."),
    ],
)
def test_what_could_mean_another_amount_is_refused(text: str, point: Point) -> None:
    with pytest.raises(NotCarried):
        exact_amount(text, point)


@given(st.integers(-(10**14) + 1, 10**14 - 1), st.sampled_from([".", ","]), st.booleans())
def test_every_amount_is_read_as_it_was_written(minor: int, point: Point, grouped: bool) -> None:
    text = f"{Decimal(minor).scaleb(-2):{',' if grouped else ''}.2f}"
    if point == ",":
        text = text.translate({ord("."): ",", ord(","): "."})
    assert exact_amount(text, point) == (minor, "")


# -- the three formats -----------------------------------------------------------------------------------


def test_rows_of_a_csv_become_credits_debits_and_transfers() -> None:
    found = requests(read_rows, CSV, CSV_MAPPING)
    assert [(each.line, without_id(each.command)) for each in found if each.command] == [
        (2, (Credit, "alice", 1000_00)),
        (3, (Transfer, "alice", "bob", 400_00)),
        (4, (Debit, "alice", 12_50)),
    ]
    assert [each.entry.text for each in found] == ["salary", "rent", ""]


def test_a_german_csv_with_preamble_two_columns_and_the_newest_first() -> None:
    mapping = """
    decimal = ","
    commodity = "EUR"
    [accounts]
    "DE02" = "alice"
    [csv]
    account_column = "IBAN"
    delimiter = ";"
    skip_lines = 2
    newest_first = true
    paid_in = "Haben"
    paid_out = "Soll"
    date = "Tag"
    commodity = "Währung"
    """
    text = 'Bank\n\n"IBAN";Tag;Soll;Haben;Währung\r\nDE02;2.1.2026;1.000,50;;EUR\r\n'
    text += "\r\nDE02;1.1.2026;;2.000;EUR\r\n"
    found = requests(read_rows, text, mapping)
    assert [(each.line, without_id(each.command)) for each in found if each.command] == [
        (6, (Credit, "alice", 2000_00)),
        (4, (Debit, "alice", 1000_50)),
    ]
    assert found[0].command is not None
    assert found[0].command.id.startswith("import-1.1.2026-")


def test_transactions_of_hledger_become_requests() -> None:
    found = requests(read_hledger, JOURNAL, JOURNAL_MAPPING)
    assert [(each.line, each.entry.day, each.entry.text) for each in found] == [
        (4, "2026-01-02", "salary"),
        (8, "2026-01-03", "food and tools"),
        (12, "2026-01-04", "saved"),
    ]
    assert [without_id(each.command) for each in found if each.command] == [
        (Credit, "checking", 1000_00),
        (Debit, "checking", 30_50),
        (Transfer, "checking", "savings", 500_00),
    ]
    assert [each.entry.unchecked for each in found] == [0, 0, 1]


def test_transactions_of_beancount_become_requests() -> None:
    found = requests(read_beancount, BEAN, BEAN_MAPPING)
    assert [(each.line, each.entry.text, each.entry.stated_id) for each in found] == [
        (5, 'Employer salary "January"', "B7"),
        (9, "food", ""),
        (12, "", ""),
    ]
    assert [without_id(each.command) for each in found if each.command] == [
        (Credit, "checking", 1000_00),
        (Debit, "checking", 12_50),
    ]


def test_a_transaction_between_several_accounts_is_a_batch_in_which_none_both_pays_and_receives() -> None:
    mapping = '[accounts]\n"*" = "*"\n'
    text = "2026-01-01 split\n  a  -10\n  b  -5\n  c  12\n  d  3\n  a  1\n  c  -1\n"
    (batch,) = commands(read_hledger, text, mapping)
    assert without_id(batch) == (Batch, ("a", "c", 9_00), ("b", "c", 2_00), ("b", "d", 3_00))


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(-(10**9), 10**9)), min_size=1, max_size=40)
)
def test_a_request_moves_what_the_transaction_moves(changes: list[tuple[str, int]]) -> None:
    lines = "".join(f"  {name}  {Decimal(minor).scaleb(-2)}\n" for name, minor in changes)
    total: dict[str, int] = {"rest": -sum(minor for _, minor in changes)}
    for name, minor in changes:
        total[name] = total.get(name, 0) + minor
    moved: dict[str, int] = dict.fromkeys(total, 0)
    for command in commands(read_hledger, f"2026-01-01 x\n{lines}  rest\n", '[accounts]\n"*" = "*"\n'):
        legs = command.legs if isinstance(command, Batch) else [command]
        for leg in legs:
            assert isinstance(leg, Leg | Transfer)
            assert leg.amount is not None
            moved[leg.account] -= leg.amount
            moved[leg.target] += leg.amount
    assert moved == total


@pytest.mark.parametrize(
    ("description", "text"),
    [
        ("salary  January ", "salary January"),
        ("a\u202eb\x1b[1m\u00a0c", "a b [1m c"),
        ("Miete Größe 7 " * 20, ("Miete Größe 7 " * 20)[:139]),
        ("x" * 141, "x" * 140),
        ("\u200b", None),
        ("", None),
    ],
)
def test_a_description_becomes_the_text_as_far_as_a_text_may_have_it(
    description: str, text: str | None
) -> None:
    rows = f'Date,Payee,Reference,Amount\n1,x,"{description}",5\n1,Bob B,"{description}",-5\n'
    assert [
        each.text for each in commands(read_rows, rows, CSV_MAPPING) if isinstance(each, MoneyRequest)
    ] == [
        text,
        text,
    ]
    other = commands(read_rows, rows.replace(description or '""', "other"), CSV_MAPPING)
    assert [each.id for each in commands(read_rows, rows, CSV_MAPPING)] == [each.id for each in other]


def test_the_banks_own_books_have_their_signs_the_other_way_round() -> None:
    mapping = 'books = "bank"\n[accounts]\n"assets:cash" = "cash"\n"liabilities:customers:*" = "*"\n'
    text = "2026-01-01 credit\n  assets:cash  5\n  liabilities:customers:ann  -5\n"
    assert [without_id(each) for each in commands(read_hledger, text, mapping)] == [(Credit, "ann", 5_00)]


def test_what_moves_nothing_between_accounts_here_is_no_request() -> None:
    text = "2026-01-01 x\n  expenses:food  5 EUR\n  expenses:tools\n"
    (found,) = requests(read_hledger, text, JOURNAL_MAPPING)
    assert found.command is None


# -- ids -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "text", "mapping"),
    [
        (read_rows, CSV, CSV_MAPPING),
        (read_hledger, JOURNAL, JOURNAL_MAPPING),
        (read_beancount, BEAN, BEAN_MAPPING),
    ],
)
def test_ids_are_those_of_every_import_and_all_differ(read: Reader, text: str, mapping: str) -> None:
    ids = [command.id for command in commands(read, text, mapping)]
    assert ids == [command.id for command in commands(read, text, mapping)]
    assert len(set(ids)) == len(ids) > 1


def test_equal_rows_are_several_requests_and_a_longer_file_has_the_same_ids() -> None:
    row = "2026-01-05,Shop,,-12.5\n"
    first = [each.id for each in commands(read_rows, CSV + row + row, CSV_MAPPING)]
    longer = CSV + "2026-01-04,Kiosk,,-1\n" + row + row + row
    second = [each.id for each in commands(read_rows, longer, CSV_MAPPING)]
    assert len(set(first)) == 5
    assert set(first) < set(second)
    assert len(set(second)) == 7


def test_another_amount_day_or_account_is_another_id() -> None:
    ids = {
        commands(read_rows, f"Date,Payee,Reference,Amount\n{row}\n", CSV_MAPPING)[0].id
        for row in ("1,x,,5", "2,x,,5", "1,x,,6", "1,Bob b,,5")
    }
    assert len(ids) == 4


def test_a_stated_id_makes_the_id_whatever_else_the_row_says() -> None:
    mapping = f'id = "No"\n{CSV_MAPPING}'
    texts = [f"No,Date,Payee,Reference,Amount\nN1,{day},x,,5\n" for day in ("2026-01-01", "2026-01-02")]
    (one,), (other,) = (commands(read_rows, text, mapping) for text in texts)
    assert one.id == other.id
    assert "2026" not in one.id


def test_what_has_neither_a_day_nor_an_id_could_pass_for_another_and_is_refused() -> None:
    mapping = '[csv]\naccount = "alice"\namount = "Amount"\n'
    ((line, what),) = problems(read_rows, "Amount\n5\n", mapping)
    assert (line, "neither a day nor an id" in what) == (2, True)
    assert len(problems(read_rows, "Date,Payee,Reference,Amount\n,x,,5\n", CSV_MAPPING)) == 1


@pytest.mark.parametrize("header", ["", 'id = "No"\n'])
def test_two_sources_never_share_an_id(header: str) -> None:
    text = "No,Date,Payee,Reference,Amount\nN1,1,x,,5\n"
    (one,) = commands(read_rows, text, f'{header}source = "bank A"\n{CSV_MAPPING}')
    (other,) = commands(read_rows, text, f'{header}source = "bank B"\n{CSV_MAPPING}')
    assert one.id != other.id


def test_a_stated_id_that_stands_twice_is_a_problem() -> None:
    text = "No,Date,Payee,Reference,Amount\nN1,1,x,,5\nN1,1,x,,5\n"
    assert problems(read_rows, text, f'id = "No"\n{CSV_MAPPING}') == [
        (3, "the id 'N1' stands at line 2, too")
    ]


# -- what cannot be carried over -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("Date,Payee,Reference,Amount\n1,x,,12.345\n", 2, "more than two decimals"),
        ("Date,Payee,Reference,Amount\n1,x,,5 USD\n", 2, "an amount in 'USD'"),
        ("Date,Payee,Reference,Amount\n1,x,5\n", 2, "3 cells, and the header has 4"),
        ('Date,Payee,Reference,Amount\n1,x,"a\nb",5\n1,x,,y\n', 4, "'y' is no amount"),
        ('Date,Payee,Reference,Amount\n1,x,"a"b,5\n', 2, "this is no CSV"),
    ],
)
def test_a_row_that_cannot_be_carried_over_is_named_with_its_line(text: str, line: int, said: str) -> None:
    ((at, what),) = problems(read_rows, text, CSV_MAPPING)
    assert (at, said in what) == (line, True), what


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("include other.journal\n", 1, "'include' begins no transaction"),
        ("alias a = b\n", 1, "'alias' begins no transaction"),
        ("= expenses\n  a  1\n", 1, "'=' begins no transaction"),
        ("~ monthly\n  a  1\n", 1, "'~' begins no transaction"),
        ("01-02 no year\n  income  1\n", 1, "begins no transaction"),
        ("2026-02-30 x\n  income  1\n  income\n", 1, "there is no day 2026-02-30"),
        ("2026-01-01 x\n  income  1 EUR\n  assets:checking  -2 EUR\n", 1, "add up to -1, not to 0"),
        ("2026-01-01 x\n  income\n  assets:checking\n", 1, "more than one posting"),
        ("2026-01-01 x\n  income  1 EUR\n  nowhere\n", 3, "no account for 'nowhere'"),
        ("2026-01-01 x\n  income  1 USD\n  income\n", 2, "an amount in 'USD'"),
        ("2026-01-01 x\n  income  1\n  income\n", 2, "an amount in 'no currency'"),
        ("2026-01-01 x\n  income  1 EUR @ 2 USD\n  income\n", 2, "a price"),
        ("2026-01-01 x\n  (income)  1 EUR\n", 2, "a virtual posting"),
        ("2026-01-01 x\n  income  = 5 EUR\n  income\n", 2, "left to a balance"),
        ("2026-01-01 x\n  income 1 EUR\n  income\n", 2, "no account for 'income 1 EUR'"),
        ("2026-01-01 x\n  income\t1 EUR\n  income\n", 2, "two spaces stand before an amount"),
        ("2026-01-01 x\n  income ; y\n  income\n", 2, "two spaces stand before an amount"),
        ("; a comment\n  income  1 EUR\n", 1, "indented lines below it"),
        ("\n  income  1 EUR\n", 2, "belongs to nothing"),
        (
            "2026-01-01 x\n  assets:checking  1 EUR\n  assets:savings  1 EUR\n  income\n",
            1,
            "a batch moves no cash",
        ),
    ],
)
def test_a_line_of_hledger_that_cannot_be_carried_over_is_named(text: str, line: int, said: str) -> None:
    ((at, what),) = problems(read_hledger, text, JOURNAL_MAPPING)
    assert (at, said in what) == (line, True), what


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('include "other.bean"\n', 1, "'include' is not read here"),
        ('plugin "beancount.plugins.split_expenses"\n', 1, "'plugin' is not read here"),
        ("2026-01-01 pad Assets:Checking Income:X\n", 1, "'pad' begins no transaction"),
        ('2026-01-01 * "x\n', 1, "begins no transaction"),
        ('2026-01-01 * "x"\n  Expenses:A  1 EUR {2 USD}\n  Income:A\n', 2, "a price, or a cost"),
        ('2026-01-01 * "x"\n  Expenses:A  10/2 EUR\n  Income:A\n', 2, "is no amount"),
        ('2026-01-01 * "x"\n  Expenses:A  1 USD\n  Income:A\n', 2, "an amount in 'USD'"),
        ('2026-01-01 * "x"\n  assets:a  1 EUR\n', 2, "is no posting"),
        ("nonsense\n", 1, "'nonsense' is not read here"),
    ],
)
def test_a_line_of_beancount_that_cannot_be_carried_over_is_named(text: str, line: int, said: str) -> None:
    ((at, what),) = problems(read_beancount, text, BEAN_MAPPING)
    assert (at, said in what) == (line, True), what


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ("accounts = 5", "accounts"),
        ("nonsense = 5", "unknown field `nonsense`"),
        ("[accounts]\na = 'not a name'", "no account's name"),
        ("[accounts]\na = 'writeoff'", "only operators"),
        ("[accounts]\n'a*b' = 'c'", "at the end only"),
        ("[accounts]\na = 'c*'", "at the end only"),
        ("encoding = 'klingon'", "'klingon'"),
        ("decimal = ';'", "decimal"),
        ("[opening]\ncash = '5'", "customers' accounts"),
        ("[opening]\nann = '0'", "more than 0"),
        ("[opening]\nann = '5 EUR'", "without a currency"),
        ("[csv]\namount = 'A'", "csv needs account"),
        ("[csv]\naccount = 'ann'", "csv needs amount"),
        ("a = ", "Invalid value"),
    ],
)
def test_a_mapping_that_cannot_be_used_is_refused_by_name(mapping: str, said: str) -> None:
    with pytest.raises(BadMapping, match="^m.toml: .*" + said):
        load_mapping(mapping, "m.toml")


def test_a_missing_column_is_named_with_those_that_there_are() -> None:
    with pytest.raises(BadMapping, match="line 1 has no column 'Payee'; it has 'Date', 'Amount'"):
        list(read_rows("Date,Amount\n", load_mapping(CSV_MAPPING, "m.toml")))


# -- what is said before ---------------------------------------------------------------------------------


def test_a_survey_counts_and_sums() -> None:
    mapping = load_mapping(CSV_MAPPING + '[opening]\nbob = "7.50"\n', "m.toml")
    survey = Survey(planned(read_rows(CSV, mapping), mapping))
    told = "\n".join(survey.told())
    assert (
        "4 transactions, from 2026-01-02 to 2026-01-03\n4 requests: 2 credit, 1 debit, 1 transfer\n" in told
    )
    assert "alice        1,000.00    412.50       587.50\n" in told
    assert "bob            407.50      0.00       407.50\n" in told
    assert survey.short == {}


def test_an_account_that_pays_more_than_it_received_is_named_with_what_it_lacks() -> None:
    mapping = load_mapping(CSV_MAPPING, "m.toml")
    text = "Date,Payee,Reference,Amount\n1,x,,10\n1,x,,-30\n1,x,,-5\n1,x,,100\n"
    survey = Survey(planned(read_rows(text, mapping), mapping))
    assert survey.short == {"alice": (3, -25_00)}
    assert "alice must have 25 before: at line 3 it pays more than it has received" in list(survey.told())


def test_the_example_of_the_docs_is_read_as_they_say() -> None:
    page = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text(encoding="utf-8")
    mapping = page.split("```toml\n")[1].split("```")[0]
    text = page.split("```\nDate,")[1].split("```")[0]
    assert [without_id(each) for each in commands(read_rows, f"Date,{text}", mapping)] == [
        (Credit, "alice", 100_00),
        (Credit, "alice", 1000_00),
        (Transfer, "alice", "bob", 400_00),
        (Debit, "alice", 12_50),
    ]
    keys = set(msgspec.structs.asdict(Mapping())) | set(
        msgspec.structs.asdict(CsvLayout(account="a", amount="b"))
    )
    for key in keys:
        assert re.search(rf"(`|^|or |and |\[){key}(`|\]| =)", page, re.MULTILINE), f"{key} is not documented"
