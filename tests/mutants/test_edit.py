"""Where an edit finds its place, and what it refuses to put there."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

import pytest

from tests.mutants.catalogue import MUTANTS
from tests.mutants.edit import Edit
from tests.mutants.mutant import ROOT, sources_in
from tests.mutants.pattern import NotPlanted

SOURCES = sources_in(ROOT)
BANK = {
    "atm/router.py": "import sys\n\nclass RequestRouter:\n    LIMIT: int = 3\n"
    "    def close(self):\n        self.open = 1\n",
    "atm/server/till.py": "class Till:\n    def close(self, why):\n        self.open = why\n\nRATE = 3\n",
    "atm/client/till.py": "class Till:\n    async def close(self, how):\n        self.open = how\n",
}


def not_planted(sources: Mapping[str, str]) -> set[str]:
    """Return the names of the mutants that do not apply to `sources`."""
    names = set()
    for mutant in MUTANTS:
        try:
            mutant.applied_to(sources)
        except NotPlanted:
            names.add(mutant.name)
    return names


class Renaming(ast.NodeTransformer):
    """Gives every parameter and local variable of every function another name."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        outer = self._names
        self._names = outer | {
            name
            for below in ast.walk(node)
            for name in (
                below.arg if isinstance(below, ast.arg) else None,
                below.id if isinstance(below, ast.Name) and isinstance(below.ctx, ast.Store) else None,
                below.name if isinstance(below, ast.ExceptHandler | ast.MatchAs) else None,
            )
            if name not in {None, "self", "cls"}
        }
        self.generic_visit(node)
        self._names = outer
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = _visit_function

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        node.names = [f"renamed_{name}" if name in self._names else name for name in node.names]
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        field = {ast.Name: "id", ast.arg: "arg", ast.ExceptHandler: "name", ast.MatchAs: "name"}.get(
            type(node), ""
        )
        if getattr(node, field, None) in self._names:
            setattr(node, field, "renamed_" + getattr(node, field))
        return super().generic_visit(node)


def test_mutants_outlive_new_names_of_all_local_variables_and_another_layout() -> None:
    """What `ast.unparse` prints has no comments, other quotes, other parentheses and other line breaks."""
    renamed = {file: ast.unparse(Renaming().visit(ast.parse(text))) for file, text in SOURCES.items()}
    assert "renamed_ready.hard_state" in renamed["atm/server/group/perform.py"]
    assert not_planted(renamed) == set()


def test_mutants_outlive_new_names_of_what_they_are_not_about() -> None:
    renamed = SOURCES
    for name in ("_disk", "_file", "_folder", "_cursor", "_links", "_jobs", "_voter", "OsDisk"):
        before, other = renamed, "OperatingSystem" if name == "OsDisk" else f"{name}_anew"
        renamed = {file: re.sub(rf"\b{name}\b", other, text) for file, text in before.items()}
        assert renamed != before
    about_it = {mutant.name for mutant in MUTANTS if "OsDisk." in mutant.symbols}
    assert about_it
    assert not_planted(renamed) == about_it


def test_mutants_outlive_moves_of_files_and_of_a_class_to_another_file() -> None:
    moved = {f"atm/rooms/{file.replace('/', '_')}": text for file, text in SOURCES.items()}
    whole = moved["atm/rooms/atm_raft_progress.py"]
    tree = ast.parse(whole)
    [progress] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Progress"]
    text = ast.get_source_segment(whole, progress)
    imports = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert text is not None
    moved["atm/rooms/atm_raft_progress.py"] = whole.replace(text, "pass")
    moved["atm/rooms/progress.py"] = "\n".join([*imports, text])
    told_by_file = {mutant.name for mutant in MUTANTS if any(":" in edit.symbol for edit in mutant.edits)}
    assert not_planted(moved) == told_by_file, "only a symbol that is not unique names its file"
    free = [mutant for mutant in MUTANTS if mutant.name not in told_by_file]
    changed = [file for mutant in free for file in mutant.applied_to(moved)]
    assert "atm/rooms/progress.py" in changed


@pytest.mark.parametrize(
    ("symbol", "old", "new", "file", "changed"),
    [
        ("RequestRouter.close", "self.open = 1", "self.open = 2", "atm/router.py", "self.open = 2"),
        ("RequestRouter.LIMIT", "3", "4", "atm/router.py", "LIMIT: int = (4)"),
        ("RATE", "RATE = 3", "RATE = 4", "atm/server/till.py", "RATE = 4"),
        ("server.till:Till.close", "x_.open = y_", "y_.open = x_", "atm/server/till.py", "why.open = self"),
        ("atm.client.till:Till", "x_.open = y_", "y_.open = x_", "atm/client/till.py", "how.open = self"),
        ("RequestRouter", "self.open = 1", "self.open = len(sys.argv)", "atm/router.py", "len(sys.argv)"),
    ],
)
def test_a_symbol_is_found_by_name_in_any_module(
    symbol: str, old: str, new: str, file: str, changed: str
) -> None:
    sources = {**BANK, "atm/new.py": "argv = 1\n"}
    found, result = Edit(symbol, old, new).applied_to(sources)
    assert found == file
    assert changed in result


@pytest.mark.parametrize(
    ("symbol", "new", "why"),
    [
        ("Till.close", "pass", "2 times.*atm.client.till:Till.close"),
        ("till:Till.close", "pass", "2 times"),
        ("ill:Till.close", "pass", "0 times"),
        ("Office.close", "pass", "0 times.*atm.router:RequestRouter.close"),
        ("RequestRouter.close", "self.open = 1", "nothing changes"),
        ("RequestRouter.close", "self.open = why", "nothing has these names.*why"),
        ("RequestRouter.close", "self.shut = 1", "nothing has these names.*shut"),
        ("RequestRouter.close", "continue", "no Python any more"),
    ],
)
def test_an_edit_that_cannot_be_made_or_means_nothing_says_so(symbol: str, new: str, why: str) -> None:
    with pytest.raises(NotPlanted, match=why):
        Edit(symbol, "self.open = 1", new).applied_to(BANK)
