"""Refuses locked versions with known holes: `bin/check` runs it.

`pip-audit` asks the package index for the advisories of each version that a bank runs. Where the index tells
of none, that is said aloud, and is no failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LOCKED = HERE / "certs.txt"  # what a bank runs, with what makes its certificates
WITHIN_S = 60.0


def main(locked: Path = LOCKED) -> int:
    """Print the holes; 1 if there are any."""
    found, why_not = _asked(locked)
    if found is None:
        print(f"ADVISORIES WERE NOT CHECKED: {why_not}")
        return 0
    unknown = [each["name"] for each in found if "skip_reason" in each]
    holes = [(each, hole) for each in found for hole in each.get("vulns", ())]
    for each, hole in holes:
        fixed = ", ".join(hole.get("fix_versions", ())) or "no version yet"
        print(f"{each['name']} {each['version']} has a known hole, {hole['id']}, mended in {fixed}: bin/lock")
    if unknown:
        print(f"ADVISORIES WERE NOT CHECKED for {', '.join(unknown)}: the index does not know them")
    checked = len(found) - len(unknown)
    if checked and not holes:
        print(f"No known hole in {checked} locked packages")
    return 1 if holes else 0


def _asked(locked: Path) -> tuple[list[dict[str, Any]] | None, str]:
    """Return what pip-audit says of each package, or None and why it says nothing."""
    command = [sys.executable, "-P", "-m", "pip_audit", "--requirement", str(locked), "--require-hashes"]
    command += ["--disable-pip", "--format", "json", "--progress-spinner", "off"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    except subprocess.TimeoutExpired:
        return None, f"no answer within {WITHIN_S:.0f} s"
    try:
        answer: dict[str, list[dict[str, Any]]] = json.loads(ran.stdout)
        return answer["dependencies"], ""
    except (ValueError, KeyError):
        lines = ran.stderr.strip().splitlines() or ["pip-audit printed nothing"]
        return None, lines[-1]


if __name__ == "__main__":
    sys.exit(main())
