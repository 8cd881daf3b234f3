"""What has come in and waits for a turn, and who takes the next one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import NamedTuple, Protocol

from msgspec import Struct

from atm.ledger.commands import Read
from atm.raft.messages import AppendEntriesResponse, NodeId, RaftMessage
from atm.wire.serializer import Status, TellerRequest

REQUESTS_MAX = 20_000
MESSAGE_BYTES_MAX = 64 * 1024 * 1024


class Channel(Protocol):
    """Where an answer goes; only within a turn."""

    def answer(self, number: int, payload: bytes) -> None:
        """Take the encoded answer to the request that came with `number`."""


class Asked(Struct, frozen=True, eq=False):
    """A request and where its answer goes. `payload` is the request as it came, with its PINs sealed."""

    channel: Channel
    number: int
    request: TellerRequest
    payload: bytes
    passed_on: bool = False  # by another node: it is not passed on once more


class Wanted(NamedTuple):
    """How many of each are worth a turn; fewer are nothing. If 0 are, there is something to begin with."""

    commands: int = 1
    queries: int = 1
    acknowledgements: int = 1  # appends that succeeded at other servers


ANYTHING = Wanted()


class Mail:
    """All that came in during one turn, by kind, in the order of arrival."""

    __slots__ = (
        "acknowledgements",
        "commands",
        "demotions",
        "lost_links",
        "message_bytes",
        "messages",
        "queries",
        "refused",
        "returned",
        "statuses",
    )

    def __init__(self) -> None:
        self.demotions: list[NodeId] = []
        self.messages: list[RaftMessage] = []
        self.message_bytes = 0
        self.acknowledgements = 0  # how many of the messages only say that an append succeeded
        self.lost_links: list[NodeId] = []
        self.returned: list[tuple[int, bytes]] = []  # answers from the leader, by forwarding number
        self.refused: list[tuple[Channel, int, bytes]] = []  # by a reading thread, with the answer to send
        self.commands: list[Asked] = []
        self.queries: list[Asked] = []
        self.statuses: list[Asked] = []

    def add(self, asked: Asked) -> None:
        """Put a request with its kind."""
        if isinstance(asked.request, Read):
            self.queries.append(asked)
        elif isinstance(asked.request, Status):
            self.statuses.append(asked)
        else:
            self.commands.append(asked)


class Inbox:
    """Bounded; reading threads put, and whoever has the turn takes all at once.

    There is one turn, and at most one thread has it. While nothing is worth one, nobody has: then the thread
    that puts what is worth a turn takes it itself, which spares waking another, and hands it back.
    """

    def __init__(self, lock: Lock) -> None:
        self._lock = lock  # guards what follows (and the node's Raft state); never held over I/O
        self._mail = Mail()
        self._free = False  # nobody has the turn
        self._expected = False  # the run loop waits for the turn, which a reading thread has
        self._wanted = Wanted()
        self._bell = Lock()  # released to give the run loop the turn; not a guard of anything
        self._bell.acquire()
        self._take_turn: Callable[[], None] = self._bell.release

    def let_readers(self, take_turn: Callable[[], None]) -> None:
        """Have reading threads call `take_turn` when they have the turn; it must end with `hand_back`.

        Without this they give the turn to the run loop.
        """
        self._take_turn = take_turn

    # -- reading threads ------------------------------------------------------------------------------

    def put_requests(self, requests: Sequence[Asked]) -> bool:
        """Add tellers' requests; return False, with none added, if too many wait."""
        with self._lock:
            mail = self._mail
            if len(mail.commands) + len(mail.queries) + len(mail.statuses) + len(requests) > REQUESTS_MAX:
                return False
            for asked in requests:
                mail.add(asked)
            mine = self._claim()
        if mine:
            self._take_turn()
        return True

    def put_passed_on(self, requests: Sequence[Asked], refused: Sequence[tuple[Channel, int, bytes]]) -> None:
        """Add what another node passed on: good requests, and the others with the answer to each.

        A full inbox takes no request of a teller, but its refusal by this way. Not counted against the limit
        here: whoever passes on bounds what he has under way, and so do a connection's slots.
        """
        with self._lock:
            for asked in requests:
                self._mail.add(asked)
            self._mail.refused.extend(refused)
            mine = self._claim()
        if mine:
            self._take_turn()

    def put_messages(self, messages: Sequence[RaftMessage], size_bytes: int) -> None:
        """Add Raft's messages. Too many are dropped, as a network may; Raft sends again."""
        with self._lock:
            mail = self._mail
            if mail.message_bytes > MESSAGE_BYTES_MAX:
                return
            mail.messages.extend(messages)
            mail.message_bytes += size_bytes
            for message in messages:
                mail.acknowledgements += isinstance(message, AppendEntriesResponse) and message.success
            mine = self._claim()
        if mine:
            self._take_turn()

    def put_returned(self, answers: Sequence[tuple[int, bytes]]) -> None:
        """Add the leader's answers to what this node passed on."""
        with self._lock:
            self._mail.returned.extend(answers)
            mine = self._claim()
        if mine:
            self._take_turn()

    def put_demotion(self, peer: NodeId) -> None:
        """Tell that `peer` came back with an empty disk; takes effect before any message put later."""
        with self._lock:
            self._mail.demotions.append(peer)
            mine = self._claim()
        if mine:
            self._take_turn()

    def put_lost_link(self, peer: NodeId) -> None:
        """Tell that what was sent to `peer` may not have arrived."""
        with self._lock:
            self._mail.lost_links.append(peer)
            mine = self._claim()
        if mine:
            self._take_turn()

    def _claim(self) -> bool:
        """Take the turn for the calling thread if nobody has it and it is worth one; the lock is held."""
        if self._free and self._worth_a_turn():
            self._free = False
            return True
        return False

    # -- who has the turn -----------------------------------------------------------------------------

    def take(self) -> Mail:
        """Return all that came in; the lock is held by the caller."""
        mail, self._mail = self._mail, Mail()
        return mail

    def hand_back(self, wanted: Wanted, *, more: bool) -> None:
        """End a reading thread's turn; the run loop has the next one if there is more to do."""
        with self._lock:
            self._wanted = wanted
            self._free = not (more or self._expected or self._worth_a_turn())
            if not self._free:
                self._bell.release()

    def sleep(self, seconds: float, wanted: Wanted = ANYTHING) -> None:
        """Give up the turn, and have it again as soon as it is worth it, at the latest after `seconds`.

        Or a little later, if a reading thread has it then. For the run loop.
        """
        with self._lock:
            self._wanted = wanted
            if self._worth_a_turn():
                return
            self._free = True
        if self._bell.acquire(timeout=seconds):
            return
        with self._lock:
            if self._free:
                self._free = False
                return
            self._expected = True
        self._bell.acquire()
        self._expected = False

    def _worth_a_turn(self) -> bool:
        mail, wanted = self._mail, self._wanted
        return bool(
            len(mail.commands) >= wanted.commands
            or len(mail.messages) > mail.acknowledgements
            or mail.acknowledgements >= wanted.acknowledgements
            or mail.returned
            or len(mail.queries) >= wanted.queries
            or mail.statuses
            or mail.refused
            or mail.lost_links
            or mail.demotions
        )
