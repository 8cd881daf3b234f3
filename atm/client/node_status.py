"""The status of every node of a cluster, and whether the bank is available."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from msgspec import structs

from atm.client.connection import NotTrusted
from atm.client.each_node import ask_each, fault_of
from atm.client.members import members_index, nodes_of
from atm.client.receipt import new_request_id
from atm.command_line import printable
from atm.config import POSTGRESQL, Cluster, NodeConfig, is_node_name
from atm.tls.of_cluster import client_credentials
from atm.wire.client_messages import ClientReply, ErrorReply, MemberView, Status, StatusReply

if TYPE_CHECKING:
    from atm.tls.credentials import Credentials

STATUS_TIMEOUT_S = 1.0
FURTHER_TIMEOUT_S = 0.5  # for members that cluster.ini does not name
CONFIRMED_WITHIN_S = 2.0  # since the first question
CONFIRMING_TIMEOUT_S = 0.3
DOWN, BUSY, LEADER, FOLLOWER, LEARNER = "down", "busy", "leader", "follower", "learner"


@dataclass(frozen=True)
class NodeStatus:
    """The answer of one node. Without one its role is "down", and all but name and addresses is None.

    If it answered that it tells no status now, its role is "busy", and `said` is what it said.

    `lag` counts the entries that are committed at some node and not yet applied at this one. The nodes do
    not answer at the same time, so under load a lag of a few entries means nothing. What an older release
    does not tell is None.
    """

    node: str
    address: str  # the client port's that was asked
    role: str = DOWN
    voter: bool | None = None  # whether its vote counts
    term: int | None = None
    leader: str | None = None
    commit_index: int | None = None
    applied_index: int | None = None
    last_index: int | None = None
    snapshot_index: int | None = None
    lag: int | None = None
    version: str | None = None  # the node's release
    feature_level: int | None = None  # the cluster's, as far as this node knows
    log_bytes: int | None = None
    ledger_bytes: int | None = None
    disk_free_bytes: int | None = None
    uptime_s: float | None = None
    client: str | None = None
    peer: str | None = None
    alarms: tuple[str, ...] = ()
    sync_ms: float | None = None  # the longest sync of its log lately
    config: str | None = None  # a digest of the nodes in its cluster.ini
    pepper: str | None = None  # the name of its first pepper
    further_peppers: tuple[str, ...] = ()  # of those behind it in its file
    certificate_ends_us: int | None = None  # when its certificate expires
    last_backup_us: int | None = None  # when the last backup of the bank was begun, as its ledger records it
    lanes: int | None = None  # how many the bank has, if several
    lanes_here: tuple[int, ...] | None = None  # of which this node is the writer
    said: str | None = None  # in place of its status

    @property
    def missing(self) -> str | None:
        """Why there is no status of it, in words behind its name; None if there is one."""
        if self.role == DOWN:
            return "does not answer"
        return f"is busy: {printable(self.said or 'it did not say why')}" if self.role == BUSY else None


@dataclass(frozen=True)
class ClusterStatus:
    """All nodes: those of cluster.ini in its order, then the members that it does not name.

    `available` says whether a leader with a majority behind it was found: `leader`, in `term`. `members` are
    those that the log names, as the node with the longest log knows them; empty if none answered or the
    cluster is too old to say.
    """

    available: bool
    leader: str | None
    term: int | None
    cluster: str | None  # its id
    alarms: tuple[str, ...]
    nodes: tuple[NodeStatus, ...]
    members: tuple[MemberView, ...]

    @property
    def belonging(self) -> tuple[NodeStatus, ...]:
        """The members; all nodes if it is not known who is one."""
        names = {row.node for row in self.members} or {node.node for node in self.nodes}
        return tuple(node for node in self.nodes if node.node in names)

    @property
    def lanes_without_writer(self) -> list[int]:
        """The lanes that no node which answered writes, if the bank has several."""
        lanes = max((node.lanes or 0 for node in self.nodes), default=0)
        written = {lane for node in self.nodes for lane in node.lanes_here or ()}
        return [lane for lane in range(lanes) if lane not in written]

    @property
    def answering(self) -> int:
        """How many members answered."""
        return sum(node.role != DOWN for node in self.belonging)

    def node(self, name: str) -> NodeStatus | None:
        """Return the node of this name, if there is one."""
        return next((node for node in self.nodes if node.node == name), None)


def ask_all(
    cluster: Cluster, timeout_s: float | None = None, credentials: Credentials | None = None
) -> ClusterStatus:
    """Ask all nodes at once, each for `timeout_s`, then the members that are not in the file.

    It takes 2 seconds at most, unless the time-out is longer. Raise `Unavailable` if no node answered and
    the certificates are the reason. `credentials` are those of the cluster's [tls], unless given.
    """
    credentials = credentials or client_credentials(cluster)
    distrust: dict[str, NotTrusted] = {}
    started = time.monotonic()
    timeout_s = STATUS_TIMEOUT_S if timeout_s is None else timeout_s
    nodes = dict(cluster.nodes)
    said: dict[str, str] = {}
    answers = _answers(nodes.values(), timeout_s, credentials, distrust, said)
    if distrust and not any(answers.values()):
        raise fault_of(distrust)
    nodes, answers = _by_own_names(nodes, answers)
    members = _newest_members(answers.values())
    further = _not_reached(members, nodes, answers)
    if further:
        nodes |= further
        answers |= _answers(further.values(), min(FURTHER_TIMEOUT_S, timeout_s), credentials, said=said)
        members = _newest_members(answers.values())
    leader = _leader(answers.values())
    available = leader is not None and (
        cluster.engine.kind == POSTGRESQL  # there one server that has the lane is enough
        or _has_majority(leader, answers, _voters(nodes, members))
        or _leads_on(leader, nodes[leader.node], cluster, started, credentials)
    )
    committed = max((answer.commit_index for answer in answers.values() if answer), default=0)
    if cluster.engine.kind == POSTGRESQL:
        committed = 0  # the books are in one place, and no server lags behind
    statuses = tuple(
        _status(node, answers[node.name] or said.get(node.name), committed) for node in nodes.values()
    )
    statuses += tuple(NodeStatus(row.node, "") for row in members if row.node not in nodes)
    return ClusterStatus(
        available=available,
        leader=leader.node if leader is not None and available else None,
        term=max((status.term for status in statuses if status.term is not None), default=None),
        cluster=next((answer.cluster for answer in answers.values() if answer and answer.cluster), None),
        alarms=tuple(f"{status.node}: {alarm}" for status in statuses for alarm in status.alarms),
        nodes=statuses,
        members=members,
    )


def available_line(status: ClusterStatus) -> str:
    """Return one line for people: whether the bank is available, who leads, and how many nodes answer."""
    count = f"{status.answering} of {len(status.belonging)} servers answer"
    if status.available:
        return f"The bank is available, led by {status.leader}: {count}"
    return f"The bank is not available: {count}, and none of them leads a majority"


def missing_lines(status: ClusterStatus) -> list[str]:
    """Return a line for each node that answered, but told no status: for people, below a table."""
    return [f"{node.node} {node.missing}" for node in status.nodes if node.role == BUSY]


def status_fields(status: ClusterStatus) -> dict[str, object]:
    """Return the status for programs, as every `status --json` prints it.

    Programs know the roles of release 1.1 and no "busy": such a node is "down", with what it `said`.
    """
    nodes = [replace(node, role=DOWN) if node.role == BUSY else node for node in status.nodes]
    return {
        "available": status.available,
        "leader": status.leader,
        "term": status.term,
        "cluster": status.cluster,
        "alarms": list(status.alarms),
        "nodes": [asdict(node) for node in nodes],
    }


def _answers(
    nodes: Iterable[NodeConfig],
    timeout_s: float,
    credentials: Credentials | None,
    distrust: dict[str, NotTrusted] | None = None,
    said: dict[str, str] | None = None,
) -> dict[str, StatusReply | None]:
    """Return the status of each node; None if none came, it is busy, or another node is at its address.

    What a busy one says is noted in `said`.
    """
    answers = ask_each(nodes, Status(id=new_request_id()), timeout_s, credentials, distrust)
    if said is not None:
        said |= {
            name: answer.message
            for name, answer in answers.items()
            if isinstance(answer, ErrorReply) and answer.outcome == BUSY
        }
    return {name: _of_node(name, answer) for name, answer in answers.items()}


def _of_node(name: str, answer: ClientReply | None) -> StatusReply | None:
    """Return what a node said of itself; one that is known by its address alone may have any name."""
    if not isinstance(answer, StatusReply):
        return None
    return answer if answer.node == name or not is_node_name(name) else None


def _by_own_names(
    nodes: Mapping[str, NodeConfig], answers: Mapping[str, StatusReply | None]
) -> tuple[dict[str, NodeConfig], dict[str, StatusReply | None]]:
    """Return the same with the names that those nodes gave which were known by their addresses alone."""
    names = {name: name if (answer := answers[name]) is None else answer.node for name in nodes}
    renamed = {names[name]: structs.replace(node, name=names[name]) for name, node in nodes.items()}
    return renamed, {names[name]: answer for name, answer in answers.items()}


def _newest_members(answers: Iterable[StatusReply | None]) -> tuple[MemberView, ...]:
    found = [answer for answer in answers if answer is not None and answer.members]
    return max(found, key=members_index).members or () if found else ()


def _not_reached(
    members: Iterable[MemberView],
    nodes: Mapping[str, NodeConfig],
    answers: Mapping[str, StatusReply | None],
) -> dict[str, NodeConfig]:
    """Return the members that did not answer and that the log has at an address that was not asked."""
    return {
        name: node
        for name, node in nodes_of(members).items()
        if answers.get(name) is None and (name not in nodes or nodes[name].client != node.client)
    }


def _voters(nodes: Mapping[str, NodeConfig], members: Iterable[MemberView]) -> list[str]:
    return [member.node for member in members if member.voter] or list(nodes)


def _leader(answers: Iterable[StatusReply | None]) -> StatusReply | None:
    leaders = [answer for answer in answers if answer is not None and answer.role == LEADER]
    return max(leaders, key=lambda answer: answer.term) if leaders else None


def _has_majority(
    leader: StatusReply, answers: Mapping[str, StatusReply | None], voters: Iterable[str]
) -> bool:
    """Return whether a majority of the voters answered that they follow this leader."""
    follows = [
        (answer := answers.get(voter)) is not None
        and (answer.leader, answer.term) == (leader.node, leader.term)
        for voter in voters
    ]
    return 2 * sum(follows) > len(follows)


def _leads_on(
    leader: StatusReply, node: NodeConfig, cluster: Cluster, started: float, credentials: Credentials | None
) -> bool:
    """Return whether a leader still leads when check-quorum would have made it step down (thesis 6.2).

    So followers that answer it and not this machine count too. It checks once in an election timeout whether
    a majority answered since the last time; hence two of them.
    """
    until = started + 2 * cluster.election_timeout_ms[1] / 1000
    if until + CONFIRMING_TIMEOUT_S > started + CONFIRMED_WITHIN_S:
        return False
    time.sleep(max(0.0, until - time.monotonic()))
    again = _answers([node], CONFIRMING_TIMEOUT_S, credentials)[node.name]
    return again is not None and (again.role, again.term) == (LEADER, leader.term)


def _status(node: NodeConfig, answer: StatusReply | str | None, committed: int) -> NodeStatus:
    """Return the status in an answer, or what the node said in its place."""
    status = NodeStatus(
        node=node.name, address=str(node.client), client=str(node.client), peer=str(node.peer)
    )
    if answer is None:
        return status
    if isinstance(answer, str):
        return replace(status, role=BUSY, said=answer)
    return replace(
        status,
        role=LEARNER if answer.role == FOLLOWER and answer.voter is False else answer.role,
        voter=answer.voter,
        term=answer.term,
        leader=answer.leader,
        commit_index=answer.commit_index,
        applied_index=answer.applied_index,
        last_index=answer.last_index,
        snapshot_index=answer.snapshot_index,
        lag=max(0, committed - answer.applied_index),
        version=answer.version,
        feature_level=answer.feature_level,
        log_bytes=answer.log_bytes,
        ledger_bytes=answer.ledger_bytes,
        disk_free_bytes=answer.disk_free_bytes,
        uptime_s=answer.uptime_s,
        client=answer.client or status.client,
        peer=answer.peer or status.peer,
        alarms=answer.alarms,
        sync_ms=answer.sync_ms,
        config=answer.config,
        pepper=answer.pepper,
        further_peppers=answer.further_peppers,
        certificate_ends_us=answer.certificate_ends_us,
        last_backup_us=answer.last_backup_us,
        lanes=answer.lanes,
        lanes_here=answer.lanes_here,
    )
