"""Planted defects of the core's parts: membership, progress, reads, and what is checked of all of it."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

MEMBERSHIP = "atm/raft/membership.py"
PROGRESS = "atm/raft/progress.py"
INVARIANTS = "atm/raft/invariants.py"
CHECKED = "atm/raft/checked.py"
OF_MEMBERSHIP = "tests/raft/test_membership.py::"
OF_INVARIANTS = "tests/raft/test_invariants.py::"

CORE = (
    Mutant(
        name="a learner counted",
        what="a server that lost its disk votes, acknowledges and confirms reads like any other",
        file=MEMBERSHIP,
        edits=(("frozenset(servers).difference(uncounted), len", "frozenset(servers), len"),),
        caught_by=OF_MEMBERSHIP + "test_a_majority_is_more_than_half_of_each_set",
    ),
    Mutant(
        name="a demotion shrinks the majority",
        what="with one of three servers demoted, one of the others would be enough",
        file=MEMBERSHIP,
        edits=(("len(frozenset(servers)) // 2", "len(frozenset(servers).difference(uncounted)) // 2"),),
        caught_by=OF_MEMBERSHIP + "test_a_majority_is_more_than_half_of_each_set",
    ),
    Mutant(
        name="a joint majority of the new half alone",
        what="while the voters change, the new ones decide without the old",
        file=MEMBERSHIP,
        edits=(("self.old.has(answered) and self.new.has(answered)", "self.new.has(answered)"),),
        caught_by=OF_MEMBERSHIP + "test_a_majority_is_more_than_half_of_each_set",
    ),
    Mutant(
        name="a value that one half has reached",
        what="while the voters change, an entry is committed that a majority of one set has",
        file=MEMBERSHIP,
        edits=(("min(self.old.reached(values)", "max(self.old.reached(values)"),),
        caught_by=OF_MEMBERSHIP + "test_a_value_is_reached_if_a_majority_has_it",
    ),
    Mutant(
        name="a pipeline of probes",
        what="a leader that looks for where the logs agree sends a window of appends, all refused",
        file=PROGRESS,
        edits=(("(1 if self.state is ProgressState.PROBE else window_batches)", "window_batches"),),
        caught_by="tests/raft/test_transcripts.py::test_a_transcript_tells_what_happens",
    ),
    Mutant(
        name="a window that stays full",
        what="what was in flight before a refusal is waited for, though nobody will answer it",
        file=PROGRESS,
        edits=(("        self.state = state\n        self.in_flight.clear()", "        self.state = state"),),
        caught_by="tests/raft/test_transcripts.py::test_a_transcript_tells_what_happens",
    ),
    Mutant(
        name="a read confirmed by an older round",
        what="a read is answered because a majority echoed a heartbeat from before it came in",
        file="atm/raft/read_index.py",
        edits=(("            self.round += 1\n", "            self.round = max(1, self.round)\n"),),
        caught_by="tests/raft/test_reads.py::test_late_echoes_do_not_confirm_a_newer_read",
    ),
    Mutant(
        name="a commit index that goes back unseen",
        what="the checked core does not compare the commit index with the last one",
        file=INVARIANTS,
        edits=(("raft.commit_index >= before.commit_index", "raft.commit_index >= 0"),),
        caught_by=OF_INVARIANTS + "test_what_cannot_have_come_about_is_named",
    ),
    Mutant(
        name="a second vote unseen",
        what="the checked core lets a vote change within a term",
        file=INVARIANTS,
        edits=(("before.voted_for in (None, raft.voted_for), raft", "True, raft"),),
        caught_by=OF_INVARIANTS + "test_what_cannot_have_come_about_is_named",
    ),
    Mutant(
        name="a cut without a conflict unseen",
        what="the checked core lets a log lose entries that nothing replaces",
        file=INVARIANTS,
        edits=(("conflicts = log.term_at(index) != before.term_at(index)", "conflicts = True"),),
        caught_by=OF_INVARIANTS + "test_what_cannot_have_come_about_is_named",
    ),
    Mutant(
        name="a leader that cuts its log unseen",
        what="the checked core does not know that a leader only appends",
        file=INVARIANTS,
        edits=(("_require(not leads, raft", "_require(True, raft"),),
        caught_by=OF_INVARIANTS + "test_what_cannot_have_come_about_is_named",
    ),
    Mutant(
        name="a commit without a majority unseen",
        what="the checked core does not count who has saved what a leader commits",
        file=INVARIANTS,
        edits=(("raft.commit_index <= agreed_index", "raft.commit_index <= raft.last_index"),),
        caught_by=OF_INVARIANTS + "test_what_cannot_have_come_about_is_named",
    ),
    Mutant(
        name="a role out of nowhere unseen",
        what="the checked core lets a pre-candidate become a candidate of the same term",
        file="atm/raft/transitions.py",
        edits=(("TRANSITIONS.keys() - {RAISES_THE_TERM}", "TRANSITIONS.keys()"),),
        caught_by=OF_INVARIANTS + "test_what_cannot_have_come_about_is_named",
    ),
    Mutant(
        name="no look after a message",
        what="the checked core looks at itself at the next tick only, after what is wrong was sent",
        file=CHECKED,
        edits=(
            (
                "        rejection = super().step(message)\n        self._check()\n",
                "        rejection = super().step(message)\n",
            ),
        ),
        caught_by=OF_INVARIANTS + "test_every_call_looks",
    ),
    Mutant(
        name="--check-invariants ignored",
        what="a node that was asked to look at itself runs the core that does not",
        file="atm/server/group/recovery.py",
        edits=(("(CheckedRaft if check_invariants else Raft)(", "Raft("),),
        caught_by="tests/server/test_main.py::test_a_broken_invariant_stops_a_node_that_was_asked_to_check",
    ),
)
