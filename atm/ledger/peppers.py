"""The generations of the pepper, the secret that PINs are sealed with (atm/server/security/peppers.py).

A seal names its generation from 2 on: `2:` and 64 hexadecimal digits; one of the first has the digits alone,
as release 1.1 wrote them. Only seals of one generation can be compared. Which generation is current, so that
new PINs are sealed for it, is said by the log.
"""

from __future__ import annotations

from msgspec import Struct

FIRST_GENERATION = 1


class PepperState(Struct, frozen=True, gc=False):
    """The current pepper. The first one has no name in the ledger, and nothing older to be carried over.

    `log_index` is the entry that made it current, `carried_index` that since which the ledger holds nothing
    that is sealed for an older one; None while that is under way.
    """

    generation: int = FIRST_GENERATION
    name: str = ""
    log_index: int = 0
    carried_index: int | None = 0


def generation_of(seal: str) -> int:
    """Return the generation that a PIN, or a digest of one (requests.py), is sealed for."""
    number, colon, _ = seal.partition(":")
    return int(number) if colon else FIRST_GENERATION


def of_generation(generation: int, digits: str) -> str:
    """Return a seal, or a digest of one, that names its generation."""
    return digits if generation == FIRST_GENERATION else f"{generation}:{digits}"
