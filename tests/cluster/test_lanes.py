"""A bank on PostgreSQL with several lanes and several servers: whatever is asked, it is one bank."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from atm.admin.main import main as admin
from atm.client import Batch, Client, Leg, Rejected, new_request_id
from atm.client.cluster_health import judge
from atm.client.feed import Posted
from atm.client.node_status import ClusterStatus, ask_all
from atm.client.receipt import Balance
from atm.lanes.share import lane_of
from atm.ledger.commands import Accounts, Approvals, Deeds, Exceptions, Find, RevokeRole, Statement
from atm.ledger.lane_numbers import lane_of_index, lane_of_posting
from atm.local_cluster import LocalCluster
from atm.office.main import main as office
from tests.support.certificates import Authority, write_tls_ini
from tests.support.lanes import bank_at
from tests.support.postgresql import new_database
from tests.support.server_parts import wait_until

LANES = 4
SHARED_S = 20.0
SOON_S = 1.0  # within which what lane 0 says of the bank counts in all


def account_in(lane: int, number: int = 0) -> str:
    """Return the name of an account of that lane; each number is another one."""
    names = (name for each in itertools.count() if lane_of(name := f"n{each}", LANES) == lane)
    return next(itertools.islice(names, number, None))


IN_LANE = [account_in(lane) for lane in range(LANES)]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Return three servers that share four lanes; the tests of this file that harm none have it in common."""
    with bank_at(tmp_path_factory.mktemp("bank"), new_database(), lanes=LANES) as local:
        local.start_all()
        wait_until(lambda: shares(local) == [1, 1, 2], SHARED_S)
        with Client(local.cluster.path) as client:
            for name in IN_LANE:
                client.open(name).check()
                client.credit(name, 1_000).check()
        yield local


@pytest.fixture
def client(bank: LocalCluster) -> Iterator[Client]:
    with Client(bank.cluster.path) as found:
        yield found


def lanes_of(bank: LocalCluster) -> dict[str, tuple[int, ...]]:
    """Return which lanes each running server says it has."""
    found = {name: bank.status(name) for name in bank.running()}
    return {name: status.lanes_here or () for name, status in found.items() if status is not None}


def shares(bank: LocalCluster) -> list[int]:
    """Return how many lanes servers have, the least first, if each lane is at one of them, else nothing."""
    found = lanes_of(bank)
    if sorted(lane for lanes in found.values() for lane in lanes) != list(range(LANES)):
        return []
    return sorted(len(lanes) for lanes in found.values())


def balance(client: Client, account: str) -> int:
    """Return the balance of an account."""
    found = client.query(account).check()
    assert isinstance(found, Balance)
    return found.balance


def test_every_server_answers_for_every_account(bank: LocalCluster) -> None:
    for name in bank.cluster.nodes:
        with Client(bank.cluster.path, node=name) as client:
            for account in IN_LANE:
                before = balance(client, account)
                assert client.credit(account, 7).balance == before + 7
                assert client.debit(account, 7).balance == before


def test_a_hold_is_posted_or_voided_in_the_lane_that_knows_it(bank: LocalCluster) -> None:
    for name in bank.cluster.nodes:
        with Client(bank.cluster.path, node=name) as client:
            for account in IN_LANE:
                before = balance(client, account)
                hold = client.hold(account, 100)
                assert client.post(hold.request_id, 40).balance == before - 40
                assert client.post(hold.request_id).outcome == "hold_already_posted"
                hold = client.hold(account, 100)
                voided = client.void(hold.request_id, request_id=new_request_id())
                assert voided.available == before - 40
                assert client.void(hold.request_id, request_id=voided.request_id) == voided


def test_a_transfer_between_lanes_is_one_transfer_and_can_be_taken_back(bank: LocalCluster) -> None:
    payer, receiver = IN_LANE[1], IN_LANE[2]
    for name in bank.cluster.nodes:
        with Client(bank.cluster.path, node=name) as client:
            before = balance(client, payer), balance(client, receiver)
            moved = client.transfer(payer, receiver, 90, text="rent").check()
            assert client.transfer(payer, receiver, 90, text="rent", request_id=moved.request_id) == moved
            assert (balance(client, payer), balance(client, receiver)) == (before[0] - 90, before[1] + 90)
            for account, other, amount in ((payer, receiver, -90), (receiver, payer, 90)):
                [line, *_] = client.statement(account).lines or ()
                assert (line.op, line.request_id, line.other, line.amount, line.text) == (
                    "transfer",
                    moved.request_id,
                    other,
                    amount,
                    "rent",
                )
            assert client.reverse(moved.request_id, 30).ok
            found = client.lookup(moved.request_id)
            assert (found.outcome, found.balance) == ("ok", moved.balance)
            assert found.taken_back == 30
            assert client.reverse(moved.request_id).ok
            assert (balance(client, payer), balance(client, receiver)) == before
            assert balance(client, "transit:") == 0


