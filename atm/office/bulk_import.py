"""Books the requests of a file, many at a time, each once by its id; any file that is turned into requests.

An import that broke off is run again: what the bank knows already is looked up and not sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from itertools import batched, islice

from atm.client import Client, NotAllowed, Receipt
from atm.office.windows import ImportRequest, windows


class NotBooked(Exception):
    """The bank refused a request; `str()` of it is one line for people."""


class BulkImport:
    """Books requests; the public fields count. Seam for readers of files: `book_all`."""

    def __init__(self, client: Client, on_progress: Callable[[], None] = lambda: None) -> None:
        raise NotImplementedError

    def book_all(self, requests: Iterable[ImportRequest]) -> None:
        """Book all, and open the accounts that they name before; raise `NotBooked`, and what the client raises.

        Of each account the order is kept. It is safe to repeat: each request is booked once by its id.
        """
        raise NotImplementedError
