"""Which PINs are hashed: only those that the bank would compare or set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from threading import Lock
from typing import Any

import pytest

from atm.ledger.commands import NOT_HASHED, Batch, Debit, Hold, Leg, Login, Outcome, Query, SetPin, Transfer
from atm.ledger.peppers import PepperState, generation_of
from atm.server.clients.pin_service import (
    BUSY,
    BUSY_AFTER_S,
    LOOK_UP_LEVEL,
    UNKNOWN_PEPPER,
    PinService,
    compares,
)
from atm.server.group.inbox import Inbox, Inputs, PendingRequest
from atm.server.security.peppers import PEPPER_BYTES, Peppers
from atm.server.security.pins import PinSealer, holds_plain_pin
from atm.wire.client_messages import ClientRequest, ErrorReply, Reply
from atm.wire.codec import Malformed, encode
from tests.support.server_parts import ReplyRecorder

PIN = "1234"
PEPPERS = {lines: Peppers([bytes([line]) * PEPPER_BYTES for line in range(lines)]) for lines in (1, 2, 3)}


class FakeInbox(Inbox):
    """Answers queries at once, from `accounts`: name to state and PIN."""

    def __init__(self) -> None:
        super().__init__(Lock())
        self.accounts: dict[str, tuple[str, str]] = {}
        self.sealed_for: dict[str, int] = {}
        self.asked: list[tuple[str, str]] = []  # account and actor
        self.fault: ErrorReply | None = None
        self.silent = False

    def put(self, inputs: Inputs) -> None:
        for pending in inputs.queries:
            assert isinstance(pending.request, Query)
            self.asked.append((pending.request.account, pending.actor))
            if not self.silent:
                pending.channel.reply(pending.number, encode(self.fault or self._reply(pending.request)))

    def _reply(self, query: Query) -> Reply:
        if query.account not in self.accounts:
            return Reply(id=query.id, outcome=Outcome.NO_SUCH_ACCOUNT)
        state, pin = self.accounts[query.account]
        return Reply(
            id=query.id,
            outcome=Outcome.OK,
            balance=0,
            available=0,
            state=state,
            pin=pin,
            sealed_for=self.sealed_for.get(query.account),
        )


class Parts:
    """A service over a fake inbox; `hashed` counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.inbox = FakeInbox()
        self.level = LOOK_UP_LEVEL
        self.hashed = 0
        self.pauses: list[float] = []
        self.pepper = PepperState()
        self.sealer = PinSealer(PEPPERS[1])
        self.service = PinService(
            self.sealer,
            self.inbox,
            feature_level=lambda: self.level,
            pepper=lambda: self.pepper,
            look_up_s=0.01,
            sleep=self.pauses.append,
        )
        monkeypatch.setattr(hashlib, "scrypt", self._scrypt)

    def _scrypt(self, _pin: bytes, **_options: Any) -> bytes:
        self.hashed += 1
        return b"slow"

    def seal(self, request: ClientRequest, *, wanted: bool = True) -> PendingRequest | ErrorReply | None:
        pending = PendingRequest(ReplyRecorder(), 1, request, encode(request), "ann's teller", roles=16)
        return self.service.seal(pending, "identity ann", lambda: wanted)

    def sealed(self, request: ClientRequest) -> Any:
        pending = self.seal(request)
        assert isinstance(pending, PendingRequest), pending
        assert not holds_plain_pin(pending.request)
        assert pending.roles == 16, "who asked for it is who asked for it before it was sealed"
        assert pending.payload == encode(pending.request)
        return pending.request


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    parts = Parts(monkeypatch)
    yield parts
    assert parts.sealer.queue.requests == 0


def debit() -> Debit:
    return Debit(id="d", account="ann", amount=1, pin=PIN)


LOGIN, FIRST = Login(id="l", account="ann", pin=PIN), SetPin(id="s", account="ann", pin=PIN)
CHANGE = SetPin(id="c", account="ann", pin=PIN, old_pin="4321")
MONEY = (
    debit(),
    Transfer(id="t", account="ann", target="bob", amount=1, pin=PIN),
    Hold(id="h", account="ann", amount=1, expires_ms=1, pin=PIN),
    Batch(id="b", legs=(Leg(account="ann", target="bob", amount=1, pin=PIN),)),
)


