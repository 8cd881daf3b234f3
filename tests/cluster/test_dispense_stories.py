"""What goes wrong between bank and cash: lost answers, machines that jam, news that overtakes itself."""

from __future__ import annotations

from atm.client import Client, Receipt
from atm.local_cluster import LocalCluster
from atm.wire.client_messages import ClientReply, Reply
from tests.cluster.go_between import Doings, go_between
from tests.cluster.tellers import tellers
from tests.support.ledgers import right_ledger
from tests.support.server_parts import wait_until


def test_an_answer_is_lost_after_the_commit_and_the_next_leader_tells_it_again(
    cluster: LocalCluster,
) -> None:
    """The leader dies with its answer; the teller's library asks the next one with the same id."""
    leader = cluster.wait_for_leader()
    lost: list[ClientReply] = []

    def lose_it_and_kill_the_leader(answer: ClientReply) -> bool:
        lost.append(answer)
        cluster.kill(leader)
        return False

    with Client(cluster.cluster) as client:
        client.credit("main", 10_000)
    unknown: list[str] = []
    with (
        go_between(cluster.cluster, leader, Doings(passes_answer=lose_it_and_kill_the_leader)) as through,
        Client(through, node=leader, timeout=15.0, on_unknown=unknown.append) as client,
    ):
        told = client.debit("main", 4_000)
    assert unknown == [told.request_id]
    [answer] = lost
    assert isinstance(answer, Reply)
    assert (told.outcome, told.balance, told.log_index) == ("ok", 6_000, answer.log_index)
    with tellers(cluster) as at:
        for teller in at.values():
            assert teller.debit("main", 4_000, request_id=told.request_id) == told
            assert teller.query("main").balance == 6_000
    cluster.start(leader)
    journal = right_ledger(cluster)["journal"]
    assert [row.request_id for row in journal].count(told.request_id) == 1


def test_a_dispense_fails_and_is_reversed_five_times_each_step_at_another_node(
    cluster: LocalCluster,
) -> None:
    """Held here, posted there, reversed elsewhere; what is reversed does not use up the day's limit."""
    reversals: list[Receipt] = []
    with tellers(cluster) as at_each:
        at = list(at_each.values())
        assert at[0].credit("main", 20_000).outcome == "ok"
        assert at[1].set_limit("main", 20_000).outcome == "ok"
        for turn in range(5):
            here, there, elsewhere, yonder = (at[(turn + step) % len(at)] for step in range(4))
            hold = here.hold("main", 20_000)
            assert (hold.outcome, hold.balance, hold.available) == ("ok", 20_000, 0)
            dispense = there.post(hold.request_id)
            assert (dispense.outcome, dispense.balance, dispense.available) == ("ok", 0, 0)
            back = elsewhere.reverse(dispense.request_id)
            assert (back.outcome, back.balance, back.available) == ("ok", 20_000, 20_000)
            assert yonder.reverse(dispense.request_id, request_id=back.request_id) == back
            assert yonder.reverse(dispense.request_id).outcome == "already_reversed"
            assert yonder.lookup(dispense.request_id).reversed_by == back.request_id
            reversals.append(back)
        for client in at:
            lines = client.statement("main").lines
            assert lines is not None
            assert [line.amount for line in lines] == [20_000, -20_000] * 5 + [20_000]
            assert [line.request_id for line in lines[::2][:5]] == [r.request_id for r in reversed(reversals)]
    ledger = right_ledger(cluster)
    assert len(ledger["reversal"]) == 5
    assert not ledger["exception"]


