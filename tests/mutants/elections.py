"""Planted defects of elections: votes, terms, majorities and leases."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

RAFT = "atm/raft/raft.py"
TESTS = "tests/raft/test_elections.py::"

ELECTIONS = (
    Mutant(
        name="vote twice in a term",
        what="the vote already given is not looked at, so two candidates may win one term",
        file="atm/raft/voter.py",
        edits=(
            ("self.voted_for in (None, request.sender)\n", "True\n"),
            ("        assert self.voted_for in (None, candidate)\n", ""),
        ),
        caught_by=TESTS + "test_a_candidate_that_falls_back_keeps_its_vote",
    ),
    Mutant(
        name="vote forgotten by a restart",
        what="the term is read back from the disk and the vote in it is not",
        file=RAFT,
        edits=(("Voter(hard_state.term, hard_state.voted_for)", "Voter(hard_state.term, None)"),),
        caught_by=TESTS + "test_a_vote_outlives_a_crash",
    ),
    Mutant(
        name="vote not saved",
        what="a vote in a term that is known already is not written without entries",
        file="atm/storage/log_file.py",
        edits=(
            (
                "hard_state.term == saved.term and hard_state.voted_for == saved.voted_for:",
                "hard_state.term == saved.term:",
            ),
        ),
        caught_by="tests/storage/test_log_file.py::test_a_vote_or_a_term_alone_survives_a_crash",
    ),
    Mutant(
        name="term not saved",
        what="a new term without a vote in it is not written without entries",
        file="atm/storage/log_file.py",
        edits=(
            (
                "not entries and hard_state.term == saved.term and hard_state.voted_for",
                "not entries and hard_state.voted_for",
            ),
        ),
        caught_by="tests/storage/test_log_file.py::test_a_vote_or_a_term_alone_survives_a_crash",
    ),
    Mutant(
        name="term and vote saved only with entries",
        what="what is to be done without entries does not reach the log file at all",
        file="atm/server/group/perform.py",
        edits=(
            (
                "    log.save(ready.hard_state, ready.entries)\n",
                "    if ready.entries:\n        log.save(ready.hard_state, ready.entries)\n",
            ),
        ),
        caught_by="tests/server/test_perform.py::test_term_and_vote_are_saved_without_entries_too",
    ),
    Mutant(
        name="vote kept across terms",
        what="a new term comes with the vote of the old one",
        file="atm/raft/voter.py",
        edits=(
            ("Voter(term, None)", "Voter(term, self.voted_for)"),
            ("        assert self.voted_for in (None, candidate)\n", ""),
        ),
        caught_by=TESTS + "test_a_new_term_forgets_the_vote_of_the_old",
    ),
    Mutant(
        name="logs not compared in votes",
        what="a candidate gets votes however old its log is",
        file="atm/raft/voter.py",
        edits=((" and log.up_to_date(request.last_log_term, request.last_log_index)", ""),),
        caught_by=TESTS + "test_the_last_term_decides_then_the_last_index",
    ),
    Mutant(
        name="only lengths of logs compared",
        what="the longer log wins, whatever the term of its last entry",
        file="atm/raft/log.py",
        edits=(
            ("(last_term, last_index) >= (self.last_term, self.last_index)", "last_index >= self.last_index"),
        ),
        caught_by=TESTS + "test_the_last_term_decides_then_the_last_index",
    ),
    Mutant(
        name="only last terms compared",
        what="a shorter log of the same last term wins",
        file="atm/raft/log.py",
        edits=(
            ("(last_term, last_index) >= (self.last_term, self.last_index)", "last_term >= self.last_term"),
        ),
        caught_by=TESTS + "test_the_last_term_decides_then_the_last_index",
    ),
    Mutant(
        name="votes of old terms counted",
        what="a vote that was granted for an earlier campaign helps a later one",
        file=RAFT,
        edits=(
            (
                "        if message.term < self.term:\n",
                "        if message.term < self.term and not isinstance(message, RequestVoteResponse):\n",
            ),
            (
                "(response.term, response.pre_vote) == (campaign_term, pre_vote)",
                "response.pre_vote == pre_vote",
            ),
        ),
        caught_by=TESTS + "test_only_real_votes_of_members_in_this_term_count",
    ),
    Mutant(
        name="pre-votes counted as votes",
        what="whoever would vote for a candidate is taken for one who has",
        file=RAFT,
        edits=(
            (
                "(response.term, response.pre_vote) == (campaign_term, pre_vote)",
                "response.term == campaign_term",
            ),
        ),
        caught_by=TESTS + "test_only_real_votes_of_members_in_this_term_count",
    ),
    Mutant(
        name="elect with two of five",
        what="a candidate leads with one vote less than a majority",
        file="atm/raft/candidate.py",
        edits=((">= majority(servers)", ">= max(1, majority(servers) - 1)"),),
        caught_by=TESTS + "test_a_majority_is_more_than_half",
    ),
    Mutant(
        name="half is a majority",
        what="of four servers two are taken for more than half, in elections and for commits",
        file="atm/raft/quorum.py",
        edits=(("servers // 2 + 1", "(servers + 1) // 2"),),
        caught_by=TESTS + "test_a_majority_is_more_than_half",
    ),
    Mutant(
        name="own vote counted before it is durable",
        what="a candidate may lead by a vote that it forgets in a crash",
        file=RAFT,
        edits=(
            (
                "        self._messages_after_sync += self._vote_requests()\n",
                "        self._messages_after_sync += self._vote_requests()\n        self._count_vote(self.node_id)\n",
            ),
        ),
        caught_by=TESTS + "test_a_candidate_whose_own_vote_is_not_saved_has_not_won",
    ),
    Mutant(
        name="no lease in pre-votes",
        what="a server that was cut off gets pre-votes from those who hear their leader, and deposes it",
        file=RAFT,
        edits=(("not self._hears_leader() and self._voter.grants", "self._voter.grants"),),
        caught_by=TESTS + "test_a_follower_that_hears_its_leader_refuses_pre_votes",
    ),
    Mutant(
        name="term of a pre-vote adopted",
        what="a server that only asks makes all others leave their term",
        file=RAFT,
        edits=(("case RequestVote(pre_vote=True) | RequestVoteResponse(", "case RequestVoteResponse("),),
        caught_by=TESTS + "test_a_pre_vote_promises_nothing",
    ),
    Mutant(
        name="no check-quorum",
        what="a leader that hears nobody goes on leading",
        file=RAFT,
        edits=(("return 1 + heard >= majority(self.config.servers)", "return True"),),
        caught_by=TESTS + "test_a_leader_that_hears_no_majority_steps_down",
    ),
    Mutant(
        name="vote of a demoted server counted",
        what="a server that lost its disk votes again, and may have voted for another before",
        file=RAFT,
        edits=((" or self._is_vote_of_learner(message):", ":"),),
        caught_by="tests/raft/test_pipeline.py::test_the_vote_of_a_server_with_a_wiped_disk_is_not_counted",
    ),
    Mutant(
        name="vote given before a demotion counted",
        what="the vote stays in the campaign that is under way when its server is demoted",
        file=RAFT,
        edits=(("                votes.discard(node_id)\n", "                pass\n"),),
        caught_by="tests/raft/test_pipeline.py::test_a_vote_given_before_its_server_was_demoted_is_taken_back",
    ),
    Mutant(
        name="demoted server heard as loyal",
        what="check-quorum counts a server whose acknowledgements do not count",
        file=RAFT,
        edits=(
            (
                "sum(p.heard for node, p in role.progress.items() if node not in self._learners)",
                "sum(p.heard for p in role.progress.values())",
            ),
        ),
        caught_by="tests/raft/test_pipeline.py::test_a_server_with_a_wiped_disk_is_not_counted_but_catches_up",
    ),
    Mutant(
        name="every term resets the election timer",
        what="candidates that cannot win keep the others from ever trying",
        file=RAFT,
        edits=(
            (
                "        if (self.role, role.role) != (Role.FOLLOWER, Role.FOLLOWER):\n"
                "            self._election",
                "        if True:\n            self._election",
            ),
        ),
        caught_by=TESTS + "test_a_new_term_without_a_vote_does_not_reset_the_election_timer",
    ),
)
