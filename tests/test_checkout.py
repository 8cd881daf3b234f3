"""What commands are called, in a checkout and where the package is installed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.checkout import checkout, command

ROOT = Path(__file__).parent.parent
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
COMMANDS = ("admin", "atm", "ledger", "run", "start_node")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("atm.checkout.__file__", "/usr/lib/python3/site-packages/atm/checkout.py")
    checkout.cache_clear()
    yield
    checkout.cache_clear()


def test_in_a_checkout_the_commands_are_those_of_bin() -> None:
    assert checkout() == ROOT
    assert [command(name) for name in COMMANDS] == [
        "bin/admin",
        "bin/atm",
        "bin/ledger",
        "bin/run",
        "bin/start_node",
    ]
    assert all((ROOT / command(name)).exists() for name in COMMANDS)


@pytest.mark.usefixtures("installed")
def test_where_the_package_is_installed_they_are_the_console_scripts() -> None:
    assert checkout() is None
    names = ["atm-admin", "atm", "atm-ledger", "atm-run", "atm-node"]
    assert [command(name) for name in COMMANDS] == names
    scripts = re.findall(r'"([\w-]+)=atm[\w.]*:main"', (ROOT / "setup.py").read_text())
    assert sorted(names) == sorted(scripts)
