"""What may be asked of the bank, and what it answers.

Commands change the ledger and go through the replicated log; the other requests only read. Every request
carries an `id` that its client chose: a command repeated under its id is applied once and gets the same
answer for ever. The structs declare their limits, so a decoded one is well formed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta, Struct

from atm.currencies import MINOR_UNITS
from atm.identity import LOCAL_IDENTITY, NAME_CHARS_MAX, RESERVED_NAMES

AMOUNT_MINOR_MAX = 10**14 - 1  # twelve digits and two decimals: 999,999,999,999.99
BALANCE_MINOR_MAX = 2**53 - 1  # exact in every program that reads numbers as floating point
LEGS_MAX = 64  # postings of one batch
ACTIVE_HOLDS_MAX = 1_000  # of one account: each is work for every server when it ends
HOLD_MS_MAX = 400 * 24 * 3600 * 1000
OPEN_TRANSFER_US = 253_402_300_799_000_000  # what a transfer between lanes holds never expires: in 9999
PAGE_LINES_MAX = 100
GENERATIONS_MAX = 32  # of the pepper
CURRENCIES_LEVEL = 2  # the feature level from which on an account may be in another currency
CODE_MAX = 65_535
TEXT_CHARS_MAX = 140
TEXT_BYTES_MAX = 4 * TEXT_CHARS_MAX  # in UTF-8
END_USER_CHARS_MAX = 31  # with the gateway's name and a slash, an actor

LOCAL = LOCAL_IDENTITY.name  # the actor of a client that has no identity
BANK = "bank"  # the actor of `Expire` and `Reseal`, which the leader proposes itself

ACTOR_CHARS_MAX = 64
assert NAME_CHARS_MAX + 1 + END_USER_CHARS_MAX <= ACTOR_CHARS_MAX

# The longest answers, as frames; tests/server/test_client_server.py builds the longest of each kind.
RECEIPT_BYTES_MAX = 1024
LINE_BYTES_MAX = 400  # of a page of postings, without their texts
PAGE_TEXTS_BYTES_MAX = 12 * 1024  # of all texts of a page: it has fewer lines rather than more of them
ROLES_BYTES_MAX = 192  # of a page of changed roles
DEED_BYTES_MAX = 512  # of a page of deeds
APPROVAL_BYTES_MAX = 512  # of a page of requests that wait for an approval
ACCOUNT_BYTES_MAX = 160  # of a page of accounts
HOLD_BYTES_MAX = 176  # of a page of holds
POSTING_BYTES_MAX = 544  # of a page of the journal, likewise
LOOKUP_BYTES_MAX = 12 * 1024  # of the longest batch, with the longest names

CASH = "cash"  # the bank's own account, the other side of every credit and debit; may fall below zero
WRITEOFF = "writeoff"  # the bank's own account that bears its losses; may fall below zero
BANK_ACCOUNTS = frozenset({CASH, WRITEOFF})
MAIN = "main"  # the customers' account that exists from the start

RequestId = Annotated[str, Meta(pattern=r"^[!-~]{1,64}\Z")]  # printable ASCII without spaces
Actor = Annotated[str, Meta(pattern=r"^[!-~]{1,64}\Z")]  # checked where one comes from another server
LoggedActor = Annotated[
    str, Meta(min_length=1, max_length=64)
]  # a pattern takes a third of decoding a command
AccountName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")]
# With the bank's own accounts of other currencies, such as cash:EUR: see own_accounts.py.
BookAccount = Annotated[str, Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,63}|(cash|writeoff):[A-Z]{3})\Z")]
# And that through which transfers between lanes go, in each currency: see crossings.py.
AnyAccount = Annotated[
    str, Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,63}|(cash|writeoff|transit):[A-Z]{3}|transit:)\Z")
]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
AmountMinor = Annotated[int, Meta(gt=0, le=AMOUNT_MINOR_MAX)]
AmountOrNothing = Annotated[int, Meta(ge=0, le=AMOUNT_MINOR_MAX)]
Code = Annotated[int, Meta(ge=1, le=CODE_MAX)]
# What a screen shows as it is: no control characters, nothing that is invisible or turns the direction of
# writing, no blank at an end. Written out, since every server must judge alike, whatever it knows of Unicode.
UNSEEN = (
    "\x00-\x1f\x7f-\xa0\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e0fff"
)
Text = Annotated[str, Meta(pattern=rf"^(?! )[^{UNSEEN}]{{1,{TEXT_CHARS_MAX}}}(?<! )\Z")]
# 4 to 12 digits as a teller sends it; 64 hexadecimal digits once sealed (atm/server/security/pins.py), from
# generation 2 of the pepper on behind its number and a colon, which only feature level 2 knows.
Pin = Annotated[str, Meta(pattern=r"^([0-9]{4,12}|(([2-9]|[1-9][0-9]):)?[0-9a-f]{64})\Z")]
NewerSeal = Annotated[str, Meta(pattern=r"^([2-9]|[1-9][0-9]):[0-9a-f]{64}\Z")]
Generation = Annotated[int, Meta(ge=2, le=GENERATIONS_MAX)]
PepperName = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
PersonName = Annotated[str, Meta(pattern=rf"^[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{NAME_CHARS_MAX - 1}}}\Z")]
RoleName = Literal["admin", "auditor", "gateway", "operator", "teller"]
LimitedOp = Literal["write_off", "reverse", "unlock", "reset_pin"]  # of `Limited`
EndUser = Annotated[str, Meta(pattern=rf"^[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{END_USER_CHARS_MAX - 1}}}\Z")]
# In place of a seal, where the server that read the request saw that no PIN would be compared (from feature
# level 2 on). If one would be compared after all, the command is not decided: see rules.py.
NOT_HASHED = "0" * 64


class Outcome(StrEnum):
    """How the bank decided; all but `OK` are refusals that moved no money."""

    OK = "ok"
    EXISTS = "exists"
    NO_SUCH_ACCOUNT = "no_such_account"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    LIMIT_EXCEEDED = "limit_exceeded"
    ID_REUSED = "id_reused"
    ACCOUNT_CLOSED = "account_closed"
    ACCOUNT_FROZEN = "account_frozen"
    NOT_EMPTY = "not_empty"
    WRONG_PIN = "wrong_pin"
    LOCKED = "locked"
    HOLD_NOT_FOUND = "hold_not_found"
    HOLD_ALREADY_POSTED = "hold_already_posted"
    HOLD_ALREADY_VOIDED = "hold_already_voided"
    HOLD_EXPIRED = "hold_expired"
    EXCEEDS_HOLD = "exceeds_hold"
    ALREADY_REVERSED = "already_reversed"
    EXCEEDS_ORIGINAL = "exceeds_original"
    ORIGINAL_NOT_FOUND = "original_not_found"
    NOT_ALLOWED = "not_allowed"
    NEEDS_APPROVAL = "needs_approval"
    ALREADY_APPROVED = "already_approved"
    APPROVAL_EXPIRED = "approval_expired"
    CURRENCY_MISMATCH = "currency_mismatch"
    CEILING_EXCEEDED = "ceiling_exceeded"


OK: Final = Outcome.OK  # a global, since looking up a member in its class takes as long as a call


class Request(
    Struct,
    frozen=True,
    kw_only=True,
    tag_field="op",
    forbid_unknown_fields=True,
    omit_defaults=True,
    gc=False,  # its fields cannot refer back to it
):
    """The base of all requests. The `op` on the wire is the tag of the class.

    Who may send it: atm/permissions.py. A gateway says for which `end_user` it asks; the server that reads
    that takes it out and makes it part of the actor, so no log entry has it.
    `level` is the feature level from which on a command of this class may stand in the log.
    """

    level: ClassVar[int] = 1

    id: RequestId
    end_user: EndUser | None = None

    @property
    def level_needed(self) -> int:
        """The feature level from which on it may stand in the log with the fields that it has."""
        return self.level

    @property
    def answer_bytes_max(self) -> int:
        """The longest answer, as a frame."""
        return RECEIPT_BYTES_MAX


class InCurrency(Request, frozen=True, kw_only=True):
    """The base of the commands that say amounts: in minor units of the `currency`, None: of the bank's first.

    It must be that of the accounts, or nothing moves: so who knows no other currency cannot take one for it.
    """

    currency: Currency | None = None

    @property
    def level_needed(self) -> int:
        """A later one for another currency than the first."""
        return self.level if self.currency is None else CURRENCIES_LEVEL


# -- commands: money ---------------------------------------------------------------------------------


class MoneyRequest(InCurrency, frozen=True, kw_only=True):
    """The base of what posts: the `code` and the `text` of its postings say what they are for."""

    code: Code | None = None
    text: Text | None = None

    @property
    def level_needed(self) -> int:
        """A code, a text, or another currency needs level 2."""
        return _level_by_remark(self)


def _level_by_remark(request: MoneyRequest) -> int:
    """Return the level that it needs for its code, text and currency. Not by `super`, which is slow."""
    is_plain = request.code is None and request.text is None and request.currency is None
    return request.level if is_plain else 2


class Credit(MoneyRequest, frozen=True, kw_only=True, tag="credit"):
    """Pay cash into an account."""

    account: AccountName
    amount: AmountMinor


class Debit(MoneyRequest, frozen=True, kw_only=True, tag="debit"):
    """Pay cash out of an account: an amount, or `all` that is available."""

    account: AccountName
    amount: AmountMinor | None = None
    pin: Pin | None = None
    all: bool = False

    def __post_init__(self) -> None:
        _check_all(self.amount, everything=self.all)

    @property
    def level_needed(self) -> int:
        """`all` needs level 2."""
        return 2 if self.all else _level_by_remark(self)


class Transfer(MoneyRequest, frozen=True, kw_only=True, tag="transfer"):
    """Move money from `account` to `target`: an amount, or `all` that is available."""

    account: AccountName
    target: AccountName
    amount: AmountMinor | None = None
    pin: Pin | None = None
    all: bool = False

    def __post_init__(self) -> None:
        _check_all(self.amount, everything=self.all)
        if self.account == self.target:
            raise ValueError("a transfer's two accounts differ")

    @property
    def level_needed(self) -> int:
        """`all` needs level 2."""
        return 2 if self.all else _level_by_remark(self)


def _check_all(amount: int | None, *, everything: bool) -> None:
    if (amount is None) is not everything:
        raise ValueError("either an amount is asked for, or all there is")


class Leg(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One posting of a batch: from `account` to `target`."""

    account: AccountName
    target: AccountName
    amount: AmountMinor
    pin: Pin | None = None

    def __post_init__(self) -> None:
        if self.account == self.target:
            raise ValueError("a leg's two accounts differ")


