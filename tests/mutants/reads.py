"""Planted defects of reads, and of the way of a request to its answer."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

TESTS = "tests/raft/test_reads.py::"
DESK_TESTS = "tests/server/test_request_router.py::"

READS = (
    Mutant(
        name="stale read",
        what="a leader answers a read without making sure that it still leads",
        edits=(Edit("ReadIndex.take_confirmed", "self.pending[0][0] <= self.confirmed_round", "True"),),
        caught_by=TESTS + "test_a_leader_in_a_minority_answers_no_read",
    ),
    Mutant(
        name="read index before the term's first commit",
        what="a new leader reads at a commit index that its predecessor had already passed",
        edits=(Edit("ReadIndex.begin_round", "commit_index_ >= term_start_index_", "True"),),
        caught_by=TESTS + "test_a_read_waits_for_the_first_commit_of_the_term",
    ),
    Mutant(
        name="read before what it must see is applied",
        what="a read is answered from a ledger that has not come to its read index",
        edits=(Edit("ReadIndex.take_confirmed", "self.pending[0][1].index <= applied_index_", "True"),),
        caught_by=TESTS + "test_a_read_waits_until_what_it_must_see_is_applied",
    ),
    Mutant(
        name="read joins a round that is under way",
        what="echoes of heartbeats from before a read confirm it",
        edits=(Edit("ReadIndex.begin_round", "self.round += 1", "self.round = max(self.round, 1)"),),
        caught_by=TESTS + "test_late_echoes_do_not_confirm_a_newer_read",
    ),
    Mutant(
        name="answer to an old append echoes its round",
        what="an append of an earlier leadership that comes late confirms a read of this one",
        edits=(
            Edit(
                "Raft._respond_to_append",
                "append_.round if append_.term == self.term else 0",
                "append_.round",
            ),
        ),
        caught_by=TESTS + "test_a_late_append_of_an_earlier_leadership_does_not_confirm_a_read_of_this_one",
    ),
    Mutant(
        name="reads answered before the iteration's entries are applied",
        what="a read is answered from the ledger as it was before what it must see",
        edits=(
            Edit(
                "perform",
                """
                if ready_.committed:
                    ...
                clients_.answer_reads(reads_)
                """,
                """
                clients_.answer_reads(reads_)
                if ready_.committed:
                    ...
                """,
            ),
        ),
        caught_by="tests/server/test_perform.py::test_messages_go_before_the_save_and_promises_after_it",
    ),
    Mutant(
        name="answer matched by index alone",
        what="a client gets the result of another command that replaced its own",
        edits=(Edit("Proposals.pop", "found_[0] == entry_.term", "True"),),
        caught_by=DESK_TESTS + "test_another_entry_at_the_index_answers_unknown_and_never_its_own_result",
    ),
    Mutant(
        name="forwarding numbers used again",
        what="the leader's answer to one client's request goes to another client",
        edits=(Edit("ForwardedRequests.add", "self._next_number += len(numbered_)", "pass"),),
        caught_by=DESK_TESTS + "test_each_reply_of_the_leader_goes_to_the_request_with_its_number",
    ),
    Mutant(
        name="forwarding reply to the wrong client",
        what="of requests that are forwarded together, each answer goes to the first client",
        edits=(
            Edit(
                "RequestRouter._deliver_replies",
                "forwarded_.pop(number_)",
                "forwarded_.pop(min(forwarded_._pending, default=number_))",
            ),
        ),
        caught_by=DESK_TESTS + "test_each_reply_of_the_leader_goes_to_the_request_with_its_number",
    ),
    Mutant(
        name="replies sent to a restarted peer",
        what="a number that meant one request to the old process means another to the new one",
        edits=(Edit("PeerConnection.reply", "self.open", "True"),),
        caught_by="tests/server/test_peer_server.py::test_a_reply_is_sent_only_while_the_connection_of_its_request_is_open",
    ),
    Mutant(
        name="unknown reported as certainly not done",
        what="a client whose command may have been done is told that it was not, and does it again",
        edits=(Edit("without_answer", "isinstance(request_, Read)", "True"),),
        caught_by=DESK_TESTS + "test_a_forwarded_request_without_a_reply_is_unknown",
    ),
    Mutant(
        name="lost answer reported as not done",
        what="a client says that a request is not done although it was sent and may have arrived",
        edits=(
            Edit(
                "Attempt._judged",
                "self.timeouts += 1; self._note_unknown()",
                "self.timeouts += 1",
            ),
        ),
        caught_by="tests/client/test_retrying.py::test_when_an_answer_is_lost_and_none_comes_later_the_outcome_is_unknown",
    ),
)
