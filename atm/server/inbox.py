"""What has come in and waits for a turn, and who takes the next one."""

from __future__ import annotations

from collections.abc import Callable
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


class Mail(Struct):
    """What has come in and waits for one turn, by kind, in the order of arrival."""

    demotions: list[NodeId] = []  # peers that came back with an empty disk
    messages: list[RaftMessage] = []
    message_bytes: int = 0
    acknowledgements: int = 0  # how many of the messages only say that an append succeeded
    lost_links: list[NodeId] = []  # to peers: what was sent there may not have arrived
    returned: list[tuple[int, bytes]] = []  # answers from the leader, by forwarding number
    refused: list[tuple[Channel, int, bytes]] = []  # by who read them, with the answer to send
    commands: list[Asked] = []
    queries: list[Asked] = []
    statuses: list[Asked] = []
    requests: int = 0  # how many commands, queries and statuses there are

    def add(self, asked: Asked) -> None:
        """Put a request with its kind."""
        self.requests += 1
        if isinstance(asked.request, Read):
            self.queries.append(asked)
        elif isinstance(asked.request, Status):
            self.statuses.append(asked)
        else:
            self.commands.append(asked)

    def add_message(self, message: RaftMessage, size_bytes: int) -> None:
        """Put a message of a peer."""
        self.messages.append(message)
        self.message_bytes += size_bytes
        self.acknowledgements += isinstance(message, AppendEntriesResponse) and message.success

    def extend(self, later: Mail) -> None:
        """Take over all of `later`; too many messages are dropped, as a network may: Raft sends again."""
        if self.message_bytes <= MESSAGE_BYTES_MAX:
            self.messages += later.messages
            self.message_bytes += later.message_bytes
            self.acknowledgements += later.acknowledgements
        self.demotions += later.demotions
        self.lost_links += later.lost_links
        self.returned += later.returned
        self.refused += later.refused
        self.commands += later.commands
        self.queries += later.queries
        self.statuses += later.statuses
        self.requests += later.requests


class Inbox:
    """Bounded; any thread may put, and whoever has the turn takes all at once.

    There is one turn, and at most one thread has it. While nothing is worth one, nobody has: then the thread
    that puts what is worth a turn takes it itself, which spares waking another, and hands it back.
    """

    def __init__(self, lock: Lock) -> None:
        self._lock = lock  # guards what follows (and the node's Raft state); never held over I/O
        self._mail = Mail()
        self._free = False  # nobody has the turn
        self._expected = False  # the run loop waits for the turn, which another thread has
        self._wanted = Wanted()
        self._bell = Lock()  # released to give the run loop the turn; not a guard of anything
        self._bell.acquire()
        self._take_turn: Callable[[], None] = self._bell.release
        self.gathered = Mail()  # by the reader's thread, for one put at the end of its round

    def let_readers(self, take_turn: Callable[[], None]) -> None:
        """Have a thread that puts call `take_turn` when it has the turn; it must end with `hand_back`.

        Without this it gives the turn to the run loop.
        """
        self._take_turn = take_turn

    # -- whoever brings something ---------------------------------------------------------------------

    def put(self, mail: Mail) -> None:
        """Add what came in, and take the turn that it may be worth."""
        with self._lock:
            self._mail.extend(mail)
            mine = self._free and self._worth_a_turn()
            if mine:
                self._free = False
        if mine:
            self._take_turn()

    def put_gathered(self) -> None:
        """Put what was gathered. The reader's thread only."""
        mail, self.gathered = self.gathered, Mail()
        self.put(mail)

    @property
    def full(self) -> bool:
        """Whether no more requests should be gathered. The reader's thread only.

        What another server passed on, or waited for a slow job, is counted but never turned away: that
        server and each connection bound what they have under way.
        """
        return self._mail.requests + self.gathered.requests >= REQUESTS_MAX

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
