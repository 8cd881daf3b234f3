"""One change of the sources: where, what, and what it becomes."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from msgspec import Struct

from tests.mutants.pattern import NotPlanted, changed, is_placeholder, parsed


class Edit(Struct, frozen=True):
    """In the function, class or constant `symbol`, what matches the pattern `old` becomes `new`.

    `symbol` is a qualified name from anywhere in `atm/`. If several modules have one of that name, the end of
    the module's name goes before it: `client.connection:Connection.close`. For patterns see `pattern`.
    """

    symbol: str
    old: str
    new: str

    def applied_to(self, sources: Mapping[str, str]) -> tuple[str, str]:
        """Return the file that the symbol is in, and what it becomes; raise `NotPlanted`."""
        file, definition = self._definition(sources)
        source = sources[file]
        try:
            self._check_names(definition, source, sources.values())
            result = changed(source, definition, self.old, self.new)
        except NotPlanted as error:
            raise NotPlanted(f"{self.symbol} in {file}: {error}") from error
        try:
            compile(result, file, "exec")
        except SyntaxError as error:
            raise NotPlanted(f"{self.symbol}: {file} is no Python any more: {error}") from error
        return file, result

    def _definition(self, sources: Mapping[str, str]) -> tuple[str, ast.stmt]:
        module, _, qualified = self.symbol.rpartition(":")
        found = [
            (file, definition)
            for file, source in sources.items()
            if f".{_module(file)}".endswith(f".{module}" if module else "")
            for definition in _symbols(source).get(qualified, ())
        ]
        if len(found) != 1:
            last = qualified.rpartition(".")[2]
            alike = sorted(
                f"{_module(file)}:{symbol}"
                for file, source in sources.items()
                for symbol in _symbols(source)
                if symbol.rpartition(".")[2] == last
            )
            raise NotPlanted(f"{self.symbol} is there {len(found)} times; of that name are: {alike}")
        return found[0]

    def _check_names(self, definition: ast.stmt, source: str, sources: Iterable[str]) -> None:
        """Raise `NotPlanted` if `new` has a name that means nothing there: any test would catch that."""
        names, attributes = set(), set()
        for statement in parsed(self.new):
            for node in ast.walk(statement):
                match node:
                    case ast.Name(name, ast.Load()) if not is_placeholder(name):
                        names.add(name)
                    case ast.Attribute(_, name) if not is_placeholder(name):
                        attributes.add(name)
        here = _identifiers(definition) | _globals(source) | vars(builtins).keys()
        everywhere = frozenset().union(*(_identifiers(_tree(each)) for each in sources))
        unknown = (names - here) | (attributes - everywhere)
        if unknown:
            raise NotPlanted(
                f"nothing has these names of what is to be planted: {', '.join(sorted(unknown))}"
            )


@cache
def _tree(source: str) -> ast.Module:
    return ast.parse(source)


def _module(file: str) -> str:
    """`atm.server.group.inbox` of `atm/server/group/inbox.py`."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def _symbols(source: str) -> dict[str, list[ast.stmt]]:
    """Return the definitions of a module, and of its classes, by qualified name."""
    found: dict[str, list[ast.stmt]] = {}
    for symbol, statement in _defined(_tree(source).body, ""):
        found.setdefault(symbol, []).append(statement)
    return found


def _defined(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, ast.stmt]]:
    for statement in body:
        match statement:
            case ast.ClassDef(name):
                yield prefix + name, statement
                yield from _defined(statement.body, f"{prefix}{name}.")
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name):
                yield prefix + name, statement
            case ast.Assign([ast.Name(name)]) | ast.AnnAssign(ast.Name(name)):
                yield prefix + name, statement


@cache
def _globals(source: str) -> frozenset[str]:
    imports = (each for each in _tree(source).body if isinstance(each, ast.Import | ast.ImportFrom))
    names = {alias.asname or alias.name.partition(".")[0] for each in imports for alias in each.names}
    return frozenset(_symbols(source).keys() | names)


@cache
def _identifiers(node: ast.AST) -> frozenset[str]:
    """Return all names in and below a node, of variables, attributes, arguments and definitions."""
    return frozenset(
        name
        for below in ast.walk(node)
        if not isinstance(below, ast.Constant)
        for _, name in ast.iter_fields(below)
        if isinstance(name, str)
    )
