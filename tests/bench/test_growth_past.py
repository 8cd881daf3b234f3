"""What clusters are given to start with: a past that a node could have had, and batches that it takes."""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from atm.config import LEDGER_FILE, load
from atm.ledger.audit.auditing import audit
from atm.ledger.commands import Batch, Query
from atm.ledger.ledger import Ledger
from atm.local_cluster import write_cluster_ini
from atm.raft.messages import HardState
from atm.server.group.entry_validator import record
from atm.storage.log_file import LogFile
from atm.wire.framing import LENGTH_BYTES
from atm.wire.request_decoding import decode_client_request
from bench.growth.kinds import batch_around_the_id
from bench.growth.past import credits_to_one, furnish, make_past, openings
from bench.systems.load_connection import PLACE
from bench.work import ACCOUNTS, HOT_ACCOUNT, Kind, Work, account

COUNT = 150  # more than two batches of the log


def test_a_past_is_a_log_and_the_ledger_that_follows_from_it(tmp_path: Path) -> None:
    make_past(tmp_path, credits_to_one(COUNT))
    with closing(LogFile(tmp_path)) as log, closing(Ledger(":memory:")) as anew:
        entries = log.tail(1)
        assert (entries[0].data, log.terms, log.last_index) == (b"", [(1, 1)], COUNT + 1)
        assert log.hard_state == HardState(term=1, commit_index=128), (
            "the last batch is not known as committed"
        )
        anew.apply([record(entry) for entry in entries])
        with closing(Ledger(tmp_path / LEDGER_FILE)) as ledger:
            assert ledger.applied_index == COUNT + 1
            assert ledger.digest() == anew.digest()
            assert ledger.view(Query(id="q", account=HOT_ACCOUNT)).balance == COUNT
    assert not audit(tmp_path / LEDGER_FILE).problems


def test_the_opened_accounts_are_those_that_are_worked_with(tmp_path: Path) -> None:
    make_past(tmp_path, openings(COUNT))
    work = Work("accounts", 64, accounts=50, apart=COUNT // 50)
    worked = {name for _, name in islice(work.requests(3), 500)}
    assert worked == {account(number) for number in range(0, COUNT, 3)}
    with closing(Ledger(tmp_path / LEDGER_FILE)) as ledger:
        assert all(ledger.view(Query(id="q", account=name)).balance == 0 for name in worked)
        assert ledger.view(Query(id="q", account=account(COUNT))).balance is None


def test_every_node_gets_the_same_past_but_none_that_has_run(tmp_path: Path) -> None:
    past = tmp_path / "past"
    past.mkdir()
    make_past(past, openings(3))
    cluster = load(write_cluster_ini(tmp_path, 3))
    furnish(past, cluster)
    for name in cluster.nodes:
        for file in past.iterdir():
            assert (cluster.data_dir / name / file.name).read_bytes() == file.read_bytes()
    with pytest.raises(FileExistsError):
        furnish(past, cluster)


@pytest.mark.parametrize("legs", [1, 64])
def test_a_batch_pays_from_the_hot_account_to_as_many_others(legs: int) -> None:
    before, after = batch_around_the_id(legs, Kind.CREDIT, account(ACCOUNTS - 1))
    request_id = "a" * len(PLACE)
    command = decode_client_request((before + request_id.encode() + after)[LENGTH_BYTES:])
    assert isinstance(command, Batch)
    assert command.id == request_id
    assert {leg.account for leg in command.legs} == {HOT_ACCOUNT}
    targets = [leg.target for leg in command.legs]
    assert targets == [account(number % ACCOUNTS) for number in range(ACCOUNTS - 1, ACCOUNTS - 1 + legs)]
