"""What a single command does not load: it would take longer than the command."""

from __future__ import annotations

import subprocess
import sys

from tests.support.fake_cluster import FakeCluster
from tests.support.running import ROOT

# A script starts the teller for each command, and half of what that costs once was loading these.
NOT_LOADED = {
    "apsw": "the ledger: servers have it",
    "asyncio": "of AsyncClient and the keyboard",
    "atm.client.node_status": "of `status`",
    "atm.raft": "the core: servers have it",
    "atm.wire.request_decoding": "servers decode requests",
    "cryptography": "makes certificates",
    "dataclasses": "with `inspect`; and making one class takes as long as making thirty of msgspec's",
    "difflib": "finds what was meant by a mistyped word",
    "encodings.idna": "of names that are not ASCII, which no address here is",
    "importlib.metadata": "of tabulate",
    "json": "of `--json`",
    "logging": "of servers",
    "prompt_toolkit": "of a session at a terminal",
    "secrets": "and all that it loads: `os.urandom` is what it asks",
    "ssl": "of [tls]",
    "subprocess": "of the pager",
    "tabulate": "of what is printed as a table",
    "wcwidth": "of tabulate",
}
PROGRAM = "import sys; from atm.teller.main import main; main(sys.argv[1:]); print(*sys.modules, sep='\\n')"


def test_a_query_loads_nothing_that_it_does_without(cluster: FakeCluster) -> None:
    command = [sys.executable, "-c", PROGRAM, "--config", str(cluster.config), "-c", "query"]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    answer, *loaded = out.splitlines()
    assert answer.startswith("Your current account balance is")
    assert "atm.teller.session" in loaded
    assert {name: why for name, why in NOT_LOADED.items() if name in loaded} == {}


def test_what_was_loaded_is_never_searched_for_garbage() -> None:
    program = (
        "import gc, sys\nfrom atm import programs\nsys.argv = ['atm', '--version']\n"
        "try: programs.atm()\nexcept SystemExit: print(gc.get_freeze_count() > 10_000, gc.isenabled())\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert out.splitlines()[-1] == "True True"
