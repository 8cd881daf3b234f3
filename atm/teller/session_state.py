"""What a session remembers: the last reference, hold and page, and names to complete."""

from __future__ import annotations

import math
import time

from atm.client import Receipt
from atm.client.pages import following
from atm.ledger.commands import Approve, Command, Hold, Outcome, Page, Post, Reverse, Void
from atm.teller.commands import command_of
from atm.teller.report import DONE, USAGE, NotDone, Report

# After these, nothing can be done any more about what the request named.
_ENDED = {
    Outcome.OK,
    Outcome.HOLD_ALREADY_POSTED,
    Outcome.HOLD_ALREADY_VOIDED,
    Outcome.HOLD_NOT_FOUND,
    Outcome.ALREADY_REVERSED,
    Outcome.ALREADY_APPROVED,
    Outcome.APPROVAL_EXPIRED,
}


class SessionState:
    """What need not be typed again in a session."""

    def __init__(self, account: str) -> None:
        self.accounts = {account}  # that are known to exist
        self.references: list[str] = []
        self._reversible_until: dict[str, float] = {}  # in seconds since 1970
        self._holds: dict[str, None] = {}  # those of them that can be confirmed
        self._waiting: list[str] = []  # for an approval
        self._last_hold: str | None = None
        self._next_page: Page | None = None

    def forget_requests(self) -> None:
        """Forget references, hold and page: they were the last person's. The names of accounts stay."""
        self.references.clear()
        self._reversible_until.clear()
        self._holds.clear()
        self._waiting.clear()
        self._last_hold = self._next_page = None

    def references_for(self, command: str) -> list[str]:
        """Return what the command can be about, as far as is known here, the latest last."""
        now = time.time()
        match command:
            case "confirm":  # also after its end
                return list(self._holds)
            case "cancel" | "raise" | "reverse":
                found = self._reversible_until if command == "reverse" else self._holds
                return [reference for reference in found if self._reversible_until[reference] > now]
            case "approve":
                return self._waiting
            case _:
                return self.references

    def note_decision(self, command: Command, outcome: Outcome) -> None:
        """Remember what can be confirmed, cancelled, reversed and approved after a decision."""
        match command:
            case Post(final=False) if outcome is Outcome.OK:
                pass  # the rest stays held
            case Post() | Void() if outcome in _ENDED:
                self._end(command.hold)
            case Reverse() if outcome in _ENDED and (command.amount is None or outcome is not Outcome.OK):
                self._end(command.original)
            case Approve() if outcome in _ENDED and command.request in self._waiting:
                self._waiting.remove(command.request)
        if outcome is not Outcome.OK:
            return
        if isinstance(command, Hold):
            self._last_hold = command.id
            self._note_hold(command.id, time.time() + command.expires_ms / 1000)
        elif _can_be_reversed(command):
            self._reversible_until[command.id] = math.inf

    def note_page(self, request: Page, found: Receipt) -> None:
        """Remember where the next page begins, and which holds and requests for approval are on this one."""
        self._next_page = following(request, found)
        for hold in found.holds or ():
            self._note_hold(hold.request_id, hold.expires_us / 1_000_000)
        for row in found.approvals or ():
            if row.request_id not in self._waiting:
                self._waiting.append(row.request_id)

    def _note_hold(self, reference: str, until: float) -> None:
        self._holds[reference] = None
        self._reversible_until[reference] = until

    def _end(self, reference: str) -> None:
        self._holds.pop(reference, None)
        self._reversible_until.pop(reference, None)

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


def _can_be_reversed(command: Command) -> bool:
    row = command_of(command)
    return row is not None and row.moves_money and not isinstance(command, Reverse | Void)


def _or_refuse(found: str | None, command: str, text: str) -> str:
    if found is None:
        raise NotDone(_nothing(command, text))
    return found


def _nothing(command: str, text: str) -> Report:
    return Report(command=command, outcome="invalid", code=USAGE, text=text)
