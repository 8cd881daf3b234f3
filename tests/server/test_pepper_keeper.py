"""A leader makes a newer pepper current once all members know it, and carries over what is stored."""

from __future__ import annotations

from typing import Any

import pytest

from atm.ledger.commands import LedgerReceipt, Outcome, Reseal, RotatePepper
from atm.ledger.ledger import ClusterState
from atm.ledger.peppers import PepperState, of_generation
from atm.raft import Entry, EntryKind
from atm.raft.ready import Role
from atm.server.group.pepper_keeper import ACCOUNTS_AT_ONCE, PAUSE_S, REQUESTS_AT_ONCE, PepperKeeper
from atm.server.group.request_router import RequestRouter
from atm.server.security.peppers import PEPPER_BYTES, Peppers
from atm.wire.codec import encode
from atm.wire.log_entries import decode_command
from tests.support.server_parts import FakeCore, Recorder, ReplyRecorder, requests

SECRETS = [bytes([number]) * PEPPER_BYTES for number in range(1, 4)]
PEPPERS = Peppers(SECRETS)
ONE, TWO, THREE = PEPPERS.names
NODES = ("n1", "n2", "n3")


def seal(number: int, generation: int = 1) -> str:
    return PEPPERS.carried(f"{number:064x}", generation)


def rotate(generation: int = 2, **changes: Any) -> RotatePepper:
    return RotatePepper(id="r", generation=generation, pepper=PEPPERS.names[generation - 1], **changes)


class Story:
    """The keeper and the router of leader n1 at feature level 2; all know two peppers."""

    def __init__(self) -> None:
        self.core, self.parts, self.client = FakeCore(), Recorder(), ReplyRecorder()
        self.parts.cluster = ClusterState(id="ab" * 16, voters=NODES, feature_level=2)
        self.parts.decided_index = self.core.last_index
        self.own = Peppers(SECRETS[:2])
        self.others: dict[str, tuple[str, ...]] = {"n2": (ONE, TWO), "n3": (ONE, TWO)}
        self.now_s = 100.0
        self.keeper = PepperKeeper(
            "n1",
            self.core,
            self.parts,
            own=lambda: self.own,
            others=lambda: self.others,
            clock=lambda: self.now_s,
        )
        self.router = RequestRouter(
            "n1",
            self.core,
            self.parts,
            self.parts,
            self.parts,
            self.keeper,
            listed={},
            first_number=1,
            clock=lambda: self.now_s,
            wall_clock_us=lambda: 5,
        )
        self.router.notice_changes()

    def ask(self, request: RotatePepper, roles: int = 0) -> dict[str, Any] | None:
        """Return the answer that comes at once, if any."""
        before = len(self.client.answers)
        self.router.accept(requests(self.client.pending(request, roles=roles)))
        answers = self.client.answers[before:]
        return answers[0] if answers else None

    def commit(self, index: int, outcome: Outcome) -> dict[str, Any]:
        receipt = LedgerReceipt(id="r", outcome=outcome, log_index=index)
        entry = Entry(index=index, term=1, time_us=1, kind=EntryKind.COMMAND, data=b"x")
        self.router.on_committed([entry], [receipt])
        return self.client.answers[-1]

    def proposed(self) -> list[Reseal]:
        said = [decode_command(data) for data in self.core.proposed]
        assert all(each.actor == "bank" for each in said)
        return [each.command for each in said if isinstance(each.command, Reseal)]

    def run(self, times: int = 1) -> None:
        """Let time pass: what is proposed is applied at once."""
        for _ in range(times):
            self.now_s += PAUSE_S
            self.keeper.look()
            self.router.accept(requests())
            self.parts.decided_index = self.core.last_index


@pytest.fixture
def story() -> Story:
    return Story()


# -- a newer pepper becomes current ----------------------------------------------------------------------


