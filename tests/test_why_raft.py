"""The Python blocks of docs/why-raft.md, run one after the other against five real servers."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.local_cluster import LocalCluster, write_cluster_ini

PAGE = Path(__file__).parent.parent / "docs" / "why-raft.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the `cluster.ini` of a bank that runs."""
    folder = tmp_path_factory.mktemp("bank")
    with LocalCluster(write_cluster_ini(folder)) as cluster:
        cluster.start_all()
        cluster.wait_for_leader()
        yield folder


def expected_output(block: str) -> list[str]:
    """Return what the block's comments say that it prints: behind a `print`, or on lines after a loop's."""
    lines: list[str] = []
    in_loop = False
    for line in block.splitlines():
        behind = re.fullmatch(r" *print\(.*\)  # (.*)", line)
        below = re.fullmatch(r" *# (.*)", line)
        if behind:
            lines.append(behind.group(1))
        elif in_loop and below:
            lines.append(below.group(1))
            continue
        in_loop = re.fullmatch(r" {8,}print\([^#]*\)", line) is not None
    return lines


def test_the_page_shows_each_of_the_four_answers() -> None:
    assert len(BLOCKS) == 6
    for operation in ("reverse", "void", "post", "hold", "write_off", "exceptions", "transfer"):
        assert any(f"client.{operation}(" in block for block in BLOCKS), operation


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.findall(r'open\("(\w+)"\)', block)[0])
def test_a_block_prints_what_its_comments_say(
    block: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block, str(PAGE), "exec"), {})
    assert printed.getvalue().splitlines() == expected_output(block)
    assert printed.getvalue()
