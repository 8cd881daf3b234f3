"""Small parts for the tests of the server: raw sockets, conditions with a deadline, recording fakes."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self

import msgspec

from atm.config import Address, Cluster, NodeConfig
from atm.ledger.commands import Credit, LedgerReceipt, Outcome, Query, Read, ReadResult
from atm.ledger.ledger import ClusterState, Record
from atm.ledger.peppers import PepperState
from atm.ledger.roles import RoleChange
from atm.local_cluster import free_ports
from atm.raft import ChangeRefused, Configuration, Member
from atm.raft.messages import Entry, EntryKind, HardState, NodeId, Outgoing, RaftMessage
from atm.raft.ready import Role
from atm.server.group.entry_validator import record
from atm.server.group.inbox import Inputs, PendingRequest
from atm.server.group.pepper_keeper import PepperKeeper
from atm.server.logger.logger import Collected, EventRecord, Logger
from atm.server.logger.rate_limit import RateLimit
from atm.server.security.peppers import PEPPER_BYTES, Peppers
from atm.server.server import Server
from atm.storage.log_index import LogBase
from atm.wire.client_messages import QueuedRequest
from atm.wire.codec import encode
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, FrameReader, frame
from atm.wire.peer_messages import ForwardedRequest, PeerReport

DEADLINE_S = 10.0


def requests(*pending: PendingRequest) -> Inputs:
    """Return inputs with these requests."""
    inputs = Inputs()
    for each in pending:
        inputs.add_request(each)
    return inputs


def messages(*all_messages: RaftMessage, size_bytes: int = 10) -> Inputs:
    """Return inputs with these messages, each of so many bytes."""
    inputs = Inputs()
    for message in all_messages:
        inputs.add_message(message, size_bytes)
    return inputs


def wait_until(condition: Callable[[], bool], within_s: float = DEADLINE_S) -> None:
    """Return once `condition()` holds; fail after a deadline."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)


def cluster_of(folder: Path, *names: str) -> Cluster:
    ports = iter(free_ports(2 * len(names)))
    nodes = {
        name: NodeConfig(name, Address("127.0.0.1", next(ports)), Address("127.0.0.1", next(ports)))
        for name in names
    }
    return Cluster(
        path=folder / "cluster.ini",
        data_dir=folder / "data",
        pepper_file=folder / "secrets" / "pepper.key",
        heartbeat_ms=20,
        election_timeout_ms=(80, 160),
        nodes=nodes,
    )


OF_THE_MACHINE = frozenset({"election.again", "node.stalled", "sync.slow"})  # it was busy


class RunningServer:
    """A server of this process, in a thread."""

    def __init__(self, cluster: Cluster, name: str, *, verbose: bool = False) -> None:
        self.said: list[str] = []
        self._limit = RateLimit()
        self.told: list[str] = []  # what it told its operator
        self.reported: list[str] = []  # of that, warnings and errors
        self.client = cluster.nodes[name].client
        self.peer = cluster.nodes[name].peer
        self.server = Server(
            cluster, name, say=self.said.append, logger=Logger(Collected(self._take)), verbose=verbose
        )
        self._thread = Thread(target=self.server.run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.stop()
        self._thread.join(DEADLINE_S)
        self.server.close()

    def _take(self, record: EventRecord) -> None:
        for each in self._limit.admit(record):
            self.told.append(each.msg)
            if each.levelno >= logging.WARNING and each.event not in OF_THE_MACHINE:
                self.reported.append(each.msg)

    def wait_for_leader(self) -> Self:
        wait_until(lambda: any(line.startswith("Leader on") for line in self.said))
        return self


class Wire:
    """A raw connection to a server."""

    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection(address.pair, timeout=DEADLINE_S)
        self._reader = FrameReader(CLIENT_FRAME_BYTES_MAX)
        self._payloads: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, message: Any) -> None:
        self.socket.sendall(frame(encode(message)))

    def payload(self) -> bytes | None:
        """Return the payload of the next frame, or None at the end of the stream."""
        while not self._payloads:
            piece = self.socket.recv(65536)
            if not piece:
                return None
            self._payloads.extend(self._reader.feed(piece))
        return self._payloads.pop(0)

    def answer(self) -> dict[str, Any] | None:
        """Return the next frame as a client in another language would see it; None at the end."""
        payload = self.payload()
        return None if payload is None else msgspec.msgpack.decode(payload, type=dict[str, Any])

    def ask(self, message: Any) -> dict[str, Any]:
        self.send(message)
        answer = self.answer()
        assert answer is not None
        return answer


