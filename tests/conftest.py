"""What all tests share: how hypothesis looks for examples, that signals are heard, whose the files are."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import settings

from atm import local_cluster
from atm.files import keep_private

# Whoever runs the tests in the background or under nohup has these ignored, and so would every program
# that a test starts and then interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

os.environ.pop("ATM_CONFIG", None)  # a bank of whoever runs the tests is none of theirs

keep_private()  # as each program of the project does

# Of several workers (-n) each draws the ports of its clusters from a share of its own.
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
local_cluster.PORTS = local_cluster.PORTS[_worker :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]

settings.register_profile("atm", deadline=None, print_blob=True)  # a busy machine is no failure
settings.load_profile("atm")

FIRST_OF_WORKERS = ("simulation", "cluster", "chaos", "power", "web", "bench")  # whose files take longest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let workers (`-n`, with `--no-loadscope-reorder`) begin with the longest, so that they end together."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: item.path.parent.name not in FIRST_OF_WORKERS)
