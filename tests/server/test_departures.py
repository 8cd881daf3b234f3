"""Transfers between lanes, driven by their workers: lanes are lost at any time, and each is done once."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from threading import Condition, Thread

import psycopg
import pytest

from atm.identity import Role
from atm.lanes.bank import open_bank
from atm.lanes.books import copied_lanes
from atm.lanes.engine import EngineConnection
from atm.lanes.lane_ledger import LaneLedger
from atm.lanes.share import lane_of
from atm.ledger.audit.auditing import audit
from atm.ledger.commands import Approve, Credit, Open, Query, Reverse, SetApprovalLimit, Transfer
from atm.permissions import bits_of
from atm.server.group.inbox import PendingRequest
from atm.server.lanes import departures, lane_worker
from atm.server.lanes.lane_worker import Answered, LaneWorker
from atm.server.security.peppers import new_peppers
from atm.wire.client_messages import ErrorReply, QueuedRequest, Reply, decode_client_reply
from atm.wire.codec import encode
from tests.support.postgresql import new_database
from tests.support.server_parts import wait_until

LANES = 2
ANSWER_S = 20
ANN, BOB = (
    next(name for n in range(100) if lane_of(name := f"a{n}", LANES) == lane) for lane in range(LANES)
)


class Client:
    """Waits for the reply to one request."""

    open = True

    def __init__(self) -> None:
        self._changed = Condition()
        self._payload: bytes | None = None

    def reply(self, number: int, payload: bytes) -> None:
        """Take the reply."""
        with self._changed:
            self._payload = payload
            self._changed.notify()

    def wait(self) -> Reply | ErrorReply:
        """Return the reply."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._payload is not None, ANSWER_S)
        assert self._payload is not None
        reply = decode_client_reply(self._payload)
        assert isinstance(reply, Reply | ErrorReply)
        return reply


class Bank:
    """Two servers, each with a worker for each lane; what one asks of a lane goes to whoever has it."""

    def __init__(self) -> None:
        self.url = new_database()
        with closing(EngineConnection(self.url)) as engine:
            open_bank(engine, LANES)
        self.failures: list[BaseException] = []
        self.cut: set[str] = set()  # accounts that nothing arrives at
        self.together: list[int] = []  # how many arrivals were asked for at once
        self.servers = [[self._worker(node, lane) for lane in range(LANES)] for node in range(2)]
        for workers in self.servers:
            for worker in workers:
                worker.start()
        for lane in range(LANES):
            self.take(0, lane)

    def _worker(self, node: int, lane: int) -> LaneWorker:
        name = f"n{node}"
        return LaneWorker(
            lane,
            name,
            lambda epoch: LaneLedger(self.url, lane, name, seen_epoch=epoch),
            peppers=new_peppers,
            now_us=lambda: time.time_ns() // 1000,
            send=self._send,
            on_answers=self._answer,
            on_taken=lambda lane, epoch: None,
            on_fault=lambda line: None,
            on_failure=self.failures.append,
        )

    def take(self, node: int, lane: int) -> None:
        """Have a server take a lane, whoever has it; that one learns of it later."""
        other = self.servers[1 - node][lane]
        self.servers[node][lane].take_over(other.epoch)
        wait_until(lambda: self.servers[node][lane].mine)
        other.lose(self.servers[node][lane].epoch)

    def _send(self, requests: Sequence[tuple[str, PendingRequest]]) -> None:
        self.together.append(len(requests))
        for account, pending in requests:
            if account not in self.cut:
                self.put(account, pending)

    def put(self, account: str, pending: PendingRequest) -> None:
        """Give a request to whoever seems to have its lane."""
        lane = lane_of(account, LANES)
        node = max((0, 1), key=lambda node: (self.servers[node][lane].mine, self.servers[node][lane].epoch))
        assert not self.servers[node][lane].put([pending])

    @staticmethod
    def _answer(answers: Sequence[Answered]) -> None:
        for answered in answers:
            answered.pending.channel.reply(answered.pending.number, answered.payload)

    def ask(
        self, account: str, request: QueuedRequest, actor: str = "local", *roles: Role
    ) -> Reply | ErrorReply:
        """Return the reply to one try."""
        client = Client()
        bits = bits_of(frozenset(roles))
        self.put(account, PendingRequest(client, 1, request, encode(request), actor, roles=bits))
        return client.wait()

    def decided(self, account: str, request: QueuedRequest) -> Reply:
        """Ask until there is a receipt, under the same id."""
        deadline_s = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline_s:
            reply = self.ask(account, request)
            if isinstance(reply, Reply):
                return reply
            assert reply.outcome in {"unknown", "unavailable"}, reply
        raise AssertionError("there was no receipt")

    def balance(self, account: str) -> int | None:
        """Return a balance."""
        return self.decided(account, Query(id="q", account=account)).balance

    def transit(self) -> int:
        """Return what is neither here nor there."""
        with psycopg.connect(self.url) as connection:
            sql = b"select coalesce(sum(amount), 0) from atm.balance where account like 'transit:%'"
            return int(connection.execute(sql).fetchall()[0][0])

    def verify(self) -> list[str]:
        """Return what an audit finds."""
        with copied_lanes(self.url) as copies:
            return [line for each in copies for line in (*each.problems, *audit(each.path).problems)]

    def close(self) -> None:
        """End all workers."""
        for workers in self.servers:
            for worker in workers:
                worker.stop(5.0)


