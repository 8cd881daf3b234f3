"""What setup.py promises is what the code needs."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMANDS = sorted(path for path in (ROOT / "bin").iterdir() if path.name not in {"set_up", "start.py"})
DISTRIBUTION_OF = {"prompt_toolkit": "prompt-toolkit"}


def imported_distributions(folder: str) -> set[str]:
    """Return what the modules in `folder` import that is neither Python's nor the project's."""
    names: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return {DISTRIBUTION_OF.get(name, name) for name in names - sys.stdlib_module_names - {"atm"}}


def required() -> dict[str, str]:
    """Return the lower bound of each distribution that is always installed."""
    text = (ROOT / "setup.py").read_text()
    block = re.search(r"install_requires=\[(.*?)\]", text, re.DOTALL)
    assert block is not None
    return {
        name.replace("_", "-") if name == "prompt_toolkit" else name: bound
        for name, bound in re.findall(r'"([\w-]+)>=([\d.]+)"', block.group(1))
    }


def test_all_that_the_package_imports_is_required_and_nothing_else() -> None:
    assert imported_distributions("atm") == set(required()) | {
        "cryptography",
        "psycopg",
        "starlette",
        "uvicorn",
    }


def test_what_only_a_backups_secret_and_certificates_need_is_an_extra() -> None:
    users = {path.name for path in (ROOT / "atm").rglob("*.py") if "cryptography import" in path.read_text()}
    assert users == {"backup_pepper.py", "certs_folder.py", "certs_making.py"}
    for extra in ("backup", "certs"):
        assert f'"{extra}": ["cryptography>=' in (ROOT / "setup.py").read_text()


def test_what_only_a_bank_on_postgresql_needs_is_an_extra() -> None:
    users = {
        path.parent.name for path in (ROOT / "atm").rglob("*.py") if "import psycopg" in path.read_text()
    }
    assert users == {"lanes"}
    assert '"postgresql": POSTGRESQL' in (ROOT / "setup.py").read_text()


def test_what_only_the_web_server_needs_is_an_extra() -> None:
    users = {path.parent.name for path in (ROOT / "atm").rglob("*.py") if "starlette" in path.read_text()}
    assert users == {"web"}
    assert '"web": WEB' in (ROOT / "setup.py").read_text()


@pytest.mark.parametrize("name", sorted(required()))
def test_what_is_installed_is_not_below_its_bound(name: str) -> None:
    def numbers(version: str) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", version)]

    assert numbers(metadata.version(name)) >= numbers(required()[name])


def test_the_entry_points_are_functions() -> None:
    entry_points = re.findall(r'"[\w-]+=(atm[\w.]*):(\w+)"', (ROOT / "setup.py").read_text())
    assert len(entry_points) == 6
    for module, function in entry_points:
        assert callable(getattr(importlib.import_module(module), function))


def test_the_packages_data_are_there() -> None:
    assert (ROOT / "atm/py.typed").exists()
    assert (ROOT / "atm/ledger/schema.sql").exists()
    assert (ROOT / "atm/web/static/teller.html").exists()
    assert '"atm.web": ["static/*"]' in (ROOT / "setup.py").read_text()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda path: path.name)
def test_a_command_is_plain_shell_that_anyone_may_run(command: Path) -> None:
    assert os.access(command, os.X_OK)
    assert command.read_text().startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", command], check=True)
