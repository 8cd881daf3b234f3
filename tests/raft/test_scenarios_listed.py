"""Where to find the scenarios that a Raft must survive: each has one test here, which names its number.

The numbers are those of the project's list of scenarios; the ones not among these are about the server,
the ledger and the log file, and are tested there and in `tests/simulation`. Below is the same for what
is known to have gone wrong in the programs that the original was built on.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

OF_THE_CORE = [*range(1, 36), 38, *range(48, 58)]

ANCESTORS_DEFECTS = {
    "the vote is erased when a candidate falls back within its term": (
        "test_a_candidate_that_falls_back_keeps_its_vote"
    ),
    "the vote is erased when a leader falls back within its term": (
        "test_a_leader_that_falls_back_keeps_its_vote"
    ),
    "the vote is erased on restart": "test_a_vote_outlives_a_crash",
    "a higher term keeps the vote of the old one": "test_a_new_term_forgets_the_vote_of_the_old",
    "votes are counted without looking at term, sender, membership or verdict": (
        "test_only_real_votes_of_members_in_this_term_count"
    ),
    "a majority is not more than half": "test_a_majority_is_more_than_half",
    "an empty append commits a divergent tail": (
        "test_a_heartbeat_that_matches_early_commits_no_divergent_tail"
    ),
    "an acknowledgement reports the follower's own last index": (
        "test_a_follower_acknowledges_what_was_sent_and_not_its_own_last_index"
    ),
    "acknowledgements of older terms are believed": "test_an_acknowledgement_of_an_older_term_is_ignored",
    "a rejection pushes next_index below what matched": "test_a_late_rejection_never_lowers_what_matched",
    "a success does not advance next_index": "test_what_was_acknowledged_is_not_sent_again",
    "a message that changes the role is handled by the old role, or lost": (
        "test_a_higher_term_makes_a_follower_that_handles_the_message"
    ),
    "granting a vote does not reset the election timer": "test_granting_a_vote_resets_the_election_timer",
    "term and vote are two writes": "test_term_and_vote_are_saved_as_one",
    "a restart applies twice": "test_a_restart_applies_nothing_twice_and_leaves_nothing_out",
    "no no-op at the start of a term": "test_a_new_leader_commits_what_its_predecessor_left",
    "reads at the leader without asking a quorum": "test_a_leader_in_a_minority_answers_no_read",
    "large entries are never sent": "test_an_entry_over_the_limit_is_refused_when_proposed",
    "one unknown sender stops the loop": (
        "test_answers_of_a_server_that_is_no_member_count_for_nothing_and_stop_nothing"
    ),
    "a leader's bookkeeping is shared by every server of the process": (
        "test_two_cores_in_one_process_share_nothing"
    ),
    "the commit index moves before the consistency check": "test_a_refused_append_commits_nothing",
    "the commit index goes back": "test_the_commit_index_never_goes_back",
    "the commit index grows by one an entry received": (
        "test_the_commit_index_does_not_grow_with_what_is_received"
    ),
    "committed entries are truncated": "test_a_conflict_with_a_committed_entry_is_rejected_and_reported",
    "a doubled append doubles entries": "test_an_old_append_that_comes_again_changes_nothing",
    "next_index reaches -1": "test_a_senseless_answer_changes_nothing_that_holds",
    "a new leader never sends a heartbeat": "test_a_leader_sends_a_heartbeat_in_each_interval",
}


def every_test() -> Iterator[ast.FunctionDef]:
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield node


def test_each_scenario_of_the_core_has_one_test() -> None:
    numbers: Counter[int] = Counter()
    for test in every_test():
        numbers.update(int(n) for n in re.findall(r"\AScenario (\d+):", ast.get_docstring(test) or ""))
    assert dict(numbers) == dict.fromkeys(OF_THE_CORE, 1)


def test_each_defect_of_the_ancestors_has_a_test() -> None:
    names = {test.name for test in every_test()}
    assert set(ANCESTORS_DEFECTS.values()) <= names