class Recorder:
    """Every part that `perform` and the router need; records the calls, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.balances: dict[str, int] = {"main": 700}
        self.expiry_us: int | None = None
        self.applied_index = 10
        self.decided_index = 11  # and not written yet
        self.link_up = True
        self.places: dict[NodeId, Address] = {}  # of the peers that are connected
        self.forwarded: list[tuple[NodeId, int, bytes]] = []
        self.actors: list[str] = []  # of what was forwarded
        self.roles: list[int] = []  # likewise
        self.role_changes: dict[str, RoleChange] = {}
        self.cluster = ClusterState(id="", voters=(), feature_level=1)
        self.pepper = PepperState()
        self.pins: list[tuple[str, str | None]] = []  # of accounts, in their order
        self.new_pins: list[tuple[str, str | None]] = []  # of requests, likewise
        self.on_disk: list[Entry] = []
        self.reports: list[PeerReport] = []  # of other servers
        self.ticks = 0
        self.abstains = self.hands_over = False
        self.unfit_nodes: set[NodeId] = set()
        self.no_space = ""
        self.sent: list[Outgoing] = []

    def send(self, outgoing: Sequence[Outgoing]) -> None:
        if outgoing:
            self.events.append("send " + " ".join(type(each.message).__name__ for each in outgoing))
        self.sent += outgoing

    def save(self, hard_state: HardState, entries: Sequence[Entry]) -> None:
        self.events.append(f"save {len(entries)}")

    def reset(self, base: LogBase) -> None:
        self.events.append(f"reset to {base.index}")

    def read_entries(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        self.events.append(f"read {first} to {last}")
        return [entry for entry in self.on_disk if first <= entry.index <= last]

    def decide(self, records: Sequence[Record]) -> list[LedgerReceipt | None]:
        self.events.append("decide " + " ".join(str(index) for index, _, _ in records))
        return [None for _ in records]

    def receive(self, reports: Sequence[PeerReport]) -> None:
        self.reports += reports

    @property
    def unfit(self) -> set[NodeId]:
        return self.unfit_nodes

    def tick(self) -> None:
        self.ticks += 1

    def write(self) -> None:
        self.events.append("write")

    @property
    def next_expiry_us(self) -> int | None:
        return self.expiry_us

    def record(self, entry: Entry) -> Record:
        return record(entry)

    def views(self, requests: Sequence[Read], now_us: int) -> list[ReadResult]:
        return list(map(self._view, requests))

    def _view(self, request: Read) -> ReadResult:
        self.events.append(f"view {request.id}")
        if not isinstance(request, Query):
            return ReadResult(id=request.id, outcome=Outcome.OK, lines=())
        balance = self.balances.get(request.account)
        outcome = Outcome.NO_SUCH_ACCOUNT if balance is None else Outcome.OK
        return ReadResult(id=request.id, outcome=outcome, balance=balance, available=balance)

    def pins_after(self, account: str, limit: int) -> Sequence[tuple[str, str | None]]:
        return [each for each in self.pins if each[0] > account][:limit]

    def new_pins_after(self, request_id: str, limit: int) -> Sequence[tuple[str, str | None]]:
        return [each for each in self.new_pins if each[0] > request_id][:limit]

    def on_committed(self, committed: Sequence[Entry], receipts: Sequence[LedgerReceipt | None]) -> None:
        self.events.append(f"on committed {len(committed)}")

    def answer_reads(self, reads: Sequence[Any]) -> None:
        self.events.append(f"answer reads {len(reads)}")

    def drop_reads(self, read_ids: Sequence[int]) -> None:
        self.events.append(f"drop reads {len(read_ids)}")

    def forward(self, to: NodeId, requests: Sequence[ForwardedRequest]) -> bool:
        if self.link_up:
            self.forwarded += [(to, number, payload) for number, _, _, payload in requests]
            self.actors += [actor for _, actor, _, _ in requests]
            self.roles += [roles for _, _, roles, _ in requests]
        return self.link_up

    def reached(self, node: NodeId) -> Address | None:
        return self.places.get(node)


class FakeCore:
    """A core that believes whatever role the test gives it."""

    def __init__(self) -> None:
        self.role = Role.LEADER
        self.term = 1
        self.leader: NodeId | None = "n1"
        self.last_index = 10
        self.last_time_us = 0
        self.commit_index = 10
        self.proposed: list[bytes] = []
        self.kinds: list[EntryKind] = []
        self.stamps_us: list[int] = []
        self.read_ids: list[int] = []
        self.configuration: tuple[int, Configuration] = (
            1,
            tuple(Member(node=node, voter=True) for node in ("n1", "n2", "n3")),
        )
        self.transferring: NodeId | None = None
        self.abstains = False
        self.match_indexes: dict[NodeId, int] = {}
        self.lost_disks: set[NodeId] = set()
        self.change_refusal = ""  # of changes and transfers
        self.reasons: list[bytes] = []  # of changes

    def propose(self, data: Sequence[bytes], now_us: int, kind: EntryKind = EntryKind.COMMAND) -> int:
        first_index = self.last_index + 1
        self.proposed += data
        self.kinds += [kind] * len(data)
        self.stamps_us += [now_us] * len(data)
        self.last_index += len(data)
        return first_index

    def read(self, read_id: int) -> None:
        self.read_ids.append(read_id)

    def matched(self) -> dict[NodeId, int]:
        return self.match_indexes

    def abstain(self, abstains: bool) -> None:
        self.abstains = abstains

    def has_lost_disk(self, node: NodeId) -> bool:
        return node in self.lost_disks

    def change_membership(self, members: Configuration, now_us: int, reason: bytes = b"") -> int:
        if self.change_refusal:
            raise ChangeRefused(self.change_refusal)
        self.reasons.append(reason)
        self.last_index += 1
        self.configuration = (self.last_index, members)
        return self.last_index

    def transfer(self, target: NodeId | None) -> NodeId:
        self.transferring = self.successor(target)
        return self.transferring

    def successor(self, target: NodeId | None) -> NodeId:
        if self.change_refusal or target is None:
            raise ChangeRefused(self.change_refusal or "no other voter answers, so none can lead")
        return target

    def follow(self, leader: NodeId | None, term: int) -> None:
        self.role, self.leader, self.term = Role.FOLLOWER, leader, term


class ReplyRecorder:
    """A channel that records its replies."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []

    def reply(self, number: int, payload: bytes) -> None:
        self.answers.append(msgspec.msgpack.decode(payload, type=dict[str, Any]))

    def pending(
        self, request: QueuedRequest, *, actor: str = "local", forwarded: bool = False, roles: int = 0
    ) -> PendingRequest:
        return PendingRequest(self, 0, request, encode(request), actor, forwarded=forwarded, roles=roles)

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        return [(answer["id"], answer["outcome"]) for answer in self.answers]


def credit(request_id: str, amount: int = 100, account: str = "main") -> Credit:
    return Credit(id=request_id, account=account, amount=amount)


def query(request_id: str, account: str = "main") -> Query:
    return Query(id=request_id, account=account)


def keeper_of(core: FakeCore, parts: Recorder) -> PepperKeeper:
    """Return a keeper that knows one pepper, and has nothing to carry over."""
    return PepperKeeper("n1", core, parts, own=lambda: Peppers([bytes(PEPPER_BYTES)]), others=dict)
