"""What came in and waits for the run loop's next iteration, and which thread runs that iteration."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import NamedTuple, Protocol

from msgspec import Struct

from atm.ledger.commands import Read
from atm.raft.messages import NodeId, RaftMessage
from atm.wire.client_messages import AdminChange, Members, QueuedRequest, Status
from atm.wire.peer_messages import Hello, PeerReport, Welcome

REQUESTS_MAX = 20_000
REQUEST_BYTES_MAX = 64 * 1024 * 1024
MESSAGE_BYTES_MAX = 64 * 1024 * 1024


class ReplyChannel(Protocol):
    """Where the reply to a request goes. Only within an iteration."""

    def reply(self, number: int, payload: bytes) -> None:
        """Send the encoded reply to the request that came with `number`, at the end of the iteration."""


class PendingRequest(Struct, frozen=True, eq=False):
    """A client's request, or a deed to be recorded, and where the reply goes.

    `payload` is the request as it came, with its PINs sealed.

    `actor` is who made the request, as established by the server that received it.
    """

    channel: ReplyChannel
    number: int
    request: QueuedRequest
    payload: bytes
    actor: str
    forwarded: bool = False  # by another node: it is not forwarded a second time
    roles: int = 0  # of the actor's certificate (`permissions.bits_of`); 0: there is none
    arrived_s: float = 0.0  # by the monotonic clock; 0: not here, or from this server itself
    lane: int | None = None  # that it is for, in a bank on PostgreSQL; None: not known yet


class WakeThresholds(NamedTuple):
    """Wake-up thresholds: run an iteration once so many of a kind are queued; 0: as soon as possible."""

    commands: int = 1
    queries: int = 1


WAKE_ON_ANYTHING = WakeThresholds()


class Inputs(Struct):
    """What came in and waits for the next iteration, by kind, in the order of arrival."""

    demotions: list[tuple[NodeId, str]] = []  # peers that came back with another disk, and its store id
    hellos: list[tuple[NodeId, Hello | None]] = []  # of peers that have connected; None: it has disconnected
    standings: list[
        tuple[NodeId, Welcome | int]
    ] = []  # what a peer answers to our hello; an index: that of the entry that removed this node
    messages: list[RaftMessage] = []
    message_bytes: int = 0
    lost_links: list[NodeId] = []  # links to these peers are down: what was sent may not have arrived
    peer_reports: list[PeerReport] = []  # they wait for the next iteration, and cause none
    forward_replies: list[tuple[int, bytes]] = []  # replies of the leader, by forwarding number
    refused: list[tuple[ReplyChannel, int, bytes]] = []  # rejected when decoded, with the reply to send
    commands: list[PendingRequest] = []
    queries: list[PendingRequest] = []
    changes: list[PendingRequest] = []  # an administrator's
    statuses: list[PendingRequest] = []  # and requests for the members: this server answers
    requests: int = 0  # how many of all these there are
    request_bytes: int = 0

    def add_request(self, pending: PendingRequest) -> None:
        """Queue a request by its kind."""
        self.requests += 1
        self.request_bytes += len(pending.payload)
        if isinstance(pending.request, Read):
            self.queries.append(pending)
        elif isinstance(pending.request, Status | Members):
            self.statuses.append(pending)
        elif isinstance(pending.request, AdminChange):
            self.changes.append(pending)
        else:
            self.commands.append(pending)

    def add_message(self, message: RaftMessage, size_bytes: int) -> None:
        self.messages.append(message)
        self.message_bytes += size_bytes

    def extend(self, later: Inputs) -> None:
        """Append all of `later`; messages over the limit are dropped, as a network may: Raft sends again."""
        if self.message_bytes <= MESSAGE_BYTES_MAX:
            self.messages += later.messages
            self.message_bytes += later.message_bytes
        self.demotions += later.demotions
        self.hellos += later.hellos
        self.standings += later.standings
        self.lost_links += later.lost_links
        self.peer_reports += later.peer_reports
        self.forward_replies += later.forward_replies
        self.refused += later.refused
        self.commands += later.commands
        self.queries += later.queries
        self.changes += later.changes
        self.statuses += later.statuses
        self.requests += later.requests
        self.request_bytes += later.request_bytes


class Inbox:
    """The bounded queue in front of the run loop; any thread may put.

    At most one thread at a time runs an iteration of the loop. While less is queued than the wake-up
    thresholds ask for, the loop is idle: then the reading thread whose `put` reaches a threshold runs one
    iteration inline, which saves a thread switch, and the loop is idle again or goes on in its own thread.
    """

    def __init__(self, lock: Lock) -> None:
        self._lock = lock  # guards what follows, and the core (see RunLoop); never held over I/O
        self._inputs = Inputs()
        self._idle = False  # no thread runs an iteration
        self._loop_waits = False  # the loop's own thread waits for an inline iteration to end
        self._thresholds = WakeThresholds()
        self._wakeup = Lock()  # released to wake the loop's own thread; guards nothing
        self._wakeup.acquire()
        self._run_inline: Callable[[], None] = self._wakeup.release
        self.gathered = Inputs()  # filled by the reader's thread, and put at the end of its round

    def run_inline_with(self, run_inline: Callable[[], None]) -> None:
        """Have a thread whose `put` reaches a threshold call `run_inline`, which must call `end_inline` last.

        Without this, such a thread wakes the loop's own thread.
        """
        self._run_inline = run_inline

    # -- any thread -----------------------------------------------------------------------------------

    def put(self, inputs: Inputs) -> None:
        """Queue what came in; if that reaches a threshold and the loop is idle, run an iteration inline."""
        with self._lock:
            self._inputs.extend(inputs)
            run_inline = self._idle and self._should_run()
            if run_inline:
                self._idle = False
        if run_inline:
            self._run_inline()

    def put_gathered(self) -> None:
        """Queue what the reader's thread has gathered. For that thread only."""
        inputs, self.gathered = self.gathered, Inputs()
        self.put(inputs)

    @property
    def full(self) -> bool:
        """Whether clients' requests must be refused as busy. For the reader's thread only.

        Requests that another server forwarded, or that waited for a slow job, are counted but not refused:
        that server and each connection bound their own.
        """
        return (
            self._inputs.requests + self.gathered.requests >= REQUESTS_MAX
            or self._inputs.request_bytes + self.gathered.request_bytes >= REQUEST_BYTES_MAX
        )

    # -- the thread that runs an iteration --------------------------------------------------------------

    def drain(self) -> Inputs:
        """Return all that is queued. The caller holds the lock."""
        inputs, self._inputs = self._inputs, Inputs()
        return inputs

    def end_inline(self, thresholds: WakeThresholds, *, more: bool) -> None:
        """End an inline iteration; the loop's own thread runs the next one if there is `more` to do."""
        with self._lock:
            self._thresholds = thresholds
            self._idle = not (more or self._loop_waits or self._should_run())
            if not self._idle:
                self._wakeup.release()

    def sleep(self, seconds: float, thresholds: WakeThresholds = WAKE_ON_ANYTHING) -> None:
        """Be idle until a wake-up threshold is reached or `seconds` have passed. The loop's own thread only.

        If an inline iteration is running at that time, wait for its end, too.
        """
        with self._lock:
            self._thresholds = thresholds
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
        inputs, thresholds = self._inputs, self._thresholds
        return bool(
            len(inputs.commands) >= thresholds.commands
            or inputs.messages
            or inputs.forward_replies
            or len(inputs.queries) >= thresholds.queries
            or inputs.changes
            or inputs.statuses
            or inputs.refused
            or inputs.lost_links
            or inputs.demotions
            or inputs.hellos
            or inputs.standings
        )
