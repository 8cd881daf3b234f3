"""A feed of the journal: what to ask next, and that each posting follows the last. No I/O here."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from msgspec.structs import asdict

from atm.client.errors import FeedBroken, InvalidRequest
from atm.client.receipt import JournalPage, Receipt, new_request_id
from atm.client.request_rules import check_account
from atm.ledger.commands import LEGS_MAX, PAGE_LINES_MAX, JournalPosting, Watch
from atm.ledger.journal_hash import Remark, row_hash

POLL_S = 0.2  # between questions once there was nothing more to tell


class Posted(JournalPosting, frozen=True, kw_only=True):
    """A posting of a feed, and the id of the cluster whose journal it is in.

    Keep the last one that was dealt with, as `msgspec.json` or `msgspec.to_builtins` write it: the feed goes
    on `after` it.
    """

    cluster: str


class Feed:
    """Where a feed is. Ask `request`, and give what comes of it to `take`."""

    def __init__(self, from_index: int, accounts: Collection[str] | None, after: Posted | None) -> None:
        """Begin at a log entry, or behind a posting; of all accounts, or of some (an `InvalidAccount`)."""
        if type(from_index) is not int or from_index < 0:
            raise InvalidRequest("A feed begins at a log index of 0 or more")
        for account in accounts or ():
            check_account(account)
        self.caught_up = False  # whether the last answer had all there is
        self._accounts = None if accounts is None else frozenset(accounts)
        self._posting = max(0, from_index * LEGS_MAX - 1) if after is None else after.posting
        self._hash = None if after is None else after.hash
        self._cluster = None if after is None else after.cluster

    def request(self) -> Watch:
        """Return the next request."""
        return Watch(id=new_request_id(), after=self._posting)

    def take(self, found: Receipt) -> Iterator[Posted]:
        """Yield the postings of an answer that are asked for; raise `Refused` or `FeedBroken`.

        The hashes prove that none is missing, and that each is as it was when the next one was made.
        """
        page = found.check()
        assert isinstance(page, JournalPage)
        self.caught_up = len(page.postings) < PAGE_LINES_MAX and page.next is None
        if self._cluster not in (None, page.cluster):
            raise FeedBroken(f"it is that of cluster {page.cluster}, and not of {self._cluster} any more")
        if self._hash not in (None, page.hash):
            raise FeedBroken(f"up to posting {self._posting} its journal is not the one that was read")
        self._cluster, self._hash = page.cluster, page.hash
        for posting in page.postings:
            self._note(posting)
            if self._accounts is None or self._accounts & {posting.debit_account, posting.credit_account}:
                yield Posted(**asdict(posting), cluster=page.cluster)

    def _note(self, posting: JournalPosting) -> None:
        """Go on behind a posting; raise `FeedBroken` if it does not follow the one before."""
        assert self._hash is not None
        columns = (
            posting.posting,
            posting.time_us,
            posting.debit_account,
            posting.credit_account,
            posting.amount,
            posting.debit_balance,
            posting.credit_balance,
            posting.request_id,
        )
        has_remark = posting.code is not None or posting.text is not None
        remark = Remark(posting.code, posting.text) if has_remark else None
        expected = row_hash(bytes.fromhex(self._hash), *columns, remark).hex()
        if posting.hash != expected or posting.posting <= self._posting:
            raise FeedBroken(f"posting {posting.posting} does not follow posting {self._posting}")
        self._posting, self._hash = posting.posting, posting.hash
