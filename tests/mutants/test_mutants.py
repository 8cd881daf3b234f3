"""The planted defects themselves: `python -m tests.mutants` tries all of them, and a test run only some."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.mutants.catalogue import MUTANTS, NEARLY_INVISIBLE
from tests.mutants.edit import Edit
from tests.mutants.mutant import ROOT, Mutant, sources_in
from tests.mutants.pattern import NotPlanted
from tests.mutants.trial import Verdict, try_mutant, try_nothing

NO_SEEDS = range(0)
NAMED = {mutant.name: mutant for mutant in MUTANTS}
SOURCES = sources_in(ROOT)
TRIED = ("acknowledgements of old terms counted", "answer before the sync", "declines not stored")


def attempt(mutant: Mutant) -> Verdict:
    return try_mutant(mutant, NO_SEEDS, always_seeds=False)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_still_applies_to_the_sources(mutant: Mutant) -> None:
    assert mutant.applied_to(SOURCES)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_test_that_must_catch_a_mutant_exists(mutant: Mutant) -> None:
    tests = (ROOT / mutant.test_file).read_text(encoding="utf-8")
    assert re.search(rf"^(async )?def {mutant.caught_by.partition('::')[2]}\(", tests, re.MULTILINE)


def test_no_two_mutants_share_a_name_and_the_nearly_invisible_are_among_them() -> None:
    assert len(NAMED) == len(MUTANTS) >= 40
    assert set(NEARLY_INVISIBLE) <= NAMED.keys()


def test_a_mutant_whose_place_is_gone_is_not_planted() -> None:
    mutant = replace(
        NAMED["vote kept across terms"], edits=(Edit("Voter.in_term", "no_such_call(...)", "pass"),)
    )
    with pytest.raises(NotPlanted, match=mutant.name):
        mutant.applied_to(SOURCES)
    assert attempt(mutant).problem.startswith("not planted")


def test_planted_defects_are_caught_by_the_tests_that_are_named_for_them() -> None:
    mutants = [NAMED[name] for name in TRIED]
    assert try_nothing(mutants, NO_SEEDS).problem == ""
    for mutant in mutants:
        verdict = attempt(mutant)
        assert (verdict.caught_by, verdict.problem) == (mutant.caught_by, "")


def test_a_change_that_is_no_defect_survives_and_is_told() -> None:
    test_file = "tests/test_money.py::"
    harmless = Mutant(
        name="harmless",
        what="nothing",
        edits=(Edit("MINOR_PER_MAJOR", "100", "50 + 50"),),
        caught_by=test_file + "test_what_is_printed_can_be_read_again",
    )
    assert attempt(harmless).problem == "SURVIVED"
    assert attempt(replace(harmless, caught_by=test_file + "test_gone")).problem.startswith("broken")


def test_a_mutant_is_planted_in_a_copy_and_never_here() -> None:
    mutant = NAMED["money as float"]
    assert attempt(mutant).caught_by == mutant.caught_by
    assert sources_in(ROOT) == SOURCES
    assert Path(mutant.room) == Path("tests/test_money.py")
