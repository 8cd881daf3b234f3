"""Sends requests to the bank, one at a time, and resends those whose answer never came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from atm.client import Client, Receipt
from atm.client.errors import Interrupted, NotAllowed, OutcomeUnknown, Rejected, Unavailable
from atm.command_line import printable
from atm.ledger.commands import Command, Login, Read, SetPin, Withdrawal
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


@dataclass(frozen=True)
class _Unsettled:
    """A command whose outcome is unknown, with its place in the journal, if it has one."""

    command: Command
    unanswered: UnansweredRequest | None
    from_last_time: bool


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
        self.interrupted = False  # by Ctrl-C, since the session last set it to False

    def ask(self, request: Read | Login | SetPin) -> Receipt:
        """Settle what is unsettled, then send a request that is not journalled; raise `NotDone`.

        Reads need no journal, and what holds a PIN must not be in it. If an outcome stays unknown, the
        request is not sent.
        """
        self._settle_before(request)
        return self._ask_once(request)

    def change(self, command: Command, tell: Callable[[Receipt], int]) -> int:
        """Store the command in the journal, send it, `tell` the answer, and only then remove it there.

        Return what `tell` returns; raise `NotDone`.
        """
        assert not isinstance(command, Login | SetPin)
        self._settle_before(command)
        unanswered = self._store(command)
        try:
            receipt = self._ask_once(command)
        except NotDone as fault:
            if fault.report.code == UNKNOWN:
                self._unsettled.append(_Unsettled(command, unanswered, from_last_time=False))
            elif unanswered is not None:
                unanswered.settle()
            raise
        code = tell(receipt)
        if unanswered is not None:
            unanswered.settle()
        return code

    def _settle_before(self, request: Command | Read) -> None:
        if not self._settle():
            raise NotDone(self._not_sent(request))

    def _ask_once(self, request: Command | Read) -> Receipt:
        try:
            return self._client.ask(self._with_pin(request))
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
            _Unsettled(unanswered.command, unanswered, from_last_time=True)
            for unanswered in unanswered_requests
        ]

    def _give_up_journal(self, error: OSError) -> None:
        self._journal = None
        self._output.warn(no_journal(error))

    def _settle(self) -> bool:
        """Resend each request whose outcome is unknown; return whether all were settled."""
        while self._unsettled:
            unsettled = self._unsettled[0]
            line = self._settled(unsettled)
            if line is None:
                return False
            self._output.say(line)
            if unsettled.unanswered is not None:
                unsettled.unanswered.settle()
            del self._unsettled[0]
        return True

    def _settled(self, unsettled: _Unsettled) -> str | None:
        """Return the line with the outcome of the request, or None if it is still unknown."""
        command = unsettled.command
        try:
            receipt = self._client.ask(self._with_pin(command))
        except Rejected as error:
            reason = printable(str(error))
            return f"{OutcomeUnknown(command.id)}, and it will not be asked again: {reason}"
        except (NotAllowed, Unavailable, OutcomeUnknown):
            pass
        except Interrupted:
            self.interrupted = True
        else:
            return sentences.settled(command, receipt.outcome, from_last_time=unsettled.from_last_time)
        journalled = unsettled.unanswered is not None
        self._output.say(phrases.still_unknown(command.id, journalled=journalled))
        return None


def no_journal(error: OSError) -> str:
    """Return that the journal cannot be used, and what follows."""
    return f"Requests cannot be stored ({error}): those without an answer are forgotten when the teller ends"
