"""bin/admin members, add, remove, move, replace, transfer, snapshot: against nodes that follow a script."""

from __future__ import annotations

import json
import time
from itertools import repeat
from typing import Any

import pytest

from atm.admin import catching_up
from atm.client.admin_client import AdminClient
from tests.admin.fake_membership import FakeMembership
from tests.support.fake_node import FakeNode, Map
from tests.support.running import Run

ADD = ("add", "5003", "--peer", "127.0.0.1:3", "--client", "127.0.0.1:4")
SECTION = "[node 5003]\nclient = 127.0.0.1:4\npeer = 127.0.0.1:3"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atm.admin.task.TIMEOUT_S", 0.5)
    monkeypatch.setattr(catching_up, "POLL_S", 0.01)
    monkeypatch.setattr("atm.client.node_status.FURTHER_TIMEOUT_S", 0.1)


def test_members_is_a_table_and_json(run: Run, bank: FakeMembership) -> None:
    bank.members["5002"]["voter"] = False
    bank.members["5002"]["since"] = 17
    ran = run("members")
    assert ran.code == 0
    assert [line.split() for line in ran.out[2:]] == [
        ["5000", "voter", "127.0.0.1:1000", f"127.0.0.1:{bank.cluster['5000'].port}", "0"],
        ["5001", "voter", "127.0.0.1:1001", f"127.0.0.1:{bank.cluster['5001'].port}", "0"],
        ["5002", "learner", "127.0.0.1:1002", f"127.0.0.1:{bank.cluster['5002'].port}", "17"],
    ]
    (report,) = map(json.loads, run("members", "--json").out)
    assert report["members"] == list(bank.members.values())


def test_the_list_of_the_node_that_applied_most_is_shown(run: Run, bank: FakeMembership) -> None:
    stale = bank.cluster["5000"]
    stale.always = stale.map(outcome="ok", index=3, members=[{**bank.members["5000"]}])
    assert len(run("members").out) == 2 + 3


def test_a_list_that_is_older_than_an_acknowledged_change_is_not_believed(
    run: Run, bank: FakeMembership
) -> None:
    """The others do not answer, once: the list of the one that lags has no 5003 yet."""
    stale = bank.cluster["5000"]
    lagging = stale.map(outcome="ok", index=20, members=list(bank.members.values()))
    bank.refusals["promote_member"] = ["it lacks 12,000 entries"]
    late = {name: iter([False, True]) for name in ("5001", "5002")}
    for name in ("5001", "5002"):
        bank.cluster[name].always = _silent_once(bank.cluster[name], bank.cluster[name].always, late[name])
    usual: Any = stale.always
    stale.always = lambda request: lagging(request) if request["op"] == "members" else usual(request)
    assert run(*ADD).code == 0


def _silent_once(node: FakeNode, members: Any, silent: Any) -> Any:
    def answer(request: Map) -> bytes | None:
        if request["op"] == "members" and next(silent, False):
            return None
        data: bytes | None = members(request)
        return data

    return answer


# -- add -------------------------------------------------------------------------------------------------


def test_add_makes_a_learner_a_voter_once_the_leader_agrees(run: Run, bank: FakeMembership) -> None:
    bank.refusals["promote_member"] = ["it lacks 12,000 entries", "it lacks 3,000 entries"]
    ran = run(*ADD)
    assert ran.code == 0
    assert ran.out == [
        "5003 is a voter now. Its section for cluster.ini, on every machine:",
        "",
        *SECTION.splitlines(),
    ]
    assert "5003 is a learner now: it gets the log, and has no vote yet" in ran.err
    assert any("it lacks 3,000 entries" in line for line in ran.err)
    assert [change["op"] for change in bank.changes] == ["add_member", *["promote_member"] * 3]
    assert bank.members["5003"]["voter"]


