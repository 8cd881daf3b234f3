"""A teller's end of the bank: tries, tries again, and knows what each try may have done."""

from __future__ import annotations

import math
import os
import random
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self, overload

from msgspec import Struct

from atm.client.connection import Lost, NotSent, Pool, ServerConnection
from atm.client.errors import (
    ClientClosed,
    Interrupted,
    OutcomeUnknown,
    Rejected,
    Unavailable,
    UnknownNode,
)
from atm.client.node_status import NodeStatus, ask_all
from atm.client.request_rules import check_request
from atm.client.route import Route
from atm.config import Cluster, load
from atm.ledger.commands import (
    Batch,
    Close,
    Command,
    Contents,
    Credit,
    Debit,
    Exceptions,
    Freeze,
    Hold,
    Leg,
    Line,
    Login,
    Lookup,
    Open,
    Outcome,
    Post,
    Query,
    Read,
    Reverse,
    SetLimit,
    SetPin,
    Statement,
    Transfer,
    Unfreeze,
    Unlock,
    Void,
    WriteOff,
)
from atm.wire.client_messages import ClientReply, ErrorReply, Reply, StatusReply, VerifyReply
from atm.wire.codec import encode

CONNECT_TIMEOUT_S = 0.3  # the first try's; doubled with each try that gave no answer
ANSWER_TIMEOUT_S = 1.0  # likewise: a stopped server takes connections and never answers
TIMEOUT_GROWTH = 2.0
HOLD_MS = 300_000
ID_CHARACTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U
PAUSE_S = (0.02, 0.05)  # between rounds over the servers: an election takes 300 to 600 ms


class Receipt(Struct, frozen=True, kw_only=True):
    """The bank's decision; `outcome` compares equal to its text, such as "ok".

    `balance` (in the ledger) and `available` (less what is held) are in minor units, right after the
    decision, or None if there is no such account. `reference` is the decision's log index and `time_us` its
    time stamp (microseconds since 1970); both are 0 for what only reads. The fields behind them belong to
    what only reads, as `atm.ledger.commands.View` says; elsewhere they are None.
    """

    request_id: str
    outcome: Outcome
    balance: int | None
    available: int | None
    reference: int
    time_us: int
    state: str | None = None
    pin: str | None = None
    lines: tuple[Line, ...] | None = None
    next: int | None = None
    asked: Contents | None = None
    reversed_by: str | None = None


def new_request_id() -> str:
    """Return an id that nobody else has, of 20 characters that people do not mix up.

    Ids rise with time, so that ledgers insert them in order: milliseconds, then 55 bits of chance.
    """
    number = time.time_ns() // 1_000_000 << 55 | secrets.randbits(55)
    return "".join(ID_CHARACTERS[number >> shift & 31] for shift in range(95, -1, -5))


