"""Each request gets its own reply, and no other (scenarios 30 and 36 to 39)."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from atm.ledger.commands import Command, Debit, LedgerReceipt, NoteDeed, Open, Outcome, Read, WriteOff
from atm.ledger.ledger import ClusterState
from atm.ledger.roles import RoleChange
from atm.raft.messages import ConfirmedRead, Entry, EntryKind
from atm.raft.ready import Role
from atm.server.group import request_router as router_module
from atm.server.group.fair_turn import ALONE_S, SHARE, SHARE_ALONE
from atm.server.group.inbox import Inputs, PendingRequest, WakeThresholds
from atm.server.group.request_router import (
    FORWARD_TIMEOUT_S,
    HAND_OVER_AGAIN_S,
    OLD_LEADER_S,
    RAISE_AGAIN_S,
    RequestRouter,
)
from atm.server.metrics.counters import Counters
from atm.version import RELEASE
from atm.wire.client_messages import UPGRADING, Status, TransferLeadership
from atm.wire.codec import encode
from atm.wire.log_entries import command_data, decode_command
from tests.support.hellos import hello_of
from tests.support.server_parts import (
    FakeCore,
    Recorder,
    ReplyRecorder,
    credit,
    keeper_of,
    query,
    requests,
)


class Story:
    """A router at node n1, a core whose role the test sets, and a client."""

    def __init__(self) -> None:
        self.core = FakeCore()
        self.parts = Recorder()
        self.client = ReplyRecorder()
        self.said: list[str] = []
        self.now_s = 0.0
        self.counters = Counters()
        self.wall_us = 5
        self.router = RequestRouter(
            "n1",
            self.core,
            self.parts,
            self.parts,
            self.parts,
            keeper_of(self.core, self.parts),
            listed={},
            first_number=1000,
            feature_level_max=3,
            clock=lambda: self.now_s,
            wall_clock_us=lambda: self.wall_us,
            say=self.said.append,
            counters=self.counters,
        )
        self.router.notice_changes()

    def ask(self, *requests: Command | Read | NoteDeed, forwarded: bool = False) -> None:
        inputs = Inputs()
        for request in requests:
            inputs.add_request(self.client.pending(request, forwarded=forwarded))
        self.router.accept(inputs)

    def commit(self, index: int, term: int, request_id: str) -> None:
        receipt = LedgerReceipt(id=request_id, outcome=Outcome.OK, balance=1, available=1, log_index=index)
        self.router.on_committed(
            [Entry(index=index, term=term, time_us=1, kind=EntryKind.COMMAND, data=b"x")], [receipt]
        )

    def forward_replies(self, number: int, payload: bytes) -> None:
        inputs = Inputs()
        inputs.forward_replies.append((number, payload))
        self.router.accept(inputs)


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_committed_command_is_answered_with_its_receipt_and_the_leaders_name(story: Story) -> None:
    story.ask(credit("a"))
    story.commit(11, 1, "a")
    assert story.client.answers == [
        {"id": "a", "outcome": "ok", "balance": 1, "available": 1, "log_index": 11, "leader": "n1"}
    ]
    assert story.said == ["Returning client request"]


def test_another_entry_at_the_index_answers_unknown_and_never_its_own_result(story: Story) -> None:
    story.ask(credit("a"))
    story.commit(11, 2, "somebody-elses")
    assert story.client.outcomes == [("a", "unknown")]


def test_commands_of_one_iteration_are_proposed_together_as_the_bytes_that_came(story: Story) -> None:
    story.ask(credit("a"), credit("b"))
    assert story.core.proposed == [
        command_data("local", encode(credit("a"))),
        command_data("local", encode(credit("b"))),
    ]
    assert story.core.kinds == [EntryKind.COMMAND] * 2
    story.commit(12, 1, "b")
    story.commit(11, 1, "a")
    assert story.client.outcomes == [("b", "ok"), ("a", "ok")]


def test_losing_leadership_answers_commands_unknown_and_reads_unavailable(story: Story) -> None:
    story.ask(credit("a"), query("q"))
    story.core.follow("n2", term=2)
    story.router.notice_changes()
    assert story.client.outcomes == [("a", "unknown"), ("q", "unavailable")]
    story.commit(11, 1, "a")
    story.router.answer_reads([ConfirmedRead(1, 11)])
    assert len(story.client.answers) == 2


def test_leading_again_at_once_in_a_later_term_settles_the_old_terms_commands(story: Story) -> None:
    story.ask(credit("a"))
    story.core.term = 3
    story.router.notice_changes()
    assert story.client.outcomes == [("a", "unknown")]


def test_queries_of_one_iteration_share_a_read_and_are_answered_once_it_is_confirmed(story: Story) -> None:
    story.ask(query("q"), query("r", account="nobody"))
    assert len(story.core.read_ids) == 1
    assert story.client.answers == []
    story.router.answer_reads([ConfirmedRead(story.core.read_ids[0], 10)])
    assert story.client.outcomes == [("q", "ok"), ("r", "no_such_account")]
    assert story.client.answers[0]["balance"] == 700


def test_a_dropped_read_is_answered_unavailable(story: Story) -> None:
    story.ask(query("q"))
    story.router.drop_reads(story.core.read_ids)
    assert story.client.outcomes == [("q", "unavailable")]


def test_a_follower_passes_requests_on_and_hands_the_answer_through(story: Story) -> None:
    story.core.follow("n2", term=2)
    story.ask(credit("a"), query("q"))
    assert story.parts.forwarded == [("n2", 1000, encode(credit("a"))), ("n2", 1001, encode(query("q")))]
    story.forward_replies(1001, encode({"id": "q", "outcome": "ok"}))
    assert story.client.outcomes == [("q", "ok")]
    story.forward_replies(1001, encode({"id": "q", "outcome": "ok"}))
    story.forward_replies(5, encode({"id": "stranger", "outcome": "ok"}))
    assert len(story.client.answers) == 1
    story.router.notice_changes()
    assert story.said == ["Redirecting client request"] * 2


def test_each_reply_of_the_leader_goes_to_the_request_with_its_number(story: Story) -> None:
    other, inputs = ReplyRecorder(), Inputs()
    story.core.follow("n2", term=2)
    story.ask(credit("a"))
    inputs.add_request(other.pending(credit("b")))
    story.router.accept(inputs)
    (_, number_of_a, _), (_, number_of_b, _) = story.parts.forwarded
    story.forward_replies(number_of_b, encode({"id": "b", "outcome": "ok"}))
    assert (story.client.outcomes, other.outcomes) == ([], [("b", "ok")])
    story.forward_replies(number_of_a, encode({"id": "a", "outcome": "ok"}))
    assert (story.client.outcomes, other.outcomes) == ([("a", "ok")], [("b", "ok")])


def test_without_a_leader_requests_are_certainly_not_done(story: Story) -> None:
    story.core.follow(None, term=2)
    story.ask(credit("a"), query("q"))
    assert story.client.outcomes == [("a", "unavailable"), ("q", "unavailable")]


def test_without_a_link_to_the_leader_requests_are_certainly_not_done(story: Story) -> None:
    story.core.follow("n2", term=2)
    story.parts.link_up = False
    story.ask(credit("a"))
    assert story.client.outcomes == [("a", "unavailable")]
    story.now_s = 2 * FORWARD_TIMEOUT_S
    story.router.expire()
    assert len(story.client.answers) == 1


@pytest.mark.parametrize("cause", ["the link is lost", "the leader changed", "no answer in time"])
def test_a_forwarded_request_without_a_reply_is_unknown(story: Story, cause: str) -> None:
    story.core.follow("n2", term=2)
    story.ask(credit("a"), query("q"))
    if cause == "the link is lost":
        inputs = Inputs()
        inputs.lost_links.append("n2")
        story.router.accept(inputs)
    elif cause == "the leader changed":
        story.core.leader = "n3"
        story.router.notice_changes()
        story.router.expire()
        assert story.client.answers == [], "one that handed over still replies"
        story.now_s = OLD_LEADER_S + 0.1
        story.router.expire()
    else:
        story.now_s = FORWARD_TIMEOUT_S + 0.1
        story.router.expire()
    assert story.client.outcomes == [("a", "unknown"), ("q", "unavailable")]


def test_a_lost_link_to_another_node_settles_nothing(story: Story) -> None:
    story.core.follow("n2", term=2)
    story.ask(credit("a"))
    inputs = Inputs()
    inputs.lost_links.append("n3")
    story.router.accept(inputs)
    assert story.client.answers == []


def test_a_request_forwarded_to_a_node_that_does_not_lead_is_not_forwarded_again(story: Story) -> None:
    story.core.follow("n2", term=2)
    story.ask(credit("a"), forwarded=True)
    assert story.client.outcomes == [("a", "unavailable")]
    assert story.parts.forwarded == []


def test_too_many_commands_under_way_are_busy(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "PROPOSALS_MAX", 2)
    story.ask(credit("a"), credit("b"), credit("c"))
    assert story.client.outcomes == [("c", "busy")]
    story.commit(11, 1, "a")
    story.ask(credit("d"), credit("e"))
    assert story.client.outcomes == [("c", "busy"), ("a", "ok"), ("e", "busy")]


def test_too_many_queries_under_way_are_busy(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "READS_MAX", 2)
    story.ask(query("a"), query("b"), query("c"))
    assert story.client.outcomes == [("c", "busy")]
    story.router.answer_reads([ConfirmedRead(story.core.read_ids[0], 10)])
    assert story.client.outcomes == [("c", "busy"), ("a", "ok"), ("b", "ok")]


def test_commands_wait_until_they_are_as_many_as_are_under_way(story: Story) -> None:
    story.ask(credit("a"), credit("b"), credit("c"))
    story.ask(credit("d"), credit("e"))
    assert len(story.core.proposed) == 3
    assert story.router.wake_thresholds() == WakeThresholds(commands=1, queries=1)
    story.ask(credit("f"))
    assert len(story.core.proposed) == 6


def test_commands_held_back_need_no_other_input_once_nothing_more_is_under_way(story: Story) -> None:
    story.ask(credit("a"), credit("b"))
    story.ask(credit("c"))
    assert story.router.wake_thresholds() == WakeThresholds(commands=1, queries=1)
    story.commit(11, 1, "a")
    assert story.router.wake_thresholds() == WakeThresholds(commands=0, queries=1)


def test_queries_wait_until_they_are_as_many_as_wait_for_a_round(story: Story) -> None:
    story.ask(query("a"), query("b"))
    story.ask(query("c"))
    assert len(story.core.read_ids) == 1
    assert story.router.wake_thresholds() == WakeThresholds(commands=1, queries=1)
    story.ask(query("d"))
    assert len(story.core.read_ids) == 2


def test_queries_held_back_begin_once_no_other_waits(story: Story) -> None:
    story.ask(query("a"), query("b"))
    story.ask(query("c"))
    story.router.answer_reads([ConfirmedRead(read_id=story.core.read_ids[0], index=1)])
    assert story.router.wake_thresholds() == WakeThresholds(commands=1, queries=0)
    story.ask()
    assert len(story.core.read_ids) == 2


def test_queries_held_back_go_to_the_new_leader(story: Story) -> None:
    story.ask(query("a"), query("b"))
    story.ask(query("c"))
    story.core.follow("n2", term=2)
    story.ask()
    assert [payload for _, _, payload in story.parts.forwarded] == [encode(query("c"))]


def test_commands_held_back_are_proposed_once_what_was_under_way_is_committed(story: Story) -> None:
    story.ask(credit("a"), credit("b"))
    story.ask(credit("c"))
    story.commit(11, 1, "a")
    story.ask()
    assert len(story.core.proposed) == 3


def test_commands_held_back_by_a_leader_that_steps_down_are_certainly_not_done(story: Story) -> None:
    story.ask(credit("a"), credit("b"))
    story.ask(credit("c"))
    story.core.follow(None, term=2)
    story.router.notice_changes()
    story.ask()
    assert story.client.outcomes == [("a", "unknown"), ("b", "unknown"), ("c", "unavailable")]


def test_too_many_forwarded_requests_are_busy(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "FORWARDED_MAX", 1)
    story.core.follow("n2", term=2)
    story.ask(credit("a"), credit("b"))
    assert story.client.outcomes == [("b", "busy")]


def test_requests_are_counted_once_and_timed_where_their_client_is(story: Story) -> None:
    """A follower leaves the count to the leader, and a leader the time to the follower."""
    story.now_s = 10.0
    inputs = Inputs()
    mine, theirs = story.client.pending(credit("a")), story.client.pending(credit("b"), forwarded=True)
    inputs.add_request(replace(mine, arrived_s=9.9))
    inputs.add_request(theirs)
    story.router.accept(inputs)
    assert story.router.waiting_count == 2
    story.router.close()
    assert story.counters.requests() == {("credit", "unknown"): 2}
    assert story.counters.request_seconds.cumulated()[-1] == 1
    assert story.counters.request_seconds.sum == pytest.approx(0.1)
    assert story.router.waiting_count == 0


def test_a_request_that_the_leader_answered_is_timed_here_and_counted_there(story: Story) -> None:
    story.core.follow("n2", term=2)
    story.now_s = 10.0
    inputs = Inputs()
    inputs.add_request(replace(story.client.pending(credit("a")), arrived_s=9.5))
    story.router.accept(inputs)
    assert story.counters.forwarded == 1
    story.forward_replies(1000, encode({"id": "a", "outcome": "ok"}))
    story.router.notice_changes()
    assert story.client.outcomes == [("a", "ok")]
    assert story.counters.requests() == {}
    assert story.counters.request_seconds.sum == pytest.approx(0.5)


def test_a_node_that_stops_replies_to_all_waiting_requests(story: Story) -> None:
    story.ask(credit("a"), query("q"))
    story.router.close()
    assert story.client.outcomes == [("a", "unknown"), ("q", "unavailable")]


def test_a_node_that_stops_replies_to_requests_held_back(story: Story) -> None:
    story.ask(credit("a"), credit("b"), query("p"), query("q"))
    story.ask(credit("c"), query("r"))
    story.router.close()
    assert sorted(story.client.outcomes) == [
        *(("a", "unknown"), ("b", "unknown"), ("c", "unavailable")),
        *(("p", "unavailable"), ("q", "unavailable"), ("r", "unavailable")),
    ]
    story.router.close()
    assert len(story.client.answers) == 6


def test_a_follower_that_stops_replies_to_the_requests_it_forwarded(story: Story) -> None:
    story.core.follow("n2", term=2)
    story.ask(credit("a"), query("q"))
    story.router.close()
    assert story.client.outcomes == [("a", "unknown"), ("q", "unavailable")]


def test_a_forwarded_request_has_its_whole_time(story: Story) -> None:
    story.core.follow("n2", term=2)
    story.ask(credit("a"))
    story.now_s = FORWARD_TIMEOUT_S - 0.1
    story.router.expire()
    assert story.client.answers == []


def test_each_redirected_request_is_printed_once(story: Story) -> None:
    story.core.follow("n2", term=2)
    story.ask(credit("a"))
    story.router.notice_changes()
    story.router.notice_changes()
    assert story.said == ["Redirecting client request"]


def test_every_node_answers_for_its_own_status(story: Story) -> None:
    inputs = Inputs()
    inputs.add_request(PendingRequest(story.client, 0, Status(id="s"), b"", "local"))
    story.router.accept(inputs)
    status = story.client.answers[0]
    assert (status["id"], status["role"], status["leader"]) == ("s", "leader", "n1")


# -- the feature level ---------------------------------------------------------------------------------


def hellos(story: Story, **levels: int) -> None:
    """Let peers connect with these feature levels; 0: disconnect."""
    shown = [(node, hello_of(node, level) if level else None) for node, level in levels.items()]
    story.router.accept(Inputs(hellos=shown))


def test_the_level_is_raised_to_what_the_last_member_knows_and_not_before_it_shows_it(story: Story) -> None:
    hellos(story, n2=2)
    assert story.core.proposed == [], "n3 is not there"
    hellos(story, n3=1)
    assert story.core.proposed == []
    hellos(story, n3=3)
    assert (story.core.kinds, story.core.proposed) == ([EntryKind.FEATURE_LEVEL], [encode([2])])


def test_the_level_is_never_raised_beyond_what_the_leader_knows(story: Story) -> None:
    hellos(story, n2=9, n3=9)
    assert story.core.proposed == [encode([3])]


def test_a_member_that_has_gone_may_come_back_as_an_older_release(story: Story) -> None:
    hellos(story, n2=2)
    hellos(story, n2=0)
    hellos(story, n3=2)
    assert story.core.proposed == []


def test_a_level_that_was_reached_is_neither_raised_again_nor_lowered(story: Story) -> None:
    story.parts.cluster = ClusterState(id="", voters=(), feature_level=2)
    hellos(story, n2=2, n3=2)
    hellos(story, n2=1)
    story.now_s += 2 * RAISE_AGAIN_S
    hellos(story, n3=1)
    assert story.core.proposed == []


def test_a_raise_that_is_not_applied_is_proposed_again_but_not_at_once(story: Story) -> None:
    hellos(story, n2=2, n3=2)
    story.router.accept(Inputs())
    assert len(story.core.proposed) == 1
    story.now_s += RAISE_AGAIN_S
    story.router.accept(Inputs())
    assert len(story.core.proposed) == 2


def test_a_follower_raises_nothing_but_remembers_what_it_was_shown(story: Story) -> None:
    story.core.follow("n2", term=2)
    hellos(story, n2=2, n3=2)
    assert story.core.proposed == []
    story.core.role, story.core.leader = Role.LEADER, "n1"
    story.router.accept(Inputs())
    assert story.core.proposed == [encode([2])]


def test_the_actor_is_forwarded_and_proposed_as_the_receiving_server_established_it(story: Story) -> None:
    asked = story.client.pending(credit("a"), actor="eve@n2", forwarded=True)
    story.router.accept(requests(asked))
    assert story.core.proposed == [command_data("eve@n2", encode(credit("a")))]
    story.core.follow("n2", term=2)
    story.router.accept(requests(story.client.pending(credit("b"), actor="adam@n1")))
    assert story.parts.actors == ["adam@n1"]


def test_the_status_has_release_and_level(story: Story) -> None:
    story.parts.cluster = ClusterState(id="", voters=(), feature_level=2)
    story.router.accept(requests(PendingRequest(story.client, 0, Status(id="s"), b"", "local")))
    [answer] = story.client.answers
    assert (answer["version"], answer["feature_level"]) == (RELEASE, 2)


# -- what the guards advise --------------------------------------------------------------------------------


def test_without_room_no_change_is_taken_and_queries_are(story: Story) -> None:
    story.parts.no_space = "the disks are full"
    story.ask(credit("a"), query("q"))
    assert story.client.outcomes == [("a", "no_space")]
    assert story.client.answers[0]["message"] == "the disks are full"
    assert (story.core.proposed, len(story.core.read_ids)) == ([], 1)
    story.parts.no_space = ""
    story.ask(credit("b"))
    assert story.core.proposed == [command_data("local", encode(credit("b")))]


# -- commands that not every server knows -------------------------------------------------------------------


def test_a_command_above_the_clusters_level_is_certainly_not_done_and_others_are(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At level 1 a server of release 1.1 could not read it in its log."""
    monkeypatch.setattr(Debit, "level", 2)
    story.parts.cluster = ClusterState(id="", voters=(), feature_level=1)
    story.ask(credit("a"), Debit(id="newer", account="main", amount=1), credit("b"))
    assert story.client.outcomes == [("newer", "unavailable")]
    assert story.client.answers[0]["message"] == UPGRADING
    known = [command_data("local", encode(credit(each))) for each in "ab"]
    assert story.core.proposed == known
    story.commit(11, 1, "a")
    story.commit(12, 1, "b")
    assert story.client.outcomes[1:] == [("a", "ok"), ("b", "ok")]
    story.parts.cluster = ClusterState(id="", voters=(), feature_level=2)
    newer = Debit(id="again", account="main", amount=1)
    story.ask(newer)
    assert story.core.proposed == [*known, command_data("local", encode(newer))]


