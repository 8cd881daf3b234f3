"""bin/admin log: a stopped or running node's log as lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from atm.admin.log_listing import line_of
from atm.admin.main import main
from atm.ledger.commands import (
    Batch,
    Credit,
    Expire,
    Founding,
    Leg,
    LevelRaise,
    Member,
    MembershipChange,
    SetPin,
)
from atm.local_cluster import write_cluster_ini
from atm.raft.membership import Member as Voter
from atm.raft.membership import encode_configuration
from atm.raft.messages import Entry, EntryKind, HardState
from atm.storage.log_file import LogFile
from atm.storage.log_format import segment_path
from atm.wire.codec import encode
from atm.wire.log_entries import command_data, deed_data
from tests.support.running import Ran, Run

SEALED = "5e" * 32
NOON_US = 1_795_867_200_000_000  # 2026-11-28 12:00:00 UTC


def data_of(command: Credit | Batch | SetPin | Expire, actor: str = "local") -> bytes:
    return command_data(actor, encode(command))


ENTRIES: Sequence[tuple[EntryKind, bytes]] = (
    (EntryKind.BOOTSTRAP, encode(Founding("ab" * 16, ("n1", "n2", "n3")))),
    (EntryKind.NOOP, b""),
    (EntryKind.COMMAND, data_of(Credit(id="a1", account="main", amount=12_50))),
    (EntryKind.COMMAND, data_of(SetPin(id="a2", account="main", pin=SEALED, old_pin=SEALED), "ann")),
    (
        EntryKind.COMMAND,
        data_of(Batch(id="a3", legs=(Leg(account="a", target="b", amount=5_00, pin=SEALED),) * 2)),
    ),
    (EntryKind.COMMAND, data_of(Expire(), "bank")),
    (EntryKind.FEATURE_LEVEL, encode(LevelRaise(2))),
    (
        EntryKind.MEMBERSHIP,
        encode(MembershipChange((Member("n1", True, "h:1", "h:2"), Member("n4", False, "h:3", "h:4", "5e")))),
    ),
    (EntryKind.COMMAND, b"\xc1nonsense"),
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    config = write_cluster_ini(tmp_path, 1)
    folder = tmp_path / "data" / "n1"
    folder.mkdir(parents=True)
    with closing(LogFile(folder)) as log:
        for index, (kind, data) in enumerate(ENTRIES, 1):
            log.save(
                HardState(term=3), [Entry(index=index, term=3, time_us=NOON_US + index, kind=kind, data=data)]
            )
    return config


@pytest.fixture
def run(config: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> Ran:
        try:
            code = main(["--config", str(config), "log", *arguments])
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        return Ran(code, capsys.readouterr())

    return run


def test_every_entry_is_a_line_with_money_in_decimals(run: Run) -> None:
    ran = run("n1")
    assert ran.code == 0
    leg = "(account=a target=b amount=5 pin=****)"
    assert [line[17:] for line in ran.out] == [
        f"2026-11-28 12:00:00  founding cluster={'ab' * 16} voters=n1,n2,n3",
        "2026-11-28 12:00:00  no-op",
        "2026-11-28 12:00:00  credit id=a1 account=main amount=12.50 by=local",
        "2026-11-28 12:00:00  set_pin id=a2 account=main pin=**** old_pin=**** by=ann",
        f"2026-11-28 12:00:00  batch id=a3 legs={leg},{leg} by=local",
        "2026-11-28 12:00:00  expire by=bank",
        "2026-11-28 12:00:00  feature_level level=2",
        "2026-11-28 12:00:00  membership members=(node=n1 voter=True peer=h:1 client=h:2 since=0),"
        "(node=n4 voter=False peer=h:3 client=h:4 store=5e since=0)",
        ran.out[-1][17:],
    ]
    assert [line[:16].split() for line in ran.out] == [[str(i), "3"] for i in range(1, 10)]
    assert "cannot be decoded" in ran.out[-1]
    assert ran.err == ["The log holds entries 1 to 9; term 3; there is no ledger that can be read"]


def test_who_asked_for_a_change_of_the_members_or_for_a_snapshot_is_shown() -> None:
    reason = deed_data("ada", 1, "a5", "remove_member", "n4")
    change = encode_configuration((Voter(node="n1", voter=True),), reason)
    for kind, data, shown in (
        (EntryKind.MEMBERSHIP, change, "membership members=(node=n1 voter=True since=0) deed=remove_member"),
        (EntryKind.COMMAND, deed_data("ada", 1, "a6", "snapshot", "n1"), "note_deed id=a6 deed=snapshot"),
    ):
        line = line_of(Entry(index=7, term=3, time_us=NOON_US, kind=kind, data=data))
        assert shown in line
        assert "by=ada" in line
    entry = Entry(index=7, term=3, time_us=1, kind=EntryKind.MEMBERSHIP, data=change)
    assert "target=n4 id=a5" in line_of(entry)


def test_json_has_minor_units_and_no_pin(run: Run) -> None:
    ran = run("n1", "--json")
    entries = list(map(json.loads, ran.out))
    assert entries[2] == {
        "index": 3, "term": 3, "time_us": NOON_US + 3, "entry": "credit", "id": "a1", "account": "main",
        "amount": 12_50, "by": "local",
    }  # fmt: skip
    assert entries[4]["legs"][1] == {"account": "a", "target": "b", "amount": 5_00, "pin": "****"}
    assert not any(SEALED in line for line in ran.out)


def test_a_part_of_the_log(run: Run) -> None:
    assert [line.split()[0] for line in run("n1", "--from", "3", "--to", "5").out] == ["3", "4", "5"]
    assert [line.split()[0] for line in run("n1", "--from", "8", "--to", "500").out] == ["8", "9"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ("n1 --from 10", 1, "entry 10 is not here: the log holds entries 1 to 9"),
        ("n1 --from 5 --to 4", 2, "--from 5 is behind --to 4"),
        ("n1 --from 0", 2, "'0' is no log index"),
        ("n1 --from x", 2, "'x' is no log index"),
        ("n9", 2, "there is no data folder "),
        ("", 2, "the following arguments are required: NODE"),
    ],
)
def test_what_cannot_be_shown_is_told_in_one_line(run: Run, arguments: str, code: int, says: str) -> None:
    ran = run(*arguments.split())
    assert (ran.code, ran.out, len(ran.err)) == (code, [], 1)
    assert says in ran.err[0]


def test_what_was_cut_off_is_said_to_be_in_a_snapshot(run: Run, config: Path) -> None:
    folder = config.parent / "data" / "n1"
    with closing(LogFile(folder, segment_bytes_max=100)) as log:
        for index in (10, 11):
            log.save(
                HardState(term=3), [Entry(index=index, term=3, time_us=1, kind=EntryKind.NOOP, data=b"")]
            )
    segment_path(folder, 1).unlink()
    ran = run("n1", "--from", "3")
    assert ran.code == 1
    assert ran.err == [
        "admin: entry 3 is not here: the log holds entries 10 to 11, and what was before is in a snapshot"
    ]
    assert len(run("n1").out) == 2


def test_a_damaged_log_is_shown_up_to_there_and_ends_with_1(run: Run, config: Path) -> None:
    path = segment_path(config.parent / "data" / "n1", 1)
    path.write_bytes(path.read_bytes().replace(b"\xa2a2", b"\xa2a9"))
    ran = run("n1")
    assert (ran.code, len(ran.out)) == (1, 3)
    assert "is damaged at byte" in ran.err[-1]


def test_a_closed_pipe_is_no_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_arguments: object, **_named: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", closed)
    monkeypatch.setattr("atm.admin.main.forget_stdout", lambda: None)
    assert run("n1").code == 141
