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


class Kind(Enum):
    """What one request asks for."""

    OPEN = "open"
    CREDIT = "credit"
    QUERY = "query"


Request = tuple[Kind, str]  # what, of which account


@dataclass(frozen=True)
class Work:
    """A closed loop: each of `connections` keeps `depth` requests under way at all times.

    `accounts` is 1 for the hot account alone, else how many are worked with, of which each two are `apart`
    in the numbers of accounts; of 10 requests, `queries_in_10` only look.
    """

    name: str
    connections: int
    depth: int = 1
    accounts: int = 1
    queries_in_10: int = 0
    apart: int = 1

    @property
    def label(self) -> str:
        """The name to choose it by on the command line."""
        deep = f"x{self.depth}" if self.depth > 1 else ""
        return f"{self.name}-{self.connections}{deep}"

    def requests(self, connection: int) -> Iterator[Request]:
        """Yield without end what a connection asks for; each connection begins elsewhere."""
        first = connection * (ACCOUNTS // 64 + 1)
        for number in count(first):
            kind = Kind.QUERY if number % 10 < self.queries_in_10 else Kind.CREDIT
            place = number * STRIDE % self.accounts * self.apart
            yield kind, HOT_ACCOUNT if self.accounts == 1 else account(place)


def account(number: int) -> str:
    """Return the name of one of the many accounts."""
    return f"customer-{number}"


CLOSED_LOOP = tuple(Work("credits", connections) for connections in (1, 8, 64, 256))
PIPELINED = Work("credits", 64, depth=16)
MANY_ACCOUNTS = Work("accounts", 64, accounts=ACCOUNTS)
MIXED = Work("mixed", 64, accounts=ACCOUNTS, queries_in_10=9)
QUERIES = Work("queries", 64, accounts=ACCOUNTS, queries_in_10=10)
WORKS = (*CLOSED_LOOP, PIPELINED, MANY_ACCOUNTS, MIXED, QUERIES)
FAILOVER = "failover"
LABELS = (*(work.label for work in WORKS), FAILOVER)
