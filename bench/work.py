"""What is measured: each kind of work by its label, such as `credits-64x16`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import count

HOT_ACCOUNT = "main"
ACCOUNTS = 10_000
STRIDE = (
    7_919  # prime to ACCOUNTS: every account is used, and requests close in time are far apart in the table
)
LEGS = 64  # transfers in a request of bulk work, unless a system says otherwise
FUNDS_MINOR = 10**9


class Kind(Enum):
    """What one request asks for."""

    OPEN = "open"
    FUND = "fund"  # a credit of what its transfers will need
    CREDIT = "credit"
    TRANSFER = "transfer"  # to its partner
    BULK = "bulk"  # this account's and the next ones' transfers to their partners, in one request
    QUERY = "query"


Request = tuple[Kind, str]  # what, of which account


@dataclass(frozen=True)
class Work:
    """A closed loop: each of `connections` keeps `depth` requests under way at all times.

    `accounts` is 1 for the hot account alone, else how many are worked with, of which each two are `apart`
    in the numbers of accounts; of 10 requests, `queries_in_10` only look, and the others are of `kind`.
    """

    name: str
    connections: int
    depth: int = 1
    accounts: int = 1
    queries_in_10: int = 0
    apart: int = 1
    kind: Kind = Kind.CREDIT

    @property
    def label(self) -> str:
        """The name to choose it by on the command line."""
        deep = f"x{self.depth}" if self.depth > 1 else ""
        return f"{self.name}-{self.connections}{deep}"

    def legs(self, in_bulk: int) -> int:
        """Return how many operations a request is, if one of bulk work has so many transfers."""
        return in_bulk if self.kind is Kind.BULK else 1

    def requests(self, connection: int) -> Iterator[Request]:
        """Yield without end what a connection asks for; each connection begins elsewhere."""
        first = connection * (ACCOUNTS // 64 + 1)
        for number in count(first):
            kind = Kind.QUERY if number % 10 < self.queries_in_10 else self.kind
            place = number * STRIDE % self.accounts * self.apart
            yield kind, HOT_ACCOUNT if self.accounts == 1 else account(place)


def account(number: int) -> str:
    """Return the name of one of the many accounts."""
    return f"customer-{number}"


def partner(number: int) -> int:
    """Return the number of the account that this one's transfers go to, and come from."""
    return (number + ACCOUNTS // 2) % ACCOUNTS


def transfers_of(kind: Kind, name: str, legs: int = LEGS) -> list[tuple[str, str]]:
    """Return payer and payee of each transfer that such a request of this account asks for."""
    first = int(name.rpartition("-")[2])
    return [
        (account(number % ACCOUNTS), account(partner(number)))
        for number in range(first, first + (legs if kind is Kind.BULK else 1))
    ]


CLOSED_LOOP = tuple(Work("credits", connections) for connections in (1, 8, 64, 256))
PIPELINED = Work("credits", 64, depth=16)
MANY_ACCOUNTS = Work("accounts", 64, accounts=ACCOUNTS)
MIXED = Work("mixed", 64, accounts=ACCOUNTS, queries_in_10=9)
QUERIES = Work("queries", 64, accounts=ACCOUNTS, queries_in_10=10)
TRANSFERS = tuple(
    Work("transfers", connections, accounts=ACCOUNTS, kind=Kind.TRANSFER) for connections in (1, 64)
)
BULK = Work("bulk", 16, accounts=ACCOUNTS // LEGS, apart=LEGS, kind=Kind.BULK)
CREDITS = (*CLOSED_LOOP, PIPELINED, MANY_ACCOUNTS, MIXED, QUERIES)
WORKS = (*CREDITS, *TRANSFERS, BULK)
FAILOVER = "failover"
LABELS = (*(work.label for work in WORKS), FAILOVER)