class Batch(MoneyRequest, frozen=True, kw_only=True, tag="batch"):
    """Several transfers in order, all or none."""

    legs: Annotated[tuple[Leg, ...], Meta(min_length=1, max_length=LEGS_MAX)]


class Hold(MoneyRequest, frozen=True, kw_only=True, tag="hold"):
    """Reserve an amount of an account until it is posted, voided, or `expires_ms` of log time have passed."""

    account: AccountName
    amount: AmountMinor
    expires_ms: Annotated[int, Meta(gt=0, le=HOLD_MS_MAX)]
    pin: Pin | None = None


class Post(MoneyRequest, frozen=True, kw_only=True, tag="post"):
    """Pay out what is left of a hold, or `amount` of it and release the rest: the cash has left the machine.

    If it is not `final`, the rest stays held. An amount of 0 releases all, as `Void` does.
    """

    hold: RequestId
    amount: AmountOrNothing | None = None
    final: bool = True

    def __post_init__(self) -> None:
        if not self.final and not self.amount:
            raise ValueError("a posting that is not final says how much, more than nothing")

    @property
    def level_needed(self) -> int:
        """The feature level from which on it may stand in the log with the fields that it has."""
        return _level_by_remark(self) if self.final and self.amount != 0 else 2


class RaiseHold(InCurrency, frozen=True, kw_only=True, tag="raise_hold"):
    """Reserve `amount` more of the account for its active hold, under the rules of a withdrawal."""

    level: ClassVar[int] = 2

    account: AccountName
    hold: RequestId
    amount: AmountMinor
    pin: Pin | None = None