def test_a_command_that_names_another_currency_is_certainly_not_done_at_level_1(story: Story) -> None:
    story.parts.cluster = ClusterState(id="", voters=(), feature_level=1)
    story.ask(
        Open(id="o", account="ann", currency="EUR"),
        Debit(id="d", account="main", amount=1, currency="EUR"),
        WriteOff(id="w", account="cash:EUR", amount=1),
        credit("a"),
    )
    assert story.client.outcomes == [(each, "unavailable") for each in "odw"]
    assert story.core.proposed == [command_data("local", encode(credit("a")))]


@pytest.mark.parametrize(("level", "roles"), [(1, 0), (2, 8)])
def test_an_entry_says_the_roles_of_its_actor_once_every_server_knows_them(
    story: Story, level: int, roles: int
) -> None:
    story.parts.cluster = ClusterState(id="", voters=(), feature_level=level)
    asked = credit("a")
    story.router.accept(requests(story.client.pending(asked, actor="otto", roles=8)))
    assert story.core.proposed == [command_data("otto", encode(asked), roles)]
    assert decode_command(story.core.proposed[0]).roles == roles


def test_roles_are_forwarded_with_their_request(story: Story) -> None:
    story.core.follow("n2", term=2)
    story.router.accept(requests(story.client.pending(credit("a"), actor="otto", roles=8)))
    assert (story.parts.actors, story.parts.roles) == (["otto"], [8])


