"""A newer pepper becomes current, and what is stored of PINs is carried over to it.

PINs stand for their seals here: `1234` is one of the first pepper, `2:1234` the same PIN for the second.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from atm.identity import Role
from atm.ledger.commands import LedgerReceipt, LoggedCommand, Lookup, Pepper, PepperView, Query, RotatePepper
from atm.ledger.epoch import Epoch, begin_epoch
from atm.ledger.ledger import Ledger
from atm.ledger.peppers import PepperState
from tests.ledger.stories import MIDNIGHT_US, check_story
from tests.support.entries import entry, logged

A, B = "a" * 16, "b" * 16


def test_a_pin_is_carried_over_and_only_one_sealed_alike_is_compared() -> None:
    check_story(f"""
given ann 100, bob 100
time | request                 | outcome   | ledger | available | booked
0    | level 2
0    | s1 set_pin ann 1234
0    | s2 set_pin bob 5678
1    | r1 rotate_pepper 2 {A}  | ok        | none   | none      |
1    | d1 debit ann 1 pin 1234 | ok        | 99     | 99        | ann > cash 1
1    | d2 debit ann 1 pin 2:1234 |
2    | reseal 2 ann=2:1234
2    | d3 debit ann 1 pin 1234 |
2    | d3 debit ann 1 pin 2:1234 | ok      | 98     | 98        | ann > cash 1
2    | d4 debit bob 1 pin 5678 | ok        | 99     | 99        | bob > cash 1
2    | d5 debit ann 1 pin 2:9999 | wrong_pin | 98   | 98        |
2    | query ann               | open set 2 left 1 wrong | 98 | 98
""")


def test_what_is_sealed_for_another_pepper_is_no_guess_and_leaves_the_lock_as_it_was() -> None:
    check_story(f"""
given ann 100
time | request                 | outcome   | ledger | available | booked
0    | level 2
0    | s1 set_pin ann 1234
1    | l1 login ann 9999       | wrong_pin | 100    | 100       |
1    | l2 login ann 9999       | wrong_pin | 100    | 100       |
2    | r1 rotate_pepper 2 {A}
2    | reseal 2 ann=2:1234
2    | query ann               | open set 1 left 2 wrong | 100 | 100
3    | l3 login ann 9999       |
3    | d1 debit ann 1 pin 1234 |
3    | p1 set_pin ann 2:1 old 1234 |
3    | query ann               | open set 1 left 2 wrong | 100 | 100
4    | l4 login ann 2:9999     | wrong_pin | 100    | 100       |
4    | query ann               | open locked 60s 3 wrong | 100 | 100
5    | l5 login ann 1234       | locked    | 100    | 100       |
""")


def test_a_new_pin_is_set_for_the_current_pepper_only() -> None:
    check_story(f"""
given ann 100, bob 100
time | request                        | outcome | ledger | available | booked
0    | level 2
0    | s1 set_pin ann 1234
0    | s2 set_pin ann 2:1234 old 1234 |
1    | r1 rotate_pepper 2 {A}
1    | s3 set_pin bob 5678            |
1    | s3 set_pin bob 2:5678          | ok      | 100    | 100       |
1    | s4 set_pin ann 4321 old 1234   |
1    | s4 set_pin ann 2:4321 old 1234 | ok      | 100    | 100       |
2    | reseal 2 ann=2:1234 bob=2:0000
2    | l1 login ann 2:4321            | ok      | 100    | 100       |
2    | l2 login bob 2:5678            | ok      | 100    | 100       |
""")


def test_a_pin_that_was_removed_does_not_come_back() -> None:
    check_story(f"""
given ann 100
time | request                 | outcome | ledger | available | booked
0    | level 2
0    | s1 set_pin ann 1234
1    | r1 rotate_pepper 2 {A}
1    | z1 reset_pin ann
2    | reseal 2 ann=2:1234 nobody=2:1234 cash=2:1234
2    | query ann               | open    | 100    | 100
2    | d1 debit ann 1          | ok      | 99     | 99        | ann > cash 1
""")


def test_pins_are_carried_over_two_peppers_and_late_entries_take_nothing_back() -> None:
    check_story(f"""
given ann 100, bob 100
time | request                 | outcome | ledger | available | booked
0    | level 2
0    | s1 set_pin ann 1234
0    | s2 set_pin bob 5678
1    | r1 rotate_pepper 2 {A}
1    | reseal 2 ann=2:1234
2    | r2 rotate_pepper 4 {B}
2    | reseal 2 bob=2:5678
2    | l1 login bob 2:5678     | ok      | 100    | 100       |
3    | reseal 4 ann=4:1234 bob=4:5678
3    | reseal 2 ann=2:1234 bob=2:5678
3    | l2 login bob 4:5678     | ok      | 100    | 100       |
3    | l3 login ann 4:1234     | ok      | 100    | 100       |
""")


def test_only_a_newer_pepper_becomes_current_and_from_feature_level_2_on() -> None:
    check_story(f"""