class Void(Request, frozen=True, kw_only=True, tag="void"):
    """Release what is held: no cash has left the machine."""

    hold: RequestId


class Reverse(MoneyRequest, frozen=True, kw_only=True, tag="reverse"):
    """Book the opposite of what the request `original` moved, or of `amount` of it; or release a hold.

    Once; from feature level 2 on in several parts, up to the whole, and without an amount all that is left.
    """

    original: RequestId
    amount: AmountMinor | None = None

    def __post_init__(self) -> None:
        if self.id == self.original:
            raise ValueError("a reversal has an id of its own")


class WriteOff(MoneyRequest, frozen=True, kw_only=True, tag="write_off"):
    """Pay an account, or the cash that is missing (`cash`), out of the bank's `writeoff`."""

    account: BookAccount
    amount: AmountMinor

    @property
    def level_needed(self) -> int:
        """A later one for cash of another currency, too: release 1.1 cannot read its name."""
        return CURRENCIES_LEVEL if ":" in self.account else _level_by_remark(self)


# -- commands between the lanes of one bank: no client's, see crossings.py ------------------------------


class Arrive(MoneyRequest, frozen=True, kw_only=True, tag="arrive"):
    """Credit `account` with what `payer`, whose account is in another lane, transfers under this id.

    Or with what is taken back of the transfer `reverses`. `counted` is the log index and the time at which
    the transfer, or the one that is taken back, counted towards its payer's daily limit; None: it did not.
    """

    account: AccountName
    payer: AccountName
    amount: AmountMinor
    reverses: RequestId | None = None
    counted: tuple[int, int] | None = None


class Settle(Request, frozen=True, kw_only=True, tag="settle"):
    """End the open transfer of this id, by what came of it in the receiver's lane."""

    outcome: Outcome


# -- commands: accounts --------------------------------------------------------------------------------


