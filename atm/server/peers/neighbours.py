"""Follows who the cluster's servers are: where links go, who is let in, whether this node is one of them.

Everything is called only within an iteration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from atm.checkout import command_here
from atm.config import Address
from atm.ledger.ledger import ClusterState
from atm.raft import Configuration, NodeId
from atm.server.group.roster import Roster
from atm.server.logger.logger import Logger
from atm.server.peers.changes import tell_changes
from atm.server.peers.handshake import Handshake
from atm.server.peers.links import Links
from atm.server.peers.peer_server import PeerServer
from atm.storage.data_folder import DataFolder
from atm.wire.peer_messages import Hello, Welcome

RELEASE_CHARS_MAX = 32


class Neighbours:
    """Keeps handshake, links and the peers' server up to date with the log and with what peers say."""

    def __init__(
        self,
        node: NodeId,
        handshake: Handshake,
        links: Links,
        server: PeerServer,
        folder: DataFolder,
        *,
        logger: Logger,
        on_removed: Callable[[str], None],
        on_not_first: Callable[[str], None],
    ) -> None:
        """`on_removed` is called with a line when this node is no member of the cluster any more.

        `on_not_first` is called with this folder's store id when the cluster turns out to know this node by
        another folder.
        """
        self._node = node
        self._handshake = handshake
        self._links = links
        self._server = server
        self._folder = folder
        self._renewed = False  # once in a process: its folder does not become an old copy again
        self._logger = logger
        self._on_removed = on_removed
        self._on_not_first = on_not_first
        self._hellos: dict[NodeId, Hello] = {}
        self._standings: dict[NodeId, Welcome | int] = {}
        self._said: set[str] = set()
        self._applied: ClusterState | None = None  # the last that `note_cluster` was told
        self._releases: dict[NodeId, str] = {}  # that peers have shown last
        self._follow(handshake.roster)

    @property
    def roster(self) -> Roster:
        return self._handshake.roster

    @property
    def has_vote(self) -> bool:
        """Whether this node is a voter whose votes count, as far as it knows.

        They count if the log names its very data folder, or names none and no peer knows it by another.
        """
        member = self.roster.member(self._node)
        if member is None or not member.voter:
            return False
        if member.store:
            return member.store == self._folder.store
        return not any(isinstance(said, Welcome) and said.learner for said in self._standings.values())

    def note_configuration(self, index: int, members: Configuration) -> None:
        """Follow the newest configuration of this node's log, committed or not."""
        self._follow(Roster(index, members, self.roster.removed, self.roster.listed))
        own = self.roster.member(self._node)
        if own is not None and own.store and own.since:  # a founder's first folder is named later
            self._note_not_first()

    def note_cluster(self, state: ClusterState) -> None:
        """Follow what the applied entries say."""
        removed = dict(state.removed)
        if removed != self.roster.removed:
            self._follow(Roster(self.roster.index, self.roster.members, removed, self.roster.listed))
        self._end_if_removed()
        if self._applied is not None:
            tell_changes(self._logger, self._applied, state)
        self._applied = state
        if state.members:
            self._say_differences()

    def note_peers(
        self, hellos: Sequence[tuple[NodeId, Hello | None]], standings: Sequence[tuple[NodeId, Welcome | int]]
    ) -> None:
        """Note what peers said: in their hellos (None: it has disconnected), and in answer to ours."""
        for peer, hello in hellos:
            if hello is None:
                self._hellos.pop(peer, None)
            else:
                self._hellos[peer] = hello
                self._tell_release(peer, hello.release)
        self._standings.update(standings)
        if any(isinstance(said, Welcome) and said.stale for _, said in standings) and not self._renewed:
            self._renew_store()
        if any(isinstance(said, Welcome) and said.learner for _, said in standings):
            self._note_not_first()
        if hellos:
            self._follow(self.roster)
        if any(isinstance(said, int) for _, said in standings):
            self._end_if_removed()

    def _note_not_first(self) -> None:
        """Remember durably that old entries which name this node may mean another folder than this one.

        While it receives the log again, it must not take an old configuration of it, in which few servers
        vote, for one in which it has a vote.
        """
        self._folder.note_not_first()
        self._on_not_first(self._folder.store)

    def _renew_store(self) -> None:
        """Give this folder, an old copy, a new store id: nobody counts its votes until it is replaced."""
        self._renewed = True
        self._folder.renew_store()
        self._handshake.show_store(self._folder.store)
        self._logger.error(
            "folder.old_copy",
            f"the data folder {self._folder.path} is an old copy: promises that this node made later are not "
            "in it, so its vote is not counted. If the right folder exists, stop this node and put it back; "
            f"else: {command_here('admin')} replace {self._node}",
        )
        self._links.redial()

    def _removed_by_word_of_peers(self) -> int:
        """Return the index at which this node was removed, if most members say so; else 0.

        One that was added again may meet a peer whose log does not say that yet. Its own log is no proof, as
        it comes to the entry that removed it before the one that added it again.
        """
        others = [member.node for member in self.roster.members if member.node != self._node]
        said = [self._standings.get(peer) for peer in others]
        removals = [at for at in said if isinstance(at, int) and at >= self.roster.index]
        return max(removals) if 2 * len(removals) > len(others) else 0

    def _end_if_removed(self) -> None:
        at = self._removed_by_word_of_peers()
        if at:
            self._on_removed(
                f"it was removed from the cluster in log entry {at}. Its data folder is no longer needed; to "
                f"add it again, use {command_here('admin')} add"
            )

    def _follow(self, roster: Roster) -> None:
        self._handshake.roster = roster
        self._links.follow(self._places(roster))
        self._server.follow(roster)

    def _places(self, roster: Roster) -> Mapping[NodeId, Sequence[Address]]:
        """Return where to find each member, and each other server of the cluster that is connected.

        Such a one may be a member by an entry that this node does not have yet.
        """
        nodes = dict.fromkeys([*(member.node for member in roster.members), *self._hellos])
        places = {}
        for node in nodes:
            hello = self._hellos.get(node)
            shown, member_at = (hello.peer_address, hello.member_at) if hello is not None else ("", 0)
            found = roster.places(node, shown)
            if found and node != self._node and not roster.removed_at(node, member_at):
                places[node] = found
        return places

    def _tell_release(self, peer: NodeId, release: str) -> None:
        if release != self._releases.get(peer, self._handshake.hello.release):
            line = f"node {peer} runs release {release[:RELEASE_CHARS_MAX]}"
            self._logger.info("peer.release", line, peer=peer, release=release)
        self._releases[peer] = release

    def _say_differences(self) -> None:
        for line in self.roster.differences():
            if line not in self._said:
                self._said.add(line)
                self._logger.warning("config.differs", line)
