"""Each command tells its release, and calls itself by the name it was called by."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from atm.version import RELEASE

ROOT = Path(__file__).parent.parent
MODULES = {
    "atm": "atm.teller",
    "start_node": "atm.server.main",
    "run": "atm.run",
    "ledger": "atm.office",
    "admin": "atm.admin",
    "bench": "bench",
    "chaos": "tests.chaos",
    "two_phase_demo": "demo.two_phase",
}
WITHOUT_RELEASE = {"set_up", "start.py", "test", "check", "lock"}  # of the checkout, not of the product
CONSOLE_SCRIPTS = {
    "atm": "atm.teller.main",
    "atm-node": "atm.server.main",
    "atm-run": "atm.run",
    "atm-ledger": "atm.office.main",
    "atm-admin": "atm.admin.main",
}


def ran(*command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, timeout=60, env=environment
    )


def test_every_command_is_listed_here() -> None:
    assert {path.name for path in (ROOT / "bin").iterdir()} == MODULES.keys() | WITHOUT_RELEASE
    text = (ROOT / "setup.py").read_text()
    assert all(f'"{name}={module}:main"' in text for name, module in CONSOLE_SCRIPTS.items())
    assert text.count(":main") == len(CONSOLE_SCRIPTS)


@pytest.mark.parametrize("command", MODULES)
def test_a_command_tells_its_release(command: str) -> None:
    module = MODULES[command]
    told = ran("-m", module, "--version")
    assert (told.returncode, told.stdout, told.stderr) == (0, f"atm-raft {RELEASE}\n", "")
    assert re.search(rf" (-m|\S+start\.py\S*) {module} ", (ROOT / "bin" / command).read_text())


@pytest.mark.parametrize("name", CONSOLE_SCRIPTS)
def test_an_installed_command_goes_by_its_own_name(tmp_path: Path, name: str) -> None:
    """As pip writes the file of a console script."""
    script = tmp_path / name
    script.write_text(f"import sys\nfrom {CONSOLE_SCRIPTS[name]} import main\nsys.exit(main())\n")
    assert ran(str(script), "--help").stdout.startswith(f"usage: {name} ")
    told = ran(str(script), "--config", str(tmp_path / "none.ini"), *ARGUMENTS.get(name, []))
    assert told.returncode == 2
    assert "none.ini: no such file\n" in told.stderr
    if name in {"atm", "atm-ledger", "atm-admin"}:
        assert told.stderr.startswith(f"{name}: ")


ARGUMENTS = {"atm-node": ["5000"], "atm-ledger": ["verify"], "atm-admin": ["status"]}
