"""The rules of two-phase commit, and when they leave all participants waiting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.two_phase.branch import ALONE, Contradiction
from demo.two_phase.coordinator import DECIDED, VOTED
from demo.two_phase.messages import (
    Decide,
    Deposit,
    Inquire,
    Malformed,
    Outcome,
    Prepare,
    Reply,
    Transfer,
    decode_reply,
    decode_request,
    encode,
)
from tests.demo.town import TRANSFER, Town

BRANCHES = ("north", "south")


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    town = Town(tmp_path)
    yield town
    town.coordinator.close()
    for branch in town.branches.values():
        branch.close()


def prepare(transaction: str = "T1", account: str = "north/alice", amount: int = -40) -> Prepare:
    return Prepare(id=transaction, account=account, amount=amount, branches=BRANCHES)


# -- all goes well ---------------------------------------------------------------------------------


def test_a_transfer_moves_the_money_and_leaves_nothing_locked(town: Town) -> None:
    assert town.coordinator.answer(TRANSFER) == Reply(outcome=Outcome.COMMITTED)
    assert (town.balance("north/alice"), town.balance("south/bob")) == (60, 140)
    assert all(branch.in_doubt() == [] for branch in town.branches.values())


def test_a_transfer_that_is_asked_for_again_is_not_done_again(town: Town) -> None:
    town.coordinator.answer(TRANSFER)
    town.asked.clear()
    assert town.coordinator.answer(TRANSFER).outcome is Outcome.COMMITTED
    assert town.asked == []
    assert town.balance("north/alice") == 60


def test_of_two_decisions_the_first_one_written_counts(town: Town) -> None:
    # An inquiry may have found T1 not begun, and presume it aborted just after it began.
    assert town.coordinator._decide("T1", Outcome.ABORTED) is Outcome.ABORTED
    assert town.coordinator._decide("T1", Outcome.COMMITTED) is Outcome.ABORTED


def test_one_no_aborts_it_everywhere(town: Town) -> None:
    too_much = Transfer(id="T1", source="north/alice", target="south/bob", amount=101)
    reply = town.coordinator.answer(too_much)
    assert reply == Reply(outcome=Outcome.ABORTED, why="north/alice has too little")
    assert (town.balance("north/alice"), town.balance("south/bob")) == (100, 100)
    assert town.branches["south"].in_doubt() == []


def test_a_branch_that_does_not_answer_aborts_it(town: Town) -> None:
    town.down.add("south")
    assert town.coordinator.answer(TRANSFER).outcome is Outcome.ABORTED
    town.down.clear()
    assert town.coordinator.answer(TRANSFER).outcome is Outcome.ABORTED, "a decision never changes"
    assert town.balance("north/alice") == 100


def test_a_transfer_within_one_branch_has_no_coordinator(town: Town) -> None:
    within = Transfer(id="T1", source="north/alice", target="north/carol", amount=1)
    assert town.coordinator.answer(within).outcome is Outcome.REFUSED
    assert town.asked == []


# -- promises --------------------------------------------------------------------------------------


def test_a_promise_locks_the_account_against_everybody_else(town: Town) -> None:
    north = town.branches["north"]
    assert north.answer(prepare()).outcome is Outcome.PREPARED
    locked = "north/alice is locked by T1"
    assert north.answer(Deposit(account="north/alice", amount=1)) == Reply(
        outcome=Outcome.REFUSED, why=locked
    )
    assert north.answer(prepare("T2")) == Reply(outcome=Outcome.ABORTED, why=locked)
    assert town.balance("north/alice") == 100


@pytest.mark.parametrize("outcome", [Outcome.COMMITTED, Outcome.ABORTED])
def test_a_decision_frees_the_account_and_counts_once(town: Town, outcome: Outcome) -> None:
    north = town.branches["north"]
    north.answer(prepare())
    for _ in range(2):
        assert north.answer(Decide(id="T1", outcome=outcome)).outcome is outcome
    assert town.balance("north/alice") == (60 if outcome is Outcome.COMMITTED else 100)
    assert north.answer(Deposit(account="north/alice", amount=1)).outcome is Outcome.DONE


def test_a_branch_that_died_still_holds_its_promise(town: Town) -> None:
    town.branches["north"].answer(prepare())
    town.restart("north")
    assert town.state("north") is Outcome.PREPARED
    refused = town.branches["north"].answer(Deposit(account="north/alice", amount=1))
    assert refused.outcome is Outcome.REFUSED


def test_a_decision_is_not_taken_back(town: Town) -> None:
    north = town.branches["north"]
    north.answer(prepare())
    north.answer(Decide(id="T1", outcome=Outcome.COMMITTED))
    with pytest.raises(Contradiction, match="T1 is committed and shall be aborted"):
        north.answer(Decide(id="T1", outcome=Outcome.ABORTED))
    assert town.balance("north/alice") == 60


def test_what_was_never_promised_cannot_be_committed(town: Town) -> None:
    with pytest.raises(Contradiction, match="never promised T1"):
        town.branches["north"].answer(Decide(id="T1", outcome=Outcome.COMMITTED))


def test_what_was_aborted_before_it_was_asked_for_is_never_promised(town: Town) -> None:
    town.branches["north"].answer(Decide(id="T1", outcome=Outcome.ABORTED))
    assert town.branches["north"].answer(prepare()).outcome is Outcome.ABORTED


# -- the coordinator dies --------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [VOTED, DECIDED])
def test_those_who_promised_neither_commit_nor_abort_by_themselves(town: Town, stage: str) -> None:
    town.kill_the_coordinator_at(stage)
    for _ in range(3):
        for name, other in zip(BRANCHES, reversed(BRANCHES), strict=True):
            assert town.settle(name) == [f"{ALONE}, and {other} cannot tell either"]
    assert [town.state(name) for name in BRANCHES] == [Outcome.PREPARED] * 2
    for account in ("north/alice", "south/bob"):
        refused = town.ask(account.partition("/")[0], Deposit(account=account, amount=1))
        assert refused is not None
        assert refused.outcome is Outcome.REFUSED


def test_from_where_the_branches_stand_both_deaths_look_the_same(tmp_path: Path) -> None:
    seen = []
    for stage in (VOTED, DECIDED):
        (tmp_path / stage).mkdir()
        town = Town(tmp_path / stage)
        town.kill_the_coordinator_at(stage)
        seen.append((town.asked, [branch.in_doubt() for branch in town.branches.values()]))
    assert seen[0] == seen[1]


def test_a_branch_without_a_promise_in_it_goes_on(town: Town) -> None:
    town.kill_the_coordinator_at(DECIDED)
    assert town.branches["east"].answer(Deposit(account="east/dave", amount=1)).outcome is Outcome.DONE


def test_a_coordinator_that_comes_back_finishes_what_it_had_decided(town: Town) -> None:
    town.kill_the_coordinator_at(DECIDED)
    town.start_the_coordinator_again()
    assert [town.settle(name) for name in BRANCHES] == [[""], [""]]
    assert (town.balance("north/alice"), town.balance("south/bob")) == (60, 140)
    assert town.coordinator.answer(TRANSFER).outcome is Outcome.COMMITTED


def test_a_coordinator_that_comes_back_aborts_what_it_had_not_decided(town: Town) -> None:
    town.kill_the_coordinator_at(VOTED)
    town.start_the_coordinator_again()
    assert [town.settle(name) for name in BRANCHES] == [[""], [""]]
    assert (town.balance("north/alice"), town.balance("south/bob")) == (100, 100)


def test_an_abort_that_was_told_to_one_binds_a_transfer_that_is_asked_for_again(town: Town) -> None:
    town.kill_the_coordinator_at(VOTED)
    town.start_the_coordinator_again()
    assert town.coordinator.answer(Inquire(id="T1")).outcome is Outcome.ABORTED
    assert town.coordinator.answer(TRANSFER).outcome is Outcome.ABORTED


def test_what_is_under_way_is_not_presumed_aborted(town: Town) -> None:
    inquiries = []

    def north_inquires_while_the_votes_come_in(_transaction: str, stage: str) -> None:
        if stage == VOTED:
            inquiries.append(town.settle("north"))

    town.coordinator._reached = north_inquires_while_the_votes_come_in
    assert town.coordinator.answer(TRANSFER).outcome is Outcome.COMMITTED
    assert inquiries == [["the coordinator has not decided"]]


# -- the branches help each other as far as they can -----------------------------------------------


def test_one_branch_that_was_told_the_decision_is_enough(town: Town) -> None:
    town.kill_the_coordinator_at(DECIDED)
    town.branches["south"].answer(Decide(id="T1", outcome=Outcome.COMMITTED))
    assert town.settle("north") == [""]
    assert town.balance("north/alice") == 60


def test_one_branch_that_never_promised_ends_it_and_never_will_promise(town: Town) -> None:
    town.branches["north"].answer(prepare())  # and the coordinator died before it asked the south
    town.down.add("coordinator")
    assert town.settle("north") == [""]
    assert town.state("north") is Outcome.ABORTED
    assert town.branches["south"].answer(prepare(account="south/bob")).outcome is Outcome.ABORTED


# -- the wire --------------------------------------------------------------------------------------


def test_a_message_comes_back_as_it_went() -> None:
    for request in (TRANSFER, prepare(), Decide(id="T1", outcome=Outcome.ABORTED), Inquire(id="T1")):
        assert decode_request(encode(request)) == request
    reply = Reply(outcome=Outcome.REFUSED, why="no")
    assert decode_reply(encode(reply)) == reply


@pytest.mark.parametrize("decode", [decode_request, decode_reply])
def test_bytes_that_are_no_message_are_malformed(decode: object) -> None:
    assert callable(decode)
    with pytest.raises(Malformed):
        decode(b"\xc1")
