"""A feed of the journal: what to ask next, and that each posting follows the last. No I/O here."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from msgspec import Struct
from msgspec.structs import asdict

from atm.client.errors import FeedBroken, InvalidRequest
from atm.client.receipt import JournalPage, Receipt, new_request_id
from atm.client.request_rules import check_account
from atm.config import LANES_MAX
from atm.ledger.commands import LEGS_MAX, PAGE_LINES_MAX, JournalPosting, Watch
from atm.ledger.journal_hash import Remark, row_hash
from atm.ledger.lane_numbers import first_posting, lane_of_posting

POLL_S = 0.2  # between questions once there was nothing more to tell


class Posted(JournalPosting, frozen=True, kw_only=True):
    """A posting of a feed, and the id of the cluster whose journal it is in.

    Keep the last one that was dealt with, as `msgspec.json` or `msgspec.to_builtins` write it: the feed goes
    on `after` it. In a bank of several lanes `positions` are how far the feed is in each of their journals.
    """

    cluster: str
    positions: tuple[int, ...] = ()


class _Journal(Struct):
    """Where a feed is in the journal of one lane: behind this posting, which has this hash if it is known."""

    posting: int
    hash: str | None = None
    caught_up: bool = False  # whether the last answer had all there is


class Feed:
    """Where a feed is. Ask `request`, and give what comes of it to `take`.

    The lanes of a bank are asked in turn. It is not known how many there are before the first answer.
    """

    def __init__(self, from_index: int, accounts: Collection[str] | None, after: Posted | None) -> None:
        """Begin at a log entry, or behind a posting; of all accounts, or of some (an `InvalidAccount`).

        Of other lanes than that entry's, all postings are told.
        """
        if type(from_index) is not int or from_index < 0:
            raise InvalidRequest("A feed begins at a log index of 0 or more")
        if lane_of_posting(from_index * LEGS_MAX) >= LANES_MAX:
            raise InvalidRequest(f"No bank has a log entry {from_index}")
        for account in accounts or ():
            check_account(account)
        self._accounts = None if accounts is None else frozenset(accounts)
        self._cluster = None if after is None else after.cluster
        begin = _Journal(max(0, from_index * LEGS_MAX - 1))
        if after is not None:
            begin = _Journal(after.posting, after.hash)
        self._lane = lane_of_posting(begin.posting)
        positions = () if after is None else after.positions
        found = [positions[lane] if positions else first_posting(lane) for lane in range(self._lane)]
        self._journals = [*map(_Journal, found), begin, *map(_Journal, positions[self._lane + 1 :])]

    @property
    def caught_up(self) -> bool:
        """Whether the last answers had all there is."""
        return all(journal.caught_up for journal in self._journals)

    def request(self) -> Watch:
        """Return the next request."""
        if self.caught_up:
            for journal in self._journals:
                journal.caught_up = False
        return Watch(id=new_request_id(), after=self._journals[self._lane].posting)

    def take(self, found: Receipt) -> Iterator[Posted]:
        """Yield the postings of an answer that are asked for; raise `Refused` or `FeedBroken`.

        The hashes prove that none is missing, and that each is as it was when the next one was made.
        """
        page = found.check()
        assert isinstance(page, JournalPage)
        if self._cluster not in (None, page.cluster):
            raise FeedBroken(f"it is that of cluster {page.cluster}, and not of {self._cluster} any more")
        self._follow(page.lanes or 1)
        journal = self._journals[self._lane]
        if journal.hash not in (None, page.hash):
            raise FeedBroken(f"up to posting {journal.posting} its journal is not the one that was read")
        self._cluster, journal.hash = page.cluster, page.hash
        journal.caught_up = len(page.postings) < PAGE_LINES_MAX and page.next is None
        self._lane = (self._lane + 1) % len(self._journals)
        for posting in page.postings:
            _note(journal, posting)
            if self._accounts is None or self._accounts & {posting.debit_account, posting.credit_account}:
                yield Posted(**asdict(posting), cluster=page.cluster, positions=self._positions())

    def _follow(self, lanes: int) -> None:
        """Follow all lanes of the bank from now on; raise `FeedBroken` if it has fewer than are known."""
        known = len(self._journals)
        if known > lanes:
            raise FeedBroken(f"it is that of a bank of {lanes} lanes, and not of {known}")
        self._journals += [_Journal(first_posting(lane)) for lane in range(known, lanes)]

    def _positions(self) -> tuple[int, ...]:
        if len(self._journals) == 1:
            return ()
        return tuple(journal.posting for journal in self._journals)


def _note(journal: _Journal, posting: JournalPosting) -> None:
    """Go on behind a posting; raise `FeedBroken` if it does not follow the one before."""
    assert journal.hash is not None
    columns = (
        posting.posting - first_posting(lane_of_posting(journal.posting)),
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
    expected = row_hash(bytes.fromhex(journal.hash), *columns, remark).hex()
    if posting.hash != expected or posting.posting <= journal.posting:
        raise FeedBroken(f"posting {posting.posting} does not follow posting {journal.posting}")
    journal.posting, journal.hash = posting.posting, posting.hash