def test_a_deed_is_recorded_also_when_disks_are_full_since_a_snapshot_makes_room(story: Story) -> None:
    story.parts.cluster = ClusterState(id="", voters=(), feature_level=2)
    story.parts.no_space = "no room"
    note = NoteDeed(id="n", deed="snapshot", target="n2")
    story.ask(credit("a"), note, credit("b"))
    assert story.client.outcomes == [("a", "no_space"), ("b", "no_space")]
    assert story.core.proposed == [command_data("local", encode(note))]
    story.commit(11, 1, "n")
    assert story.client.outcomes[-1] == ("n", "ok")


def test_a_leader_refuses_a_revoked_administrator_whom_another_server_let_in(story: Story) -> None:
    story.parts.role_changes = {"ada": RoleChange("ada", 0, 1, 5)}
    asked = TransferLeadership(id="t")
    for actor in ("ada", "eve"):
        story.router.accept(requests(story.client.pending(asked, actor=actor, roles=1, forwarded=True)))
    assert [outcome for _, outcome in story.client.outcomes] == ["not_allowed", "refused"]


def with_hellos(story: Story, *nodes: str) -> None:
    story.router.accept(Inputs(hellos=[(node, hello_of(node)) for node in nodes]))


def test_a_leader_that_should_not_lead_hands_over_and_holds_commands_back(story: Story) -> None:
    with_hellos(story, "n2", "n3")
    story.core.match_indexes = {"n2": 10, "n3": 9}
    story.parts.hands_over = True
    story.ask(credit("a"))
    assert story.core.transferring == "n2"
    assert EntryKind.COMMAND not in story.core.kinds
    story.core.transferring = None
    story.core.follow("n2", term=2)
    story.ask()
    assert [request for _, _, request in story.parts.forwarded] == [encode(credit("a"))]


