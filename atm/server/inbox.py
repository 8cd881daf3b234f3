"""What has come in and waits for the run loop's next turn."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Protocol

from msgspec import Struct

from atm.ledger.commands import Read
from atm.raft.messages import NodeId, RaftMessage
from atm.wire.serializer import Status, TellerRequest

REQUESTS_MAX = 20_000
MESSAGE_BYTES_MAX = 64 * 1024 * 1024


class Channel(Protocol):
    """Where an answer goes; only the run loop answers."""

    def answer(self, number: int, payload: bytes) -> None:
        """Take the encoded answer to the request that came with `number`."""


class Asked(Struct, frozen=True, eq=False):
    """A request and where its answer goes. `payload` is the request as it came, with its PINs sealed."""

    channel: Channel
    number: int
    request: TellerRequest
    payload: bytes
    passed_on: bool = False  # by another node: it is not passed on once more


class Mail:
    """All that came in during one turn, by kind, in the order of arrival."""

    __slots__ = (
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
    """Bounded; reading threads put, the run loop takes all at once and sleeps on it when there is nothing."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock  # guards what follows (and the node's Raft state); never held over I/O
        self._mail = Mail()
        self._asleep = False
        self._commands_wanted = 1  # that many commands wake the sleeping loop,
        self._queries_wanted = 1  # or that many queries; of all else, one is enough
        self._bell = Lock()  # held while nobody rings; not a guard of anything
        self._bell.acquire()

    # -- reading threads ------------------------------------------------------------------------------

    def put_requests(self, requests: Sequence[Asked]) -> bool:
        """Add tellers' requests; return False, with none added, if too many wait."""
        with self._lock:
            mail = self._mail
            if len(mail.commands) + len(mail.queries) + len(mail.statuses) + len(requests) > REQUESTS_MAX:
                return False
            for asked in requests:
                mail.add(asked)
            if self._asleep and self._worth_waking():
                self._ring()
        return True

    def put_passed_on(self, requests: Sequence[Asked], refused: Sequence[tuple[Channel, int, bytes]]) -> None:
        """Add what another node passed on: good requests, and the others with the answer to each.

        Not counted against the limit here: whoever passes on bounds what he has under way.
        """
        with self._lock:
            for asked in requests:
                self._mail.add(asked)
            self._mail.refused.extend(refused)
            if self._asleep and self._worth_waking():
                self._ring()

    def put_messages(self, messages: Sequence[RaftMessage], size_bytes: int) -> None:
        """Add Raft's messages. Too many are dropped, as a network may; Raft sends again."""
        with self._lock:
            if self._mail.message_bytes > MESSAGE_BYTES_MAX:
                return
            self._mail.messages.extend(messages)
            self._mail.message_bytes += size_bytes
            self._ring()

    def put_returned(self, answers: Sequence[tuple[int, bytes]]) -> None:
        """Add the leader's answers to what this node passed on."""
        with self._lock:
            self._mail.returned.extend(answers)
            self._ring()

    def put_demotion(self, peer: NodeId) -> None:
        """Tell that `peer` came back with an empty disk; takes effect before any message put later."""
        with self._lock:
            self._mail.demotions.append(peer)
            self._ring()

    def put_lost_link(self, peer: NodeId) -> None:
        """Tell that what was sent to `peer` may not have arrived."""
        with self._lock:
            self._mail.lost_links.append(peer)
            self._ring()

    def _ring(self) -> None:
        if self._asleep:
            self._asleep = False
            self._bell.release()

    # -- the run loop ---------------------------------------------------------------------------------

    def take(self) -> Mail:
        """Return all that came in; the lock is held by the caller."""
        mail, self._mail = self._mail, Mail()
        return mail

    def _worth_waking(self) -> bool:
        mail = self._mail
        return bool(
            len(mail.commands) >= self._commands_wanted
            or mail.messages
            or mail.returned
            or len(mail.queries) >= self._queries_wanted
            or mail.statuses
            or mail.refused
            or mail.lost_links
            or mail.demotions
        )

    def sleep(self, seconds: float, commands_wanted: int = 1, queries_wanted: int = 1) -> None:
        """Return when something waits, at the latest after `seconds`; the lock is not held by the caller.

        Fewer commands than `commands_wanted` are nothing: the caller would not begin with them yet; and
        likewise with queries. If none are wanted, the caller has something to begin with.
        """
        with self._lock:
            self._commands_wanted, self._queries_wanted = commands_wanted, queries_wanted
            if self._worth_waking():
                return
            self._asleep = True
        if self._bell.acquire(timeout=seconds):
            return
        with self._lock:
            if self._asleep:
                self._asleep = False
                return
        self._bell.acquire()  # it was rung between our giving up and our saying so
