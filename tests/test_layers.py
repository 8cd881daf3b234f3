"""Each contract of import-linter bites: a forbidden import, planted in a copy of the tree, breaks it alone.

import-linter is among the tools of bin/check, which runs this file too.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
VERDICT = re.compile(r"^(.+) (KEPT|BROKEN)(?: \(.*\))?$", re.MULTILINE)

LAYERS = "Layers: imports point down only; Raft and the ledger are strangers to each other"
STRANGERS = "The product knows neither its tests nor its measurements nor its demos"
NO_CLIENT = "A server is no client"
RAFT = "Raft is pure: no thread, clock, socket, file or global random number"
RULES = "The bank's rules are pure: the store alone touches SQLite"
WIRE = "The wire is pure: bytes to messages and back"
EVENTS = "Events are pure: the time and the notes are passed in, and files are read by who prints them"
STORE = "The wire knows of the bank its requests, not its store"
OFFICE = "The back office reads ledgers and writes none: what it changes goes through the client"
STORAGE = "The durable log and the data folder know no thread of the server, no socket and no ledger"
INSIDE = "Inside the server: the parts are put together at the top, and a room knows only those below it"
WEB = "The web server is a client like any other"
AUDITOR = "An auditor opens nothing that can write"
TESTS = "Tests of one room know none of another's: what they share is in tests.support"

PLANTS = [
    (LAYERS, "atm/money.py", "import atm.ledger.commands"),
    (LAYERS, "atm/raft/progress.py", "import atm.ledger.commands"),
    (LAYERS, "atm/client/route.py", "import atm.server.group.log_clock"),
    (LAYERS, "atm/stray.py", "import atm.money"),
    (STRANGERS, "atm/money.py", "import tests"),
    (STRANGERS, "atm/money.py", "import bench"),
    (STRANGERS, "atm/money.py", "import demo"),
    (STRANGERS, "atm/money.py", "import course"),
    (NO_CLIENT, "atm/server/net/reader.py", "import atm.money"),
    (RAFT, "atm/raft/timer.py", "import time"),
    (RULES, "atm/ledger/accounts.py", "import apsw"),
    (WIRE, "atm/wire/codec.py", "import socket"),
    (EVENTS, "atm/events/recorder.py", "import time"),
    (STORE, "atm/teller/words.py", "import atm.ledger.rows"),
    (OFFICE, "atm/office/books.py", "import atm.ledger.ledger"),
    (STORAGE, "atm/storage/disk.py", "import socket"),
    (INSIDE, "atm/server/net/reader.py", "import atm.server.group.inbox"),
    (INSIDE, "atm/server/stray.py", "import threading"),
    (WEB, "atm/web/bank.py", "import atm.server.server"),
    (AUDITOR, "atm/ledger/audit/checks.py", "import atm.ledger.rows"),
    (TESTS, "tests/raft/single.py", "import tests.simulation.plan"),
    (TESTS, "tests/support/seeds.py", "import tests.simulation.plan"),
]

if importlib.util.find_spec("importlinter") is None:
    pytest.skip(
        "IMPORT-LINTER IS NOT INSTALLED: that the layers are kept is not tested here (bin/check installs it)",
        allow_module_level=True,
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of all that import-linter reads."""
    tree = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / "pyproject.toml", tree)
    left_out = shutil.ignore_patterns("__pycache__", "corpus")
    for package in ("atm", "tests"):
        shutil.copytree(ROOT / package, tree / package, ignore=left_out)
    return tree


def verdicts(tree: Path) -> dict[str, str]:
    """Return what import-linter says of each contract."""
    program = Path(sys.executable).with_name("lint-imports")
    wide = os.environ | {"COLUMNS": "1000"}  # or it breaks the names
    ran = subprocess.run(
        [program, "--no-cache"], cwd=tree, env=wide, capture_output=True, text=True, check=False, timeout=60
    )
    found = dict(VERDICT.findall(ran.stdout))
    assert found.keys() == {contract["name"] for contract in CONTRACTS}, ran.stdout + ran.stderr
    assert ran.returncode == ("BROKEN" in found.values())
    return found


@contextmanager
def planted(path: Path, line: str) -> Iterator[None]:
    before = path.read_text() if path.exists() else None
    path.write_text(f"{before or ''}\n{line}\n")
    try:
        yield
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before)


def test_every_contract_is_kept_and_every_one_is_tried(tree: Path) -> None:
    assert set(verdicts(tree).values()) == {"KEPT"}
    assert {name for name, _, _ in PLANTS} == {contract["name"] for contract in CONTRACTS}


@pytest.mark.parametrize(("name", "file", "line"), PLANTS)
def test_a_forbidden_import_breaks_its_contract_and_no_other(
    tree: Path, name: str, file: str, line: str
) -> None:
    with planted(tree / file, line):
        broken = {contract for contract, verdict in verdicts(tree).items() if verdict == "BROKEN"}
    assert broken == {name}


def test_every_package_of_tests_is_kept_apart() -> None:
    (contract,) = [contract for contract in CONTRACTS if contract["name"] == TESTS]
    listed = set(re.findall(r"\w+", " ".join(contract["layers"])))
    assert listed == {path.parent.name for path in (ROOT / "tests").glob("*/__init__.py")}
