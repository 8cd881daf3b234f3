"""bin/set_up, with an interpreter that only writes down what it was asked to do."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

BIN = Path(__file__).parent.parent / "bin"
LEVELS = ["run", "certs", "web", "test", "check", "chaos", "bench", "docs", "lock"]

# Stands for the interpreter that is found and for the one in .venv; `-c` is for the real one.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
    -V) echo "Python 3.11.7" ;;
    '-c import pip, sys'*) ;;
    '-c import fcntl'*) exec "$REAL_PYTHON" "$@" ;;
    *version_info\\[:2\\]*) echo "$FAKE_VERSION" ;;
    *version_info*) [ "$FAKE_VERSION" != 3.9 ] ;;
    *ensurepip*) [ -z "$FAKE_WITHOUT_VENV" ] ;;
    '-m venv'*)
        echo "venv" >>"$FAKE_LOG"
        for folder; do :; done
        rm -rf "$folder" && mkdir -p "$folder/bin" && cp "$0" "$folder/bin/python"
        echo "VIRTUAL_ENV='$folder'" >"$folder/bin/activate" ;;
    *'pip --disable-pip-version-check install'*)
        for what; do :; done
        echo "install $what" >>"$FAKE_LOG"
        cat >>"$FAKE_LOG"
        [ "$what" != "$FAKE_KILLED_AT" ] || kill -9 $PPID
        [ "$what" != "$FAKE_FAILS_AT" ] ;;
    *) echo "not expected: $*" >>"$FAKE_LOG"; exit 1 ;;
esac
"""
COMMANDS = sorted(set(BIN.iterdir()) - {BIN / "set_up", BIN / "start.py"})