def test_a_pepper_that_all_members_know_becomes_current_by_an_entry(story: Story) -> None:
    assert story.ask(rotate()) is None
    logged = decode_command(story.core.proposed[0])
    assert logged.command == rotate()
    answer = story.commit(11, Outcome.OK)
    assert (answer["outcome"], answer["index"]) == ("ok", 11)
    assert f"pepper {TWO} is current" in answer["message"]


def test_the_rules_may_still_refuse_it(story: Story) -> None:
    assert story.ask(rotate(), roles=1) is None
    assert decode_command(story.core.proposed[0]).roles == 1
    answer = story.commit(11, Outcome.NOT_ALLOWED)
    assert (answer["outcome"], answer["message"]) == (
        "not_allowed",
        "Not allowed: rotate_pepper needs the role admin",
    )
    assert story.ask(rotate()) is None
    assert story.commit(12, Outcome.ID_REUSED)["outcome"] == "refused"
    refused = story.ask(rotate(), roles=8)
    assert refused is not None
    assert refused["outcome"] == "not_allowed"


@pytest.mark.parametrize(
    ("others", "why"),
    [
        ({"n2": (ONE, TWO), "n3": (ONE,)}, "n3 lacks it"),
        ({"n2": (ONE, "another"), "n3": ()}, "n2 lacks it, n3 lacks it"),
        ({"n3": (ONE, TWO)}, "n2 is not connected"),
    ],
)
def test_it_is_refused_with_the_names_of_those_who_do_not_know_it(
    story: Story, others: dict[str, tuple[str, ...]], why: str
) -> None:
    story.others = others
    refused = story.ask(rotate())
    assert refused is not None
    assert (refused["outcome"], refused["index"]) == ("refused", 0)
    assert refused["message"] == (
        f"pepper {TWO} is not known to all members: {why}. Copy the pepper file there"
    )
    assert not story.core.proposed


def test_the_leader_itself_must_know_it(story: Story) -> None:
    story.own = Peppers([SECRETS[0], SECRETS[2]])
    refused = story.ask(rotate())
    assert refused is not None
    assert "n1 lacks it" in refused["message"]


def test_it_is_refused_while_leadership_is_handed_over(story: Story) -> None:
    """No entry can be proposed then; the leader would end itself. Seed 88."""
    story.core.transferring = "n2"
    refused = story.ask(rotate())
    assert refused is not None
    assert refused["message"] == "leadership is being handed to n2: try again"
    assert not story.core.proposed


def test_what_is_current_already_is_ok_and_what_is_older_refused(story: Story) -> None:
    story.parts.pepper = PepperState(2, TWO, 7, None)
    done = story.ask(rotate())
    assert done is not None
    assert (done["outcome"], done["index"]) == ("ok", 7)
    story.parts.pepper = PepperState(3, THREE, 9, None)
    refused = story.ask(rotate())
    assert refused is not None
    assert refused["message"] == f"pepper {THREE} is current, and {TWO} is not a newer one"


def test_it_is_refused_below_feature_level_2_and_on_full_disks(story: Story) -> None:
    story.parts.no_space = "no space"
    refused = story.ask(rotate())
    assert refused is not None
    assert (refused["outcome"], refused["message"]) == ("refused", "no space")
    story.parts.cluster = ClusterState(id="ab" * 16, voters=NODES, feature_level=1)
    refused = story.ask(rotate())
    assert refused is not None
    assert "feature level 1" in refused["message"]
    assert not story.core.proposed


# -- what is stored is carried over ------------------------------------------------------------------------


def test_the_leader_carries_over_accounts_and_then_receipts_and_says_when_it_is_done(story: Story) -> None:
    story.parts.pepper = PepperState(2, TWO, 7, None)
    story.parts.pins = [("ann", seal(1)), ("bob", None), ("eve", seal(2, 2)), ("zoe", seal(3))]
    story.parts.new_pins = [("a", None), ("b", '{"pin":"12"}'), ("c", '{"pin":""}'), ("d", '{"pin":"2:12"}')]
    story.run(4)
    assert story.proposed() == [
        Reseal(generation=2, seals=(("ann", seal(1, 2)), ("zoe", seal(3, 2)))),
        Reseal(generation=2, receipts=("b",)),
        Reseal(generation=2, done=True),
        Reseal(generation=2, done=True),
    ]
    story.parts.pepper = PepperState(2, TWO, 7, 14)
    story.run(4)
    assert len(story.proposed()) == 4