given ann 100
time | request                 | outcome     | ledger | available | booked
0    | r0 rotate_pepper 2 {A}  | not_allowed | none   | none      |
0    | reseal 2 ann=2:1234
0    | level 2
1    | r1 rotate_pepper 3 {A}  | ok          | none   | none      |
1    | r2 rotate_pepper 3 {A}  | ok          | none   | none      |
1    | r3 rotate_pepper 3 {B}  | not_allowed | none   | none      |
1    | r4 rotate_pepper 2 {B}  | not_allowed | none   | none      |
1    | r1 rotate_pepper 3 {A}  | ok          | none   | none      |
1    | r1 rotate_pepper 4 {A}  | id_reused   | none   | none      |
2    | reseal 4 ann=4:1234
2    | query ann               | open        | 100    | 100
""")


class Books:
    """A ledger at level 2, applied line by line."""

    def __init__(self) -> None:
        self.ledger = Ledger(":memory:")
        self.add("level 2", "o1 open ann", "o2 open bob")

    def add(self, *lines: str) -> LedgerReceipt | None:
        receipt: LedgerReceipt | None = None
        for line in lines:
            receipt = self.apply(entry(line))
        return receipt

    def apply(self, said: object) -> LedgerReceipt | None:
        index = self.ledger.applied_index + 1
        [receipt] = self.ledger.apply([(index, MIDNIGHT_US + index, said)])  # type: ignore[list-item]
        return receipt

    def add_ok(self, *lines: str) -> None:
        for line in lines:
            receipt = self.add(line)
            assert receipt is not None, line
            assert receipt.outcome == "ok", line

    def pepper(self) -> PepperView:
        view = self.ledger.view(Pepper(id="p")).pepper
        assert view is not None
        return view

    def details(self, request_id: str) -> str | None:
        asked = self.ledger.view(Lookup(id="l", request_id=request_id)).asked
        return None if asked is None else asked.details


@pytest.fixture
def books() -> Iterator[Books]:
    made = Books()
    with closing(made.ledger):
        yield made


def test_a_set_pin_that_is_repeated_after_the_change_gets_its_first_receipt(books: Books) -> None:
    books.add_ok("s1 set_pin ann 1234", f"r1 rotate_pepper 2 {A}")
    first = books.ledger.view(Lookup(id="l", request_id="s1"))
    for again in ("s1 set_pin ann 2:1234", "s1 set_pin ann 1234 old 2:1234"):
        receipt = books.add(again)
        assert receipt is not None
        assert (receipt.outcome, receipt.log_index) == ("ok", first.log_index)
    receipt = books.add("s1 set_pin bob 2:1234")
    assert receipt is not None
    assert receipt.outcome == "id_reused"


def test_a_new_pin_that_comes_late_and_is_refused_leaves_no_digest_for_the_older_pepper(books: Books) -> None:
    """It would come behind where the leader has looked, and stay."""
    books.add_ok("s1 set_pin ann 1234", f"r1 rotate_pepper 2 {A}")
    books.add("reseal 2 ann=2:1234 forget s1", "reseal 2 done")
    for line, outcome in (
        ("s2 set_pin ann 5678 old 2:9999", "wrong_pin"),
        ("s3 set_pin zoe 5678", "no_such_account"),
    ):
        receipt = books.add(line)
        assert receipt is not None
        assert receipt.outcome == outcome
        assert books.details(line[:2]) == '{"pin":""}'


def test_the_books_forget_what_they_kept_of_an_older_seal_in_receipts(books: Books) -> None:
    """Who knows the old pepper could try PINs on that digest for ever."""
    books.add_ok("s1 set_pin ann 1234", "s2 set_pin bob 5678")
    books.add("s3 set_pin bob 0000 old 9999", f"r1 rotate_pepper 2 {A}", "s4 set_pin ann 2:4321 old 1234")
    kept = books.details("s4")
    assert kept is not None
    assert kept.startswith('{"pin":"2:'), "the newer one opens nothing to who knows the older"
    books.add("reseal 2 bob=2:5678 forget s1 s3 s4 o1 nobody")
    assert books.details("s1") == books.details("s3") == '{"pin":""}'
    assert books.details("s4") == kept
    assert books.details("s2") not in (None, '{"pin":""}')
    assert books.details("o1") is None
    receipt = books.add("s1 set_pin ann 2:0000")
    assert receipt is not None
    assert receipt.outcome == "ok", "of what was forgotten nothing can be compared"


def test_what_is_forgotten_in_the_unit_of_work_that_kept_it_is_forgotten_on_the_disk() -> None:
    lines = ("level 2", "s1 set_pin main 1234", f"r1 rotate_pepper 2 {A}", "reseal 2 main=2:1234 forget s1")
    one, other = Ledger(":memory:"), Ledger(":memory:")
    with closing(one), closing(other):
        records = [(index, MIDNIGHT_US + index, entry(line)) for index, line in enumerate(lines, 1)]
        one.apply(records)
        for record in records:
            other.apply([record])
        assert one.digest() == other.digest()
        found = one.view(Lookup(id="l", request_id="s1")).asked
        assert found is not None
        assert found.details == '{"pin":""}'


def test_the_ledger_says_which_pepper_is_current_and_how_far_it_is_carried_over(books: Books) -> None:
    assert books.pepper() == PepperView(generation=1, carried_index=0)
    books.add_ok("s1 set_pin ann 1234", "s2 set_pin bob 5678", f"r1 rotate_pepper 2 {A}")
    assert books.pepper() == PepperView(generation=2, name=A, log_index=6, older=2)
    books.add("reseal 2 ann=2:1234")
    assert books.pepper().older == 1
    books.add("reseal 2 bob=2:5678", "reseal 2 done")
    assert books.pepper() == PepperView(generation=2, name=A, log_index=6, carried_index=9)
    books.add("reseal 2 done")
    assert books.pepper().carried_index == 9
    books.add_ok(f"r2 rotate_pepper 3 {B}")
    books.add("reseal 2 done")
    assert books.pepper() == PepperView(generation=3, name=B, log_index=11, older=2)
    assert books.ledger.pepper == PepperState(3, B, 11, None)


def test_a_query_tells_for_which_pepper_the_pin_is_sealed(books: Books) -> None:
    books.add_ok("s1 set_pin ann 1234")
    assert books.ledger.view(Query(id="q", account="ann")).sealed_for is None
    books.add(f"r1 rotate_pepper 2 {A}", "reseal 2 ann=2:1234")
    assert books.ledger.view(Query(id="q", account="ann")).sealed_for == 2
    assert books.ledger.view(Query(id="q", account="bob")).sealed_for is None


def test_who_made_a_pepper_current_is_among_the_deeds(books: Books) -> None:
    books.apply(logged(RotatePepper(id="r1", generation=2, pepper=A), "ada", Role.ADMIN))
    books.apply(logged(RotatePepper(id="r2", generation=3, pepper=B), "otto", Role.OPERATOR))
    rows = list(books.ledger._cursor.execute("select actor, roles, op, target, outcome from deed"))
    assert rows == [
        ("ada", "admin", "rotate_pepper", f"2:{A}", "ok"),
        ("otto", "operator", "rotate_pepper", f"3:{B}", "not_allowed"),
    ]


def test_the_current_pepper_is_known_after_a_restart_and_a_failed_write_takes_it_back(
    tmp_path: object,
) -> None:
    path = f"{tmp_path}/ledger.db"
    with closing(Ledger(path)) as ledger:
        ledger.apply([(1, 1, entry("level 2")), (2, 2, entry(f"r1 rotate_pepper 2 {A}"))])
        ledger.decide([(3, 3, entry(f"r2 rotate_pepper 3 {B}"))])
        assert ledger.pepper.generation == 3
    with closing(Ledger(path)) as ledger:
        assert ledger.pepper == PepperState(2, A, 2, None)


def test_the_leader_reads_pins_and_receipts_page_by_page(books: Books) -> None:
    books.add_ok("s1 set_pin ann 1234")
    books.ledger.decide([(books.ledger.applied_index + 1, MIDNIGHT_US + 99, entry("s2 set_pin bob 5678"))])
    assert books.ledger.pins_after("", 2) == [("ann", "1234"), ("bob", "5678")], "also what was not written"
    assert books.ledger.pins_after("bob", 2) == [("main", None)]
    (o1, none), (o2, _) = books.ledger.new_pins_after("", 2)
    assert (o1, o2, none) == ("o1", "o2", None)
    [(s1, details), _] = books.ledger.new_pins_after("o2", 2)
    assert s1 == "s1"
    assert details is not None
    assert details.startswith('{"pin":')


def test_a_bank_that_lost_its_peppers_begins_with_a_first_one_and_no_pin_is_right(tmp_path: object) -> None:
    path = f"{tmp_path}/ledger.db"
    lines = ("level 2", "s1 set_pin main 1234", f"r1 rotate_pepper 2 {A}", f"reseal 2 main=2:{'c' * 64} done")
    for known in (True, False):
        with closing(Ledger(path)) as ledger:
            if not ledger.applied_index:
                ledger.apply([(index, index, entry(line)) for index, line in enumerate(lines, 1)])
        epoch = Epoch(
            op="restored",
            cluster=("1" if known else "2") * 32,
            founders=(),
            old_cluster="0" * 32,
            log_index=4,
            time_us=4,
        )
        begin_epoch(path, epoch, peppers_known=known)  # type: ignore[arg-type]
        with closing(Ledger(path)) as ledger:
            assert ledger.pepper.generation == (2 if known else 1)
            assert ledger.pins_after("", 9) == [("main", ("2:" if known else "") + "c" * 64)]


def test_an_entry_of_the_leaders_own_is_no_command_of_a_client() -> None:
    said = entry("reseal 2 ann=2:1234 forget s1 done")
    assert isinstance(said, LoggedCommand)
    assert said.actor == "bank"