@pytest.fixture
def bank() -> Iterator[Bank]:
    """Return a bank where ann and bob have 10,000 each."""
    with closing(Bank()) as found:
        for account in (ANN, BOB):
            found.decided(account, Open(id=f"o-{account}", account=account))
            found.decided(account, Credit(id=f"c-{account}", account=account, amount=10_000))
        yield found
        assert found.failures == []
        assert found.verify() == []


def test_a_transfer_is_answered_once_it_has_arrived(bank: Bank) -> None:
    transfer = Transfer(id="t1", account=ANN, target=BOB, amount=300)
    reply = bank.ask(ANN, transfer)
    assert (reply.id, reply.outcome) == ("t1", "ok")
    assert isinstance(reply, Reply)
    assert (reply.balance, reply.available) == (9_700, 9_700)
    assert bank.balance(BOB) == 10_300
    assert bank.ask(ANN, transfer) == reply


def test_what_departs_in_one_batch_is_asked_for_together(bank: Bank) -> None:
    clients = [Client() for _ in range(3)]
    asked = [Transfer(id=f"t{n}", account=ANN, target=BOB, amount=300) for n in range(len(clients))]
    departing = [
        PendingRequest(client, 1, each, encode(each), "local")
        for client, each in zip(clients, asked, strict=True)
    ]
    assert not bank.servers[0][lane_of(ANN, LANES)].put(departing)
    assert [client.wait().outcome for client in clients] == ["ok"] * 3
    assert bank.together == [3]


