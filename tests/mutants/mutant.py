"""One planted defect: which lines become which others, and the test that must notice."""

from __future__ import annotations

import shutil
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).parents[2]
COPIED = ("atm", "tests", "pyproject.toml")


class NotPlanted(Exception):
    """The lines to be replaced are not there exactly once, or what replaces them is no Python."""


class Mutant(Struct, frozen=True, kw_only=True):
    """`edits` are (old, new) texts of `file`; each old one stands there exactly once.

    `caught_by` is the scripted test that must fail, as pytest names it without parameters.
    """

    name: str
    what: str  # that goes wrong because of it, in a sentence
    file: str
    edits: tuple[tuple[str, str], ...]
    caught_by: str

    @property
    def test_file(self) -> str:
        return self.caught_by.partition("::")[0]

    @property
    def room(self) -> str:
        """Where all tests are that are concerned: a folder, or a file that stands alone."""
        folder = str(Path(self.test_file).parent)
        return self.test_file if folder == "tests" else folder

    def applied_to(self, source: str) -> str:
        """Return `source` with the defect in it; raise `NotPlanted`."""
        for old, new in self.edits:
            found = source.count(old)
            if found != 1:
                raise NotPlanted(f"{self.name}: found {found} times in {self.file}:\n{old}")
            source = source.replace(old, new)
        try:
            compile(source, self.file, "exec")
        except SyntaxError as error:
            raise NotPlanted(f"{self.name}: {self.file} is no Python any more: {error}") from error
        return source

    def plant(self, tree: Path) -> None:
        """Put the defect into a copy of the project; raise `NotPlanted`."""
        path = tree / self.file
        path.write_text(self.applied_to(path.read_text(encoding="utf-8")), encoding="utf-8")


def copy_project(tree: Path) -> None:
    """Copy what tests run on into the empty folder `tree`: sources only, so that nothing stale is run."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
        else:
            shutil.copy(source, tree / name)
