"""Which branches of the pure packages many seeds take, and which none does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import atm

PACKAGES = ("raft", "ledger", "wire")


def measured(run: Callable[[], None]) -> str:
    """Call `run` and return the branch coverage of `PACKAGES`, with the branches that were never taken.

    Only what functions do counts: the modules themselves are imported before.
    """
    try:
        from coverage import Coverage  # noqa: PLC0415 (it belongs to the tools of bin/check)
    except ModuleNotFoundError as error:
        raise SystemExit(
            "--coverage needs the coverage library: call bin/check once, it installs it"
        ) from error
    include = [str(Path(atm.__file__).parent / package / "*") for package in PACKAGES]
    coverage = Coverage(branch=True, include=include, data_file=None, messages=False, config_file=False)
    coverage.set_option("report:exclude_also", ["assert_never", "if TYPE_CHECKING:"])
    with coverage.collect():
        run()
    with TemporaryDirectory() as folder:
        outfile = Path(folder, "coverage.json")
        coverage.json_report(outfile=str(outfile))
        files = json.loads(outfile.read_text())["files"]
    return "\n".join(_told(files))


def _told(files: dict[str, dict[str, Any]]) -> list[str]:
    lines: list[str] = []
    details: list[str] = []
    taken = total = 0
    for path, found in sorted(files.items()):
        summary, missing = found["summary"], found["missing_branches"]
        taken += summary["covered_branches"]
        total += summary["num_branches"]
        if summary["num_branches"]:
            lines.append(f"{path:<32} {summary['covered_branches']:>4} of {summary['num_branches']:>4}")
        source = Path(path).read_text(encoding="utf-8").splitlines()
        for start, end in missing:
            target = "its end" if int(end) < 0 else f"line {end}"
            details.append(f"  {path}:{start} never went to {target}: {source[int(start) - 1].strip()}")
    lines.append(f"{'branches taken':<32} {taken:>4} of {total:>4}")
    return [*lines, *details]