def test_a_reversal_overtakes_its_original_which_is_then_declined_for_ever(cluster: LocalCluster) -> None:
    """The machine gave up and took back what the bank had not seen yet; the request arrives later."""
    leader = cluster.wait_for_leader()
    overtaking: list[Receipt] = []

    def reverse_it_elsewhere() -> None:
        elsewhere = next(name for name in cluster.running() if name != leader)
        with Client(cluster.cluster, node=elsewhere) as client:
            overtaking.append(client.reverse("debit-on-its-way"))

    with Client(cluster.cluster) as client:
        client.credit("main", 10_000)
    with (
        go_between(cluster.cluster, leader, Doings(before_request=reverse_it_elsewhere)) as through,
        Client(through, node=leader, timeout=10.0) as client,
    ):
        late = client.debit("main", 4_000, request_id="debit-on-its-way")
    assert {receipt.outcome for receipt in overtaking} == {"original_not_found"}
    assert late.outcome == "already_reversed"
    cluster.kill(leader)
    cluster.wait_for_leader()
    with tellers(cluster) as at:
        for teller in at.values():
            assert teller.debit("main", 4_000, request_id="debit-on-its-way") == late
            assert teller.reverse("debit-on-its-way").outcome == "already_reversed"
            assert teller.query("main").balance == 10_000
    cluster.start(leader)
    assert len(right_ledger(cluster)["journal"]) == 1


def test_a_machine_that_runs_out_of_notes_confirms_the_part_that_it_dispensed(cluster: LocalCluster) -> None:
    with tellers(cluster) as at:
        at["n1"].credit("main", 50_000)
        hold = at["n2"].hold("main", 30_000)
        assert (hold.balance, hold.available) == (50_000, 20_000)
        assert at["n3"].post(hold.request_id, 30_001).outcome == "exceeds_hold"
    leader = cluster.wait_for_leader()
    cluster.kill(leader)
    with tellers(cluster) as at:
        part = at[cluster.running()[0]].post(hold.request_id, 12_000)
        assert (part.outcome, part.balance, part.available) == ("ok", 38_000, 38_000)
        for teller in at.values():
            assert teller.post(hold.request_id, 12_000, request_id=part.request_id) == part
            assert teller.post(hold.request_id, 18_000).outcome == "hold_already_posted"
            assert teller.void(hold.request_id).outcome == "hold_already_posted"
    cluster.start(leader)
    ledger = right_ledger(cluster)
    assert [(row.amount, row.state, row.posted) for row in ledger["hold"]] == [(30_000, "posted", 12_000)]
    assert [row.amount for row in ledger["journal"]] == [50_000, 12_000]
    assert not ledger["exception"]


def test_a_dispense_that_is_confirmed_after_its_hold_expired_is_booked_and_listed(
    cluster: LocalCluster,
) -> None:
    """The cash is gone, so the bank posts it, whatever is left; the leader that saw the holds is gone too."""
    with Client(cluster.cluster, timeout=10.0) as client:
        for account, amount in (("rich", 90_000), ("spent", 20_000), ("shut", 20_000)):
            client.open(account)
            client.credit(account, amount)
        holds = {name: client.hold(name, 20_000, expires_ms=400) for name in ("rich", "spent", "shut")}
        assert [hold.outcome for hold in holds.values()] == ["ok"] * 3
        dead = cluster.wait_for_leader()
        cluster.kill(dead)
        wait_until(lambda: all(client.query(n).available == client.query(n).balance for n in holds))
        assert client.debit("spent", 15_000).outcome == "ok"
        assert client.debit("shut", 20_000).outcome == "ok"
        assert client.close("shut").outcome == "ok"
        assert client.void(holds["rich"].request_id).outcome == "hold_expired"
        posted = {name: client.post(hold.request_id) for name, hold in holds.items()}
        assert {receipt.outcome for receipt in posted.values()} == {"ok"}
        assert [receipt.balance for receipt in posted.values()] == [70_000, -15_000, 0]
        for hold in holds.values():
            assert client.post(hold.request_id).outcome == "hold_already_posted"
    with tellers(cluster) as at:
        for teller in at.values():
            lines = teller.exceptions().lines
            assert lines is not None
            assert [(line.exception, line.account, line.amount) for line in lines] == [
                ("written_off", "writeoff", -20_000),
                ("overdrawn", "spent", -20_000),
                ("late", "rich", -20_000),
            ]
    cluster.start(dead)
    assert len(right_ledger(cluster)["exception"]) == 3
