"""Sends requests to the bank, one at a time, and settles those whose answer never came.

A request without an answer is looked up first. If the bank knows nothing of it, it is resent under its id, so
it is done once. One that is older than `RESEND_S_MAX` is cancelled then: whoever asked has left, and should
not find it done a month later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from atm.client import Client, Receipt, new_request_id
from atm.client.errors import Interrupted, NotAllowed, OutcomeUnknown, Rejected, Unavailable
from atm.command_line import printable
from atm.ledger.commands import (
    Command,
    Holds,
    Login,
    Lookup,
    Outcome,
    Query,
    Read,
    Reverse,
    SetPin,
    Statement,
    Withdrawal,
)
from atm.teller import phrases, sentences
from atm.teller.output import Output
from atm.teller.report import (
    INTERRUPTED,
    NOT_ALLOWED,
    NOT_AVAILABLE,
    UNKNOWN,
    USAGE,
    NotDone,
    Report,
    undecided,
)
from atm.teller.request_journal import RequestJournal, UnansweredRequest

RESEND_S_MAX = 86_400.0
TOMBSTONE = "tombstone"  # what the bank calls a request that was reversed before it arrived


class Settled(Struct, frozen=True):
    """A request whose answer had not come, and what became of it, in a line for people."""

    request_id: str
    outcome: str
    line: str


class _Unsettled(Struct, frozen=True):
    """A command whose outcome is unknown, with its place in the journal, if it has one.

    It was first sent at `since_s`, in seconds since 1970 by this machine's clock.
    """

    command: Command
    unanswered: UnansweredRequest | None
    from_last_time: bool
    since_s: float

    def forget(self) -> None:
        """Take it out of the journal: its outcome was shown."""
        if self.unanswered is not None:
            self.unanswered.settle()


class RequestRunner:
    """Sends one request at a time; an unknown outcome of a change is settled before anything else is sent.

    Commands come without their PIN, which `pin_of` adds when they are sent: neither the journal nor the list
    of unsettled commands ever holds one. A command that is resent without its PIN is not done, unless it was
    done the first time.
    """

    def __init__(
        self,
        client: Client,
        journal: RequestJournal | None,
        output: Output,
        pin_of: Callable[[str], str | None],
    ) -> None:
        self._client = client
        self._journal = journal
        self._output = output
        self._pin_of = pin_of
        self._unsettled = self._leftovers()
        self.currencies: dict[str, str | None] = {}  # of accounts, as far as answers named them
        self.interrupted = False  # by Ctrl-C, since the session last set it to False

    def ask(self, request: Read | Login | SetPin) -> Receipt:
        """Settle what is unsettled, then send a request that is not journalled; raise `NotDone`.

        Reads need no journal, and what holds a PIN must not be in it. If an outcome stays unknown, the
        request is not sent.
        """
        self._settle_before(request)
        found = self._ask_once(request)
        if isinstance(request, Query | Statement | Holds) and found.outcome is Outcome.OK:
            self.currencies[request.account] = found.currency
        return found

    def is_unsettled(self, command: Command) -> bool:
        """Whether this very request was sent before, and its outcome is unknown."""
        return any(unsettled.command == command for unsettled in self._unsettled)

    def change(self, command: Command, tell: Callable[[Receipt], int]) -> int:
        """Store the command in the journal, send it, `tell` the answer, and only then remove it there.

        Return what `tell` returns; raise `NotDone`. A request that is unsettled itself is settled by that.
        """
        assert not isinstance(command, Login | SetPin)
        again = self._take_unsettled(command)
        self._settle_before(command)
        unanswered = self._store(command) if again is None else again.unanswered
        try:
            receipt = self._ask_once(command)
            code = tell(receipt)
        except NotDone as fault:
            if fault.report.code == UNKNOWN:
                self._unsettled.append(_Unsettled(command, unanswered, False, time.time()))
            elif unanswered is not None:
                unanswered.settle()
            raise
        except (KeyboardInterrupt, OSError):  # its outcome was not shown
            self._unsettled.append(_Unsettled(command, unanswered, False, time.time()))
            raise
        if unanswered is not None:
            unanswered.settle()
        return code

    def settle(self, tell: Callable[[Sequence[Settled], str | None], int]) -> int:
        """Settle what is unsettled, `tell` it, and only then take it out of the journal.

        `tell` also gets a line about the first one that stays unknown, if one does. Return what it returns.
        """
        settled: list[Settled] = []
        unknown = None
        for unsettled in self._unsettled:
            became = self._settled(unsettled)
            if became is None:
                unknown = self._unknown_line(unsettled)
                break
            settled.append(became)
        code = tell(settled, unknown)
        for unsettled in self._unsettled[: len(settled)]:
            unsettled.forget()
        del self._unsettled[: len(settled)]
        return code

    @property
    def in_doubt(self) -> bool:
        """Whether the outcome of a request of this session is unknown, or could not be shown."""
        return any(not unsettled.from_last_time for unsettled in self._unsettled)

    def _send(self, request: Command | Read) -> Receipt:
        with self._output.waiting():
            return self._client.ask(request)

    def _settle_before(self, request: Command | Read) -> None:
        """Settle what is unsettled, and say so; raise `NotDone` if an outcome stays unknown."""
        while self._unsettled:
            unsettled = self._unsettled[0]
            became = self._settled(unsettled)
            if became is None:
                self._output.say(self._unknown_line(unsettled))
                raise NotDone(self._not_sent(request))
            self._output.say(became.line)
            unsettled.forget()
            del self._unsettled[0]

    def _ask_once(self, request: Command | Read) -> Receipt:
        try:
            return self._send(self._with_pin(request))
        except NotAllowed as error:
            raise NotDone(undecided(request, "not_allowed", NOT_ALLOWED, printable(str(error)))) from None
        except Unavailable as error:
            raise NotDone(undecided(request, "unavailable", NOT_AVAILABLE, str(error))) from None
        except Rejected as error:
            raise NotDone(undecided(request, "bad_request", USAGE, printable(str(error)))) from None
        except OutcomeUnknown:
            raise NotDone(self._unknown(request)) from None
        except Interrupted as interrupt:
            self.interrupted = True
            report = self._unknown(request) if interrupt.may_be_done else self._not_sent(request)
            raise NotDone(report) from None

    def _with_pin(self, request: Command | Read) -> Command | Read:
        if isinstance(request, Withdrawal):
            return replace(request, pin=self._pin_of(request.account))
        return request

    def _not_sent(self, request: Command | Read) -> Report:
        if self.interrupted:
            text = "Interrupted: this command was not carried out"
            return undecided(request, "interrupted", INTERRUPTED, text)
        return undecided(request, "unavailable", NOT_AVAILABLE, str(Unavailable()))

    def _unknown(self, request: Command | Read) -> Report:
        match request:
            case Login():
                text = "No answer came, and the PIN may have counted as a try: log in again"
            case SetPin():
                text = "No answer came, and the PIN may or may not be the new one: try to log in with either"
            case _:
                text = phrases.still_unknown(request.id, journalled=self._journal is not None)
        return undecided(request, "unknown", UNKNOWN, text)

    # -- unsettled requests ------------------------------------------------------------------------

    def _store(self, command: Command) -> UnansweredRequest | None:
        if self._journal is None:
            return None
        try:
            return self._journal.write(command)
        except OSError as error:
            self._give_up_journal(error)
            return None

    def _leftovers(self) -> list[_Unsettled]:
        if self._journal is None:
            return []
        try:
            unanswered_requests = self._journal.leftovers(self._output.warn)
        except OSError as error:
            self._give_up_journal(error)
            return []
        return [
            _Unsettled(unanswered.command, unanswered, True, unanswered.stored_s)
            for unanswered in unanswered_requests
        ]

    def _give_up_journal(self, error: OSError) -> None:
        self._journal = None
        self._output.warn(no_journal(error))

    def _take_unsettled(self, command: Command) -> _Unsettled | None:
        """Take the same request, if it is unsettled, out of the list of those."""
        for unsettled in self._unsettled:
            if unsettled.command == command:
                self._unsettled.remove(unsettled)
                return unsettled
        return None

    def _settled(self, unsettled: _Unsettled) -> Settled | None:
        """Return what became of the request, or None if that is still unknown."""
        command = unsettled.command
        try:
            found = self._look_up(command)
            is_late = time.time() - unsettled.since_s > RESEND_S_MAX
            if is_late and found.asked is None:
                return self._cancelled(unsettled)
            return self._settled_as(found, unsettled, is_late=is_late)
        except Rejected as error:
            reason = printable(str(error))
            line = f"{OutcomeUnknown(command.id)}, and it will not be asked again: {reason}"
            return Settled(command.id, "bad_request", line)
        except (NotAllowed, Unavailable, OutcomeUnknown):
            return None
        except Interrupted:
            self.interrupted = True
            return None

    def _look_up(self, command: Command) -> Receipt:
        return self._send(Lookup(id=new_request_id(), request_id=command.id))

    def _cancelled(self, unsettled: _Unsettled) -> Settled:
        """Cancel for ever what the bank knew nothing of when it was looked up.

        It may arrive between the two questions: then it is reversed.
        """
        cancelled = self._send(Reverse(id=new_request_id(), original=unsettled.command.id))
        found = self._look_up(unsettled.command)
        if found.asked is None:  # such as not allowed: nobody but this teller would send it
            return self._settled_by(cancelled, unsettled)
        return self._settled_as(found, unsettled, is_late=True)

    def _settled_as(self, found: Receipt, unsettled: _Unsettled, *, is_late: bool) -> Settled:
        """Return what became of a request that was looked up; the answer to itself comes by asking again."""
        command = unsettled.command
        if is_late and found.asked is not None and found.asked.op == TOMBSTONE:
            return Settled(command.id, "cancelled", sentences.cancelled(command))
        if found.reversed_by is not None:
            return Settled(command.id, "reversed", sentences.reversed_since(command, found.reversed_by))
        return self._settled_by(self._send(self._with_pin(command)), unsettled)

    def _settled_by(self, receipt: Receipt, unsettled: _Unsettled) -> Settled:
        line = sentences.settled(unsettled.command, receipt.outcome, from_last_time=unsettled.from_last_time)
        return Settled(unsettled.command.id, str(receipt.outcome), line)

    def _unknown_line(self, unsettled: _Unsettled) -> str:
        return phrases.still_unknown(unsettled.command.id, journalled=unsettled.unanswered is not None)


def no_journal(error: OSError) -> str:
    """Return that the journal cannot be used, and what follows."""
    return f"Requests cannot be stored ({error}): those without an answer are forgotten when the teller ends"
