"""A gallery of planted defects: one wrong line each, the seed that shows it, and a question.

The defects are those of `tests/mutants`. Each seed was found by running the simulation with the defect, and
`tests/lessons/test_defects.py` runs it again: the checks must stop it at the same promise.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from tests.mutants.mutant import Mutant, sources_in


class Defect(Struct, frozen=True):
    """A mutant by its name in the catalogue; of `rules`, the one at `answer` is broken.

    `promise` is what the checks report, as `Verdict.promise` has it.
    """

    name: str
    title: str
    seed: int
    promise: str
    rules: tuple[str, str, str, str]
    answer: int


ROOT = Path(__file__).resolve().parent.parent

VOTE_ONCE = "A server votes at most once per term, and remembers its vote after a crash"
NEWER_LOG = "A server votes only for a candidate whose log is at least as new as its own"
MAJORITY = "A leader needs the votes of a majority"
COMMIT_MAJORITY = "An entry is committed only once a majority has saved it"
PREVIOUS = "A follower appends only behind an entry of the same index and term as the leader's"
CONFLICT = "A follower removes only entries that conflict with the leader's, and all of those"
SYNC = "What a server promises is on its disk before the promise leaves"
ONCE = "A server votes at most once per term, and remembers its vote after a crash"
NEWER_LOG = "A server votes only for a candidate whose log is at least as new as its own"
MAJORITY = "A leader needs the votes of a majority"
COMMIT_MAJORITY = "An entry is committed only once a majority has saved it"
PREVIOUS = "A follower appends only behind an entry of the same index and term as the leader's"
CONFLICT = "A follower removes only entries that conflict with the leader's, and all of those"
SYNC = "What a server promises is on its disk before the promise leaves"
READ = "A read is answered only by a server that still leads, from a ledger that is up to date"
ONCE = "A request that is repeated under its id moves the money once"
FUNDS = "No account pays out more than it has"
HELD = "Money that is held for one payment leaves through no other"
ATOMIC = "What was applied and how far are written in one transaction"
DOUBLE = "Every amount that one account receives, another one gives"
COMMITTED_ONLY = "Only committed entries reach the ledger"

DEFECTS = (
    Defect(
        name="vote twice in a term",
        title="elections",
        seed=1,
        promise="InvariantBroken",
        rules=(VOTE_ONCE, NEWER_LOG, MAJORITY, SYNC),
        answer=0,
    ),
    Defect(
        name="repeated request applied again",
        title="the bank",
        seed=1,
        promise="the ledger follows from the log alone",
        rules=(FUNDS, DOUBLE, ONCE, HELD),
        answer=2,
    ),
    Defect(
        name="commit with two of five",
        title="replication",
        seed=1,
        promise="a committed entry is durable on a majority",
        rules=(PREVIOUS, COMMIT_MAJORITY, CONFLICT, SYNC),
        answer=1,
    ),
    Defect(
        name="logs not compared in votes",
        title="elections",
        seed=6,
        promise="leader completeness",
        rules=(VOTE_ONCE, MAJORITY, COMMIT_MAJORITY, NEWER_LOG),
        answer=3,
    ),
    Defect(
        name="applied index outside the transaction",
        title="the disk",
        seed=148,
        promise="the rows of balance follow from the log",
        rules=(ATOMIC, ONCE, COMMITTED_ONLY, SYNC),
        answer=0,
    ),
    Defect(
        name="prev_log_term not compared",
        title="replication",
        seed=2,
        promise="what is acknowledged is durable and the leader's",
        rules=(SYNC, CONFLICT, PREVIOUS, COMMIT_MAJORITY),
        answer=2,
    ),
    Defect(
        name="hold not subtracted from what is available",
        title="the bank",
        seed=3,
        promise="the ledger follows from the log alone",
        rules=(FUNDS, HELD, ONCE, DOUBLE),
        answer=1,
    ),
    Defect(
        name="vote forgotten by a restart",
        title="elections",
        seed=1,
        promise="a vote is kept in its term",
        rules=(NEWER_LOG, SYNC, MAJORITY, VOTE_ONCE),
        answer=3,
    ),
    Defect(
        name="elect with two of five",
        title="elections",
        seed=2,
        promise="a leader is elected by a majority",
        rules=(MAJORITY, VOTE_ONCE, NEWER_LOG, COMMIT_MAJORITY),
        answer=0,
    ),
    Defect(
        name="never truncated",
        title="replication",
        seed=3,
        promise="InvariantBroken",
        rules=(PREVIOUS, SYNC, CONFLICT, COMMIT_MAJORITY),
        answer=2,
    ),
    Defect(
        name="promises among the messages that go at once",
        title="the disk",
        seed=1,
        promise="what is acknowledged is durable and the leader's",
        rules=(COMMIT_MAJORITY, SYNC, PREVIOUS, ATOMIC),
        answer=1,
    ),
    Defect(
        name="everything saved is applied at a restart",
        title="the disk",
        seed=1,
        promise="only committed entries are applied",
        rules=(SYNC, ATOMIC, ONCE, COMMITTED_ONLY),
        answer=3,
    ),
)


def defect_named(name: str) -> Defect:
    (defect,) = [defect for defect in DEFECTS if defect.name == name]
    return defect


def mutant_of(name: str) -> Mutant:
    from tests.mutants.catalogue import MUTANTS  # noqa: PLC0415 - its hundreds of modules' parts load slowly

    (mutant,) = [mutant for mutant in MUTANTS if mutant.name == name]
    return mutant


def planted(name: str, originals: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """Return the files that get the defect, with it, and the change as the lines of a diff.

    `originals` are files whose contents on the disk have another defect now.
    """
    sources = {**sources_in(ROOT), **{n: text for n, text in originals.items() if n.startswith("atm/")}}
    files = mutant_of(name).applied_to(sources)
    lines: list[str] = []
    for file, text in files.items():
        before, after = sources[file].splitlines(), text.splitlines()
        lines += list(difflib.unified_diff(before, after, file, file, lineterm="", n=2))[2:]
        lines.insert(len(lines) and 0, f"  {file}")
    return files, "\n".join(lines)
