"""Planted defects of metrics and health: what is ready, what lives, what is counted, what the port bears."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

HEALTH_TESTS = "tests/server/test_health.py::"
PUBLISHER_TESTS = "tests/server/test_publisher.py::"
ENDPOINT_TESTS = "tests/server/test_metrics_endpoint.py::"
ROUTER_TESTS = "tests/server/test_request_router.py::"

METRICS = (
    Mutant(
        name="a hanging disk is deadly",
        what="/livez asks for a restart because the disk hangs",
        edits=(
            Edit(
                "Health.alive",
                "self.idle_s > HUNG_S and self._sync_began_s() is None",
                "self.idle_s > HUNG_S",
            ),
        ),
        caught_by=HEALTH_TESTS
        + "test_a_run_loop_that_hangs_for_long_is_dead_unless_it_is_the_disk_that_hangs",
    ),
    Mutant(
        name="a loop that hangs is ready",
        what="/readyz judges by what the run loop said last, however long ago",
        edits=(Edit("Health._stale", "idle_s_ <= STALE_S", "True"),),
        caught_by=HEALTH_TESTS + "test_a_run_loop_that_does_not_turn_is_told_within_a_second",
    ),
    Mutant(
        name="a silent leader is a leader",
        what="until a long election timeout ends, a follower that is cut off is ready",
        edits=(Edit("Health._leaderless", "now_s_ - seen_.heard_s > self._silent_s_max", "False"),),
        caught_by=HEALTH_TESTS + "test_a_silent_leader_is_taken_for_gone_before_a_long_election_timeout_ends",
    ),
    Mutant(
        name="fresh without a leader",
        what="a server that was away is ready for a second, as nobody has told it what is committed",
        edits=(Edit("Publisher._note_level", "self._core.leader is None", "False"),),
        caught_by=PUBLISHER_TESTS
        + "test_a_server_that_has_not_caught_up_with_its_leader_is_behind_from_its_first_tick_on",
    ),
    Mutant(
        name="anybody says what is committed",
        what="an append of an old leader counts",
        edits=(
            Edit(
                "Publisher.heed",
                "message_.sender == core_.leader and message_.term == core_.term",
                "True",
            ),
        ),
        caught_by=PUBLISHER_TESTS + "test_only_the_leader_of_the_term_says_what_is_committed",
    ),
    Mutant(
        name="leaderships end unheard",
        what="no change of leader and no step-down is counted",
        edits=(Edit("Server._on_core_event", "self._leaderships.note(event_)", "pass"),),
        caught_by="tests/server/test_metrics_of_a_server.py::test_a_leader_that_is_removed_is_counted",
    ),
    Mutant(
        name="a leader heard again is a new one",
        what="a follower that had given up its leader counts it twice",
        edits=(Edit("Leaderships.note", "self._led != (event_.leader, event_.term)", "True"),),
        caught_by="tests/server/test_leaderships.py::test_leader_changes_are_counted_once_each",
    ),
    Mutant(
        name="forwarded requests are timed twice",
        what="the leader times what a follower's client asked, too",
        edits=(
            Edit(
                "RequestRouter._note_answered",
                "[now_s_ - pending_.arrived_s for pending_ in answered_ if pending_.arrived_s]",
                "[now_s_ - pending_.arrived_s for pending_ in answered_]",
            ),
        ),
        caught_by=ROUTER_TESTS + "test_requests_are_counted_once_and_timed_where_their_client_is",
    ),
    Mutant(
        name="an endless head",
        what="the metrics port gathers what a stranger sends, for ever",
        edits=(Edit("_receive_head", "len(head_) <= HEAD_BYTES_MAX", "True"),),
        caught_by=ENDPOINT_TESTS + "test_what_is_no_reading_gets_an_error_and_no_traceback",
    ),
    Mutant(
        name="a flood is accepted as fast as it comes",
        what="whoever asks /metrics in a loop takes the processor from the bank",
        edits=(Edit("MetricsEndpoint.process_request", "time.sleep(...)", "pass"),),
        caught_by=ENDPOINT_TESTS + "test_a_flood_is_served_no_faster_than_the_bank_can_spare",
    ),
)
