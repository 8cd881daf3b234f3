"""Planted defects of the Python client: receipts, addresses, the feed of postings, asyncio."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

ASYNC_TESTS = "tests/client/test_async_client.py::"
MEMBERS_TESTS = "tests/client/test_members_learned.py::"
RECEIPT_TESTS = "tests/client/test_receipts.py::"
WATCH_TESTS = "tests/client/test_watch.py::"

CLIENT = (
    Mutant(
        name="no account is the client",
        what="a program whose variable is None closes its client in place of an account",
        edits=(Edit("NO_ACCOUNT", "object()", "None"),),
        caught_by=RECEIPT_TESTS + "test_closing_no_account_does_not_close_the_client",
    ),
    Mutant(
        name="a reply half believed",
        what="a false server's reply without what was asked for has the type that says it is there",
        edits=(Edit("receipt_of", "kind_of(...) if is_ok_ else Refusal", "Accepted if is_ok_ else Refusal"),),
        caught_by=RECEIPT_TESTS + "test_a_reply_that_lacks_what_was_asked_for_is_none",
    ),
    Mutant(
        name="servers of the start for ever",
        what="a client whose servers were all replaced finds nobody",
        edits=(Edit("learn_members", "isinstance(came_, StatusReply)", "False"),),
        caught_by=MEMBERS_TESTS + "test_a_client_goes_on_when_all_its_servers_were_replaced",
    ),
    Mutant(
        name="members learned only after trouble",
        what="a client whose leader goes on answering does not learn that all others were replaced",
        edits=(
            Edit(
                "Route.members_are_due",
                "LEARN_AGAIN_S if self._has_reason_to_learn else LEARN_EVERY_S",
                "LEARN_AGAIN_S if self._has_reason_to_learn else 10 * LEARN_EVERY_S",
            ),
        ),
        caught_by=MEMBERS_TESTS + "test_members_are_due_now_and_then",
    ),
    Mutant(
        name="older members believed",
        what="a server that lags behind sends a client back to where a member was before",
        edits=(Edit("Route.note_members", "index_ < self._members_index", "False"),),
        caught_by=MEMBERS_TESTS + "test_older_members_than_those_known_are_ignored",
    ),
    Mutant(
        name="around the tunnel",
        what="a client leaves the address that it was given, which answers, for one that it may not reach",
        edits=(Edit("Route._where", "not self._last_failure[member_.name]", "False"),),
        caught_by=MEMBERS_TESTS + "test_a_member_that_answers_where_it_was_given_is_asked_there",
    ),
    Mutant(
        name="PINs in plain text",
        what="a client that was given addresses alone sends PINs to other machines in plain text",
        edits=(Edit("cluster_of", "not is_loopback(...)", "False"),),
        caught_by="tests/client/test_addresses.py::test_wrong_addresses_are_told",
    ),
    Mutant(
        name="cancelled is not done",
        what="nobody learns that a request may be done whose task was cancelled",
        edits=(Edit("AsyncSender._carry_out", "asking_.note_given_up()", "pass"),),
        caught_by=ASYNC_TESTS + "test_a_task_that_is_cancelled_while_it_waits_leaves_the_outcome_unknown",
    ),
    Mutant(
        name="sent just in time is not sent",
        what="a request whose last byte was sent as its time was up is called certainly not done",
        edits=(Edit("async_sender:_send", "Lost(...)", "NotSent(...)"),),
        caught_by=ASYNC_TESTS
        + "test_a_send_that_may_have_been_whole_when_its_time_was_up_is_not_called_not_sent",
    ),
    Mutant(
        name="a connection to nobody",
        what="each task that is cancelled while a server is dialled leaves a connection open",
        edits=(Edit("AsyncSender._connection", "dial_.add_done_callback(...)", "pass"),),
        caught_by=ASYNC_TESTS + "test_a_connection_that_is_made_after_its_task_was_cancelled_is_closed",
    ),
    Mutant(
        name="a feed with a gap",
        what="a feed of postings goes on where one was left out or changed",
        edits=(Edit("feed:_note", "posting_.hash != expected_", "False"),),
        caught_by=WATCH_TESTS + "test_a_posting_that_does_not_follow_the_one_before_is_told",
    ),
    Mutant(
        name="a feed of two banks",
        what="a feed goes on with a bank that was restored from a backup",
        edits=(Edit("Feed.take", "self._cluster not in (None, page_.cluster)", "False"),),
        caught_by=WATCH_TESTS + "test_another_cluster_is_told_even_if_its_journal_begins_alike",
    ),
    Mutant(
        name="a feed ahead of its journal",
        what="a feed waits at the end of a journal that has lost what it told before",
        edits=(Edit("Feed.take", "journal_.hash not in (None, page_.hash)", "False"),),
        caught_by=WATCH_TESTS + "test_a_journal_that_ends_before_the_feed_is_told",
    ),
)