def test_it_hands_over_to_none_that_should_not_lead_either_and_tries_again_later(story: Story) -> None:
    with_hellos(story, "n2", "n3")
    story.core.match_indexes = {"n2": 10, "n3": 9}
    story.parts.hands_over, story.parts.unfit_nodes = True, {"n2", "n3"}
    story.ask(credit("a"))
    assert story.core.transferring is None
    assert story.core.kinds.count(EntryKind.COMMAND) == 1, "it leads on"
    story.parts.unfit_nodes = {"n2"}
    story.ask()
    assert story.core.transferring is None, "not at every turn"
    story.now_s += HAND_OVER_AGAIN_S
    story.ask()
    assert story.core.transferring == "n3"


# -- one connection that sends very many commands ------------------------------------------------------


def test_a_connection_with_many_commands_does_not_keep_others_waiting(story: Story) -> None:
    """All that it has sent would be a round of replication that the other's command waits for."""
    flood, other = ReplyRecorder(), ReplyRecorder()
    many = [flood.pending(credit(f"f{number}")) for number in range(3 * SHARE)]
    story.router.accept(requests(*many, other.pending(credit("other"))))
    proposed = len(story.core.proposed)
    assert proposed == SHARE + 1
    assert b"other" in story.core.proposed[-1]
    assert story.router.wake_thresholds().commands == 1, "the turn that follows is one smaller"


