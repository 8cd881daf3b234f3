"""What is attacked, and how an attack is counted."""

from __future__ import annotations

import warnings
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import HypothesisWarning
from hypothesis.strategies import SearchStrategy


class Target(AbstractContextManager["Target"], Protocol):
    """Something that takes inputs; open it as a context, within which it may keep processes and files."""

    name: str
    inputs: SearchStrategy[Any]

    def saved(self) -> list[Any]:
        """Return the inputs of the corpus."""

    def attempt(self, given: Any) -> str:
        """Try one input and say what became of it; raise AssertionError if that is not in order."""

    def finish(self) -> None:
        """Assert that nothing is left behind of all that was tried."""


def in_one_line(refusal: Exception) -> str:
    """Return the word for a refusal, after making sure that it is one line for people."""
    assert str(refusal).isprintable(), refusal
    assert len(str(refusal)) < 2000
    return "refused"


@dataclass
class Tally:
    """How many inputs a target was given, and what became of them."""

    target: str
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def inputs(self) -> int:
        return self.outcomes.total()

    def __str__(self) -> str:
        outcomes = ", ".join(f"{outcome} {count}" for outcome, count in self.outcomes.most_common())
        return f"{self.target}: {self.inputs} inputs: {outcomes}"


def attack(target: Target, inputs: int, from_seed: int) -> Tally:
    """Try the corpus and then about `inputs` new inputs; raise at the first that is not met in order."""
    tally = Tally(target.name)

    @seed(from_seed)
    @settings(
        max_examples=inputs,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(target.inputs)
    def attempt(made: Any) -> None:
        tally.outcomes[target.attempt(made)] += 1

    with target, warnings.catch_warnings():
        # Clients in other threads use `random` too, and the library takes that for a mistake of ours.
        warnings.simplefilter("ignore", HypothesisWarning)
        for saved in target.saved():
            tally.outcomes[target.attempt(saved)] += 1
        attempt()
        target.finish()
    return tally
