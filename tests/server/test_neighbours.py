"""Where links go, what is said of cluster.ini, and when a node knows that it was removed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from atm.config import Address
from atm.ledger.commands import Member as LedgerMember
from atm.ledger.ledger import ClusterState
from atm.raft import Configuration, Member
from atm.server.group.roster import Roster
from atm.server.peers.handshake import Handshake
from atm.server.peers.neighbours import Neighbours
from atm.storage.data_folder import DataFolder
from atm.wire.peer_messages import Hello, Welcome
from tests.support.collecting import collecting
from tests.support.hellos import hello_of
from tests.support.server_parts import cluster_of

NODES = ("n1", "n2", "n3")
A, B, C = (Address("h", port) for port in (1, 2, 3))


class Parts:
    """Links and the peers' server: remember what they are told."""

    def __init__(self) -> None:
        self.places: Mapping[str, Sequence[Address]] = {}
        self.redials = 0

    def follow(self, told: object) -> None:
        if isinstance(told, dict):
            self.places = told

    def redial(self) -> None:
        self.redials += 1


class Story:
    def __init__(self, folder: Path, *, index: int = 0) -> None:
        """`index` is that of the entry in n1's log that names the members."""
        self.cluster = cluster_of(folder, *NODES)
        self.folder = DataFolder(self.cluster, "n1")
        self.parts, self.said, self.removed, self.not_first = Parts(), list[str](), list[str](), list[str]()
        roster = Roster(index, members_of(*NODES), {}, self.cluster.nodes)
        self.handshake = Handshake(hello_of("n1"), roster)
        self.neighbours = Neighbours(
            "n1",
            self.handshake,
            self.parts,  # type: ignore[arg-type]
            self.parts,  # type: ignore[arg-type]
            self.folder,
            logger=collecting(self.said),
            on_removed=self.removed.append,
            on_not_first=self.not_first.append,
        )

    def listed(self, node: str) -> Address:
        return self.cluster.nodes[node].peer

    def hear(self, peer: str, said: Welcome | int) -> None:
        self.neighbours.note_peers([], [(peer, said)])


def members_of(*names: str, **stores: str) -> Configuration:
    return tuple(Member(name, voter=True, store=stores.get(name, "")) for name in names)


def welcome(peer: str, *, learner: bool = False, stale: bool = False) -> Welcome:
    return Welcome(node=peer, learner=learner, protocol=4, stale=stale)


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    story = Story(tmp_path)
    yield story
    story.folder.close()


def test_a_server_is_looked_for_where_the_log_says_then_cluster_ini_then_itself(story: Story) -> None:
    assert story.parts.places == {node: (story.listed(node),) for node in ("n2", "n3")}
    story.neighbours.note_configuration(5, (Member("n1", True), Member("n2", True, str(A), str(B))))
    assert story.parts.places == {"n2": (A, story.listed("n2"))}
    story.neighbours.note_peers([("n2", hello_at("n2", C))], [])
    assert story.parts.places == {"n2": (A, story.listed("n2"), C)}


def hello_at(node: str, address: Address) -> Hello:
    return replace(hello_of(node), peer_address=str(address))


def test_a_server_of_the_cluster_that_the_log_does_not_name_yet_is_answered_where_it_says(
    story: Story,
) -> None:
    story.neighbours.note_peers([("n9", hello_at("n9", C))], [])
    assert story.parts.places["n9"] == (C,)
    story.neighbours.note_peers([("n9", None)], [])
    assert "n9" not in story.parts.places


def removed_in_entry_7() -> ClusterState:
    members = tuple(LedgerMember(node, True, "", "") for node in ("n2", "n3"))
    return ClusterState(id="ab" * 16, voters=(), feature_level=2, members=members, removed=(("n1", 7),))


def test_a_node_ends_when_its_own_log_and_most_others_say_that_it_was_removed(story: Story) -> None:
    story.neighbours.note_configuration(7, members_of("n2", "n3"))
    story.neighbours.note_cluster(removed_in_entry_7())
    story.hear("n2", 7)
    assert story.removed == []
    story.hear("n3", 7)
    assert "removed from the cluster in log entry 7" in story.removed[0]


def test_a_node_that_was_added_again_goes_on_past_the_entry_that_removed_it(story: Story) -> None:
    story.hear("n2", welcome("n2"))
    story.hear("n3", 7)
    story.neighbours.note_configuration(7, members_of("n2", "n3"))
    story.neighbours.note_cluster(removed_in_entry_7())
    assert story.removed == []


def test_a_node_ends_when_most_others_say_that_it_was_removed(story: Story) -> None:
    story.hear("n2", 7)
    story.hear("n9", 7)
    assert story.removed == []
    story.hear("n3", 7)
    assert "removed from the cluster in log entry 7" in story.removed[0]