@dataclass
class Project:
    """A project's folder with the real bin/set_up in it."""

    root: Path
    python: Path
    log: Path
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, level: str) -> list[str]:
        script = f'root=$1; . "$root/bin/set_up"; set_up {level} || exit 1; echo ready; cat'
        return ["sh", "-c", script, "sh", str(self.root)]

    def set_up(self, level: str = "run", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(level),
            input="for the command",
            capture_output=True,
            text=True,
            env=self.environment | environment,
            cwd="/",
            timeout=30,
            check=False,
        )

    def done(self) -> list[str]:
        """Return what was done since the last call."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "a folder [with] 'marks"
    (root / "bin").mkdir(parents=True)
    shutil.copy(BIN / "set_up", root / "bin")
    (root / "setup.py").write_text("# the metadata\n")
    (root / "requirements").mkdir()
    for level in LEVELS:
        (root / "requirements" / f"{level}.txt").write_text("# the packages\n")
    python = tmp_path / "python"
    python.write_text(FAKE_PYTHON)
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    log = tmp_path / "log"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHON": str(python),
        "REAL_PYTHON": sys.executable,
        "FAKE_LOG": str(log),
        "FAKE_VERSION": "3.11",
    }
    return Project(root, python, log, environment)


def installed(level: str) -> list[str]:
    return [f"install requirements/{level}.txt", "install ."]


@pytest.mark.parametrize("level", LEVELS)
def test_the_first_call_makes_the_venv_and_the_second_does_nothing(project: Project, level: str) -> None:
    first = project.set_up(level)
    assert first.stdout == "ready\nfor the command"
    venv = project.root / ".venv"
    assert first.stderr == f'Setting up {venv} for "{level}" (once, about half a minute)\n'
    assert project.done() == ["venv", *installed(level)]

    second = project.set_up(level)
    assert (second.stdout, second.stderr) == ("ready\nfor the command", "")
    assert project.done() == []


def test_the_tests_need_more_than_a_run_and_not_the_other_way_round(project: Project) -> None:
    project.set_up("run")
    project.done()
    project.set_up("test")
    assert project.done() == installed("test")
    project.set_up("check")
    assert project.done() == installed("check")
    project.set_up("web")
    assert project.done() == [], "the tests need it, too"
    project.set_up("chaos")
    assert project.done() == installed("chaos")
    project.set_up("bench")
    assert project.done() == installed("bench")
    project.set_up("docs")
    assert project.done() == installed("docs")
    project.set_up("lock")
    assert project.done() == installed("lock")
    for level in LEVELS:
        project.set_up(level)
    assert project.done() == []


def test_other_metadata_are_installed_anew(project: Project) -> None:
    project.set_up("test")
    (project.root / "setup.py").write_text("# other metadata\n")
    project.done()
    project.set_up("run")
    assert project.done() == installed("run")
    project.set_up("test")
    assert project.done() == installed("test")


@pytest.mark.parametrize("level", ["run", "check"])
def test_other_locked_versions_are_installed_anew(project: Project, level: str) -> None:
    project.set_up("run")
    (project.root / "requirements" / f"{level}.txt").write_text("# other packages\n")
    project.done()
    project.set_up("run")
    assert project.done() == installed("run")


def test_without_the_lock_the_bounds_of_the_metadata_count(project: Project) -> None:
    project.set_up("test", ATM_UNLOCKED="1")
    assert project.done() == ["venv", "install setuptools>=77", "install .[test]"]
    project.set_up("test")
    assert project.done() == [], "once installed, it stays"


def test_packages_are_installed_by_their_hashes_and_the_project_without_looking_for_others() -> None:
    text = (BIN / "set_up").read_text()
    assert '--require-hashes -r "requirements/$1.txt"' in text
    assert "--no-build-isolation --no-deps -e ." in text


def test_a_moved_project_gets_a_new_venv(project: Project) -> None:
    project.set_up()
    project.done()
    project.root = project.root.rename(project.root.with_name("moved"))
    project.set_up()
    assert project.done() == ["venv", *installed("run")]


@pytest.mark.parametrize(
    "break_it",
    [
        shutil.rmtree,
        lambda venv: (venv / "bin/python").unlink(),
        lambda venv: (venv / "bin/python").write_text("#!/nowhere/python\n"),
    ],
    ids=["gone", "without python", "of a python that is gone"],
)
def test_a_broken_venv_is_made_anew(project: Project, break_it: Callable[[Path], None]) -> None:
    project.set_up()
    break_it(project.root / ".venv")
    project.done()
    assert project.set_up().returncode == 0
    assert project.done() == ["venv", *installed("run")]


@pytest.mark.parametrize("what", installed("run"))
def test_a_set_up_that_was_killed_starts_from_nothing(project: Project, what: str) -> None:
    killed = project.set_up(FAKE_KILLED_AT=what.removeprefix("install "))
    assert (killed.returncode, killed.stdout) == (1, "")
    project.done()
    assert project.set_up().stdout == "ready\nfor the command"
    assert project.done() == ["venv", *installed("run")]


def test_an_update_that_was_killed_starts_from_nothing_too(project: Project) -> None:
    project.set_up("run")
    project.set_up("test", FAKE_KILLED_AT="requirements/test.txt")
    project.done()
    project.set_up("run")
    assert project.done() == ["venv", *installed("run")]


def test_a_set_up_that_failed_says_so_and_is_tried_again(project: Project) -> None:
    failed = project.set_up(FAKE_FAILS_AT=".")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.splitlines()[-2:] == [
        f"Setting up {project.root}/.venv failed, see above. It needs an index of packages; "
        "what was set up before still works",
        "The next call tries again (without the lock files if ATM_UNLOCKED=1)",
    ]
    project.done()
    assert project.set_up().returncode == 0
    assert project.done() == installed("run")


def test_without_a_network_what_was_set_up_before_still_works(project: Project) -> None:
    project.set_up("run")
    assert project.set_up("test", FAKE_FAILS_AT="requirements/test.txt").returncode == 1
    project.done()
    again = project.set_up("run")
    assert (again.stdout, again.stderr) == ("ready\nfor the command", "")
    assert project.done() == []


def test_the_tests_packages_are_enough_for_certificates_and_for_chaos_without_a_picture(
    project: Project,
) -> None:
    for name in ("admin", "chaos"):
        shutil.copy(BIN / name, project.root / "bin")
    project.set_up("test")
    project.done()
    for name, arguments, wanted in (
        ("admin", "certs show", []),
        ("chaos", "--help", []),
        ("chaos", "--plot=a.png", installed("chaos")),
    ):
        subprocess.run(
            [project.root / "bin" / name, *arguments.split()],
            env=project.environment,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=30,
        )
        *installs, called = project.done()
        assert installs == wanted
        assert called.endswith(arguments), "the command itself ran"


def test_of_many_calls_at_once_one_does_it_and_the_others_wait(project: Project) -> None:
    calls = [
        subprocess.Popen(
            project.command("run"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=project.environment,
        )
        for _ in range(5)
    ]
    assert [call.communicate(timeout=30)[0] for call in calls] == [b"ready\n"] * 5
    assert project.done() == ["venv", *installed("run")]


# -- VENV: another place ---------------------------------------------------------------------------------


def test_venv_names_another_place_and_nothing_is_written_into_the_project(
    project: Project, tmp_path: Path
) -> None:
    before = sorted(project.root.rglob("*"))
    venv = tmp_path / "my venvs" / "atm"
    assert project.set_up("run", VENV=str(venv)).stdout == "ready\nfor the command"
    assert project.done() == ["venv", *installed("run")]
    assert (venv / "bin/python").exists()
    assert sorted(project.root.rglob("*")) == before
    assert project.set_up("run", VENV=str(venv)).stderr == ""
    assert project.done() == []


def test_a_relative_venv_is_in_the_current_folder(project: Project, tmp_path: Path) -> None:
    script = f"cd '{tmp_path}'; {project.command('run')[2]}"
    subprocess.run(
        ["sh", "-c", script, "sh", str(project.root)],
        env=project.environment | {"VENV": "here"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert (tmp_path / "here" / "bin/python").exists()


def test_a_folder_that_is_no_virtual_environment_is_left_alone(project: Project, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letters").write_text("dear")
    result = project.set_up("run", VENV=str(tmp_path / "home"))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == (
        f"{tmp_path}/home is there, and is no virtual environment: let VENV name a new folder"
    )
    assert project.done() == []
    assert (tmp_path / "home" / "letters").read_text() == "dear"


@pytest.mark.parametrize("level", ["run", "test"])
def test_a_checkout_that_cannot_be_written_gets_one_line(project: Project, level: str) -> None:
    lock = project.root / ".venv.lock"
    lock.mkdir()  # as good as a folder without the right to write, which root would have
    result = project.set_up(level)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.splitlines()[1:] == [
        f"{lock} cannot be written: let VENV name a folder of your own, as in VENV=$HOME/.venvs/atm bin/run"
    ]
    assert project.done() == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda path: path.name)
def test_each_command_runs_in_the_venv_that_was_set_up(command: Path) -> None:
    text = command.read_text()
    assert '"$venv/bin/' in text
    assert ".venv" not in text


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"FAKE_VERSION": "3.9"}, "{python} is 3.9."),
        (
            {"FAKE_WITHOUT_VENV": "1"},
            "{python} has no venv module (on Debian: apt-get install python3-venv).",
        ),
    ],
)
def test_without_a_fitting_python_it_says_which_is_needed(
    project: Project, tmp_path: Path, environment: dict[str, str], why: str
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    (few / "sh").symlink_to("/bin/sh")
    for name in ("cat", "dirname", "mkdir"):
        (few / name).symlink_to(shutil.which(name) or "")
    result = project.set_up(PATH=str(few), **environment)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"Python 3.11 or newer is needed. {why.format(python=project.python)} "
        "Install it, or set PYTHON to its path"
    )
    assert project.done() == []
