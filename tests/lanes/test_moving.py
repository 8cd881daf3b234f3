"""A lane is moved to another database: its rows, its writers, and what is left when the mover is killed."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from atm.admin import main as program
from atm.lanes import moving
from atm.lanes.bank import has_bank, open_bank
from atm.lanes.books import copied_lanes
from atm.lanes.engine import EngineConnection
from atm.lanes.faults import EngineRefused, Fenced
from atm.lanes.lane_ledger import LaneLedger
from atm.lanes.moving import NotMoved
from atm.lanes.places import MOVED, Moved, address, follow, read_places
from atm.ledger.audit.auditing import audit
from atm.local_cluster import write_cluster_ini
from tests.support.entries import command as asked
from tests.support.entries import logged
from tests.support.postgresql import new_database

NOW_US = 1_700_000_000_000_000
LANES = 2
STEPS_MAX = 400
EVERY = 7  # steps: with 1, the mover is killed before each
BEFORE = [
    "o1 open ann",
    "c1 credit ann 500",
    "h1 hold ann 100 1h",
    "t1 transfer ann main 50",
    "r1 reverse t1",
    "x1 freeze main",
    "d1 debit ann 90000",
]


class Bank:
    """A bank of two lanes whose second database is `east`, without servers."""

    def __init__(self) -> None:
        self.urls = {"home": new_database(), "east": new_database()}
        with closing(EngineConnection(self.urls["home"])) as engine:
            self.bank = open_bank(engine, LANES)
        self.count = 0
        self.told: list[str] = []

    def place(self, lane: int) -> str:
        """Return where the map says that a lane lies."""
        with closing(EngineConnection(self.urls["home"])) as home:
            return read_places(home, LANES)[lane].database

    def take(self, lane: int, node: str = "n1") -> LaneLedger:
        """Take a lane where it lies, as a server does that has seen all there is."""
        with closing(EngineConnection(self.urls["home"])) as home:
            for url in self.urls.values():
                with closing(EngineConnection(url)) as engine, engine.asking():
                    if has_bank(engine):
                        follow(home, [Moved(*row) for row in moving.ask(engine, MOVED)])
            return LaneLedger(address(self.urls, read_places(home, LANES)[lane]), lane, node)

    def work(self, lane: int, lines: list[str]) -> list[str]:
        """Have commands decided in a lane; return what came of them."""
        self.count += 1
        commands = [logged(asked(line.replace("#", f"x{self.count}"))) for line in lines]
        with closing(self.take(lane)) as ledger:
            receipts = ledger.apply(NOW_US + self.count * 1_000, commands)
        return [
            str(receipt.outcome)
            for receipt in receipts
            if receipt is not None and hasattr(receipt, "outcome")
        ]

    def move(self, lane: int, to: str) -> moving.Result:
        """Move a lane as the command does."""
        with moving.mover(self.urls, self.told.append) as mover:
            mover.complete()
            return mover.move(lane, to)

    def rows(self, name: str, lane: int) -> dict[str, int]:
        """Return how many rows of a lane each table of a database has, of those with any."""
        with closing(EngineConnection(self.urls[name])) as engine:
            tables = [*moving.columns_of(engine), "lane"]
            counts = {
                table: int(moving.ask(engine, f"select count(*) from atm.{table} where lane = {lane}")[0][0])
                for table in tables
            }
        return {table: count for table, count in counts.items() if count}

    def verify(self) -> list[str]:
        """Return what an audit finds."""
        with copied_lanes(self.urls["home"], {"east": self.urls["east"]}) as copies:
            assert len(copies) == LANES
            return [line for each in copies for line in (*each.problems, *audit(each.path).problems)]


@pytest.fixture
def bank(monkeypatch: pytest.MonkeyPatch) -> Bank:
    """Return a bank with some work done."""
    monkeypatch.setattr(moving, "TAKEN_S", 0.0)
    found = Bank()
    for lane in range(LANES):
        assert "ok" in found.work(lane, BEFORE)
    return found


def test_a_lane_is_moved_with_all_its_rows_and_back(bank: Bank) -> None:
    before = [bank.rows("home", lane) for lane in range(LANES)]
    for lane in range(LANES):
        done = bank.move(lane, "east")
        assert done.rows == sum(before[lane].values()) - 1
        assert bank.place(lane) == "east"
        assert bank.rows("east", lane) == before[lane]
        assert bank.rows("home", lane) == {}
        assert bank.verify() == []
        assert "ok" in bank.work(lane, ["c# credit ann 5"])
    for lane in range(LANES):
        bank.move(lane, "home")
        assert bank.rows("east", lane) == {}
        assert "ok" in bank.work(lane, ["c# credit ann 5"])
    assert [bank.place(lane) for lane in range(LANES)] == ["home", "home"]
    assert bank.verify() == []


def test_long_books_are_copied_ahead_in_parts(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "ENTRIES_AT_ONCE", 3)
    monkeypatch.setattr(moving, "REST_MAX", 2)
    monkeypatch.setattr(moving, "ROWS_AT_ONCE", 2)
    before = bank.rows("home", 1)
    bank.move(1, "east")
    assert sum("it serves" in line for line in bank.told) >= 2
    assert (bank.rows("east", 1), bank.rows("home", 1)) == (before, {})
    assert bank.verify() == []


def test_the_writer_of_a_lane_is_fenced_by_its_move_wherever_it_looks(bank: Bank) -> None:
    with closing(bank.take(1)) as old:
        bank.move(1, "east")
        with pytest.raises(Fenced):
            old.apply(NOW_US + 10**9, [logged(asked("c9 credit ann 5"))])
    with pytest.raises(Fenced):
        LaneLedger(bank.urls["home"], 1, "n1", seen_epoch=old.epoch)
    with pytest.raises(Fenced):
        LaneLedger(bank.urls["home"], 1, "n1")
    assert bank.verify() == []


def test_a_lane_that_was_moved_away_and_back_has_another_epoch_than_ever(bank: Bank) -> None:
    with closing(bank.take(1)) as old:
        bank.move(1, "east")
        bank.move(1, "home")
    with pytest.raises(Fenced):
        LaneLedger(bank.urls["home"], 1, "n1", seen_epoch=old.epoch)


class Killed(BaseException):
    """The mover ends here, and does nothing more."""


class Kill:
    """Ends the mover before its statement number `at`."""

    def __init__(self, at: int) -> None:
        self._ask, self._at, self.count = moving.ask, at, 0

    def __call__(self, *arguments: Any) -> list[Any]:
        """Take the place of `moving.ask`."""
        if self.count == self._at:
            raise Killed
        self.count += 1
        return self._ask(*arguments)


def test_a_mover_that_is_killed_before_any_step_leaves_a_lane_that_works_and_the_next_one_completes_it(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "RENEW_S", 10.0)
    places = set[tuple[str, str]]()
    at, to, kills = 0, "east", 0
    while at < STEPS_MAX:
        with monkeypatch.context() as patched:
            kill = Kill(at)
            patched.setattr(moving, "ask", kill)
            try:
                bank.move(1, to)
            except Killed:
                kills += 1
            else:
                break
        places.add((to, bank.place(1)))
        assert bank.work(1, ["c# credit ann 5"]) == ["ok"]
        if at % 3 == 0:
            with moving.mover(bank.urls, bank.told.append) as mover:
                mover.complete()
            if bank.place(1) != to:
                bank.move(1, to)
            other = "home" if to == "east" else "east"
            assert bank.rows(other, 1) == {}
            assert bank.verify() == []
        to = "home" if bank.place(1) == "east" else "east"
        at += EVERY
    assert kills > 10
    assert at > 60
    assert {("east", "home"), ("east", "east"), ("home", "home"), ("home", "east")} <= places
    assert bank.verify() == []


def test_a_mover_that_slept_gives_nothing_away_once_a_server_has_the_lane_again(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal = moving._Move._seal

    def slept(self: Any, *arguments: Any) -> None:
        seal(self, *arguments)
        assert bank.work(1, ["c# credit ann 5"]) == ["ok"]

    with monkeypatch.context() as patched:
        patched.setattr(moving._Move, "_seal", slept)
        with pytest.raises(NotMoved, match="took lane 1 again"):
            bank.move(1, "east")
    assert bank.place(1) == "home"
    bank.move(1, "east")
    assert bank.verify() == []


def test_of_two_movers_of_one_lane_the_later_one_goes_on(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    give_away, seal = moving._Move._give_away, moving._Move._seal

    def other_first(original: Any) -> Any:
        def step(self: Any, *arguments: Any) -> Any:
            with monkeypatch.context() as patched:
                patched.setattr(moving._Move, "_give_away", give_away)
                patched.setattr(moving._Move, "_seal", seal)
                patched.setattr(moving, "ONE_MOVER", "select true")
                bank.move(1, "east")
            return original(self, *arguments)

        return step

    for name, original in (("_seal", seal), ("_give_away", give_away)):
        with monkeypatch.context() as patched:
            patched.setattr(moving._Move, name, other_first(original))
            with pytest.raises(NotMoved):
                bank.move(1, "east")
        assert bank.place(1) == "east"
        assert bank.work(1, ["c# credit ann 5"]) == ["ok"]
        assert bank.verify() == []
        bank.move(1, "home")


def test_rows_that_are_not_the_same_stop_the_move(bank: Bank) -> None:
    bank.move(1, "east")
    bank.move(1, "home")
    with closing(EngineConnection(bank.urls["east"])) as engine:
        moving.ask(
            engine,
            "create function atm.spoil() returns trigger language plpgsql as "
            "'begin new.amount = new.amount + 1; return new; end'",
        )
        moving.ask(
            engine,
            "create trigger spoil before insert on atm.balance for each row execute function atm.spoil()",
        )
    with pytest.raises(NotMoved, match="rows of balance are not the same in east as in home"):
        bank.move(1, "east")
    assert bank.place(1) == "home"
    assert bank.work(1, ["c# credit ann 5"]) == ["ok"]
    assert bank.verify() == []


def test_a_database_of_another_bank_is_refused(bank: Bank) -> None:
    other = Bank()
    with pytest.raises(EngineRefused, match="a bank in this database already"):
        Bank.move(with_urls(bank, east=other.urls["home"]), 1, "east")
    other.move(1, "east")
    with pytest.raises(EngineRefused, match="lanes of another bank"):
        Bank.move(with_urls(bank, east=other.urls["east"]), 1, "east")
    with (
        closing(EngineConnection(other.urls["east"])) as engine,
        pytest.raises(EngineRefused, match="first one"),
    ):
        open_bank(engine, LANES)


def with_urls(bank: Bank, **urls: str) -> Bank:
    """Have the bank's databases be elsewhere."""
    bank.urls = {**bank.urls, **urls}
    return bank