def test_an_add_that_was_broken_off_goes_on_when_it_is_repeated(run: Run, bank: FakeMembership) -> None:
    bank.refusals["promote_member"] = ["it does not answer"] * 10_000
    ran = run(*ADD, "--timeout", "0.2")
    assert ran.code == 3
    assert ran.out == []
    assert ran.err[-1] == (
        "admin: 5003 is no voter yet: it does not answer. It is a learner, which goes on catching up. "
        "To go on: bin/admin add 5003 --peer 127.0.0.1:3 --client 127.0.0.1:4"
    )
    bank.refusals.clear()
    bank.changes.clear()
    ran = run(*ADD)
    assert (ran.code, bank.changes) == (0, [{"op": "promote_member", "node": "5003"}])
    assert ran.err[0] == "5003 is a learner already: it goes on catching up"
    again = run(*ADD)
    assert (again.code, len(bank.changes)) == (0, 1)
    assert again.out[0] == "5003 is a voter already. Its section for cluster.ini, on every machine:"


@pytest.mark.parametrize(
    ("learner", "says"),
    [
        (
            True,
            "Interrupted: 5003 is a learner, which goes on catching up and has no vote. To go on: bin/admin",
        ),
        (False, "Interrupted: 5003 is no member, nothing was changed. To go on: bin/admin add"),
    ],
)
def test_ctrl_c_says_what_the_member_is_now_and_how_to_go_on(
    run: Run, bank: FakeMembership, monkeypatch: pytest.MonkeyPatch, learner: bool, says: str
) -> None:
    change = AdminClient.change

    def interrupted(client: AdminClient, request: Any) -> Any:
        if learner and type(request).__name__ == "AddMember":
            return change(client, request)
        raise KeyboardInterrupt

    monkeypatch.setattr(AdminClient, "change", interrupted)
    ran = run(*ADD)
    assert ran.code == 130
    assert ran.err[-1].startswith(f"admin: {says}")


def test_a_learner_that_somebody_removes_meanwhile_is_not_waited_for(run: Run, bank: FakeMembership) -> None:
    def refuse(request: Map) -> list[str]:
        bank.members.pop("5003", None)
        return ["5003 is no member"]

    class Removing(list[str]):
        def pop(self, _index: Any = 0) -> str:
            return refuse({})[0]

    bank.refusals["promote_member"] = Removing(["x"])
    ran = run(*ADD)
    said = "admin: 5003 is no member any more: another administrator has removed it"
    assert (ran.code, ran.err[-1]) == (1, said)


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("add 5003 --peer h:1", 2, "the following arguments are required: --client"),
        ("add 5003 --peer h:1 --client h", 2, "argument --client: 'h' is not host:port"),
        ("add 5003 --peer h:1 --client h:70000", 2, "port 70000 is not from 1 to 65535"),
        ("add 5003 --peer h:1 --client h:1", 2, "are the same address, h:1"),
        ("add 5003 --peer h:1 --client 0.0.0.0:1", 2, "0.0.0.0:1 means all addresses of a machine"),
        ("add 50/3 --peer h:1 --client h:2", 2, "'50/3' is no node's name"),
        ("add 5003 --peer 127.0.0.1:1001 --client h:2", 1, "is the address of member 5001"),
        ("add 5001 --peer h:1 --client h:2", 1, "5001 is a member already, with the addresses"),
        ("remove 5009", 2, "there is no member 5009: the members are 5000, 5001, 5002"),
        ("move 5009 --peer h:1 --client h:2", 2, "there is no member 5009"),
        ("move 5000 --peer 127.0.0.1:1001 --client h:2", 1, "is the address of member 5001"),
        ("replace 5009", 2, "there is no member 5009"),
        ("transfer 5009", 2, "there is no member 5009"),
        ("snapshot 5009", 2, "there is no member 5009"),
        ("dance", 2, "invalid choice: 'dance'"),
        ("status --timeout 0", 2, "a number of seconds above 0"),
        ("", 2, "the following arguments are required: COMMAND"),
    ],
)
def test_nonsense_is_refused_in_one_line_and_changes_nothing(
    run: Run, bank: FakeMembership, command: str, code: int, says: str
) -> None:
    ran = run(*command.split())
    assert (ran.code, ran.out, len(ran.err), bank.changes) == (code, [], 1, [])
    assert ran.err[0].startswith("admin: ")
    assert says in ran.err[0]


def test_no_node_that_answers_is_exit_code_3(run: Run, bank: FakeMembership) -> None:
    bank.stop()
    for command in (
        ["members"],
        [*ADD],
        ["remove", "5000", "--yes"],
        ["replace", "5000"],
        ["transfer"],
        ["snapshot"],
    ):
        ran = run(*command, "--timeout", "0.2")
        assert (ran.code, ran.out) == (3, [])
        assert ran.err[-1].startswith("admin: The bank is not available")