def test_a_reversal_finds_its_original_and_a_second_one_is_refused(client: Client) -> None:
    for account in IN_LANE:
        before = balance(client, account)
        credit = client.credit(account, 50)
        assert client.reverse(credit.request_id).balance == before
        assert client.reverse(credit.request_id).outcome == "already_reversed"


def test_the_reversal_of_what_has_not_come_yet_declines_it_in_whichever_lane_it_comes(client: Client) -> None:
    for account in IN_LANE:
        before, original, reversal = balance(client, account), new_request_id(), new_request_id()
        assert client.reverse(original, request_id=reversal).outcome == "original_not_found"
        assert client.credit(account, 50, request_id=original).outcome == "already_reversed"
        assert client.reverse(original, request_id=reversal).outcome == "original_not_found"
        assert balance(client, account) == before


def test_what_was_decided_is_looked_up_in_the_lane_that_decided_it(client: Client) -> None:
    for account in IN_LANE:
        credit = client.credit(account, 5)
        found = client.lookup(credit.request_id)
        assert found.asked is not None
        assert (found.asked.account, found.asked.amount) == (account, 5)
        assert found.log_index == credit.log_index
        assert lane_of_index(found.log_index or 0) == lane_of(account, LANES)
    assert client.lookup("never-asked").outcome == "original_not_found"


def test_a_batch_is_done_in_one_lane_or_refused_before_anything_is_done(client: Client) -> None:
    here, there, elsewhere = account_in(1), account_in(1, 1), account_in(2)
    client.open(there)
    before = balance(client, here)
    legs = (Leg(account=here, target=there, amount=5), Leg(account=there, target=here, amount=2))
    assert client.submit([Batch(id=new_request_id(), legs=legs)])[0].outcome == "ok"
    assert balance(client, here) == before - 3
    with pytest.raises(Rejected, match="different lanes"):
        client.submit([Batch(id=new_request_id(), legs=(Leg(account=here, target=elsewhere, amount=5),))])
    assert balance(client, here) == before - 3


def test_accounts_are_listed_by_name_page_by_page_over_all_lanes(client: Client) -> None:
    names = ["main", *IN_LANE, account_in(1, 1), *(account_in(lane, 2) for lane in range(LANES))]
    for name in names:
        client.open(name)
    for limit in (1, 3, 100):
        rows = client.rows(Accounts(id=new_request_id(), limit=limit))
        assert [each.account for each in rows] == sorted(set(names))


def test_the_bank_s_cash_is_that_of_all_lanes(client: Client) -> None:
    names = [each.account for each in client.accounts().accounts or ()]
    cash, held = balance(client, "cash"), sum(balance(client, name) for name in names)
    for account in IN_LANE:
        client.credit(account, 11)
    assert balance(client, "cash") == cash - 11 * LANES
    assert sum(balance(client, name) for name in names) == held + 11 * LANES


def test_pages_of_the_whole_bank_go_through_the_lanes_in_order_and_miss_nothing(client: Client) -> None:
    for account in IN_LANE:
        for number in range(3):
            client.credit(account, 1, text=f"Paged {number}").check()
    once = [line.posting for line in client.rows(Find(id=new_request_id(), text="Paged", limit=100))]
    for limit in (1, 2, 5):
        paged = [line.posting for line in client.rows(Find(id=new_request_id(), text="Paged", limit=limit))]
        assert paged == once
    assert len(once) == 3 * LANES
    assert [lane_of_posting(number) for number in once] == [lane for lane in range(LANES) for _ in range(3)]
    cash = [line.posting for line in client.rows(Statement(id=new_request_id(), account="cash", limit=7))]
    assert set(once) <= set(cash)
    assert len(cash) == len(set(cash))
    for account in IN_LANE:
        own = [line.posting for line in client.rows(Statement(id=new_request_id(), account=account, limit=2))]
        assert own == sorted(own, reverse=True)
        assert {lane_of_posting(number) for number in own} == {lane_of(account, LANES)}


