from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.client import Client
from tests.support.both_clients import Awaited, Connect
from tests.support.fake_cluster import FakeCluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    cluster = FakeCluster(tmp_path, size=3)
    yield cluster
    cluster.stop()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up sooner on a server that does not answer."""
    monkeypatch.setattr("atm.client.attempt.ANSWER_TIMEOUT_S", 0.1)


@pytest.fixture(params=[Client, Awaited], ids=["threads", "asyncio"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Make a `Client`, or an `AsyncClient` that is used like one: what holds for one holds for both."""
    kind: Connect = request.param
    return kind
