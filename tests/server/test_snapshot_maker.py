"""The process that makes a snapshot: its result, its end, and what it says if there is none."""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Thread

import pytest

from atm.files import sha256_of
from atm.ledger.ledger import Ledger
from atm.ledger.snapshot import NotMade
from atm.server.group import snapshot_maker
from atm.server.group.snapshot_maker import SnapshotMaker
from tests.support.server_parts import DEADLINE_S, wait_until


def test_a_ledger_that_is_in_use_is_copied(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.apply([(1, 1, None), (2, 2, None)])
    made = SnapshotMaker(tmp_path / "ledger.db").make(tmp_path / "copy.db")
    assert made.index == 2
    assert made.sha256 == sha256_of(tmp_path / "copy.db")
    ledger.apply([(3, 3, None)])
    ledger.close()


def test_why_there_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(NotMade, match=r"^no snapshot was made: .*there is no ledger that can be read$"):
        SnapshotMaker(tmp_path / "missing.db").make(tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


@pytest.mark.parametrize("end", [SnapshotMaker.interrupt, SnapshotMaker.close], ids=["interrupt", "close"])
def test_a_process_is_killed_before_the_ledger_is_swapped_and_with_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: object
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/cat")  # runs until it is killed
    monkeypatch.setattr(snapshot_maker, "PROGRAM", ())
    maker, said = SnapshotMaker(Path("-")), list[str]()

    def make() -> None:
        try:
            maker.make(Path("-"))
        except NotMade as error:
            said.append(str(error))

    thread = Thread(target=make, daemon=True)
    thread.start()
    wait_until(lambda: maker._running is not None)
    assert callable(end)
    end(maker)
    thread.join(DEADLINE_S)
    assert said == ["no snapshot was made: code -9"]


def test_a_node_that_stops_makes_none(tmp_path: Path) -> None:
    maker = SnapshotMaker(tmp_path / "ledger.db")
    maker.close()
    with pytest.raises(NotMade, match="the node is stopping"):
        maker.make(tmp_path / "copy.db")
