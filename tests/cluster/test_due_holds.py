"""Very many holds are due at once: they end in pieces, so that no entry stops the servers for long."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from atm.ledger.commands import Credit, Expire, Hold, Open
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.raft.messages import EntryKind
from atm.storage.log_file import LogFile
from atm.wire.log_entries import decode_command
from tests.support.ledgers import right_ledger
from tests.support.server_parts import Wire, wait_until

HOLDS = 1_200
AT_ONCE = 200
ACCOUNTS = ("main", "ann")


def test_a_thousand_holds_end_in_pieces_of_500(tmp_path: Path) -> None:
    with LocalCluster(write_cluster_ini(tmp_path, 3)) as cluster:
        cluster.start_all()
        leader = cluster.cluster.nodes[cluster.wait_for_leader()]
        wait_until(lambda: feature_levels(cluster) == {2})
        with Wire(leader.client) as wire:
            assert wire.ask(Open(id="o", account="ann"))["outcome"] == "ok"
            paid = {}
            for account in ACCOUNTS:
                paid = wire.ask(Credit(id=f"money-{account}", account=account, amount=HOLDS // 2))
            due_us = paid["time_us"] + 5_000_000
            now_us = paid["time_us"]
            for first in range(0, HOLDS, AT_ONCE):
                for number in range(first, first + AT_ONCE):
                    expires_ms = (due_us - now_us) // 1000
                    account = ACCOUNTS[number % 2]  # none has so many
                    wire.send(Hold(id=f"h{number}", account=account, amount=1, expires_ms=expires_ms))
                placed = [wire.answer() or {} for _ in range(AT_ONCE)]
                assert {each["outcome"] for each in placed} == {"ok"}
                now_us = max(each["time_us"] for each in placed)
            wait_until(lambda: available(wire) == HOLDS)
        states = {row.state for row in right_ledger(cluster)["hold"]}
        assert states == {"expired"}
        cluster.stop_all()
        with closing(LogFile(cluster.cluster.data_dir / leader.name)) as log:
            commands = [decode_command(e.data) for e in log.tail(1) if e.kind == EntryKind.COMMAND]
    expires = [each.command for each in commands if isinstance(each.command, Expire)]
    assert set(expires) == {Expire(limit=500)}
    assert len(expires) >= HOLDS / 500


def feature_levels(cluster: LocalCluster) -> set[int]:
    return {status.feature_level for name in cluster.cluster.nodes if (status := cluster.status(name))}


def available(wire: Wire) -> int:
    answers = [wire.ask({"op": "query", "id": "q", "account": account}) for account in ACCOUNTS]
    return sum(answer["available"] for answer in answers)
