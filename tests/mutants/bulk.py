"""Planted defects of many commands at once, and of imports."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

SUBMIT_TESTS = "tests/client/test_submit.py::"
WINDOW_TESTS = "tests/office/test_windows.py::"
IMPORT_TESTS = "tests/office/test_bulk_import.py::"

BULK = (
    Mutant(
        name="receipts as they came",
        what="a receipt is taken for that of another command, which was answered at another time",
        edits=(
            Edit(
                "PipelinedAttempt.steps",
                "[bulk_.replies[request_.id] for request_ in self.requests]",
                "list(bulk_.replies.values())",
            ),
        ),
        caught_by=SUBMIT_TESTS + "test_all_are_sent_before_the_first_is_answered",
    ),
    Mutant(
        name="an answer nobody waits for",
        what="what a server says under an id that is not under way is believed",
        edits=(
            Edit(
                "Bulk.take",
                "self._in_flight.pop(answer_.id, None)",
                "self._in_flight.pop(answer_.id, None) or next(iter(self._in_flight.values()))",
            ),
            Edit("Bulk._take_reply", "del self._waiting[answer_.id]", "self._waiting.pop(answer_.id, None)"),
        ),
        caught_by=SUBMIT_TESTS + "test_an_answer_belongs_to_the_request_with_its_id_and_to_no_other",
    ),
    Mutant(
        name="asked again under a new id",
        what="a command whose answer was lost is done twice",
        edits=(
            Edit(
                "Bulk.begin_try",
                "deque(self._waiting.values())",
                """deque(
                    _asked(__import__("msgspec").structs.replace(object.request, id=f"{object.request.id}-2"))
                    for object in self._waiting.values()
                )""",
            ),
        ),
        caught_by=SUBMIT_TESTS + "test_what_is_not_answered_is_asked_again_under_its_id_at_another_node",
    ),
    Mutant(
        name="lost is not done",
        what="a command that was under way when the connection broke is called certainly not done",
        edits=(Edit("Bulk.end_try", "not none_was_taken_", "False"),),
        caught_by=SUBMIT_TESTS + "test_what_may_be_done_stays_unknown_until_it_is_answered",
    ),
    Mutant(
        name="all or nothing",
        what="where some are decided and others are not, the bank is called not available",
        edits=(
            Edit("Bulk.changed_something", "bool(self.replies)", "False"),
            Edit("Bulk.changed_something", "bool(self.unknown)", "False"),
        ),
        caught_by=SUBMIT_TESTS + "test_what_is_decided_what_may_be_and_what_is_not_is_told_apart",
    ),
    Mutant(
        name="more than a server takes",
        what="more is sent on a connection than a server takes, and much of it is refused as busy",
        edits=(Edit("Bulk.next_frames", "self._unsent[0].slots <= self._free_slots", "True"),),
        caught_by=SUBMIT_TESTS + "test_no_more_is_under_way_than_a_server_takes_of_a_connection",
    ),
    Mutant(
        name="two under one id",
        what="two commands under one id are sent together, and one of them is never done",
        edits=(Edit("check_ids_differ", "request_.id in ids_", "False"),),
        caught_by=SUBMIT_TESTS + "test_what_cannot_be_submitted_is_refused_before_anything_is_sent",
    ),
    Mutant(
        name="any order within an account",
        what="an import withdraws what has not been paid in yet",
        edits=(Edit("_first_window", "before_ |= touched_", "pass"),),
        caught_by=WINDOW_TESTS + "test_requests_about_one_account_keep_their_order",
    ),
    Mutant(
        name="reversal beside its original",
        what="an import reverses what has not been booked yet, which is then declined for ever",
        edits=(
            Edit(
                "_touched",
                'frozenset((own_, f" {named_}", *request_.accounts))',
                "frozenset((own_, *request_.accounts))",
            ),
        ),
        caught_by=WINDOW_TESTS
        + "test_a_reversal_of_a_payment_between_the_banks_own_accounts_waits_for_it_too",
    ),
    Mutant(
        name="nobody waits for a posting of a hold",
        what="an import does what comes behind a posted hold before it",
        edits=(
            Edit(
                "_touched",
                "if not request_.accounts: return None",
                "if not request_.accounts: return frozenset((request_.command.id,))",
            ),
        ),
        caught_by=WINDOW_TESTS
        + "test_what_only_names_another_request_waits_for_all_before_it_and_all_behind_it_wait",
    ),
    Mutant(
        name="booked again",
        what="what an earlier import has booked is counted as booked now",
        edits=(Edit("BulkImport._count_all", "receipt_.log_index > newest_", "True"),),
        caught_by=IMPORT_TESTS
        + "test_what_was_booked_before_behind_something_new_is_told_apart_by_its_log_entry",
    ),
    Mutant(
        name="any contents will do",
        what="an import skips a request because another one has its id",
        edits=(
            Edit(
                "BulkImport._not_known",
                "is_done(...) and found_.asked == contents_of(request_.command)",
                "found_.asked is not None",
            ),
        ),
        caught_by=IMPORT_TESTS + "test_a_request_under_an_id_that_has_other_contents_is_sent_and_refused",
    ),
)
