"""Planted defects that no test had noticed when they were first planted: bounds, timers, limits and ends."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

RAFT = "atm/raft/raft.py"
ACCOUNT_TESTS = "tests/ledger/test_accounts.py::"
ROUTER_TESTS = "tests/server/test_request_router.py::"
DUE_TESTS = "tests/server/test_router_over_ledger.py::"
HELD_TESTS = "tests/ledger/test_reversals.py::"
LOG_TESTS = "tests/raft/test_log.py::"
STORE_TESTS = "tests/ledger/test_store.py::"

SURVIVORS = (
    Mutant(
        name="closed with a hold",
        what="an account with a balance of 0 is closed for ever while cash may still leave by its hold",
        edits=(Edit("decide_administration", "account_.held", "False"),),
        caught_by=ACCOUNT_TESTS + "test_an_account_with_a_balance_of_0_and_a_hold_is_not_closed",
    ),
    Mutant(
        name="quorum timer of the last leadership",
        what="a new leader steps down a tick after it was elected",
        edits=(Edit("Raft._become_leader", "self._quorum_timer.reset()", "pass"),),
        caught_by="tests/raft/test_check_quorum.py::test_a_new_leader_has_a_whole_timeout_to_get_answers",
    ),
    Mutant(
        name="timer reset by what fits only",
        what="a follower campaigns under a living leader that looks for where the logs agree",
        edits=(
            Edit("Raft._handle_append_entries", "self._election_timer.reset()", "pass"),
            Edit(
                "Raft._append_new_entries",
                "if not new_entries_: return",
                "self._election_timer.reset()\nif not new_entries_: return",
            ),
        ),
        caught_by="tests/raft/test_timers.py::test_an_append_that_does_not_match_the_log_resets_the_election_timer",
    ),
    Mutant(
        name="bytes of what was cut off",
        what="a log that is cut often believes itself full, and keeps next to nothing in memory",
        edits=(Edit("Log.truncate", "self._bytes -= sum(map(entry_bytes, self._entries[kept_:]))", "pass"),),
        caught_by=LOG_TESTS + "test_truncated_entries_take_no_memory",
    ),
    Mutant(
        name="accounts kept without a bound",
        what="a node's memory grows with every account that was ever used",
        edits=(Edit("LedgerRows.begin_unit", "len(accounts_) > ACCOUNTS_KEPT_MAX", "False"),),
        caught_by=STORE_TESTS + "test_accounts_in_memory_are_bounded_however_many_there_are",
    ),
    Mutant(
        name="held-back queries left at the end",
        what="a node stops without an answer to the queries that it holds back",
        edits=(
            Edit(
                "RequestRouter.close",
                "[*self._held, *self._held_queries, *self._held_changes, *reads_.pop_all()]",
                "[*self._held, *self._held_changes, *reads_.pop_all()]",
            ),
        ),
        caught_by=ROUTER_TESTS + "test_a_node_that_stops_replies_to_requests_held_back",
    ),
    Mutant(
        name="a pause after each end of holds",
        what="a hold that is due soon after another ends late, and its money is refused meanwhile",
        edits=(
            Edit(
                "RequestRouter._end_due_holds",
                "term_, index_ = self._newest_expire\n...\nnow_us_ = self._log_clock.now_us()",
                "term_, index_ = self._newest_expire\n...\n"
                "now_us_ = self._log_clock.now_us() - 20000 * bool(index_)",
            ),
        ),
        caught_by=DUE_TESTS + "test_a_hold_that_is_due_soon_after_another_ends_on_time",
    ),
    Mutant(
        name="ended again and again",
        what="a leader proposes to end the same holds in every iteration until the first entry is applied",
        edits=(
            Edit(
                "RequestRouter._end_due_holds",
                "term_ == self._core.term and index_ > self._ledger.applied_index",
                "False",
            ),
        ),
        caught_by=DUE_TESTS + "test_what_is_due_is_not_ended_again_while_that_is_under_way",
    ),
    Mutant(
        name="end of holds lost with the leadership",
        what="a leader waits for the end of holds that it proposed in an older term and that was replaced",
        edits=(Edit("RequestRouter._end_due_holds", "term_ == self._core.term", "True"),),
        caught_by=DUE_TESTS + "test_a_leader_of_another_term_ends_what_the_one_before_may_have_lost",
    ),
    Mutant(
        name="reversal of a hold not found",
        what="a client is told that the hold never will be, and it stands",
        edits=(Edit("decide_reverse", 'original_.asked.op == "hold"', "False"),),
        caught_by=HELD_TESTS + "test_the_reversal_of_a_hold_releases_it_once_and_for_all",
    ),
    Mutant(
        name="reversal of a hold not kept",
        what="a hold can be reversed, and no receipt says by whom",
        edits=(Edit("_reverse_hold", "unit_.reversals[hold_.id] = command_.id", "pass"),),
        caught_by=HELD_TESTS + "test_the_reversal_of_a_hold_releases_it_once_and_for_all",
    ),
    Mutant(
        name="reversal of a part of a hold",
        what="a reversal of a part, or of more than was held, releases all of it",
        edits=(
            Edit(
                "_reverse_hold",
                "outcome_ is OK and command_.amount not in (None, hold_.left)",
                "False",
            ),
        ),
        caught_by=HELD_TESTS + "test_a_hold_is_reversed_as_a_whole_or_not_at_all",
    ),
    Mutant(
        name="a cut-off term stays",
        what="a log that was cut finds the last index of a term it does not have",
        edits=(Edit("Log.truncate", "self._run_starts[-1] >= first_", "self._run_starts[-1] > first_"),),
        caught_by="tests/raft/test_log.py::test_a_term_whose_entries_are_all_truncated_is_gone_from_the_log",
    ),
    Mutant(
        name="a slice below its bound",
        what="an append carries an entry less than it may",
        edits=(Edit("Log.slice", "total_bytes_ > bytes_max_", "total_bytes_ >= bytes_max_"),),
        caught_by="tests/raft/test_log.py::test_a_slice_may_have_all_the_bytes_that_are_allowed_and_no_more",
    ),
    Mutant(
        name="all of the memory released",
        what="a follower a little behind is served from the disk",
        edits=(Edit("Log.evict", "bytes_max_ // 2", "0"),),
        caught_by="tests/raft/test_log.py::test_entries_over_the_bound_are_evicted_down_to_half_of_it",
    ),
    Mutant(
        name="last entry evicted",
        what="the newest entry is evicted, and the next time stamp does not rise above its own",
        edits=(Edit("Log.evict", "self.last_index - 1", "self.last_index"),),
        caught_by="tests/raft/test_log.py::test_entries_over_the_bound_are_evicted_down_to_half_of_it",
    ),
    Mutant(
        name="evicted bytes still counted",
        what="a log that has evicted entries once does so in every iteration",
        edits=(Edit("Log._evict", "self._bytes -= ...", "pass"),),
        caught_by="tests/raft/test_log.py::test_entries_over_the_bound_are_evicted_down_to_half_of_it",
    ),
    Mutant(
        name="election timer of the pre-votes",
        what="a candidate gives its election up before the votes can come",
        edits=(Edit("Raft._become", "election_timer_.reset()", "pass"),),
        caught_by="tests/raft/test_timers.py::test_a_candidate_has_a_whole_timeout_to_be_elected",
    ),
    Mutant(
        name="match of a lost disk",
        what="a server whose disk was lost is said to have what it lost",
        edits=(
            Edit("Raft.demote", "progress_[node_id_] = Progress(next_index=self.last_index + 1)", "pass"),
        ),
        caught_by="tests/raft/test_pipeline.py::test_a_server_with_a_wiped_disk_has_a_match_index_of_0",
    ),
    Mutant(
        name="late refusal heeded",
        what="an old refusal has everything in flight sent once more",
        edits=(
            Edit(
                "Progress.refused",
                "refused_index_ <= self.match_index or other_",
                "other_",
            ),
        ),
        caught_by="tests/raft/test_pipeline.py::test_a_late_refusal_does_not_stop_the_pipeline",
    ),
    Mutant(
        name="commits sent with heartbeats only",
        what="ledgers of an idle cluster are behind for a heartbeat in place of a tick",
        edits=(Edit("Raft._tick_leader", "progress_.sent_this_tick = False", "pass"),),
        caught_by="tests/raft/test_pipeline.py::test_followers_learn_of_each_commit_with_the_next_tick",
    ),
    Mutant(
        name="hint at what is committed",
        what="a leader probes at an entry that cannot differ",
        edits=(
            Edit(
                "conflict_hint",
                "max(log_.first_index_of_run(prev_log_index_), commit_index_ + 1)",
                "max(log_.first_index_of_run(prev_log_index_), commit_index_)",
            ),
        ),
        caught_by="tests/raft/test_replication.py::test_the_refusal_never_hints_at_what_is_committed",
    ),
    Mutant(
        name="first microsecond of the day",
        what="a withdrawal at midnight is not returned to the day's limit",
        edits=(
            Edit(
                "Account.counts",
                "self.counted_from_us <= withdrawn_us_",
                "self.counted_from_us < withdrawn_us_",
            ),
        ),
        caught_by="tests/ledger/test_daily_limit.py::test_a_withdrawal_at_the_first_microsecond_of_a_day_counts_for_that_day",
    ),
    Mutant(
        name="overdraft a cent less",
        what="cash that has left is not posted although the balance could be written",
        edits=(Edit("funds", "left_ < -BALANCE_MINOR_MAX", "left_ <= -BALANCE_MINOR_MAX"),),
        caught_by="tests/ledger/test_posting.py::test_a_late_posting_leaves_what_can_be_written_exactly_and_no_less",
    ),
    Mutant(
        name="fault of the file forgotten",
        what="a ledger goes on after a write that may have failed halfway",
        edits=(
            Edit(
                "Database._faults",
                "self._fault = self._fault_of(error_); raise self._fault from error_",
                "raise self._fault_of(error_) from error_",
            ),
        ),
        caught_by="tests/ledger/test_store_bad_files.py::test_after_a_fault_the_ledger_does_nothing_more_until_it_is_opened_anew",
    ),
    Mutant(
        name="a problem too many",
        what="an audit's answer grows beyond a frame",
        edits=(Edit("_Audit._report", "len(problems_) < PROBLEMS_MAX", "len(problems_) <= PROBLEMS_MAX"),),
        caught_by="tests/ledger/test_audit.py::test_problems_beyond_the_bound_are_only_counted",
    ),
    Mutant(
        name="pending requests unanswered at the end",
        what="a node stops without an answer to pending requests",
        edits=(Edit("RunLoop.ending", "self._router.close()", "pass"),),
        caught_by="tests/server/test_run_loop.py::test_a_node_that_stops_replies_to_waiting_requests_and_sends_the_replies",
    ),
    Mutant(
        name="last answers not sent",
        what="a node stops with its last answers gathered and not sent",
        edits=(Edit("RunLoop.ending", "self._flush()", "pass"),),
        caught_by="tests/server/test_run_loop.py::test_a_node_that_stops_replies_to_waiting_requests_and_sends_the_replies",
    ),
    Mutant(
        name="iteration without a bound",
        what="a core that always has more work keeps ticks and messages waiting",
        edits=(
            Edit(
                "RunLoop.iterate",
                "raft_.ready() if performed_ < READIES_PER_ITERATION_MAX else None",
                "raft_.ready()",
            ),
        ),
        caught_by="tests/server/test_run_loop.py::test_a_core_that_always_has_more_to_do_does_not_delay_inputs",
    ),
    Mutant(
        name="queries under way without a bound",
        what="queries that no majority confirms fill the memory",
        edits=(
            Edit(
                "RequestRouter._read",
                'self._refuse(queries_[room_:], "busy", "too many queries are under way")',
                "room_ = len(queries_)",
            ),
        ),
        caught_by="tests/server/test_request_router.py::test_too_many_queries_under_way_are_busy",
    ),
    Mutant(
        name="hints heeded in the first round only",
        what="a client that lived through an election asks at random though it is told the leader",
        edits=(Edit("Attempt.steps", "tried_ = {node_}", "pass"),),
        caught_by="tests/client/test_retrying.py::test_a_leader_that_is_named_after_a_round_over_all_is_asked_next",
    ),
    Mutant(
        name="servers that are down dialled in a loop",
        what="a client takes a whole processor while the bank is down",
        edits=(
            Edit(
                "Attempt.steps",
                "answer_ is not None or round_is_over_",
                "answer_ is not None",
            ),
        ),
        caught_by="tests/client/test_retrying.py::test_servers_that_are_down_are_not_dialled_without_a_pause",
    ),
    Mutant(
        name="connection made during the close",
        what="a closed client keeps a connection open",
        edits=(Edit("Pool.take", "connection_.close()", "pass"),),
        caught_by="tests/client/test_connections.py::test_a_connection_that_is_made_while_the_client_closes_is_closed",
    ),
    Mutant(
        name="forwarded requests left at the end",
        what="a follower stops without an answer to the requests that it forwarded",
        edits=(
            Edit(
                "RequestRouter.close", 'self._end_forwarded(forwarded_.pop_all(), "the node stops")', "pass"
            ),
        ),
        caught_by="tests/server/test_request_router.py::test_a_follower_that_stops_replies_to_the_requests_it_forwarded",
    ),
    Mutant(
        name="forwarded requests given up early",
        what="a request is called unknown while its answer is on its way",
        edits=(Edit("ForwardedRequests.pop_expired", "deadline_s_ > now_s_", "deadline_s_ > now_s_ + 1"),),
        caught_by="tests/server/test_request_router.py::test_a_forwarded_request_has_its_whole_time",
    ),
    Mutant(
        name="redirections printed again",
        what="with -v a node prints in every iteration what it ever redirected",
        edits=(Edit("RequestRouter.notice_changes", "self._redirected = 0", "pass"),),
        caught_by="tests/server/test_request_router.py::test_each_redirected_request_is_printed_once",
    ),
    Mutant(
        name="the log's time not heeded",
        what="no hold ends under a leader whose clock is behind, until that clock has caught up",
        edits=(Edit("RequestRouter.accept", "log_clock_.observe(self._core.last_time_us)", "pass"),),
        caught_by="tests/server/test_router_over_ledger.py::test_a_leader_whose_clock_is_behind_the_log_judges_by_the_logs_time",
    ),
    Mutant(
        name="a problem of one kind too few",
        what="a check reports one problem less than it may",
        edits=(Edit("_Audit._of_one_check", "left_ >= 0", "left_ > 0"),),
        caught_by="tests/ledger/test_audit.py::test_problems_beyond_the_bound_are_only_counted",
    ),
    Mutant(
        name="slow servers never given more time",
        what="a client asks again and again just before a slow bank would have answered",
        edits=(Edit("Attempt._judged", "self.timeouts += 1", "pass"),),
        caught_by="tests/client/test_retrying.py::test_servers_that_answer_slowly_are_given_more_time_with_each_try",
    ),
)
