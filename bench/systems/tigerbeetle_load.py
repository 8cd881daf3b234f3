"""The load program of the `tigerbeetle` system, on its own client; its argument is where the replicas are.

Opens the accounts, then takes orders as lines of JSON. Answers in lines: one when the accounts are there, and
for each order one after the warm-up and one at the end.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from bench.work import ACCOUNTS, FUNDS_MINOR, HOT_ACCOUNT, WORKS, Kind, Request, account, transfers_of

TOGETHER = 4_000  # accounts or transfers in one request, below the 8,189 of its default
LEDGER, CODE = 1, 1
CASH, HOT, FIRST = 1, 2, 3  # ids of accounts; FIRST is that of customer-0


class Order(msgspec.Struct, array_like=True):
    """What to do: which of `WORKS`, with so many transfers in a request of bulk work."""

    work: int
    legs: int
    warm_up_s: float
    seconds: float


class Ended(msgspec.Struct):
    """How long each acknowledged request took, or why there was another answer."""

    latencies_s: list[float] = []
    cpu_s: float = 0.0
    error: str = ""


class Refused(Exception):
    """A request was not done; the text says why."""


class Desk:
    """Asks by one client, a request at a time."""

    def __init__(self, api: Any, addresses: str) -> None:
        self._api = api
        self._client = api.ClientAsync(cluster_id=0, replica_addresses=addresses)

    async def close(self) -> None:
        """Give the client back."""
        await self._client.close()

    async def open_all(self) -> None:
        """Open all accounts, and give customers what their transfers need."""
        guarded = self._api.AccountFlags.DEBITS_MUST_NOT_EXCEED_CREDITS
        accounts = [
            self._api.Account(id=number, ledger=LEDGER, code=CODE, flags=guarded if number != CASH else 0)
            for number in range(CASH, FIRST + ACCOUNTS)
        ]
        for some in _pieces(accounts):
            _check(await self._client.create_accounts(some), len(some), self._api.CreateAccountStatus.CREATED)
        funds = [(CASH, number, FUNDS_MINOR) for number in range(FIRST, FIRST + ACCOUNTS)]
        for some in _pieces(funds):
            await self._move(some)

    async def ask(self, request: Request, legs: int) -> None:
        """Do what is asked; raise `Refused`."""
        kind, name = request
        match kind:
            case Kind.QUERY:
                found = await self._client.lookup_accounts([_id(name)])
                if len(found) != 1:
                    raise Refused("no_such_account")
            case Kind.TRANSFER | Kind.BULK:
                await self._move(
                    [(_id(payer), _id(payee), 1) for payer, payee in transfers_of(kind, name, legs)]
                )
            case _:
                await self._move([(CASH, _id(name), 1)])

    async def _move(self, moves: Sequence[tuple[int, int, int]]) -> None:
        transfers = [
            self._api.Transfer(
                id=self._api.id(),
                debit_account_id=payer,
                credit_account_id=payee,
                amount=amount,
                ledger=LEDGER,
                code=CODE,
            )
            for payer, payee, amount in moves
        ]
        results = await self._client.create_transfers(transfers)
        _check(results, len(transfers), self._api.CreateTransferStatus.CREATED)


def _check(results: Sequence[Any], count: int, created: object) -> None:
    wrong = [result.status for result in results if result.status != created]
    if wrong or len(results) != count:
        raise Refused(f"{len(wrong)} of {count} were refused: {wrong[:1]}, {len(results)} answers")


def _pieces(all_of_them: Sequence[Any]) -> Iterator[list[Any]]:
    for first in range(0, len(all_of_them), TOGETHER):
        yield list(all_of_them[first : first + TOGETHER])


def _id(name: str) -> int:
    return HOT if name == HOT_ACCOUNT else FIRST + int(name.removeprefix(account(0)[:-1]))


async def carry_out(api: Any, addresses: str, order: Order) -> Ended:
    """Keep a request under way on each connection; return what was acknowledged after the warm-up."""
    work, ended = WORKS[order.work], Ended([])
    desks = [Desk(api, addresses) for _ in range(work.connections)]
    start_s = time.monotonic() + order.warm_up_s
    end_s = start_s + order.seconds

    async def loop(number: int, desk: Desk) -> None:
        for request in work.requests(number):
            if (asked_s := time.monotonic()) >= end_s or ended.error:
                return
            await desk.ask(request, order.legs)
            if start_s <= (now_s := time.monotonic()) < end_s:
                ended.latencies_s.append(now_s - asked_s)

    async def tell_when_warm() -> None:
        await asyncio.sleep(order.warm_up_s)
        _print(Ended([]))

    cpu_before_s = time.process_time()
    try:
        await asyncio.gather(tell_when_warm(), *(loop(number, desk) for number, desk in enumerate(desks)))
    except Refused as error:
        ended.error = str(error)
    ended.cpu_s = (time.process_time() - cpu_before_s) * order.seconds / (order.seconds + order.warm_up_s)
    for desk in desks:
        await desk.close()
    return ended


async def main() -> None:
    """Serve until the standard input ends."""
    import tigerbeetle  # noqa: PLC0415  (only where its program is)

    addresses = sys.argv[1]
    first = Desk(tigerbeetle, addresses)
    await first.open_all()
    await first.close()
    _print(Ended([]))
    for line in sys.stdin.buffer:
        _print(await carry_out(tigerbeetle, addresses, msgspec.json.decode(line, type=Order)))


def _print(answer: Ended) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    asyncio.run(main())
