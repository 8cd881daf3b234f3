"""The teller at work: one command after another, and the requests whose answer never came."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TextIO, assert_never

from atm.client import Client, new_request_id
from atm.client.errors import Interrupted, OutcomeUnknown, Rejected, Unavailable
from atm.ledger.commands import Command, Credit, Debit, Open, Query
from atm.money import format_amount
from atm.teller import report as reports
from atm.teller.language import (
    AVAILABLE,
    Help,
    InvalidCommand,
    Quit,
    ShowStatus,
    UseAccount,
    Wish,
    help_text,
    parse,
)
from atm.teller.pending import Journal, Slip
from atm.teller.report import DONE, INTERRUPTED, NOT_AVAILABLE, UNKNOWN, USAGE, Report, printable

WELCOME = "Welcome to your ATM! You can check your balance, credit to or debit from your account"
COMMAND_CHARS_SHOWN = 100


class Voice:
    """Says things: results to stdout, at once; what lies between them to `asides`, warnings to stderr."""

    def __init__(self, *, as_json: bool, asides: TextIO | None) -> None:
        self._as_json = as_json
        self._asides = asides
        self._retrying: set[str] = set()

    def report(self, report: Report) -> None:
        """Say what became of a command."""
        print(report.as_json() if self._as_json else report.text, flush=True)

    def say(self, line: str) -> None:
        """Say a line that is no command's result."""
        print(line, file=self._asides, flush=True)

    def retrying(self, request_id: str) -> None:
        """Say, once, that a request's outcome is unknown so far."""
        if request_id not in self._retrying:
            self._retrying.add(request_id)
            self.say(f"{OutcomeUnknown(request_id)}: retrying")

    def warn(self, line: str) -> None:
        """Say what went wrong on this side."""
        print(printable(line), file=sys.stderr, flush=True)


@dataclass(frozen=True)
class _Unsettled:
    """A command whose outcome is unknown, with its place in the journal, if it has one."""

    command: Command
    slip: Slip | None
    from_last_time: bool


