"""What an administrator may ask of a leader, what is refused, and what becomes of requests meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from atm.config import Address, NodeConfig
from atm.ledger.commands import (
    LedgerReceipt,
    LoggedCommand,
    LoggedDeed,
    MembershipChange,
    NoteDeed,
    Outcome,
)
from atm.ledger.commands import Member as LedgerMember
from atm.ledger.ledger import ClusterState
from atm.permissions import needed
from atm.raft import Entry, EntryKind, Member, Role, encode_configuration
from atm.server.group.administration import ANNOUNCE_AGAIN_S, BEHIND_MAX
from atm.server.group.inbox import Inputs, PendingRequest
from atm.server.group.request_router import HAND_OVER_S, RequestRouter
from atm.wire.client_messages import (
    AddMember,
    AdminChange,
    Members,
    MoveMember,
    PromoteMember,
    RemoveMember,
    ReplaceMember,
    TransferLeadership,
)
from atm.wire.codec import encode
from atm.wire.log_entries import decode_command, decode_entry
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

NODES = ("n1", "n2", "n3")
AT = {"peer": "h4:6000", "client": "h4:5000"}


def place(node: str) -> Address:
    return Address(f"h{node[1:]}", 6000)


class Story:
    """The router of leader n1 at feature level 2; n2 and n3 are connected, and their addresses announced."""

    def __init__(self) -> None:
        self.core, self.parts, self.client = FakeCore(), Recorder(), ReplyRecorder()
        self.now_s = 10.0
        self.parts.cluster = ClusterState(id="ab" * 16, voters=NODES, feature_level=2)
        self.parts.decided_index = self.core.last_index
        self.first_stores = {n: f"store of {n}" for n in NODES}
        listed = {n: NodeConfig(n, client=Address("ini", 5000), peer=Address("ini", 6000)) for n in NODES}
        self.router = RequestRouter(
            "n1",
            self.core,
            self.parts,
            self.parts,
            self.parts,
            keeper_of(self.core, self.parts),
            listed=listed,
            first_store=lambda node: self.first_stores.get(node, ""),
            first_number=1,
            clock=lambda: self.now_s,
            wall_clock_us=lambda: 5,
        )
        announced = [Member(n, True, str(place(n)), f"h{n[1:]}:5000", f"store of {n}") for n in NODES]
        self.core.configuration = (1, tuple(announced))
        self.core.match_indexes = dict.fromkeys(NODES[1:], 10)
        for node in NODES[1:]:
            self.connect(node)
        self.router.notice_changes()

    def connect(self, node: str, *, at: Address | None = None, **changes: Any) -> None:
        self.parts.places[node] = at or place(node)
        self.router.accept(Inputs(hellos=[(node, replace(hello_of(node), **changes))]))

    def disconnect(self, node: str) -> None:
        self.parts.places.pop(node, None)
        self.router.accept(Inputs(hellos=[(node, None)]))

    def ask(self, request: AdminChange, actor: str = "local", roles: int = 0) -> dict[str, Any] | None:
        """Return the reply, None if there is none yet."""
        before = len(self.client.answers)
        pending = self.client.pending(request, actor=actor, roles=roles)
        self.router.accept(requests(pending))
        self.router.notice_changes()
        return self.client.answers[-1] if len(self.client.answers) > before else None

    def refusal(self, request: AdminChange) -> str:
        answer = self.ask(request)
        assert answer is not None
        assert (answer["outcome"], answer["index"]) == ("refused", 0)
        return str(answer["message"])

    def commit(self, term: int = 1) -> dict[str, Any]:
        """Commit the newest entry, as one of `term`; return the reply to that."""
        self.commit_quietly(None, term)
        return self.client.answers[-1]

    def decide(self) -> None:
        """Commit and decide the newest entry, and run no iteration yet."""
        self.core.commit_index = self.parts.decided_index = self.core.last_index

    def commit_quietly(self, outcome: Outcome | None, term: int = 1) -> None:
        """Commit the newest entry with this outcome, and run an iteration."""
        self.decide()
        index = self.core.last_index
        receipt = None if outcome is None else LedgerReceipt(id="x", outcome=outcome, log_index=index)
        entry = Entry(index=index, term=term, time_us=1, kind=EntryKind.MEMBERSHIP, data=b"")
        self.router.on_committed([entry], [receipt])
        self.router.accept(Inputs())

    def hand_over(self, request: TransferLeadership) -> None:
        """Ask for it, and let it be recorded."""
        assert self.ask(request) is None
        self.commit_quietly(Outcome.OK)

    def member(self, node: str) -> Member | None:
        return next((each for each in self.core.configuration[1] if each.node == node), None)

    def learner(self, **changes: Any) -> None:
        """Make n4 a learner that is connected and has caught up, but for `changes`."""
        self.core.configuration = (
            2,
            (*self.core.configuration[1], Member("n4", False, "h4:6000", "h4:5000")),
        )
        self.core.match_indexes["n4"] = changes.pop("matched", self.core.last_index)
        self.connect("n4", **changes)


@pytest.fixture
def story() -> Story:
    return Story()


# -- one request after the other -----------------------------------------------------------------------


def test_a_server_is_added_as_a_learner_and_the_reply_waits_for_the_commit(story: Story) -> None:
    assert story.ask(AddMember(id="a", node="n4", **AT)) is None
    assert story.member("n4") == Member("n4", False, "h4:6000", "h4:5000")
    answer = story.commit()
    assert (answer["id"], answer["outcome"], answer["index"]) == ("a", "ok", story.core.last_index)


def test_a_change_whose_entry_was_replaced_is_unknown(story: Story) -> None:
    story.ask(AddMember(id="a", node="n4", **AT))
    assert story.commit(term=2)["outcome"] == "unknown"


def test_a_change_is_unknown_when_leadership_is_lost(story: Story) -> None:
    story.ask(AddMember(id="a", node="n4", **AT))
    story.core.follow("n2", term=2)
    story.router.notice_changes()
    assert story.client.outcomes == [("a", "unknown")]


def test_nothing_is_said_to_be_so_or_refused_while_a_change_is_under_way(story: Story) -> None:
    """It may be undone, if this leader goes; and it may be the one that is asked for again. Seed 50125."""
    story.ask(AddMember(id="a", node="n4", **AT))
    for request in (AddMember(id="a", node="n4", **AT), RemoveMember(id="r", node="n9")):
        answer = story.ask(request)
        assert answer is not None
        message = "the change in entry 11 is under way: one at a time, try again"
        assert (answer["outcome"], answer["message"]) == ("busy", message)
    story.commit()
    answer = story.ask(AddMember(id="c", node="n4", **AT))
    assert answer is not None
    assert answer["outcome"] == "ok"


def test_a_removal_is_under_way_until_the_ledger_has_it(story: Story) -> None:
    """Else the same request, asked again, was refused: no such member, and nobody had removed it."""
    remove = RemoveMember(id="r", node="n3", yes=True)
    story.ask(remove)
    story.core.commit_index = story.core.last_index
    answer = story.ask(remove)
    assert answer is not None
    assert answer["outcome"] == "busy"


def test_below_feature_level_2_members_do_not_change(story: Story) -> None:
    story.parts.cluster = replace(story.parts.cluster, feature_level=1)
    assert "at feature level 1, at which members cannot change" in story.refusal(
        AddMember(id="a", node="n4", **AT)
    )


@pytest.mark.parametrize(
    "request_",
    [
        AddMember(id="x", node="n2", peer="h2:6000", client="h2:5000"),
        PromoteMember(id="x", node="n2"),
        MoveMember(id="x", node="n2", peer="h2:6000", client="h2:5000"),
        TransferLeadership(id="x", node="n1"),
    ],
    ids=lambda request: type(request).__name__,
)
def test_what_is_so_already_is_ok_without_an_entry(story: Story, request_: AdminChange) -> None:
    answer = story.ask(request_)
    assert answer is not None
    assert answer["outcome"] == "ok"
    assert story.core.last_index == 10


def test_a_learner_is_promoted_with_the_data_folder_that_it_shows(story: Story) -> None:
    story.learner(store="its disk")
    assert story.ask(PromoteMember(id="p", node="n4")) is None
    found = story.member("n4")
    assert found is not None
    assert (found.voter, found.store) == (True, "its disk")


def test_a_learner_is_not_promoted_before_it_has_caught_up(story: Story) -> None:
    story.core.last_index = 5000
    story.learner(matched=5000 - BEHIND_MAX - 1)
    assert f"still lacks {BEHIND_MAX + 1} log entries" in story.refusal(PromoteMember(id="p", node="n4"))
    story.core.match_indexes["n4"] += 1
    assert story.ask(PromoteMember(id="q", node="n4")) is None


def test_a_learner_is_not_promoted_unless_it_is_reached_where_it_was_announced(story: Story) -> None:
    story.learner(at=Address("elsewhere", 6000))
    assert "does not reach node n4 at its announced address h4:6000" in story.refusal(
        PromoteMember(id="p", node="n4")
    )
    story.disconnect("n4")
    assert "is not connected" in story.refusal(PromoteMember(id="q", node="n4"))


def test_a_learner_is_not_promoted_into_a_cluster_without_a_majority(story: Story) -> None:
    story.learner()
    story.disconnect("n2")
    story.core.lost_disks = {"n3"}
    assert "only n1, n4 answer, and that is no majority" in story.refusal(PromoteMember(id="p", node="n4"))


def test_fewer_voters_must_be_meant_and_the_last_one_stays(story: Story) -> None:
    assert "without node n2 the cluster has 2 voters, of which 2 answer, and 2 must" in story.refusal(
        RemoveMember(id="r", node="n2")
    )
    assert story.ask(RemoveMember(id="s", node="n2", yes=True)) is None
    assert story.member("n2") is None
    story.core.configuration = (3, (story.core.configuration[1][0],))
    assert "is the last voter" in story.refusal(RemoveMember(id="t", node="n1", yes=True))


def test_a_learner_is_removed_without_more_ado_and_once(story: Story) -> None:
    story.learner()
    assert story.ask(RemoveMember(id="r", node="n4")) is None
    story.commit()
    story.parts.cluster = replace(story.parts.cluster, removed=(("n4", 11),))
    answer = story.ask(RemoveMember(id="s", node="n4"))
    assert answer is not None
    assert (answer["outcome"], answer["index"]) == ("ok", 11)


def test_a_lost_disk_is_replaced_by_the_one_that_is_shown(story: Story) -> None:
    assert "there is nothing to replace" in story.refusal(ReplaceMember(id="r", node="n2"))
    story.core.lost_disks = {"n2"}
    story.connect("n2", store="new disk")
    assert "has lost its disk: replace it first" in story.refusal(PromoteMember(id="p", node="n2"))
    assert story.ask(ReplaceMember(id="s", node="n2")) is None
    assert story.member("n2") == Member("n2", False, "h2:6000", "h2:5000", store="new disk")
    story.commit()
    story.disconnect("n3")
    assert "is not connected" in story.refusal(ReplaceMember(id="t", node="n3"))


def test_no_two_servers_have_one_address(story: Story) -> None:
    for peer, client in (("h2:6000", "h4:5000"), ("h4:6000", "h2:5000"), ("h4:1", "h4:1")):
        for request in (
            AddMember(id="a", node="n4", peer=peer, client=client),
            MoveMember(id="m", node="n3", peer=peer, client=client),
        ):
            message = story.refusal(request)
            assert "is the address of node n2" in message or "cannot be both" in message


def test_what_the_core_refuses_is_refused_with_its_reason(story: Story) -> None:
    story.core.change_refusal = "one at a time, try again"
    assert story.refusal(AddMember(id="a", node="n4", **AT)) == "one at a time, try again"


def test_any_server_tells_the_members(story: Story) -> None:
    members = (LedgerMember("n1", True, "h:1", "h:2"), LedgerMember("n2", False, "h:3", "h:4"))
    story.parts.cluster = replace(story.parts.cluster, members=members)
    story.parts.decided_index = story.parts.applied_index + 1
    story.core.follow("n2", term=2)
    story.router.accept(requests(PendingRequest(story.client, 0, Members(id="m"), b"", "local")))
    [answer] = story.client.answers
    assert [(each["node"], each["voter"]) for each in answer["members"]] == [("n1", True), ("n2", False)]
    assert answer["index"] == story.parts.decided_index, "the list is newer than the file"


# -- deeds ---------------------------------------------------------------------------------------------


def test_the_entry_of_a_change_says_who_asked_for_what(story: Story) -> None:
    story.ask(RemoveMember(id="r1", node="n3", yes=True), "ada", 1)
    [reason] = story.core.reasons
    deed = LoggedDeed("ada", NoteDeed(id="r1", deed="remove_member", target="n3"), 1)
    members = (Member("n1", True), Member("n2", True))
    entry = Entry(
        index=11, term=1, time_us=1, kind=EntryKind.MEMBERSHIP, data=encode_configuration(members, reason)
    )
    assert decode_entry(entry) == MembershipChange(
        tuple(LedgerMember(m.node, True, "", "") for m in members), deed
    )
    assert decode_command(reason) == LoggedCommand("ada", deed.command, 1)


def test_what_the_leader_completes_by_itself_is_nobodys_deed() -> None:
    story = Story()
    story.core.configuration = (0, tuple(Member(n, True) for n in NODES))
    story.now_s += 2 * ANNOUNCE_AGAIN_S
    story.router.accept(Inputs())
    assert story.core.reasons == [b""]


def test_leadership_is_handed_over_only_once_it_is_recorded_who_asked_for_it(story: Story) -> None:
    story.core.match_indexes = {"n2": 10, "n3": 9}
    assert story.ask(TransferLeadership(id="t"), "ada", 1) is None
    assert story.core.transferring is None
    [data] = story.core.proposed
    note = NoteDeed(id="t", deed="transfer_leadership", target="n2")
    assert decode_command(data) == LoggedCommand("ada", note, 1)
    assert story.router.waiting
    story.commit_quietly(Outcome.OK)
    assert story.core.transferring == "n2"
    assert story.ask(TransferLeadership(id="u"), "ada", 1) is None, "it joins what is under way"
    assert len(story.core.proposed) == 1


def test_who_was_revoked_ahead_of_the_record_hands_nothing_over(story: Story) -> None:
    story.ask(TransferLeadership(id="t", node="n2"), "ada", 1)
    story.commit_quietly(Outcome.NOT_ALLOWED)
    [answer] = story.client.answers
    assert (answer["outcome"], answer["message"]) == ("not_allowed", needed("transfer_leadership"))
    assert story.core.transferring is None


def test_a_transfer_that_is_refused_is_not_recorded(story: Story) -> None:
    story.core.change_refusal = "n2 does not answer, so it cannot lead now"
    assert story.refusal(TransferLeadership(id="t", node="n2")) == story.core.change_refusal
    assert story.core.proposed == []
    story.core.change_refusal = ""
    story.ask(TransferLeadership(id="u", node="n2"))
    story.core.change_refusal = "n2 does not answer, so it cannot lead now"
    story.commit_quietly(Outcome.OK)
    assert story.client.outcomes[-1] == ("u", "refused"), "it went away meanwhile"


def test_a_transfer_whose_leader_goes_between_record_and_deed_is_not_begun(story: Story) -> None:
    story.ask(TransferLeadership(id="t", node="n2"))
    story.core.follow("n3", term=2)
    story.router.notice_changes()
    assert story.client.outcomes == [("t", "unknown")], "the record may be there"
    story = Story()
    story.ask(TransferLeadership(id="t", node="n2"))
    index = story.core.last_index
    entry = Entry(index=index, term=1, time_us=1, kind=EntryKind.COMMAND, data=b"")
    story.router.on_committed([entry], [LedgerReceipt(id="t", outcome=Outcome.OK, log_index=index)])
    assert story.router.waiting
    story.core.follow("n3", term=2)
    story.router.accept(Inputs())
    assert (story.client.outcomes, story.core.transferring) == ([("t", "unavailable")], None)


def test_a_node_that_stops_between_record_and_deed_says_that_nothing_was_done(story: Story) -> None:
    story.ask(TransferLeadership(id="t", node="n2"))
    index = story.core.last_index
    entry = Entry(index=index, term=1, time_us=1, kind=EntryKind.COMMAND, data=b"")
    story.router.on_committed([entry], [LedgerReceipt(id="t", outcome=Outcome.OK, log_index=index)])
    story.router.close()
    assert story.client.outcomes == [("t", "unavailable")]


def test_below_feature_level_2_leadership_is_handed_over_without_a_record(story: Story) -> None:
    story.parts.cluster = replace(story.parts.cluster, feature_level=1)
    story.ask(TransferLeadership(id="t", node="n2"))
    assert EntryKind.COMMAND not in story.core.kinds
    assert story.core.transferring == "n2"


# -- addresses -----------------------------------------------------------------------------------------


def test_a_leader_announces_the_addresses_that_servers_say_and_else_those_of_cluster_ini() -> None:
    story = Story()
    story.core.configuration = (0, tuple(Member(n, True) for n in NODES))
    story.now_s += 2 * ANNOUNCE_AGAIN_S
    story.connect("n2", peer_address="said:6000", client_address="said:5000")
    said = {each.node: each.peer for each in story.core.configuration[1]}
    assert said == {"n1": "ini:6000", "n2": "said:6000", "n3": "ini:6000"}
    before = story.core.last_index
    story.decide()
    story.now_s += 2 * ANNOUNCE_AGAIN_S
    story.router.accept(Inputs())
    assert story.core.last_index == before, "once is enough"


def test_a_leader_names_the_first_data_folder_of_each_voter_before_others_join(story: Story) -> None:
    """A server that joins later, and sees a lost disk's successor first, must not count that."""
    unnamed = tuple(replace(member, store="") for member in story.core.configuration[1])
    story.core.configuration = (1, unnamed)
    del story.first_stores["n3"]
    story.connect("n3", store="another disk")
    asked = (AddMember(id="a", node="n4", **AT), ReplaceMember(id="r", node="n3"))
    story.core.lost_disks = {"n3"}
    story.decide()
    assert {m.node: m.store for m in story.core.configuration[1]} == {
        "n1": "store of n1",
        "n2": "store of n2",
        "n3": "",
    }
    for request in asked:
        assert "which data folder counts for n3" in story.refusal(request)
    story.first_stores["n3"] = "store of n3"
    story.now_s += 2 * ANNOUNCE_AGAIN_S
    story.router.accept(Inputs())
    story.decide()
    assert story.member("n3") == replace(unnamed[2], store="store of n3")
    assert story.ask(asked[1]) is None


