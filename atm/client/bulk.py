"""Many requests that are asked at once on one connection, and what is known of each. No I/O here."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from atm.client.connection import Lost, NotSent
from atm.client.each_node import told_by
from atm.client.receipt import Receipt, receipt_of
from atm.ledger.commands import Command, Read
from atm.wire.client_messages import ClientReply, ErrorReply, Reply
from atm.wire.codec import Malformed, encode
from atm.wire.framing import frame

SLOT_BYTES = 1024
SLOTS_MAX = 1_000  # in flight on a connection, by docs/protocol.md: a server takes 1,024


class _Asked(Struct, frozen=True, gc=False):
    """A request, and the frame that asks it, each time the same."""

    request: Command | Read
    framed: bytes
    slots: int


class Bulk:
    """Requests, each with an id of its own, that are asked until each has a reply.

    A try asks one server for all that have none: `begin_try`, then `next_frames` and `take` by turns while it
    `is_trying`, then `end_try`. Each try asks under the same ids, with the same bytes.
    """

    def __init__(self, requests: Sequence[Command | Read]) -> None:
        self.replies: dict[str, Receipt] = {}
        self.rejected: dict[str, str] = {}  # what a server does not understand, and why: not asked again
        self.unknown: dict[str, None] = {}  # without a reply, and may be done
        self.told = ""  # by the last server that took no request: why
        self.leader: str | None = None  # as the last answer says
        self.was_refused = False  # a request, in this try: busy, or no leader is known
        self._only_reads = all(isinstance(request, Read) for request in requests)
        self._newly_unknown: list[str] = []
        self._waiting = {request.id: _asked(request) for request in requests}
        self._unsent: deque[_Asked] = deque()
        self._in_flight: dict[str, _Asked] = {}
        self._free_slots = SLOTS_MAX
        self._answered = 0  # in this try

    @property
    def waiting(self) -> bool:
        """Whether any request has no reply, and may get one."""
        return bool(self._waiting)

    @property
    def not_done(self) -> tuple[str, ...]:
        """The ids of the requests that are certainly not done."""
        return tuple(each for each in (*self.rejected, *self._waiting) if each not in self.unknown)

    @property
    def changed_something(self) -> bool:
        """Whether any request may be done, other than one that only reads."""
        return bool(self.unknown) or (bool(self.replies) and not self._only_reads)

    @property
    def may_be_done(self) -> bool:
        """Whether any request may be done now, while a try is under way, other than one that only reads."""
        return self.changed_something or (bool(self._in_flight) and not self._only_reads)

    @property
    def is_trying(self) -> bool:
        """Whether the server has not said something about each request that this try asks it for."""
        return bool(self._unsent or self._in_flight)

    def begin_try(self) -> None:
        """Ask for all that have no reply on another connection, on which nothing is under way."""
        self._unsent = deque(self._waiting.values())
        self._in_flight.clear()
        self._free_slots, self._answered, self.was_refused = SLOTS_MAX, 0, False

    def next_frames(self) -> bytes:
        """Return what may be sent now, perhaps nothing; from then on it may be done."""
        frames: list[bytes] = []
        while self._unsent and (self._unsent[0].slots <= self._free_slots or not self._in_flight):
            asked = self._unsent.popleft()
            self._in_flight[asked.request.id] = asked
            self._free_slots -= asked.slots
            frames.append(asked.framed)
        return b"".join(frames)

    def take(self, answer: ClientReply) -> None:
        """Take an answer; raise `Lost` if it is none to a request of this try.

        Raise `NotSent` if the server says of the connection that it takes nothing of it.
        """
        if isinstance(answer, ErrorReply) and not answer.id:
            self.told = told_by(answer)
            refuses_all = answer.outcome == "busy" and not self._answered  # else it may have read some
            raise NotSent(answer.message) if refuses_all else Lost(answer.message)
        asked = self._in_flight.pop(answer.id, None)
        if asked is None:
            raise Lost("the server answered another request")
        self._free_slots += asked.slots
        if isinstance(answer, ErrorReply):
            self._take_error(asked, answer)
        else:
            self._take_reply(asked, answer)
        self._answered += 1

    def _take_reply(self, asked: _Asked, answer: ClientReply) -> None:
        try:
            if not isinstance(answer, Reply):
                raise Malformed("the server sent a reply of another kind, which was not asked for")
            self.replies[answer.id] = receipt_of(asked.request, answer)
        except Malformed as error:
            self._in_flight[answer.id] = asked
            raise Lost(str(error)) from error
        del self._waiting[answer.id]
        self.unknown.pop(answer.id, None)
        self.leader = answer.leader

    def _take_error(self, asked: _Asked, error: ErrorReply) -> None:
        if error.outcome == "bad_request":
            self.rejected[error.id] = error.message or "no reason was given"
            del self._waiting[error.id]  # an earlier try may have done it all the same
            return
        self.told = told_by(error)
        self.leader = error.leader
        self.was_refused = True
        if error.outcome == "unknown":
            self._note_unknown(asked)

    def end_try(self, *, none_was_taken: bool = False) -> list[str]:
        """End a try that may have broken off; return the ids of requests that may be done since it."""
        if not none_was_taken:
            for asked in self._in_flight.values():
                self._note_unknown(asked)
        self._unsent.clear()
        self._in_flight.clear()
        newly, self._newly_unknown = self._newly_unknown, []
        return newly

    def _note_unknown(self, asked: _Asked) -> None:
        request_id = asked.request.id
        if not isinstance(asked.request, Read) and request_id not in self.unknown:
            self.unknown[request_id] = None
            self._newly_unknown.append(request_id)


def _asked(request: Command | Read) -> _Asked:
    payload = encode(request)
    slots = -(-max(request.answer_bytes_max, len(payload)) // SLOT_BYTES)
    return _Asked(request, frame(payload), slots)
