"""What a person is asked before a request is sent; where there is none, what is refused instead."""

from __future__ import annotations

from collections.abc import Callable

from atm.client import new_request_id
from atm.currencies import minor_units
from atm.ledger.commands import Command, Lookup, Outcome, Reverse
from atm.money import MINOR_PER_MAJOR, format_amount
from atm.teller import phrases
from atm.teller.report import DECLINED, USAGE, NotDone, command_name, undecided
from atm.teller.request_runner import RequestRunner

AskYes = Callable[[str], bool]  # shows a question, and returns whether a person has typed yes


class Confirmations:
    """Raises `NotDone` for a request that nobody means."""

    def __init__(
        self, runner: RequestRunner, confirm: AskYes | None, *, above: int | None, tombstones: bool
    ) -> None:
        """`confirm` asks a person, if there is one: about amounts above `above`, in minor units of
        the bank's first currency; in any other currency, above as many whole units.

        With `tombstones`, `reverse` may leave one without a question.
        """
        self._runner = runner
        self._confirm = confirm
        self._above = above
        self._tombstones = tombstones

    def confirm_or_refuse(self, command: Command) -> None:
        """Raise `NotDone` if the command is not meant."""
        if isinstance(command, Reverse) and not self._tombstones:
            self._refuse_tombstone(command)
        self._refuse_amount(command)

    def _refuse_amount(self, command: Command) -> None:
        amount, currency = getattr(command, "amount", None), getattr(command, "currency", None)
        if self._confirm is None or self._above is None or amount is None:
            return
        above = self._above * 10 ** minor_units(currency) // MINOR_PER_MAJOR
        if amount > above and not self._confirm(
            f"{command_name(command)} {format_amount(amount, currency, separated=True)}: more than "
            f"{format_amount(above, currency, separated=True)}. Type yes to go on: "
        ):
            text = "Not confirmed: nothing was done"
            raise NotDone(undecided(command, "not_confirmed", USAGE, text))

    def _refuse_tombstone(self, command: Reverse) -> None:
        """Look up the original: a mistyped reference must not be declined for ever.

        A reversal that was sent before is sent again, whatever the bank has made of it.
        """
        if self._runner.is_unsettled(command):
            return
        found = self._runner.ask(Lookup(id=new_request_id(), request_id=command.original))
        if found.outcome is not Outcome.ORIGINAL_NOT_FOUND or found.asked is not None:
            return
        if self._confirm is not None and self._confirm(phrases.ask_for_tombstone(command.original)):
            return
        text = phrases.unknown_original(command.original, was_asked=self._confirm is not None)
        raise NotDone(undecided(command, str(found.outcome), DECLINED, text))
