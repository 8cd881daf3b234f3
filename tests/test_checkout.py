"""What commands are called, in a checkout and where the package is installed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.checkout import checkout, command_here

ROOT = Path(__file__).parent.parent
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
COMMANDS = ("admin", "atm", "ledger", "run", "start_node", "web")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("atm.checkout.__file__", "/usr/lib/python3/site-packages/atm/checkout.py")
    checkout.cache_clear()
    yield
    checkout.cache_clear()


def test_in_a_checkout_the_commands_are_those_of_bin() -> None:
    assert checkout() == ROOT
    assert [command_here(name) for name in COMMANDS] == [
        "bin/admin",
        "bin/atm",
        "bin/ledger",
        "bin/run",
        "bin/start_node",
        "bin/web",
    ]
    assert all((ROOT / command_here(name)).exists() for name in COMMANDS)


@pytest.mark.usefixtures("installed")
def test_where_the_package_is_installed_they_are_the_console_scripts() -> None:
    assert checkout() is None
    names = ["atm-admin", "atm", "atm-ledger", "atm-run", "atm-node", "atm-web"]
    assert [command_here(name) for name in COMMANDS] == names
    scripts = re.findall(r'"([\w-]+)=atm\.programs:\w+"', (ROOT / "setup.py").read_text())
    assert sorted(names) == sorted(scripts)


@pytest.mark.parametrize("path", sorted((ROOT / "atm").rglob("*.py")), ids=lambda path: path.stem)
def test_no_message_names_a_command_of_bin_where_there_may_be_none(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    described = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, DOCUMENTED) and node.body and isinstance(node.body[0], ast.Expr)
    }
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in described
    ]
    named = [text for text in texts if re.search(rf"bin/({'|'.join(COMMANDS)})\b", text)]
    assert named == [], "command_here() says what it is called here"
