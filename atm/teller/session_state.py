"""What a session remembers: the last reference, hold and page, and names to complete."""

from __future__ import annotations

from atm.client import Receipt
from atm.client.pages import following
from atm.ledger.commands import Page
from atm.teller.report import DONE, USAGE, NotDone, Report


class SessionState:
    """What need not be typed again in a session."""

    def __init__(self, account: str) -> None:
        self.accounts = {account}  # that are known to exist
        self.references: list[str] = []
        self._last_hold: str | None = None
        self._next_page: Page | None = None

    def forget_requests(self) -> None:
        """Forget references, hold and page: they were the last person's. The names of accounts stay."""
        self.references.clear()
        self._last_hold = self._next_page = None

    def note_hold(self, reference: str) -> None:
        """Remember the last hold."""
        self._last_hold = reference

    def note_page(self, request: Page, found: Receipt) -> None:
        """Remember where the next page begins."""
        self._next_page = following(request, found)

    def learn(self, report: Report) -> None:
        """Remember the names of accounts that exist."""
        if report.code == DONE:
            target = report.details.get("target")
            self.accounts |= {name for name in (report.account, target) if isinstance(name, str)}

    def hold_or_refuse(self, command: str, named: str | None) -> str:
        """Return the hold that was named, or the last one; raise `NotDone`."""
        return _or_refuse(
            named or self._last_hold,
            command,
            f"No hold in this session: name one ({command} <reference>)",
        )

    def reference_or_refuse(self, named: str | None) -> str:
        """Return the reference that was named, or the last one; raise `NotDone`."""
        last = self.references[-1] if self.references else None
        return _or_refuse(named or last, "receipt", "There is no receipt yet: name one (receipt <reference>)")

    def next_page_or_refuse(self) -> Page:
        """Return the request for the page after the last one; raise `NotDone`."""
        if self._next_page is None:
            raise NotDone(_nothing("more", "Nothing more to list (for the first page, type: statement)"))
        return self._next_page


def _or_refuse(found: str | None, command: str, text: str) -> str:
    if found is None:
        raise NotDone(_nothing(command, text))
    return found


def _nothing(command: str, text: str) -> Report:
    return Report(command=command, outcome="invalid", code=USAGE, text=text)
