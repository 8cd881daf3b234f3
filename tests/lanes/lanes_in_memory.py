"""A bank of several lanes in memory: the rules alone, and messages that are lost, late or repeated.

It is driven by a script, a line a step, which means something whatever came before: so a script that fails
can be made shorter (`shortened`).

    ask tim r1 reverse t1     a request by an actor, sent to the lanes that the servers would send it to
    later tim r1 reverse t1   likewise, but it stays on its way
    send 3                    what some open transfer waits for is asked of the receiver's lane
    deliver 3, repeat 3       some message on its way arrives, or arrives and is still on its way
    lose 3                    it is gone
    kill 3                    the writer of a lane is killed: the next one reads the open transfers
    wait 5000                 so many microseconds pass
    expire now                what is due ends
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from atm.identity import Role
from atm.lanes.share import lane_of
from atm.ledger.accounts import Account, day_of
from atm.ledger.commands import (
    BANK,
    OK,
    OPEN_TRANSFER_US,
    Arrive,
    Command,
    Expire,
    LedgerReceipt,
    LoggedCommand,
    Outcome,
    Settle,
)
from atm.ledger.crossings import LaneEntry, OpenTransfer, OpenTransfers, decide_in_lane
from atm.ledger.database import Database
from atm.ledger.ledger import SET_APPLIED
from atm.ledger.own_accounts import is_transit
from atm.ledger.posting import NO_HASH
from atm.ledger.requests import contents_of, same_contents
from atm.ledger.rows import LedgerRows
from atm.ledger.unit_of_work import TOMBSTONE, IdempotencyRecord, LazyCache, UnitOfWork
from atm.server.lanes.routes import AfterLookup, NotTogether, ToAll, ToLane, lane_named, merged, route
from atm.version import FEATURE_LEVEL_MAX
from atm.wire.client_messages import Reply
from tests.support.entries import EmptyLedger, command, logged, nothing

NOW_US = 1_700_000_000_000_000
ROLES = {  # local has no certificate
    "tim": Role.TELLER,
    "tom": Role.TELLER,
    "olga": Role.OPERATOR,
    "otto": Role.OPERATOR,
}
UNKNOWN = "unknown"

Entry = LoggedCommand | LaneEntry
Message = tuple[int, Entry]  # to a lane


class Lane:
    """The books of one lane, of which nothing is ever written."""

    def __init__(self, number: int, lanes: int) -> None:
        accounts: LazyCache[Account] = LazyCache(nothing)
        records: LazyCache[IdempotencyRecord] = LazyCache(nothing)
        self.unit = UnitOfWork(EmptyLedger(), accounts, records, NO_HASH)
        self.unit.feature_level = FEATURE_LEVEL_MAX
        for name in ("cash", "writeoff"):
            self.unit.add_account(Account(name=name, state="banks_own"))
        self.transfers = OpenTransfers()
        self.applied = 0
        self._number, self._lanes = number, lanes

    def decide(self, time_us: int, entry: Entry) -> LedgerReceipt | OpenTransfer | None:
        """Decide the next entry."""
        self.applied += 1
        return decide_in_lane(self.unit, self.transfers, self._is_here, self.applied, time_us, entry)

    def _is_here(self, account: str) -> bool:
        return lane_of(account, self._lanes) == self._number

    def take_again(self) -> None:
        """Begin with the open transfers as they are written."""
        rows = [msgspec.json.encode(each) for each in self.transfers.values()]
        self.transfers = OpenTransfers(msgspec.json.decode(row, type=OpenTransfer) for row in rows)

    def found(self, request_id: str) -> Reply | None:
        """Return what a lookup finds, None if it finds nothing."""
        record = self.unit.records[request_id]
        return None if record is None else Reply(id="l", outcome=record.receipt.outcome, asked=record.asked)

    def customers(self, now_us: int) -> dict[str, tuple[int, int, str, int]]:
        """Return of each customer the balance, what is held, the state, and what counts today."""
        now = day_of(now_us)
        return {
            name: (
                each.balance,
                each.held,
                each.state,
                each.withdrawn if each.daily_limit is not None and day_of(each.counted_from_us) == now else 0,
            )
            for name, each in self.unit.accounts.items()
            if each is not None and not each.is_banks_own
        }

    def halves(self, *, paid: bool) -> Counter[tuple[str, int, str]]:
        """Return what was paid to other lanes, or credited from them: id, amount and transit account."""
        return Counter(
            (request_id, amount, credit if paid else debit)
            for _, _, debit, credit, amount, _, _, request_id, _ in self.unit.journal
            if is_transit(credit if paid else debit)
        )

    def write(self, path: Path) -> None:
        """Write the books into a ledger for an audit."""
        with closing(Database(path)) as database, database.transaction():
            database.add_level_2_tables()
            cursor = database.cursor()
            LedgerRows(cursor, has_level_2=True).write_unit(self.unit)
            cursor.execute(SET_APPLIED, (self.applied,))


class Bank:
    """The lanes, and the messages on their way."""

    def __init__(self, lanes: int) -> None:
        self.lanes = [Lane(number, lanes) for number in range(lanes)]
        self.on_their_way: list[Message] = []
        self.now_us = NOW_US
        self._told: dict[tuple[int, str], LedgerReceipt] = {}

    def run(self, script: Sequence[str]) -> None:
        """Do all steps, and check the books after each."""
        for line in script:
            self._step(*line.split(maxsplit=1))
            self.check()

    def _step(self, kind: str, rest: str) -> None:
        match kind:
            case "ask":
                self.ask(*rest.split(maxsplit=1))
            case "later":
                self.on_their_way += self._routed(*rest.split(maxsplit=1))
            case "send":
                opened = [each for lane in self.lanes for each in lane.transfers.values()]
                if opened:
                    self.on_their_way.append(self._arrival(opened[int(rest) % len(opened)]))
            case "wait":
                self.now_us += int(rest)
            case "expire":
                for number in range(len(self.lanes)):
                    self._deliver(number, LoggedCommand(BANK, Expire()))
            case "kill":
                self.lanes[int(rest) % len(self.lanes)].take_again()
            case _ if self.on_their_way:
                self._handle(kind, int(rest) % len(self.on_their_way))

    def _handle(self, kind: str, place: int) -> None:
        """Deliver the message at that place, repeat it, or lose it."""
        message = self.on_their_way[place]
        if kind != "repeat":
            del self.on_their_way[place]
        if kind != "lose":
            self._deliver(*message)

    def _arrival(self, transfer: OpenTransfer) -> Message:
        return lane_of(transfer.target, len(self.lanes)), LaneEntry(transfer.actor, transfer.arrival)

    def _deliver(self, lane: int, entry: Entry) -> LedgerReceipt | OpenTransfer | None:
        """Have a lane decide; what an arrival comes to is on its way then."""
        self.now_us += 1
        books = self.lanes[lane]
        came = books.decide(self.now_us, entry)
        if lane == 0:
            for each in self.lanes:
                each.unit.approval_limits = books.unit.approval_limits
        if isinstance(entry, LoggedCommand) and isinstance(came, LedgerReceipt):
            self._note_told(lane, entry.command, came)  # type: ignore[arg-type]
        if isinstance(entry, LaneEntry) and isinstance(entry.command, Arrive):
            assert isinstance(came, LedgerReceipt)
            settle = LaneEntry(BANK, Settle(id=came.id, outcome=came.outcome))
            self.on_their_way.append((lane_of(entry.command.payer, len(self.lanes)), settle))
        return came

    def _note_told(self, lane: int, asked: Command, came: LedgerReceipt) -> None:
        """Assert that a request gets the same answer for ever."""
        record = self.lanes[lane].unit.records[asked.id]
        is_its = record and (same_contents(record.asked, contents_of(asked)) or record.asked.op == TOMBSTONE)
        if is_its:
            assert self._told.setdefault((lane, asked.id), came) == came, f"{asked.id} was told otherwise"
        else:
            again = record is not None and came == record.receipt  # a posting that spells its amount out
            assert again or came.outcome is Outcome.ID_REUSED, came

    # -- requests -----------------------------------------------------------------------------------------

    def _routed(self, actor: str, line: str) -> Sequence[Message]:
        """Return a request for each lane that it goes to."""
        asked, lanes = command(line), len(self.lanes)
        entry = logged(asked, actor, *([ROLES[actor]] if actor in ROLES else []))
        match route(asked, lanes):
            case ToLane(lane=lane):
                return [(lane, entry)]
            case AfterLookup(other=other):
                found = lane_named(asked, self._found(asked.id), self._found(other), lanes)
                return [(each, entry) for each in (range(lanes) if found is None else [found])]
            case ToAll() | NotTogether():
                raise ValueError(line)

    def _found(self, request_id: str) -> dict[int, Reply]:
        found = {number: lane.found(request_id) for number, lane in enumerate(self.lanes)}
        return {number: reply for number, reply in found.items() if reply is not None}

    def ask(self, actor: str, line: str, *, finish: bool = False) -> str:
        """Return what is told, unknown if nothing is; `finish`: once what departed has ended."""
        replies: dict[int, Reply] = {}
        routed = self._routed(actor, line)
        for lane, entry in routed:
            came = self._deliver(lane, entry)
            receipt = self.finish(came) if finish and isinstance(came, OpenTransfer) else came
            if isinstance(receipt, LedgerReceipt):
                replies[lane] = Reply(id=receipt.id, outcome=receipt.outcome)
        if len(replies) < len(routed):
            done = any(each.outcome is OK for each in replies.values())
            return "ok" if done else UNKNOWN
        return str(merged(command(line), replies, len(self.lanes)).outcome)

    def finish(self, transfer: OpenTransfer) -> LedgerReceipt:
        """Drive an open transfer to its end."""
        arrived = self._deliver(*self._arrival(transfer))
        assert isinstance(arrived, LedgerReceipt)
        receipt = self._deliver(*self.on_their_way.pop())
        assert isinstance(receipt, LedgerReceipt)
        return receipt

    def end(self) -> None:
        """Drive all open transfers to their ends, then let all that is still on its way arrive."""
        for lane in self.lanes:
            for transfer in list(lane.transfers.values()):
                self.finish(transfer)
                self.check()
        late, self.on_their_way = self.on_their_way, []
        for each in late:
            self._deliver(*each)
            self.check()
        for lane in self.lanes:
            for transfer in list(lane.transfers.values()):  # of requests that were late
                self.finish(transfer)
        self.check()

    # -- what must hold -----------------------------------------------------------------------------------

    def check(self) -> None:
        """Assert what must hold at any time."""
        under_way: Counter[str | None] = Counter()
        for lane in self.lanes:
            sums: Counter[str | None] = Counter()
            held: Counter[str] = Counter()
            for name, account in lane.unit.accounts.items():
                if account:
                    sums[account.currency] += account.balance
                    under_way[account.currency] += account.balance if is_transit(name) else 0
            assert not any(sums.values()), f"balances add up to {sums}"
            opened = set()
            for hold in lane.unit.changed_holds.values():
                if hold.state == "active":
                    held[hold.account] += hold.left
                    opened |= {hold.id} if hold.expires_us == OPEN_TRANSFER_US else set()
            assert opened == set(lane.transfers), "what is held is what is under way"
            for name, (balance, total, state, counted) in lane.customers(self.now_us).items():
                assert total == held[name], f"{name} holds {total}, and its holds are {held[name]}"
                assert state != "closed" or (balance, total) == (0, 0), f"{name} is closed with {balance}"
                assert counted >= 0, f"{name} has withdrawn {counted}"
            amounts: Counter[str | None] = Counter()
            for transfer in lane.transfers.values():
                amounts[transfer.currency] += transfer.amount
                assert lane.unit.records[transfer.command.id] is None, "it has no receipt yet"
                under_way[transfer.currency] += transfer.amount if self._has_arrived(transfer) else 0
            assert +lane.transfers.amounts == amounts
            reversed_ = [each.arrival.reverses for each in lane.transfers.values() if each.arrival.reverses]
            assert len(reversed_) == len(set(reversed_)), "two reversals of the same are under way"
        assert not any(under_way.values()), f"transit lacks {under_way}"

    def _has_arrived(self, transfer: OpenTransfer) -> bool:
        record = self.lanes[lane_of(transfer.target, len(self.lanes))].unit.records[transfer.command.id]
        return (
            record is not None
            and same_contents(record.asked, contents_of(transfer.arrival))
            and record.receipt.outcome is OK
        )

    def check_end(self) -> None:
        """Assert what must hold once nothing is under way."""
        paid: Counter[tuple[str, int, str]] = Counter()
        credited: Counter[tuple[str, int, str]] = Counter()
        for lane in self.lanes:
            assert not lane.transfers
            paid += lane.halves(paid=True)
            credited += lane.halves(paid=False)
            ids = [record.receipt.id for record in lane.unit.new_records]
            assert len(ids) == len(set(ids)), "an id has two receipts"
            for hold in lane.unit.changed_holds.values():
                if hold.expires_us == OPEN_TRANSFER_US:
                    record = lane.unit.records[hold.id]
                    assert record is not None, f"{hold.id} has no receipt"
                    assert hold.state == ("posted" if record.receipt.outcome is OK else "voided"), hold
            for (told_in, request_id), receipt in self._told.items():
                record = self.lanes[told_in].unit.records[request_id]
                assert record is not None
                assert record.receipt == receipt, f"{request_id} was told otherwise than it is kept"
        assert paid == credited, f"{paid - credited} was not credited, {credited - paid} was not paid"


def shortened(script: Sequence[str], fails: Callable[[Sequence[str]], bool]) -> Sequence[str]:
    """Return a script that fails as well, and does no more without any of its lines."""
    size = max(1, len(script) // 2)
    while True:
        before = len(script)
        for start in range(0, len(script), size):
            fewer = [*script[: max(0, len(script) - start - size)], *script[len(script) - start :]]
            if len(fewer) < len(script) and fails(fewer):
                script = fewer
        if size == 1 and len(script) == before:
            return script
        size = max(1, size // 2)
