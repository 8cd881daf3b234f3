"""A bit that flips anywhere in a backup is found, and the piece is named."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.backups import StoryNode, admin, story_entries

STORY = story_entries()
FLIPS_EACH = 60


def test_a_bit_flipped_anywhere_is_found_and_the_piece_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup, chance = tmp_path / "b", random.Random(7)
    with StoryNode(tmp_path / "bank", STORY[:20]) as node:
        node.take_snapshot()
        node.append(STORY[20:25])
        assert admin("backup", backup, "--config", node.config) == 0
        node.append(STORY[25:])
        assert admin("backup", backup, "--config", node.config, "--verify") == 0
        assert len(list(backup.iterdir())) == 4, "a snapshot, two pieces with entries, and the list"
        for path in sorted(backup.iterdir()):
            content = path.read_bytes()
            for _ in range(FLIPS_EACH):
                bit = chance.randrange(8 * len(content))
                flipped = bytearray(content)
                flipped[bit // 8] ^= 1 << bit % 8
                path.write_bytes(flipped)
                capsys.readouterr()
                code = admin("backup", backup, "--config", node.config, "--verify")
                said = capsys.readouterr().err
                assert code == 1, f"bit {bit} of {path.name}"
                assert f"{path} is damaged" in said, f"bit {bit} of {path.name}: {said}"
                assert path.read_bytes() == flipped, "a damaged backup was written to"
            path.write_bytes(content)


@pytest.mark.parametrize("name", ["entries-1-25.bin", f"entries-26-{len(STORY)}.bin"])
def test_a_piece_that_is_missing_or_short_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    backup = tmp_path / "b"
    with StoryNode(tmp_path / "bank", STORY[:25]) as node:
        admin("backup", backup, "--config", node.config)
        node.append(STORY[25:])
        admin("backup", backup, "--config", node.config)
        (backup / name).write_bytes((backup / name).read_bytes()[:-1])
        assert admin("backup", backup, "--config", node.config, "--verify") == 1
        assert f"{name} is damaged: it has" in capsys.readouterr().err
        (backup / name).unlink()
        assert admin("backup", backup, "--config", node.config) == 1
        assert f"{name} is damaged: it cannot be read" in capsys.readouterr().err
