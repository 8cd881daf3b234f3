"""The code and the text of postings: kept, hashed, shown, found, exported; from feature level 2 on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import apsw
import msgspec
import pytest

from atm.identity import Role
from atm.ledger import finding
from atm.ledger.audit.auditing import audit
from atm.ledger.audit.extract import journal_lines
from atm.ledger.audit.read_only import open_read_only
from atm.ledger.commands import (
    PAGE_TEXTS_BYTES_MAX,
    TEXT_BYTES_MAX,
    TEXT_CHARS_MAX,
    Credit,
    Exceptions,
    Find,
    Line,
    Lookup,
    Statement,
    Watch,
)
from atm.ledger.ledger import Ledger
from tests.support.entries import command, entry, logged, records

LINES = [
    "level 2",
    "o1 open ann",
    "c1 credit main 500 code 7 for Rent November",
    "c2 credit main 5",
    "d1 debit main 5 code 8",
    "t1 transfer main ann 20 for rent: flat 2",
    "b1 batch main ann 1, main ann 2 code 7 for wages",
    "h1 hold main 10 60s code 9 for at the hotel",
    "p1 post h1 code 7 for bill 12",
    "r1 reverse t1 code 65535",
    "w1 write_off main 3 for ÄÖ",
]
SAID = [
    ("c1", 7, "Rent November"),
    ("c2", None, None),
    ("d1", 8, None),
    ("t1", None, "rent: flat 2"),
    ("b1", 7, "wages"),
    ("b1", 7, "wages"),
    ("p1", 7, "bill 12"),
    ("r1", 65535, None),
    ("w1", None, "ÄÖ"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with closing(Ledger(path)) as found:
        found.apply(records(LINES))
        yield found


def said(lines: tuple[Line, ...] | None) -> list[tuple[str, int | None, str | None]]:
    assert lines is not None
    return [(line.request_id, line.code, line.text) for line in lines]


def found(ledger: Ledger, **asked: object) -> list[str]:
    request = msgspec.convert({"id": "f", "op": "find", **asked}, Find)
    return [request_id for request_id, *_ in said(ledger.view(request).lines)]


def test_a_statement_and_the_list_of_exceptions_say_what_a_posting_is_for(ledger: Ledger) -> None:
    assert said(ledger.view(Statement(id="s", account="main")).lines) == SAID[::-1]
    assert said(ledger.view(Statement(id="s", account="cash")).lines) == [
        row for row in SAID[::-1] if row[0] in {"c1", "c2", "d1", "p1"}
    ]
    assert said(ledger.view(Exceptions(id="e")).lines) == [("w1", None, "ÄÖ")]


def test_the_code_and_the_text_are_part_of_what_is_asked(ledger: Ledger) -> None:
    kept = ledger.view(Lookup(id="l", request_id="c1"))
    assert kept.asked is not None
    assert json.loads(kept.asked.details or "") == {"code": 7, "text": "Rent November"}
    again = records([*LINES[2:], LINES[2] + "!", "c2 credit main 5 code 7", "d1 debit main 5"], 12)
    receipts = [receipt.outcome if receipt else None for receipt in ledger.apply(again)]
    assert receipts == ["ok"] * 9 + ["id_reused"] * 3


def test_the_chain_covers_the_code_and_the_text_and_nothing_else_is_new(path: Path, ledger: Ledger) -> None:
    ledger.write()
    with open_read_only(path) as cursor:
        rows = cursor.execute("select * from journal left join remark using (posting) order by posting")
        last, texts = bytes(32), []
        for *columns, found_hash, _log_index, code, text in rows:
            whole = " ".join(map(str, columns))
            if (code, text) != (None, None):
                whole += " " + json.dumps([code, text], ensure_ascii=False, separators=(",", ":"))
            last = sha256(last + whole.encode()).digest()
            assert last == found_hash
            texts.append((columns[-1], code, text))
    assert texts == SAID


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"code": 7}, ["p1", "b1", "b1", "c1"]),
        ({"code": 7, "limit": 2}, ["p1", "b1"]),
        ({"text": "RENT"}, ["t1", "c1"]),
        ({"text": "Rent", "whole": True}, []),
        ({"text": "Rent November", "whole": True}, ["c1"]),
        ({"code": 7, "text": "a"}, ["b1", "b1"]),
        ({"code": 8, "text": "wages", "whole": True}, []),
        ({"code": 7, "text": "wages", "whole": True}, ["b1", "b1"]),
        ({"text": "%"}, []),
        ({"text": "12"}, ["p1"]),
        ({"code": 1}, []),
        ({"text": "ÄÖ"}, ["w1"]),
        ({"text": "at the hotel"}, []),
    ],
)
def test_postings_are_found_by_code_and_text(
    ledger: Ledger, asked: dict[str, object], expected: list[str]
) -> None:
    assert found(ledger, **asked) == expected


def test_a_page_of_what_is_found_leads_to_the_next(ledger: Ledger) -> None:
    first = ledger.view(Find(id="f", code=7, limit=2))
    assert (len(first.lines or ()), first.next) == (2, (first.lines or ())[-1].posting)
    second = ledger.view(Find(id="f", code=7, limit=2, before=int(first.next or 0)))
    assert [line.request_id for line in second.lines or ()] == ["b1", "c1"]
    assert second.next is None


def test_a_page_looks_at_so_many_postings_and_says_where_to_go_on(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "LOOKED_AT_MAX", 3)
    pages, before = [], None
    while True:
        page = ledger.view(Find(id="f", text="e", before=before))
        pages.append([line.request_id for line in page.lines or ()])
        if page.next is None:
            break
        before = int(page.next)
    assert pages == [[], ["b1", "b1", "t1"], ["c1"]]


def test_a_page_has_no_more_texts_than_fit_a_frame() -> None:
    text = "\U0001f3e6" * TEXT_CHARS_MAX
    assert len(text.encode()) == TEXT_BYTES_MAX
    with closing(Ledger(":memory:")) as ledger:
        ledger.apply(records(["level 2", *(f"c{n} credit main 1 for {text}" for n in range(80))]))
        page = ledger.view(Statement(id="s", account="main", limit=50))
        assert page.lines is not None
        assert len(page.lines) == PAGE_TEXTS_BYTES_MAX // TEXT_BYTES_MAX
        assert page.next == page.lines[-1].posting


def test_a_watch_tells_codes_and_texts_no_more_than_fit_a_frame_and_where_to_go_on() -> None:
    text = "\U0001f3e6" * TEXT_CHARS_MAX
    with closing(Ledger(":memory:")) as ledger:
        ledger.apply(records(["level 2", *(f"c{n} credit main 1 code 7 for {text}" for n in range(30))]))
        page = ledger.view(Watch(id="w"))
        assert page.postings is not None
        assert len(page.postings) == PAGE_TEXTS_BYTES_MAX // TEXT_BYTES_MAX
        assert {(posting.code, posting.text) for posting in page.postings} == {(7, text)}
        assert page.next == page.postings[-1].posting
        rest = ledger.view(Watch(id="w", after=int(page.next)))
        assert rest.postings is not None
        assert len(page.postings) + len(rest.postings) == 30
        assert rest.next is None


def test_what_an_approval_carried_out_has_the_code_and_the_text_that_were_asked(path: Path) -> None:
    with closing(Ledger(path)) as ledger:
        ledger.apply(records(["level 2", "n1 set_approval_limit write_off 0"]))
        asked = logged(command("w1 write_off main 3 code 7 for loss"), "otto", Role.OPERATOR)
        ledger.apply([(3, 3000, asked), (4, 4000, logged(command("a1 approve w1"), "olga", Role.OPERATOR))])
        assert said(ledger.view(Statement(id="s", account="main")).lines) == [("a1", 7, "loss")]
    assert audit(path).problems == ()


def test_an_export_has_both_and_an_audit_finds_the_ledger_sound(path: Path, ledger: Ledger) -> None:
    ledger.write()
    with open_read_only(path) as cursor:
        assert [(line.request_id, line.code, line.text) for line in journal_lines(cursor)] == SAID
    assert audit(path).problems == ()


@pytest.mark.parametrize(
    "damage",
    [
        "update remark set text = 'Rent December' where text = 'Rent November'",
        "update remark set code = 8 where code = 7",
        "delete from remark where code = 8",
        "insert into remark select posting, 1, null from journal where request_id = 'c2'",
    ],
)
def test_an_audit_finds_a_remark_that_was_changed(path: Path, damage: str) -> None:
    with closing(Ledger(path)) as ledger:
        ledger.apply(records(LINES))
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(damage)
    problems = audit(path).problems
    assert any("its hash does not fit" in line for line in problems)
    assert any("its code and text are" in line for line in problems)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " a",
            "a ",
            "x" * 141,
            "a\nb",
            "a\x00b",
            "a\x7fb",
            "a\x85b",
            "a\u00a0b",
            "a\u200bb",
            "a\u202eb",
        ),
        *("a\u2028b", "a\u2066b", "\ufeffa", "a\u00adb", "a\U000e0041b", "a\n", "\t"),
    ],
)
def test_a_text_is_what_a_screen_shows_as_it_is(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"op": "credit", "id": "c", "account": "ann", "amount": 1, "text": text}, Credit)


@pytest.mark.parametrize(
    "text", ["a", "x" * 140, "Übertrag 12/2026 (Miete)", "家賃", "\U0001f3e6", "a  b", '"\\']
)
def test_a_text_may_be_in_any_language(text: str) -> None:
    said = {"op": "credit", "id": "c", "account": "ann", "amount": 1, "text": text}
    assert msgspec.convert(said, Credit).text == text


@pytest.mark.parametrize(
    "line", ["c9 credit main 5 code 7", "c9 credit main 5 for rent", "d9 debit main all"]
)
def test_below_feature_level_2_such_an_entry_changes_nothing(line: str) -> None:
    with closing(Ledger(":memory:")) as ledger:
        ledger.apply(records(["c1 credit main 50"]))
        [receipt] = ledger.apply([(2, 2000, entry(line))])
        assert receipt is not None
        assert (receipt.outcome, receipt.balance) == ("not_allowed", None)
        assert ledger.view(Find(id="f", code=7)).lines == ()
