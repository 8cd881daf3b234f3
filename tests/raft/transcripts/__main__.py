"""Compare the transcripts with what happens now, or make them again with --rewrite."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from tests.raft.transcripts.script import made_again

FOLDER = Path(__file__).parent


def difference(path: Path) -> str:
    """Return what happens now in place of what `path` tells, as a diff; empty if it tells the truth."""
    told = path.read_text(encoding="utf-8")
    now = made_again(told)
    lines = difflib.unified_diff(
        told.splitlines(keepends=True), now.splitlines(keepends=True), f"{path.name}, as told", "as it is now"
    )
    return "".join(lines)


def main(arguments: list[str]) -> int:
    """Return 1 if a transcript tells what does not happen."""
    differences = 0
    for path in sorted(FOLDER.glob("*.txt")):
        if arguments == ["--rewrite"]:
            path.write_text(made_again(path.read_text(encoding="utf-8")), encoding="utf-8")
        elif found := difference(path):
            print(found, end="")
            differences += 1
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
