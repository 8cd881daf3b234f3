"""A server writes no core dump, and on Linux no other process of its user reads its memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.running import ROOT

PROGRAM = """
import ctypes, resource, sys
from atm.server.security.core_dumps import forbid_core_dumps
forbid_core_dumps(traceable=len(sys.argv) > 1)
print(resource.getrlimit(resource.RLIMIT_CORE))
if sys.platform == "linux":
    print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE
"""


@pytest.mark.parametrize(("more", "dumpable"), [([], "0"), (["traceable"], "1")])
def test_the_limit_is_zero_and_the_memory_is_closed(more: list[str], dumpable: str) -> None:
    """The nodes of bin/run stay traceable: whoever measures or debugs them is their own user."""
    command = [sys.executable, "-c", PROGRAM, *more]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.split("\n")[0] == "(0, 0)"
    if sys.platform == "linux":
        assert ran.stdout.split("\n")[1] == dumpable


def test_a_node_forbids_them_before_it_reads_its_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    from atm.server import main as node  # noqa: PLC0415

    done: list[bool] = []
    monkeypatch.setattr(node, "forbid_core_dumps", lambda *, traceable: done.append(traceable))
    assert node.main(["n1", "--config", "nowhere.ini"]) == 2
    assert done == [False]
