"""bin/admin status and health: what they say, how they end, and how soon."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from atm.admin.main import main
from atm.admin.status import duration
from atm.command_line import size
from tests.admin.fake_membership import FakeMembership
from tests.support.running import Run

FIELDS = {
    "node", "role", "voter", "version", "term", "commit_index", "applied_index", "last_index",
    "snapshot_index", "lag", "log_bytes", "ledger_bytes", "disk_free_bytes", "uptime_s", "client", "peer",
}  # fmt: skip


def test_status_shows_each_node_and_in_the_last_line_whether_the_bank_is_available(
    run: Run, bank: FakeMembership
) -> None:
    bank.cluster["5000"].told = {
        "version": "1.2.0", "snapshot_index": 9, "log_bytes": 3 * 2**20, "ledger_bytes": 2**31,
        "disk_free_bytes": 700 * 2**30, "uptime_s": 3 * 86_400.0,
    }  # fmt: skip
    bank.cluster["5002"].stop()
    ran = run("status")
    assert ran.code == 0
    assert ran.out[0].split()[:7] == ["node", "role", "release", "term", "commit", "applied", "lag"]
    assert " ".join(ran.out[2].split()) == (
        f"5000 follower 1.2.0 3 12 10 2 9 3.0 MiB 2.0 GiB 700 GiB 3 d 127.0.0.1:{bank.cluster['5000'].port}"
    )
    assert ran.out[4].split()[:7] == ["5002", "down", "-", "-", "-", "-", "-"]
    assert ran.out[-1] == "The bank is available, led by 5001: 2 of 3 servers answer"


def test_status_as_json_has_every_field(run: Run, bank: FakeMembership) -> None:
    ran = run("--json", "status")
    (report,) = map(json.loads, ran.out)
    assert report.keys() >= {"available", "leader", "term", "cluster", "alarms", "nodes"}
    assert (report["available"], report["leader"], report["term"]) == (True, "5001", 3)
    assert report["cluster"] == "c" * 32
    assert all(node.keys() >= FIELDS for node in report["nodes"])
    assert report["nodes"][0]["client"] == f"127.0.0.1:{bank.cluster['5000'].port}"
    assert report["nodes"][0]["peer"] == "127.0.0.1:1000"


def test_a_bank_that_is_not_available_is_exit_code_3(run: Run, bank: FakeMembership) -> None:
    bank.lead(None)
    for command in ("status", "health"):
        ran = run(command)
        assert ran.code == 3
        assert ran.out[-1] == (
            "The bank is not available: 3 of 3 servers answer, and none of them leads a majority"
        )


def test_a_node_that_is_busy_is_not_called_down(run: Run, bank: FakeMembership) -> None:
    bank.cluster["5002"].always = bank.cluster["5002"].fault("busy", message="too many connections")
    ran = run("status")
    assert ran.out[4].split()[:3] == ["5002", "busy", "-"]
    assert ran.out[-2] == "5002 is busy: too many connections"
    (report,) = map(json.loads, run("--json", "status").out)
    assert (report["nodes"][2]["role"], report["nodes"][2]["said"]) == ("down", "too many connections")
    assert "5002 is busy: too many connections" in run("health").out[-1]
    doctor = " ".join(run("doctor").out)
    assert "5002 is busy: too many connections" in doctor
    assert "does not answer" not in doctor


def test_alarms_are_shown_and_cannot_move_the_cursor(run: Run, bank: FakeMembership) -> None:
    bank.cluster["5000"].told = {"alarms": ["the disk\x1b[2J is full"], "role": "follower\n"}
    ran = run("status")
    assert "ALARM 5000: the disk?[2J is full" in ran.out
    assert ran.out[2].split()[1] == "follower?"


def test_watch_goes_on_until_ctrl_c(run: Run, bank: FakeMembership, monkeypatch: pytest.MonkeyPatch) -> None:
    naps = iter([None, None])

    def nap(_seconds: float) -> None:
        if next(naps, "end") == "end":
            raise KeyboardInterrupt

    monkeypatch.setattr("atm.admin.status.time.sleep", nap)
    ran = run("status", "--watch", "--json")
    assert (ran.code, len(ran.out)) == (0, 3)


# -- health ------------------------------------------------------------------------------------------------


def test_all_well_is_one_line_and_exit_code_0(run: Run, bank: FakeMembership) -> None:
    ran = run("health")
    assert (ran.code, ran.out, ran.err) == (0, ["healthy: 3 of 3 voters, led by 5001 in term 3"], [])


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"voter": False}, "5000 has lost its vote (bin/admin replace 5000)"),
        ({"commit_index": 3000, "applied_index": 3000}, "5002 is 2,990 entries behind"),
        ({"disk_free_bytes": 100 * 2**20}, "5000 has 100 MiB free on its disk"),
        (
            {"alarms": ["its ledger differs from the majority's"]},
            "5000: its ledger differs from the majority's",
        ),
    ],
)
def test_what_weakens_the_bank_is_exit_code_1(
    run: Run, bank: FakeMembership, told: dict[str, Any], reason: str
) -> None:
    bank.cluster["5000"].told = told
    ran = run("health")
    assert ran.code == 1
    assert ran.out[0].startswith("degraded: ")
    assert reason in ran.out[0]
    (report,) = map(json.loads, run("health", "--json").out)
    assert report["health"] == "degraded"
    assert reason in report["reasons"]


def test_a_voter_that_is_down_and_a_member_without_a_vote_weaken_the_bank(
    run: Run, bank: FakeMembership
) -> None:
    bank.cluster["5002"].stop()
    assert run("health").out == ["degraded: 5002 does not answer"]
    bank.members["5002"]["voter"] = False
    assert run("health").out == ["degraded: 5002 has no vote"]


def test_a_section_of_no_member_is_no_reason_and_not_counted(run: Run, bank: FakeMembership) -> None:
    del bank.members["5002"]
    bank.cluster["5002"].stop()
    assert run("health").code == 0
    assert run("status").out[-1] == "The bank is available, led by 5001: 2 of 2 servers answer"


@pytest.mark.parametrize("command", ["health", "status"])
def test_nodes_that_hang_or_are_gone_are_told_within_two_seconds(
    run: Run, bank: FakeMembership, command: str
) -> None:
    """A suspended process accepts connections and never answers."""
    bank.cluster["5000"].stop()
    for name in ("5001", "5002"):
        bank.cluster[name].always = bank.cluster[name].silence
    started = time.monotonic()
    assert run(command).code == 3
    assert time.monotonic() - started < 2


def test_a_leader_whose_followers_hang_is_told_within_two_seconds(run: Run, bank: FakeMembership) -> None:
    for name in ("5000", "5002"):
        bank.cluster[name].always = bank.cluster[name].silence
    started = time.monotonic()
    run("health")
    assert time.monotonic() - started < 2.5


def test_a_wrong_cluster_ini_is_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("status", "health", "members", "doctor", "transfer"):
        missing = tmp_path / "none.ini"
        assert main([command, "--config", str(missing)]) == 2
        assert capsys.readouterr().err == f"admin: {missing}: no such file\n"


def test_sizes_and_times_are_for_people() -> None:
    assert [size(n) for n in (None, 0, 999, 1000, 2**20, 10**9, 123 * 2**40)] == [
        None, "0 B", "999 B", "1.0 KiB", "1.0 MiB", "954 MiB", "123 TiB",
    ]  # fmt: skip
    assert [duration(s) for s in (None, 0.4, 119, 120, 7199, 7200, 172_800)] == [
        None, "0 s", "119 s", "2 min", "119 min", "2 h", "2 d",
    ]  # fmt: skip


@pytest.mark.parametrize("command", ["status", "health", "doctor", "members"])
@pytest.mark.parametrize("field", ["node", "client", "peer"])
def test_a_false_servers_members_cannot_move_the_cursor(
    run: Run, bank: FakeMembership, command: str, field: str
) -> None:
    """Part of trial M7, at bin/admin: the tree before printed the escape in the table of `status`."""
    bank.members["5001"] |= {field: "\x1b[2J\n\u202e"}
    ran = run("--timeout", "0.3", command)
    assert ran.code in (1, 3)
    assert all(line.isprintable() for line in (*ran.out, *ran.err))