class Open(InCurrency, frozen=True, kw_only=True, tag="open"):
    """Open an account with a balance of 0, in a currency of ISO 4217; None: in the bank's first one."""

    account: AccountName

    def __post_init__(self) -> None:
        if self.currency is not None and self.currency not in MINOR_UNITS:
            raise ValueError(f"{self.currency} is no currency of ISO 4217 with minor units")


class Freeze(Request, frozen=True, kw_only=True, tag="freeze"):
    """Block an account: only its holds can still be posted, and its postings reversed."""

    account: AccountName


class Unfreeze(Request, frozen=True, kw_only=True, tag="unfreeze"):
    """Undo `Freeze`."""

    account: AccountName


class Close(Request, frozen=True, kw_only=True, tag="close"):
    """Close an account for ever; it must be empty, with nothing held."""

    account: AccountName


class SetPin(Request, frozen=True, kw_only=True, tag="set_pin"):
    """Set the first PIN of an account, or another one with `old_pin`."""

    account: AccountName
    pin: Pin
    old_pin: Pin | None = None


class Login(Request, frozen=True, kw_only=True, tag="login"):
    """Check a PIN; a wrong one counts."""

    account: AccountName
    pin: Pin


class Unlock(Request, frozen=True, kw_only=True, tag="unlock"):
    """End the present lock of an account's PIN; below feature level 2, reset the count of wrong ones."""

    account: AccountName


class ResetPin(Request, frozen=True, kw_only=True, tag="reset_pin"):
    """Remove the PIN of an account and its lock, so that a first PIN can be set."""

    level: ClassVar[int] = 2

    account: AccountName


class SetLimit(InCurrency, frozen=True, kw_only=True, tag="set_limit"):
    """Limit what may be withdrawn (`debit`, `hold`) from an account in a day of log time (UTC).

    With `transfers`, what it pays by transfers and batches counts, too, from this entry on.
    """

    account: AccountName
    amount: AmountMinor | None = None  # None: no limit
    transfers: bool = False

    def __post_init__(self) -> None:
        if self.transfers and self.amount is None:
            raise ValueError("without a limit there is nothing that transfers could count towards")

    @property
    def level_needed(self) -> int:
        """`transfers`, or another currency, needs level 2."""
        return 2 if self.transfers or self.currency is not None else self.level


class SetCeiling(InCurrency, frozen=True, kw_only=True, tag="set_ceiling"):
    """Let no credit, transfer or batch raise the balance of an account above `amount`."""

    level: ClassVar[int] = 2

    account: AccountName
    amount: AmountMinor | None = None  # None: no ceiling


class GrantRole(Request, frozen=True, kw_only=True, tag="grant_role"):
    """Let an identity have a role, whatever its certificate says; undoes `RevokeRole`."""

    level: ClassVar[int] = 2

    name: PersonName
    role: RoleName

    def __post_init__(self) -> None:
        _check_person(self.name)


class RevokeRole(Request, frozen=True, kw_only=True, tag="revoke_role"):
    """Take a role from an identity, or all (None), whatever its certificate says."""

    level: ClassVar[int] = 2

    name: PersonName
    role: RoleName | None = None

    def __post_init__(self) -> None:
        _check_person(self.name)


# -- commands: a second person ------------------------------------------------------------------------------


class SetApprovalLimit(Request, frozen=True, kw_only=True, tag="set_approval_limit"):
    """Let what is above `amount`, of the requests `limited`, wait for the approval of a second person."""

    level: ClassVar[int] = 2

    limited: LimitedOp
    amount: AmountOrNothing | None = None  # None: no limit


class Approve(Request, frozen=True, kw_only=True, tag="approve"):
    """Carry out the request of somebody else, `request`, which needs an approval."""

    level: ClassVar[int] = 2

    request: RequestId

    def __post_init__(self) -> None:
        if self.id == self.request:
            raise ValueError("an approval has an id of its own")


class RotatePepper(Request, frozen=True, kw_only=True, tag="rotate_pepper"):
    """Make a newer pepper current: from this entry on, new PINs are sealed for it, and the old carried over.

    The leader proposes it only once all members know that pepper.
    """

    level: ClassVar[int] = 2

    generation: Generation
    pepper: PepperName


def _check_person(name: str) -> None:
    if name in RESERVED_NAMES:
        raise ValueError(f"{name} is nobody with a certificate: its roles cannot be changed")


