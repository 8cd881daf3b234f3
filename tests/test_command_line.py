"""Each command tells its release, and calls itself by the name it was called by."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from atm.command_line import flush_stdout
from atm.version import RELEASE

ROOT = Path(__file__).parent.parent
MODULES = {
    "atm": "atm.teller",
    "start_node": "atm.server.main",
    "run": "atm.run",
    "ledger": "atm.office",
    "admin": "atm.admin",
    "web": "atm.web",
    "bench": "bench",
    "chaos": "tests.chaos",
    "two_phase_demo": "demo.two_phase",
}
STARTED = {  # what bin/start.py is told
    "atm": "atm",
    "start_node": "atm_node",
    "run": "atm_run",
    "ledger": "atm_ledger",
    "admin": "atm_admin",
    "web": "atm_web",
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
    "atm-web": "atm_web",
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
    started = f'start.py" {STARTED[command]} ' if command in STARTED else f" -m {module} "
    assert started in (ROOT / "bin" / command).read_text()


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
    if name in {"atm", "atm-ledger", "atm-admin", "atm-web"}:
        assert told.stderr.startswith(f"{name}: ")


@pytest.mark.parametrize(
    "name",
    [*CONSOLE_SCRIPTS, "bin/atm", "bin/run", "bin/admin", "bin/ledger", "bin/start_node", "bin/web"],
)
def test_ctrl_c_while_a_command_is_loaded_gets_no_traceback(tmp_path: Path, name: str) -> None:
    """Trial 37. The library that each of them needs takes as long here as it takes to press the keys."""
    (tmp_path / "argparse.py").write_text("import sys\nprint('loading', flush=True)\nsys.stdin.read()\n")
    if name in CONSOLE_SCRIPTS:
        command = [str(console_script(tmp_path, name))]
    else:
        started = STARTED[name.removeprefix("bin/")]
        assert f'-P -S "$root/bin/start.py" {started} "$@"' in (ROOT / name).read_text()
        command = ["-P", "-S", str(ROOT / "bin" / "start.py"), started]
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


@pytest.mark.parametrize(
    ("mistake", "line"),
    [
        (("atm.admin",), "admin: the following arguments are required: COMMAND (try: bin/admin --help)"),
        (
            ("atm.admin", "add", "q"),
            "admin: the following arguments are required: --peer, --client (try: bin/admin add --help)",
        ),
        (
            ("atm.admin", "certs", "issue", "ann", "--role", "clerk"),
            "admin: argument --role: invalid choice: 'clerk' (choose from 'node', 'teller', 'operator', "
            "'auditor', 'gateway', 'admin') (try: bin/admin certs issue --help)",
        ),
        (
            ("atm.office", "deeds", "--limit", "0"),
            "ledger: argument --limit: a number from 1 to 100, not 0 (try: bin/ledger deeds --help)",
        ),
        (
            ("atm.office", "find", "--code", "1", "--before", "x"),
            "ledger: argument --before: 'x' is not a whole number (try: bin/ledger find --help)",
        ),
        (("atm.office", "find"), "ledger: name what to find: --code N, --text TEXT, or both"),
        (
            ("atm.server.main",),
            "start_node: the following arguments are required: NODE (try: bin/start_node --help)",
        ),
        (("atm.server.main", "5000", "--config", "none.ini"), "start_node: none.ini: no such file"),
        (("atm.run", "--config", "none.ini"), "run: none.ini: no such file"),
        (
            ("atm.run", "--web-listen", "localhost:1"),
            "run: --web-listen says where --web serves the bank's pages: give --web, too "
            "(try: bin/run --help)",
        ),
    ],
)
def test_a_mistake_is_one_line_with_a_command_that_can_be_typed(mistake: tuple[str, ...], line: str) -> None:
    told = ran("-m", *mistake)
    assert (told.returncode, told.stdout, told.stderr) == (2, "", f"{line}\n")


@pytest.mark.parametrize(
    "command",
    [
        "atm.teller",
        "atm.run",
        "atm.web",
        "atm.server.main",
        "atm.admin",
        "atm.admin add",
        "atm.admin backup",
        "atm.admin certs issue",
        "atm.office",
        "atm.office verify",
        "atm.office find",
        "atm.office import",
    ],
)
def test_help_says_what_a_command_does_and_fits_a_terminal(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    told = ran("-m", *command.split(), "--help")
    usage, does, *_ = re.split(r"\n\n", told.stdout)
    assert told.returncode == 0
    assert usage.startswith("usage: ")
    assert re.match(r"[A-Za-z].*[a-z]", does), "what it does, and not its arguments"
    assert not does.startswith(("options:", "positional arguments:"))
    assert [line for line in told.stdout.splitlines() if len(line) > 80] == []
    if command.startswith("atm.office"):
        assert "Exit codes: 0 done" in " ".join(told.stdout.split())


def test_output_that_cannot_be_written_is_told_and_is_no_wrong_usage(tmp_path: Path) -> None:
    config = tmp_path / "cluster.ini"
    config.write_text("[node a]\nclient = 127.0.0.1:1\npeer = 127.0.0.1:2\n")
    command = [sys.executable, "-m", "atm.admin", "health", "--config", str(config), "--timeout", "0.1"]
    with Path("/dev/full").open("wb") as full:
        told = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    line = b"admin: reading input or writing output failed: No space left on device\n"
    assert (told.returncode, told.stderr) == (74, line)


def test_without_a_standard_output_nothing_is_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    flush_stdout()
