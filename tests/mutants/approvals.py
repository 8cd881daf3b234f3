"""Planted defects of the second person: what needs one, who may be it, and for how long."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

TESTS = "tests/ledger/test_approvals.py::"

APPROVALS = (
    Mutant(
        name="no second person asked for",
        what="a limit is set, and one person does it all the same",
        edits=(Edit("rules:decide", "hold_back(...) or decision_", "decision_"),),
        caught_by=TESTS
        + "test_what_is_above_its_limit_waits_and_moves_nothing_until_somebody_else_approves_it",
    ),
    Mutant(
        name="the limit itself needs a second person",
        what="what is exactly at the limit waits",
        edits=(Edit("hold_back", "stake_ <= most_", "stake_ < most_"),),
        caught_by=TESTS + "test_up_to_its_limit_one_person_is_enough",
    ),
    Mutant(
        name="second person without certificates",
        what="a bank without certificates needs somebody whom it cannot tell apart",
        edits=(Edit("hold_back", "not logged_.roles", "False"),),
        caught_by=TESTS + "test_without_a_certificate_nobody_is_known_and_nothing_waits",
    ),
    Mutant(
        name="a reversal counts by its original",
        what="a small part of a large credit needs a second person",
        edits=(
            Edit(
                "taken_back",
                """
                outcome_, account_, opposites_ = planned(unit_, command_, original_)
                in_all_ = _taken_back(...) + _total(opposites_) if outcome_ is OK else 0
                """,
                """
                outcome_, account_, opposites_ = planned(unit_, command_, original_)
                in_all_ = _total(_postings_of(unit_, original_)) if outcome_ is OK else 0
                """,
            ),
        ),
        caught_by=TESTS + "test_the_stake_of_a_reversal_is_what_it_takes_back",
    ),
    Mutant(
        name="second person for what is refused",
        what="a reversal that can never be done is sent to a second person",
        edits=(
            Edit(
                "taken_back",
                "_taken_back(...) + _total(opposites_) if outcome_ is OK else 0",
                "_total(opposites_) or 10**9",
            ),
        ),
        caught_by=TESTS + "test_where_nothing_is_at_stake_the_ordinary_rule_decides_at_once",
    ),
    Mutant(
        name="write-off to nobody waits",
        what="a second person is asked about an account that is not there",
        edits=(Edit("_at_stake", "may_write_off(account_, command_) is OK", "True"),),
        caught_by=TESTS + "test_where_nothing_is_at_stake_the_ordinary_rule_decides_at_once",
    ),
    Mutant(
        name="approved by oneself",
        what="one person asks and approves",
        edits=(Edit("approvals:approved", "person(unit_.actor) == person(asked_by_)", "False"),),
        caught_by=TESTS + "test_nobody_approves_what_he_asked_himself_not_as_somebodys_gateway_either",
    ),
    Mutant(
        name="a gateway's operator approves its customer",
        what="an identity that asked for an end user approves in its own name",
        edits=(Edit("approvals:approved", "person(actor_) == person(asked_by_)", "actor_ == asked_by_"),),
        caught_by=TESTS + "test_nobody_approves_what_he_asked_himself_not_as_somebodys_gateway_either",
    ),
    Mutant(
        name="approved twice",
        what="each approval moves the money once more",
        edits=(Edit("approvals:approved", "waiting_.approved_by is not None", "False"),),
        caught_by=TESTS + "test_a_request_is_carried_out_once_whoever_approves_it_again",
    ),
    Mutant(
        name="approval not used up",
        what="what was carried out goes on to wait",
        edits=(Edit("rules:_approve", "use_up(unit_, command_)", "pass"),),
        caught_by=TESTS + "test_a_request_is_carried_out_once_whoever_approves_it_again",
    ),
    Mutant(
        name="refused approval used up",
        what="what could not be done at first can never be approved again",
        edits=(Edit("rules:_approve", "if outcome_ is OK: use_up(...)", "use_up(...)"),),
        caught_by=TESTS + "test_the_rules_of_the_approvals_day_decide_and_only_a_success_uses_it_up",
    ),
    Mutant(
        name="approval without an end",
        what="what was asked long ago, and is forgotten, can still be approved",
        edits=(Edit("approvals:approved", "unit_.time_us - asked_us_ > APPROVE_WITHIN_US", "False"),),
        caught_by=TESTS + "test_it_can_be_approved_for_a_day_of_log_time_and_no_longer",
    ),
    Mutant(
        name="approval expires at its last moment",
        what="it ends a microsecond early",
        edits=(Edit("approvals:approved", "time_ > APPROVE_WITHIN_US", "time_ >= APPROVE_WITHIN_US"),),
        caught_by=TESTS + "test_it_can_be_approved_for_a_day_of_log_time_and_no_longer",
    ),
    Mutant(
        name="asker revoked meanwhile",
        what="who was thrown out gets by an approval what he asked before",
        edits=(Edit("approvals:approved", "allowed(...)", "True"),),
        caught_by=TESTS + "test_who_may_not_ask_any_more_gets_nothing_by_an_approval",
    ),
    Mutant(
        name="approved reversal reversed",
        what="an approved reversal is taken back, and the original stands again although it was reversed",
        edits=(Edit("reversals:_op_of", 'record_.asked.op != "approve"', "True"),),
        caught_by=TESTS + "test_a_reversal_that_was_approved_is_one_and_cannot_be_reversed",
    ),
    Mutant(
        name="limits forgotten by a restart",
        what="after a restart this server decides alone what the others let wait",
        edits=(Edit("LedgerRows.approval_limits", "map(...)", "()"),),
        caught_by=TESTS + "test_limits_and_what_waits_outlive_a_restart",
    ),
    Mutant(
        name="old requests listed",
        what="what can be approved no more stands on the list for ever",
        edits=(Edit("Inquiries._approvals", "now_us_ - approvals.APPROVE_WITHIN_US", "0"),),
        caught_by=TESTS + "test_the_list_has_the_limits_and_what_waits_the_latest_first_in_pages",
    ),
)
