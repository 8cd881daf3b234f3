"""Planted defects of the core's parts: membership, progress, reads, and what is checked of all of it."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

OF_MEMBERSHIP = "tests/raft/test_membership.py::"
OF_INVARIANTS = "tests/raft/test_invariants.py::"

CORE = (
    Mutant(
        name="a learner counted",
        what="a server that lost its disk votes, acknowledges and confirms reads like any other",
        edits=(Edit("Majority.of", "frozenset(servers_).difference(uncounted_)", "frozenset(servers_)"),),
        caught_by=OF_MEMBERSHIP + "test_a_majority_is_more_than_half_of_the_voters",
    ),
    Mutant(
        name="a demotion shrinks the majority",
        what="with one of three servers demoted, one of the others would be enough",
        edits=(
            Edit(
                "Majority.of",
                "cls(counted_, len(frozenset(servers_)) // 2 + 1)",
                "cls(counted_, len(counted_) // 2 + 1)",
            ),
        ),
        caught_by=OF_MEMBERSHIP + "test_a_majority_is_more_than_half_of_the_voters",
    ),
    Mutant(
        name="a pipeline of probes",
        what="a leader that probes for where the logs agree sends many appends, all refused",
        edits=(
            Edit(
                "Progress.accepts_entries",
                "1 if self.state is ProgressState.PROBE else window_batches_",
                "window_batches_",
            ),
        ),
        caught_by="tests/raft/test_transcripts.py::test_a_transcript_tells_what_happens",
    ),
    Mutant(
        name="in-flight limit stays full",
        what="appends in flight before a refusal still count, though no answer will come",
        edits=(Edit("Progress._become", "in_flight_.clear()", "pass"),),
        caught_by="tests/raft/test_transcripts.py::test_a_transcript_tells_what_happens",
    ),
    Mutant(
        name="a read confirmed by an older round",
        what="a read is answered because a majority echoed a heartbeat from before it came in",
        edits=(Edit("ReadIndex.begin_round", "self.round += 1", "self.round = max(1, self.round)"),),
        caught_by="tests/raft/test_reads.py::test_late_echoes_do_not_confirm_a_newer_read",
    ),
    Mutant(
        name="a commit index that goes back unseen",
        what="the checked core does not compare the commit index with the last one",
        edits=(
            Edit("check_change", "raft_.commit_index >= before_.commit_index", "raft_.commit_index >= 0"),
        ),
        caught_by=OF_INVARIANTS + "test_a_broken_invariant_of_a_change_is_named",
    ),
    Mutant(
        name="a second vote unseen",
        what="the checked core lets a vote change within a term",
        edits=(Edit("_check_change_in_term", "before_.voted_for in (None, raft_.voted_for)", "True"),),
        caught_by=OF_INVARIANTS + "test_a_broken_invariant_of_a_change_is_named",
    ),
    Mutant(
        name="a cut without a conflict unseen",
        what="the checked core lets a log lose entries that nothing replaces",
        edits=(
            Edit(
                "_check_cut",
                "conflicts_ = log_.term_at(index_) != before_.term_at(index_)",
                "conflicts_ = True",
            ),
        ),
        caught_by=OF_INVARIANTS + "test_a_broken_invariant_of_a_change_is_named",
    ),
    Mutant(
        name="a leader that cuts its log unseen",
        what="the checked core does not know that a leader only appends",
        edits=(Edit("_check_cut", "not leads_", "True"),),
        caught_by=OF_INVARIANTS + "test_a_broken_invariant_of_a_change_is_named",
    ),
    Mutant(
        name="a commit without a majority unseen",
        what="the checked core does not count who has saved what a leader commits",
        edits=(
            Edit(
                "_check_leader_change",
                "raft_.commit_index <= agreed_index_",
                "raft_.commit_index <= raft_.last_index",
            ),
        ),
        caught_by=OF_INVARIANTS + "test_a_broken_invariant_of_a_change_is_named",
    ),
    Mutant(
        name="a role out of nowhere unseen",
        what="the checked core lets a pre-candidate become a candidate of the same term",
        edits=(Edit("_reachable_in_a_term", "TRANSITIONS.keys() - RAISE_THE_TERM", "TRANSITIONS.keys()"),),
        caught_by=OF_INVARIANTS + "test_a_broken_invariant_of_a_change_is_named",
    ),
    Mutant(
        name="no look after a message",
        what="the checked core looks at itself at the next tick only, after what is wrong was sent",
        edits=(Edit("CheckedRaft.step", "self._check(...)", "pass"),),
        caught_by=OF_INVARIANTS + "test_every_call_is_checked",
    ),
    Mutant(
        name="--check-invariants ignored",
        what="a node that was asked to look at itself runs the core that does not",
        edits=(Edit("recovery:recover", "CheckedRaft if check_invariants_ else Raft", "Raft"),),
        caught_by="tests/server/test_main.py::test_a_broken_invariant_stops_a_node_that_was_asked_to_check",
    ),
)