def test_deeds_approvals_and_exceptions_are_those_of_all_lanes(client: Client) -> None:
    for account in IN_LANE:
        client.freeze(account).check()
        client.unfreeze(account).check()
    once = list(client.rows(Deeds(id=new_request_id(), limit=100)))
    assert {deed.target for deed in once} >= set(IN_LANE)
    assert list(client.rows(Deeds(id=new_request_id(), limit=3))) == once
    assert list(client.rows(Approvals(id=new_request_id(), limit=1))) == []
    assert list(client.rows(Exceptions(id=new_request_id(), limit=1))) == []


def test_a_feed_follows_all_lanes_and_goes_on_after_any_posting_at_any_server(bank: LocalCluster) -> None:
    mark = new_request_id()
    with Client(bank.cluster.path) as client:
        for account in IN_LANE:
            for number in range(3):
                client.credit(account, 1, text=f"{mark} {number}").check()
        expected = {line.posting for line in client.rows(Find(id=new_request_id(), text=mark, limit=100))}
        assert len(expected) == 3 * LANES
        seen = {}
        for posted in client.watch():
            seen[posted.posting] = posted
            if expected <= seen.keys():
                break
    order = list(seen)
    for name, begin in zip(bank.cluster.nodes, (0, len(order) // 2, len(order) - 2), strict=True):
        after = msgspec.json.decode(msgspec.json.encode(seen[order[begin]]), type=Posted)
        rest = set(order[begin + 1 :])
        with Client(bank.cluster.path, node=name) as client:
            again = itertools.islice(client.watch(after=after), len(rest))
            assert {posted.posting for posted in again} == rest
    for lane in range(LANES):
        own = [number for number in order if lane_of_posting(number) == lane]
        assert own == sorted(own)


def test_a_feed_of_some_accounts_misses_none_of_theirs(client: Client) -> None:
    account = IN_LANE[3]
    own = {line.posting for line in client.rows(Statement(id=new_request_id(), account=account, limit=100))}
    seen = itertools.islice(client.watch(accounts=[account]), len(own))
    assert {posted.posting for posted in seen} == own


def test_verify_audits_every_lane(bank: LocalCluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert office(["verify", "--config", str(bank.cluster.path)]) == 0
    told = capsys.readouterr().out
    assert all(f"lane {lane} " in told for lane in range(LANES))


def test_an_export_has_the_postings_of_all_lanes_in_the_order_of_their_times(
    bank: LocalCluster, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    for account in IN_LANE:
        client.credit(account, 1).check()
    client.transfer(IN_LANE[0], IN_LANE[3], 7).check()
    cash = balance(client, "cash")
    assert balance(client, "transit:") == 0
    assert office(["export", "--node", "n1", "--format", "jsonl", "--config", str(bank.cluster.path)]) == 0
    lines = [msgspec.json.decode(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["time_us"] for line in lines] == sorted(line["time_us"] for line in lines)
    assert {lane_of_posting(line["posting"]) for line in lines} == set(range(LANES))
    paid = sum(line["amount"] for line in lines if line["debit_account"] == "cash")
    back = sum(line["amount"] for line in lines if line["credit_account"] == "cash")
    assert back - paid == cash
    for form in ("csv", "hledger", "beancount"):
        config = ["--config", str(bank.cluster.path)]
        assert office(["export", "--node", "n1", "--format", form, *config]) == 0
    assert f"assets:cash  0 XXX = {-cash / 100:.2f}" in capsys.readouterr().out


def test_a_backup_of_several_lanes_and_a_restore_into_several_are_refused_in_a_line(
    bank: LocalCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(bank.cluster.path)]
    assert admin([*config, "backup", str(tmp_path / "backup")]) == 1
    assert "this bank has 4 lanes, and a backup is of one ledger" in capsys.readouterr().err
    with bank_at(tmp_path, new_database(), 1) as one:
        one.start_all()
        one.wait_for_leader()
        assert admin(["--config", str(one.cluster.path), "backup", str(tmp_path / "one")]) == 0
    folder = tmp_path / "several"
    folder.mkdir()
    with bank_at(folder, new_database(), 1, lanes=2) as several:
        assert admin(["--config", str(several.cluster.path), "restore", str(tmp_path / "one")]) == 2
        assert "restore it with lanes = 1" in capsys.readouterr().err


def test_the_status_says_which_server_has_which_lanes(
    bank: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(bank.cluster.path)]
    assert admin([*config, "status"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("4 lanes: ")]
    for name, lanes in lanes_of(bank).items():
        assert f"{name} has {' '.join(map(str, lanes))}" in line
    assert admin([*config, "health"]) == 0


def test_a_lane_without_a_writer_is_no_health(bank: LocalCluster) -> None:
    def seen(*lanes_here: int) -> ClusterStatus:
        status = ask_all(bank.cluster)
        nodes = (replace(node, lanes=LANES, lanes_here=()) for node in status.nodes[1:])
        return replace(status, nodes=(replace(status.nodes[0], lanes_here=lanes_here), *nodes))

    assert judge(seen(0, 1, 2, 3)).verdict == "healthy"
    assert judge(seen(0, 3)).reasons == ("no server that answers writes lane 1, 2",)


def test_another_number_of_lanes_than_the_bank_was_made_with_is_refused(
    bank: LocalCluster, tmp_path: Path
) -> None:
    with bank_at(tmp_path, bank.cluster.engine.url, 1, lanes=8) as other:
        assert other.start("n1").wait(30) != 0
        assert "the bank in this database has lanes = 4, and cluster.ini says 8" in other.output("n1")


def test_approval_limits_and_roles_count_in_all_lanes_soon_and_an_approval_finds_what_it_is_for(
    tmp_path: Path,
) -> None:
    authority = Authority()
    config = write_tls_ini(tmp_path, authority, 2)
    with config.open("a") as file:
        file.write(f"\n[engine]\nkind = postgresql\nurl = {new_database()}\nlanes = {LANES}\n")
    bob = authority.person(tmp_path, "bob", "teller", "operator")
    with LocalCluster(config) as bank:
        bank.start_all()
        wait_until(lambda: shares(bank) == [2, 2], SHARED_S)
        with (
            Client(config, timeout=20.0) as ann,
            Client(config, node="n2", cert=bob[0], key=bob[1], timeout=20.0) as other,
        ):
            for account in IN_LANE:
                ann.open(account).check()
            ann.set_approval_limit("reverse", 0).check()
            time.sleep(SOON_S)
            for account in IN_LANE:
                asked = ann.reverse(ann.credit(account, 5).request_id)
                assert asked.outcome == "needs_approval"
                assert other.approve(asked.request_id).outcome == "ok"
                assert other.approve(asked.request_id).outcome == "already_approved"
                assert balance(ann, account) == 0
            ann.credit(IN_LANE[0], 9).check()
            between = ann.reverse(ann.transfer(IN_LANE[0], IN_LANE[1], 9).request_id)
            assert between.outcome == "needs_approval"
            assert (balance(ann, IN_LANE[0]), balance(ann, IN_LANE[1])) == (0, 9)
            assert other.approve(between.request_id).outcome == "ok"
            assert other.approve(between.request_id).outcome == "already_approved"
            assert (balance(ann, IN_LANE[0]), balance(ann, IN_LANE[1])) == (9, 0)
            assert ann.ask(RevokeRole(id=new_request_id(), name="bob", role="operator")).outcome == "ok"
            time.sleep(SOON_S)
            for account in IN_LANE:
                assert other.freeze(account).outcome == "not_allowed"
                assert other.credit(account, 1).outcome == "ok"


def test_a_killed_server_s_lanes_are_taken_within_seconds_and_shared_again_when_it_is_back(
    tmp_path: Path,
) -> None:
    with bank_at(tmp_path, new_database(), lanes=LANES) as bank:
        bank.start_all()
        wait_until(lambda: shares(bank) == [1, 1, 2], SHARED_S)
        with Client(bank.cluster.path, timeout=20.0) as client:
            for name in IN_LANE:
                client.open(name).check()
            victim = bank.wait_for_leader()
            bank.kill(victim)
            killed_s = time.monotonic()
            for name in IN_LANE:
                client.credit(name, 5).check()
            assert time.monotonic() - killed_s < 8.0
            wait_until(lambda: shares(bank) == [2, 2], SHARED_S)
            bank.start(victim)
            wait_until(lambda: shares(bank) == [1, 1, 2], SHARED_S)
            assert [balance(client, name) for name in IN_LANE] == [5] * LANES
