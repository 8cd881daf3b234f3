"""The operations of the bank, once for all clients: what each asks, and what it answers when it is ok."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

from atm.client.receipt import (
    Accepted,
    AccountsPage,
    ApprovalsPage,
    Balance,
    DeedsPage,
    Done,
    ExceptionsPage,
    FindPage,
    Found,
    HoldsPage,
    Refusal,
    StatementPage,
    new_request_id,
)
from atm.client.request_rules import check_either
from atm.ledger.commands import (
    PAGE_LINES_MAX,
    Accounts,
    AccountState,
    Approvals,
    Approve,
    Batch,
    Close,
    Command,
    Credit,
    Debit,
    Deed,
    Deeds,
    Exceptions,
    Find,
    Freeze,
    Hold,
    Holds,
    HoldState,
    Leg,
    LimitedOp,
    Line,
    Login,
    Lookup,
    Open,
    Page,
    Post,
    Query,
    RaiseHold,
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
    WaitingRequest,
    WriteOff,
)

if TYPE_CHECKING:
    from atm.client.async_client import AsyncClient
    from atm.client.client import Client

HOLD_MS = 300_000

P = ParamSpec("P")
Kind = TypeVar("Kind", bound=Accepted)
Item = TypeVar("Item")


class Operation(Generic[P, Kind]):
    """How type checkers see an operation; at run time it is a method."""

    @overload
    def __get__(self, client: Client, owner: object = None) -> Callable[P, Kind | Refusal]: ...

    @overload
    def __get__(
        self, client: AsyncClient, owner: object = None
    ) -> Callable[P, Coroutine[Any, Any, Kind | Refusal]]: ...

    def __get__(self, client: object, owner: object = None) -> object:
        raise NotImplementedError


class Listing(Generic[P, Item]):
    """How type checkers see an iterator over pages; at run time it is a method."""

    @overload
    def __get__(self, client: Client, owner: object = None) -> Callable[P, Iterator[Item]]: ...

    @overload
    def __get__(self, client: AsyncClient, owner: object = None) -> Callable[P, AsyncIterator[Item]]: ...

    def __get__(self, client: object, owner: object = None) -> object:
        raise NotImplementedError


def operation(
    kind: type[Kind],
) -> Callable[[Callable[Concatenate[Any, P], Command | Read]], Operation[P, Kind]]:
    """Make a method that returns a request into one that asks it, and returns a `kind` or a `Refusal`.

    `kind` is that of `atm.client.receipt.kind_of` for the request.
    """

    def made(request: Callable[Concatenate[Any, P], Command | Read]) -> Operation[P, Kind]:
        @wraps(request)
        def method(client: Any, *args: P.args, **kwargs: P.kwargs) -> object:
            return client.ask(request(client, *args, **kwargs))

        method.__annotations__ = {**request.__annotations__, "return": kind}
        return cast("Operation[P, Kind]", method)

    return made


def listing(item: type[Item]) -> Callable[[Callable[Concatenate[Any, P], Page]], Listing[P, Item]]:
    """Make a method that returns the request for a first page into one that yields the items of all pages."""

    def made(request: Callable[Concatenate[Any, P], Page]) -> Listing[P, Item]:
        @wraps(request)
        def method(client: Any, *args: P.args, **kwargs: P.kwargs) -> object:
            return client.rows(request(client, *args, **kwargs))

        return cast("Listing[P, Item]", method)

    return made


class Operations:
    """What `Client` and `AsyncClient` can ask; each does it by its own `ask`."""

    # -- money -------------------------------------------------------------------------------------
    # Every operation may also answer "no_such_account", "account_closed", "account_frozen" or "id_reused";
    # what takes a PIN, "wrong_pin" or "locked". Amounts are minor units. A `code` (1 to 65535) and a `text`
    # (up to 140 characters) say what a posting is for, in statements and exports, and to `find` it.

    @operation(Done)
    def credit(
        self,
        account: str,
        amount: int,
        *,
        code: int | None = None,
        text: str | None = None,
        request_id: str | None = None,
    ) -> Credit:
        """Pay cash into an account: "ok", "limit_exceeded", "ceiling_exceeded"."""
        request_id = _id_or_new(request_id)
        return Credit(id=request_id, account=account, amount=amount, code=code, text=text)

    @operation(Done)
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
    ) -> Debit:
        """Pay cash out of an account: "ok", "insufficient_funds", "limit_exceeded".

        In place of an amount, `everything` that is available: the receipt's `moved` is how much that was.
        """
        check_either(amount, everything=everything)
        return Debit(
            id=_id_or_new(request_id),
            account=account,
            amount=amount,
            all=everything,
            pin=pin,
            code=code,
            text=text,
        )

    @operation(Done)
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
    ) -> Transfer:
        """Move money from `source` (the receipt has its balance) to `target`: "ok", "insufficient_funds",
        "limit_exceeded" (where transfers count), "ceiling_exceeded" (of `target`). `everything`: see `debit`.
        """
        check_either(amount, everything=everything)
        return Transfer(
            id=_id_or_new(request_id),
            account=source,
            target=target,
            amount=amount,
            all=everything,
            pin=pin,
            code=code,
            text=text,
        )

    @operation(Done)
    def batch(
        self,
        legs: Iterable[Leg],
        *,
        code: int | None = None,
        text: str | None = None,
        request_id: str | None = None,
    ) -> Batch:
        """Do up to 64 transfers in order, all or none: the outcome of the first that is refused, or "ok".

        The receipt's `leg` is the place of that one, from 0.
        """
        return Batch(id=_id_or_new(request_id), legs=tuple(legs), code=code, text=text)

    @operation(Done)
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
    ) -> Hold:
        """Reserve an amount under the `request_id`: "ok", "insufficient_funds", "limit_exceeded"."""
        return Hold(
            id=_id_or_new(request_id),
            account=account,
            amount=amount,
            expires_ms=expires_ms,
            pin=pin,
            code=code,
            text=text,
        )

    @operation(Done)
    def raise_hold(
        self, account: str, hold: str, amount: int, *, pin: str | None = None, request_id: str | None = None
    ) -> RaiseHold:
        """Reserve so much more for a hold of the account: "ok", "insufficient_funds", "limit_exceeded",
        "hold_not_found", "hold_already_posted", "hold_already_voided", "hold_expired".
        """
        request_id = _id_or_new(request_id)
        return RaiseHold(id=request_id, account=account, hold=hold, amount=amount, pin=pin)

    @operation(Done)
    def post(
        self,
        hold: str,
        amount: int | None = None,
        *,
        final: bool = True,
        code: int | None = None,
        text: str | None = None,
        request_id: str | None = None,
    ) -> Post:
        """Pay out what is left of a hold, or a part and release the rest: "ok", "exceeds_hold",
        "hold_not_found", "hold_already_posted", "hold_already_voided". An expired hold is still paid.

        Unless it is `final`, the rest stays held for further postings. An amount of 0 does as `void`.
        """
        request_id = _id_or_new(request_id)
        return Post(id=request_id, hold=hold, amount=amount, final=final, code=code, text=text)

    @operation(Done)
    def void(self, hold: str, *, request_id: str | None = None) -> Void:
        """Release what was held: "ok", "hold_not_found", "hold_already_posted", "hold_already_voided",
        "hold_expired".
        """
        return Void(id=_id_or_new(request_id), hold=hold)

    @operation(Done)
    def reverse(
        self,
        original: str,
        amount: int | None = None,
        *,
        code: int | None = None,
        text: str | None = None,
        request_id: str | None = None,
    ) -> Reverse:
        """Book the opposite of the request with the id `original`, or of a part of it: "ok",
        "already_reversed", "exceeds_original", "insufficient_funds".

        Parts may follow until all is taken back; without an amount it is what is left. An active hold is
        released, as a whole; else "hold_already_posted" (reverse its posting),
        "hold_already_voided", "hold_expired".
        "original_not_found": it moved nothing, and if it arrives later it will be declined for ever.
        """
        request_id = _id_or_new(request_id)
        return Reverse(id=request_id, original=original, amount=amount, code=code, text=text)

    @operation(Done)
    def write_off(
        self,
        account: str,
        amount: int,
        *,
        code: int | None = None,
        text: str | None = None,
        request_id: str | None = None,
    ) -> WriteOff:
        """Pay an account, or the missing cash (`cash`), out of the bank's `writeoff`: "ok"."""
        request_id = _id_or_new(request_id)
        return WriteOff(id=request_id, account=account, amount=amount, code=code, text=text)

    # -- accounts ----------------------------------------------------------------------------------

    @operation(Done)
    def open(self, account: str, *, request_id: str | None = None) -> Open:
        """Open an account: "ok", "exists"."""
        return Open(id=_id_or_new(request_id), account=account)

    @operation(Done)
    def close_account(self, account: str, *, request_id: str | None = None) -> Close:
        """Close an account for ever: "ok", "not_empty"."""
        return Close(id=_id_or_new(request_id), account=account)

    @operation(Done)
    def freeze(self, account: str, *, request_id: str | None = None) -> Freeze:
        """Block an account, except for its holds and for reversals."""
        return Freeze(id=_id_or_new(request_id), account=account)

    @operation(Done)
    def unfreeze(self, account: str, *, request_id: str | None = None) -> Unfreeze:
        """Undo `freeze`."""
        return Unfreeze(id=_id_or_new(request_id), account=account)

    @operation(Done)
    def set_pin(
        self, account: str, pin: str, old_pin: str | None = None, *, request_id: str | None = None
    ) -> SetPin:
        """Set a PIN of 4 to 12 digits; changing one needs the old one."""
        return SetPin(id=_id_or_new(request_id), account=account, pin=pin, old_pin=old_pin)

    @operation(Done)
    def login(self, account: str, pin: str, *, request_id: str | None = None) -> Login:
        """Check a PIN, if the account has one: three wrong ones in a row, at any servers, lock it."""
        return Login(id=_id_or_new(request_id), account=account, pin=pin)

    @operation(Done)
    def unlock(self, account: str, *, request_id: str | None = None) -> Unlock:
        """End the present lock of the PIN; how long the next one lasts is not changed. Three times a day."""
        return Unlock(id=_id_or_new(request_id), account=account)

    @operation(Done)
    def reset_pin(self, account: str, *, request_id: str | None = None) -> ResetPin:
        """Remove the PIN and its lock: then a first PIN can be set, and money needs none until it is."""
        return ResetPin(id=_id_or_new(request_id), account=account)

    @operation(Done)
    def set_limit(
        self, account: str, amount: int | None, *, transfers: bool = False, request_id: str | None = None
    ) -> SetLimit:
        """Limit what may be withdrawn or held in a day (UTC, log time) from now on; None: no limit.

        With `transfers`, what leaves by transfers and batches counts, too.
        """
        request_id = _id_or_new(request_id)
        return SetLimit(id=request_id, account=account, amount=amount, transfers=transfers)

    @operation(Done)
    def set_ceiling(self, account: str, amount: int | None, *, request_id: str | None = None) -> SetCeiling:
        """Let no credit or transfer raise the balance above `amount` from now on; None: no ceiling."""
        return SetCeiling(id=_id_or_new(request_id), account=account, amount=amount)

    # -- a second person: `write_off`, `reverse`, `unlock` and `reset_pin` above their limits are answered
    # "needs_approval", and nothing is changed -------------------------------------------------------

    @operation(Done)
    def approve(self, request: str, *, request_id: str | None = None) -> Approve:
        """Carry out what somebody else asked under the id `request`: the outcome of that, "ok" or a refusal
        after which it can be approved again; "not_allowed", "original_not_found", "already_approved",
        "approval_expired".
        """
        return Approve(id=_id_or_new(request_id), request=request)

    @operation(Accepted)
    def set_approval_limit(
        self, op: LimitedOp, amount: int | None, *, request_id: str | None = None
    ) -> SetApprovalLimit:
        """Let requests `op` above `amount` (0 or more) need an approval, from now on; None: none of them."""
        return SetApprovalLimit(id=_id_or_new(request_id), limited=op, amount=amount)

    # -- reading: linearizable, so it includes every change that was acknowledged before -----------

    @operation(Balance)
    def query(self, account: str, at_us: int | None = None, *, request_id: str | None = None) -> Query:
        """Return the balance now, or as it was at a past time in microseconds since 1970."""
        return Query(id=_id_or_new(request_id), account=account, at_us=at_us)

    @operation(StatementPage)
    def statement(
        self, account: str, limit: int = 20, before: int | None = None, *, request_id: str | None = None
    ) -> Statement:
        """Return up to 100 `lines`, the latest first; the page before them begins `before` its `next`."""
        request_id = _id_or_new(request_id)
        return Statement(id=request_id, account=account, limit=limit, before=before)

    @operation(HoldsPage)
    def holds(self, account: str, limit: int = 100, after: str | None = None) -> Holds:
        """Return up to 100 of the account's active `holds` by id; the next page comes `after` its `next`."""
        return Holds(id=new_request_id(), account=account, limit=limit, after_hold=after)

    @operation(Found)
    def lookup(self, request_id: str) -> Lookup:
        """Return the receipt of this request id, and what was `asked`; or "original_not_found"."""
        return Lookup(id=new_request_id(), request_id=request_id)

    @operation(ExceptionsPage)
    def exceptions(self, limit: int = 20, before: int | None = None) -> Exceptions:
        """Return as `lines` the postings that a person should look at, the latest first."""
        return Exceptions(id=new_request_id(), limit=limit, before=before)

    @operation(FindPage)
    def find(
        self,
        code: int | None = None,
        text: str | None = None,
        *,
        whole: bool = False,
        limit: int = 20,
        before: int | None = None,
    ) -> Find:
        """Return as `lines` the postings with this code and this text in theirs (`whole`: all of it), the
        latest first. A page may be short, or empty: `next` alone says whether there may be more.
        """
        request_id = new_request_id()
        return Find(id=request_id, code=code, text=text, whole=whole, limit=limit, before=before)

    @operation(AccountsPage)
    def accounts(self, limit: int = 100, after: str | None = None) -> Accounts:
        """Return up to 100 of the customers' `accounts` by name; the next page comes `after` its `next`."""
        return Accounts(id=new_request_id(), limit=limit, after=after)

    @operation(DeedsPage)
    def deeds(self, limit: int = 20, before: int | None = None) -> Deeds:
        """Return as `deeds` what operators and administrators did, the latest first."""
        return Deeds(id=new_request_id(), limit=limit, before=before)

    @operation(ApprovalsPage)
    def approvals(self, limit: int = 20, before: int | None = None) -> Approvals:
        """Return as `approvals` the requests that wait for one, the latest first, and the `limits`."""
        return Approvals(id=new_request_id(), limit=limit, before=before)

    # -- page after page, as they are asked for; a refusal is raised as `Refused` -------------------------

    @listing(Line)
    def statement_lines(self, account: str) -> Statement:
        """Yield all postings of an account, the latest first."""
        return Statement(id=new_request_id(), account=account, limit=PAGE_LINES_MAX)

    @listing(Line)
    def all_exceptions(self) -> Exceptions:
        """Yield all postings that a person should look at, the latest first."""
        return Exceptions(id=new_request_id(), limit=PAGE_LINES_MAX)

    @listing(AccountState)
    def all_accounts(self) -> Accounts:
        """Yield all customers' accounts by name."""
        return Accounts(id=new_request_id())

    @listing(HoldState)
    def all_holds(self, account: str) -> Holds:
        """Yield the account's active holds by id."""
        return Holds(id=new_request_id(), account=account)

    @listing(Deed)
    def all_deeds(self) -> Deeds:
        """Yield what operators and administrators did, the latest first."""
        return Deeds(id=new_request_id(), limit=PAGE_LINES_MAX)

    @listing(WaitingRequest)
    def all_approvals(self) -> Approvals:
        """Yield the requests that wait for an approval, the latest first."""
        return Approvals(id=new_request_id(), limit=PAGE_LINES_MAX)


def _id_or_new(request_id: str | None) -> str:
    return new_request_id() if request_id is None else request_id
