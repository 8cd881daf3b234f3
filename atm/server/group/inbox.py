"""What has come in and waits for a turn, and who takes the next one."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import NamedTuple, Protocol

from msgspec import Struct

from atm.ledger.commands import Read
from atm.raft.messages import NodeId, RaftMessage
from atm.wire.client_messages import ClientRequest, Status

REQUESTS_MAX = 20_000
MESSAGE_BYTES_MAX = 64 * 1024 * 1024


class ReplyChannel(Protocol):
    """Where an answer goes; only within a turn."""

    def reply(self, number: int, payload: bytes) -> None:
        """Take the encoded answer to the request that came with `number`."""


class PendingRequest(Struct, frozen=True, eq=False):
    """A request and where its answer goes. `payload` is the request as it came, with its PINs sealed.

    `actor` is who asks, as the server says that read it from him.
    """

    channel: ReplyChannel
    number: int
    request: ClientRequest
    payload: bytes
    actor: str
    forwarded: bool = False  # by another node: it is not passed on once more


class WakeThresholds(NamedTuple):
    """How many of each are worth a turn; fewer are nothing. If 0 are, there is something to begin with."""

    commands: int = 1
    queries: int = 1


WAKE_ON_ANYTHING = WakeThresholds()


class Inputs(Struct):
    """What has come in and waits for one turn, by kind, in the order of arrival."""

    demotions: list[NodeId] = []  # peers that came back with an empty disk
    feature_levels: list[tuple[NodeId, int]] = []  # that a peer now shows to know; 0: it has gone
    messages: list[RaftMessage] = []
    message_bytes: int = 0
    lost_links: list[NodeId] = []  # to peers: what was sent there may not have arrived
    forward_replies: list[tuple[int, bytes]] = []  # answers from the leader, by forwarding number
    refused: list[tuple[ReplyChannel, int, bytes]] = []  # by who read them, with the answer to send
    commands: list[PendingRequest] = []
    queries: list[PendingRequest] = []
    statuses: list[PendingRequest] = []
    requests: int = 0  # how many commands, queries and statuses there are

    def add(self, pending: PendingRequest) -> None:
        """Put a request with its kind."""
        self.requests += 1
        if isinstance(pending.request, Read):
            self.queries.append(pending)
        elif isinstance(pending.request, Status):
            self.statuses.append(pending)
        else:
            self.commands.append(pending)

    def add_message(self, message: RaftMessage, size_bytes: int) -> None:
        """Put a message of a peer."""
        self.messages.append(message)
        self.message_bytes += size_bytes

    def extend(self, later: Inputs) -> None:
        """Take over all of `later`; too many messages are dropped, as a network may: Raft sends again."""
        if self.message_bytes <= MESSAGE_BYTES_MAX:
            self.messages += later.messages
            self.message_bytes += later.message_bytes
        self.demotions += later.demotions
        self.feature_levels += later.feature_levels
        self.lost_links += later.lost_links
        self.forward_replies += later.forward_replies
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
        self._inputs = Inputs()
        self._idle = False  # nobody has the turn
        self._loop_waits = False  # the run loop waits for the turn, which another thread has
        self._wanted = WakeThresholds()
        self._wakeup = Lock()  # released to give the run loop the turn; not a guard of anything
        self._wakeup.acquire()
        self._run_inline: Callable[[], None] = self._wakeup.release
        self.gathered = Inputs()  # by the reader's thread, for one put at the end of its round

    def run_inline_with(self, run_inline: Callable[[], None]) -> None:
        """Have a thread that puts call `run_inline` when it has the turn; it must end with `end_inline`.

        Without this it gives the turn to the run loop.
        """
        self._run_inline = run_inline

    # -- whoever brings something ---------------------------------------------------------------------

    def put(self, inputs: Inputs) -> None:
        """Add what came in, and take the turn that it may be worth."""
        with self._lock:
            self._inputs.extend(inputs)
            mine = self._idle and self._should_run()
            if mine:
                self._idle = False
        if mine:
            self._run_inline()

    def put_gathered(self) -> None:
        """Put what was gathered. The reader's thread only."""
        inputs, self.gathered = self.gathered, Inputs()
        self.put(inputs)

    @property
    def full(self) -> bool:
        """Whether no more requests should be gathered. The reader's thread only.

        What another server passed on, or waited for a slow job, is counted but never turned away: that
        server and each connection bound what they have under way.
        """
        return self._inputs.requests + self.gathered.requests >= REQUESTS_MAX

    # -- who has the turn -----------------------------------------------------------------------------

    def drain(self) -> Inputs:
        """Return all that came in; the lock is held by the caller."""
        inputs, self._inputs = self._inputs, Inputs()
        return inputs

    def end_inline(self, wanted: WakeThresholds, *, more: bool) -> None:
        """End a reading thread's turn; the run loop has the next one if there is more to do."""
        with self._lock:
            self._wanted = wanted
            self._idle = not (more or self._loop_waits or self._should_run())
            if not self._idle:
                self._wakeup.release()

    def sleep(self, seconds: float, wanted: WakeThresholds = WAKE_ON_ANYTHING) -> None:
        """Give up the turn, and have it again as soon as it is worth it, at the latest after `seconds`.

        Or a little later, if a reading thread has it then. For the run loop.
        """
        with self._lock:
            self._wanted = wanted
            if self._should_run():
                return
            self._idle = True
        if self._wakeup.acquire(timeout=seconds):
            return
        with self._lock:
            if self._idle:
                self._idle = False
                return
            self._loop_waits = True
        self._wakeup.acquire()
        self._loop_waits = False

    def _should_run(self) -> bool:
        inputs, wanted = self._inputs, self._wanted
        return bool(
            len(inputs.commands) >= wanted.commands
            or inputs.messages
            or inputs.forward_replies
            or len(inputs.queries) >= wanted.queries
            or inputs.statuses
            or inputs.refused
            or inputs.lost_links
            or inputs.demotions
            or inputs.feature_levels
        )
