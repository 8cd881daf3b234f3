"""Drives the transfers that have departed from a lane to their ends: asks the receiver's lane, then settles.

Nothing here is durable, and nothing needs to be: the lane's books have the open transfers, and whoever takes
the lane begins with all of them. What the receiver's lane is asked twice it does once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from threading import Lock

from msgspec import Struct
from msgspec.msgpack import Decoder

from atm.ledger.commands import BANK, LedgerReceipt, Outcome, Settle
from atm.ledger.crossings import LaneEntry, OpenTransfer
from atm.server.group.inbox import PendingRequest
from atm.wire.client_messages import FAULT_OUTCOMES
from atm.wire.codec import decode, encode

ASK_AGAIN_S = 0.2  # after a lane that was busy, or that nobody has at the moment
ANSWER_S = 6.0  # for so long an answer is waited for: longer than a request waits for its lane there
CLIENT_S = 3.0  # for so long a client waits for its transfer; then it is told that it does not know

Send = Callable[[Sequence[tuple[str, PendingRequest]]], None]  # each to the lane of an account


class _Answer(Struct):
    """What is of interest of a reply."""

    outcome: str


_answer: Decoder[_Answer] = Decoder(_Answer)


class Departure(Struct, eq=False):
    """An open transfer, who waits for it, and when its arrival is asked for again."""

    transfer: OpenTransfer
    waiting: list[tuple[float, PendingRequest]] = []
    asked: int = 0  # the number of the last question
    ask_at_s: float = 0.0


class Departures:
    """Those of one lane, used by its worker's thread; `reply` is for any.

    It is the `ReplyChannel` of the arrivals that it asks for.
    """

    def __init__(
        self, send: Send, wake: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`send` routes arrivals; `wake` is called when there is something to be settled."""
        self._send, self._wake, self._clock = send, wake, clock
        self._departures: dict[str, Departure] = {}
        self._to_ask: list[Departure] = []  # of those, whose arrival `ask` asks for
        self._arrived: dict[str, Outcome] = {}  # of those, what came in the receivers' lanes
        self._ids: dict[int, str] = {}  # by the numbers of what was asked
        self._number = 0
        self._lock = Lock()  # guards _replies
        self._replies: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._departures)

    def reply(self, number: int, payload: bytes) -> None:
        """Note what the receiver's lane answers."""
        with self._lock:
            self._replies.append((number, payload))
        self._wake()

    @property
    def due(self) -> int:
        """How many there may be to settle; any thread."""
        return len(self._replies) + len(self._arrived)

    def begin(self, transfer: OpenTransfer, pending: PendingRequest | None = None) -> None:
        """Note a transfer that has departed, and whose departure is written; `pending` waits for it."""
        departure = self._departures.get(transfer.command.id)
        if departure is None:
            departure = self._departures[transfer.command.id] = Departure(transfer)
            self._to_ask.append(departure)
        if pending is not None:
            departure.waiting.append((self._clock(), pending))

    def to_settle(self, limit: int) -> list[LaneEntry]:
        """Return the last steps of those that have arrived, or were refused there; of so many at most."""
        with self._lock:
            replies, self._replies = self._replies, []
        for number, payload in replies:
            self._note(number, payload)
        some = islice(self._arrived.items(), limit)
        return [LaneEntry(BANK, Settle(id=each, outcome=came)) for each, came in some]

    def _note(self, number: int, payload: bytes) -> None:
        name = self._ids.pop(number, "")
        departure = self._departures.get(name)
        if departure is None or name in self._arrived:
            return
        outcome = decode(_answer, payload).outcome
        if outcome in FAULT_OUTCOMES:
            departure.ask_at_s = self._clock() + ASK_AGAIN_S
        else:
            self._arrived[name] = Outcome(outcome)

    def settled(self, receipt: LedgerReceipt) -> Iterable[PendingRequest]:
        """Forget a transfer whose end is written; return those who wait for its receipt."""
        departure = self._departures.pop(receipt.id)
        del self._arrived[receipt.id]
        return [pending for _, pending in departure.waiting]

    def ask(self) -> None:
        """Ask the receivers' lanes for what has departed, all together."""
        if self._to_ask:
            asked, self._to_ask = self._to_ask, []
            self._send([self._asked(departure) for departure in asked])

    def ask_again(self) -> None:
        """Ask the receivers' lanes again, where there was no answer."""
        now_s = self._clock()
        self._to_ask += [
            departure
            for name, departure in self._departures.items()
            if departure.ask_at_s <= now_s and name not in self._arrived
        ]
        self.ask()

    def pop_late(self) -> Sequence[PendingRequest]:
        """Return who has waited for too long, once; the transfers go on."""
        late_s, late = self._clock() - CLIENT_S, []
        for departure in self._departures.values():
            late += [pending for since_s, pending in departure.waiting if since_s <= late_s]
            departure.waiting = [each for each in departure.waiting if each[0] > late_s]
        return late

    def pop_all(self) -> Sequence[PendingRequest]:
        """Forget all transfers, which are another server's now; return who waits for them."""
        found = [pending for each in self._departures.values() for _, pending in each.waiting]
        self._departures, self._arrived, self._ids, self._to_ask = {}, {}, {}, []
        with self._lock:
            self._replies = []  # or the worker would look at them for ever
        return found

    def _asked(self, departure: Departure) -> tuple[str, PendingRequest]:
        self._ids.pop(departure.asked, None)
        self._number = departure.asked = self._number + 1
        self._ids[self._number] = departure.transfer.command.id
        departure.ask_at_s = self._clock() + ANSWER_S
        arrival, actor = departure.transfer.arrival, departure.transfer.actor
        return arrival.account, PendingRequest(self, self._number, arrival, encode(arrival), actor)
