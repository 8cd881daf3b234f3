"""What may be sent together: an order is kept wherever one request depends on another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from atm.ledger.commands import Batch, Command, Credit, Debit, Leg, Open, Post, Reverse, Transfer, WriteOff
from atm.office.windows import ImportRequest, windows


def credit(name: str, account: str) -> Command:
    return Credit(id=name, account=account, amount=1)


def cut(
    *commands: Command, accounts: Sequence[str] = (), size_max: int = 100, lookahead: int = 100
) -> list[list[str]]:
    """Return the ids in each window; `accounts` are those that reversals touch."""
    requests = (
        ImportRequest(command.id, command, tuple(accounts) if isinstance(command, Reverse) else ())
        for command in commands
    )
    return ids(windows(requests, size_max, lookahead))


def ids(found: Iterable[list[ImportRequest]]) -> list[list[str]]:
    return [[request.command.id for request in window] for window in found]


def test_requests_about_different_accounts_are_one_window() -> None:
    assert cut(*(credit(f"r{each}", f"a{each}") for each in range(3))) == [["r0", "r1", "r2"]]


def test_requests_about_one_account_keep_their_order() -> None:
    transfer = Transfer(id="r2", account="bob", target="ann", amount=1)
    debit = Debit(id="r3", account="bob", amount=1)
    assert cut(credit("r1", "ann"), transfer, debit, credit("r4", "carl")) == [["r1", "r4"], ["r2"], ["r3"]]


def test_a_batch_is_about_all_accounts_of_its_legs() -> None:
    legs = (Leg(account="ann", target="bob", amount=1), Leg(account="carl", target="dora", amount=1))
    assert cut(credit("r1", "dora"), Batch(id="r2", legs=legs), credit("r3", "bob")) == [
        ["r1"],
        ["r2"],
        ["r3"],
    ]


def test_an_account_is_opened_before_it_is_paid() -> None:
    assert cut(Open(id="r1", account="ann"), credit("r2", "ann")) == [["r1"], ["r2"]]


def test_the_banks_own_accounts_are_paid_from_in_any_order() -> None:
    losses: list[Command] = [WriteOff(id=f"r{each}", account=f"a{each}", amount=1) for each in range(3)]
    assert cut(*losses) == [["r0", "r1", "r2"]]


def test_a_reversal_waits_for_its_original_and_its_accounts_for_it() -> None:
    reversal = Reverse(id="r2", original="r1")
    commands = credit("r1", "ann"), reversal, credit("r3", "bob"), credit("r4", "ann")
    assert cut(*commands, accounts=["ann"]) == [["r1", "r3"], ["r2"], ["r4"]]


def test_a_reversal_of_a_payment_between_the_banks_own_accounts_waits_for_it_too() -> None:
    loss = WriteOff(id="r1", account="cash", amount=1)
    assert cut(loss, Reverse(id="r2", original="r1"), accounts=["cash", "writeoff"]) == [["r1"], ["r2"]]


def test_what_only_names_another_request_waits_for_all_before_it_and_all_behind_it_wait() -> None:
    post = Post(id="r3", hold="r1")
    commands = credit("r1", "ann"), credit("r2", "bob"), post, credit("r4", "carl")
    assert cut(*commands) == [["r1", "r2"], ["r3"], ["r4"]]


def test_a_request_that_comes_twice_is_asked_twice_and_not_at_once() -> None:
    assert cut(credit("r1", "cash"), credit("r1", "writeoff")) == [["r1"], ["r1"]]


def test_no_window_is_larger_than_what_is_sent_at_once() -> None:
    assert cut(*(credit(f"r{each}", f"a{each}") for each in range(3)), size_max=2) == [["r0", "r1"], ["r2"]]


def test_a_window_is_filled_up_from_behind_what_has_to_wait() -> None:
    commands = [credit(f"r{each}", "ann" if each % 2 else f"a{each}") for each in range(8)]
    assert cut(*commands, size_max=3, lookahead=4) == [["r0", "r1", "r2"], ["r3", "r4", "r6"], ["r5"], ["r7"]]
    assert cut(*commands, size_max=2, lookahead=2) == [["r0", "r1"], ["r2", "r3"], ["r4", "r5"], ["r6", "r7"]]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(6, 9)), max_size=30))
def test_all_come_once_and_of_each_account_in_their_order(pairs: list[tuple[int, int]]) -> None:
    commands = [
        Transfer(id=f"r{place:02}", account=f"a{payer}", target=f"a{payee}", amount=1)
        for place, (payer, payee) in enumerate(pairs)
    ]
    found = list(windows((ImportRequest(each.id, each) for each in commands), 7, 12))
    flat = [request.command for window in found for request in window]
    assert sorted(command.id for command in flat) == [command.id for command in commands]
    for account in {f"a{each}" for pair in pairs for each in pair}:
        about = [
            each.id for each in flat if isinstance(each, Transfer) and account in (each.account, each.target)
        ]
        assert about == sorted(about)
        assert all(
            sum(account in (each.command.account, each.command.target) for each in window) <= 1  # type: ignore[union-attr]
            for window in found
        )