def test_what_waits_of_such_a_connection_is_proposed_in_its_order(story: Story) -> None:
    flood, other = ReplyRecorder(), ReplyRecorder()
    story.router.accept(requests(other.pending(credit("other"))))
    story.router._proposals.pop_all_but(None)
    many = [flood.pending(credit(f"f{number:04}")) for number in range(3 * SHARE)]
    story.router.accept(requests(*many))
    for _ in range(2):
        story.router._proposals.pop_all_but(None)  # as if they were committed
        assert story.router.wake_thresholds().commands == 0, "the next turn does not wait for anything"
        story.router.accept(Inputs())
    found = re.findall(rb"f\d{4}", b"".join(story.core.proposed))
    assert found == [b"f%04d" % number for number in range(3 * SHARE)]


def test_a_connection_that_is_alone_has_a_larger_share_until_another_one_comes(story: Story) -> None:
    bulk, other = ReplyRecorder(), ReplyRecorder()

    def proposed_of(count: int, *others: PendingRequest) -> int:
        before = len(story.core.proposed)
        many = [bulk.pending(credit(f"b{before}-{number}")) for number in range(count)]
        story.router._held.clear()
        story.router._proposals.pop_all_but(None)  # as if they were committed
        story.router.accept(requests(*many, *others))
        return len(story.core.proposed) - before

    assert proposed_of(2 * SHARE_ALONE) == SHARE_ALONE
    assert proposed_of(2 * SHARE_ALONE, other.pending(credit("other"))) == SHARE + 1
    story.now_s += ALONE_S / 2
    assert proposed_of(2 * SHARE_ALONE) == SHARE, "the other one may come again"
    story.now_s += ALONE_S / 2
    assert proposed_of(2 * SHARE_ALONE) == SHARE_ALONE
    assert proposed_of(0, other.pending(credit("other again"))) == 1
    assert proposed_of(2 * SHARE_ALONE) == SHARE, "it asks, and each time when nothing else waits"


def test_a_server_that_forwards_has_a_larger_share(story: Story) -> None:
    peer = ReplyRecorder()
    story.router.accept(
        requests(*(peer.pending(credit(f"f{number}"), forwarded=True) for number in range(3 * SHARE)))
    )
    assert len(story.core.proposed) == 3 * SHARE
