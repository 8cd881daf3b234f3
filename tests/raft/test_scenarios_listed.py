"""Where to find the scenarios that a Raft must survive: each has one test here, which names its number.

The numbers are those of the project's list of scenarios; the ones not among these speak of the server,
the ledger and the log file, and are tested there and in `tests/simulation`.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

OF_THE_CORE = [*range(1, 36), 38]


def test_each_scenario_of_the_core_has_one_test() -> None:
    numbers: Counter[int] = Counter()
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                numbers.update(
                    int(n) for n in re.findall(r"\AScenario (\d+):", ast.get_docstring(node) or "")
                )
    assert dict(numbers) == dict.fromkeys(OF_THE_CORE, 1)
