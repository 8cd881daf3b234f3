"""Planted defects of changes of the membership and of leadership transfer."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

CHANGES = "tests/raft/test_member_changes.py::"
TRANSFERS = "tests/raft/test_transfer.py::"
INVARIANTS = "tests/raft/test_invariants.py::"

CORE_MEMBERS = (
    Mutant(
        name="configuration used once committed",
        what="a follower goes on with the old configuration until the entry of the new one is committed",
        edits=(
            Edit(
                "Raft._append_new_entries",
                "self._configurations.append(new_entries_, self._commit_index)",
                "self._configurations.append(new_entries_[: self._commit_index], self._commit_index)",
            ),
        ),
        caught_by=CHANGES + "test_a_follower_uses_a_configuration_before_it_is_committed",
    ),
    Mutant(
        name="configuration not rolled back",
        what="a configuration outlives its entry, which was truncated",
        edits=(Edit("Configurations.truncate", "while len(self._all) > 1 and ...: ...", "pass"),),
        caught_by=CHANGES + "test_a_configuration_that_is_truncated_is_rolled_back",
    ),
    Mutant(
        name="rolled back and not used",
        what="the configuration before a truncated one is known again, and majorities are still of the other",
        edits=(
            Edit(
                "Raft._append_new_entries",
                "self._configurations.append(...) or rolled_back_",
                "self._configurations.append(...)",
            ),
        ),
        caught_by=CHANGES + "test_a_configuration_that_is_truncated_is_rolled_back",
    ),
    Mutant(
        name="change without an entry of the own term",
        what="a new leader changes the membership before it has committed anything",
        edits=(Edit("Raft._why_not_now", "self._commit_index < role_.term_start_index", "False"),),
        caught_by=CHANGES + "test_two_leaders_cannot_change_one_configuration_in_two_ways",
    ),
    Mutant(
        name="two changes at once",
        what="a second change begins before the first is committed",
        edits=(Edit("Raft._why_not_now", "index_ > self._commit_index", "False"),),
        caught_by=CHANGES + "test_no_change_before_the_leaders_term_has_a_committed_entry_and_one_at_a_time",
    ),
    Mutant(
        name="two voters in one change",
        what="two voters are added or removed in one step, so that majorities may share no server",
        edits=(Edit("refusal_of_change", "len(changed_) > 1", "len(changed_) > 2"),),
        caught_by=CHANGES + "test_what_cannot_follow_in_one_step_is_refused_and_changes_nothing",
    ),
    Mutant(
        name="a voter's new disk in one step",
        what="a voter goes on as a voter with a disk that has none of its promises",
        edits=(
            Edit(
                "refusal_of_change",
                '"" if m_.node in unnamed_ and shown_stores_.get(m_.node) != m_.store else m_.store',
                '"" if m_.node in unnamed_ else m_.store',
            ),
        ),
        caught_by=CHANGES + "test_what_cannot_follow_in_one_step_is_refused_and_changes_nothing",
    ),
    Mutant(
        name="learner in the number of voters",
        what="each learner raises how many voters are needed, though it is none of them",
        edits=(
            Edit(
                "Membership.of",
                "[member_.node for member_ in configuration_ if member_.voter]",
                "[member_.node for member_ in configuration_]",
            ),
        ),
        caught_by=CHANGES + "test_a_change_is_used_at_once_and_by_every_server_that_has_it_in_its_log",
    ),
    Mutant(
        name="removed leader counted",
        what="a leader that has removed itself still counts itself",
        edits=(
            Edit(
                "Raft._advance_commit_index",
                "self._membership.majority.reached(...)",
                "Membership({*self._membership.voters, self.node_id}).majority.reached(...)",
            ),
        ),
        caught_by=CHANGES
        + "test_a_leader_that_removes_itself_does_not_count_itself_and_steps_down_after_the_commit",
    ),
    Mutant(
        name="removed leader leads on",
        what="a leader that has removed itself never steps down",
        edits=(Edit("Raft._step_down_if_removed", "self._membership.is_voter(self.node_id)", "True"),),
        caught_by=CHANGES
        + "test_a_leader_that_removes_itself_does_not_count_itself_and_steps_down_after_the_commit",
    ),
    Mutant(
        name="removed leader steps down at once",
        what="a leader that removes itself does not wait until that is committed",
        edits=(
            Edit("Raft._step_down_if_removed", "self.configuration[0] > self._commit_index", "False"),
            Edit(
                "Raft._advance_commit_index",
                "if agreed_ > self._commit_index and ...: ...",
                "if agreed_ > self._commit_index and ...: ...\nself._step_down_if_removed(self._role)",
            ),
        ),
        caught_by=CHANGES
        + "test_a_leader_that_removes_itself_does_not_count_itself_and_steps_down_after_the_commit",
    ),
    Mutant(
        name="removed leader says nothing",
        what="a leader steps down without a word of the commit, and the others wait for the next leader",
        edits=(
            Edit(
                "Raft._step_down_if_removed",
                "self._messages += [role_.heartbeat(...) for peer_ in role_.progress]",
                "pass",
            ),
        ),
        caught_by=CHANGES
        + "test_a_leader_that_removes_itself_does_not_count_itself_and_steps_down_after_the_commit",
    ),
    Mutant(
        name="learner campaigns",
        what="a server without a vote starts elections",
        edits=(Edit("Raft._campaign", "self.may_campaign", "True"),),
        caught_by=CHANGES + "test_a_learner_neither_campaigns_nor_counts",
    ),
    Mutant(
        name="leaving server never leads again",
        what="of two servers, the one that removed itself alone has the entry, and none can be elected",
        edits=(Edit("Raft._campaign", "self.may_campaign", "self._membership.is_voter(self.node_id)"),),
        caught_by=CHANGES + "test_a_leader_that_was_removing_itself_leads_again_if_no_other_can_be_elected",
    ),
    Mutant(
        name="own new disk not known",
        what="a server with a new disk takes old configurations, which it receives again, for its own",
        edits=(Edit("Raft.demote", "self._shown_stores[node_id_] = store_", "pass"),),
        caught_by=CHANGES
        + "test_a_server_with_a_new_disk_is_no_voter_of_the_configurations_that_it_receives_again",
    ),
    Mutant(
        name="vote of a stranger counted",
        what="a candidate counts the vote of a server without one",
        edits=(
            Edit("Raft._count_vote", "self._membership.is_voter(voter_)", "True"),
            Edit("Majority.has", "len(self.counted & answered_)", "len(answered_)"),
        ),
        caught_by="tests/raft/test_terms.py"
        "::test_answers_of_a_server_that_is_no_member_count_for_nothing_and_stop_nothing",
    ),
    Mutant(
        name="campaign of a removed server heard",
        what="a server that was removed and does not know it raises the term of all",
        edits=(Edit("Raft._disturbs_leader", "return self._has_active_leader()", "return False"),),
        caught_by=CHANGES + "test_a_removed_server_that_campaigns_is_ignored",
    ),
    Mutant(
        name="newest member unheard",
        what="a server that lags drops the requests of a member that it does not know yet",
        edits=(
            Edit(
                "Raft.step",
                "message_.sender == self.node_id",
                "message_.sender not in self._membership.others(self.node_id)",
            ),
        ),
        caught_by=CHANGES + "test_a_server_that_lags_votes_for_a_voter_that_it_does_not_know",
    ),
    Mutant(
        name="answer of a removed server kills",
        what="a leader looks up the progress of a server that it has removed",
        edits=(Edit("Raft._note_answer", "role_.progress.get(sender_)", "role_.progress[sender_]"),),
        caught_by=CHANGES + "test_a_late_answer_of_a_removed_server_counts_for_nothing",
    ),
    Mutant(
        name="new member not sent to",
        what="a leader does not begin to send the log to a server that it has added",
        edits=(
            Edit(
                "Raft._use_newest_configuration",
                "self._role.follow_members(...)",
                "pass",
            ),
        ),
        caught_by=CHANGES
        + "test_a_server_that_joins_waits_and_is_brought_up_to_date_as_a_learner_then_votes",
    ),
    Mutant(
        name="acknowledgement without a vote counted",
        what="what a server acknowledged, perhaps with a disk that it has lost, counts once it is a voter",
        edits=(Edit("Leader.follow_members", "peer_ not in changed_", "True"),),
        caught_by=CHANGES
        + "test_an_acknowledgement_of_the_lost_disk_does_not_count_once_the_new_one_is_a_voters",
    ),
    Mutant(
        name="configuration of the log ignored at the start",
        what="a server starts with the configuration of its state machine, and not with that of its log",
        edits=(Edit("Configurations.__init__", "log_.base_index < log_.last_index", "False"),),
        caught_by=CHANGES + "test_a_server_that_starts_uses_the_newest_configuration_of_its_log",
    ),
    Mutant(
        name="any disk counts",
        what="a server counts with whatever disk it shows",
        edits=(
            Edit(
                "Membership.of",
                "shown_stores_.get(member_.node, member_.store) != member_.store",
                "False",
            ),
        ),
        caught_by=CHANGES + "test_a_disk_counts_only_while_it_is_the_one_of_the_configuration",
    ),
    Mutant(
        name="replaced disk never counts again",
        what="a server that lost its disk is told apart by its name for good",
        edits=(
            Edit(
                "Membership.of",
                "shown_stores_.get(member_.node, member_.store) != member_.store",
                "member_.node in shown_stores_",
            ),
        ),
        caught_by=CHANGES + "test_a_server_with_a_new_disk_is_replaced_in_two_steps_and_counts_again",
    ),
    Mutant(
        name="configuration of a leader not looked at",
        what="a leader's entry is used as a configuration though it is none",
        edits=(Edit("_defect_of_configurations", "decode_configuration(entry_.data)", "pass"),),
        caught_by=CHANGES + "test_a_leader_whose_entry_is_no_configuration_is_rejected",
    ),
    Mutant(
        name="order without the whole log",
        what="the successor is told to campaign before it has the leader's log",
        edits=(
            Edit("Leader.hand_over", "self.progress[transfer_.target].match_index < last_index_", "False"),
        ),
        caught_by=TRANSFERS + "test_the_successor_first_gets_the_whole_log",
    ),
    Mutant(
        name="proposals during a transfer",
        what="a leader that hands over accepts commands, and its successor never has the whole log",
        edits=(Edit("Raft.propose", "self._role.transfer is not None", "False"),),
        caught_by=TRANSFERS + "test_nothing_is_proposed_meanwhile",
    ),
    Mutant(
        name="transfer never given up",
        what="a leader waits for a dead successor for ever",
        edits=(Edit("Raft._tick_leader", "role_.transfer = None", "pass"),),
        caught_by=TRANSFERS + "test_a_transfer_that_fails_is_given_up_and_the_leader_goes_on",
    ),
    Mutant(
        name="vote refused to the successor",
        what="voters wait for the old leader to be silent although it has handed over",
        edits=(
            Edit(
                "Raft._disturbs_leader",
                "match message_:\n    case RequestVote(pre_vote=False, transfer=False) if rises_: ...",
                "match message_:\n    case RequestVote(pre_vote=False) if rises_: ...",
            ),
        ),
        caught_by=TRANSFERS + "test_leadership_is_handed_over_without_an_election_timeout",
    ),
    Mutant(
        name="successor asks for pre-votes",
        what="the successor asks first whether it would win, and the active leader's followers say no",
        edits=(
            Edit(
                "Raft._handle_timeout_now",
                "self._become_candidate(...)",
                "self._become_pre_candidate()",
            ),
        ),
        caught_by=TRANSFERS + "test_the_successor_campaigns_at_once_for_real_and_says_why",
    ),
    Mutant(
        name="order obeyed without a vote",
        what="a learner that is told to campaign does so",
        edits=(Edit("Raft._handle_timeout_now", "self._membership.is_voter(self.node_id)", "True"),),
        caught_by=TRANSFERS + "test_an_order_of_an_older_term_or_to_a_server_without_a_vote_is_not_obeyed",
    ),
    Mutant(
        name="order of anybody obeyed",
        what="a server campaigns because another than its leader says so",
        edits=(
            Edit(
                "Raft._handle_timeout_now",
                "refusal_ = self._rejection_of_second_leader(message_.sender)",
                "refusal_ = None",
            ),
        ),
        caught_by=TRANSFERS + "test_an_order_of_another_than_the_leader_is_rejected",
    ),
    Mutant(
        name="silent successor",
        what="leadership is handed to a server that has not answered for long",
        edits=(Edit("Progress.answered", "self.silent_ticks = self.silent_timeouts = 0", "pass"),),
        caught_by=TRANSFERS + "test_a_server_that_is_silent_or_has_no_vote_is_refused",
    ),
    Mutant(
        name="wrong configuration unseen",
        what="the checked core does not compare the configuration in use with the log",
        edits=(Edit("_check_configuration_change", "raft_.configuration == expected_[-1]", "True"),),
        caught_by=INVARIANTS + "test_a_broken_invariant_of_a_change_is_named",
    ),
    Mutant(
        name="a change too many unseen",
        what="the checked core lets a leader change two voters at once",
        edits=(Edit("_check_own_change", "len(voters_ ^ now_) <= 1", "True"),),
        caught_by=INVARIANTS + "test_a_broken_invariant_of_a_change_is_named",
    ),
    Mutant(
        name="no vote for a new disk that a later entry names",
        what="two of three have the entry that gave one of them its vote back, one fails, and the bank stops",
        edits=(Edit("Raft.step", "not self_.is_named_later(...)", "True"),),
        caught_by=CHANGES + "test_a_voter_that_lags_votes_for_a_server_whose_new_disk_a_later_entry_names",
    ),
    Mutant(
        name="a lost disk named by itself",
        what="a late request of the disk that was lost gets a vote, and the answer goes to the new one",
        edits=(Edit("Raft.is_named_later", "store_ == ...", "True"),),
        caught_by=CHANGES + "test_a_voter_that_lags_votes_for_a_server_whose_new_disk_a_later_entry_names",
    ),
    Mutant(
        name="named by an entry that was changed since",
        what="a server that lost its disk gets votes by a configuration that is not the newest",
        edits=(Edit("Raft.is_named_later", "since_ > known_", "True"),),
        caught_by=CHANGES + "test_a_voter_that_lags_votes_for_a_server_whose_new_disk_a_later_entry_names",
    ),
    Mutant(
        name="named behind an entry that may be undone",
        what="a voter with an entry of a deposed leader does not hear of the one that replaced it",
        edits=(Edit("Raft.is_named_later", "since_ > known_", "since_ > self.configuration[0]"),),
        caught_by=CHANGES + "test_a_voter_that_lags_votes_for_a_server_whose_new_disk_a_later_entry_names",
    ),
    Mutant(
        name="the lost disk's vote given to the new one",
        what="a vote that was given for another log counts for a second candidate of that name",
        edits=(Edit("Raft._handle_request_vote", "self_.has_lost_disk(...)", "False"),),
        caught_by=CHANGES
        + "test_a_server_with_a_new_disk_gets_no_vote_in_a_term_in_which_the_lost_one_got_it",
    ),
    Mutant(
        name="a learner says that it votes",
        what="a server asks for votes by a disk that its configuration names for a learner, or for nobody",
        edits=(Edit("Raft._named_store", "member_.voter", "True"),),
        caught_by=CHANGES + "test_a_candidate_names_its_disk_only_as_a_voter_of_its_newest_configuration",
    ),
)
