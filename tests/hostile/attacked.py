"""A bank under attack: three real nodes of five, a well-behaved client beside the attacker, and a look at
what each node holds before and after. The other two nodes never run, so an attacker may use their names.
"""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from atm.client import Client
from atm.local_cluster import LocalCluster, write_cluster_ini
from tests.support.certificates import Authority, add_tls
from tests.support.ledgers import assert_books_are_right, tables
from tests.support.server_parts import wait_until

SERVED_WITHIN_S = 5.0
SETTLED_WITHIN_S = 30.0  # twice the time that half a frame may take, and some
MEMORY_KIB_MAX = 200 * 1024  # above what it was; the bounds of docs/architecture.md add up to less
STRANGER, CHANGING_STRANGER = "stranger", "changing"  # no name of a running node is a bit away from these


@dataclass(frozen=True)
class Held:
    """What a node's process holds."""

    threads: int
    files: int
    term: int


class Attacked:
    """Nodes n1 to n3, running, with a client that is served all the while; with TLS if there is a CA."""

    def __init__(self, authority: Authority | None = None) -> None:
        self._authority = authority

    def __enter__(self) -> Self:
        self._temporary = tempfile.TemporaryDirectory()
        path = write_cluster_ini(Path(self._temporary.name))
        text = path.read_text()
        for old, new in (("n4", STRANGER), ("n5", CHANGING_STRANGER)):
            text = text.replace(f"[node {old}]", f"[node {new}]")
        path.write_text(text)
        if self._authority is not None:
            add_tls(path, self._authority)
        self.cluster = LocalCluster(path)
        self.names = ["n1", "n2", "n3"]
        for name in self.names:
            self.cluster.start(name)
        self.cluster.wait_for_leader()
        self._bystander = Bystander(path)
        wait_until(self._have_all_applied)  # only then does each hold all that it needs
        self._before = {name: self._held(name) for name in self.names}
        self._memory_kib = {name: _status_number(self._pid(name), "VmHWM") for name in self.names}
        self._bystander.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bystander.stop()
        self.cluster.stop_all()
        self._temporary.cleanup()

    @property
    def term(self) -> int:
        """The term before the attack, which is also that after it."""
        return self._before["n1"].term

    def assert_served(self) -> None:
        """Assert that all nodes run and the client beside the attacker has had all its answers so far."""
        assert self.cluster.running() == self.names, [self.cluster.output(name) for name in self.names]
        assert not self._bystander.errors, self._bystander.errors

    def assert_as_before(self) -> None:
        """Assert that the client was served, and that the nodes came back to what they were."""
        self.assert_served()
        self._bystander.stop()
        assert not self._bystander.errors, self._bystander.errors
        assert self._bystander.served > 0
        deadline = time.monotonic() + SETTLED_WITHIN_S
        for name in self.names:
            while not self._is_as_before(name):
                assert time.monotonic() < deadline, (
                    f"{name} held {self._before[name]} and holds {self._held(name)}"
                )
                time.sleep(0.05)
            grown_kib = _status_number(self._pid(name), "VmHWM") - self._memory_kib[name]
            assert grown_kib < MEMORY_KIB_MAX, f"{name} took {grown_kib} KiB more"
            self._assert_output_in_order(name)
        for name in self.names:
            assert_books_are_right(tables(self.cluster.cluster.data_dir / name / "ledger.db"))

    def _have_all_applied(self) -> bool:
        """Return whether each node has applied all that the one that is furthest has committed."""
        found = [status for name in self.names if (status := self.cluster.status(name)) is not None]
        committed = max((status.commit_index for status in found), default=0)
        return len(found) == len(self.names) and all(each.applied_index == committed for each in found)

    def _is_as_before(self, name: str) -> bool:
        before, now = self._before[name], self._held(name)
        assert now.term == before.term, f"{name} was in term {before.term} and is in term {now.term}"
        return now.threads <= before.threads and now.files <= before.files

    def _assert_output_in_order(self, name: str) -> None:
        lines = self.cluster.output(name).splitlines()
        assert all(line.isprintable() for line in lines), lines
        assert "Traceback (most recent call last):" not in lines
        assert len(lines) < 100, f"{name} said {len(lines)} lines"

    def _held(self, name: str) -> Held:
        status = self.cluster.status(name)
        assert status is not None, f"{name} does not answer"
        pid = self._pid(name)
        files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return Held(_status_number(pid, "Threads"), files, status.term)

    def _pid(self, name: str) -> int:
        return self.cluster.processes[name].pid


class Bystander:
    """A client that credits and queries an account whose name cannot be guessed, and knows its balance."""

    def __init__(self, config: Path) -> None:
        self.served = 0
        self.errors: list[BaseException] = []
        self._config = config
        self._account = f"by-{secrets.token_hex(16)}"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._live, name="bystander")
        with Client(config) as client:
            assert client.open(self._account).outcome == "ok"

    def start(self) -> None:
        """Begin to use the bank."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; may be called again."""
        self._stopping.set()
        self._thread.join()

    def _live(self) -> None:
        balance = 0
        try:
            with Client(self._config, timeout=SERVED_WITHIN_S) as client:
                while not self._stopping.wait(0.005):
                    balance += 7
                    assert client.credit(self._account, 7).balance == balance
                    assert client.query(self._account).balance == balance
                    self.served += 1
        except BaseException as error:
            self.errors.append(error)


def _status_number(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise AssertionError(f"no {key} of process {pid}")
