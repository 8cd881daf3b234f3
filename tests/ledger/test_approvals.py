"""A second person: what is above a limit moves nothing until somebody else approves it, once and in time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from atm.identity import Role
from atm.ledger.approvals import APPROVE_WITHIN_US
from atm.ledger.audit.auditing import audit
from atm.ledger.audit.extract import journal_lines
from atm.ledger.audit.read_only import open_read_only
from atm.ledger.commands import Approvals, LevelRaise, Lookup, ReadResult, Statement
from atm.ledger.ledger import Ledger, Record
from tests.ledger.test_roles import Books
from tests.support.entries import balance_of, command, logged, time_us

T, OP, A, G = Role.TELLER, Role.OPERATOR, Role.ADMIN, Role.GATEWAY
LIMITED = ("write_off", "reverse", "unlock", "reset_pin")


class Desk(Books):
    """Books with a limit of 100 for everything that can be limited; `main` has 500."""

    def __init__(self, path: Path | str = ":memory:") -> None:
        super().__init__(path)
        for number, op in enumerate(LIMITED):
            assert self.do(f"n{number} set_approval_limit {op} 100", "ada", A) == "ok"

    def otto(self, line: str) -> str:
        return self.do(line, "otto", OP)

    def olga(self, line: str) -> str:
        return self.do(line, "olga", OP)

    @property
    def balance(self) -> int | None:
        return balance_of(self.ledger, "main")

    def waiting(self, limit: int = 20, before: int | None = None) -> ReadResult:
        now_us = time_us(self.ledger.applied_index) + self.waited_us
        return self.ledger.view(Approvals(id="a", limit=limit, before=before), now_us)


@pytest.fixture
def desk() -> Iterator[Desk]:
    found = Desk()
    yield found
    found.ledger.close()


# -- what needs one ----------------------------------------------------------------------------------------


def test_what_is_above_its_limit_waits_and_moves_nothing_until_somebody_else_approves_it(desk: Desk) -> None:
    assert desk.otto("w1 write_off main 101") == "needs_approval"
    assert desk.balance == 500
    assert desk.olga("a1 approve w1") == "ok"
    assert desk.balance == 601
    assert desk.otto("w1 write_off main 101") == "needs_approval", "the first receipt stays"
    assert desk.balance == 601


def test_up_to_its_limit_one_person_is_enough(desk: Desk) -> None:
    assert desk.otto("w1 write_off main 100") == "ok"
    assert desk.do("c1 credit main 100") == "ok"
    assert desk.do("r1 reverse c1", "tim", T) == "ok"
    assert desk.otto("o1 open ann") == "ok"
    for line in ("u1 unlock ann", "z1 reset_pin ann"):
        assert desk.otto(line) == "ok", "there is nothing on the account"


@pytest.mark.parametrize("op", LIMITED)
def test_a_limit_is_of_its_own_kind_and_can_be_changed_and_taken_off(desk: Desk, op: str) -> None:
    lines = {
        "write_off": "write_off main 101",
        "reverse": "reverse c0",
        "unlock": "unlock main",
        "reset_pin": "reset_pin main",
    }
    for number, each in enumerate(LIMITED):
        if each != op:
            assert desk.do(f"off{number} set_approval_limit {each} none", "ada", A) == "ok"
    for each, line in lines.items():
        assert desk.otto(f"{each} {line}") == ("needs_approval" if each == op else "ok")
    assert desk.do("c1 credit main 500") == "ok"
    assert desk.do(f"up set_approval_limit {op} 10000", "ada", A) == "ok"
    assert desk.otto(f"again {lines[op].replace('c0', 'c1')}") == "ok"


def test_a_limit_of_nothing_lets_everything_wait(desk: Desk) -> None:
    assert desk.do("n9 set_approval_limit write_off 0", "ada", A) == "ok"
    assert desk.otto("w1 write_off main 1") == "needs_approval"


def test_the_stake_of_a_reversal_is_what_it_takes_back(desk: Desk) -> None:
    assert desk.do("r1 reverse c0 100", "tim", T) == "ok"
    assert desk.do("c1 credit main 200") == "ok"
    assert desk.do("r2 reverse c1 101", "tim", T) == "needs_approval"
    assert desk.do("o1 open ann") == "ok"
    assert desk.do("b1 batch main ann 60, main ann 41") == "ok"
    assert desk.do("r3 reverse b1", "tim", T) == "needs_approval", "all its postings together"
    assert desk.otto("a3 approve r3") == "ok"
    assert balance_of(desk.ledger, "ann") == 0


def test_no_row_of_small_reversals_escapes_the_limit(desk: Desk) -> None:
    assert desk.do("c1 credit main 300") == "ok"
    assert desk.do("r1 reverse c1 60", "tim", T) == "ok"
    assert desk.do("r2 reverse c1 40", "tim", T) == "ok"
    assert desk.do("r3 reverse c1 1", "tim", T) == "needs_approval"
    assert desk.otto("a3 approve r3") == "ok"
    found = desk.ledger.view(Lookup(id="l", request_id="c1"))
    assert (found.reversed_by, found.taken_back) == ("a3", 101)
    assert desk.do("r4 reverse c1 200", "tim", T) == "exceeds_original"
    assert desk.do("r5 reverse c1", "tim", T) == "needs_approval"


def test_the_release_of_a_hold_takes_nothing_back(desk: Desk) -> None:
    assert desk.do("h1 hold main 400 60s") == "ok"
    assert desk.do("r1 reverse h1", "tim", T) == "ok"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("write_off nobody 101", "no_such_account"),
        ("write_off writeoff 101", "no_such_account"),
        ("write_off ann 101", "account_closed"),
        ("unlock nobody", "no_such_account"),
        ("reset_pin cash", "no_such_account"),
        ("reverse nothing", "original_not_found"),
        ("reverse c1", "already_reversed"),
        ("reverse r1", "original_not_found"),
        ("reverse c0 501", "exceeds_original"),
    ],
)
def test_where_nothing_is_at_stake_the_ordinary_rule_decides_at_once(desk: Desk, line: str, why: str) -> None:
    for said in ("o1 open ann", "k1 close ann", "c1 credit main 150", "r1 reverse c1"):
        assert desk.do(said) == "ok"
    assert desk.otto(f"x {line}") == why
    assert desk.waiting().approvals == ()


def test_without_a_certificate_nobody_is_known_and_nothing_waits(desk: Desk) -> None:
    assert desk.do("w1 write_off main 101", "local") == "ok"


def test_who_may_not_ask_is_refused_before_the_limit_is_looked_at(desk: Desk) -> None:
    assert desk.do("w1 write_off main 101", "tim", T) == "not_allowed"
    assert desk.olga("a1 approve w1") == "original_not_found"
    assert desk.do("n8 set_approval_limit write_off none", "otto", OP) == "not_allowed"


def test_cash_is_written_off_with_a_second_person_too(desk: Desk) -> None:
    assert desk.otto("w1 write_off cash 101") == "needs_approval"
    assert desk.olga("a1 approve w1") == "ok"
    assert balance_of(desk.ledger, "cash") == 101 - 500


# -- who approves, and when ----------------------------------------------------------------------------------


def test_nobody_approves_what_he_asked_himself_not_as_somebodys_gateway_either(desk: Desk) -> None:
    assert desk.otto("w1 write_off main 101") == "needs_approval"
    assert desk.otto("a1 approve w1") == "not_allowed"
    assert desk.do("r1 reverse c0", "shop/eve", G) == "needs_approval"
    assert desk.do("a2 approve r1", "shop", OP) == "not_allowed"
    assert desk.balance == 500
    assert desk.olga("a3 approve w1") == "ok", "a refusal uses nothing up"
    assert desk.olga("a4 approve r1") == "ok"


def test_an_approval_is_for_operators(desk: Desk) -> None:
    assert desk.do("r1 reverse c0", "tim", T) == "needs_approval"
    assert desk.do("a1 approve r1", "tom", T) == "not_allowed"
    assert desk.do("a2 approve r1", "ada", A) == "not_allowed"
    assert desk.balance == 500


def test_a_request_is_carried_out_once_whoever_approves_it_again(desk: Desk) -> None:
    assert desk.otto("w1 write_off main 101") == "needs_approval"
    assert desk.olga("a1 approve w1") == "ok"
    assert desk.olga("a1 approve w1") == "ok", "the same id: the same receipt"
    assert desk.olga("a2 approve w1") == "already_approved"
    assert desk.do("a3 approve w1", "omar", OP) == "already_approved"
    assert desk.balance == 601


def test_in_one_batch_of_entries_it_is_carried_out_once_too(desk: Desk) -> None:
    first = desk.ledger.applied_index + 1
    asked = [("w1 write_off main 101", "otto"), ("a1 approve w1", "olga"), ("a2 approve w1", "omar")]
    entries: list[Record] = [
        (index, time_us(index), logged(command(line), actor, OP))
        for index, (line, actor) in enumerate(asked, first)
    ]
    outcomes = [receipt and str(receipt.outcome) for receipt in desk.ledger.apply(entries)]
    assert outcomes == ["needs_approval", "ok", "already_approved"]
    assert desk.balance == 601


def test_a_limit_and_an_approval_count_in_the_very_batch_that_raises_the_level() -> None:
    asked = [
        ("n1 set_approval_limit write_off 0", "ada", A),
        ("a0 approve w1", "olga", OP),
        ("w1 write_off main 1", "otto", OP),
        ("a1 approve w1", "olga", OP),
    ]
    entries: list[Record] = [(1, time_us(1), LevelRaise(2))]
    entries += [
        (index, time_us(index), logged(command(line), actor, role))
        for index, (line, actor, role) in enumerate(asked, 2)
    ]
    with closing(Ledger(":memory:")) as ledger:
        outcomes = [receipt and str(receipt.outcome) for receipt in ledger.apply(entries)]
    assert outcomes == [None, "ok", "original_not_found", "needs_approval", "ok"]


def test_it_can_be_approved_for_a_day_of_log_time_and_no_longer(desk: Desk) -> None:
    for line in ("w1 write_off main 101", "w2 write_off main 101"):
        assert desk.otto(line) == "needs_approval"
    desk.waited_us = APPROVE_WITHIN_US - 2000  # each entry is a millisecond later
    assert desk.olga("a1 approve w1") == "ok"
    assert desk.olga("a2 approve w2") == "ok", "the last microsecond"
    assert desk.otto("w3 write_off main 101") == "needs_approval"
    desk.waited_us += APPROVE_WITHIN_US - 1000 + 1
    assert desk.olga("a3 approve w3") == "approval_expired"
    assert desk.balance == 702


def test_what_is_not_waited_for_cannot_be_approved(desk: Desk) -> None:
    assert desk.otto("w1 write_off main 5") == "ok"
    assert desk.olga("a1 approve w1") == "original_not_found"
    assert desk.olga("a2 approve nothing") == "original_not_found"


def test_the_rules_of_the_approvals_day_decide_and_only_a_success_uses_it_up(desk: Desk) -> None:
    assert desk.do("r1 reverse c0", "tim", T) == "needs_approval"
    assert desk.do("d1 debit main 450") == "ok"
    assert desk.otto("a1 approve r1") == "insufficient_funds"
    assert desk.do("c1 credit main 450") == "ok"
    assert desk.otto("a1 approve r1") == "insufficient_funds", "the first receipt stays"
    assert desk.otto("a2 approve r1") == "ok"
    assert desk.balance == 0


def test_who_may_not_ask_any_more_gets_nothing_by_an_approval(desk: Desk) -> None:
    assert desk.otto("w1 write_off main 101") == "needs_approval"
    assert desk.do("x1 revoke_role otto operator", "ada", A) == "ok"
    assert desk.olga("a1 approve w1") == "not_allowed"
    assert desk.do("g1 grant_role otto operator", "ada", A) == "ok"
    assert desk.olga("a2 approve w1") == "ok"


def test_a_limit_that_was_set_later_does_not_touch_what_waits(desk: Desk) -> None:
    assert desk.otto("w1 write_off main 101") == "needs_approval"
    assert desk.do("n8 set_approval_limit write_off none", "ada", A) == "ok"
    assert desk.olga("a1 approve w1") == "ok"


def test_a_pin_is_unlocked_and_reset_by_two(desk: Desk) -> None:
    assert desk.do(f"s1 set_pin main {'a' * 64}") == "ok"
    for number in range(3):
        assert desk.do(f"l{number} login main {'b' * 64}") == "wrong_pin"
    assert desk.otto("u1 unlock main") == "needs_approval"
    assert desk.do(f"l4 login main {'a' * 64}") == "locked"
    assert desk.olga("a1 approve u1") == "ok"
    assert desk.do(f"l5 login main {'a' * 64}") == "ok"
    assert desk.otto("z1 reset_pin main") == "needs_approval"
    assert desk.olga("a2 approve z1") == "ok"
    assert desk.do("d1 debit main 1") == "ok", "it has no PIN any more"


def test_below_level_2_there_are_no_limits_and_no_approvals() -> None:
    with closing(Ledger(":memory:")) as ledger:
        for index, line in enumerate(("n1 set_approval_limit write_off 0", "a1 approve w1"), 1):
            [receipt] = ledger.apply([(index, time_us(index), logged(command(line)))])
            assert receipt is not None
            assert receipt.outcome == "not_allowed"
        found = ledger.view(Approvals(id="a"))
        assert (found.approvals, found.limits) == ((), ())


# -- what was approved ---------------------------------------------------------------------------------------


def test_a_reversal_that_was_approved_is_one_and_cannot_be_reversed(desk: Desk) -> None:
    assert desk.do("r1 reverse c0", "tim", T) == "needs_approval"
    assert desk.otto("a1 approve r1") == "ok"
    assert desk.do("r2 reverse c0") == "already_reversed"
    assert desk.do("r3 reverse a1") == "original_not_found"
    assert desk.ledger.view(Lookup(id="l", request_id="c0")).reversed_by == "a1"


def test_a_write_off_that_was_approved_can_be_reversed_by_the_approvals_id(desk: Desk) -> None:
    assert desk.otto("w1 write_off main 101") == "needs_approval"
    assert desk.olga("a1 approve w1") == "ok"
    assert desk.do("r1 reverse w1") == "original_not_found"
    assert desk.do("r2 reverse a1") == "ok"
    assert desk.balance == 500


def test_books_name_what_was_carried_out_and_a_lookup_says_by_which_approval(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    desk = Desk(path)
    for line in ("w1 write_off main 101", "r1 reverse c0", "w2 write_off main 102"):
        assert desk.otto(line) == "needs_approval"
    assert desk.olga("a1 approve w1") == "ok"
    assert desk.olga("a2 approve r1") == "ok"
    lines = desk.ledger.view(Statement(id="s", account="main")).lines
    assert [(line.op, line.request_id) for line in lines or ()] == [
        ("reverse", "a2"),
        ("write_off", "a1"),
        ("credit", "c0"),
    ]
    found = [desk.ledger.view(Lookup(id="l", request_id=each)) for each in ("w1", "r1", "w2", "a1")]
    assert [(each.outcome, each.approved_by) for each in found] == [
        ("needs_approval", "a1"),
        ("needs_approval", "a2"),
        ("needs_approval", None),
        ("ok", None),
    ]
    desk.ledger.close()
    with open_read_only(path) as cursor:
        exported = [(line.op, line.request_id, line.reverses) for line in journal_lines(cursor)]
    assert exported == [("credit", "c0", None), ("write_off", "a1", None), ("reverse", "a2", "c0")]


def test_each_step_is_a_deed(desk: Desk) -> None:
    assert desk.otto("w1 write_off main 101") == "needs_approval"
    assert desk.otto("a1 approve w1") == "not_allowed"
    assert desk.olga("a2 approve w1") == "ok"
    assert desk.deeds()[:4] == [
        ("olga", "operator", "approve", "w1", None, "ok"),
        ("otto", "operator", "approve", "w1", None, "not_allowed"),
        ("otto", "operator", "write_off", "main", 101, "needs_approval"),
        ("ada", "admin", "set_approval_limit", "reset_pin", 100, "ok"),
    ]


def test_the_list_has_the_limits_and_what_waits_the_latest_first_in_pages(desk: Desk) -> None:
    assert desk.do("n9 set_approval_limit unlock none", "ada", A) == "ok"
    for line in ("w1 write_off main 101", "z1 reset_pin main", "w2 write_off cash 102"):
        assert desk.otto(line) == "needs_approval"
    assert desk.do("r1 reverse c0 200", "shop/eve", G) == "needs_approval"
    assert desk.olga("a1 approve w2") == "ok"
    page = desk.waiting(limit=2)
    assert [(each.op, each.amount, each.log_index) for each in page.limits or ()] == [
        ("reset_pin", 100, 6),
        ("reverse", 100, 4),
        ("write_off", 100, 3),
    ]
    rows = [*(page.approvals or ()), *(desk.waiting(limit=2, before=int(page.next or 0)).approvals or ())]
    assert [(row.request_id, row.actor, row.roles, row.op, row.target, row.amount) for row in rows] == [
        ("r1", "shop/eve", "gateway", "reverse", "c0", 200),
        ("z1", "otto", "operator", "reset_pin", "main", None),
        ("w1", "otto", "operator", "write_off", "main", 101),
    ]
    assert [row.stake for row in rows] == [200, 500, 101]
    desk.waited_us = APPROVE_WITHIN_US
    assert desk.otto("w3 write_off main 103") == "needs_approval"
    assert [row.request_id for row in desk.waiting().approvals or ()] == ["w3"], "the others are too old"


def test_limits_and_what_waits_outlive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    desk, kept = Desk(path), Desk()
    asked = (("w1 write_off main 101", "otto"), ("a1 approve w1", "olga"), ("a2 approve w1", "olga"))
    for line, actor in asked:
        desk.ledger.close()
        desk.ledger = Ledger(path)
        assert desk.do(line, actor, OP) == kept.do(line, actor, OP)
    assert desk.ledger.digest() == kept.ledger.digest()
    for each in (desk, kept):
        each.ledger.close()


# -- audits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("update approval set asked_by = 'tim' where request_id = 'w1'", "approval of w1: its receipt says"),
        ("update approval set asked_us = asked_us + 1", "approval of w1: its receipt says"),
        ("delete from approval where request_id = 'w2'", "receipt of w2: its write_off needs an approval"),
        ("update approval set approved_by = 'c0' where request_id = 'w2'", "approval of w2: the receipt of"),
        ("update approval set approved_by = 'a1' where request_id = 'r1'", "approval of r1: the receipt of"),
        (
            """update receipt set actor = 'olga' where request_id = 'r1';
            update approval set asked_by = 'olga/eve' where request_id = 'r1'""",
            "approval of r1: olga/eve asked for it, and olga approved it",
        ),
        (
            "update approval set asked_us = asked_us - 86400000000 where request_id = 'w1'",
            "approval of w1: it was asked for at",
        ),
        (
            "update approval set approved_by = null where request_id = 'w1'",
            "receipt of a1: its approval of",
        ),
        (
            "update receipt set amount = 7 where request_id = 'w1'",
            "approval of w1: the write_off that a1 carried out is not in the journal as it was asked",
        ),
        ("delete from reversal", "approval of r1: the reverse that a2 carried out is not in the journal"),
        ("update reversal set original = 'w1'", "reversal of w1: the receipt of a2 says approve"),
    ],
)
def test_an_audit_finds_an_approval_that_cannot_be(tmp_path: Path, damage: str, said: str) -> None:
    path = tmp_path / "ledger.db"
    desk = Desk(path)
    for line in ("w1 write_off main 101", "w2 write_off main 102", "r1 reverse c0", "z1 reset_pin main"):
        assert desk.otto(line) == "needs_approval"
    for line in ("a1 approve w1", "a2 approve r1", "a3 approve z1"):
        assert desk.olga(line) == "ok"
    desk.ledger.close()
    assert audit(path).problems == ()
    connection = apsw.Connection(str(path))
    connection.execute(damage)
    connection.close()
    assert any(line.startswith(said) for line in audit(path).problems), audit(path).problems
