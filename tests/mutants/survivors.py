"""Planted defects that no test had noticed when they were first planted: bounds, timers, limits and ends."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

BOOK = "atm/ledger/unit_of_work.py"
DESK = "atm/server/group/request_router.py"
RAFT = "atm/raft/raft.py"
ACCOUNT_TESTS = "tests/ledger/test_accounts.py::"
DESK_TESTS = "tests/server/test_request_router.py::"
DUE_TESTS = "tests/server/test_router_over_ledger.py::"
ELECTION_TESTS = "tests/raft/test_elections.py::"
HELD_TESTS = "tests/ledger/test_reversals.py::"
LOG_TESTS = "tests/raft/test_log.py::"
STORE_TESTS = "tests/ledger/test_store.py::"

SURVIVORS = (
    Mutant(
        name="closed with a hold",
        what="an account with a balance of 0 is closed for ever while cash may still leave by its hold",
        file=BOOK,
        edits=(("if account.balance or account.held:", "if account.balance:"),),
        caught_by=ACCOUNT_TESTS + "test_an_account_with_a_balance_of_0_and_a_hold_is_not_closed",
    ),
    Mutant(
        name="quorum timer of the last leadership",
        what="a new leader steps down a tick after it was elected",
        file=RAFT,
        edits=(("        self._quorum_timer.reset()\n", ""),),
        caught_by=ELECTION_TESTS + "test_a_new_leader_has_a_whole_timeout_to_be_heard",
    ),
    Mutant(
        name="timer reset by what fits only",
        what="a follower campaigns under a living leader that looks for where the logs agree",
        file=RAFT,
        edits=(
            (
                "        self._election_timer.reset()\n        if not _is_sound(append):",
                "        if not _is_sound(append):",
            ),
            (
                "        self._take_entries(append.entries)\n",
                "        self._election_timer.reset()\n        self._take_entries(append.entries)\n",
            ),
        ),
        caught_by=ELECTION_TESTS + "test_an_append_that_does_not_fit_the_log_is_a_sign_of_a_leader",
    ),
    Mutant(
        name="bytes of what was cut off",
        what="a log that is cut often believes itself full, and keeps next to nothing in memory",
        file="atm/raft/log.py",
        edits=(("        self._bytes -= sum(map(entry_bytes, self._entries[kept:]))\n", ""),),
        caught_by=LOG_TESTS + "test_what_is_cut_off_takes_no_memory_any_more",
    ),
    Mutant(
        name="accounts kept without a bound",
        what="a node's memory grows with every account that was ever used",
        file="atm/ledger/rows.py",
        edits=(("if len(self._accounts) > ACCOUNTS_KEPT_MAX:", "if False:"),),
        caught_by=STORE_TESTS + "test_accounts_in_memory_are_bounded_however_many_there_are",
    ),
    Mutant(
        name="held-back queries left at the end",
        what="a node stops without an answer to the queries that it holds back",
        file=DESK,
        edits=(("[*self._held, *self._held_queries, *self", "[*self._held, *self"),),
        caught_by=DESK_TESTS + "test_a_node_that_stops_tells_those_too_whose_requests_are_held_back",
    ),
    Mutant(
        name="a pause after each end of holds",
        what="a hold that is due soon after another ends late, and its money is refused meanwhile",
        file=DESK,
        edits=(
            (
                "            return\n        now_us = self._log_clock.now_us()\n",
                "            return\n        now_us = self._log_clock.now_us() - 20_000 * bool(index)\n",
            ),
        ),
        caught_by=DUE_TESTS + "test_a_hold_that_is_due_soon_after_another_ends_on_time",
    ),
    Mutant(
        name="ended again and again",
        what="a leader proposes to end the same holds in every turn until the first such entry is applied",
        file=DESK,
        edits=((" or (term == self._core.term and index > self._bank.applied_index):", ":"),),
        caught_by=DUE_TESTS + "test_what_is_due_is_not_ended_again_while_that_is_under_way",
    ),
    Mutant(
        name="end of holds lost with the leadership",
        what="a leader waits for the end of holds that it proposed in an older term and that was replaced",
        file=DESK,
        edits=(("term == self._core.term and index > self", "index > self"),),
        caught_by=DUE_TESTS + "test_a_leader_of_another_term_ends_what_the_one_before_may_have_lost",
    ),
    Mutant(
        name="reversal of a hold not found",
        what="a teller hears that the hold never will be, and it stands",
        file=BOOK,
        edits=(('if original.asked.op == "hold" else None', "if False else None"),),
        caught_by=HELD_TESTS + "test_the_reversal_of_a_hold_releases_it_once_and_for_all",
    ),
    Mutant(
        name="reversal of a hold not kept",
        what="a hold can be reversed, and no receipt says by whom",
        file=BOOK,
        edits=(("            self.reversals[hold.id] = command.id\n", ""),),
        caught_by=HELD_TESTS + "test_the_reversal_of_a_hold_releases_it_once_and_for_all",
    ),
    Mutant(
        name="reversal of a part of a hold",
        what="a reversal of a part, or of more than was held, releases all of it",
        file=BOOK,
        edits=(
            (
                "        if outcome is OK and command.amount not in (None, hold.amount):\n",
                "        if False:\n",
            ),
        ),
        caught_by=HELD_TESTS + "test_a_hold_is_reversed_as_a_whole_or_not_at_all",
    ),
)
