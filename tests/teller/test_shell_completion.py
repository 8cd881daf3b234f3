"""The completion for shells: shipped as it is printed, and right in the shells that are here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from atm.teller.commands import COMMANDS
from atm.teller.options import options_parser
from atm.teller.shell_completion import SHELLS, completion_script
from tests.support.running import ROOT, Run

FOLDER = ROOT / "deploy" / "completion"
FILES = {"bash": FOLDER / "atm.bash", "zsh": FOLDER / "_atm", "fish": FOLDER / "atm.fish"}


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"there is no {shell}")


def said(*command: str) -> list[str]:
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (ran.stderr, ran.returncode) == ("", 0)
    return ran.stdout.split()


@pytest.mark.parametrize("shell", SHELLS)
def test_what_is_shipped_is_what_the_teller_prints(run: Run, shell: str) -> None:
    """If this fails: bin/atm --completion SHELL > the file."""
    ran = run("--completion", shell)
    assert (ran.code, ran.out) == (0, FILES[shell].read_text().splitlines())


@pytest.mark.parametrize("shell", SHELLS)
def test_every_option_and_command_is_in_it(shell: str) -> None:
    parser = options_parser()
    script = completion_script(shell, parser)
    for name in ("--account", "--operator", "--csv", "--completion"):
        assert (name if shell != "fish" else f"-l {name[2:]} ") in script
    assert all(command in script for command in COMMANDS)


def test_another_shell_is_refused(run: Run) -> None:
    assert run("--completion", "tcsh").code == 2


@pytest.mark.parametrize("shell", [pytest.param(shell, marks=needs(shell)) for shell in SHELLS])
def test_the_shell_reads_it(shell: str) -> None:
    assert said(shell, "-n", str(FILES[shell])) == []


@needs("bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("atm --ac", ["--account"]),
        ("atm -c deb", ["debit"]),
        ("atm --completion z", ["zsh"]),
        ("atm --account m", []),
        ("atm --config cluster", []),  # left to the shell, which knows the files
    ],
)
def test_bash_offers_options_and_commands(words: str, offered: list[str]) -> None:
    ask = f"source '{FILES['bash']}'; COMP_WORDS=({words}); "
    ask += f'COMP_CWORD=$(({len(words.split())} - 1)); _atm; echo "${{COMPREPLY[@]}}"'
    assert said("bash", "--norc", "-c", ask) == offered


@needs("fish")
def test_fish_offers_options_and_commands(tmp_path: Path) -> None:
    def offered(words: str) -> list[str]:
        ask = f"set HOME {tmp_path}; source '{FILES['fish']}'; complete -C '{words}'"
        ran = subprocess.run(
            ["fish", "--no-config", "-c", ask], capture_output=True, text=True, check=True, timeout=30
        )
        return [line.split("\t")[0] for line in ran.stdout.splitlines()]

    assert offered("atm --ac") == ["--account"]
    assert offered("atm -c deb") == ["debit"]
    assert offered("atm --completion z") == ["zsh"]


@needs("zsh")
def test_zsh_loads_it_as_a_completion() -> None:
    ask = f"fpath=('{FOLDER}' $fpath); autoload -Uz compinit; compinit -D; echo $_comps[atm]"
    assert said("zsh", "-f", "-c", ask) == ["_atm"]
