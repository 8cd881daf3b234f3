"""Money between text and minor units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atm.ledger.commands import AMOUNT_MINOR_MAX
from atm.money import AmountError, format_amount, parse_amount


@pytest.mark.parametrize(
    ("text", "amount_minor"),
    [
        ("5000", 5000_00),
        ("1", 1_00),
        ("0.01", 1),
        ("12.5", 12_50),
        ("12.50", 12_50),
        ("12.05", 12_05),
        ("0.50", 50),
        ("0.29", 29),  # as binary fractions, this and those below lie just under a cent
        ("0.57", 57),
        ("1.15", 1_15),
        ("19.99", 19_99),
        ("007", 7_00),
        ("1,000", 1000_00),
        ("12,345,678.90", 12_345_678_90),
        ("999,999,999,999.99", 999_999_999_999_99),
        ("999999999999", 999_999_999_999_00),
        ("999999999999.99", 999_999_999_999_99),
    ],
)
def test_an_amount_is_read_to_the_cent(text: str, amount_minor: int) -> None:
    assert parse_amount(text) == amount_minor


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "testerror",
            "5000x",
            "x5000",
            "12,50",
            "1,23",
            "0,500",
            "1234,567",
            "1,000,000,000,000",
            "$5",
            "0x10",
            "0b1",
            "1/2",
        ),
        *("0", "0.0", "0.00", "000"),
        *("-1", "+1", "-0", "−1"),
        *("1.234", "0.001", ".5", "5.", ".", "1..2", "1.2.3"),
        *("1e3", "1E3", "1e-2", "nan", "NaN", "inf", "-inf", "Infinity"),
        *("1_000", "1 000", " 5", "5 ", "5\n", "\t5", "5\0"),
        *("٣", "५", "５", "²", "1.٥", "①", "Ⅴ"),
        *("1000000000000", "1000000000000.00", "0000000000001", "9" * 5000),
    ],
)
def test_what_is_no_positive_amount_is_refused(text: str) -> None:
    with pytest.raises(AmountError) as refusal:
        parse_amount(text)
    line = str(refusal.value)
    assert line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("amount_minor", "text"),
    [
        (0, "0"),
        (5000_00, "5000"),
        (12_50, "12.50"),
        (12_05, "12.05"),
        (5, "0.05"),
        (-5_05, "-5.05"),
        (-5, "-0.05"),
        (-5_00, "-5"),
        (999_999_999_999_99, "999999999999.99"),
    ],
)
def test_whole_amounts_print_without_decimals_and_others_with_two(amount_minor: int, text: str) -> None:
    assert format_amount(amount_minor) == text


def test_in_a_column_every_amount_has_two_decimals() -> None:
    assert [format_amount(minor, in_column=True) for minor in (0, 5_00, -12_50)] == ["0.00", "5.00", "-12.50"]


@given(st.integers(min_value=1, max_value=AMOUNT_MINOR_MAX))
def test_what_is_printed_can_be_read_again(amount_minor: int) -> None:
    assert parse_amount(format_amount(amount_minor)) == amount_minor


@given(st.integers())
def test_a_negative_amount_prints_as_the_positive_one_with_a_minus(amount_minor: int) -> None:
    if amount_minor < 0:
        assert format_amount(amount_minor) == "-" + format_amount(-amount_minor)


@given(st.text(alphabet="0123456789.-+eE_ ,n٣", max_size=16))
def test_any_text_is_an_amount_that_the_bank_takes_or_is_refused(text: str) -> None:
    try:
        amount_minor = parse_amount(text)
    except AmountError:
        return
    assert 0 < amount_minor <= AMOUNT_MINOR_MAX
    assert text.replace(".", "").isascii()


@given(st.integers(min_value=1, max_value=AMOUNT_MINOR_MAX))
def test_what_a_table_shows_can_be_read_again(amount_minor: int) -> None:
    assert parse_amount(format_amount(amount_minor, in_column=True)) == amount_minor
    assert parse_amount(format_amount(amount_minor, separated=True)) == amount_minor


def test_the_greatest_amount_that_can_be_written_is_the_greatest_that_the_bank_takes() -> None:
    assert parse_amount("9" * 12 + ".99") == AMOUNT_MINOR_MAX


@pytest.mark.parametrize("currency", ["EUR", "JPY", "BHD", "CLF"])
def test_what_is_printed_in_a_currency_can_be_read_again(currency: str) -> None:
    for amount_minor in (1, 9, 10, 99, 1_000, 12_345, 9_999_999, AMOUNT_MINOR_MAX):
        for options in ({}, {"separated": True}, {"in_column": True}):
            text = format_amount(amount_minor, currency, **options)
            assert text.endswith(f" {currency}")
            assert parse_amount(text.removesuffix(f" {currency}"), currency) == amount_minor


def test_the_most_digits_of_an_amount_are_by_its_decimals() -> None:
    assert parse_amount("9" * 14, "JPY") == AMOUNT_MINOR_MAX
    assert parse_amount("9" * 11 + ".999", "BHD") == AMOUNT_MINOR_MAX
    for text, currency in (("1" + "0" * 14, "JPY"), ("1" + "0" * 11, "BHD"), ("1", "QQQ")):
        with pytest.raises(AmountError):
            parse_amount(text, currency)


def test_an_amount_of_a_currency_that_only_a_newer_release_knows_is_shown_as_it_is() -> None:
    assert format_amount(1250, "QQQ") == "1250 minor units of QQQ"
