"""The commands of "Certificates" in docs/security.md are run in their order, and print what the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from atm.admin.main import main
from tests.support.running import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
SECTION = re.search(r"^## Certificates\n(.*?)^## ", PAGE, re.DOTALL | re.MULTILINE)
DIFFERS = ((r"\d{4}-\d\d-\d\d", "DATE"), (r"atm-raft CA [0-9a-f]{8}", "CA"), (r" +$", ""))


def comparable(text: str) -> list[str]:
    """Return the lines without what differs from day to day and from key to key."""
    for pattern, what in DIFFERS:
        text = re.sub(pattern, what, text, flags=re.MULTILINE)
    return text.splitlines()


def test_every_command_of_the_section_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert SECTION is not None
    monkeypatch.chdir(tmp_path)
    done = 0
    for block in re.findall(r"^```\n(.*?)^```", SECTION[1], re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            program, *arguments = shlex.split(command)
            assert program == "bin/admin"
            assert main(arguments) == 0, command
            assert comparable(capsys.readouterr().out) == comparable(expected), command
            done += 1
    assert done == 9
