"""The model of the bank and the ledger decide alike, on a story that a person can follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from random import Random
from typing import Any

import msgspec
import pytest
from msgspec.structs import astuple

from atm.ledger import holds, reversals, rules, unit_of_work
from atm.ledger.commands import (
    Accounts,
    Approvals,
    BanksOwn,
    Command,
    Expire,
    Find,
    Holds,
    LevelRaise,
    LogCommand,
    LoggedCommand,
    Lookup,
    Query,
    RaiseHold,
    Read,
    ReadResult,
    Reverse,
    Statement,
)
from atm.ledger.ledger import Ledger
from atm.raft.messages import Entry, EntryKind
from atm.wire.codec import encode
from atm.wire.log_entries import command_data
from tests.simulation import bank_rules
from tests.simulation.bank_model import BankModel, receipt_row, said_besides
from tests.simulation.bank_rules import Bank
from tests.simulation.bank_views import view
from tests.simulation.plan import changed
from tests.simulation.workload import KnownRequests, Workload

HOUR_US = 3_600_000_000
NOON_US = 20_000 * 24 * HOUR_US + 12 * HOUR_US
PIN, WRONG = "a" * 64, "b" * 64

# Hour, request, and the outcome with the balance and what is available of it.
DAY = """
0   open a=ann                                          ok 0 0
0   credit a=main n=1000                                ok 1000 1000
0   credit a=ann n=500                                  ok 500 500
0   transfer a=main t=ann n=300                         ok 700 700
0   transfer a=main t=bob n=1                           no_such_account
0   transfer a=main t=cash n=1                          no_such_account
0   batch main>ann=700 ann>main=1500                    ok 1500 1500
0   batch main>ann=1 ann>main=2                         insufficient_funds 1500 1500
0   hold a=ann n=100 ms=3600000                         insufficient_funds 0 0
0   hold id=h1 a=main n=100 ms=3600000                  ok 1500 1400
0   debit a=main n=1401                                 insufficient_funds 1500 1400
0   post of=h1 n=101                                    exceeds_hold 1500 1400
0   post id=p1 of=h1 n=60                               ok 1440 1440
0   void of=h1                                          hold_already_posted 1440 1440
0   hold id=h2 a=main n=40 ms=3600000                   ok 1440 1400
0   void of=h2                                          ok 1440 1440
0   post of=h2                                          hold_already_voided 1440 1440
0   post of=h9                                          hold_not_found
0   hold id=h3 a=main n=1000 ms=3600000                 ok 1440 440
1   expire
1   void of=h3                                          hold_expired 1440 1440
1   debit a=main n=1400                                 ok 40 40
1   post id=p3 of=h3                                    ok -960 -960
1   close a=main                                        not_empty -960 -960
1   credit a=main n=1060                                ok 100 100
2   reverse of=p1 n=61                                  exceeds_original 100 100
2   reverse of=p1 n=20                                  ok 120 120
2   reverse of=p1                                       already_reversed 120 120
2   reverse of=late                                     original_not_found
2   debit id=late a=main n=1                            already_reversed
2   hold id=h4 a=ann n=1 ms=1                           insufficient_funds 0 0
2   credit id=c4 a=ann n=50                             ok 50 50
2   hold id=h5 a=ann n=50 ms=1                          ok 50 0
2   reverse of=c4                                       insufficient_funds 50 0
3   expire
3   transfer a=ann t=main n=50                          ok 0 0
3   close a=ann                                         ok 0 0
3   reverse of=c4                                       account_closed 0 0
3   post id=p5 of=h5                                    ok 0 0
3   reverse of=p5 n=10                                  ok -130 -130
3   open a=ann                                          account_closed 0 0
4   freeze a=main                                       ok 170 170
4   debit a=main n=1                                    account_frozen 170 170
4   unfreeze a=main                                     ok 170 170
5   set_pin a=main pin=PIN                              ok 170 170
5   debit a=main n=1                                    wrong_pin 170 170
5   debit a=main n=1 pin=WRONG                          wrong_pin 170 170
5   login a=main pin=WRONG                              wrong_pin 170 170
5   debit id=d5 a=main n=1 pin=PIN                      ok 169 169
5   debit id=d5 a=main n=1                              ok 169 169
5   debit id=d5 a=main n=2 pin=PIN                      id_reused 169 169
5   login a=main pin=WRONG                              wrong_pin 169 169
5   login a=main pin=WRONG                              wrong_pin 169 169
5   login a=main pin=WRONG                              wrong_pin 169 169
5   login a=main pin=PIN                                locked 169 169
5   unlock a=main                                       ok 169 169
6   set_limit a=main n=100                              ok 169 169
6   debit id=d6 a=main n=60 pin=PIN                     ok 109 109
6   hold id=h6 a=main n=41 ms=1 pin=PIN                 limit_exceeded 109 109
6   reverse of=d6 n=1                                   ok 110 110
6   hold id=h8 a=main n=41 ms=3600000 pin=PIN       ok 110 69
6   reverse of=h8 n=40                              exceeds_original 110 69
6   reverse id=back of=h8                           ok 110 110
6   reverse of=h8                                   already_reversed 110 110
6   void of=h8                                      hold_already_voided 110 110
6   reverse of=back                                 original_not_found
6   reverse of=h2                                   hold_already_voided 110 110
6   reverse of=h3                                   hold_already_posted 110 110
6   hold id=h7 a=main n=41 ms=1 pin=PIN                 ok 110 69
6   debit a=main n=1 pin=PIN                            limit_exceeded 110 69
7   expire
7   reverse of=h7                                   hold_expired 110 110
7   debit a=main n=41 pin=PIN                           ok 69 69
13  debit a=main n=69 pin=PIN                           ok 0 0
13  write_off a=cash n=5                                ok 45 45
14  credit a=main n=100                                 ok 100 100
14  login a=main pin=WRONG                              wrong_pin 100 100
14  login a=main pin=WRONG                              wrong_pin 100 100
14  login a=main pin=WRONG                              wrong_pin 100 100
14  level 2
15  login a=main pin=PIN                                locked 100 100
15  unlock a=main                                       ok 100 100
15  unlock a=main                                       ok 100 100
15  login a=main pin=PIN                                ok 100 100
15  debit a=main n=1                                    wrong_pin 100 100
15  debit a=main n=1 pin=WRONG                          wrong_pin 100 100
15  debit a=main n=1 pin=WRONG                          wrong_pin 100 100
15  hold a=main n=1 ms=1 pin=WRONG                      wrong_pin 100 100
15  login a=main pin=PIN                                locked 100 100
16  login a=main pin=WRONG                              wrong_pin 100 100
16  unlock a=main                                       ok 100 100
16  debit a=main n=1 pin=WRONG                          wrong_pin 100 100
16  unlock a=main                                       ok 100 100
16  debit a=main n=1 pin=WRONG                          wrong_pin 100 100
16  unlock a=main                                       limit_exceeded 100 100
17  debit a=main n=1 pin=PIN                            ok 99 99
17  login a=main pin=WRONG                              wrong_pin 99 99
17  login a=main pin=PIN                                ok 99 99
17  login a=main pin=WRONG                              wrong_pin 99 99
17  login a=main pin=PIN                                ok 99 99
17  login a=main pin=WRONG                              wrong_pin 99 99
17  login a=main pin=PIN                                ok 99 99
17  login a=main pin=WRONG                              wrong_pin 99 99
17  login a=main pin=PIN                                locked 99 99
36  unlock a=main                                       ok 99 99
36  login a=main pin=PIN                                ok 99 99
36  login a=main pin=WRONG                              wrong_pin 99 99
36  set_pin a=main pin=WRONG                            wrong_pin 99 99
36  reset_pin a=main                                    ok 99 99
36  reset_pin a=main                                    ok 99 99
36  debit a=main n=1                                    ok 98 98
36  set_pin a=main pin=WRONG                            ok 98 98
36  login a=main pin=PIN                                wrong_pin 98 98
36  login a=main pin=PIN                                wrong_pin 98 98
36  login a=main pin=PIN                                wrong_pin 98 98
""".strip().splitlines()


NUMBERS = dict.fromkeys(("n", "ms", "code"), int)
READ_AS: dict[str, Callable[[str], object]] = {
    **NUMBERS,
    "transfers": bool,
    "all": bool,
    "final": lambda word: word == "yes",
}


def request(words: list[str], number: int) -> LogCommand:
    """Return what a line of the day asks for."""
    op, *rest = words
    if op == "expire":
        return Expire(limit=int(rest[0]) if rest else None)
    if op == "batch":
        ends = [word.replace(">", "=").split("=") for word in rest]
        legs = [{"account": a, "target": t, "amount": int(n)} for a, t, n in ends]
        return made(op, {"id": f"r{number}", "legs": legs})
    said = dict(word.split("=") for word in rest)
    about = {"reverse": "original", "approve": "request", "set_approval_limit": "limited"}.get(op, "hold")
    names = {"a": "account", "t": "target", "n": "amount", "ms": "expires_ms", "of": about}
    values: dict[str, Any] = {"id": f"r{number}"}
    for name, value in said.items():
        plain = {"PIN": PIN, "WRONG": WRONG}.get(value, value)
        values[names.get(name, name)] = READ_AS.get(name, str)(plain)
    return made(op, values)


def made(op: str, values: dict[str, Any]) -> Command:
    command: Command = msgspec.convert({"op": op, **values}, Command)
    return command


def lived(ledger: Ledger, model: BankModel, day: Sequence[str] = DAY) -> list[str]:
    """Live through a day, an entry at a time, and compare all there is after each; return what differs."""
    wrong: list[str] = []
    for index, line in enumerate(day, 1):
        hour, *words = line.split()
        if words[0] == "level":
            wrong += raised(ledger, model, index, int(words[1]), NOON_US + int(hour) * HOUR_US + index)
            continue
        asked = next((n for n, word in enumerate(words) if n and "=" not in word), len(words))
        by = next((word for word in words if word.startswith("by=")), f"by=teller-{index % 3}/0")
        actor, roles = by.removeprefix("by=").rsplit("/", 1)
        command = request([word for word in words[:asked] if word != by], index)
        actor = "bank" if isinstance(command, BanksOwn) else actor
        if not isinstance(command, BanksOwn):
            model.readers.setdefault(command.id, set()).add(actor)
        time_us = NOON_US + int(hour) * HOUR_US + index
        [receipt] = ledger.apply([(index, time_us, LoggedCommand(actor, command, int(roles)))])
        model.commit(
            Entry(
                index=index,
                term=1,
                time_us=time_us,
                kind=EntryKind.COMMAND,
                data=command_data(actor, encode(command), int(roles)),
            )
        )
        decision = model.decisions[-1]
        expected = words[asked:]
        told = [] if decision is None else [str(part) for part in decision[1:4] if part is not None]
        assert told == expected, f"the model at {line}"
        found = receipt and (*astuple(receipt)[:6], said_besides(receipt))
        if found != decision:
            wrong.append(f"{line}: {found} and not {decision}")
        wrong += [
            f"{line}: {name}" for name, rows in model.tables(index).items() if rows != kept(ledger, name)
        ]
    return wrong


def raised(ledger: Ledger, model: BankModel, index: int, level: int, time_us: int) -> list[str]:
    """Raise the feature level on both, and return what differs then."""
    ledger.apply([(index, time_us, LevelRaise(level))])
    data = encode(LevelRaise(level))
    model.commit(Entry(index=index, term=1, time_us=time_us, kind=EntryKind.FEATURE_LEVEL, data=data))
    return [f"level: {name}" for name, rows in model.tables(index).items() if rows != kept(ledger, name)]


def kept(ledger: Ledger, table: str) -> list[tuple[Any, ...]]:
    rows = list(ledger._cursor.execute(f"select * from {table} order by 1"))
    return [receipt_row(row) for row in rows] if table == "receipt" else rows


def test_the_ledger_and_the_model_live_through_a_day_alike() -> None:
    model = BankModel()
    ledger = Ledger(":memory:")
    assert lived(ledger, model) == []
    reads: list[Read] = [Lookup(id="l", request_id=row[0]) for row in model.receipt.rows]
    for name in ("main", "ann", "cash", "writeoff", "bob"):
        reads.append(Query(id="q", account=name))
        reads += [Query(id="q", account=name, at_us=NOON_US + hour * HOUR_US) for hour in range(14)]
        reads += [Statement(id="s", account=name, limit=limit) for limit in (1, 3, 100)]
        reads += [Statement(id="s", account=name, limit=4, before=64 * index) for index in range(30, 60, 3)]
    reads += [Accounts(id="a", limit=limit) for limit in (1, 2, 3, 4, 100)]
    reads += [Accounts(id="a", limit=2, after=name) for name in ("0", "ann", "b", "bob", "main", "zoe")]
    for read in reads:
        for hour in (0, 36, 37, 60):
            found = ledger.view(read, NOON_US + hour * HOUR_US)
            assert plain(found) == view(model, read, len(DAY), NOON_US + hour * HOUR_US), read


A_SECOND_PERSON = """
0   credit id=c1 a=main n=1000                          ok 1000 1000
0   level 2
0   set_approval_limit of=write_off n=100               ok
0   set_approval_limit of=reverse n=0                   ok
0   set_approval_limit of=unlock n=100                  ok
0   set_approval_limit of=reset_pin n=1000              ok
0   write_off by=otto/8 a=main n=100                    ok 1100 1100
0   write_off id=w1 by=otto/8 a=main n=101              needs_approval 1100 1100
0   write_off id=w1 by=otto/8 a=main n=101              needs_approval 1100 1100
0   write_off by=otto/8 a=bob n=101                     no_such_account
0   write_off by=ann/16 a=main n=101                    not_allowed
0   write_off id=w2 by=otto/8 a=cash n=102              needs_approval -1000 -1000
0   approve by=otto/8 of=w1                             not_allowed
0   approve by=ann/16 of=w1                             not_allowed
0   approve id=a1 by=olga/8 of=w1                       ok 1201 1201
0   approve by=olga/8 of=w1                             already_approved
0   approve by=olga/8 of=c1                             original_not_found
0   reverse by=ann/16 of=w1                             original_not_found
0   reverse id=r1 by=shop/eve/4 of=c1 n=1               needs_approval 1201 1201
0   reverse by=ann/16 of=c1 n=1001                      exceeds_original 1201 1201
0   approve by=shop/8 of=r1                             not_allowed
0   debit a=main n=1201                                 ok 0 0
0   approve by=olga/8 of=r1                             insufficient_funds 0 0
0   credit a=main n=500                                 ok 500 500
0   approve id=a2 by=olga/8 of=r1                       ok 499 499
0   reverse by=ann/16 of=c1                             needs_approval 499 499
0   reverse by=ann/16 of=a2                             original_not_found
0   reverse id=r2 by=ann/16 of=a1                       needs_approval 499 499
0   hold id=h1 a=main n=10 ms=3600000                   ok 499 489
0   reverse by=ann/16 of=h1                             ok 499 499
0   set_pin a=main pin=PIN                              ok 499 499
0   unlock id=u1 by=otto/8 a=main                       needs_approval 499 499
0   reset_pin id=z1 by=otto/8 a=main                    ok 499 499
0   set_approval_limit of=reset_pin n=0                 ok
0   reset_pin id=z2 by=otto/8 a=main                    needs_approval 499 499
1   revoke_role name=otto role=operator                 ok
1   approve by=olga/8 of=u1                             not_allowed
1   grant_role name=otto role=operator                  ok
1   approve by=olga/8 of=u1                             ok 499 499
1   set_approval_limit of=write_off                     ok
1   write_off by=otto/8 a=main n=999                    ok 1498 1498
23  approve by=olga/8 of=r2                             ok 1397 1397
23  approve by=olga/8 of=z2                             ok 1397 1397
25  approve by=olga/8 of=w2                             approval_expired
25  write_off id=w3 by=otto/8 a=main n=7                ok 1404 1404
25  reset_pin by=otto/8 a=main                          needs_approval 1404 1404
""".strip().splitlines()


def test_the_ledger_and_the_model_agree_on_what_needs_a_second_person() -> None:
    model, ledger = BankModel(), Ledger(":memory:")
    assert lived(ledger, model, A_SECOND_PERSON) == []
    reads: list[Read] = [Lookup(id="l", request_id=row[0]) for row in model.receipt.rows]
    reads += [Statement(id="s", account=name) for name in ("main", "cash", "writeoff")]
    reads += [Approvals(id="a", limit=limit) for limit in (1, 2, 20)]
    reads += [Approvals(id="a", limit=1, before=index) for index in range(1, len(A_SECOND_PERSON) + 2)]
    for read in reads:
        for hour in (0, 23, 25, 26, 50):
            found = ledger.view(read, NOON_US + hour * HOUR_US)
            assert plain(found) == view(model, read, len(A_SECOND_PERSON), NOON_US + hour * HOUR_US), read


FURTHER_LIMITS = """
0   credit a=main n=1000                                ok 1000 1000
0   open a=ann                                          ok 0 0
0   batch main>ann=1 main>bob=1                         no_such_account
0   level 2
0   batch main>ann=1 ann>main=3                         insufficient_funds 1000 1000
0   set_ceiling a=ann n=100                             ok 0 0
0   set_limit a=main n=300                              ok 1000 1000
0   transfer id=t0 a=main t=ann n=10                    ok 990 990
0   set_limit a=main n=300 transfers=true               ok 990 990
0   transfer a=main t=ann n=91                          ceiling_exceeded 990 990
0   transfer id=t1 a=main t=ann n=90                    ok 900 900
0   batch main>ann=1                                    ceiling_exceeded 900 900
0   batch ann>main=50 main>ann=50 main>ann=1            ceiling_exceeded 100 100
0   batch ann>main=50 main>ann=50                       ok 100 100
0   debit id=d1 a=main n=161                            limit_exceeded 900 900
0   debit id=d2 a=main n=160                            ok 740 740
0   debit a=ann n=100                                   ok 0 0
0   transfer a=main t=ann n=1                           limit_exceeded 740 740
0   credit id=c2 a=ann n=100                            ok 100 100
0   reverse of=t0                                       ok 750 750
0   transfer a=main t=ann n=1                           limit_exceeded 750 750
0   reverse of=t1 n=20                                  ok 770 770
0   transfer a=main t=ann n=20                          ok 750 750
0   write_off a=ann n=20                                ok 110 110
0   credit a=ann n=1                                    ceiling_exceeded 110 110
0   set_ceiling a=ann                                   ok 110 110
0   credit a=ann n=1                                    ok 111 111
0   set_limit a=main n=300 transfers=true               ok 750 750
0   set_limit a=main n=300                              ok 750 750
0   transfer a=main t=ann n=100                         ok 650 650
1   credit id=c9 a=main n=5 code=7 text=rent            ok 655 655
1   reverse of=c9 n=5 code=8                            ok 650 650
1   reverse of=c9 n=5 text=gone                         already_reversed 650 650
1   batch main>ann=1                                    ok 649 649
1   transfer a=ann t=main n=1 text=Back                 ok 211 211
1   set_approval_limit of=write_off n=0                 ok
1   write_off id=w1 by=otto/8 a=ann n=1 code=9          needs_approval 211 211
1   approve by=olga/8 of=w1                             ok 212 212
1   debit a=ann n=1 text=fee                            ok 211 211
1   debit id=d3 a=main all=true                         limit_exceeded 650 650
1   set_limit a=main                                    ok 650 650
1   hold a=main n=50 ms=3600000                         ok 650 600
1   transfer id=t3 a=main t=ann all=true                ok 50 0
1   transfer a=main t=ann all=true                      insufficient_funds 50 0
1   reverse of=t3                                       ok 650 600
1   debit id=d4 a=ann all=true                          ok 0 0
1   debit id=d4 a=ann all=true                          ok 0 0
1   debit id=d4 a=ann n=211                             id_reused 0 0
1   close a=main                                        not_empty 650 600
1   freeze id=f1 a=main                                 ok 650 600
1   freeze id=f1 a=main                                 ok 650 600
1   freeze a=ann                                        ok 0 0
1   unfreeze a=main                                     ok 650 600
1   unfreeze a=ann                                      ok 0 0
2   expire
24  set_limit a=main n=300 transfers=true               ok 650 650
24  transfer id=t2 a=main t=ann n=300                   ok 350 350
24  transfer a=main t=ann n=1                           limit_exceeded 350 350
48  reverse of=t2                                       ok 650 650
48  transfer a=main t=ann n=301                         limit_exceeded 650 650
""".strip().splitlines()


def test_the_ledger_and_the_model_agree_on_further_limits_and_failed_legs() -> None:
    model, ledger = BankModel(), Ledger(":memory:")
    assert lived(ledger, model, FURTHER_LIMITS) == []
    reads: list[Read] = [Lookup(id="l", request_id=row[0]) for row in model.receipt.rows]
    reads += [Query(id="q", account=name) for name in ("main", "ann", "cash")]
    reads += [Statement(id="s", account=name) for name in ("main", "ann", "cash")]
    reads += [Find(id="f", code=code) for code in (7, 8, 9)]
    reads += [Find(id="f", text=text, whole=whole) for text in ("rent", "R", "e") for whole in (False, True)]
    for read in reads:
        assert plain(ledger.view(read)) == view(model, read, len(FURTHER_LIMITS)), read


HOLDS_AT_BOTH_LEVELS = """
0   credit a=main n=100                                 ok 100 100
0   hold id=h1 a=main n=1 ms=3600000                    ok 100 99
0   hold id=h2 a=main n=1 ms=3600000                    ok 100 98
0   hold id=h3 a=main n=1 ms=3600000                    ok 100 97
0   level 2
0   hold id=h4 a=main n=1 ms=3600000                    limit_exceeded 100 97
0   void of=h1                                          ok 100 98
0   hold id=h5 a=main n=1 ms=3600000                    limit_exceeded 100 98
0   post of=h2                                          ok 99 98
0   hold id=h6 a=main n=1 ms=3600000                    ok 99 97
0   hold id=h7 a=main n=1 ms=3600000                    limit_exceeded 99 97
0   open a=ann                                          ok 0 0
0   transfer a=main t=ann n=10                          ok 89 87
0   hold id=h8 a=ann n=1 ms=3600000                     ok 10 9
1   expire
1   hold id=h9 a=main n=1 ms=3600000                    ok 89 88
""".strip().splitlines()


def test_the_ledger_and_the_model_agree_on_how_many_holds_an_account_may_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(holds, "ACTIVE_HOLDS_MAX", 2)
    monkeypatch.setattr(bank_rules, "HOLDS", 2)
    assert lived(Ledger(":memory:"), BankModel(), HOLDS_AT_BOTH_LEVELS) == []


PARTS = """
0   credit a=main n=1000                                ok 1000 1000
0   debit id=d1 a=main n=100                            ok 900 900
0   reverse of=d1 n=10                                  ok 910 910
0   reverse of=d1 n=10                                  already_reversed 910 910
0   hold id=h1 a=main n=100 ms=3600000                  ok 910 810
0   post id=p1 of=h1                                    ok 810 810
0   post id=p1 of=h1 n=100                              id_reused
0   post of=h1 n=0                                      not_allowed
0   level 2
0   post id=p1 of=h1 n=100                              ok 810 810
0   post id=p1 of=h1 n=99                               id_reused
0   reverse of=d1 n=20                                  ok 830 830
0   reverse of=d1 n=71                                  exceeds_original 830 830
0   reverse of=d1                                       ok 900 900
0   reverse of=d1                                       already_reversed 900 900
0   set_limit a=main n=300                              ok 900 900
0   hold id=h2 a=main n=100 ms=180000000                ok 900 800
0   post id=p2 of=h2 n=30 final=no                      ok 870 800
0   post of=h2 n=71                                     exceeds_hold 870 800
0   raise_hold a=main hold=h2 n=801                     insufficient_funds 870 800
0   raise_hold a=main hold=h2 n=201                     limit_exceeded 870 800
0   raise_hold a=main hold=h2 n=50                      ok 870 750
0   raise_hold a=main hold=h1 n=50                      hold_already_posted 870 750
0   raise_hold a=main hold=h9 n=50                      hold_not_found
13  raise_hold a=main hold=h2 n=250                     ok 870 500
13  debit a=main n=51                                   limit_exceeded 870 500
13  post of=h2 n=100 final=no                           ok 770 500
13  reverse of=p2 n=5                                   ok 775 505
13  reverse of=h2 n=270                                 ok 775 775
13  debit a=main n=301                                  limit_exceeded 775 775
14  hold id=h3 a=main n=30 ms=3600000                   ok 775 745
14  post id=p3 of=h3 n=10 final=no                      ok 765 745
14  post id=p4 of=h3 n=20 final=no                      ok 745 745
14  post of=h3                                          hold_already_posted 745 745
15  hold id=h4 a=main n=40 ms=3600000                   ok 745 705
15  post id=p5 of=h4 n=0                                ok 745 745
15  reverse of=p5                                       original_not_found
15  hold id=h5 a=main n=20 ms=1                         ok 745 725
16  expire
16  post of=h5 n=5 final=no                             ok 740 740
16  post of=h5                                          ok 725 725
""".strip().splitlines()


def test_the_ledger_and_the_model_agree_on_what_comes_in_parts() -> None:
    model, ledger = BankModel(), Ledger(":memory:")
    assert lived(ledger, model, PARTS) == []
    reads: list[Read] = [Lookup(id="l", request_id=row[0]) for row in model.receipt.rows]
    for read in (*reads, Holds(id="h", account="main"), Statement(id="s", account="main")):
        assert plain(ledger.view(read)) == view(model, read, len(PARTS)), read


def test_the_ledger_and_the_model_agree_on_parts_that_are_drawn_at_random() -> None:
    """With a day that passes now and then, a limit that comes and goes, and holds that expire."""
    workload = {"credit": 3.0, "debit": 3.0, "hold": 12.0, "reverse": 6.0, "limit": 1.0, "open": 0.5}
    plan = changed(1, {"workload": workload, "amounts": (1, 10_000)})
    chance, known = Random(7), KnownRequests()
    customer, model, ledger = Workload("w", chance, plan, known), BankModel(), Ledger(":memory:")
    time_us, outcomes = NOON_US, set()
    assert raised(ledger, model, 1, 2, time_us) == []
    for index in range(2, 1800):
        time_us += chance.choice((1, 1, 1000, 1_000_000, HOUR_US, 9 * HOUR_US))
        command: Command | Expire = Expire() if chance.random() < 0.05 else customer.command()
        actor = "bank" if isinstance(command, Expire) else "eve"
        model.readers["" if isinstance(command, Expire) else command.id] = {actor}
        [receipt] = ledger.apply([(index, time_us, LoggedCommand(actor, command, 0))])
        data = command_data(actor, encode(command), 0)
        kind = EntryKind.COMMAND
        model.commit(Entry(index=index, term=1, time_us=time_us, kind=kind, data=data))
        found = receipt and (*astuple(receipt)[:6], said_besides(receipt))
        assert found == model.decisions[-1], command
        outcomes.add((type(command), receipt and str(receipt.outcome)))
        if index % 100 == 0:
            for name, rows in model.tables(index).items():
                assert rows == kept(ledger, name), (index, name)
    assert {(Reverse, "exceeds_original"), (Reverse, "already_reversed"), (RaiseHold, "ok")} <= outcomes
    assert ledger._cursor.execute("select count(*) from refund").get > 5


def plain(found: ReadResult) -> dict[str, Any]:
    """Return a view as it is sent, with the details of a lookup parsed."""
    answer: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(found))
    answer = {
        k: v for k, v in answer.items() if v is not None and not (k in ("log_index", "time_us") and v == 0)
    }
    if "details" in answer.get("asked", {}):
        answer["asked"]["details"] = msgspec.json.decode(answer["asked"]["details"])
    return answer


@pytest.mark.parametrize(
    ("owner", "rule", "where"),
    [
        (holds, "restore_limit", "account"),
        (unit_of_work.UnitOfWork, "note_exception", "exception"),
        (reversals, "_leave_tombstone", "receipt"),
        (rules, "expire_holds", "hold"),
    ],
)
def test_a_ledger_that_forgets_a_rule_differs_from_the_model(
    owner: object, rule: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, rule, lambda *_: None)
    assert any(line.endswith(f": {where}") for line in lived(Ledger(":memory:"), BankModel()))


def test_the_model_shares_no_state_between_banks() -> None:
    one, other = Bank(), Bank()
    one.accounts["main"].balance = 5
    assert other.accounts["main"].balance == 0
    assert {field.name for field in fields(Bank)} >= {"accounts", "holds", "done"}
