"""What a pattern matches, and what it leaves of the source."""

from __future__ import annotations

import ast
from textwrap import dedent

import pytest

from tests.mutants.pattern import NotPlanted, changed


def change(source: str, old: str, new: str) -> str:
    """Change the last definition in `source`, and see that the result is Python."""
    source = dedent(source)
    result = changed(source, ast.parse(source).body[-1], old, new)
    compile(result, "changed", "exec")
    return result


def body(*lines: str) -> str:
    return "def f(self):\n" + "".join(f"    {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("line", "old", "new", "changed_line"),
    [
        ("return a.b + 1", "x_.b", "x_", "return (a) + 1"),
        ("return a[1] == a[1]", "x_ == x_", "x_", "return (a[1])"),
        ("return self.a(b, c)", "self.a_(b_, c_)", "self.a_(c_, b_)", "return (self.a(c, b))"),
        ("return self.a(self.a)", "self.a_(self.a_)", "None", "return (None)"),
        ("send( 'a',key = ä )  # é", 'send("a", key=k_)', "send(k_)", "(send(ä))  # é"),
        ("send(a, *b, key=1)", "send(...)", "keep(...)", "(keep(a, *b, key=1))"),
        ("send(a, b, c, key=1)", "send(a_, ..., key=1)", "send(..., a_)", "(send(b, c, a))"),
        ("return a and b and c", "x_ and ...", "...", None),
        ("return a and b and c", "x_ and b and ...", "x_ and ...", "return (a and c)"),
        ("return [a, b, c], 1", "[..., c]", "[...]", "return ([a, b]), 1"),
        ("return await_(1)", "await_", "None", None),
        ("x = lambda y: y + 1", "y_ + 1", "y_ + 2", "x = lambda y: (y + 2)"),
        ("self.x, y = y, self.x", "self.x, y_ = ...", "y_ = ...", "y = (y, self.x)"),
        ("if a: return 1", "if a_: ...", "if not a_: ...", "if not a:\n        return 1"),
        ("return f'{a + 1}' + (a + 1)", "a_ + 1", "a_", "return f'{a + 1}' + ((a))"),
        ("return f(a, b), a, b", "f(...)", "...", None),
        ("return f(a, b), a, b", "f(...)", "-...", None),
    ],
)
def test_what_matches_is_replaced_and_nothing_else(
    line: str, old: str, new: str, changed_line: str | None
) -> None:
    source = body("before = 1  # stays", line, "after  =  2")
    if changed_line is None:
        with pytest.raises(NotPlanted):
            change(source, old, new)
    else:
        assert change(source, old, new) == body("before = 1  # stays", changed_line, "after  =  2")


@pytest.mark.parametrize(
    ("lines", "old"),
    [
        (["a = 1"], "b_.c = 1"),
        (["x(1)"], "x(True)"),
        (["a(1)", "a(1)"], "a(1)"),
        (["a(b)", "c(d)"], "a_(b_)"),
        (["if a:", "    x()", "else:", "    x()"], "x()"),
        (["return a == b"], "x_ == x_"),
        (["return f'{a(1)}'"], "a(1)"),
        (["a = 1"], "a = "),
        (["a = 1"], "# nothing"),
    ],
)
def test_what_is_there_never_or_twice_or_is_no_pattern_is_refused(lines: list[str], old: str) -> None:
    with pytest.raises(NotPlanted):
        change(body(*lines), old, "None")


@pytest.mark.parametrize("new", ["b_", "x.b_", "x(...)", "..."])
def test_a_placeholder_that_stands_for_nothing_is_refused(new: str) -> None:
    with pytest.raises(NotPlanted, match="stands for nothing"):
        change(body("return a + 1"), "a_ + 1", new)


def test_what_stands_for_an_expression_is_no_attribute() -> None:
    with pytest.raises(NotPlanted, match="more than a name"):
        change(body("return a[0] + 1"), "a_ + 1", "self.a_")