class Teller:
    """Carries out what people type, about one account at a time."""

    def __init__(self, client: Client, journal: Journal | None, account: str, voice: Voice) -> None:
        self._client = client
        self._journal = journal
        self._account = account
        self._voice = voice
        self._unsettled = self._leftovers()
        self._interrupted = False  # by Ctrl-C, during the last command

    def greet(self) -> None:
        """Say the three lines with which a session begins."""
        self._voice.say(WELCOME)
        report = self._ask(self._query())
        if report.code == DONE and report.balance is not None:
            self._voice.say(f"Your starting balance is {format_amount(report.balance)}")
        else:
            self._voice.say(report.text)
        self._voice.say(AVAILABLE)

    def serve(self, lines: Iterable[str], *, interactive: bool) -> int:
        """Carry out each line until one says to leave; return the exit code.

        Ctrl-C during a command ends a session only if nobody sits at it.
        """
        for line in lines:
            self._interrupted = False
            try:
                if self.obey(line) is None:
                    break
            except KeyboardInterrupt:
                self._interrupted = True
            if self._interrupted and not interactive:
                return INTERRUPTED
        return DONE

    def run(self, commands: Iterable[str]) -> int:
        """Carry out the commands up to the first that is not done; return its exit code, or 0."""
        for command in commands:
            code = self.obey(command)
            if code is None:
                break
            if code != DONE:
                return code
        return DONE

    def obey(self, line: str) -> int | None:
        """Carry out one line and say what came of it; return its exit code, or None to leave."""
        try:
            wish = parse(line, account=self._account, request_id=new_request_id())
        except InvalidCommand as error:
            command = line.strip()[:COMMAND_CHARS_SHOWN]
            return self._tell(Report(command=command, outcome="invalid", code=USAGE, text=str(error)))
        return DONE if wish is None else self._fulfil(wish)

    # -- one command -------------------------------------------------------------------------------

    def _fulfil(self, wish: Wish) -> int | None:
        match wish:
            case Open() | Credit() | Debit():
                return self._change(wish)
            case Query():
                return self._tell(self._ask(wish))
            case UseAccount():
                return self._tell(self._use(wish.account))
            case ShowStatus():
                return self._tell(reports.status(self._client.status()))
            case Help():
                text = help_text(wish.topic)
                return self._tell(Report(command="help", outcome="ok", code=DONE, text=text))
            case Quit():
                return None
            case _:
                assert_never(wish)

    def _tell(self, report: Report) -> int:
        self._voice.report(report)
        return report.code

    def _change(self, command: Command) -> int:
        """Note the command in the journal, send it, tell the answer, and only then forget the note."""
        if not self._settle():
            return self._tell(self._not_sent(command))
        slip = self._note(command)
        report = self._ask_once(command)
        self._tell(report)
        if report.code == UNKNOWN:
            self._unsettled.append(_Unsettled(command, slip, from_last_time=False))
        elif slip is not None:
            slip.settle()
        return report.code

    def _use(self, account: str) -> Report:
        report = self._ask(Query(id=new_request_id(), account=account))
        if report.code != DONE or report.balance is None:
            return replace(report, command="account")
        self._account = account
        text = f"Your account is now {account}, and its balance is: {format_amount(report.balance)}"
        return replace(report, command="account", text=text)

    def _query(self) -> Query:
        return Query(id=new_request_id(), account=self._account)

    def _ask(self, request: Command | Query) -> Report:
        """Settle what is unsettled, then ask; where the first gets no answer, the second is not sent."""
        return self._ask_once(request) if self._settle() else self._not_sent(request)

    def _ask_once(self, request: Command | Query) -> Report:
        try:
            return reports.decided(request, self._client.ask(request))
        except Unavailable as error:
            return reports.undecided(request, "unavailable", NOT_AVAILABLE, str(error))
        except Rejected as error:
            return reports.undecided(request, "bad_request", USAGE, printable(str(error)))
        except OutcomeUnknown:
            return self._unknown(request)
        except Interrupted as interrupt:
            self._interrupted = True
            return self._unknown(request) if interrupt.may_be_done else self._not_sent(request)

    def _not_sent(self, request: Command | Query) -> Report:
        if self._interrupted:
            text = "Interrupted: nothing was changed"
            return reports.undecided(request, "interrupted", INTERRUPTED, text)
        return reports.undecided(request, "unavailable", NOT_AVAILABLE, str(Unavailable()))

    def _unknown(self, request: Command | Query) -> Report:
        text = reports.still_unknown(request.id, journalled=self._journal is not None)
        return reports.undecided(request, "unknown", UNKNOWN, text)

    # -- requests without an answer ----------------------------------------------------------------

    def _note(self, command: Command) -> Slip | None:
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
            slips = self._journal.leftovers(self._voice.warn)
        except OSError as error:
            self._give_up_journal(error)
            return []
        return [_Unsettled(slip.command, slip, from_last_time=True) for slip in slips]

    def _give_up_journal(self, error: OSError) -> None:
        self._journal = None
        self._voice.warn(no_journal(error))

    def _settle(self) -> bool:
        """Ask again for each request whose outcome is unknown; return whether all were settled."""
        while self._unsettled:
            unsettled = self._unsettled[0]
            line = self._settled(unsettled)
            if line is None:
                return False
            self._voice.say(line)
            if unsettled.slip is not None:
                unsettled.slip.settle()
            del self._unsettled[0]
        return True

    def _settled(self, unsettled: _Unsettled) -> str | None:
        """Return what became of the request, or None if that is still unknown."""
        command = unsettled.command
        try:
            receipt = self._client.ask(command)
        except Rejected as error:
            reason = printable(str(error))
            return f"{OutcomeUnknown(command.id)}, and it will not be asked again: {reason}"
        except (Unavailable, OutcomeUnknown):
            pass
        except Interrupted:
            self._interrupted = True
        else:
            return reports.settled(command, receipt, from_last_time=unsettled.from_last_time)
        journalled = unsettled.slip is not None
        self._voice.say(reports.still_unknown(command.id, journalled=journalled))
        return None


def no_journal(error: OSError) -> str:
    """Tell that the journal cannot be used, and what follows."""
    return f"Requests cannot be noted ({error}): one without an answer is forgotten when the teller ends"
