"""Two releases side by side: a newer one takes over server by server, under load, and there is a way back.

The newer one is a copy of this one that speaks another version of the protocol besides, knows another
feature level, and says more in its messages; its nodes are processes of their own, as all are.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import atm
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.version import FEATURE_LEVEL_MAX, PROTOCOL_MAX, RELEASE
from tests.support.customers import Customers
from tests.support.ledgers import assert_kept, wait_until_equal
from tests.support.server_parts import wait_until

THIS = Path(atm.__file__).parents[1]
NEWER_RELEASE = f"{RELEASE}-next"
EDITS = {
    "version.py": (
        (f'RELEASE: Final = "{RELEASE}"', f'RELEASE: Final = "{NEWER_RELEASE}"'),
        (f"PROTOCOL_MAX: Final = {PROTOCOL_MAX}", f"PROTOCOL_MAX: Final = {PROTOCOL_MAX + 1}"),
        (f"LEVEL_MAX: Final = {FEATURE_LEVEL_MAX}", f"LEVEL_MAX: Final = {FEATURE_LEVEL_MAX + 1}"),
    ),
    # Of an append and of its answer, as the last element.
    "raft/messages.py": (
        ("    round: Number\n", '    round: Number\n    more: str = "of a newer release"\n'),
    ),
}


class Releases(LocalCluster):
    """Nodes in `newer` run the newer release when they are started."""

    def __init__(
        self,
        config_path: Path,
        newer_tree: Path,
        *,
        older_tree: Path = THIS,
        older_release: str = RELEASE,
        newer_release: str = NEWER_RELEASE,
    ) -> None:
        super().__init__(config_path)
        self.newer: set[str] = set()
        self._trees = {True: newer_tree, False: older_tree}
        self._releases = {True: newer_release, False: older_release}

    def command(self, name: str) -> list[str]:
        tree = self._trees[name in self.newer]
        node = ["-m", "atm.local_cluster", name, "--config", str(self.cluster.path)]
        return ["/usr/bin/env", f"PYTHONPATH={tree}", sys.executable, "-P", *node]

    def replace(self, name: str, *, newer: bool) -> None:
        """Stop a node and start it as the other release; return once it follows or leads."""
        assert self.stop(name) == 0, self.output(name)
        (self.newer.add if newer else self.newer.discard)(name)
        self.start(name)
        release = self._releases[newer]
        wait_until(lambda: self.releases()[name] == release and self.wait_for_leader() != "")

    def releases(self) -> dict[str, str]:
        answers = {name: self.status(name) for name in self.cluster.nodes}
        return {name: answer.version if answer else "" for name, answer in answers.items()}

    def levels(self) -> set[int]:
        answers = [self.status(name) for name in self.cluster.nodes]
        return {answer.feature_level if answer else 0 for answer in answers}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Releases]:
    tree = tmp_path / "newer"
    shutil.copytree(THIS / "atm", tree / "atm", ignore=shutil.ignore_patterns("__pycache__"))
    for name, edits in EDITS.items():
        file = tree / "atm" / name
        text = file.read_text(encoding="utf-8")
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        file.write_text(text, encoding="utf-8")
    with Releases(write_cluster_ini(tmp_path, 3), tree) as releases:
        releases.start_all()
        releases.wait_for_leader()
        yield releases


def test_a_release_takes_over_server_by_server_with_a_way_back_until_the_last(cluster: Releases) -> None:
    level = FEATURE_LEVEL_MAX
    with Customers(cluster.cluster.path, count=3) as customers:
        leader = cluster.wait_for_leader()
        first, last = (name for name in cluster.cluster.nodes if name != leader)
        customers.wait_for_more(20)
        for newer in (True, False, True):  # there and back, and there again
            cluster.replace(first, newer=newer)
            customers.wait_for_more(20)
        cluster.replace(leader, newer=True)
        customers.wait_for_more(20)
        assert cluster.levels() == {level}, "the last one does not know more"
        cluster.replace(last, newer=True)
        wait_until(lambda: cluster.levels() == {level + 1})
        customers.wait_for_more(20)

        assert cluster.stop(last) == 0
        cluster.newer.discard(last)
        cluster.start(last).wait(timeout=10)
        assert cluster.stop(last) == 1, "there is no way back"
        told = cluster.output(last).splitlines()[-1]
        assert f"node {last} stops: the cluster is at feature level {level + 1}, and release" in told
        assert told.endswith("there is no way back to it. Install a newer release on this node")
        cluster.newer.add(last)
        cluster.start(last)
        customers.wait_for_more(20)
    assert not customers.refused | customers.unknown
    ledger = wait_until_equal(cluster)
    assert_kept(ledger, customers)
    assert {row.feature_level for row in ledger["cluster"]} == {level + 1}
    for name in cluster.cluster.nodes:
        assert "refuse" not in cluster.output(name), cluster.output(name)
        assert "closed" not in cluster.output(name), cluster.output(name)