def test_a_release_that_knows_no_members_is_told_apart(run: Run, bank: FakeMembership) -> None:
    for node in bank.cluster.nodes.values():
        node.always = node.fault("bad_request", message="unknown op")
    ran = run("members")
    assert ran.code == 1
    assert "upgrade all of them (docs/upgrade.md)" in ran.err[0]


def test_a_request_without_an_answer_is_asked_again(run: Run, bank: FakeMembership) -> None:
    """The first time it is done, and the answer is lost."""
    closes = iter([True])
    for node in bank.cluster.nodes.values():
        node.always = _losing(node, node.always, closes)
    ran = run("move", "5000", "--peer", "127.0.0.1:1", "--client", "127.0.0.1:2")
    assert ran.code == 0
    assert ran.err == ["No answer came: asking again"]
    assert bank.members["5000"]["peer"] == "127.0.0.1:1"


def _losing(node: FakeNode, members: Any, closes: Any) -> Any:
    def answer(request: Map) -> bytes | None:
        data: bytes | None = members(request)
        return None if request["op"] == "move_member" and next(closes, False) else data

    return answer


def test_an_outcome_that_stays_unknown_is_exit_code_5(run: Run, bank: FakeMembership) -> None:
    for node in bank.cluster.nodes.values():
        node.always = _losing(node, node.always, repeat(True))
    ran = run(
        "--json", "--timeout", "0.5", "move", "5000", "--peer", "127.0.0.1:1", "--client", "127.0.0.1:2"
    )
    assert ran.code == 5
    (report,) = map(json.loads, ran.out)
    assert (report["command"], report["outcome"]) == ("move", "unknown")


def test_a_request_goes_on_to_another_node_when_one_knows_no_leader(run: Run, bank: FakeMembership) -> None:
    for name in ("5000", "5002"):
        node = bank.cluster[name]
        node.always = _refusing_with(node, node.always, "unavailable")
    assert run("move", "5000", "--peer", "127.0.0.1:1", "--client", "127.0.0.1:2").code == 0


def _refusing_with(node: FakeNode, members: Any, outcome: str) -> Any:
    def answer(request: Map) -> bytes | None:
        if request["op"] in ("members", "status"):
            data: bytes | None = members(request)
            return data
        return node.fault(outcome, message="not now")(request)

    return answer


# -- remove, move, replace ---------------------------------------------------------------------------------


def test_a_voter_is_removed_only_with_yes(run: Run, bank: FakeMembership) -> None:
    ran = run("remove", "5000")
    assert (ran.code, bank.changes) == (1, [])
    assert ran.err == [
        "admin: 5000 is a voter: 2 would be left, which go on serving while 2 of them run. "
        "Nothing was changed. To do it: bin/admin remove 5000 --yes"
    ]
    assert run("remove", "5000", "--yes").code == 0
    assert bank.changes == [{"op": "remove_member", "node": "5000", "yes": True}]


def test_a_learner_is_removed_without_yes(run: Run, bank: FakeMembership) -> None:
    bank.members["5000"]["voter"] = False
    assert run("remove", "5000").code == 0
    assert "5000" not in bank.members


def test_the_only_voter_is_not_removed(run: Run, bank: FakeMembership) -> None:
    bank.members["5000"]["voter"] = bank.members["5002"]["voter"] = False
    ran = run("remove", "5001", "--yes")
    assert (ran.code, bank.changes) == (1, [])
    assert "5001 is the only voter" in ran.err[0]


def test_what_the_leader_refuses_is_told_with_its_reason(run: Run, bank: FakeMembership) -> None:
    bank.refusals["remove_member"] = ["another change is under way"]
    ran = run("--json", "remove", "5000", "--yes")
    assert ran.code == 1
    (report,) = map(json.loads, ran.out)
    assert (report["outcome"], report["message"]) == ("refused", "another change is under way")


def test_a_move_prints_the_section_and_is_repeatable(run: Run, bank: FakeMembership) -> None:
    for _ in range(2):
        ran = run("move", "5000", "--peer", "127.0.0.1:3", "--client", "127.0.0.1:4")
        assert ran.code == 0
        assert ran.out[-3:] == ["[node 5000]", "client = 127.0.0.1:4", "peer = 127.0.0.1:3"]
    assert len(bank.changes) == 1