# -- handing over --------------------------------------------------------------------------------------


def test_a_new_leader_is_told_once_it_leads(story: Story) -> None:
    story.hand_over(TransferLeadership(id="t", node="n3"))
    story.core.transferring = None
    story.core.follow(None, term=2)
    story.router.notice_changes()
    assert story.client.answers == []
    story.core.leader = "n3"
    story.router.notice_changes()
    [answer] = story.client.answers
    assert (answer["outcome"], answer["message"]) == ("ok", "node n3 leads, in term 2")


def test_a_transfer_that_is_given_up_is_refused(story: Story) -> None:
    story.hand_over(TransferLeadership(id="t", node="n3"))
    story.core.transferring = None
    story.router.notice_changes()
    assert story.client.outcomes == [("t", "refused")]


def test_the_best_successor_is_a_voter_that_knows_how_to_take_over(story: Story) -> None:
    story.core.match_indexes = {"n2": 10, "n3": 9}
    assert story.router.hand_over()
    assert story.core.transferring == "n2"
    for protocol, lost in ((3, set[str]()), (4, {"n2"})):
        story.core.transferring = None
        story.connect("n2", protocol_max=protocol)
        story.core.lost_disks = lost
        assert story.router.hand_over()
        assert story.core.transferring == "n3"


def test_while_leadership_is_handed_over_requests_wait_for_the_next_leader(story: Story) -> None:
    story.router.accept(requests(story.client.pending(credit("proposed"))))
    story.router.accept(requests(story.client.pending(query("read"))))
    assert story.router.hand_over()
    story.router.accept(requests(story.client.pending(credit("late"))))
    story.router.accept(requests(story.client.pending(credit("stray"), forwarded=True)))
    assert len(story.core.proposed) == 1
    story.core.transferring = None
    story.core.follow(None, term=2)
    story.router.drop_reads([1])
    story.router.notice_changes()
    story.router.accept(Inputs())
    assert story.client.answers == [], "nobody knows yet who leads"
    story.core.leader = "n2"
    story.router.notice_changes()
    story.router.accept(Inputs())
    assert [payload for _, _, payload in story.parts.forwarded] == [
        encode(request) for request in (credit("late"), credit("stray"), query("read"))
    ]
    receipt = LedgerReceipt(id="proposed", outcome=Outcome.OK, balance=1, available=1, log_index=11)
    entry = Entry(index=11, term=1, time_us=1, kind=EntryKind.COMMAND, data=b"x")
    story.router.on_committed([entry], [receipt])
    assert story.client.outcomes == [("proposed", "ok")]


def test_what_waits_for_a_leader_that_does_not_come_is_told_so(story: Story) -> None:
    story.router.accept(requests(story.client.pending(credit("proposed"))))
    story.hand_over(TransferLeadership(id="t", node="n2"))
    story.core.transferring = None
    story.core.follow(None, term=2)
    story.router.notice_changes()
    story.router.accept(requests(story.client.pending(credit("late"))))
    story.now_s += HAND_OVER_S
    story.router.expire()
    story.router.accept(Inputs())
    assert sorted(story.client.outcomes) == [
        ("late", "unavailable"),
        ("proposed", "unknown"),
        ("t", "unknown"),
    ]


def test_a_node_that_stops_takes_nothing_new_and_answers_what_it_has(story: Story) -> None:
    story.router.accept(requests(story.client.pending(credit("a"))))
    story.router.drain()
    story.router.accept(requests(story.client.pending(credit("b"))))
    assert story.client.outcomes == [("b", "unavailable")]
    assert story.router.waiting
    assert story.core.role is Role.LEADER
