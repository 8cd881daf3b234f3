"""Planted defects of membership on the server's side: who is let in, promoted, removed, who takes over."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

ADMINISTRATION = "tests/server/test_administration.py::"
NEIGHBOURS = "tests/server/test_neighbours.py::"
HANDSHAKE = "tests/server/test_handshake.py::"
PEER_SERVER = "tests/server/test_peer_server.py::"
CLUSTER_ENTRIES = "tests/ledger/test_cluster_entries.py::"

MEMBERS = (
    Mutant(
        name="wiped server elects itself",
        what="while it catches up, it takes an old configuration for one in which it votes",
        edits=(Edit("Server._open_storage", "folder_.is_not_first", "False"),),
        caught_by="tests/server/test_cluster_id.py::"
        "test_a_server_known_by_another_folder_does_not_lead_by_what_old_entries_say",
    ),
    Mutant(
        name="another folder forgotten",
        what="the next start counts a vote that old entries give to a lost disk",
        edits=(Edit("Neighbours._note_not_first", "folder_.note_not_first()", "pass"),),
        caught_by=NEIGHBOURS + "test_a_server_that_a_peer_knows_by_another_folder_remembers_that",
    ),
    Mutant(
        name="members as of the file's entry",
        what="after a removal, an old list that still has the server counts for newer than the leader's",
        edits=(Edit("RequestRouter._view", "ledger_.decided_index", "ledger_.applied_index"),),
        caught_by=ADMINISTRATION + "test_any_server_tells_the_members",
    ),
    Mutant(
        name="refused while it is done",
        what="a change that is asked for again while it is under way is told as refused, and takes effect",
        edits=(Edit("Administration._check_decided", "index_ > self_._ledger.decided_index", "False"),),
        caught_by=ADMINISTRATION + "test_nothing_is_said_to_be_so_or_refused_while_a_change_is_under_way",
    ),
    Mutant(
        name="removed by nobody",
        what="a removal that is committed, and asked for again before the ledger has it, is told as refused",
        edits=(
            Edit("Administration._check_decided", "self_._ledger.decided_index", "self_._core.commit_index"),
        ),
        caught_by=ADMINISTRATION + "test_a_removal_is_under_way_until_the_ledger_has_it",
    ),
    Mutant(
        name="a busy leader asked without a pause",
        what="a leader that takes no change at the moment is asked again as fast as it answers",
        edits=(Edit("AdminClient.change", "answer_.leader != name_", "True"),),
        caught_by="tests/client/test_admin_client.py::"
        "test_a_leader_that_takes_nothing_now_is_not_asked_again_without_a_pause",
    ),
    Mutant(
        name="promoted while far behind",
        what="a learner that lacks most of the log votes, and the bank waits for it",
        edits=(Edit("Administration._promote", "behind_ > BEHIND_MAX", "False"),),
        caught_by=ADMINISTRATION + "test_a_learner_is_not_promoted_before_it_has_caught_up",
    ),
    Mutant(
        name="promoted at a wrong address",
        what="a server that nobody reaches at its address becomes a voter",
        edits=(Edit("Administration._promote", "str(...) != member_.peer", "False"),),
        caught_by=ADMINISTRATION
        + "test_a_learner_is_not_promoted_unless_it_is_reached_where_it_was_announced",
    ),
    Mutant(
        name="promoted into a minority",
        what="the new majority would need servers that are down",
        edits=(Edit("Administration._promote", "self_._check_living(...)", "pass"),),
        caught_by=ADMINISTRATION + "test_a_learner_is_not_promoted_into_a_cluster_without_a_majority",
    ),
    Mutant(
        name="promoted with any disk",
        what="a voter's entry does not say which data folder it has shown",
        edits=(
            Edit(
                "Administration._promote",
                "replace(member_, voter=True, store=hello_.store)",
                "replace(member_, voter=True)",
            ),
        ),
        caught_by=ADMINISTRATION + "test_a_learner_is_promoted_with_the_data_folder_that_it_shows",
    ),
    Mutant(
        name="lost disk stays a voter",
        what="a replaced server keeps its vote while it catches up",
        edits=(
            Edit(
                "Administration._replace",
                "replace(member_, voter=False, store=hello_.store)",
                "replace(member_, store=hello_.store)",
            ),
        ),
        caught_by=ADMINISTRATION + "test_a_lost_disk_is_replaced_by_the_one_that_is_shown",
    ),
    Mutant(
        name="voters removed without a question",
        what="one typing error lowers the number of voters",
        edits=(Edit("Administration._remove", "member_.voter and not request_.yes", "False"),),
        caught_by=ADMINISTRATION + "test_fewer_voters_must_be_meant_and_the_last_one_stays",
    ),
    Mutant(
        name="members change below their level",
        what="a server of release 1.1 gets an entry that it cannot read",
        edits=(
            Edit(
                "Administration.decide",
                "self_._ledger.cluster.feature_level < MEMBERS_LEVEL",
                "False",
            ),
        ),
        caught_by=ADMINISTRATION + "test_below_feature_level_2_members_do_not_change",
    ),
    Mutant(
        name="handed to a release that cannot take over",
        what="a stopping leader waits for a server of release 1.1, which ignores it",
        edits=(Edit("Administration._able", "hello_.protocol_max >= TRANSFER_PROTOCOL", "True"),),
        caught_by=ADMINISTRATION + "test_the_best_successor_is_a_voter_that_knows_how_to_take_over",
    ),
    Mutant(
        name="change acknowledged by index alone",
        what="an administrator is told that a change was made, whose entry another leader replaced",
        edits=(Edit("RequestRouter._end_changes", "entry_.term != term_", "False"),),
        caught_by=ADMINISTRATION + "test_a_change_whose_entry_was_replaced_is_unknown",
    ),
    Mutant(
        name="handing over ends what was proposed",
        what="clients of a leader that hands over hear that the outcome is unknown",
        edits=(Edit("RequestRouter.notice_changes", "self_._handed_over", "False"),),
        caught_by=ADMINISTRATION + "test_while_leadership_is_handed_over_requests_wait_for_the_next_leader",
    ),
    Mutant(
        name="proposed while handing over",
        what="the next leader's log lacks what was proposed after its campaign began",
        edits=(Edit("RequestRouter._lead", "self_._core.transferring is not None", "False"),),
        caught_by=ADMINISTRATION + "test_while_leadership_is_handed_over_requests_wait_for_the_next_leader",
    ),
    Mutant(
        name="stopping node takes more",
        what="a node that stops takes requests until it is killed",
        edits=(Edit("RequestRouter.drain", "self_._draining = True", "pass"),),
        caught_by=ADMINISTRATION + "test_a_node_that_stops_takes_nothing_new_and_answers_what_it_has",
    ),
    Mutant(
        name="one peer removes a server",
        what="a server stops as soon as one other says that it was removed",
        edits=(
            Edit(
                "Neighbours._removed_by_word_of_peers",
                "2 * len(removals_) > len(others_)",
                "len(removals_) > 0",
            ),
        ),
        caught_by=NEIGHBOURS + "test_a_node_ends_when_most_others_say_that_it_was_removed",
    ),
    Mutant(
        name="removed for ever",
        what="a server that was added again stops at the word of peers that do not know that yet",
        edits=(
            Edit(
                "Neighbours._removed_by_word_of_peers",
                "isinstance(at_, int) and at_ >= self_.roster.index",
                "isinstance(at_, int)",
            ),
        ),
        caught_by=NEIGHBOURS + "test_a_node_that_was_added_again_is_not_ended_by_peers_that_do_not_know_that",
    ),
    Mutant(
        name="leader refused by one that lags",
        what="a server whose log ends between the leader's removal and its return never gets the rest",
        edits=(Edit("Roster.removed_at", "at_ if at_ >= member_at_ else 0", "at_"),),
        caught_by=HANDSHAKE + "test_a_server_that_says_it_was_added_again_later_is_let_in",
    ),
    Mutant(
        name="leader dropped by one that lags",
        what="the connection of a leader ends whenever a follower looks at an old entry that removed it",
        edits=(
            Edit(
                "PeerServer.follow",
                "roster_.removed_at(peer_, hello_.member_at)",
                "roster_.removed_at(peer_)",
            ),
        ),
        caught_by=PEER_SERVER + "test_a_removed_peer_is_dropped_unless_its_own_log_names_it_in_a_later_entry",
    ),
    Mutant(
        name="leader not answered by one that lags",
        what="a leader hears nothing of what a follower saved, while that is behind the leader's return",
        edits=(
            Edit(
                "Neighbours._places",
                "roster_.removed_at(node_, member_at_)",
                "roster_.removed_at(node_)",
            ),
        ),
        caught_by=NEIGHBOURS + "test_a_server_that_says_it_was_added_again_later_is_answered",
    ),
    Mutant(
        name="removed server let in",
        what="a removed server is welcomed, and never learns that it was removed",
        edits=(
            Edit(
                "Handshake._refusal_of_membership", "removed_at_ = self_.removed_at(...)", "removed_at_ = 0"
            ),
        ),
        caught_by=HANDSHAKE + "test_a_removed_server_is_told_so_until_it_is_added_again",
    ),
    Mutant(
        name="stranger let in",
        what="whoever has the pepper is let in without the cluster's id",
        edits=(
            Edit(
                "Handshake._refusal_of_membership",
                "self_.roster.member(hello_.node) is not None or hello_.cluster",
                "True",
            ),
        ),
        caught_by=HANDSHAKE + "test_a_stranger_is_let_in_only_with_the_id_of_the_cluster",
    ),
    Mutant(
        name="old copy welcomed",
        what="a server on an old copy of its data folder votes as if it remembered",
        edits=(Edit("PeerServer._welcome", "self_._is_stale(connection_, hello_)", "False"),),
        caught_by=PEER_SERVER + "test_an_old_copy_of_a_data_folder_is_told_so_and_not_let_in",
    ),
    Mutant(
        name="old copy welcomed once it was started again",
        what="a server on an old copy of its data folder votes once it has more starts than were seen",
        edits=(
            Edit("PeerServer._is_stale", "(*hello_.earlier, hello_.incarnation)", "(hello_.incarnation,)"),
        ),
        caught_by=PEER_SERVER + "test_an_old_copy_is_told_so_however_often_it_was_started_since",
    ),
    Mutant(
        name="reconnection taken for an old copy",
        what="a server loses its vote whenever its connection breaks",
        edits=(Edit("PeerServer._is_stale", "highest_ not in known_", "True"),),
        caught_by=PEER_SERVER + "test_a_server_that_connects_again_is_no_old_copy",
    ),
    Mutant(
        name="lost acknowledgements not noticed",
        what="a server whose log lacks what it acknowledged keeps its vote",
        edits=(
            Edit(
                "PeerServer._is_stale",
                "hello_.last_index >= self_._acknowledged(hello_.node)",
                "True",
            ),
        ),
        caught_by=PEER_SERVER + "test_a_log_that_lacks_what_it_acknowledged_is_an_old_copy",
    ),
    Mutant(
        name="named disk ignored",
        what="the first data folder that a server has shown counts, whatever the log names",
        edits=(Edit("PeerServer._note_store", "named_ or not first_", "not first_"),),
        caught_by=PEER_SERVER + "test_the_data_folder_that_the_log_names_counts_and_no_other",
    ),
    Mutant(
        name="members before their level",
        what="ledgers of the two releases differ while both run",
        edits=(Edit("ClusterState.after", "self_.feature_level >= MEMBERS_LEVEL", "True"),),
        caught_by=CLUSTER_ENTRIES + "test_below_feature_level_2_a_ledger_is_that_of_release_1_1",
    ),
    Mutant(
        name="founders not members",
        what="the table of members is empty until somebody changes it",
        edits=(Edit("ClusterState._at_level", "tuple(founders_)", "()"),),
        caught_by=CLUSTER_ENTRIES + "test_the_newest_entry_says_who_is_a_member_and_who_was_one",
    ),
)
