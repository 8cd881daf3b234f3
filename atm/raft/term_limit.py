"""A rate limit on the term: forged messages must not use up the range of terms.

A term never goes back: a server that has saved term 2^62 can never campaign again. So messages may raise the
term by a budget. The budget is `TERM_JUMP_MAX` at first, more elections than a cluster has in its life, and
refills by `TERM_RISE_PER_TICK`. A peer that raises the term without a pause for a year uses up a hundredth of
the range.

While a server refuses a higher term, its budget grows above `TERM_JUMP_MAX`. So the servers agree on a term
again: if a faulty peer raised the term of one server for an hour, as fast as the limit allows, the others
adopt that term after at most about an hour.
"""

from __future__ import annotations

from msgspec import Struct

from atm.raft.messages import NUMBER_MAX

TERM_JUMP_MAX = 2**32
TERM_RISE_PER_TICK = 2**24  # at 10 ms a tick, the range lasts for 87 years of attack without a pause
TERM_MAX = NUMBER_MAX - 2**32  # no message raises the term above this, so a server can still campaign
REFUSAL_TICKS = 100  # a refused peer that is up sends its term again within this time

assert 0 < TERM_RISE_PER_TICK < TERM_JUMP_MAX < TERM_MAX < NUMBER_MAX


class TermRateLimit(Struct):
    """`budget` is by how much messages may raise the term now."""

    budget: int = TERM_JUMP_MAX
    refusal_ticks: int = 0  # until the last refusal no longer counts

    def allows(self, term: int, rise: int) -> bool:
        """Return whether a message may raise our term by `rise`, to `term`."""
        return rise <= self.budget and term <= TERM_MAX

    def consume(self, rise: int) -> None:
        """Take `rise`, by which the term was raised, from the budget."""
        self.budget -= rise

    def note_refusal(self) -> None:
        """Let the budget grow for a while: a higher term was refused."""
        self.refusal_ticks = REFUSAL_TICKS

    def tick(self) -> None:
        """Refill the budget."""
        if self.refusal_ticks:
            self.refusal_ticks -= 1
            self.budget += TERM_RISE_PER_TICK
        else:
            self.budget = min(self.budget + TERM_RISE_PER_TICK, TERM_JUMP_MAX)
