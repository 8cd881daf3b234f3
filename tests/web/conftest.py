"""One real cluster with one bin/web before it, and one browser, for all tests of this folder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser

from atm.client import Client
from atm.local_cluster import write_cluster_ini
from atm.local_links import LinkedCluster
from tests.support.browser import browser, chromium
from tests.web.serving import web


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LinkedCluster]:
    """Three real nodes with a leader, as bin/run --web starts them."""
    with LinkedCluster(write_cluster_ini(tmp_path_factory.mktemp("bank"), 3)) as local:
        local.start_all()
        local.wait_for_leader()
        yield local


@pytest.fixture(scope="session")
def client(bank: LinkedCluster) -> Iterator[Client]:
    with Client(bank.cluster.path) as connected:
        yield connected


@pytest.fixture(scope="session")
def url(bank: LinkedCluster) -> Iterator[str]:
    """The address of bin/web before that bank."""
    with web(bank.cluster.path) as address:
        yield address


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    if chromium() is None:
        pytest.skip(
            "THERE IS NO CHROMIUM HERE: the pages are not tested in a browser (apt-get install chromium)"
        )
    with browser() as running:
        yield running


@pytest.fixture(scope="session")
def new_account(client: Client) -> Callable[..., str]:
    """Open another account at each call, with a balance, and return its name."""
    names = (f"ann{number}" for number in itertools.count())

    def made(balance: int = 0) -> str:
        name = next(names)
        client.open(name).check()
        if balance:
            client.credit(name, balance).check()
        return name

    return made