@pytest.mark.parametrize(
    ("state", "pin", "compared"),
    [
        ("open", "set", [*MONEY, LOGIN, CHANGE]),
        ("open", "none", [FIRST, CHANGE]),
        ("open", "locked", []),
        ("frozen", "set", [LOGIN, CHANGE]),
        ("frozen", "none", [FIRST, CHANGE]),
        ("frozen", "locked", []),
        ("closed", "set", []),
        ("closed", "none", []),
    ],
)
def test_a_pin_is_hashed_where_the_bank_would_compare_or_set_it(
    parts: Parts, state: str, pin: str, compared: list[ClientRequest]
) -> None:
    parts.inbox.accounts["ann"] = (state, pin)
    for request in (*MONEY, LOGIN, FIRST, CHANGE):
        parts.hashed = 0
        sealed = parts.sealed(request)
        assert (parts.hashed > 0) == (request in compared), request
        assert (NOT_HASHED.encode() in encode(sealed)) == (request not in compared)


@pytest.mark.parametrize("account", ["nobody", "cash", "writeoff"])
def test_no_pin_is_hashed_for_an_account_that_customers_do_not_have(parts: Parts, account: str) -> None:
    parts.inbox.accounts["cash"] = parts.inbox.accounts["writeoff"] = ("open", "none")
    for request in (
        Login(id="l", account=account, pin=PIN),
        SetPin(id="s", account=account, pin=PIN),
        Debit(id="d", account=account, amount=1, pin=PIN),
    ):
        assert parts.sealed(request).pin == NOT_HASHED
    assert parts.hashed == 0


def test_each_account_of_a_batch_is_looked_up_once_and_each_pin_hashed_once(parts: Parts) -> None:
    parts.inbox.accounts.update(ann=("open", "set"), bob=("open", "none"))
    leg = Leg(account="ann", target="zoe", amount=1, pin=PIN)
    batch = Batch(id="b", legs=(leg, leg, Leg(account="bob", target="zoe", amount=1, pin=PIN), leg))
    sealed = parts.sealed(batch)
    assert [leg.pin == NOT_HASHED for leg in sealed.legs] == [False, False, True, False]
    assert sorted(parts.inbox.asked) == [("ann", "ann's teller"), ("bob", "ann's teller")]
    assert parts.hashed == 1


def test_more_than_four_pins_in_a_batch_are_refused_before_anything_is_looked_up_or_hashed(
    parts: Parts,
) -> None:
    legs = tuple(Leg(account="ann", target="bob", amount=1, pin=f"{1000 + number}") for number in range(5))
    with pytest.raises(Malformed, match="at most 4 different PINs"):
        parts.sealer.seal(Batch(id="b", legs=legs))
    parts.inbox.accounts["ann"] = ("open", "set")
    parts.sealed(Batch(id="b", legs=legs[:4]))
    assert parts.hashed == 4


def test_below_the_level_that_knows_it_every_pin_is_hashed_and_nothing_looked_up(parts: Parts) -> None:
    """A server of release 1.1 would compare what stands in place of a hash, and count it as a guess."""
    parts.level = LOOK_UP_LEVEL - 1
    assert parts.sealed(debit()).pin != NOT_HASHED
    assert (parts.hashed, parts.inbox.asked) == (1, [])


def test_an_account_that_cannot_be_looked_up_costs_no_hash(parts: Parts) -> None:
    parts.inbox.fault = ErrorReply(id="pin", outcome="unavailable", message="no leader", leader="n2")
    assert parts.seal(debit()) == ErrorReply(id="d", outcome="unavailable", message="no leader", leader="n2")
    parts.inbox.silent = True
    refused = parts.seal(debit())
    assert isinstance(refused, ErrorReply)
    assert (refused.id, refused.outcome) == ("d", "unavailable")
    assert parts.hashed == 0


