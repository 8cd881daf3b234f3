"""Planted defects of transfers between lanes: their rules, who drives them, and the audit of their halves."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

RULES = "tests/lanes/test_crossings.py::"
AT_RANDOM = "tests/lanes/test_lanes_at_random.py::"
DRIVEN = "tests/server/test_departures.py::"

CROSSINGS = (
    Mutant(
        name="nothing held for a departure",
        what="what is under way to another lane can be paid out a second time",
        edits=(Edit("crossings:_begin", "payer_.held += transfer_.amount", "pass"),),
        caught_by=RULES + "test_while_it_is_under_way_its_amount_is_held_and_nobody_else_has_it",
    ),
    Mutant(
        name="an arrival credited twice",
        what="a step that is asked for again credits the receiver again",
        edits=(Edit("crossings:_arrive", "unit_.records[command_.id]", "None"),),
        caught_by=RULES + "test_each_step_is_done_once_however_often_it_is_asked_for",
    ),
    Mutant(
        name="an arrival under another request's id",
        what="a transfer is taken for what was done under its id in the receiver's lane",
        edits=(Edit("crossings:_arrive", "same_contents(...) or ...", "True or ..."),),
        caught_by=RULES + "test_its_id_stands_for_it_and_for_nothing_else",
    ),
    Mutant(
        name="an arrival whatever the receiver",
        what="a frozen account receives from other lanes",
        edits=(Edit("crossings:_arrive", "may_move(receiver_)", "exists(receiver_)"),),
        caught_by=RULES + "test_it_is_decided_as_within_one_lane",
    ),
    Mutant(
        name="no ceiling for arrivals",
        what="what comes from another lane passes the ceiling of a balance",
        edits=(Edit("crossings:_arrive", "receiver_.ceiling is None or is_correction_", "True"),),
        caught_by=RULES + "test_it_is_decided_as_within_one_lane",
    ),
    Mutant(
        name="a refusal pays all the same",
        what="the payer's lane pays what the receiver's lane has refused",
        edits=(Edit("crossings:_settle", "command_.outcome", "OK"),),
        caught_by=RULES + "test_it_is_decided_as_within_one_lane",
    ),
    Mutant(
        name="a released transfer stays counted",
        what="a transfer that was refused counts towards the daily limit",
        edits=(Edit("crossings:_settle", "transfer_.counted is not None", "False"),),
        caught_by=RULES + "test_what_is_released_does_not_count_towards_the_daily_limit",
    ),
    Mutant(
        name="transfers to other lanes without a limit",
        what="who transfers to another lane escapes the daily limit",
        edits=(Edit("crossings:_may_depart", "payer_.exceeds_limit(...)", "False"),),
        caught_by=RULES + "test_it_is_decided_as_within_one_lane",
    ),
    Mutant(
        name="a customer ends a transfer",
        what="what a transfer holds can be voided, and its receiver keeps what was credited",
        edits=(Edit("find_hold", "hold_ is not None and hold_.expires_us == OPEN_TRANSFER_US", "False"),),
        caught_by=RULES + "test_what_a_transfer_holds_is_no_hold_of_a_customer",
    ),
    Mutant(
        name="the id of an open transfer is free",
        what="another request under the id of a transfer that is under way is carried out",
        edits=(Edit("decide_in_lane", "transfers_.get(command_.id)", "None"),),
        caught_by=RULES + "test_its_id_stands_for_it_and_for_nothing_else",
    ),
    Mutant(
        name="two reversals under way",
        what="a reversal begins while one is under way, and both together take back more than there was",
        edits=(Edit("OpenTransfers.concern", "any(...)", "False"),),
        caught_by=RULES + "test_a_transfer_is_taken_back_in_parts_from_who_has_it",
    ),
    Mutant(
        name="a decided reversal is to be asked again",
        what="a reversal that was decided departs again, or is not told while another is under way",
        edits=(Edit("decide_in_lane", "unit_.records[command_.id] is None", "True"),),
        caught_by=RULES + "test_a_reversal_that_was_decided_is_told_again_while_another_is_under_way",
    ),
    Mutant(
        name="an id under way in both directions",
        what="a transfer arrives under the id of one that is under way from there: that id has two receipts",
        edits=(Edit("crossings:_arrive", "command_.id in transfers_", "False"),),
        caught_by=RULES + "test_an_id_that_is_under_way_in_both_directions_is_refused_in_both",
    ),
    Mutant(
        name="the same in any order",
        what="likewise, and only requests at random notice",
        edits=(Edit("crossings:_arrive", "command_.id in transfers_", "False"),),
        caught_by=AT_RANDOM + "test_whatever_is_asked_and_lost_no_cent_is_lost_and_each_id_has_one_outcome",
    ),
    Mutant(
        name="nothing given back to the daily limit",
        what="a transfer to another lane that was taken back still counts towards the daily limit",
        edits=(Edit("crossings:_arrive", "restore_limits(...)", "pass"),),
        caught_by=RULES
        + "test_a_reversal_gives_back_what_counts_towards_the_daily_limit_in_parts_once_it_has_arrived",
    ),
    Mutant(
        name="given back as of its arrival",
        what="what counted towards yesterday's limit is given back to today's",
        edits=(
            Edit(
                "crossings:_arrive",
                "restore_limits(unit_, postings_, *command_.counted)",
                "restore_limits(unit_, postings_, unit_.log_index, unit_.time_us)",
            ),
        ),
        caught_by=RULES + "test_what_counted_yesterday_is_not_given_back_today_though_it_arrived_today",
    ),
    Mutant(
        name="transfers to other lanes always count",
        what="a transfer counts towards a daily limit that is one for withdrawals alone",
        edits=(
            Edit(
                "crossings:_depart",
                "None if payer_.transfers_from is None else (unit_.log_index, unit_.time_us)",
                "(unit_.log_index, unit_.time_us)",
            ),
        ),
        caught_by=RULES + "test_what_did_not_count_is_not_given_back",
    ),
    Mutant(
        name="an approval between lanes is not used up",
        what="a reversal that was approved and done can be approved again",
        edits=(Edit("crossings:_settle", "use_up(...)", "pass"),),
        caught_by=RULES + "test_an_approval_carries_a_reversal_out_once_and_each_request_has_its_own_receipt",
    ),
    Mutant(
        name="an approval used up by its departure",
        what="what was refused where it should arrive cannot be approved again",
        edits=(
            Edit(
                "crossings:_depart_back",
                "_begin(unit_, transfers_, transfer_, account_)",
                "use_up(unit_, transfer_.approval)\n_begin(unit_, transfers_, transfer_, account_)",
            ),
        ),
        caught_by=RULES + "test_what_is_refused_where_it_arrives_is_released_and_can_be_approved_again",
    ),
    Mutant(
        name="an approval's receipt of a reversal",
        what="an approval that is asked for again is told id_reused, and the reversal has two receipts",
        edits=(
            Edit(
                "OpenTransfer.asked",
                "self.command if self.approval is None else self.approval",
                "self.command",
            ),
        ),
        caught_by=RULES + "test_an_approval_carries_a_reversal_out_once_and_each_request_has_its_own_receipt",
    ),
    Mutant(
        name="approvals between lanes by anybody",
        what="a teller approves the reversal of a transfer to another lane",
        edits=(Edit("crossings:_depart_back", "not allowed(...)", "False"),),
        caught_by=RULES + "test_the_rules_of_the_approvals_day_decide_between_lanes_too",
    ),
    Mutant(
        name="an approval does not wait",
        what="two approvals of one reversal are under way, and both take back",
        edits=(Edit("_to_be_reversed", 'waiting_.asked.op == "reverse"', "False"),),
        caught_by=RULES + "test_an_approval_carries_a_reversal_out_once_and_each_request_has_its_own_receipt",
    ),
    Mutant(
        name="a reversal between lanes is not noted",
        what="a transfer that was taken back is taken back again",
        edits=(Edit("crossings:_settle", "note_reversal(...)", "pass"),),
        caught_by=RULES + "test_a_transfer_is_taken_back_in_parts_from_who_has_it",
    ),
    Mutant(
        name="a reversal out of transit",
        what="in the payer's lane a transfer is given back, and its receiver keeps it",
        edits=(Edit("decide_reverse", "is_transit(...)", "False"),),
        caught_by=RULES + "test_in_the_payers_lane_a_transfer_is_not_reversed",
    ),
    Mutant(
        name="open transfers not read at a take",
        what="who takes a lane knows nothing of its open transfers, and they stay open",
        edits=(Edit("LaneWorker._hold", "self._departures.begin(...)", "pass"),),
        caught_by=DRIVEN + "test_who_takes_the_lane_ends_what_had_departed_though_nobody_asks",
    ),
    Mutant(
        name="an arrival is asked for once",
        what="if the receiver's lane does not answer, its transfers stay open until the lane is taken again",
        edits=(Edit("LaneWorker._turn", "self._departures.ask_again()", "pass"),),
        caught_by=DRIVEN + "test_a_lane_that_does_not_answer_leaves_it_unknown_and_it_is_done_when_it_does",
    ),
    Mutant(
        name="late answers to a lane that was lost kept",
        what="the worker looks at them for ever, and takes a whole processor",
        edits=(Edit("Departures.pop_all", "self._replies = []", "pass"),),
        caught_by="tests/server/test_departures.py::"
        "test_an_answer_that_comes_after_the_lane_was_lost_leaves_nothing_to_do",
    ),
    Mutant(
        name="no answer is a refusal",
        what="a lane that does not answer is taken for one that refused: what it has credited is not paid",
        edits=(Edit("Departures._note", "outcome_ in FAULT_OUTCOMES", "False"),),
        caught_by=DRIVEN + "test_lanes_change_their_servers_at_any_time_and_every_transfer_is_done_once",
    ),
    Mutant(
        name="a reversal is found where it arrived",
        what="a reversal between lanes that is asked for again is told id_reused, though it was done",
        edits=(Edit("lane_named", "not _has_arrived(found_)", "True"),),
        caught_by="tests/server/test_lane_routes.py::"
        "test_a_request_that_names_another_goes_where_either_was_decided_or_to_all_lanes",
    ),
    Mutant(
        name="halves are not compared",
        what="verify does not see that what one lane paid no other has credited",
        edits=(Edit("halves:differences", "list(_still_alone(...)) if unequal_ else []", "[]"),),
        caught_by=RULES + "test_a_half_that_was_taken_out_by_hand_is_named_with_its_lane",
    ),
)