class Expire(
    Struct,
    frozen=True,
    kw_only=True,
    tag_field="op",
    tag="expire",
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """End holds that are due by this entry's time stamp: proposed by the leader itself, no receipt.

    With `limit`, which release 1.1 does not know, only those that were due first; else all.
    """

    limit: Annotated[int, Meta(gt=0)] | None = None


# What an administrator asks of the servers: no command of the ledger, and recorded as a deed all the same.
NotedOp = Literal[
    "add_member",
    "promote_member",
    "remove_member",
    "move_member",
    "replace_member",
    "transfer_leadership",
    "snapshot",
    "backup_begin",
]


class NoteDeed(Request, frozen=True, kw_only=True, tag="note_deed"):
    """Record in the log what an administrator asks of the servers: a server's own, and no receipt is kept.

    `deed` is the `op` of that request, and the id is its id. `target` is the server that it is about.
    """

    level: ClassVar[int] = 2

    deed: NotedOp
    target: Annotated[str, Meta(min_length=1, max_length=64)]


class Reseal(
    Struct,
    frozen=True,
    kw_only=True,
    tag_field="op",
    tag="reseal",
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """Carry stored PINs over to a newer pepper: proposed by the leader itself, no receipt.

    `seals` has accounts and their seals of the `generation`. `receipts` are the ids of `set_pin` requests:
    what the books keep of an older seal there is forgotten. `done`: nothing older is left.
    """

    generation: Generation
    seals: tuple[tuple[AccountName, NewerSeal], ...] = ()
    receipts: tuple[RequestId, ...] = ()
    done: bool = False


# -- requests that only read -----------------------------------------------------------------------------


class Query(Request, frozen=True, kw_only=True, tag="query"):
    """Ask for an account's balance, now or as it was at a past time."""

    account: AnyAccount
    at_us: Annotated[int, Meta(ge=0, le=2**62)] | None = None


class Statement(Request, frozen=True, kw_only=True, tag="statement"):
    """Ask for an account's latest postings, or the latest before `before` (a `Line.posting`)."""

    cursor: ClassVar[str] = "before"  # names the field that takes the `next` of the page before

    account: AnyAccount
    limit: Annotated[int, Meta(gt=0, le=PAGE_LINES_MAX)] = 20
    before: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None

    @property
    def answer_bytes_max(self) -> int:
        """The longest page, as a frame."""
        return _lines_bytes_max(self.limit)


class Lookup(Request, frozen=True, kw_only=True, tag="lookup"):
    """Ask what was decided under the request id `request_id`."""

    request_id: RequestId

    @property
    def answer_bytes_max(self) -> int:
        """The longest answer, as a frame."""
        return LOOKUP_BYTES_MAX


class Exceptions(Request, frozen=True, kw_only=True, tag="exceptions"):
    """Ask for the latest postings that a person should look at, or the latest before `before`."""

    cursor: ClassVar[str] = "before"

    limit: Annotated[int, Meta(gt=0, le=PAGE_LINES_MAX)] = 20
    before: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None

    @property
    def answer_bytes_max(self) -> int:
        """The longest page, as a frame."""
        return _lines_bytes_max(self.limit)


class Find(Request, frozen=True, kw_only=True, tag="find"):
    """Ask for the latest postings with this `code` and this `text` in theirs, or the latest before one.

    Of a part, capital and small letters of ASCII are the same. Some thousands of postings are looked at for a
    page, so it may be shorter than asked for, or empty, and still have a `next`.
    """

    cursor: ClassVar[str] = "before"

    code: Code | None = None
    text: Text | None = None
    whole: bool = False  # the text is all that a posting says, to the letter
    limit: Annotated[int, Meta(gt=0, le=PAGE_LINES_MAX)] = 20
    before: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None

    def __post_init__(self) -> None:
        if self.code is None and self.text is None:
            raise ValueError("give a code or a text to find")

    @property
    def answer_bytes_max(self) -> int:
        """The longest page, as a frame."""
        return _lines_bytes_max(self.limit)


def _lines_bytes_max(lines: int, line_bytes_max: int = LINE_BYTES_MAX) -> int:
    """Return the longest page of postings, as a frame."""
    return RECEIPT_BYTES_MAX + lines * line_bytes_max + min(lines * TEXT_BYTES_MAX, PAGE_TEXTS_BYTES_MAX)


class Accounts(Request, frozen=True, kw_only=True, tag="accounts"):
    """Ask for the customers' accounts in the order of their names, or for those after the name `after`."""

    cursor: ClassVar[str] = "after"

    limit: Annotated[int, Meta(gt=0, le=PAGE_LINES_MAX)] = PAGE_LINES_MAX
    after: AccountName | None = None

    @property
    def answer_bytes_max(self) -> int:
        """The longest page, as a frame."""
        return RECEIPT_BYTES_MAX + self.limit * ACCOUNT_BYTES_MAX


class Holds(Request, frozen=True, kw_only=True, tag="holds"):
    """Ask for an account's active holds in the order of their ids, or for those after the id `after_hold`."""

    cursor: ClassVar[str] = "after_hold"

    account: AccountName
    limit: Annotated[int, Meta(gt=0, le=PAGE_LINES_MAX)] = PAGE_LINES_MAX
    after_hold: RequestId | None = None

    @property
    def answer_bytes_max(self) -> int:
        """The longest page, as a frame."""
        return RECEIPT_BYTES_MAX + self.limit * HOLD_BYTES_MAX


class Roles(Request, frozen=True, kw_only=True, tag="roles"):
    """Ask for the identities whose roles the log changed, in the order of their names, or after one."""

    cursor: ClassVar[str] = "after_name"

    limit: Annotated[int, Meta(gt=0, le=PAGE_LINES_MAX)] = PAGE_LINES_MAX
    after_name: PersonName | None = None

    @property
    def answer_bytes_max(self) -> int:
        """The longest page, as a frame."""
        return RECEIPT_BYTES_MAX + self.limit * ROLES_BYTES_MAX


class Deeds(Request, frozen=True, kw_only=True, tag="deeds"):
    """Ask for what operators and administrators did, the latest first, or the latest before `before`."""

    cursor: ClassVar[str] = "before"

    limit: Annotated[int, Meta(gt=0, le=PAGE_LINES_MAX)] = 20
    before: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None

    @property
    def answer_bytes_max(self) -> int:
        """The longest page, as a frame."""
        return RECEIPT_BYTES_MAX + self.limit * DEED_BYTES_MAX


class Approvals(Request, frozen=True, kw_only=True, tag="approvals"):
    """Ask for the requests that wait for an approval, the latest first, or the latest before `before`.

    With them come the limits that are set.
    """

    cursor: ClassVar[str] = "before"

    limit: Annotated[int, Meta(gt=0, le=PAGE_LINES_MAX)] = 20
    before: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None

    @property
    def answer_bytes_max(self) -> int:
        """The longest page, as a frame."""
        return RECEIPT_BYTES_MAX + self.limit * APPROVAL_BYTES_MAX


class Watch(Request, frozen=True, kw_only=True, tag="watch"):
    """Ask for postings of all accounts in the order of the log: those behind the number `after`."""

    after: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    limit: Annotated[int, Meta(gt=0, le=PAGE_LINES_MAX)] = PAGE_LINES_MAX

    @property
    def answer_bytes_max(self) -> int:
        """The longest page, as a frame."""
        return _lines_bytes_max(self.limit, POSTING_BYTES_MAX)


class Pepper(Request, frozen=True, kw_only=True, tag="pepper"):
    """Ask which pepper is current, and how many accounts have a PIN that is sealed for an older one."""


Command = (
    Credit
    | Debit
    | Transfer
    | Batch
    | Hold
    | RaiseHold
    | Post
    | Void
    | Reverse
    | WriteOff
    | Open
    | Freeze
    | Unfreeze
    | Close
    | SetPin
    | Login
    | Unlock
    | ResetPin
    | SetLimit
    | SetCeiling
    | GrantRole
    | RevokeRole
    | SetApprovalLimit
    | Approve
    | RotatePepper
)
BanksOwn = Expire | Reseal
LogCommand = Command | BanksOwn | NoteDeed
LaneCommand = Arrive | Settle  # in no log and on no client's connection


# -- what log entries say ----------------------------------------------------------------------------------
#
# Arrays, which newer releases may make longer: further elements are ignored.


class LoggedCommand(Struct, frozen=True, array_like=True, gc=False):
    """A command, and the actor that the accepting server says it came from.

    `roles` are those of the actor's certificate (`permissions.bits_of`), from feature level 2 on; 0: there is
    none, and it may do all. Release 1.1 ignores them.
    """

    actor: LoggedActor
    command: LogCommand
    roles: int = 0


class LoggedDeed(Struct, frozen=True, array_like=True, gc=False):
    """Who asked for what an entry does, and what that was; as in a `LoggedCommand`."""

    actor: LoggedActor
    command: NoteDeed
    roles: int = 0


class Founding(Struct, frozen=True, array_like=True):
    """The first entry of a cluster's log: its id, drawn at random, and the names of its servers."""

    cluster_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    voters: Annotated[tuple[str, ...], Meta(min_length=1)]


class LevelRaise(Struct, frozen=True, array_like=True):
    """From this entry on, the log may hold entries of this feature level."""

    level: Annotated[int, Meta(ge=1, le=10**6)]


Place = Annotated[str, Meta(max_length=260)]  # host:port, or empty


class Member(Struct, frozen=True, array_like=True):
    """A server of the cluster; without `voter` a learner, which is sent the log and has no vote.

    `peer` and `client` are where it is found. `store` names the data folder whose promises count; empty: that
    which it showed first. `since` is the index of the entry that made it what it is; the ledger counts that.
    """

    node: Annotated[str, Meta(min_length=1, max_length=64)]
    voter: bool
    peer: Place
    client: Place
    store: Annotated[str, Meta(max_length=64)] = ""
    since: int = 0


class MembershipChange(Struct, frozen=True, array_like=True):
    """From this entry on, these are all the servers of the cluster.

    Without a `deed` the leader itself has completed what the log says of them.
    """

    members: Annotated[tuple[Member, ...], Meta(min_length=1)]
    deed: LoggedDeed | None = None

    def __post_init__(self) -> None:
        names = {member.node for member in self.members}
        if len(names) < len(self.members) or not any(member.voter for member in self.members):
            raise ValueError("a cluster has a voter, and each server once")


LedgerEntry = LoggedCommand | Founding | LevelRaise | MembershipChange
# Money goes out of `account`, so its PIN goes with the request.
Withdrawal = Debit | Transfer | Hold | RaiseHold
Limited = WriteOff | Reverse | Unlock | ResetPin  # what may need an approval
Read = (
    Query
    | Statement
    | Lookup
    | Exceptions
    | Find
    | Accounts
    | Holds
    | Watch
    | Roles
    | Deeds
    | Approvals
    | Pepper
)
Page = Statement | Exceptions | Find | Accounts | Holds | Roles | Deeds | Approvals  # read page by page


# -- answers -----------------------------------------------------------------------------------------------


class LedgerReceipt(Struct, frozen=True, kw_only=True, gc=False):
    """The ledger's decision on a command, the same on every node.

    `balance` (in the ledger) and `available` (what may be paid out) are the account's, in minor units,
    right after the decision, or None if there is no such account. For a transfer it is the paying account,
    for a batch its first leg's; for a hold's posting or a reversal, the customer's. `log_index` is the
    log entry that decided it and `time_us` its time stamp; both are 0 in a `ReadResult`, which is not logged.
    """

    id: str
    outcome: Outcome
    balance: int | None = None
    available: int | None = None
    log_index: int = 0
    time_us: int = 0


class DetailedReceipt(LedgerReceipt, frozen=True, kw_only=True, gc=False):
    """A receipt that says more, from feature level 2 on; what does not apply is None.

    `leg` is that leg of a batch, counted from 0, for which it was refused; `moved` the amount of a debit or a
    transfer of all there was, in minor units; `active_holds` how many an account has that was frozen, or
    that is not empty and so was not closed: 1,000 for as many, or more. `currency` is that of the amounts,
    None for the bank's first one.
    """

    leg: int | None = None
    moved: int | None = None
    active_holds: int | None = None
    currency: str | None = None


class Line(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A posting as one account's statement shows it; `amount` is below zero for money that left.

    `exception` is None but on the list of exceptions: `late`, `overdrawn` or `written_off`. `code` and `text`
    are those of its request, if it had any. `currency` is None for the bank's first.
    """

    posting: int
    time_us: int
    op: str
    request_id: str
    account: str
    other: str
    amount: int
    balance: int
    exception: str | None = None
    code: int | None = None
    text: str | None = None
    currency: str | None = None


class JournalPosting(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A posting as the journal has it: `amount` went from `debit_account` to `credit_account`.

    The two balances are those right after it. `hash` is that of the row and of the hash before it, in
    hexadecimal digits (`atm.ledger.journal_hash.row_hash`). `code` and `text` are those of its request, if it
    had any. `currency` is None for the bank's first.
    """

    posting: int
    time_us: int
    op: str
    request_id: str
    debit_account: str
    credit_account: str
    amount: int
    debit_balance: int
    credit_balance: int
    hash: str
    code: int | None = None
    text: str | None = None
    currency: str | None = None

    @property
    def log_index(self) -> int:
        """The log entry that decided it: of an entry there are at most as many as legs of a batch."""
        return self.posting // LEGS_MAX


class AccountState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A customer's account in the list of all; amounts are minor units.

    `state` is open, frozen or closed, and `pin` none, set or locked. `currency` is None for the bank's first.
    """

    account: str
    balance: int
    available: int
    state: str
    pin: str
    currency: str | None = None


class HoldState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An active hold: its id, its amount, since when, and until when if nothing ends it before.

    `posted` is how much of the amount was paid out; the rest is held.
    """

    request_id: str
    amount: int
    time_us: int
    expires_us: int
    posted: int = 0
    currency: str | None = None  # None: the bank's first


class RoleState(Struct, frozen=True, kw_only=True):
    """Whose roles the log changed: names of roles, with commas; `log_index` is the last entry that did."""

    name: str
    granted: str
    revoked: str
    log_index: int


class Deed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an operator or an administrator did: the log entry, who asked, with which roles, and what came.

    `roles` are names with commas, none for who has no certificate. `target` is the account, the identity and
    the role, the request that was approved, what was limited, or the server.
    """

    deed: int
    time_us: int
    actor: str
    roles: str
    op: str
    target: str | None = None
    amount: int | None = None
    outcome: str
    request_id: str
    currency: str | None = None  # of the amount; None: the bank's first


class ApprovalLimit(Struct, frozen=True, kw_only=True, gc=False):
    """Above which amount, in minor units, the request `op` needs an approval; None: never.

    `log_index` is the last entry that changed this.
    """

    op: str
    amount: int | None
    log_index: int


class WaitingRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request that waits for an approval: the log entry that asked, who asked, with which roles, and what.

    `roles` are those of the certificate. `target` is the account, or the request that is to be reversed.
    `stake`, in minor units, is what was above the limit.
    """

    log_index: int
    time_us: int
    actor: str
    roles: str
    op: str
    target: str
    amount: int | None = None
    stake: int
    request_id: str
    currency: str | None = None  # of the amounts; None: the bank's first


class PepperView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The current pepper: its generation, and from 2 on its name and the log entry that made it current.

    `older` counts the accounts whose PINs are sealed for an older one. `carried_index` is the entry since
    which neither accounts nor receipts hold anything older; None while that is under way.
    """

    generation: int
    name: str = ""
    log_index: int = 0
    carried_index: int | None = None
    older: int = 0


class Contents(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What was asked under a request id, as the ledger keeps it; `details` is JSON."""

    op: str
    account: str | None = None
    amount: int | None = None
    details: str | None = None


class ReadResult(DetailedReceipt, frozen=True, kw_only=True, omit_defaults=True):
    """The ledger's answer to a request that only reads; fields of other requests are None.

    Of all that have amounts, `currency` is theirs, None for the bank's first one.

    query      `state` is open, frozen or closed; `pin` is none, set or locked. `locked_until_us` says until
               when, None: until it is unlocked. `tries_left` says how many wrong PINs will lock it, if fewer
               than at first, `wrong_pins` how many there were since the last right login, if any;
               `sealed_for` the generation of the pepper that its PIN is sealed for, if not the first;
               `ceiling` is that of its balance, if it has one, and `transfers_count` is true if transfers
               count towards its daily limit
    statement  `lines`, the latest first, and `next` to ask for those before them, None if there are none
    exceptions likewise
    find       likewise
    holds      `holds` in the order of their ids, and `next` to ask for those after them, likewise
    accounts   `accounts` in the order of their names, and `next` to ask for those after them, likewise
    roles      `roles`, and `next`, likewise
    deeds      `deeds`, the latest first, and `next`, likewise
    approvals  `approvals` that are waited for, the latest first, and `next`, likewise; `limits` that are set
    watch      `postings` in the order of the log; `hash` is that of the last one before them, `cluster` the
               id of the cluster whose journal it is, and `next` the last of them if there are more that were
               asked for; `lanes` is how many there are, each with a journal, if there are several
    pepper     `pepper`
    lookup     the first receipt, in `asked` what was asked, and by which `actor`; `reversed_by` is the id of
               its last reversal, and `taken_back` how much all its reversals moved, None for a hold's
               release; `approved_by` is the id of the approval that carried it out
    """

    state: str | None = None
    pin: str | None = None
    locked_until_us: int | None = None
    tries_left: int | None = None
    wrong_pins: int | None = None
    sealed_for: int | None = None
    ceiling: int | None = None
    transfers_count: bool | None = None
    lines: tuple[Line, ...] | None = None
    accounts: tuple[AccountState, ...] | None = None
    holds: tuple[HoldState, ...] | None = None
    roles: tuple[RoleState, ...] | None = None
    deeds: tuple[Deed, ...] | None = None
    approvals: tuple[WaitingRequest, ...] | None = None
    limits: tuple[ApprovalLimit, ...] | None = None
    postings: tuple[JournalPosting, ...] | None = None
    hash: str | None = None
    cluster: str | None = None
    lanes: int | None = None
    pepper: PepperView | None = None
    next: int | str | None = None
    asked: Contents | None = None
    actor: str | None = None
    reversed_by: str | None = None
    taken_back: int | None = None
    approved_by: str | None = None

    @property
    def rows(self) -> tuple[Struct, ...] | None:
        """The rows of a page, None if it is none."""
        pages: tuple[tuple[Struct, ...] | None, ...] = (
            self.lines,
            self.accounts,
            self.holds,
            self.roles,
            self.deeds,
            self.approvals,
            self.postings,
        )
        return next((page for page in pages if page is not None), None)

    @property
    def is_empty(self) -> bool:
        """Whether it has nothing but the outcome."""
        told = (self.balance, self.asked, self.pepper, self.rows)
        return all(each is None for each in told) and not self.log_index