def test_the_turn_is_that_of_who_asks(parts: Parts) -> None:
    parts.inbox.accounts["ann"] = "open", "set"
    parts.sealed(debit())
    assert parts.sealer.queue._turns_of_owner == {"identity ann": 1}


def test_what_finds_no_place_in_the_queue_is_busy_and_not_at_once(parts: Parts) -> None:
    """A flood that was told so at once asked two thousand times a second, each time for a look-up."""
    parts.inbox.accounts["ann"] = ("open", "set")
    parts.sealed(debit())
    assert parts.pauses == []
    parts.sealer.queue._requests_max = 0
    assert parts.seal(debit()) == ErrorReply(id="d", outcome="busy", message=BUSY)
    assert (parts.hashed, parts.pauses) == (1, [BUSY_AFTER_S])


def test_nothing_is_hashed_for_a_client_that_has_gone(parts: Parts) -> None:
    parts.inbox.accounts["ann"] = ("open", "set")
    assert parts.seal(debit(), wanted=False) is None
    answers = iter([True, True, False])
    batch = Batch(
        id="b",
        legs=tuple(Leg(account="ann", target="bob", amount=1, pin=pin) for pin in ("1111", "2222", "3333")),
    )
    pending = PendingRequest(ReplyRecorder(), 1, batch, encode(batch), "local")
    assert parts.service.seal(pending, "ann", lambda: next(answers)) is None
    assert parts.hashed == 1, "the client went between the first PIN and the second"


def test_a_state_of_a_pin_that_a_newer_server_may_tell_is_hashed() -> None:
    found = Reply(id="q", outcome=Outcome.OK, balance=0, available=0, state="open", pin="something new")
    assert compares(LOGIN, "ann", found)


# -- the pepper that a PIN is sealed for -----------------------------------------------------------------


def current(lines: int) -> PepperState:
    return PepperState(lines, PEPPERS[lines].names[-1], 7, None)


def test_a_pin_is_sealed_for_the_pepper_of_its_account_and_a_new_one_for_the_current(parts: Parts) -> None:
    parts.sealer.peppers, parts.pepper = PEPPERS[3], current(3)
    parts.inbox.accounts.update(ann=("open", "set"), bob=("open", "set"), zoe=("open", "none"))
    parts.inbox.sealed_for["ann"] = 2
    legs = tuple(Leg(account=name, target="zoe", amount=1, pin=PIN) for name in ("ann", "bob"))
    assert [generation_of(leg.pin) for leg in parts.sealed(Batch(id="b", legs=legs)).legs] == [2, 1]
    changed = parts.sealed(SetPin(id="c", account="ann", pin=PIN, old_pin=PIN))
    assert (generation_of(changed.pin), generation_of(changed.old_pin)) == (3, 2)
    assert changed.pin == PEPPERS[3].carried(changed.old_pin, 3), "it is the same PIN"
    assert generation_of(parts.sealed(SetPin(id="s", account="zoe", pin=PIN)).pin) == 3


def test_a_server_that_does_not_know_the_pepper_says_so_and_counts_no_guess(parts: Parts) -> None:
    parts.inbox.accounts.update(ann=("open", "set"), bob=("open", "set"))
    parts.inbox.sealed_for["ann"] = 2
    unknown = ErrorReply(id="d", outcome="unavailable", message=UNKNOWN_PEPPER)
    wrong = Peppers([bytes(PEPPER_BYTES), b"w" * PEPPER_BYTES])
    for known, pepper in (
        (PEPPERS[1], current(2)),  # the file was not copied
        (wrong, current(2)),  # another one was
        (PEPPERS[2], PepperState()),  # this server's ledger lags behind
    ):
        parts.sealer.peppers, parts.pepper = known, pepper
        assert parts.seal(debit()) == unknown
        login = Login(id="l", account="bob", pin=PIN)
        assert generation_of(parts.sealed(login).pin) == 1, "whose PIN is sealed for the first one"
    assert isinstance(parts.seal(SetPin(id="c", account="ann", pin=PIN, old_pin=PIN)), ErrorReply)
    parts.sealer.peppers, parts.pepper = PEPPERS[2], current(2)
    assert generation_of(parts.sealed(debit()).pin) == 2
