"""The way through Figures 2 and 3 and section 7 in docs/ways.md names what is in the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT, ROOT / "atm" / "raft", ROOT / "tests" / "raft")
(SECTION,) = re.findall(
    r"^## The reader of the paper.*?(?=^## |\Z)",
    (ROOT / "docs" / "ways.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)
ROWS = re.findall(r"^\| (?!property|Figure 2|section 7).* \|$", SECTION, re.MULTILINE)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:40])
def test_what_a_row_names_is_in_one_of_its_files(row: str) -> None:
    files = [
        path
        for name in re.findall(r"`([a-z_0-9/]+\.py)`", row)
        for folder in FOLDERS
        if (path := folder / name).exists()
    ]
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    names = [name for name in re.findall(r"`([A-Za-z_0-9.]+)`", row) if not name.endswith(".py")]
    words = {word for name in names for word in name.split(".")}
    missing = {word for word in words if not re.search(rf"\b{word}\b", text)}
    missing |= {quote for quote in re.findall(r'"([^"]+)"', row) if quote not in text}
    assert names
    assert not missing


def test_every_box_of_figure_2_and_of_section_7_and_property_of_figure_3_has_a_row() -> None:
    state = ["currentTerm, votedFor", "log[]", "on stable storage", "commitIndex, lastApplied", "nextIndex[]"]
    rpcs = ["both, 1", "RequestVote 2", "AppendEntries 2", "AppendEntries 3 and 4", "AppendEntries 5"]
    rules = ["all: "] * 2 + ["followers: "] + ["candidates: "] * 4 + ["leaders: "] * 6
    properties = ["Election safety", "Leader append-only", "Log matching", "Leader completeness"]
    snapshots = ["the log's prefix", "a leader that has discarded"] + ["InstallSnapshot "] * 3
    expected = [*state, *rpcs, *rules, *snapshots, *properties, "State-machine safety"]
    assert [row[2:].startswith(start) for row, start in zip(ROWS, expected, strict=True)] == [True] * 33