@pytest.fixture
def config(bank: Bank, tmp_path: Path) -> Path:
    found = write_cluster_ini(tmp_path, 1)
    with found.open("a") as file:
        file.write(
            f"\n[engine]\nkind = postgresql\nurl = {bank.urls['home']}\nlanes = {LANES}\n"
            f"url.east = {bank.urls['east']}\nurl.dead = postgresql://localhost:1/none\n"
        )
    return found


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        ("move", 2, "lanes move needs a lane and a database"),
        ("move 1", 2, "lanes move needs a lane and a database"),
        ("move 1 west", 2, "there is no database west in cluster.ini, only home, east, dead"),
        ("move 7 east", 2, "there is no lane 7: this bank has those from 0 to 1"),
        ("move one east", 2, "'one' is no number of a lane"),
        ("move 1 home", 1, "lane 1 lies in home already"),
        ("move 1 dead", 3, "PostgreSQL cannot be used"),
        ("list 1", 2, "lanes list takes no lane"),
        ("push 1 east", 2, "invalid choice: 'push'"),
    ],
)
def test_what_cannot_be_moved_is_said_in_a_line(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: str, code: int, line: str
) -> None:
    try:
        found = program.main(["--config", str(config), "lanes", *arguments.split()])
    except SystemExit as end:
        found = int(str(end.code))
    told = capsys.readouterr()
    assert found == code
    assert line in told.err.splitlines()[-1]
    assert "Traceback" not in told.err


