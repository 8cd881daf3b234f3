"""Planted defects of what tells releases and clusters apart: entries, actors, hellos, ids, feature levels."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

WIRE_TESTS = "tests/wire/test_serializer.py::"
CLUSTER_TESTS = "tests/ledger/test_cluster_entries.py::"
HANDSHAKE_TESTS = "tests/server/test_handshake.py::"
ROUTER_TESTS = "tests/server/test_request_router.py::"
RECOVERY_TESTS = "tests/server/test_recovery.py::"
PEER_TESTS = "tests/server/test_peer_server.py::"
VALIDATOR_TESTS = "tests/server/test_entry_validator.py::"

FORMAT = (
    Mutant(
        name="actor not stored",
        what="every receipt says that it was asked for locally",
        edits=(Edit("receipt_row", "record_.actor", '"local"'),),
        caught_by=CLUSTER_TESTS + "test_a_receipt_keeps_the_actor",
    ),
    Mutant(
        name="actor is the server that passed it on",
        what="what came by another server was asked for by that server",
        edits=(
            Edit(
                "PeerConnection._forwarded",
                "PendingRequest(self, number_, request_, payload_, actor_, ...)",
                "PendingRequest(self, number_, request_, payload_, self._peer, ...)",
            ),
        ),
        caught_by=PEER_TESTS + "test_forwarded_requests_are_checked_one_by_one",
    ),
    Mutant(
        name="actor not forwarded",
        what="the leader does not learn which actor asked a follower",
        edits=(Edit("ForwardedRequests.add", "pending_.actor", '"local"'),),
        caught_by=ROUTER_TESTS
        + "test_the_actor_is_forwarded_and_proposed_as_the_receiving_server_established_it",
    ),
    Mutant(
        name="repeated id gets a new actor",
        what="the first request under an id is stored with the actor of a later one",
        edits=(Edit("_leave_tombstone", "unit_.actor", '"local"'),),
        caught_by=CLUSTER_TESTS + "test_a_tombstone_has_the_actor_of_the_reversal",
    ),
    Mutant(
        name="unknown version applied",
        what="a command of newer rules is decided by older ones, and ledgers differ",
        edits=(
            Edit(
                "decode_entry",
                "entry_.kind == _COMMAND and entry_.version == ENTRY_VERSION",
                "entry_.kind == _COMMAND",
            ),
        ),
        caught_by=WIRE_TESTS + "test_an_entry_that_a_newer_release_wrote_is_neither_applied_nor_skipped",
    ),
    Mutant(
        name="unknown version let in",
        what="an older release takes a newer one's entries into its log, where they stop it",
        edits=(Edit("check_known", "entry_.version != ENTRY_VERSION", "False"),),
        caught_by=WIRE_TESTS + "test_an_entry_that_a_newer_release_wrote_is_neither_applied_nor_skipped",
    ),
    Mutant(
        name="unknown kind let in",
        what="an older release takes a newer one's entries into its log, where they stop it",
        edits=(Edit("EntryValidator.entry_check", 'return f"its {error_}"', "continue"),),
        caught_by=VALIDATOR_TESTS + "test_an_entry_of_a_newer_release_does_not_come_into_the_log",
    ),
    Mutant(
        name="any level let in",
        what="one forged entry ends all servers for good",
        edits=(
            Edit(
                "EntryValidator._refusal_of_clusters_own",
                "said_.level > self._feature_level_max",
                "said_.level > 10**9",
            ),
        ),
        caught_by=VALIDATOR_TESTS
        + "test_a_feature_level_that_this_release_does_not_know_does_not_come_into_the_log",
    ),
    Mutant(
        name="ids of clusters not compared",
        what="servers of two banks with one cluster.ini vote for each other",
        edits=(Edit("Handshake._refusal_of_cluster", "hello_.cluster == ours_.cluster", "True"),),
        caught_by=HANDSHAKE_TESTS + "test_ids_decide_once_both_have_one_and_cluster_ini_before",
    ),
    Mutant(
        name="digests not compared while there is no id",
        what="servers of two new banks vote for each other",
        edits=(Edit("Handshake._refusal_of_cluster", "hello_.config == ours_.config", "True"),),
        caught_by=HANDSHAKE_TESTS + "test_ids_decide_once_both_have_one_and_cluster_ini_before",
    ),
    Mutant(
        name="digests compared for ever",
        what="no server can move to another address",
        edits=(Edit("Handshake._refusal_of_cluster", "hello_.cluster and ours_.cluster", "False"),),
        caught_by=HANDSHAKE_TESTS + "test_ids_decide_once_both_have_one_and_cluster_ini_before",
    ),
    Mutant(
        name="range of versions without its end",
        what="two releases with one version in common refuse each other",
        edits=(
            Edit(
                "Handshake.reason_to_refuse",
                "hello_.protocol_min > ours_.protocol_max",
                "hello_.protocol_min >= ours_.protocol_max",
            ),
        ),
        caught_by=HANDSHAKE_TESTS + "test_two_releases_speak_the_highest_version_that_both_know",
    ),
    Mutant(
        name="range of versions not compared",
        what="a release speaks a version that the other does not know",
        edits=(Edit("Handshake.reason_to_refuse", "hello_.protocol_max < ours_.protocol_min", "False"),),
        caught_by=HANDSHAKE_TESTS + "test_the_refusal_of_releases_without_a_common_version_names_both",
    ),
    Mutant(
        name="welcome to the wrong version",
        what="the newer release of two speaks what the older does not know",
        edits=(Edit("Handshake.welcome", "min(...)", "max(...)"),),
        caught_by=HANDSHAKE_TESTS + "test_two_releases_speak_the_highest_version_that_both_know",
    ),
    Mutant(
        name="level raised before all know it",
        what="a server of the older release is ended by the raise",
        edits=(
            Edit(
                "RequestRouter._raise_feature_level",
                "min([*levels_, self._feature_level_max])",
                "self._feature_level_max",
            ),
        ),
        caught_by=ROUTER_TESTS
        + "test_the_level_is_raised_to_what_the_last_member_knows_and_not_before_it_shows_it",
    ),
    Mutant(
        name="level raised beyond the leader",
        what="the leader is ended by its own raise",
        edits=(
            Edit(
                "RequestRouter._raise_feature_level",
                "min([*levels_, self._feature_level_max])",
                "min(levels_)",
            ),
        ),
        caught_by=ROUTER_TESTS + "test_the_level_is_never_raised_beyond_what_the_leader_knows",
    ),
    Mutant(
        name="peer that has gone still counted",
        what="the level is raised while a server is stopped to be put back to the older release",
        edits=(Edit("PeerServer._forget_connection", "self._publish_hello(peer_)", "pass"),),
        caught_by=PEER_TESTS + "test_the_level_of_a_peer_is_put_when_it_connects_and_when_it_disconnects",
    ),
    Mutant(
        name="level lowered",
        what="a late raise takes back what the log may hold already",
        edits=(Edit("ClusterState.after", "entry_.level > self_.feature_level", "True"),),
        caught_by=CLUSTER_TESTS + "test_a_feature_level_rises_and_never_falls",
    ),
    Mutant(
        name="level beyond this release accepted",
        what="an older release goes on with a log that it may not understand",
        edits=(Edit("check_feature_level", "state_.feature_level > FEATURE_LEVEL_MAX", "False"),),
        caught_by=RECOVERY_TESTS + "test_a_cluster_beyond_this_release_is_refused",
    ),
    Mutant(
        name="cluster founded twice",
        what="a later entry gives the cluster another id",
        edits=(Edit("ClusterState.after", "not self_.id", "True"),),
        caught_by=CLUSTER_TESTS + "test_the_first_entry_names_the_cluster_and_no_later_one_does",
    ),
    Mutant(
        name="cluster founded by every leader",
        what="each term begins with the founding of another cluster",
        edits=(
            Edit(
                "Raft._become_leader", "next_index_ == 1 and self.config.bootstrap", "self.config.bootstrap"
            ),
        ),
        caught_by="tests/raft/test_bootstrap.py::test_every_later_term_begins_with_a_no_op",
    ),
    Mutant(
        name="id written after the ledger",
        what="a crash in between leaves a ledger that knows its cluster in a folder that does not",
        edits=(
            Edit(
                "RunLoop.iterate",
                "self._announce_leadership(ready_)\nself._announce_cluster()",
                "self._announce_leadership(ready_)",
            ),
            Edit(
                "RunLoop.iterate",
                "self._write_when_due(ticks_)",
                "self._write_when_due(ticks_)\nself._announce_cluster()",
            ),
        ),
        caught_by="tests/server/test_run_loop.py::"
        "test_a_change_of_the_cluster_is_announced_once_and_before_the_ledger_is_written",
    ),
    Mutant(
        name="files of two clusters taken for one",
        what="a node with another cluster's log votes in this one",
        edits=(Edit("check_one_cluster", "known_ - {log_id_}", "False"),),
        caught_by=RECOVERY_TESTS + "test_files_of_two_clusters_are_refused",
    ),
    Mutant(
        name="log of release 1.0 taken for damage",
        what="an operator who upgrades is told to restore a backup, and not how to move the ledger",
        edits=(
            Edit(
                "other_version",
                "crc32(body_) if version_ == 1 else _header_crc(magic_, body_)",
                "_header_crc(magic_, body_)",
            ),
        ),
        caught_by="tests/storage/test_log_damage.py::test_the_log_of_another_release_is_no_damage_and_is_left_alone",
    ),
    Mutant(
        name="cluster founded behind its beginning",
        what="one forged entry names other servers than those that founded the bank",
        edits=(Edit("EntryValidator._refusal_of_clusters_own", "entry_.index != 1", "False"),),
        caught_by=VALIDATOR_TESTS + "test_a_cluster_is_founded_by_the_first_entry_alone",
    ),
)
