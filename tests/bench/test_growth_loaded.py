"""What a request costs is what the servers used, by the entries that came to the log meanwhile."""

from __future__ import annotations

import math
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from atm.local_cluster import LocalCluster
from bench import cluster as bench_cluster
from bench import usage
from bench.cluster import restart_s, wait_until_applied
from bench.growth import loaded
from bench.load import NotAcknowledged, Result
from bench.work import Work


@dataclass
class MadeUpStatus:
    term: int
    last_index: int
    applied_index: int


class MadeUpCluster:
    """A cluster led by n1, whose nodes use so many seconds of a processor in a load of 1,000 entries.

    A load with `elections` under way ends one term later, and that with `refusal` instead of a result.
    `behind` counts how often nodes are asked before they have applied all.
    """

    def __init__(self, used_s: list[float], behind: int = 100) -> None:
        names = [f"n{number}" for number in range(1, len(used_s) + 1)]
        self.cluster = SimpleNamespace(nodes={name: SimpleNamespace(client=None) for name in names})
        self.processes = {name: SimpleNamespace(pid=number) for number, name in enumerate(names)}
        self.elections = 0
        self.refusal: str | None = None
        self.behind = behind
        self.done: list[str] = []
        self._used_s = used_s
        self._loads = 0
        self._term = 1

    def wait_for_leader(self) -> str:
        return "n1"

    def status(self, name: str) -> MadeUpStatus:
        last_index = 5 + 1_000 * self._loads
        self.behind -= 1
        return MadeUpStatus(self._term, last_index, last_index if self.behind < 0 else last_index - 1)

    def kill(self, name: str) -> None:
        self.done.append(f"kill {name}")

    def start(self, name: str) -> None:
        self.done.append(f"start {name}")

    def run(self, *_: object, seconds: float, warm_up_s: float) -> Result:
        self._loads += 1
        if self.elections:
            self.elections -= 1
            self._term += 1
        if self.refusal is not None:
            refusal, self.refusal = self.refusal, None
            raise NotAcknowledged(refusal)
        return Result(600, seconds, 0.5, [0.002] * 600)

    def processor_s(self, pid: int) -> float:
        return 1.0 + self._used_s[pid] * self._loads

    def written_bytes(self, pid: int) -> int:
        assert pid == 0, "the leader's"
        return 4_000_000 * self._loads

    def as_cluster(self) -> LocalCluster:
        return cast(LocalCluster, self)


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(bench_cluster, "POLL_S", 0.0)
    return monkeypatch


def measured(patch: pytest.MonkeyPatch, made_up: MadeUpCluster) -> dict[str, float]:
    for name in ("run", "processor_s", "written_bytes"):
        patch.setattr(loaded, name, getattr(made_up, name))
    return dict(loaded.loaded(made_up.as_cluster(), Work("credits", 2), 2.0))


def test_costs_are_of_each_entry_on_the_leader_and_on_the_median_follower(
    patched: pytest.MonkeyPatch,
) -> None:
    made_up = MadeUpCluster([0.3, 0.1, 0.5, 0.2])
    figures = measured(patched, made_up)
    assert made_up.behind < 0, "it was waited until all had applied"
    assert figures.pop("servers_cores") > 0
    assert figures == pytest.approx(
        {
            "requests_per_s": 300.0,
            "p50_ms": 2.0,
            "p99_ms": 2.0,
            "leader_us": 300.0,
            "follower_us": 200.0,
            "leader_bytes": 4_000.0,
            "load_cores": 0.25,
            "elections": 0,
        }
    )


def test_a_server_alone_has_no_follower(patched: pytest.MonkeyPatch) -> None:
    figures = measured(patched, MadeUpCluster([0.3]))
    assert figures["leader_us"] == pytest.approx(300.0)
    assert math.isnan(figures["follower_us"])


@pytest.mark.parametrize("refusal", [None, "unknown: it may or may not have been done"])
def test_what_an_election_fell_into_is_measured_again(
    patched: pytest.MonkeyPatch, refusal: str | None
) -> None:
    made_up = MadeUpCluster([0.3, 0.2])
    made_up.elections, made_up.refusal = 2, refusal
    figures = measured(patched, made_up)
    assert (figures["elections"], figures["leader_us"]) == (2, pytest.approx(300.0))


def test_a_refusal_without_an_election_is_told_at_once(patched: pytest.MonkeyPatch) -> None:
    made_up = MadeUpCluster([0.3, 0.2])
    made_up.refusal = "no_such_account: "
    with pytest.raises(NotAcknowledged, match="no_such_account"):
        measured(patched, made_up)


def test_it_is_given_up_where_there_is_always_an_election(patched: pytest.MonkeyPatch) -> None:
    made_up = MadeUpCluster([0.3, 0.2])
    made_up.elections = 100
    with pytest.raises(NotAcknowledged, match="an election in each of 3 attempts"):
        measured(patched, made_up)
    assert made_up.elections == 97


def test_who_never_applies_is_named_after_the_deadline(patched: pytest.MonkeyPatch) -> None:
    made_up = MadeUpCluster([0.0, 0.0], behind=10**9)
    with pytest.raises(TimeoutError, match=r"not all of n1, n2 applied entry 5 within 0\.01 s"):
        wait_until_applied(made_up.as_cluster(), ["n1", "n2"], 5, within_s=0.01)


def test_a_restart_kills_all_then_lets_something_happen_then_starts_them(
    patched: pytest.MonkeyPatch,
) -> None:
    made_up = MadeUpCluster([0.0, 0.0])
    took_s = restart_s(
        made_up.as_cluster(), ["n1", "n2"], while_down=lambda: made_up.done.append("lose a ledger")
    )
    assert made_up.done == ["kill n1", "kill n2", "lose a ledger", "start n1", "start n2"]
    assert took_s > 0
    assert made_up.behind < 0, "it was waited until all had applied"


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="NOT TESTED: this system has no /proc")
def test_what_this_process_uses_grows_as_it_works(tmp_path: Path) -> None:
    pid = os.getpid()
    before_s, before_bytes, written = (
        usage.processor_s(pid),
        usage.resident_bytes(pid),
        usage.written_bytes(pid),
    )
    kept: list[bytes] = []
    while usage.processor_s(pid) < before_s + 0.02:
        kept.append(bytes([len(kept) % 255 + 1]) * 100_000)
    assert usage.processor_s(pid) == pytest.approx(sum(os.times()[:2]), abs=0.05)
    assert usage.resident_bytes(pid) > before_bytes
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    here, there = socket.socketpair()
    with here, there:
        here.send(b"x" * 10_000)
    assert 100_000 <= usage.written_bytes(pid) - written < 102_000
    with pytest.raises(OSError, match="No such file"):
        usage.processor_s(2**22 + 1)