def test_no_entry_says_an_older_seal(story: Story) -> None:
    """It would be in the log, and in the backups of it, for who knows the older pepper."""
    story.parts.pepper = PepperState(2, TWO, 7, None)
    story.parts.pins = [("ann", seal(1))]
    story.run(3)
    assert not any(seal(1).encode() in data for data in story.core.proposed)


def test_it_goes_in_small_steps_one_at_a_time_with_a_pause_between(story: Story) -> None:
    story.parts.pepper = PepperState(2, TWO, 7, None)
    story.parts.pins = [(f"a{number:04}", seal(number)) for number in range(3 * ACCOUNTS_AT_ONCE)]
    story.parts.new_pins = [(f"r{number:05}", None) for number in range(2 * REQUESTS_AT_ONCE)]
    story.keeper.look()
    story.router.accept(requests())
    story.now_s += 10
    story.keeper.look()
    story.router.accept(requests())
    assert len(story.proposed()) == 1, "one at a time"
    story.parts.decided_index = story.core.last_index
    story.keeper.look()
    story.keeper.look()
    story.router.accept(requests())
    story.parts.decided_index = story.core.last_index
    story.keeper.look()
    story.router.accept(requests())
    assert [len(each.seals) for each in story.proposed()] == [ACCOUNTS_AT_ONCE] * 2, "then a pause"
    story.run(20)
    assert [name for each in story.proposed() for name, _ in each.seals] == [n for n, _ in story.parts.pins]
    assert story.proposed()[-1].done


def test_another_leader_and_a_newer_pepper_begin_from_the_start(story: Story) -> None:
    story.parts.pepper = PepperState(2, TWO, 7, None)
    story.parts.pins = [(f"a{number:04}", seal(number)) for number in range(2 * ACCOUNTS_AT_ONCE)]
    story.run()
    story.keeper.look()
    story.core.follow("n2", 2)
    story.run(3)
    assert len(story.proposed()) == 1
    story.core.role, story.core.term = Role.LEADER, 3
    story.router.notice_changes()
    story.run()
    assert story.proposed()[1].seals[0][0] == "a0000", "what the last leader proposed may be lost"
    story.own, story.parts.pepper = PEPPERS, PepperState(3, THREE, 20, None)
    story.run()
    assert story.proposed()[2].seals[0] == ("a0000", seal(0, 3))


def test_what_was_prepared_in_an_earlier_term_is_not_proposed(story: Story) -> None:
    story.parts.pepper = PepperState(2, TWO, 7, None)
    story.parts.pins = [("ann", seal(1))]
    story.keeper.look()
    story.core.term = 5
    story.router.accept(requests())
    assert not story.proposed()


def test_a_leader_that_lacks_the_pepper_or_has_nothing_to_do_or_no_room_waits(story: Story) -> None:
    story.parts.pins = [("ann", seal(1))]
    story.run(2)
    story.parts.pepper = PepperState(3, THREE, 7, None)
    story.run(2)
    assert not story.proposed()
    story.parts.no_space, story.own = "no space", PEPPERS
    story.run(2)
    assert not story.proposed()
    story.parts.no_space = ""
    story.run()
    assert story.proposed() == [Reseal(generation=3, seals=(("ann", seal(1, 3)),))]


def test_the_largest_entry_is_short(story: Story) -> None:
    names = [f"{number:064}" for number in range(max(ACCOUNTS_AT_ONCE, REQUESTS_AT_ONCE))]
    seals = tuple((name, of_generation(32, "f" * 64)) for name in names[:ACCOUNTS_AT_ONCE])
    assert len(encode(Reseal(generation=32, seals=seals))) < 16 * 1024
    assert len(encode(Reseal(generation=32, receipts=tuple(names)))) < 80 * 1024