def test_the_only_statement_of_a_block_becomes_pass() -> None:
    source = body("for a in b:", "    self.x(a)  # why", "return 1")
    assert change(source, "self.x(a_)", "pass") == source.replace("self.x(a)", "pass")


def test_statements_are_dropped_swapped_and_wrapped() -> None:
    source = body("with a as b:", "    one(b)", "    # between", "    two(b)", "three()")
    assert change(source, "one(b_); two(b_)", "two(b_)") == body("with a as b:", "    two(b)", "three()")
    swapped = body("with a as b:", "    two(b)", "    one(b)", "three()")
    assert change(source, "one(...); two(...)", "two(...); one(...)") == swapped
    wrapped = body("with a as b:", "    one(b)", "    # between", "    if b:", "        two(b)", "three()")
    assert change(source, "two(b_)", "if b_: two(b_)") == wrapped


def test_statements_around_others_are_found_by_an_ellipsis() -> None:
    source = body("one()", "two()", "three()", "four()")
    assert change(source, "two()\n...\nfour()", "four()\n...") == body("one()", "four()", "three()")
    assert change(source, "one()\n...\nfour()", "one(); four()") == body("one()", "four()")


def test_an_elif_becomes_whatever_it_is_replaced_by() -> None:
    source = body("if a:", "    x()", "elif b:", "    y()", "else:", "    z()")
    nested = ("else:", "    if c:", "        y()", "    else:", "        z()")
    old, new = "if b: ...\nelse: ...", "if c: ...\nelse: ..."
    assert change(source, old, new) == body("if a:", "    x()", *nested)
    assert change(source, old, "pass") == body("if a:", "    x()", "else:", "    pass")


def test_decorators_belong_to_what_they_decorate() -> None:
    source = """\
        class C:
            @cache
            @held(by=1)
            def f(self) -> int:
                return 1
    """
    assert change(source, "held(by=1)", "held(by=2)") == dedent(source).replace("held(by=1)", "(held(by=2))")
    without = "class C:\n    @cache\n    def f(self) -> int:\n        return 1\n"
    old = "@cache\n@held(by=1)\ndef f_(self) -> int: ..."
    assert change(source, old, "@cache\ndef f_(self) -> int: ...") == without


def test_what_is_asynchronous_is_matched_as_such() -> None:
    source = """\
        async def f(lock):
            async with lock as held:
                await held.get(1)
    """
    assert "await (" not in change(source, "await x_.get(1)", "x_.get(1)")
    assert change(source, "async with lock_ as held_: ...", "with lock_ as held_: ...").count("async") == 1
    with pytest.raises(NotPlanted):
        change(source, "with lock_ as held_: ...", "pass")


def test_cases_are_matched_with_their_patterns() -> None:
    source = """\
        def f(x):
            match x:
                case A(b=True, c=votes) | B(votes):
                    votes.discard(x)
                case _:
                    pass
    """
    old = "match x_:\n    case A(b=True, c=v_) | B(v_):\n        v_.discard(x_)\n    case _:\n        ..."
    new = "match x_:\n    case B(v_):\n        v_.add(x_)\n    case _:\n        ..."
    lines = change(source, old, new).splitlines()
    assert lines[2:] == [
        "        case B(votes):",
        "            votes.add(x)",
        "        case _:",
        "            pass",
    ]
    old = "match x_:\n    case A(b=True, c=v_) | rest_:\n        ...\n    case _:\n        pass"
    lines = change(source, old, "match x_:\n    case rest_:\n        ...").splitlines()
    assert lines[2:] == ["        case B(votes):", "            votes.discard(x)"]


def test_text_is_never_a_placeholder() -> None:
    assert change(body("return g('a_')"), "g('a_')", "h('a_')") == body("return (h('a_'))")
    with pytest.raises(NotPlanted):
        change(body("return g('b')"), "g('a_')", "h('a_')")
