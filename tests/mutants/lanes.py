"""Planted defects of the bank on PostgreSQL."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

LEDGER = "tests/lanes/test_lane_ledger.py::"

ROUTES = "tests/server/test_lane_routes.py::"
LOOP = "tests/server/test_lane_loop.py::"
SHARES = "tests/server/test_lane_shares.py::"
EVENTS = "tests/server/test_lane_events.py::"

LANES = (
    Mutant(
        name="no fence",
        what="a writer that lost its lane answers queries from its memory",
        edits=(Edit("LaneLedger._write", "self._postgresql.execute(FENCE, ...)", "pass"),),
        caught_by=LEDGER + "test_a_query_is_not_answered_from_the_memory_of_a_writer_that_lost_its_lane",
    ),
    Mutant(
        name="holds that a batch does not change forgotten",
        what="holds are not ended when they are due",
        edits=(Edit("LaneRows.write", "due_us_.append(others_due_us_)", "pass"),),
        caught_by=LEDGER + "test_a_writer_knows_when_the_next_hold_is_due",
    ),
    Mutant(
        name="a text in an array not looked at for quotes",
        what="a customer's text is written as something else, or a batch fails",
        edits=(Edit("rows:_texts", "joined_.count(...) == ...", "True"),),
        caught_by=LEDGER + "test_what_is_written_of_an_array_is_what_postgresql_reads",
    ),
    Mutant(
        name="company waited for without an end",
        what="after a busy time the next client waits for others that do not come",
        edits=(Edit("LaneWorker._gather", "min(self._took_s, GATHER_S_MAX)", "GATHER_S_MAX"),),
        caught_by="tests/server/test_lane_worker.py::"
        "test_company_is_waited_for_no_longer_than_the_last_batch_took",
    ),
    Mutant(
        name="a lane taken whatever was seen",
        what="of two servers that saw a silent writer both take its lane, one from the other",
        edits=(Edit("LaneLedger._take", "(node_, self.lane, seen_epoch_)", "(node_, self.lane, None)"),),
        caught_by=LEDGER + "test_of_two_who_saw_the_same_epoch_one_gets_the_lane",
    ),
    Mutant(
        name="a cancelled wait for a standby called done",
        what="what no standby has is acknowledged, and lost with the primary",
        edits=(Edit("EngineConnection._note", 'notice_.severity_nonlocalized == "WARNING"', "False"),),
        caught_by=LEDGER + "test_a_commit_whose_wait_for_the_standby_was_cancelled_is_not_acknowledged",
    ),
    Mutant(
        name="an unknown batch called undone",
        what="clients are told that nothing was done, and it may have been",
        edits=(
            Edit(
                "EngineConnection._errors",
                "EngineFault(why_, may_be_done=writes_ and not is_told_)",
                "EngineFault(why_, may_be_done=False)",
            ),
        ),
        caught_by=LEDGER + "test_a_server_that_ends_in_a_batch_leaves_it_unknown_and_the_next_writer_knows",
    ),
    Mutant(
        name="a refused batch called unknown",
        what="clients ask again and again about what was certainly not done",
        edits=(
            Edit(
                "EngineConnection._errors",
                "EngineFault(why_, may_be_done=writes_ and not is_told_)",
                "EngineFault(why_, may_be_done=writes_)",
            ),
        ),
        caught_by=LEDGER + "test_a_batch_is_written_whole_or_not_at_all",
    ),
    Mutant(
        name="a full disk of PostgreSQL called a fault like any other",
        what="a batch that needs room is tried again for seconds, and clients are not told what is missing",
        edits=(Edit("EngineConnection._errors", "error_.sqlstate == DISK_FULL", "False"),),
        caught_by=LEDGER + "test_a_batch_for_which_there_is_no_room_is_certainly_not_done",
    ),
    Mutant(
        name="without space queries are refused, too",
        what="balances cannot be asked for while the disk of PostgreSQL is full",
        edits=(Edit("LaneWorker._without_space", "queries_ and self._took_again(...)", "False"),),
        caught_by="tests/server/test_lane_worker.py::"
        "test_without_space_changes_are_refused_at_once_and_queries_answered",
    ),
    Mutant(
        name="lowered synchronous_commit accepted",
        what="what is acknowledged is lost with the power",
        edits=(Edit("engine:refusals", "lowered_ not in SYNCHRONOUS", "False"),),
        caught_by=LEDGER + "test_a_database_that_would_break_promises_is_refused",
    ),
    Mutant(
        name="statement timeouts accepted",
        what="a commit that waits for a standby is cut off and called done",
        edits=(Edit("engine:refusals", 'found_.get(name_, "0") != "0"', "False"),),
        caught_by=LEDGER + "test_a_database_that_would_break_promises_is_refused",
    ),
    Mutant(
        name="the number of lanes changed",
        what="accounts are looked for in other lanes than those they are in",
        edits=(Edit("open_bank", "found_.lanes != lanes_", "False"),),
        caught_by=LEDGER + "test_the_number_of_lanes_is_fixed_when_the_bank_is_made",
    ),
    Mutant(
        name="a batch sent to one of its lanes",
        what="a batch over several lanes is decided where half of its accounts are not",
        edits=(Edit("routes:route", "len(found_) == 1", "True"),),
        caught_by=ROUTES + "test_a_batch_whose_accounts_are_in_several_lanes_is_refused",
    ),
    Mutant(
        name="the bank's own account of one lane only",
        what="the cash of the bank is that of lane 0",
        edits=(Edit("routes:route", "is_banks_own(request_.account)", "False"),),
        caught_by=ROUTES + "test_each_kind_of_request_goes_where_it_belongs",
    ),
    Mutant(
        name="what nobody knows sent to lane 0",
        what="a reversal that came first declines its original in lane 0 only",
        edits=(
            Edit(
                "lane_named",
                "return None",
                "return 0",
            ),
        ),
        caught_by=ROUTES + "test_a_request_that_names_another_goes_where_either_was_decided_or_to_all_lanes",
    ),
    Mutant(
        name="a tombstone taken for the original",
        what="a second reversal of what has not come is kept in one lane, and that is done in another",
        edits=(Edit("routes:_is_tombstone", "found_.asked.op == TOMBSTONE", "False"),),
        caught_by=ROUTES + "test_a_request_that_names_another_goes_where_either_was_decided_or_to_all_lanes",
    ),
    Mutant(
        name="an own refusal in some lanes taken for all",
        what="a reversal that some lanes did not get is not given to them when it is asked for again",
        edits=(Edit("lane_named", "found_.outcome not in NOT_FOUND", "True"),),
        caught_by=ROUTES + "test_a_request_that_names_another_goes_where_either_was_decided_or_to_all_lanes",
    ),
    Mutant(
        name="an id used again in another lane",
        what="a request under a used id is given to all lanes, and done in one that has not seen the id",
        edits=(Edit("lane_named", "not same_contents(found_.asked, asked_)", "False"),),
        caught_by=ROUTES + "test_a_request_that_names_another_goes_where_either_was_decided_or_to_all_lanes",
    ),
    Mutant(
        name="the first lane's refusal for all",
        what="what one lane did is told as not done, since another did not know it",
        edits=(Edit("routes:_decided", "outcome_ is not OK", "False"),),
        caught_by=ROUTES + "test_of_what_all_lanes_decided_the_one_that_knew_it_counts",
    ),
    Mutant(
        name="a page that ends with the first lane",
        what="a page after the first one shows nothing of the lanes behind its cursor's",
        edits=(Edit("routes:asked_of", "lane_ > _first_lane(request_, lanes_)", "False"),),
        caught_by=ROUTES
        + "test_a_page_goes_through_the_lanes_in_order_and_its_cursor_goes_on_where_it_ended",
    ),
    Mutant(
        name="a page that begins anew in lanes it has passed",
        what="the next page has rows of the page before",
        edits=(Edit("routes:_page", "if lane_ < first_:\n    continue", "pass"),),
        caught_by=ROUTES
        + "test_a_page_goes_through_the_lanes_in_order_and_its_cursor_goes_on_where_it_ended",
    ),
    Mutant(
        name="numbers of a lane not taken apart",
        what="a page behind a cursor is asked for behind a number that the lane has not",
        edits=(
            Edit(
                "lane_numbers:in_lane",
                "replace(request_, after=max(0, request_.after - first_posting(lane_)))",
                "request_",
            ),
        ),
        caught_by=ROUTES + "test_what_a_lane_shows_is_taken_apart_again",
    ),
    Mutant(
        name="lanes taken to and fro",
        what="two servers take a lane from each other for ever",
        edits=(Edit("to_take", "len(mine_) + 2", "len(mine_) + 1"),),
        caught_by=SHARES + "test_a_server_takes_what_has_no_writer_or_one_from_who_has_two_more",
    ),
    Mutant(
        name="a dead server's lanes left alone",
        what="the accounts of a server that died have no writer any more",
        edits=(Edit("to_take", "not each_.is_alive", "False"),),
        caught_by=SHARES + "test_a_server_takes_what_has_no_writer_or_one_from_who_has_two_more",
    ),
    Mutant(
        name="a reversal half kept told as undone",
        what="a client is told that a reversal was not done, and some lanes decline what comes late",
        edits=(Edit("LaneLoop._merge", "replies_ or any(...)", "False"),),
        caught_by=LOOP + "test_a_reversal_that_nobody_knows_the_original_of_is_left_in_all_lanes_or_unknown",
    ),
    Mutant(
        name="a lane that does not answer knows nothing",
        what="a hold is declined for ever, since the lane that has it did not answer",
        edits=(Edit("LaneLoop._go_on", "if faults_:\n    ...", "pass"),),
        caught_by=LOOP + "test_nothing_is_done_while_a_lane_does_not_say_whether_it_knows_the_hold",
    ),
    Mutant(
        name="a lane's request sent on again",
        what="two servers that are wrong about a lane send a request to and fro",
        edits=(Edit("LaneLoop._forward", "not pending_.forwarded", "True"),),
        caught_by=LOOP + "test_what_another_server_sent_to_a_lane_that_is_not_here_is_not_sent_on",
    ),
    Mutant(
        name="a lane's first commands not told",
        what="the recorder tells nothing of what a writer wrote within the tick in which it took the lane",
        edits=(Edit("LaneEvents._note_own", "worker_.taken_index", "worker_.applied_index"),),
        caught_by=EVENTS + "test_what_is_written_within_the_tick_in_which_the_lane_was_taken_is_told_too",
    ),
    Mutant(
        name="a silent writer not told",
        what="the recorder tells that a lane was taken, and not whose silence was the reason",
        edits=(Edit("LaneEvents.on_tick", "self._seen().lanes", "()"),),
        caught_by=EVENTS + "test_whose_silence_let_a_lane_be_taken_is_told_although_both_come_within_a_tick",
    ),
    Mutant(
        name="a lane's time stands still",
        what="two commands have one time: what was paid before a limit was set seems to count towards it",
        edits=(Edit("LaneWorker._executed", "ledger_.time_us + 1", "ledger_.time_us"),),
        caught_by="tests/server/test_lane_worker.py::"
        "test_no_two_commands_have_the_same_time_though_the_clock_stands_still",
    ),
    Mutant(
        name="a pepper changed without lane 0",
        what="a server without lane 0 decides by an old pepper, and queues a change that ends nowhere",
        edits=(Edit("LaneLoop._change", "not self._workers[HOME].mine", "False"),),
        caught_by=LOOP + "test_a_server_without_lane_0_does_not_change_the_pepper",
    ),
)
