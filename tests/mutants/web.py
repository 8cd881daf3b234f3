"""Planted defects of the web server: who may ask, what is said of the money, and whom a stream serves."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

GUARD_TESTS = "tests/web/test_guard.py::"
API_TESTS = "tests/web/test_api.py::"
EVENT_TESTS = "tests/web/test_events.py::"
LANE_TESTS = "tests/web/test_lane_events.py::"
RING_TESTS = "tests/web/test_lane_rings.py::"
CLUSTER_TESTS = "tests/web/test_cluster.py::"
LIVE_PAGE_TESTS = "tests/web/test_live_page.py::"
LINK_TESTS = "tests/test_local_links.py::"
MAIN_TESTS = "tests/web/test_main.py::"

WEB = (
    Mutant(
        name="any origin",
        what="a page of another site moves money with the rights of the web server",
        edits=(Edit("Guard._refusal", "origin_of(origin_) != ...", "False"),),
        caught_by=GUARD_TESTS + "test_another_site_cannot_move_money",
    ),
    Mutant(
        name="any host",
        what="a stranger's DNS name that points here makes this server's pages that stranger's",
        edits=(Edit("Guard._refusal", "host_of(host_) not in self._hosts", "False"),),
        caught_by=GUARD_TESTS + "test_another_site_cannot_move_money",
    ),
    Mutant(
        name="unknown is an error",
        what="a request that may be done is answered as certainly not done",
        edits=(
            Edit(
                "api:_answered",
                "return unknown(error_.request_id)",
                "return problem('unavailable', str(error_))",
            ),
        ),
        caught_by=API_TESTS + "test_an_unknown_outcome_is_202_and_never_an_error",
    ),
    Mutant(
        name="end user of the body",
        what="whoever reaches the server writes another's name into the books",
        edits=(Edit("api:command_of", "'end_user' in fields_", "False"),),
        caught_by=API_TESTS + "test_what_is_not_well_formed_is_said",
    ),
    Mutant(
        name="behind the ring",
        what="a stream that fell behind misses postings",
        edits=(Edit("web.events:Events._behind", "posting_ >= ring_.before", "True"),),
        caught_by=EVENT_TESTS + "test_many_streams_are_one_feed_and_who_falls_behind_the_ring_misses_nothing",
    ),
    Mutant(
        name="now is a moment ago",
        what="a stream from now on begins with a posting that was acknowledged before",
        edits=(Edit("web.events:Events._end_of", "not page_.postings", "True"),),
        caught_by=EVENT_TESTS + "test_from_now_on_is_behind_all_that_was_acknowledged_whatever_lags",
    ),
    Mutant(
        name="accounts of another lane",
        what="a stream of an account never has the postings of its lane",
        edits=(Edit("web.events:_lanes_of", "lane_of(name_, lanes_)", "0"),),
        caught_by=LANE_TESTS + "test_a_stream_of_accounts_follows_their_lanes",
    ),
    Mutant(
        name="an id of another number of lanes",
        what="a stream begins somewhere, as its cursor names no place in some lane",
        edits=(Edit("_Wanted.postings", "len(self.numbers) != lanes_", "False"),),
        caught_by=LANE_TESTS + "test_a_cursor_names_a_place_in_each_lane",
    ),
    Mutant(
        name="no word of the other lanes",
        what="a lane that does not answer keeps what the others have from a stream that fell behind",
        edits=(Edit("web.events:Events.batch", "not found_", "True"),),
        caught_by=RING_TESTS + "test_a_lane_that_does_not_answer_holds_up_no_other",
    ),
    Mutant(
        name="the first lane first",
        what="a stream waits for ever for a lane, while another has much to tell",
        edits=(Edit("web.events:Events.batch", "place_.lanes.rotate(-1)", "None"),),
        caught_by=RING_TESTS + "test_a_lane_with_much_to_tell_leaves_room_for_the_others",
    ),
    Mutant(
        name="strangers welcome",
        what="the server listens where others reach it, unasked",
        edits=(Edit("web.main:_is_loopback", "host_ == 'localhost'", "True"),),
        caught_by=MAIN_TESTS + "test_it_listens_to_strangers_only_when_that_is_said",
    ),
    Mutant(
        name="events as they come",
        what="a vote is told before the request for it, as its server answered first",
        edits=(Edit("ClusterFeed._is_waited_for", "server_.silent is not None", "True"),),
        caught_by=CLUSTER_TESTS + "test_what_is_newer_than_some_server_has_told_comes_when_that_one_has",
    ),
    Mutant(
        name="rare events left out",
        what="under load the page leaves out the election, and shows heartbeats",
        edits=(Edit("web.cluster:thinned", "event_.kind in kinds_", "True"),),
        caught_by=CLUSTER_TESTS + "test_of_too_many_events_the_frequent_go_and_the_rare_stay",
    ),
    Mutant(
        name="a look for nobody",
        what="the servers are asked for ever, once a page was open",
        edits=(Edit("ClusterFeed.leave", "not self._streams", "False"),),
        caught_by=CLUSTER_TESTS + "test_many_watchers_are_one_look_and_without_one_nobody_is_asked",
    ),
    Mutant(
        name="a look at who is gone",
        what="a server that was removed from the cluster is asked for ever, and told to be down",
        edits=(Edit("ClusterFeed._follow_members", "name_ not in self._bank.nodes", "False"),),
        caught_by=CLUSTER_TESTS
        + "test_a_member_that_is_added_is_watched_from_then_on_and_one_that_is_removed_no_more",
    ),
    Mutant(
        name="a gap unsaid",
        what="a page that lagged shows a story with a hole, and does not say so",
        edits=(Edit("ClusterFeed.behind", "0 < number_ < newer_[0][0] - 1", "False"),),
        caught_by=CLUSTER_TESTS + "test_who_falls_behind_the_ring_is_told_so",
    ),
    Mutant(
        name="faults by any form",
        what="a page of another site makes a browser kill servers with a plain form",
        edits=(
            Edit(
                "web.bodies:json_body",
                "request_.headers.get(...).partition(';')[0].strip().lower() != 'application/json'",
                "False",
            ),
        ),
        caught_by=LIVE_PAGE_TESTS + "test_a_fault_is_paused_resumed_killed_and_started",
    ),
    Mutant(
        name="a cut link passes",
        what="what is told of a cut link is not so: messages arrive",
        edits=(Edit("Cuts.may_pass", "self._changed.wait_for(..., within_s_)", "True"),),
        caught_by=LINK_TESTS
        + "test_nothing_passes_a_cut_link_and_neither_end_is_told_and_what_waited_comes_once_it_is_mended",
    ),
    Mutant(
        name="cut both ways",
        what="a link that is cut one way passes nothing the other way either",
        edits=(Edit("Entrance._connect", "(self._node, peer_)", "(peer_, self._node)"),),
        caught_by=LINK_TESTS + "test_one_direction_may_be_cut_alone",
    ),
    Mutant(
        name="a link to nobody",
        what="a page cuts what is no link, and is told that it is cut",
        edits=(Edit("FaultServer._change_links", "{...}.issubset(self._cluster.linked)", "True"),),
        caught_by=LIVE_PAGE_TESTS
        + "test_only_links_between_two_servers_of_this_bank_are_cut_and_each_may_see_what_is",
    ),
    Mutant(
        name="an address kept from a node",
        what="a server that ended under bin/run --web cannot be started by hand: the proxy has its port",
        edits=(Edit("LinkedCluster._close_at_end", "self._ask(...)", "pass"),),
        caught_by=LINK_TESTS + "test_the_address_of_a_node_that_ended_is_free_and_cuts_outlive_its_restart",
    ),
    Mutant(
        name="health without the page's own certificate",
        what="the page calls the bank healthy until the day on which its own certificate ends",
        edits=(Edit("web.bank:Bank.judge", "self._credentials", "None"),),
        caught_by="tests/web/test_health.py::test_the_certificate_of_the_web_server_itself_counts",
    ),
    Mutant(
        name="an untrusted bank is a defect",
        what="where no server can be trusted, status and health are a defect of the web server",
        edits=(Edit("web.api:_of_status", "problem('unavailable', str(error_))", "1 / 0"),),
        caught_by="tests/web/test_health.py::test_where_no_server_can_be_trusted_it_is_not_known_and_no_defect",
    ),
)