def test_a_lane_that_does_not_answer_leaves_it_unknown_and_it_is_done_when_it_does(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(departures, "CLIENT_S", 0.3)
    monkeypatch.setattr(departures, "ANSWER_S", 0.5)
    bank.cut.add(BOB)
    transfer = Transfer(id="t1", account=ANN, target=BOB, amount=300)
    for _ in range(2):
        reply = bank.ask(ANN, transfer)
        assert isinstance(reply, ErrorReply)
        assert reply.outcome == "unknown"
        assert lane_worker.NOT_ARRIVED in reply.message
    held = bank.decided(ANN, Query(id="q", account=ANN))
    assert (held.balance, held.available, bank.balance(BOB)) == (10_000, 9_700, 10_000)
    bank.cut.clear()
    wait_until(lambda: bank.balance(BOB) == 10_300)
    assert bank.decided(ANN, transfer).balance == 9_700


def test_an_approval_is_answered_once_the_reversal_has_arrived(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(departures, "CLIENT_S", 0.3)
    monkeypatch.setattr(departures, "ANSWER_S", 0.5)
    bank.decided(ANN, Transfer(id="t1", account=ANN, target=BOB, amount=300))
    bank.decided(BOB, SetApprovalLimit(id="n1", limited="reverse", amount=100))
    reverse, approve = Reverse(id="r1", original="t1"), Approve(id="a1", request="r1")
    bank.cut.add(ANN)
    for _ in range(2):
        assert bank.ask(BOB, reverse, "tim", Role.TELLER).outcome == "needs_approval"
        assert bank.ask(BOB, approve, "olga", Role.OPERATOR).outcome == "unknown"
    again = Approve(id="a2", request="r1")
    assert bank.ask(BOB, again, "otto", Role.OPERATOR).outcome == "unknown"
    bank.take(1, lane_of(BOB, LANES))
    bank.cut.clear()
    wait_until(lambda: bank.ask(BOB, approve, "olga", Role.OPERATOR).outcome == "ok")
    assert bank.ask(BOB, again, "otto", Role.OPERATOR).outcome == "already_approved"
    assert bank.ask(BOB, reverse, "tim", Role.TELLER).outcome == "needs_approval"
    assert (bank.balance(ANN), bank.balance(BOB)) == (10_000, 10_000)


def test_who_takes_the_lane_ends_what_had_departed_though_nobody_asks(bank: Bank) -> None:
    bank.cut.add(BOB)
    client = Client()
    transfer = Transfer(id="t1", account=ANN, target=BOB, amount=300)
    bank.put(ANN, PendingRequest(client, 1, transfer, encode(transfer), "local"))
    wait_until(lambda: bank.decided(ANN, Query(id="q", account=ANN)).available == 9_700)
    bank.take(1, lane_of(ANN, LANES))
    assert client.wait().outcome == "unknown"
    bank.cut.clear()
    bank.take(0, lane_of(ANN, LANES))
    wait_until(lambda: bank.balance(ANN) == 9_700)
    assert bank.balance(BOB) == 10_300


def test_a_worker_that_ends_tells_who_waits_that_it_is_unknown(bank: Bank) -> None:
    bank.cut.add(BOB)
    client = Client()
    transfer = Transfer(id="t1", account=ANN, target=BOB, amount=300)
    bank.put(ANN, PendingRequest(client, 1, transfer, encode(transfer), "local"))
    wait_until(lambda: bank.decided(ANN, Query(id="q", account=ANN)).available == 9_700)
    bank.servers[0][lane_of(ANN, LANES)].stop(5.0)
    assert client.wait().outcome == "unknown"
    bank.cut.clear()
    bank.take(1, lane_of(ANN, LANES))
    wait_until(lambda: bank.balance(BOB) == 10_300)


def test_an_answer_that_comes_after_the_lane_was_lost_leaves_nothing_to_do() -> None:
    ours = departures.Departures(lambda requests: None, lambda: None)
    ours.reply(1, b"late")
    assert ours.due == 1
    assert ours.pop_all() == []
    assert ours.due == 0


def test_lanes_change_their_servers_at_any_time_and_every_transfer_is_done_once(bank: Bank) -> None:
    draw, replies = random.Random(5), dict[str, Reply]()
    done: list[tuple[str, str, int]] = []

    def customer(number: int) -> None:
        own = random.Random(number)
        for transfer in range(12):
            payer, receiver = own.sample((ANN, BOB), 2)
            name, amount = f"t{number}-{transfer}", own.randrange(1, 400)
            asked = Transfer(id=name, account=payer, target=receiver, amount=amount)
            replies[name] = bank.decided(payer, asked)
            if replies[name].outcome == "ok":
                done.append((payer, receiver, amount))

    customers = [Thread(target=customer, args=(number,)) for number in range(4)]
    for each in customers:
        each.start()
    while any(each.is_alive() for each in customers):
        bank.take(draw.randrange(2), draw.randrange(LANES))
        time.sleep(draw.random() * 0.1)
    expected = {ANN: 10_000, BOB: 10_000}
    for payer, receiver, amount in done:
        expected[payer] -= amount
        expected[receiver] += amount
    assert len(replies) == 48
    assert {account: bank.balance(account) for account in expected} == expected
    assert bank.transit() == 0
