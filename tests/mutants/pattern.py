"""Find a place in Python source by what it says, whatever its layout and its local names, and change it.

A pattern is Python. It is compared as a syntax tree, so that layout, comments and quoting do not count, and

- a name that ends with `_` is a placeholder: `entry_` stands for any expression, `self.disk_` for any
  attribute, `case votes_:` for any pattern of a `case`; wherever it comes again, it is the same thing;
- `...` stands for anything: an expression, or any number of statements, of arguments or of elements. In the
  replacement, the first `...` stands for the same as the first in the pattern, and so on.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from textwrap import dedent, indent
from typing import Any, TypeAlias

Nodes: TypeAlias = Sequence[ast.expr] | Sequence[ast.stmt]
Bound: TypeAlias = Mapping[str, Any]  # what placeholders stand for: an identifier, a node, or a list of nodes

_BEHIND = "..."  # the statements of a block behind those that match; holes of patterns have a number


class NotPlanted(Exception):
    """The place is not there exactly once, or what is to stand there makes no sense in it."""


def changed(source: str, within: ast.stmt, old: str, new: str) -> str:
    """Return `source` with `new` in the one place in its node `within` that matches `old`.

    If both are single expressions, an expression is replaced; otherwise neighbouring statements are.
    All other text stays as it is. Raise `NotPlanted`.
    """
    pattern, replacement = parsed(old), parsed(new)
    one_expression = all(len(body) == 1 and isinstance(body[0], ast.Expr) for body in (pattern, replacement))
    find = _expressions if one_expression else _statements
    found = list(find(pattern, within))
    if len(found) != 1:
        lines = ", ".join(str(nodes[0].lineno) for nodes, _ in found) or "none"
        raise NotPlanted(f"found {len(found)} times (lines: {lines}):\n{dedent(old)}")
    nodes, bound = found[0]
    filled = ast.unparse(_Filling(bound).visit(ast.Module(replacement, [])))
    if filled == "\n".join(map(ast.unparse, nodes)):
        raise NotPlanted("nothing changes")
    return _spliced(source, nodes, filled)


def parsed(pattern: str) -> list[ast.stmt]:
    """Return the statements of a pattern, its `...` as names with numbers, `...1`; raise `NotPlanted`."""
    try:
        tree = ast.parse(dedent(pattern))
    except SyntaxError as error:
        raise NotPlanted(f"no Python: {error}:\n{pattern}") from error
    if not tree.body:
        raise NotPlanted("an edit has an empty side; what is to go becomes `pass`")
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    holes = sorted((node.lineno, node.col_offset) for node in constants if node.value is ...)

    class Numbering(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> ast.expr:
            if node.value is not ...:
                return node
            number = holes.index((node.lineno, node.col_offset)) + 1
            return ast.copy_location(ast.Name(f"{_BEHIND}{number}", ast.Load()), node)

    body: list[ast.stmt] = Numbering().visit(tree).body
    return body


def is_placeholder(name: str) -> bool:
    """Whether a name in a pattern stands for something else."""
    return name.startswith(_BEHIND) or (name.endswith("_") and not name.endswith("__") and name != "_")


# -- matching ------------------------------------------------------------------------------------------


def _expressions(pattern: Sequence[ast.stmt], within: ast.stmt) -> Iterator[tuple[Nodes, Bound]]:
    """Yield each expression in `within` that matches, and how."""
    [statement] = pattern
    assert isinstance(statement, ast.Expr)
    for node in _below(within):
        if isinstance(node, ast.expr):
            for bound in _first(_match(statement.value, node, {})):
                yield [node], bound


def _statements(pattern: Sequence[ast.stmt], within: ast.stmt) -> Iterator[tuple[Nodes, Bound]]:
    """Yield each run of neighbouring statements in `within` that matches, and how."""
    with_rest = [*pattern, ast.Name(_BEHIND)]
    for node in (ast.Module([within], []), *_below(within)):
        for _, block in ast.iter_fields(node):
            if not isinstance(block, list) or not all(isinstance(each, ast.stmt) for each in block):
                continue
            for start in range(len(block)):
                for bound in _first(_match_list(with_rest, block[start:], {})):
                    yield block[start : len(block) - len(bound[_BEHIND])], bound


def _below(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and all below it, but nothing inside of f-strings, where positions are not reliable."""
    yield node
    if not isinstance(node, ast.JoinedStr):
        for child in ast.iter_child_nodes(node):
            yield from _below(child)


def _first(ways: Iterator[Bound]) -> list[Bound]:
    way = next(ways, None)
    return [] if way is None else [way]


def _match(pattern: Any, found: Any, bound: Bound) -> Iterator[Bound]:
    """Yield each way in which `found` matches: `bound`, and what the placeholders in `pattern` stand for."""
    name = _placeholder_for(pattern, found)
    if name is not None:
        value = _plain(found)
        if name not in bound:
            yield {**bound, name: value}
        elif _shape(bound[name]) == _shape(value):
            yield bound
    elif type(pattern) is not type(found):
        return
    elif isinstance(pattern, list):
        yield from _match_list(pattern, found, bound)
    elif isinstance(pattern, ast.Constant):
        if (type(pattern.value), pattern.value) == (type(found.value), found.value):
            yield bound
    elif isinstance(pattern, ast.AST):
        yield from _match_each(_parts(pattern), _parts(found), bound)
    elif pattern == found:
        yield bound