def test_a_lost_disk_is_replaced_while_the_others_serve(run: Run, bank: FakeMembership) -> None:
    bank.cluster["5000"].told = {"voter": False}
    bank.refusals["promote_member"] = ["it lacks 12,000 entries"]
    ran = run("replace", "5000")
    assert (ran.code, ran.out) == (0, ["5000 is a voter again"])
    assert [change["op"] for change in bank.changes] == ["replace_member", "promote_member", "promote_member"]


def test_a_replacement_that_the_leader_refuses_waits_for_nothing(run: Run, bank: FakeMembership) -> None:
    bank.refusals["replace_member"] = [
        "node 5000 has its data folder and its vote: there is nothing to replace"
    ]
    ran = run("replace", "5000")
    assert (ran.code, len(bank.changes)) == (1, 1)
    assert ran.err == ["admin: node 5000 has its data folder and its vote: there is nothing to replace"]


def test_a_replacement_that_was_broken_off_goes_on_when_it_is_repeated(
    run: Run, bank: FakeMembership
) -> None:
    bank.refusals["promote_member"] = ["it lacks 12,000 entries"] * 10_000
    ran = run("replace", "5000", "--timeout", "0.2")
    assert ran.code == 3
    assert ran.err[-1].endswith(
        "It is a learner, which goes on catching up. To go on: bin/admin replace 5000"
    )
    bank.refusals.clear()
    assert run("replace", "5000").code == 0
    assert bank.members["5000"]["voter"]


# -- transfer, snapshot ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "leader"), [(["5000"], "5000"), ([], "5002"), (["5001"], "5001")])
def test_leadership_is_handed_over(run: Run, bank: FakeMembership, arguments: list[str], leader: str) -> None:
    ran = run("transfer", *arguments)
    assert (ran.code, ran.out) == (0, [f"{leader} leads now, in term 3"])


def test_a_learner_cannot_lead(run: Run, bank: FakeMembership) -> None:
    bank.members["5000"]["voter"] = False
    ran = run("transfer", "5000")
    assert (ran.code, bank.changes) == (1, [])
    assert "only a voter can lead" in ran.err[0]


def test_a_transfer_after_which_none_leads_is_unknown(run: Run, bank: FakeMembership) -> None:
    bank.transfers = False
    ran = run("transfer", "5000", "--timeout", "0.3")
    assert ran.code == 5
    assert "leadership was to be handed over" in ran.err[-1]


def test_snapshots_are_taken_one_after_another(run: Run, bank: FakeMembership) -> None:
    ran = run("snapshot")
    assert ran.code == 0
    assert [line.partition(":")[0] for line in ran.out] == ["5000", "5001", "5002"]
    ran = run("snapshot", "5002", "--json")
    assert json.loads(ran.out[0])["snapshots"] == {"5002": bank.index}


def test_a_snapshot_that_is_refused_says_why(run: Run, bank: FakeMembership) -> None:
    bank.refusals["snapshot"] = ["one is under way"]
    ran = run("snapshot", "5002")
    assert (ran.code, ran.err) == (1, ["admin: 5002 took no snapshot: one is under way"])


def test_a_node_that_does_not_answer_is_left_out_of_the_snapshots(run: Run, bank: FakeMembership) -> None:
    bank.cluster["5000"].always = bank.cluster["5000"].silence
    ran = run("snapshot")
    assert (ran.code, len(ran.out)) == (1, 2)
    assert ran.err == ["5000 does not answer: it took no snapshot"]
    ran = run("snapshot", "5000")
    assert (ran.code, ran.out, ran.err) == (3, [], ["admin: 5000 does not answer: it took no snapshot"])


def test_the_wait_says_how_far_the_node_is(run: Run, bank: FakeMembership) -> None:
    bank.cluster["5000"].told = {"voter": False, "applied_index": 4}
    bank.refusals["promote_member"] = ["not yet"]
    started = time.monotonic()
    ran = run("replace", "5000")
    assert "5000 has 4 of 12 entries (not yet)" in ran.err
    assert time.monotonic() - started < 10
