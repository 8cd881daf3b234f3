"""One planted defect: what becomes what in the sources, and the test that must notice."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from tests.mutants.edit import Edit
from tests.mutants.pattern import NotPlanted

ROOT = Path(__file__).parents[2]
COPIED = ("README.md", "atm", "bin", "course", "docs", "lessons", "tests", "pyproject.toml")


class Mutant(Struct, frozen=True, kw_only=True):
    """`edits` are made one after the other.

    `caught_by` is the scripted test that must fail, as pytest names it without parameters.
    """

    name: str
    what: str  # that goes wrong because of it, in a sentence
    edits: tuple[Edit, ...]
    caught_by: str

    @property
    def symbols(self) -> str:
        return ", ".join(dict.fromkeys(edit.symbol for edit in self.edits))

    @property
    def test_file(self) -> str:
        return self.caught_by.partition("::")[0]

    @property
    def room(self) -> str:
        """The folder of all tests that are concerned, or a single file."""
        folder = str(Path(self.test_file).parent)
        return self.test_file if folder == "tests" else folder

    def applied_to(self, sources: Mapping[str, str]) -> dict[str, str]:
        """Return those of the files that get the defect, with it; raise `NotPlanted`."""
        touched: dict[str, str] = {}
        for edit in self.edits:
            try:
                file, source = edit.applied_to({**sources, **touched})
            except NotPlanted as error:
                raise NotPlanted(f"{self.name}: {error}") from error
            touched[file] = source
        return touched

    def plant(self, tree: Path) -> None:
        """Put the defect into a copy of the project; raise `NotPlanted`."""
        for file, source in self.applied_to(sources_in(tree)).items():
            (tree / file).write_text(source, encoding="utf-8")


def sources_in(tree: Path) -> dict[str, str]:
    """Return the text of each file of `atm/`, by its path in a copy of the project."""
    return {
        path.relative_to(tree).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((tree / "atm").rglob("*.py"))
    }


def copy_project(tree: Path) -> None:
    """Copy what tests run on into the empty folder `tree`: sources only, so that nothing stale is run."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
        else:
            shutil.copy(source, tree / name)
