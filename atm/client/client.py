"""The client of the bank: one method for each operation, tried until it is answered (see retrying.py)."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import Self, overload

from msgspec.structs import replace

from atm.client.errors import ClientClosed, UnknownNode
from atm.client.node_status import ClusterStatus, NodeStatus, ask_all
from atm.client.receipt import Receipt, new_request_id
from atm.client.request_rules import check_either, check_request
from atm.client.retrying import RetryingSender
from atm.client.route import Route
from atm.config import Cluster, load
from atm.ledger.commands import (
    Accounts,
    Approvals,
    Approve,
    Batch,
    Close,
    Command,
    Credit,
    Debit,
    Deeds,
    Exceptions,
    Find,
    Freeze,
    Hold,
    Holds,
    Leg,
    LimitedOp,
    Login,
    Lookup,
    Open,
    Post,
    Query,
    Read,
    ResetPin,
    Reverse,
    SetApprovalLimit,
    SetCeiling,
    SetLimit,
    SetPin,
    Statement,
    Transfer,
    Unfreeze,
    Unlock,
    Void,
    WriteOff,
)
from atm.tls.credentials import client_credentials

HOLD_MS = 300_000


class Client:
    """The client of the bank; see the package's docstring.

    Each request is tried for `timeout` seconds, at one server after another. Once it may have been done,
    it is tried for `patience` seconds in all (default: `timeout`), and `on_unknown` is called once with its
    id, in the calling thread. A gateway's `end_user` is whom it acts for, by its own names.
    """

    def __init__(
        self,
        cluster: Cluster | str | os.PathLike[str],
        node: str | None = None,
        timeout: float = 5.0,
        *,
        patience: float | None = None,
        on_unknown: Callable[[str], None] | None = None,
        cert: str | os.PathLike[str] | None = None,
        key: str | os.PathLike[str] | None = None,
        end_user: str | None = None,
    ) -> None:
        """Raise `ConfigError` for a wrong file, `UnknownNode`, or `ValueError` for a wrong timeout.

        `cert` and `key` are files that take the place of client_cert and client_key in cluster.ini.
        """
        given = cluster if isinstance(cluster, Cluster) else load(Path(cluster))
        self._cluster = given.with_client_certificate(cert, key)
        if node is not None and node not in self._cluster.nodes:
            names = ", ".join(self._cluster.nodes)
            raise UnknownNode(f"{self._cluster.path} has no node {node}: the nodes are {names}")
        self._end_user = end_user
        timeout_s = _checked_seconds(timeout)
        self._credentials = client_credentials(self._cluster)
        self._sender = RetryingSender(
            self._cluster.nodes,
            Route(list(self._cluster.nodes), node),
            timeout_s=timeout_s,
            patience_s=max(timeout_s, 0 if patience is None else _checked_seconds(patience)),
            on_unknown=on_unknown,
            credentials=self._credentials,
        )

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
        """Close all connections; a request in another thread ends at once.

        With an account, close that account for ever instead: "ok", "not_empty", "account_closed".
        """
        if account is not None:
            return self.ask(Close(id=_id_or_new(request_id), account=account))
        self._sender.close()
        return None

    # -- money -------------------------------------------------------------------------------------
    # Every operation may also answer "no_such_account", "account_closed", "account_frozen" or "id_reused";
    # what takes a PIN, "wrong_pin" or "locked". Amounts are minor units. A `code` (1 to 65535) and a `text`
    # (up to 140 characters) say what a posting is for, in statements and exports, and to `find` it.

    def credit(
        self,
        account: str,
        amount: int,
        *,
        code: int | None = None,
        text: str | None = None,
        request_id: str | None = None,
    ) -> Receipt:
        """Pay cash into an account: "ok", "limit_exceeded", "ceiling_exceeded"."""
        request_id = _id_or_new(request_id)
        return self.ask(Credit(id=request_id, account=account, amount=amount, code=code, text=text))

    def debit(
        self,
        account: str,
        amount: int | None = None,
        *,
        everything: bool = False,
        pin: str | None = None,
        code: int | None = None,
        text: str | None = None,
        request_id: str | None = None,
    ) -> Receipt:
        """Pay cash out of an account: "ok", "insufficient_funds", "limit_exceeded".

        In place of an amount, `everything` that is available: the receipt's `moved` is how much that was.
        """
        check_either(amount, everything=everything)
        return self.ask(
            Debit(
                id=_id_or_new(request_id),
                account=account,
                amount=amount,
                all=everything,
                pin=pin,
                code=code,
                text=text,
            )
        )

    def transfer(
        self,
        source: str,
        target: str,
        amount: int | None = None,
        *,
        everything: bool = False,
        pin: str | None = None,
        code: int | None = None,
        text: str | None = None,
        request_id: str | None = None,
    ) -> Receipt:
        """Move money from `source` (the receipt has its balance) to `target`: "ok", "insufficient_funds",
        "limit_exceeded" (where transfers count), "ceiling_exceeded" (of `target`). `everything`: see `debit`.
        """
        check_either(amount, everything=everything)
        transfer = Transfer(
            id=_id_or_new(request_id),
            account=source,
            target=target,
            amount=amount,
            all=everything,
            pin=pin,
            code=code,
            text=text,
        )
        return self.ask(transfer)

    def batch(
        self,
        legs: Iterable[Leg],
        *,
        code: int | None = None,
        text: str | None = None,
        request_id: str | None = None,
    ) -> Receipt:
        """Do up to 64 transfers in order, all or none: the outcome of the first that is refused, or "ok".

        The receipt's `leg` is the place of that one, from 0.
        """
        return self.ask(Batch(id=_id_or_new(request_id), legs=tuple(legs), code=code, text=text))

    def hold(
        self,
        account: str,
        amount: int,
        expires_ms: int = HOLD_MS,
        *,
        pin: str | None = None,
        code: int | None = None,
        text: str | None = None,
        request_id: str | None = None,
    ) -> Receipt:
        """Reserve an amount under the `request_id`: "ok", "insufficient_funds", "limit_exceeded"."""
        return self.ask(
            Hold(
                id=_id_or_new(request_id),
                account=account,
                amount=amount,
                expires_ms=expires_ms,
                pin=pin,
                code=code,
                text=text,
            )
        )

    def post(
        self,
        hold: str,
        amount: int | None = None,
        *,
        code: int | None = None,
        text: str | None = None,
        request_id: str | None = None,
    ) -> Receipt:
        """Pay out what was held, or a part of it and release the rest: "ok", "exceeds_hold",
        "hold_not_found", "hold_already_posted", "hold_already_voided". An expired hold is still paid.
        """
        return self.ask(Post(id=_id_or_new(request_id), hold=hold, amount=amount, code=code, text=text))

    def void(self, hold: str, *, request_id: str | None = None) -> Receipt:
        """Release what was held: "ok", "hold_not_found", "hold_already_posted", "hold_already_voided",
        "hold_expired".
        """
        return self.ask(Void(id=_id_or_new(request_id), hold=hold))

    def reverse(
        self,
        original: str,
        amount: int | None = None,
        *,
        code: int | None = None,
        text: str | None = None,
        request_id: str | None = None,
    ) -> Receipt:
        """Book the opposite of the request with the id `original`, or of a part of it, once: "ok",
        "already_reversed", "exceeds_original", "insufficient_funds".

        An active hold is released, as a whole; else "hold_already_posted" (reverse its posting),
        "hold_already_voided", "hold_expired".
        "original_not_found": it moved nothing, and if it arrives later it will be declined for ever.
        """
        request_id = _id_or_new(request_id)
        return self.ask(Reverse(id=request_id, original=original, amount=amount, code=code, text=text))

    def write_off(
        self,
        account: str,
        amount: int,
        *,
        code: int | None = None,
        text: str | None = None,
        request_id: str | None = None,
    ) -> Receipt:
        """Pay an account, or the missing cash (`cash`), out of the bank's `writeoff`: "ok"."""
        request_id = _id_or_new(request_id)
        return self.ask(WriteOff(id=request_id, account=account, amount=amount, code=code, text=text))

    # -- accounts ----------------------------------------------------------------------------------

    def open(self, account: str, *, request_id: str | None = None) -> Receipt:
        """Open an account: "ok", "exists"."""
        return self.ask(Open(id=_id_or_new(request_id), account=account))

    def freeze(self, account: str, *, request_id: str | None = None) -> Receipt:
        """Block an account, except for its holds and for reversals."""
        return self.ask(Freeze(id=_id_or_new(request_id), account=account))

    def unfreeze(self, account: str, *, request_id: str | None = None) -> Receipt:
        """Undo `freeze`."""
        return self.ask(Unfreeze(id=_id_or_new(request_id), account=account))

    def set_pin(
        self, account: str, pin: str, old_pin: str | None = None, *, request_id: str | None = None
    ) -> Receipt:
        """Set a PIN of 4 to 12 digits; changing one needs the old one."""
        return self.ask(SetPin(id=_id_or_new(request_id), account=account, pin=pin, old_pin=old_pin))

    def login(self, account: str, pin: str, *, request_id: str | None = None) -> Receipt:
        """Check a PIN, if the account has one: three wrong ones in a row, at any servers, lock it."""
        return self.ask(Login(id=_id_or_new(request_id), account=account, pin=pin))

    def unlock(self, account: str, *, request_id: str | None = None) -> Receipt:
        """End the present lock of the PIN; how long the next one lasts is not changed. Three times a day."""
        return self.ask(Unlock(id=_id_or_new(request_id), account=account))

    def reset_pin(self, account: str, *, request_id: str | None = None) -> Receipt:
        """Remove the PIN and its lock: then a first PIN can be set, and money needs none until it is."""
        return self.ask(ResetPin(id=_id_or_new(request_id), account=account))

    def set_limit(
        self, account: str, amount: int | None, *, transfers: bool = False, request_id: str | None = None
    ) -> Receipt:
        """Limit what may be withdrawn or held in a day (UTC, log time) from now on; None: no limit.

        With `transfers`, what leaves by transfers and batches counts, too.
        """
        request_id = _id_or_new(request_id)
        return self.ask(SetLimit(id=request_id, account=account, amount=amount, transfers=transfers))

    def set_ceiling(self, account: str, amount: int | None, *, request_id: str | None = None) -> Receipt:
        """Let no credit or transfer raise the balance above `amount` from now on; None: no ceiling."""
        return self.ask(SetCeiling(id=_id_or_new(request_id), account=account, amount=amount))

    # -- a second person: `write_off`, `reverse`, `unlock` and `reset_pin` above their limits are answered
    # "needs_approval", and nothing is changed -------------------------------------------------------

    def approve(self, request: str, *, request_id: str | None = None) -> Receipt:
        """Carry out what somebody else asked under the id `request`: the outcome of that, "ok" or a refusal
        after which it can be approved again; "not_allowed", "original_not_found", "already_approved",
        "approval_expired".
        """
        return self.ask(Approve(id=_id_or_new(request_id), request=request))

    def set_approval_limit(
        self, op: LimitedOp, amount: int | None, *, request_id: str | None = None
    ) -> Receipt:
        """Let requests `op` above `amount` (0 or more) need an approval, from now on; None: none of them."""
        return self.ask(SetApprovalLimit(id=_id_or_new(request_id), limited=op, amount=amount))

    # -- reading: linearizable, so it includes every change that was acknowledged before -----------

    def query(self, account: str, at_us: int | None = None, *, request_id: str | None = None) -> Receipt:
        """Return the balance now, or as it was at a past time in microseconds since 1970."""
        return self.ask(Query(id=_id_or_new(request_id), account=account, at_us=at_us))

    def statement(
        self, account: str, limit: int = 20, before: int | None = None, *, request_id: str | None = None
    ) -> Receipt:
        """Return up to 100 `lines`, the latest first; the page before them begins `before` its `next`."""
        request_id = _id_or_new(request_id)
        return self.ask(Statement(id=request_id, account=account, limit=limit, before=before))

    def holds(self, account: str, limit: int = 100, after: str | None = None) -> Receipt:
        """Return up to 100 of the account's active `holds` by id; the next page comes `after` its `next`."""
        return self.ask(Holds(id=new_request_id(), account=account, limit=limit, after_hold=after))

    def lookup(self, request_id: str) -> Receipt:
        """Return the receipt of this request id, and what was `asked`; or "original_not_found"."""
        return self.ask(Lookup(id=new_request_id(), request_id=request_id))

    def exceptions(self, limit: int = 20, before: int | None = None) -> Receipt:
        """Return as `lines` the postings that a person should look at, the latest first."""
        return self.ask(Exceptions(id=new_request_id(), limit=limit, before=before))

    def find(
        self,
        code: int | None = None,
        text: str | None = None,
        *,
        whole: bool = False,
        limit: int = 20,
        before: int | None = None,
    ) -> Receipt:
        """Return as `lines` the postings with this code and this text in theirs (`whole`: all of it), the
        latest first. A page may be short, or empty: `next` alone says whether there may be more.
        """
        request_id = new_request_id()
        return self.ask(Find(id=request_id, code=code, text=text, whole=whole, limit=limit, before=before))

    def accounts(self, limit: int = 100, after: str | None = None) -> Receipt:
        """Return up to 100 of the customers' `accounts` by name; the next page comes `after` its `next`."""
        return self.ask(Accounts(id=new_request_id(), limit=limit, after=after))

    def deeds(self, limit: int = 20, before: int | None = None) -> Receipt:
        """Return as `deeds` what operators and administrators did, the latest first."""
        return self.ask(Deeds(id=new_request_id(), limit=limit, before=before))

    def approvals(self, limit: int = 20, before: int | None = None) -> Receipt:
        """Return as `approvals` the requests that wait for one, the latest first, and the `limits`."""
        return self.ask(Approvals(id=new_request_id(), limit=limit, before=before))

    def ask(self, request: Command | Read) -> Receipt:
        """Send a request object, such as one that is repeated under its id."""
        if request.end_user is None and self._end_user is not None:
            request = replace(request, end_user=self._end_user)
        check_request(request)
        return Receipt.of(self._sender.send(request))

    def on_behalf_of(self, end_user: str) -> Client:
        """Return this client as it acts for another end user; the two share their connections and `close`."""
        other = copy(self)
        other._end_user = end_user
        return other

    def status(self) -> list[NodeStatus]:
        """Return the status of every node, in the file's order, within about a second."""
        return list(self.cluster_status().nodes)

    def cluster_status(self) -> ClusterStatus:
        """Return the status of every node, who leads, and whether the bank is available, within 2 seconds."""
        if self._sender.closed:
            raise ClientClosed
        return ask_all(self._cluster, credentials=self._credentials)


def _id_or_new(request_id: str | None) -> str:
    return new_request_id() if request_id is None else request_id


def _checked_seconds(seconds: float) -> float:
    if not 0 < seconds < math.inf:
        raise ValueError(f"A timeout is a number of seconds above 0, not {seconds}")
    return seconds
