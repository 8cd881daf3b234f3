"""An administrator of the simulated cluster: adds, promotes, removes, replaces and moves servers, hands over,
asks for snapshots and backups, which are recorded and not taken.

All is asked of the servers in the way of `bin/admin`, one request at a time, and asked again until it is
answered. What is asked for never leaves a majority of voters that have lost their disks: no cluster can
bear that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from msgspec import msgpack

from atm.config import parse_address
from atm.ledger.commands import LoggedCommand, MembershipChange, NoteDeed
from atm.raft.membership import Configuration, Member, decode_configuration
from atm.raft.messages import EntryKind, NodeId
from atm.raft.ready import Role
from atm.wire.backup_messages import BackupBegin
from atm.wire.client_messages import (
    AddMember,
    MemberChange,
    MoveMember,
    PromoteMember,
    RemoveMember,
    ReplaceMember,
    TakeSnapshot,
    TransferLeadership,
)
from atm.wire.codec import encode
from atm.wire.log_entries import decode_entry
from tests.simulation.history import FAULTS
from tests.simulation.loop import Loop
from tests.simulation.plan import Plan
from tests.simulation.sim_server import SimServer, address_of
from tests.support.checks import Checks, require

Asked = MemberChange | BackupBegin | TakeSnapshot

VOTERS_MAX = 5
WAS_SO = ("already", "was removed in")  # in an answer that tells of an earlier entry
TRIES_MAX = 12
DONE_ELECTIONS = 12  # election timeouts after which a request that was given up cannot be done any more


class Asking:
    """The channel of one try."""

    def __init__(self, administrator: Administrator, server: SimServer, number: int) -> None:
        self._administrator, self._server, self._number = administrator, server, number

    def reply(self, number: int, payload: bytes) -> None:
        self._server.fuse.burn()
        self._administrator.deliver(lambda: self._administrator.answered(self._number, payload))


class Administrator:
    """Asks for something now and then until `stop`."""

    def __init__(self, loop: Loop, plan: Plan, servers: Sequence[SimServer], checks: Checks) -> None:
        self.fired: Counter[str] = Counter()
        self._loop, self._plan, self._servers, self._checks = loop, plan, servers, checks
        self._stopped = False
        self._request: Asked | None = None
        self._kind = ""
        self._is_of_leader = False  # it is to remove the leader
        self._number = self._tries = 0
        self._given_up: list[tuple[int, Asked]] = []  # and until when it may still be done
        if plan.changes:
            self._later()

    def stop(self) -> None:
        self._stopped = True

    def _later(self) -> None:
        self._loop.after(int(self._loop.chance.expovariate(1 / self._plan.change_interval_us)), self._act)

    def _act(self) -> None:
        if self._stopped:
            return
        if self._request is not None and self._tries >= TRIES_MAX:
            until_us = self._loop.now_us + DONE_ELECTIONS * self._plan.election_us
            self._given_up.append((until_us, self._request))
            self._request = None
        if self._request is None:
            self._draw()
        if self._request is not None:
            self._send(self._request)
        self._later()

    def _send(self, request: Asked) -> None:
        running = [server for server in self._servers if server.up]
        if not running:
            return
        server = self._loop.chance.choice(running)
        self._tries += 1
        self._loop.trace("asks", server.name, request)
        asking, number = Asking(self, server, self._number), self._tries
        self.deliver(lambda: server.ask(asking, number, encode(request)))

    def deliver(self, arrival: Callable[[], None]) -> None:
        """Let something cross the network."""
        self._loop.after(self._loop.chance.randint(*self._plan.latency_us), arrival)

    def answered(self, number: int, payload: bytes) -> None:
        """An answer comes; also a late one must be true, but only one to what is asked for now matters."""
        answer = msgpack.decode(payload)
        self._loop.trace("answer", number, answer)
        if number != self._number or self._request is None or answer["outcome"] in FAULTS:
            return
        request, self._request = self._request, None
        self.fired[f"{self._kind} {answer['outcome']}"] += 1
        self.fired["remove of a leader"] += self._is_of_leader and answer["outcome"] == "ok"
        if answer["outcome"] == "ok":
            self._judge(request, answer)
            self._follow_up(request)

    def _judge(self, request: Asked, answer: dict[str, object]) -> None:
        """What was done is so in the log, committed."""
        if isinstance(request, BackupBegin | TakeSnapshot):
            said = decode_entry(self._checks.committed[int(str(answer["log_index"])) - 1])
            note = said.command if isinstance(said, LoggedCommand) else None
            noted = isinstance(note, NoteDeed) and note.id == request.id
            require(noted, "what may begin is recorded", (answer, said))
            return
        index = answer["index"]
        assert isinstance(index, int)
        if isinstance(request, TransferLeadership):
            led = self._checks.leaders.values()
            require(request.node is None or request.node in led, "who took over leads", answer)
            return
        require(index <= len(self._checks.committed), "what was done is committed", (request, answer))
        entry = self._checks.committed[index - 1]
        if index == 0 or entry.kind != EntryKind.MEMBERSHIP:
            return
        change = decode_entry(entry)
        assert isinstance(change, MembershipChange)
        was_so = any(words in str(answer["message"]) for words in WAS_SO)
        recorded = change.deed is not None and change.deed.command.id == request.id
        require(recorded or was_so, "what was done is recorded", (request, answer))
        found = [member for member in decode_configuration(entry.data) if member.node == request.node]
        match request:
            case AddMember():
                so = bool(found)
            case PromoteMember():
                so = bool(found) and found[0].voter
            case RemoveMember():
                so = not found
            case ReplaceMember():
                so = bool(found) and not found[0].voter
            case MoveMember(peer=peer):
                so = bool(found) and (found[0].peer == peer or found[0].since == index)
        require(so, "what was done is in the log", (request, answer, entry))

    # -- what is asked for -----------------------------------------------------------------------------

    def _draw(self) -> None:
        """Choose what a careful operator may ask for now, if there is anything."""
        members = self.members()
        names = {member.node for member in members}
        kinds = list(self._plan.changes)
        (kind,) = self._loop.chance.choices(kinds, [self._plan.changes[name] for name in kinds])
        request = self._drawn(kind, members, names)
        self._given_up = [each for each in self._given_up if each[0] > self._loop.now_us]
        if request is None or not all(map(self.bears, _after(request, [members], self._servers))):
            return
        self._request, self._kind, self._tries = request, kind, 0
        leaders = [s.name for s in self._servers if s.up and s.core.role is Role.LEADER]
        self._is_of_leader = isinstance(request, RemoveMember) and request.node in leaders
        self._number += 1

    def _drawn(self, kind: str, members: Configuration, names: set[NodeId]) -> Asked | None:
        chance, request_id = self._loop.chance, f"admin-{self._number + 1}"
        strangers = [server for server in self._servers if server.name not in names and server.retired]
        voters = [member.node for member in members if member.voter]
        if kind == "add":
            if not strangers or any(not member.voter for member in members):
                return None
            server = chance.choice(strangers)
            at = address_of(server.name, server.place)
            return AddMember(id=request_id, node=server.name, peer=str(at.peer), client=str(at.client))
        if kind == "remove" and len(voters) <= (3 if chance.random() < 0.8 else 1):
            return None
        node = chance.choice(sorted(names))
        lost = [m.node for m in members if m.voter and not self._is_right(m)]
        learners = [m.node for m in members if not m.voter]
        match kind:
            case "snapshot":
                return TakeSnapshot(id=request_id)
            case "backup":
                return BackupBegin(id=request_id)
            case "promote":
                return PromoteMember(id=request_id, node=chance.choice(learners or [node]))
            case "remove":
                return RemoveMember(id=request_id, node=node, yes=chance.random() < 0.9)
            case "replace":
                return ReplaceMember(id=request_id, node=chance.choice(lost or [node]))
            case "move":
                at = address_of(node, self._server(node).place + 1)
                return MoveMember(id=request_id, node=node, peer=str(at.peer), client=str(at.client))
        return TransferLeadership(id=request_id, node=node if chance.random() < 0.7 else None)

    def _follow_up(self, request: Asked) -> None:
        """Do what the answer says is to be done."""
        if isinstance(request, AddMember):
            self.start_members()
        elif isinstance(request, MoveMember):
            self._server(request.node).move(parse_address(request.peer).port)

    def start_members(self) -> None:
        """Start those members that are not running since they are new, or new again, with an empty folder.

        And those that were announced elsewhere: the operator was not told, and looks at the members.
        """
        for member in self.members():
            server = self._server(member.node)
            place = parse_address(member.peer).port if member.peer else server.place
            if server.retired:
                server.begin(place)
            elif server.place != place:
                server.move(place)

    # -- what is known ---------------------------------------------------------------------------------

    def members(self) -> Configuration:
        """Return the members by the newest entry of any leader, else of any server."""
        known = [server for server in self._servers if server.process]
        leaders = [server for server in known if server.up and server.core.role is Role.LEADER]
        newest = max(leaders or known, key=lambda server: (server.core.term, server.core.configuration[0]))
        return newest.core.configuration[1]

    def bears_loss(self, victim: SimServer) -> bool:
        """Whether every configuration that is or may come into use has a majority without that disk."""
        known = [server for server in self._servers if server.process and not server.retired]
        used = [members for s in known for _, members in s.core.raft.configurations.from_index(0) if members]
        asked = [request for until_us, request in self._given_up if until_us > self._loop.now_us]
        if self._request is not None:
            asked.append(self._request)
        for request in asked:
            used += list(_after(request, used, self._servers))
        return all(self.bears(members, victim) for members in used)

    def bears(self, members: Configuration, victim: SimServer | None = None) -> bool:
        """Whether more than half of these voters have the disk that their promises are on."""
        voters = [member for member in members if member.voter]
        right = [m for m in voters if self._is_right(m) and (victim is None or m.node != victim.name)]
        return 2 * len(right) > len(voters)

    def _is_right(self, member: Member) -> bool:
        return self._server(member.node).storage.keeps(member.store)

    def _server(self, name: NodeId) -> SimServer:
        return next(server for server in self._servers if server.name == name)


def _after(
    request: Asked, used: Sequence[Configuration], servers: Sequence[SimServer]
) -> Iterable[Configuration]:
    """Yield the members after a request, for each configuration that it may meet."""
    if isinstance(request, BackupBegin | TakeSnapshot):
        return
    for members in used:
        others = tuple(member for member in members if member.node != request.node)
        if isinstance(request, RemoveMember):
            yield others
        elif isinstance(request, PromoteMember) and len(others) < len(members):
            (store,) = [server.storage.files.owner.store for server in servers if server.name == request.node]
            yield (*others, Member(request.node, True, store=store))
