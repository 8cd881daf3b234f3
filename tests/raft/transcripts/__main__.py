"""Compare the transcripts with what happens now, or regenerate them with --rewrite."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from tests.raft.transcripts.script import regenerated

FOLDER = Path(__file__).parent


def difference(path: Path) -> str:
    """Return a diff of the transcript `path` and what happens now; empty if they are the same."""
    recorded = path.read_text(encoding="utf-8")
    now = regenerated(recorded)
    before, after = recorded.splitlines(keepends=True), now.splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, f"{path.name}, as recorded", "as it is now"))


def main(arguments: list[str]) -> int:
    """Return 1 if a transcript differs from what happens now."""
    differences = 0
    for path in sorted(FOLDER.glob("*.txt")):
        if arguments == ["--rewrite"]:
            path.write_text(regenerated(path.read_text(encoding="utf-8")), encoding="utf-8")
        elif found := difference(path):
            print(found, end="")
            differences += 1
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
