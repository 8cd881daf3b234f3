"""Tries the commands of an installed package, in folders that are empty."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from atm.version import RELEASE

COMMANDS = ("atm", "atm-admin", "atm-ledger", "atm-node", "atm-run", "atm-web")
TRY_S, INSTALL_S = 60, 300
OF_THE_CALLER = ("ATM_CONFIG", "PYTHONPATH", "PYTHONHOME", "VENV", "VIRTUAL_ENV")
NO_CONFIG = "atm: there is no cluster.ini in this folder, and ATM_CONFIG is not set: give --config FILE, "


class Failed(Exception):
    """The package is not as it should be; `str()` of it says how."""


class Installation:
    """A virtual environment in `folder` without pip, and an empty folder to try things in."""

    def __init__(self, python: str | Path, folder: Path) -> None:
        """Make it, of the interpreter `python`."""
        folder.mkdir()
        self._venv, self.empty, self._state = folder / "venv", folder / "empty", folder / "state"
        self.empty.mkdir()
        _run([str(python), "-m", "venv", "--without-pip", str(self._venv)])

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self._venv / "bin" / "python"

    def pip(self, *arguments: str) -> None:
        """Let this process' pip work on it."""
        command = [
            sys.executable,
            "-P",
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--python",
            str(self.python),
        ]
        _run([*command, *arguments], timeout_s=INSTALL_S)

    def site_packages(self) -> Path:
        """Return the folder of its packages."""
        path = "import sysconfig; print(sysconfig.get_path('purelib'))"
        return Path(_run([str(self.python), "-c", path]).strip())

    def files(self) -> dict[str, bytes]:
        """Return the content of each installed file of the package, by its path."""
        packages = self.site_packages()
        paths = [path for path in (packages / "atm").rglob("*") if path.is_file() and path.suffix != ".pyc"]
        return {str(path.relative_to(packages)): path.read_bytes() for path in paths}

    def environment(self, **further: str) -> dict[str, str]:
        """Return that of who has nothing but the installation."""
        state = str(self._state)
        return _environment() | {"XDG_STATE_HOME": state, "HOME": state} | further

    def try_all(self) -> None:
        """Try each command, as a newcomer would; raise `Failed`."""
        where = self._ran(self.python, "-c", "import atm; print(atm.__file__)").stdout
        _check(where.startswith(str(self._venv)), f"the package is taken from {where}")
        for name in COMMANDS:
            self._has(0, f"atm-raft {RELEASE}\n", name, "--version")
            self._has(0, f"usage: {name} ", name, "--help")
        self._has(2, NO_CONFIG, "atm", "-c", "query")

        bank = self._state / "atm" / "bank"
        ran = self._ran("atm-run", typed="credit 5000\nquery\n")
        told = (ran.returncode, ran.stdout.splitlines()[3:], str(bank) in ran.stderr)
        credited = "Successfully credited 5000 to your account"
        _check(told == (0, [credited, "Your current account balance is: 5000"], True), f"atm-run: {ran}")

        config = {"ATM_CONFIG": str(bank / "cluster.ini")}
        self._has(0, "posting,time_us,", "atm-ledger", "export", "--node", "n1", "--format", "csv", **config)
        self._has(2, f"{bank}/cluster.ini: there is no node 'n9'", "atm-node", "n9", **config)
        self._has(3, "The bank is not available", "atm", "--timeout", "0.1", "-c", "query", **config)
        self._has(3, "not available", "atm-admin", "--timeout", "0.1", "health", **config)
        self._has(0, "Wrote cluster.ini for 3 nodes", "atm-admin", "init", "--nodes", "3")
        self._has(2, "cluster.ini: there is no node 'n9'", "atm-node", "n9")

    def _has(self, code: int, text: str, *command: str, **environment: str) -> None:
        """Check the exit code, and that the text is in what is printed."""
        ran = self._ran(*command, **environment)
        _check(ran.returncode == code and text in ran.stdout + ran.stderr, f"{code}, {text!r}: {ran}")

    def _ran(
        self, program: str | Path, *arguments: str, typed: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._venv / "bin" / program, *arguments],
            input=typed,
            capture_output=True,
            text=True,
            timeout=TRY_S,
            check=False,
            cwd=self.empty,
            env=self.environment(**environment),
        )


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in OF_THE_CALLER}


def _run(command: list[str], timeout_s: float = TRY_S) -> str:
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, check=False, env=_environment()
    )
    _check(ran.returncode == 0, f"{' '.join(command)}:\n{ran.stdout}{ran.stderr}")
    return ran.stdout


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failed(otherwise)
