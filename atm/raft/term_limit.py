"""How far a message may raise the term: one frame, or a flood of them, must not use up the number.

A term is a promise for good: whoever has saved one of 2^62 can never campaign for the next. So a message may
raise the term by `TERM_JUMP_MAX` at once, which is more elections than a cluster has in its life, and after
that only as fast as the room fills up again. Whatever somebody sends without a pause, for a year, uses up
a hundredth of the number.

The room of a server that keeps refusing a higher term grows on above `TERM_JUMP_MAX`. So all servers come
together again: one that was alone with a liar for an hour, and was raised by him as fast as that goes, is
followed by the others in about an hour at most.
"""

from __future__ import annotations

from msgspec import Struct

from atm.raft.messages import NUMBER_MAX

TERM_JUMP_MAX = 2**32
TERM_RISE_PER_TICK = 2**24  # at 10 ms a tick, the number lasts for 87 years of unbroken attack
TERM_MAX = NUMBER_MAX - 2**32  # no message raises the term above: there is room to campaign
REFUSAL_TICKS = 100  # a refused server that is there at all says its term again within this time

assert 0 < TERM_RISE_PER_TICK < TERM_JUMP_MAX < TERM_MAX < NUMBER_MAX


class TermRateLimit(Struct):
    """By how much a message may raise the term now."""

    budget: int = TERM_JUMP_MAX
    refusal_ticks: int = 0  # until a refused rise is forgotten

    def allows(self, term: int, rise: int) -> bool:
        """Return whether a message of `term`, which is `rise` above ours, may be believed."""
        return rise <= self.budget and term <= TERM_MAX

    def consume(self, rise: int) -> None:
        """The term has been raised."""
        self.budget -= rise

    def note_refusal(self) -> None:
        """A higher term was refused: let the room grow."""
        self.refusal_ticks = REFUSAL_TICKS

    def tick(self) -> None:
        """One tick of time has passed."""
        if self.refusal_ticks:
            self.refusal_ticks -= 1
            self.budget += TERM_RISE_PER_TICK
        else:
            self.budget = min(self.budget + TERM_RISE_PER_TICK, TERM_JUMP_MAX)