class Client:
    """A teller's end of the bank; see the module's page.

    Each request is tried until `timeout` seconds have passed, at one server after another if need be.
    Once it may have been done, it is tried for `patience` seconds in all (`timeout` unless given), and
    `on_unknown` is called once with its id, from the thread that asked.
    """

    def __init__(
        self,
        cluster: Cluster | str | os.PathLike[str],
        node: str | None = None,
        timeout: float = 5.0,
        *,
        patience: float | None = None,
        on_unknown: Callable[[str], None] | None = None,
    ) -> None:
        """Raise `ConfigError` for a wrong file, `UnknownNode`, or `ValueError` for a wrong timeout."""
        self._cluster = cluster if isinstance(cluster, Cluster) else load(Path(cluster))
        if node is not None and node not in self._cluster.nodes:
            names = ", ".join(self._cluster.nodes)
            raise UnknownNode(f"{self._cluster.path} has no node {node}: the nodes are {names}")
        self._timeout_s = _checked_seconds(timeout)
        self._patience_s = max(self._timeout_s, 0 if patience is None else _checked_seconds(patience))
        self._on_unknown = on_unknown
        self._route = Route(list(self._cluster.nodes), node)
        self._pool = Pool()
        self._closed = Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @overload
    def close(self) -> None: ...

    @overload
    def close(self, account: str, *, request_id: str | None = None) -> Receipt: ...

    def close(self, account: str | None = None, *, request_id: str | None = None) -> Receipt | None:
        """Close all connections; a request under way in another thread ends at once.

        With an account, close that account for ever instead: "ok", "not_empty", "account_closed".
        """
        if account is not None:
            return self.ask(Close(id=_id_or_new(request_id), account=account))
        self._closed.set()
        self._pool.close()
        return None

    # -- money -------------------------------------------------------------------------------------
    # Every operation may also answer "no_such_account", "account_closed", "account_frozen" or "id_reused";
    # what takes a PIN, "wrong_pin" or "locked". Amounts are minor units.

    def credit(self, account: str, amount: int, *, request_id: str | None = None) -> Receipt:
        """Pay cash into an account: "ok", "limit_exceeded"."""
        return self.ask(Credit(id=_id_or_new(request_id), account=account, amount=amount))

    def debit(
        self, account: str, amount: int, *, pin: str | None = None, request_id: str | None = None
    ) -> Receipt:
        """Pay cash out of an account: "ok", "insufficient_funds", "limit_exceeded"."""
        return self.ask(Debit(id=_id_or_new(request_id), account=account, amount=amount, pin=pin))

    def transfer(
        self, source: str, target: str, amount: int, *, pin: str | None = None, request_id: str | None = None
    ) -> Receipt:
        """Move money from `source` (whose balance is told) to `target`: "ok", "insufficient_funds"."""
        transfer = Transfer(id=_id_or_new(request_id), account=source, target=target, amount=amount, pin=pin)
        return self.ask(transfer)

    def batch(self, legs: Iterable[Leg], *, request_id: str | None = None) -> Receipt:
        """Do up to 64 transfers in order, all or none: the outcome of the first that is refused, or "ok"."""
        return self.ask(Batch(id=_id_or_new(request_id), legs=tuple(legs)))

    def hold(
        self,
        account: str,
        amount: int,
        expires_ms: int = HOLD_MS,
        *,
        pin: str | None = None,
        request_id: str | None = None,
    ) -> Receipt:
        """Reserve an amount under the `request_id`: "ok", "insufficient_funds", "limit_exceeded"."""
        request_id = _id_or_new(request_id)
        return self.ask(Hold(id=request_id, account=account, amount=amount, expires_ms=expires_ms, pin=pin))

    def post(self, hold: str, amount: int | None = None, *, request_id: str | None = None) -> Receipt:
        """Pay out what was held, or a part of it and release the rest: "ok", "exceeds_hold",
        "hold_not_found", "hold_already_posted", "hold_already_voided". An expired hold is paid all the same.
        """
        return self.ask(Post(id=_id_or_new(request_id), hold=hold, amount=amount))

    def void(self, hold: str, *, request_id: str | None = None) -> Receipt:
        """Release what was held: "ok", "hold_not_found", "hold_already_posted", "hold_already_voided",
        "hold_expired".
        """
        return self.ask(Void(id=_id_or_new(request_id), hold=hold))

    def reverse(self, original: str, amount: int | None = None, *, request_id: str | None = None) -> Receipt:
        """Book the opposite of the request with the id `original`, or of a part of it, once: "ok",
        "already_reversed", "exceeds_original", "insufficient_funds".

        An active hold is released, as a whole; else "hold_already_posted" (reverse its posting),
        "hold_already_voided", "hold_expired".
        "original_not_found": it moved nothing, and if it comes after this it will be declined for ever.
        """
        return self.ask(Reverse(id=_id_or_new(request_id), original=original, amount=amount))

    def write_off(self, account: str, amount: int, *, request_id: str | None = None) -> Receipt:
        """Pay an account, or the missing cash (`cash`), out of the bank's `writeoff`: "ok"."""
        return self.ask(WriteOff(id=_id_or_new(request_id), account=account, amount=amount))

    # -- accounts ----------------------------------------------------------------------------------

    def open(self, account: str, *, request_id: str | None = None) -> Receipt:
        """Open an account: "ok", "exists"."""
        return self.ask(Open(id=_id_or_new(request_id), account=account))

    def freeze(self, account: str, *, request_id: str | None = None) -> Receipt:
        """Let nothing in or out, but for what was held and for corrections."""
        return self.ask(Freeze(id=_id_or_new(request_id), account=account))

    def unfreeze(self, account: str, *, request_id: str | None = None) -> Receipt:
        """Undo `freeze`."""
        return self.ask(Unfreeze(id=_id_or_new(request_id), account=account))

    def set_pin(
        self, account: str, pin: str, old_pin: str | None = None, *, request_id: str | None = None
    ) -> Receipt:
        """Set a PIN of 4 to 12 digits; one that is set already must be told."""
        return self.ask(SetPin(id=_id_or_new(request_id), account=account, pin=pin, old_pin=old_pin))

    def login(self, account: str, pin: str, *, request_id: str | None = None) -> Receipt:
        """Check a PIN, if the account has one: three wrong ones in a row, anywhere, lock the account."""
        return self.ask(Login(id=_id_or_new(request_id), account=account, pin=pin))

    def unlock(self, account: str, *, request_id: str | None = None) -> Receipt:
        """Forget the wrong PINs of an account."""
        return self.ask(Unlock(id=_id_or_new(request_id), account=account))

    def set_limit(self, account: str, amount: int | None, *, request_id: str | None = None) -> Receipt:
        """Limit what may be withdrawn or held in a day (UTC, log time) from now on; None: no limit."""
        return self.ask(SetLimit(id=_id_or_new(request_id), account=account, amount=amount))

    # -- reading: linearizable, every change that was acknowledged before is in it ------------------

    def query(self, account: str, at_us: int | None = None, *, request_id: str | None = None) -> Receipt:
        """Return the balance now, or as it was at a past time in microseconds since 1970."""
        return self.ask(Query(id=_id_or_new(request_id), account=account, at_us=at_us))

    def statement(
        self, account: str, limit: int = 20, before: int | None = None, *, request_id: str | None = None
    ) -> Receipt:
        """Return up to 100 `lines`, the latest first; the page before them begins `before` its `next`."""
        request_id = _id_or_new(request_id)
        return self.ask(Statement(id=request_id, account=account, limit=limit, before=before))

    def lookup(self, request_id: str) -> Receipt:
        """Return the receipt given under this id, and what was `asked`; or "original_not_found"."""
        return self.ask(Lookup(id=new_request_id(), request_id=request_id))

    def exceptions(self, limit: int = 20, before: int | None = None) -> Receipt:
        """Return as `lines` the postings that a person should look at, the latest first."""
        return self.ask(Exceptions(id=new_request_id(), limit=limit, before=before))

    def ask(self, request: Command | Read) -> Receipt:
        """Send a request that was made before, such as one that is repeated under its id."""
        check_request(request)
        if self._closed.is_set():
            raise ClientClosed
        attempt = _Attempt(request.id, changes_something=not isinstance(request, Read))
        try:
            answer = self._ask_until_answered(encode(request), attempt)
        except KeyboardInterrupt as interrupt:
            raise Interrupted(request.id, may_be_done=attempt.may_be_done or attempt.in_flight) from interrupt
        return Receipt(
            request_id=request.id,
            outcome=answer.outcome,
            balance=answer.balance,
            available=answer.available,
            reference=answer.reference,
            time_us=answer.time_us,
            state=answer.state,
            pin=answer.pin,
            lines=answer.lines,
            next=answer.next,
            asked=answer.asked,
            reversed_by=answer.reversed_by,
        )

    def status(self) -> list[NodeStatus]:
        """Ask every node of the cluster how it is, in the file's order; takes about a second at most."""
        if self._closed.is_set():
            raise ClientClosed
        return ask_all(self._cluster, new_request_id())

    # -- trying and trying again -------------------------------------------------------------------

    def _ask_until_answered(self, payload: bytes, attempt: _Attempt) -> Reply:
        """Ask one server after another; a pause follows each refusal and each round over all of them."""
        node, tried = self._route.current, set[str]()
        while True:
            answer = self._try(node, payload, attempt)
            attempt.in_flight = False
            if isinstance(answer, Reply):
                self._route.answered(node, answer.leader)
                return answer
            if answer is not None and answer.outcome == "bad_request":
                raise self._end(attempt, Rejected(answer.message or "it gives no reason"))
            tried.add(node)
            round_is_over = len(tried) == len(self._cluster.nodes)
            if answer is not None or round_is_over:
                self._closed.wait(random.uniform(*PAUSE_S))
            if self._closed.is_set():
                raise self._end(attempt, ClientClosed())
            if self._deadline(attempt) <= time.monotonic():
                raise self._end(attempt, Unavailable())
            if round_is_over:
                tried = {node}
            node = self._route.other(tried, answer.leader if answer is not None else None)

    def _try(self, node: str, payload: bytes, attempt: _Attempt) -> Reply | ErrorReply | None:
        """Ask one server once; return its answer, or None if none came, and note what that means."""
        started = time.monotonic()
        deadline, growth = self._deadline(attempt), TIMEOUT_GROWTH**attempt.timeouts
        connect_until = min(deadline, started + growth * CONNECT_TIMEOUT_S)
        answer_until = min(deadline, started + growth * ANSWER_TIMEOUT_S)
        try:
            connection = self._pool.take(self._cluster.nodes[node].client.pair, connect_until)
        except NotSent:
            attempt.timeouts += time.monotonic() >= connect_until
            self._route.failed(node)
            return None
        except ClientClosed as closed:
            raise self._end(attempt, closed) from None
        try:
            answer = self._exchange(connection, payload, attempt, answer_until)
        except NotSent:
            self._route.failed(node)
            return None
        except Lost:
            attempt.timeouts += 1
            self._route.failed(node)
            self._note_unknown(attempt)
            return None
        if isinstance(answer, ErrorReply) and answer.outcome == "unknown":
            self._note_unknown(attempt)
        return answer

    def _exchange(
        self, connection: ServerConnection, payload: bytes, attempt: _Attempt, until: float
    ) -> Reply | ErrorReply:
        """Send and receive, and leave the connection in the pool or closed; raise `NotSent` or `Lost`."""
        answer: ClientReply | None = None
        attempt.in_flight = attempt.changes_something
        try:
            answer = connection.exchange(payload, attempt.request_id, until)
        finally:
            if answer is not None and answer.id:
                self._pool.release(connection)
            else:
                self._pool.discard(connection)
        if isinstance(answer, StatusReply | VerifyReply):
            raise Lost("the server told about itself, which was not asked for")
        return answer

    def _deadline(self, attempt: _Attempt) -> float:
        return attempt.started + (self._patience_s if attempt.may_be_done else self._timeout_s)

    def _note_unknown(self, attempt: _Attempt) -> None:
        if attempt.changes_something and not attempt.may_be_done:
            attempt.may_be_done = True
            if self._on_unknown is not None:
                self._on_unknown(attempt.request_id)

    def _end(self, attempt: _Attempt, certain: Exception) -> Exception:
        """Return what to raise when no receipt came: `certain` only if the request is not done."""
        return OutcomeUnknown(attempt.request_id) if attempt.may_be_done else certain


@dataclass
class _Attempt:
    """What is known of one request while it is tried."""

    request_id: str
    changes_something: bool  # a query does not, so its end is never unknown
    started: float = field(default_factory=time.monotonic)
    may_be_done: bool = False
    in_flight: bool = False  # a try is under way and may have arrived
    timeouts: int = 0  # tries that ran into their time limit or broke


def _id_or_new(request_id: str | None) -> str:
    return new_request_id() if request_id is None else request_id


def _checked_seconds(seconds: float) -> float:
    if not 0 < seconds < math.inf:
        raise ValueError(f"A timeout is a number of seconds above 0, not {seconds}")
    return seconds
