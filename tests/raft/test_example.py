"""The example of docs/raft.md does what its comments say, and the page names the API."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import atm.raft
from tests.raft.transcripts.script import regenerated

PAGE = (Path(__file__).parents[2] / "docs" / "raft.md").read_text(encoding="utf-8")


def test_the_example_prints_what_its_comments_say() -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block, "docs/raft.md", "exec"), {"__name__": "example"})
    expected = re.findall(r"^ *print\(.*\)  # (.*)$", block, re.MULTILINE)
    assert printed.getvalue().splitlines() == expected
    assert len(expected) == 4


def test_the_page_names_every_call_and_every_field_of_a_ready() -> None:
    calls = [name for name in vars(atm.raft.CheckedRaft) if not name.startswith("_")]
    assert set(calls) == {
        *("step", "tick", "propose", "read", "change_membership", "transfer", "demote", "ready", "advance"),
        *("snapshot_taken", "installed", "install_failed"),
    }
    for name in (*calls, *atm.raft.Ready.__struct_fields__):
        assert f"`{name}`" in PAGE or f"`{name}(" in PAGE or name in ("role", "leader"), name


def test_the_contract_of_the_package_names_every_call() -> None:
    for name in vars(atm.raft.CheckedRaft):
        assert name.startswith("_") or f"raft.{name}(" in (atm.raft.__doc__ or ""), name


def test_what_is_exported_is_there_and_sorted() -> None:
    assert all(hasattr(atm.raft, name) for name in atm.raft.__all__)
    assert atm.raft.__all__ == sorted(atm.raft.__all__)


def test_the_transcript_on_the_page_is_what_happens() -> None:
    (block,) = re.findall(r"^```\n(> elect.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    happened = regenerated("> start n1 n2 n3\n" + "".join(re.findall(r"^> .*\n", block, re.MULTILINE)))
    assert all(line in happened.splitlines() for line in block.splitlines())
