"""The gallery of planted defects: each is in the catalogue, and its seed stops at the promise it names."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lessons.defects import DEFECTS, ROOT, Defect, planted

QUICK = [defect for defect in DEFECTS if defect.name in ("elect with two of five", "vote twice in a term")]
RUN = """
import sys
sys.path.insert(0, ".")
from lessons.seeds import run_seed
verdict = run_seed({seed})
print(verdict.promise)
"""


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_each_defect_can_be_planted_and_asks_a_question(defect: Defect) -> None:
    files, diff = planted(defect.name, {})
    assert files
    changed = [line for line in diff.splitlines() if line[:1] in "+-"]
    assert changed
    assert len(set(defect.rules)) == len(defect.rules) == 4
    assert 0 <= defect.answer < 4


def test_a_defect_is_planted_into_the_right_code_not_into_another_defect() -> None:
    first, second = DEFECTS[0].name, "logs not compared in votes"
    wrong, _ = planted(first, {})
    file = next(iter(wrong))
    original = (ROOT / file).read_text(encoding="utf-8")
    assert planted(second, {file: original})[0] == planted(second, {})[0]


@pytest.mark.parametrize("defect", QUICK, ids=lambda defect: defect.name)
def test_its_seed_stops_at_the_promise(defect: Defect, tmp_path: Path) -> None:
    for package in ("atm", "tests", "lessons"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file, text in planted(defect.name, {})[0].items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    command = [sys.executable, "-P", "-c", RUN.format(seed=defect.seed)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == defect.promise