def test_a_bank_on_raft_has_no_lanes_to_be_moved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_cluster_ini(tmp_path, 1)
    assert program.main(["--config", str(config), "lanes"]) == 1
    assert "no lanes" in capsys.readouterr().err


def test_the_command_lists_lanes_and_moves_one(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["--config", str(config), "--json", "lanes"]
    assert program.main([*run, "move", "1", "east"]) == 0
    moved = json.loads(capsys.readouterr().out)
    assert (moved["outcome"], moved["lane"], moved["database"]) == ("ok", 1, "east")
    assert moved["stood_still_s"] < 5
    assert program.main(run) == 0
    [home, east] = json.loads(capsys.readouterr().out)["lanes"]
    assert (home["database"], home["holder"], home["lives"], home["open_transfers"]) == (
        "home",
        "n1",
        False,
        1,
    )
    assert (east["database"], east["holder"], east["epoch"] > 1, east["fault"]) == ("east", "", True, "")
    assert program.main([*run[:2], "lanes"]) == 0
    assert "east" in capsys.readouterr().out
    assert program.main([*run, "complete"]) == 0
    assert json.loads(capsys.readouterr().out)["completed"] == []


def test_how_long_a_lane_stands_still(bank: Bank, capsys: pytest.CaptureFixture[str]) -> None:
    credits = [f"c{number}# credit ann 1" for number in range(500)]
    for _ in range(40):
        bank.work(1, credits)
    began_s = time.monotonic()
    done = bank.move(1, "east")
    with capsys.disabled():
        print(
            f"\n{done.rows} rows of 20,000 postings moved in {time.monotonic() - began_s:.2f} s; the lane "
            f"stood still for {done.stood_still_s:.2f} s without servers"
        )
    assert done.stood_still_s < 2
