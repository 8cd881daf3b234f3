"""Planted defects of the quotas: places, rates, slots, active holds, shared audits."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

PLACE_TESTS = "tests/server/test_places.py::"
CONNECTION_TESTS = "tests/server/test_client_connection.py::"
PEER_TESTS = "tests/server/test_peer_server.py::"
TLS_PORT_TESTS = "tests/server/test_tls_ports.py::"
HOLD_TESTS = "tests/ledger/test_holds.py::"
AUDIT_TESTS = "tests/server/test_auditor.py::"

QUOTAS = (
    Mutant(
        name="strangers keep their places",
        what="silent strangers who have all places at a port keep everybody else out",
        edits=(Edit("Places._loser_to", "self._oldest_new() or self._first_idle()", "self._first_idle()"),),
        caught_by=PLACE_TESTS + "test_a_newcomer_takes_the_place_of_the_oldest_that_has_shown_nothing",
    ),
    Mutant(
        name="a thread for who says nothing",
        what="silent strangers at the servers' port cost each server a thread, time and again",
        edits=(Edit("Listener.server_activate", "self.silent_s and ...", "False"),),
        caught_by=PEER_TESTS + "test_who_connects_and_says_nothing_costs_no_thread",
    ),
    Mutant(
        name="members among the strangers",
        what="the connection of a member gives way to strangers",
        edits=(Edit("PeerServer._leave_the_strangers", "connection_.place.leave()", "pass"),),
        caught_by=PEER_TESTS + "test_strangers_give_way_to_newcomers_and_a_member_gives_way_to_nobody",
    ),
    Mutant(
        name="any name is a member's",
        what="whoever knows the cluster's id keeps as many places as he has names",
        edits=(
            Edit(
                "PeerServer._leave_the_strangers",
                "self._handshake.roster.member(hello_.node) is not None",
                "True",
            ),
        ),
        caught_by=PEER_TESTS
        + "test_a_server_of_the_cluster_that_is_no_member_here_keeps_its_place_only_while_there_is_room",
    ),
    Mutant(
        name="lines of strangers hide those of members",
        what="a stranger's hellos use up the lines, and a member that is refused is never told",
        edits=(Edit("PeerServer._about", "self._handshake.roster.member(name_) is None", "True"),),
        caught_by=PEER_TESTS + "test_lines_about_one_hide_none_about_another",
    ),
    Mutant(
        name="lines in the name of another",
        what="a server whose certificate names it uses up the lines about another one",
        edits=(Edit("PeerServer._about", "connection_.tls is not None", "False"),),
        caught_by=PEER_TESTS + "test_over_tls_a_line_is_about_whom_the_certificate_names",
    ),
    Mutant(
        name="no place and no word",
        what="a client for whom there is no place is closed without a word, and says that nobody answered",
        edits=(
            Edit("Listener._turn_away", "self.refusal and self._telling.acquire(blocking=False)", "False"),
        ),
        caught_by=TLS_PORT_TESTS + "test_a_client_for_whom_there_is_no_place_is_told_so",
    ),
    Mutant(
        name="a handshake for everybody without a place",
        what="a crowd without places gets as many threads and handshakes as it likes",
        edits=(
            Edit(
                "Listener._turn_away",
                "self.refusal and self._telling.acquire(blocking=False)",
                "self.refusal",
            ),
        ),
        caught_by=TLS_PORT_TESTS + "test_so_many_are_told_at_a_time_that_there_is_no_place_and_no_more",
    ),
    Mutant(
        name="crowd displaces others",
        what="who opens many connections displaces those of others",
        edits=(
            Edit("Places._oldest_new", "(len(own_), -next(iter(own_)).since_s)", "-next(iter(own_)).since_s"),
        ),
        caught_by=PLACE_TESTS + "test_whoever_has_most_new_connections_loses_one_of_these_first",
    ),
    Mutant(
        name="busy connection gives way",
        what="a connection with a request under way is ended, and its client does not know what became of it",
        edits=(Edit("ClientConnection.on_dismissed", "self.activity() is None or ...", "False"),),
        caught_by=CONNECTION_TESTS + "test_a_connection_with_a_request_under_way_gives_way_to_nobody",
    ),
    Mutant(
        name="dismissed before it is read",
        what="a connection that gives way before the reader has seen it ends the reader",
        edits=(
            Edit("Reader._look_at_the_lists", "dismissed_ = ...; self._register_added()", "dismissed_ = ..."),
        ),
        caught_by="tests/server/test_reader.py::"
        "test_a_source_may_be_added_and_dismissed_while_another_one_is_dismissed",
    ),
    Mutant(
        name="dismissed among those to be read",
        what="a connection that gives way just when its bytes arrive ends the reader",
        edits=(Edit("Reader._read_all", "is_woken_ = True", "self._look_at_the_lists()"),),
        caught_by="tests/server/test_reader.py::"
        "test_a_source_may_be_dismissed_in_the_round_in_which_its_bytes_arrive",
    ),
    Mutant(
        name="reserve for everybody",
        what="places for operators are taken by whoever asks for anything",
        edits=(Edit("ClientConnection._refusal", "not self._owner.may_ask(self, request_)", "False"),),
        caught_by=CONNECTION_TESTS
        + "test_in_a_place_for_operators_a_first_request_that_is_no_operator_s_is_busy",
    ),
    Mutant(
        name="rate not asked",
        what="a client may ask as often as it likes",
        edits=(
            Edit("ClientConnection._refusal", "self.rate is not None and not self.rate.allows()", "False"),
        ),
        caught_by=CONNECTION_TESTS + "test_who_asks_too_often_is_told_so",
    ),
    Mutant(
        name="long requests for one slot",
        what="a thousand requests of 64 KiB each wait on one connection",
        edits=(
            Edit(
                "slots:slots", "max(request_.answer_bytes_max, request_bytes_)", "request_.answer_bytes_max"
            ),
        ),
        caught_by=CONNECTION_TESTS + "test_a_request_takes_as_many_slots_as_it_is_long",
    ),
    Mutant(
        name="all in one turn",
        what="the commands of a connection that sends a thousand at once are one round, which all wait for",
        edits=(Edit("FairTurns.next_turn", "len(waiting_) <= share_", "True"),),
        caught_by="tests/server/test_request_router.py::"
        "test_a_connection_with_many_commands_does_not_keep_others_waiting",
    ),
    Mutant(
        name="alone among others",
        what="a connection with a thousand commands makes large rounds although others wait for them",
        edits=(Edit("FairTurns._is_alone", "self._shared_s = self._clock()", "pass"),),
        caught_by="tests/server/test_request_router.py::"
        "test_a_connection_that_is_alone_has_a_larger_share_until_another_one_comes",
    ),
    Mutant(
        name="next turn is not begun",
        what="what waits of a connection with many commands is only proposed when another one comes",
        edits=(
            Edit(
                "RequestRouter.wake_thresholds",
                "len(self._proposals) - self._turn",
                "len(self._proposals) + 1",
            ),
        ),
        caught_by="tests/server/test_request_router.py::"
        "test_what_waits_of_such_a_connection_is_proposed_in_its_order",
    ),
    Mutant(
        name="ended holds counted on",
        what="an account that once had as many holds as it may have can have no more for ever",
        edits=(Edit("holds:_release", "account_.active_holds -= 1", "pass"),),
        caught_by=HOLD_TESTS + "test_an_account_has_no_more_active_holds_than_the_rule_allows",
    ),
    Mutant(
        name="holds counted without the batch",
        what="how many holds an account has depends on what was written already, so servers differ",
        edits=(
            Edit(
                "count_active",
                "(hold_.state == 'active') - (before_ is not None and before_.state == 'active')",
                "0",
            ),
        ),
        caught_by=HOLD_TESTS + "test_holds_of_before_the_rule_stay_and_count",
    ),
    Mutant(
        name="limit of holds before its level",
        what="a server of this release refuses a hold that a server of release 1.1 allows",
        edits=(Edit("decide_hold", "unit_.feature_level >= ACTIVE_HOLDS_LEVEL", "True"),),
        caught_by=HOLD_TESTS + "test_holds_of_before_the_rule_stay_and_count",
    ),
    Mutant(
        name="running audit is shared",
        what="who asks for an audit gets findings that are older than the request",
        edits=(
            Edit(
                "Auditor.audit",
                "self._waiting.popleft(); self._is_busy = True",
                "self._is_busy = True",
            ),
        ),
        caught_by=AUDIT_TESTS + "test_who_asks_during_an_audit_does_not_get_its_findings",
    ),
    Mutant(
        name="audits without a pause",
        what="who asks for audits again and again keeps a server auditing",
        edits=(Edit("Auditor._may_begin", "self._closed or self._pause_s(mine_) == 0", "True"),),
        caught_by=AUDIT_TESTS + "test_who_floods_audits_is_made_to_pause_and_nobody_else",
    ),
)
