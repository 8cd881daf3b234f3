"""Planted defects of reads, and of the way of a request to its answer."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

LEADER = "atm/raft/leader.py"
DESK = "atm/server/group/request_router.py"
WAITING = "atm/server/group/pending_requests.py"
TESTS = "tests/raft/test_reads.py::"
DESK_TESTS = "tests/server/test_request_router.py::"

READS = (
    Mutant(
        name="stale read",
        what="a leader answers a read without making sure that it still leads",
        file=LEADER,
        edits=(("            and self.pending_reads[0][0] <= self.confirmed_round\n", ""),),
        caught_by=TESTS + "test_a_leader_in_a_minority_answers_no_read",
    ),
    Mutant(
        name="read index before the term's first commit",
        what="a new leader reads at a commit index that its predecessor had already passed",
        file=LEADER,
        edits=(("if self.new_reads and commit_index >= self.term_start_index:", "if self.new_reads:"),),
        caught_by=TESTS + "test_a_read_waits_for_the_first_commit_of_the_term",
    ),
    Mutant(
        name="read before what it must see is applied",
        what="a read is answered from a ledger that has not come to its read index",
        file=LEADER,
        edits=(("            and self.pending_reads[0][1].index <= applied_index\n", ""),),
        caught_by=TESTS + "test_a_read_waits_until_what_it_must_see_is_applied",
    ),
    Mutant(
        name="read joins a round that is under way",
        what="echoes of heartbeats from before a read confirm it",
        file=LEADER,
        edits=(("            self.round += 1\n", "            self.round = max(self.round, 1)\n"),),
        caught_by=TESTS + "test_late_echoes_do_not_confirm_a_newer_read",
    ),
    Mutant(
        name="answer to an old append echoes its round",
        what="an append of an earlier leadership that comes late confirms a read of this one",
        file="atm/raft/raft.py",
        edits=(("append.round if append.term == self.term else 0", "append.round"),),
        caught_by=TESTS + "test_a_late_append_of_an_earlier_leadership_does_not_confirm_a_read_of_this_one",
    ),
    Mutant(
        name="demoted server confirms reads",
        what="a server that lost its disk vouches for a leadership",
        file=LEADER,
        edits=(
            (
                "[p.round_echoed for node, p in self.progress.items() if node not in learners]",
                "[p.round_echoed for p in self.progress.values()]",
            ),
        ),
        caught_by=TESTS + "test_a_server_with_a_wiped_disk_confirms_no_read",
    ),
    Mutant(
        name="reads answered before the turn's entries are applied",
        what="a read is answered from the ledger as it was before what it must see",
        file="atm/server/group/perform.py",
        edits=(
            ("    if ready.committed:\n", "    clients.answer_reads(ready.reads)\n    if ready.committed:\n"),
            ("    clients.answer_reads(ready.reads)\n    clients.drop_reads", "    clients.drop_reads"),
        ),
        caught_by="tests/server/test_perform.py::test_messages_go_before_the_save_and_promises_after_it",
    ),
    Mutant(
        name="answer matched by index alone",
        what="a teller gets the result of another's command that took the place of his",
        file=WAITING,
        edits=(("(found[0] == entry.term, found[1])", "(True, found[1])"),),
        caught_by=DESK_TESTS + "test_another_entry_at_the_index_answers_unknown_and_never_its_own_result",
    ),
    Mutant(
        name="forwarding numbers used again",
        what="the leader's answer to one teller's request goes to another teller",
        file=WAITING,
        edits=(("        self._next_number += len(numbered)\n", ""),),
        caught_by=DESK_TESTS + "test_each_answer_of_the_leader_goes_to_whom_it_is_for",
    ),
    Mutant(
        name="forwarding reply to the wrong client",
        what="of requests that are passed on together, each answer goes to the one who asked first",
        file=DESK,
        edits=(
            (
                "            asked = self._forwarded.pop(number)\n            if asked is not None:\n",
                "            asked = self._forwarded.pop(min(self._forwarded._waiting, default=number))\n"
                "            if asked is not None:\n",
            ),
        ),
        caught_by=DESK_TESTS + "test_each_answer_of_the_leader_goes_to_whom_it_is_for",
    ),
    Mutant(
        name="answers given back to a peer that has started anew",
        what="a number that meant one request to the old process means another to the new one",
        file="atm/server/peers/peer_connection.py",
        edits=(
            (
                "        if self.open:\n            self._links",
                "        if True:\n            self._links",
            ),
        ),
        caught_by="tests/server/test_peer_server.py::test_an_answer_is_given_back_only_while_the_connection_that_asked_stands",
    ),
    Mutant(
        name="unknown told as certainly not done",
        what="a teller whose command may have been done is told that it was not, and does it again",
        file=DESK,
        edits=(("            if isinstance(asked.request, Read):\n", "            if True:\n"),),
        caught_by=DESK_TESTS + "test_what_was_passed_on_and_not_answered_is_unknown",
    ),
    Mutant(
        name="lost answer told as not done",
        what="a client says that a request is not done although it was sent and may have arrived",
        file="atm/client/client.py",
        edits=(
            (
                "            self._route.failed(node)\n            self._note_unknown(course)\n",
                "            self._route.failed(node)\n",
            ),
        ),
        caught_by="tests/client/test_client.py::test_when_an_answer_is_lost_and_none_comes_later_the_outcome_is_unknown",
    ),
)