def test_a_node_that_was_added_again_is_not_ended_by_peers_that_do_not_know_that(story: Story) -> None:
    story.neighbours.note_configuration(9, members_of(*NODES))
    story.hear("n2", 7)
    story.hear("n3", 7)
    story.hear("n2", 9 - 1)
    assert story.removed == []


def test_a_node_is_not_ended_by_an_older_entry_than_the_one_that_named_it_before_it_started(
    tmp_path: Path,
) -> None:
    story = Story(tmp_path, index=9)
    with closing(story.folder):
        story.hear("n2", 7)
        story.hear("n3", 8)
        assert story.removed == []
        story.hear("n2", 9 + 1)
        story.hear("n3", 9 + 1)
        assert "removed from the cluster in log entry 10" in story.removed[0]


def test_a_server_that_says_it_was_added_again_later_is_answered(story: Story) -> None:
    """It is the leader, perhaps, which must hear what this node has of its log."""
    story.neighbours.note_configuration(7, members_of("n1", "n3"))
    story.neighbours.note_cluster(replace(removed_in_entry_7(), removed=(("n2", 7),)))
    for member_at, answered in ((6, False), (9, True)):
        story.neighbours.note_peers([("n2", replace(hello_of("n2"), member_at=member_at))], [])
        assert ("n2" in story.parts.places) == answered


def test_what_cluster_ini_says_otherwise_is_said_once(story: Story) -> None:
    story.neighbours.note_configuration(
        5, (Member("n1", True), Member("n2", True, str(A)), Member("n4", True))
    )
    members = tuple(LedgerMember(node, True, "", "") for node in ("n1", "n2", "n4"))
    state = ClusterState(id="ab" * 16, voters=(), feature_level=2, members=members, removed=(("n3", 4),))
    for _ in range(2):
        story.neighbours.note_cluster(state)
    assert [line.split(":")[0].removesuffix(f" {story.listed('n2').host}") for line in story.said] == [
        "cluster.ini lists node n3, which is no member of this cluster",
        "cluster.ini gives node n2 the peer address",
        "cluster.ini does not list node n4, a member of this cluster",
    ]
    assert "it was removed in log entry 4" in story.said[0]


def test_a_node_has_a_vote_if_the_log_names_its_folder_or_no_peer_knows_it_by_another(story: Story) -> None:
    assert story.neighbours.has_vote
    story.hear("n2", welcome("n2", learner=True))
    assert not story.neighbours.has_vote
    story.neighbours.note_configuration(5, members_of(*NODES, n1=story.folder.store))
    assert story.neighbours.has_vote
    story.neighbours.note_configuration(6, members_of(*NODES, n1="another folder"))
    assert not story.neighbours.has_vote
    story.neighbours.note_configuration(7, (Member("n1", voter=False), Member("n2", True)))
    assert not story.neighbours.has_vote


def test_an_old_copy_takes_a_new_store_id_once_and_greets_again(story: Story) -> None:
    before = story.folder.store
    story.hear("n2", welcome("n2", learner=True, stale=True))
    renewed = story.folder.store
    assert renewed != before
    assert story.handshake.hello.store == renewed
    assert "is an old copy" in story.said[0]
    story.hear("n3", welcome("n3", learner=True, stale=True))
    assert (story.folder.store, story.parts.redials) == (renewed, 1)


# -- whether the log may mean another folder of this node ------------------------------------------------


def test_a_server_that_a_peer_knows_by_another_folder_remembers_that(story: Story) -> None:
    story.hear("n2", welcome("n2"))
    story.neighbours.note_configuration(5, members_of(*NODES))
    assert (story.not_first, story.folder.is_not_first) == ([], False)
    story.hear("n3", welcome("n3", learner=True))
    assert story.not_first == [story.folder.store], "the core is told"
    story.folder.close()
    story.folder = DataFolder(story.cluster, "n1")
    assert story.folder.is_not_first, "and is told again at each start"


def test_a_server_whose_folder_the_log_names_remembers_that(story: Story) -> None:
    """It was a voter by an older folder, or may have been."""
    named = members_of(*NODES, n1=story.folder.store)
    story.neighbours.note_configuration(4, named)
    assert story.not_first == [], "it founded the cluster"
    story.neighbours.note_configuration(5, tuple(replace(member, since=5) for member in named))
    assert story.not_first == [story.folder.store]
    assert story.folder.is_not_first


def test_an_old_copy_takes_another_name_and_is_not_the_first_folder_either(story: Story) -> None:
    story.hear("n2", welcome("n2", learner=True, stale=True))
    assert story.not_first == [story.folder.store]
    assert story.folder.is_not_first
