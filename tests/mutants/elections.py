"""Planted defects of elections: votes, terms, majorities and leases."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

TESTS = "tests/raft/test_ELECTIONS.py::"

ELECTIONS = (
    Mutant(
        name="vote twice in a term",
        what="the vote already given is not looked at, so two candidates may win one term",
        edits=(
            Edit("Voter.grants", "self.voted_for in (None, request_.sender)", "True"),
            Edit("Voter.vote_for", "assert self.voted_for in (None, candidate_)", "pass"),
        ),
        caught_by="tests/raft/test_votes.py::test_a_candidate_that_falls_back_keeps_its_vote",
    ),
    Mutant(
        name="vote forgotten by a restart",
        what="the term is read back from the disk and the vote in it is not",
        edits=(
            Edit(
                "Raft.__init__",
                "Voter(hard_state_.term, hard_state_.voted_for)",
                "Voter(hard_state_.term, None)",
            ),
        ),
        caught_by="tests/raft/test_votes.py::test_a_vote_outlives_a_crash",
    ),
    Mutant(
        name="vote not saved",
        what="a vote in a term that is known already is not written without entries",
        edits=(Edit("LogFile.save", "hard_state_.voted_for == saved_.voted_for", "True"),),
        caught_by="tests/storage/test_log_saving.py::test_a_vote_or_a_term_alone_survives_a_crash",
    ),
    Mutant(
        name="term not saved",
        what="a new term without a vote in it is not written without entries",
        edits=(
            Edit(
                "LogFile.save",
                "not entries_ and hard_state_.term == saved_.term and ...",
                "not entries_ and ...",
            ),
        ),
        caught_by="tests/storage/test_log_saving.py::test_a_vote_or_a_term_alone_survives_a_crash",
    ),
    Mutant(
        name="term and vote saved only with entries",
        what="what is to be done without entries does not reach the log file at all",
        edits=(
            Edit(
                "perform", "log_.save(hard_state_, entries_)", "if entries_: log_.save(hard_state_, entries_)"
            ),
        ),
        caught_by="tests/server/test_perform.py::test_term_and_vote_are_saved_without_entries_too",
    ),
    Mutant(
        name="vote kept across terms",
        what="a new term comes with the vote of the old one",
        edits=(
            Edit("Voter.in_term", "Voter(term_, None)", "Voter(term_, self.voted_for)"),
            Edit("Voter.vote_for", "assert self.voted_for in (None, candidate_)", "pass"),
        ),
        caught_by="tests/raft/test_votes.py::test_a_new_term_forgets_the_vote_of_the_old",
    ),
    Mutant(
        name="logs not compared in votes",
        what="a candidate gets votes however old its log is",
        edits=(Edit("Voter.grants", "log_.up_to_date(...)", "True"),),
        caught_by="tests/raft/test_votes.py::test_the_last_term_decides_then_the_last_index",
    ),
    Mutant(
        name="only lengths of logs compared",
        what="the longer log wins, whatever the term of its last entry",
        edits=(
            Edit(
                "Log.up_to_date",
                "(last_term_, last_index_) >= (self.last_term, self.last_index)",
                "last_index_ >= self.last_index",
            ),
        ),
        caught_by="tests/raft/test_votes.py::test_the_last_term_decides_then_the_last_index",
    ),
    Mutant(
        name="only last terms compared",
        what="a shorter log of the same last term wins",
        edits=(
            Edit(
                "Log.up_to_date",
                "(last_term_, last_index_) >= (self.last_term, self.last_index)",
                "last_term_ >= self.last_term",
            ),
        ),
        caught_by="tests/raft/test_votes.py::test_the_last_term_decides_then_the_last_index",
    ),
    Mutant(
        name="votes of old terms counted",
        what="a vote that was granted for an earlier campaign helps a later one",
        edits=(
            Edit(
                "Raft.step",
                "message_.term < self.term",
                "message_.term < self.term and not isinstance(message_, RequestVoteResponse)",
            ),
            Edit(
                "Raft._handle_request_vote_response",
                "(response_.term, response_.pre_vote) == (campaign_term_, pre_vote_)",
                "response_.pre_vote == pre_vote_",
            ),
        ),
        caught_by="tests/raft/test_votes.py::test_only_real_votes_of_members_in_this_term_count",
    ),
    Mutant(
        name="pre-votes counted as votes",
        what="a pre-vote is counted as a vote",
        edits=(
            Edit(
                "Raft._handle_request_vote_response",
                "(response_.term, response_.pre_vote) == (campaign_term_, pre_vote_)",
                "response_.term == campaign_term_",
            ),
        ),
        caught_by="tests/raft/test_votes.py::test_only_real_votes_of_members_in_this_term_count",
    ),
    Mutant(
        name="elect with two of five",
        what="a candidate leads with one vote less than a majority",
        edits=(Edit("Candidate.has_won", "membership_.majority.has(self.votes)", "len(self.votes) > 1"),),
        caught_by="tests/raft/test_votes.py::test_a_majority_is_more_than_half",
    ),
    Mutant(
        name="half is a majority",
        what="of four servers two are taken for more than half, in elections and for commits",
        edits=(
            Edit("Majority.of", "len(frozenset(servers_)) // 2 + 1", "(len(frozenset(servers_)) + 1) // 2"),
        ),
        caught_by="tests/raft/test_votes.py::test_a_majority_is_more_than_half",
    ),
    Mutant(
        name="own vote counted before it is durable",
        what="a candidate may lead by a vote that it forgets in a crash",
        edits=(
            Edit(
                "Raft._become_candidate",
                "self.responses_ += self._vote_requests(...)",
                "self.responses_ += self._vote_requests(...); self._count_vote(self.node_id)",
            ),
        ),
        caught_by="tests/raft/test_votes.py::test_a_candidate_whose_own_vote_is_not_saved_has_not_won",
    ),
    Mutant(
        name="no lease in pre-votes",
        what="a server that was cut off gets pre-votes from servers that hear their leader, and deposes it",
        edits=(Edit("Raft._handle_request_vote", "not self._has_active_leader()", "True"),),
        caught_by="tests/raft/test_pre_vote.py::test_a_follower_with_an_active_leader_refuses_pre_votes",
    ),
    Mutant(
        name="term of a pre-vote adopted",
        what="a server that only asks makes all others leave their term",
        edits=(
            Edit(
                "_is_hypothetical",
                """
                match message_:
                    case RequestVote(pre_vote=True) | response_:
                        return True
                    case _:
                        return False
                """,
                """
                match message_:
                    case response_:
                        return True
                    case _:
                        return False
                """,
            ),
        ),
        caught_by="tests/raft/test_pre_vote.py::test_a_pre_vote_promises_nothing",
    ),
    Mutant(
        name="no check-quorum",
        what="a leader that hears no majority stays leader",
        edits=(Edit("Raft._tick_leader", "not self._membership.majority.has(...)", "False"),),
        caught_by="tests/raft/test_check_quorum.py::test_a_leader_that_no_majority_answers_steps_down",
    ),
    Mutant(
        name="vote of a demoted server counted",
        what="a server that lost its disk votes again, and may have voted for another before",
        edits=(Edit("Raft.step", "self.has_lost_disk(...)", "False"),),
        caught_by="tests/raft/test_pipeline.py::test_a_server_with_a_wiped_disk_is_not_counted_but_catches_up",
    ),
    Mutant(
        name="every term resets the election timer",
        what="candidates that cannot win keep the others from ever trying",
        edits=(Edit("Raft._become", "... != (Role.FOLLOWER, Role.FOLLOWER)", "True"),),
        caught_by="tests/raft/test_timers.py::test_a_new_term_without_a_vote_does_not_reset_the_election_timer",
    ),
)
