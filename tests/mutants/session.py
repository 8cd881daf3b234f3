"""Planted defects of what a session at the teller says, offers and leaves behind."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

COMPLETION_TESTS = "tests/teller/test_completion.py::"
JOURNAL_TESTS = "tests/teller/test_journal.py::"
MONEY_TESTS = "tests/teller/test_money_commands.py::"
PAGER_TESTS = "tests/teller/test_pager.py::"

SESSION = (
    Mutant(
        name="request of today carried out without a look",
        what="a request that was done and reversed since is told as done",
        edits=(
            Edit(
                "RequestRunner._settled",
                "found_ = self._look_up(command_)",
                "found_ = self._send(self._with_pin(command_))",
            ),
        ),
        caught_by=JOURNAL_TESTS + "test_a_request_of_today_is_looked_up_before_it_is_asked_again",
    ),
    Mutant(
        name="mistyped reversal leaves a tombstone",
        what="what was mistyped once can never be the reference of a request",
        edits=(
            Edit(
                "Confirmations.confirm_or_refuse",
                "isinstance(command_, Reverse) and not self._tombstones",
                "False",
            ),
        ),
        caught_by=MONEY_TESTS + "test_a_mistyped_reversal_leaves_nothing_behind",
    ),
    Mutant(
        name="reversal that was sent before refused",
        what="a reversal whose answer was lost is refused when it is asked again",
        edits=(Edit("Confirmations._refuse_tombstone", "self._runner.is_unsettled(command_)", "False"),),
        caught_by=JOURNAL_TESTS + "test_a_reversal_that_was_sent_before_is_sent_again_without_a_look",
    ),
    Mutant(
        name="own reference named in a refusal",
        what="`receipt` without a reference says that nothing is known under one that nobody has seen",
        edits=(Edit("sentences:_named_by", "return request_.request_id", "return request_.id"),),
        caught_by=MONEY_TESTS + "test_a_refusal_says_what_to_do",
    ),
    Mutant(
        name="ended hold offered",
        what="Tab offers a hold that was confirmed or cancelled",
        edits=(Edit("SessionState.note_decision", "self._end(command_.hold)", "None"),),
        caught_by=COMPLETION_TESTS
        + "test_only_what_can_be_confirmed_cancelled_or_reversed_is_offered_for_it",
    ),
    Mutant(
        name="expired hold offered",
        what="Tab offers a hold for a reversal whose time has passed",
        edits=(
            Edit(
                "SessionState.references_for",
                "self._reversible_until[reference_] > now_",
                "reference_ in self._reversible_until",
            ),
        ),
        caught_by=COMPLETION_TESTS + "test_a_hold_that_has_ended_can_only_be_confirmed",
    ),
    Mutant(
        name="balance of a time to come as a fact",
        what="the balance of today at midnight is told in the morning",
        edits=(Edit("commands:_is_to_come", "time_us_ > time.time_ns() // 1000", "False"),),
        caught_by="tests/teller/test_statement.py::test_the_balance_of_a_time_to_come_is_told_as_that_so_far",
    ),
    Mutant(
        name="script paged",
        what="`bin/atm -c statement` at a terminal waits for a key",
        edits=(
            Edit(
                "teller.main:_run",
                "interactive_ and arguments_.pager and (not _is_dumb())",
                "arguments_.pager",
            ),
        ),
        caught_by=PAGER_TESTS + "test_a_script_and_a_pipe_have_no_pager",
    ),
    Mutant(
        name="pager that starts a shell",
        what="whoever reads a statement at a teller gets a shell on its machine",
        edits=(Edit("pager:show", "{**os.environ, 'LESSSECURE': '1'}", "os.environ"),),
        caught_by=PAGER_TESTS + "test_the_pager_starts_no_shell_and_ctrl_c_is_its_own",
    ),
    Mutant(
        name="busy server called down",
        what="`status` says nothing of why a server tells no status",
        edits=(
            Edit(
                "node_status:_answers",
                "isinstance(answer_, ErrorReply) and answer_.outcome == BUSY",
                "False",
            ),
        ),
        caught_by="tests/client/test_cluster_status.py::"
        "test_what_a_busy_node_says_is_in_the_status_in_place_of_its_own",
    ),
)
