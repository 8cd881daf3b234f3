"""Each command tells its release, and calls itself by the name it was called by."""

from __future__ import annotations

import os
import re
import signal
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
WITHOUT_RELEASE = {
    "set_up",
    "start.py",
    "test",
    "check",
    "lock",
    "docs",
}  # of the checkout, not of the product
CONSOLE_SCRIPTS = {
    "atm": "atm",
    "atm-node": "atm_node",
    "atm-run": "atm_run",
    "atm-ledger": "atm_ledger",
    "atm-admin": "atm_admin",
}


def ran(*command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, timeout=60, env=environment
    )


def test_every_command_is_listed_here() -> None:
    assert {path.name for path in (ROOT / "bin").iterdir()} == MODULES.keys() | WITHOUT_RELEASE
    text = (ROOT / "setup.py").read_text()
    assert all(f'"{name}=atm.programs:{function}"' in text for name, function in CONSOLE_SCRIPTS.items())
    assert text.count("=atm.") == len(CONSOLE_SCRIPTS)


@pytest.mark.parametrize("command", MODULES)
def test_a_command_tells_its_release(command: str) -> None:
    module = MODULES[command]
    told = ran("-m", module, "--version")
    assert (told.returncode, told.stdout, told.stderr) == (0, f"atm-raft {RELEASE}\n", "")
    assert re.search(rf" (-m|\S+start\.py\S*) {module} ", (ROOT / "bin" / command).read_text())


def console_script(folder: Path, name: str) -> Path:
    """Return the file of an installed command, as pip writes it."""
    script = folder / name
    function = CONSOLE_SCRIPTS[name]
    script.write_text(f"import sys\nfrom atm.programs import {function}\nsys.exit({function}())\n")
    return script


@pytest.mark.parametrize("name", CONSOLE_SCRIPTS)
def test_an_installed_command_goes_by_its_own_name(tmp_path: Path, name: str) -> None:
    script = console_script(tmp_path, name)
    assert ran(str(script), "--help").stdout.startswith(f"usage: {name} ")
    told = ran(str(script), "--config", str(tmp_path / "none.ini"), *ARGUMENTS.get(name, []))
    assert told.returncode == 2
    assert "none.ini: no such file\n" in told.stderr
    if name in {"atm", "atm-ledger", "atm-admin"}:
        assert told.stderr.startswith(f"{name}: ")


@pytest.mark.parametrize(
    "name", [*CONSOLE_SCRIPTS, "bin/atm", "bin/run", "bin/admin", "bin/ledger", "bin/start_node"]
)
def test_ctrl_c_while_a_command_is_loaded_gets_no_traceback(tmp_path: Path, name: str) -> None:
    """Trial 37. The library that each of them needs takes as long here as it takes to press the keys."""
    (tmp_path / "argparse.py").write_text("import sys\nprint('loading', flush=True)\nsys.stdin.read()\n")
    if name in CONSOLE_SCRIPTS:
        command = [str(console_script(tmp_path, name))]
    else:
        module = MODULES[name.removeprefix("bin/")]
        assert f'-P -S "$root/bin/start.py" {module} "$@"' in (ROOT / name).read_text()
        command = ["-P", "-S", str(ROOT / "bin" / "start.py"), module]
    with subprocess.Popen(
        [sys.executable, *command],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as loading:
        assert loading.stdout is not None
        assert loading.stdout.readline() == b"loading\n"
        loading.send_signal(signal.SIGINT)
        said, complained = loading.communicate(timeout=60)
    assert (said, complained, loading.returncode) == (b"", b"", -signal.SIGINT), "a shell tells it as 130"


def test_ctrl_c_in_a_loaded_program_is_130_and_gets_no_traceback() -> None:
    program = "import signal\nfrom atm.command_line import interruptible\n"
    program += "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
    program += "raise SystemExit(interruptible(lambda: signal.raise_signal(signal.SIGINT)))"
    told = ran("-c", program)
    assert (told.returncode, told.stderr) == (130, "")


ARGUMENTS = {"atm-node": ["5000"], "atm-ledger": ["verify"], "atm-admin": ["status"]}