def _match_each(patterns: Sequence[Any], found: Sequence[Any], bound: Bound) -> Iterator[Bound]:
    if not patterns:
        yield bound
        return
    for way in _match(patterns[0], found[0], bound):
        yield from _match_each(patterns[1:], found[1:], way)


def _match_list(patterns: Sequence[Any], found: Sequence[Any], bound: Bound) -> Iterator[Bound]:
    if not patterns:
        if not found:
            yield bound
    elif (hole := _hole(patterns[0])) is not None:
        for size in range(len(found) + 1):
            yield from _match_list(patterns[1:], found[size:], {**bound, hole: found[:size]})
    elif found:
        for way in _match(patterns[0], found[0], bound):
            yield from _match_list(patterns[1:], found[1:], way)


def _parts(node: ast.AST) -> list[Any]:
    """Return what is compared; the arguments of a call are one list, so that one `...` covers all."""
    if isinstance(node, ast.Call):
        return [node.func, [*node.args, *node.keywords]]
    return [value for _, value in ast.iter_fields(node)]


def _placeholder_for(pattern: Any, found: Any) -> str | None:
    """Return the name of a placeholder that may stand for `found`."""
    match pattern, found:
        case (str(name), str()) | (ast.Name(name), ast.expr()):
            pass
        case ast.MatchAs(None, str(name)), ast.pattern():
            pass
        case _:
            return None
    return name if is_placeholder(name) else None


def _hole(node: Any) -> str | None:
    """Return the name of a `...` among the nodes of a list."""
    match node:
        case ast.Name(name) | ast.Expr(ast.Name(name)) if name.startswith(_BEHIND):
            return name
    return None


def _plain(found: Any) -> Any:
    """Return a bare name as an identifier, so that it is the same in expressions and everywhere else."""
    match found:
        case ast.Name(name) | ast.MatchAs(None, str(name)):
            return name
    return found


def _shape(value: Any) -> Any:
    """Return what two things have in common that are the same but for position and context."""
    match value:
        case ast.Constant(constant):
            return ast.Constant, type(constant), constant
        case ast.expr_context():
            return None
        case ast.AST():
            return type(value), [_shape(part) for _, part in ast.iter_fields(value)]
        case list():
            return [_shape(part) for part in value]
    return value


# -- replacing -----------------------------------------------------------------------------------------


class _Filling(ast.NodeTransformer):
    """Puts what placeholders stand for in their places; raises `NotPlanted` if one stands for nothing."""

    def __init__(self, bound: Bound) -> None:
        self._bound = bound

    def visit_Name(self, node: ast.Name) -> Any:
        value = self._value(node.id)
        return ast.Name(value, node.ctx) if isinstance(value, str) else value

    def visit_MatchAs(self, node: ast.MatchAs) -> Any:
        value = self._value(node.name) if node.pattern is None and node.name is not None else None
        return value if isinstance(value, ast.pattern) else self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> Any:
        hole = _hole(node)
        value = None if hole is None else self._value(hole)
        statements = isinstance(value, list) and all(isinstance(each, ast.stmt) for each in value)
        return value if statements else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        node.keywords = [*(each for each in node.args if isinstance(each, ast.keyword)), *node.keywords]
        node.args = [each for each in node.args if not isinstance(each, ast.keyword)]
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return node  # a text is no identifier, whatever it ends with

    def generic_visit(self, node: ast.AST) -> ast.AST:
        lists = {field for field, value in ast.iter_fields(node) if isinstance(value, list)}
        for field, name in ast.iter_fields(node):
            if isinstance(name, str):
                value = self._value(name)
                if not isinstance(value, str):
                    raise NotPlanted(f"{name} stands for more than a name, and is used as one")
                setattr(node, field, value)
        super().generic_visit(node)
        if not lists.issuperset(field for field, value in ast.iter_fields(node) if isinstance(value, list)):
            raise NotPlanted("`...` stands for several things, and is used as one")
        return node

    def _value(self, name: str) -> Any:
        if not is_placeholder(name):
            return name
        if name not in self._bound:
            raise NotPlanted(f"{name} stands for nothing: it is not in what is replaced")
        return self._bound[name]


def _spliced(source: str, nodes: Nodes, text: str) -> str:
    """Return `source` with `text` in place of neighbouring nodes."""
    data = source.encode()
    lines = [0, *accumulate(map(len, data.splitlines(keepends=True)))]
    first, last = nodes[0], nodes[-1]
    start_line = min([first.lineno, *(each.lineno for each in getattr(first, "decorator_list", ()))])
    start = lines[start_line - 1] + first.col_offset
    assert last.end_lineno is not None
    assert last.end_col_offset is not None
    end = lines[last.end_lineno - 1] + last.end_col_offset
    if isinstance(first, ast.expr):
        text = f"({text})"
    else:
        if data[start:end].startswith(b"elif"):
            text = "else:\n" + indent(text, "    ")
        text = indent(text, " " * first.col_offset).lstrip(" ")
    return (data[:start] + text.encode() + data[end:]).decode()
