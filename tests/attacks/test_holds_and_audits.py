"""A bomb of holds on one account (H4), and audits in a loop while an operator asks for his own (M3)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from threading import Event, Thread

from atm.ledger.commands import Credit, Hold
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.wire.client_messages import Verify
from tests.support.server_parts import Wire, wait_until

HOLDS = 1_100
AT_ONCE = 100
FLOODERS = 5
PATIENCE_S = 150.0  # audits are slow on a busy machine, and then pauses are long


def test_one_account_cannot_have_thousands_of_holds(tmp_path: Path) -> None:
    with LocalCluster(write_cluster_ini(tmp_path, 1)) as cluster:
        cluster.start_all()
        leader = cluster.cluster.nodes[cluster.wait_for_leader()]
        outcomes = []
        with Wire(leader.client) as wire:
            wait_until(lambda: wire.ask({"op": "status", "id": "s"}).get("feature_level", 1) == 2)
            wire.ask(Credit(id="money", account="main", amount=HOLDS))
            for first in range(0, HOLDS, AT_ONCE):
                for number in range(first, first + AT_ONCE):
                    wire.send(Hold(id=f"h{number}", account="main", amount=1, expires_ms=3_600_000))
                outcomes += [str((wire.answer() or {}).get("outcome")) for _ in range(AT_ONCE)]
    assert Counter(outcomes) == {"ok": 1_000, "limit_exceeded": HOLDS - 1_000}


def test_an_operator_gets_an_audit_while_others_ask_for_them_in_a_loop(tmp_path: Path) -> None:
    with LocalCluster(write_cluster_ini(tmp_path, 1)) as cluster:
        cluster.start_all()
        leader = cluster.cluster.nodes[cluster.wait_for_leader()]
        stop, audited = Event(), []

        def flood() -> None:
            with Wire(leader.client) as wire:
                wire.socket.settimeout(PATIENCE_S)
                while not stop.is_set():
                    audited.append(wire.ask(Verify(id="flood"))["outcome"])

        threads = [Thread(target=flood) for _ in range(FLOODERS)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: len(audited) > 0, within_s=PATIENCE_S)
            with Wire(leader.client) as operator:
                operator.socket.settimeout(PATIENCE_S)
                for number in range(2):
                    answer = operator.ask(Verify(id=f"v{number}"))
                    assert (answer["outcome"], answer.get("findings", {}).get("problems")) == ("ok", [])
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert set(audited) == {"ok"}
