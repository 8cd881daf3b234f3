"""Ledgers are compared while entries are applied: who is found wrong, by whom, and when nobody is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from atm.ledger.ledger import Ledger, Record
from atm.raft.ready import Role
from atm.server.group.ledger_comparison import ALARM_S, COMPARE_S, INDEXES_KEPT_MAX, LedgerComparison
from atm.wire.peer_messages import CheckLedger, LedgerHash, NodeReport, PeerReport
from tests.support.collecting import collecting
from tests.support.entries import records
from tests.support.server_parts import FakeCore

LINES = ["o1 open ann", "c1 credit ann 100", "d1 debit ann 500", "h1 hold ann 5 60s", "c2 credit ann 7", "-"]
LINES += [f"c{number} credit main {number}" for number in range(3, 30)]
LOG = records(LINES)


class Server:
    """One server's comparison over a real ledger; what it sends waits in `sent`."""

    def __init__(self, name: str, story: Story) -> None:
        self.name = name
        self.core = FakeCore()
        self.core.role, self.core.last_index = Role.FOLLOWER, 0
        self.ledger = Ledger(":memory:")
        self.sent: list[PeerReport] = []
        self.wrong: list[str] = []
        self.reported: list[str] = []
        self.comparison = LedgerComparison(
            name,
            self.core,
            self.ledger,
            self,
            voters=lambda: story.voters,
            clock=lambda: story.now_s,
            on_wrong=self.wrong.append,
            logger=collecting(self.reported),
        )

    def send_report(self, report: PeerReport) -> None:
        self.sent.append(report)

    def apply_up_to(self, index: int) -> None:
        """Apply the log from where the ledger is, in one batch."""
        self.comparison.decide(LOG[self.ledger.decided_index : index])

    def change(self, sql: str) -> None:
        """Let a row rot."""
        self.ledger.write()
        self.ledger._database.cursor().execute(sql)

    @property
    def compared(self) -> list[int]:
        """The indexes at which it has hashed its ledger."""
        return [report.index for report in self.sent if isinstance(report, LedgerHash)]


class Story:
    """Servers n1, the leader, and others; the test carries what they send."""

    def __init__(self, count: int = 3) -> None:
        self.now_s = 100.0
        self.voters = tuple(f"n{number}" for number in range(1, count + 1))
        self.servers = [Server(name, self) for name in self.voters]
        self.leader = self.servers[0]
        self.leader.core.role = Role.LEADER
        self._carried: dict[str, int] = dict.fromkeys(self.voters, 0)

    def ask(self, index: int) -> None:
        """Let the leader, whose log ends at `index`, name it."""
        self.now_s += COMPARE_S
        self.leader.core.last_index = index
        self.leader.comparison.tick()
        self.carry()

    def carry(self) -> None:
        """Deliver everything that was sent since the last time."""
        for server in self.servers:
            new = server.sent[self._carried[server.name] :]
            self._carried[server.name] = len(server.sent)
            for other in self.servers:
                if other is not server:
                    for report in new:
                        assert not isinstance(report, NodeReport)
                        other.comparison.receive(report)

    def compare(self, index: int) -> None:
        """Let all servers apply the log up to `index` and compare there."""
        self.ask(index)
        for server in self.servers:
            server.apply_up_to(index)
        self.carry()

    @property
    def wrong(self) -> dict[str, list[str]]:
        return {server.name: server.wrong for server in self.servers if server.wrong}

    @property
    def reported(self) -> list[str]:
        return [line for server in self.servers for line in server.reported]


def test_equal_ledgers_are_compared_at_the_index_and_nobody_is_wrong() -> None:
    story = Story()
    for index in (5, 6, 20, len(LOG)):
        story.compare(index)
    assert [server.compared for server in story.servers] == [[5, 6, 20, len(LOG)]] * 3
    assert (story.wrong, story.reported) == ({}, [])


@pytest.mark.parametrize("cuts", [(12,), (1, 7, 8, 12), (8, 12), (7, 12), (9, 12)])
def test_a_server_stops_over_at_the_index_however_its_entries_come(cuts: Sequence[int]) -> None:
    story = Story()
    story.ask(8)
    for index in cuts:
        story.servers[1].apply_up_to(index)
    assert story.servers[1].compared == [8]
    assert story.servers[1].ledger.decided_index == 12


def test_the_receipts_of_a_batch_with_the_index_in_it_are_complete_and_in_order() -> None:
    story, alone = Story(), Ledger(":memory:")
    story.ask(4)
    assert story.servers[1].comparison.decide(LOG[:9]) == alone.apply(LOG[:9])


def test_a_server_that_is_there_already_compares_at_once_and_one_that_is_past_it_never() -> None:
    story = Story()
    story.servers[1].apply_up_to(8)
    story.servers[2].apply_up_to(9)
    story.ask(8)
    assert [server.compared for server in story.servers[1:]] == [[8], []]
    story.servers[2].apply_up_to(12)
    assert story.servers[2].compared == []
    story.ask(13)
    story.servers[2].apply_up_to(14)
    assert story.servers[2].compared == [13], "the index that was missed is forgotten"


def test_a_server_that_lags_keeps_the_first_index_that_it_was_told() -> None:
    story = Story()
    for index in (8, 9, 10):
        story.leader.apply_up_to(index)
        story.ask(index)
    story.servers[1].apply_up_to(10)
    assert story.servers[1].compared == [8]


def test_only_the_leader_names_an_index() -> None:
    story = Story()
    stranger = CheckLedger(sender="n3", index=8, rows_from=FIRST.rows_from, rows_max=5)
    story.servers[1].comparison.receive(stranger)
    story.servers[1].apply_up_to(9)
    story.servers[1].comparison.tick()
    assert story.servers[1].sent == []


def test_a_leader_names_one_index_a_second_and_one_as_soon_as_it_leads() -> None:
    story = Story()
    story.leader.apply_up_to(5)
    story.ask(5)
    story.now_s += COMPARE_S / 2
    story.leader.comparison.tick()
    assert story.leader.compared == [5]
    story.leader.core.term += 1
    story.leader.comparison.tick()
    assert story.leader.compared == [5, 5]
    story.now_s += COMPARE_S
    story.leader.comparison.tick()
    assert story.leader.compared == [5, 5, 5]


ROT: dict[str, tuple[str, str]] = {
    "a balance": ("update balance set amount = amount + 1 where account = 'ann'", "the rows of its file"),
    "a posting": ("update journal set amount = amount + 1 where request_id = 'c1'", "the rows of its file"),
    "a receipt": ("update receipt set outcome = 'locked' where request_id = 'd1'", "the rows of its file"),
    "a hold": ("update hold set expires_us = expires_us + 1", "the rows of its file"),
    "a missing row": ("delete from hold", "the rows of its file"),
    "the applied index": ("update applied set schema_version = 4", "the rows of its file"),
}


@pytest.mark.parametrize("what", ROT)
@pytest.mark.parametrize("who", [0, 1])
def test_a_row_at_rest_that_changed_is_found_by_its_own_server_and_told_by_the_others(
    what: str, who: int
) -> None:
    story = Story()
    story.compare(10)
    rotten = story.servers[who]
    rotten.change(ROT[what][0])
    story.compare(11)
    name = rotten.name
    assert story.wrong == {
        name: [f"its ledger differs from that of a majority as of entry 11 ({ROT[what][1]})"]
    }
    told = f"the ledger of node {name} differs from that of a majority as of entry 11 ({ROT[what][1]})"
    others = [server for server in story.servers if server is not rotten]
    for server in others:
        assert [line.partition(":")[0] for line in server.reported] == [told]
        assert server.comparison.alarms == server.reported


def test_another_decision_is_found_though_no_money_moved_and_before_any_row_is_looked_at() -> None:
    story = Story()
    story.compare(10)
    other = records([*LINES[:10], "d2 debit ann 900"])[-1]
    usual = records([*LINES[:10], "d2 debit ann 901"])[-1]
    for server in story.servers:
        server.comparison.decide([other if server.name == "n3" else usual])
    story.ask(11)
    [line] = story.wrong["n3"]
    assert "(what it decided and the rows of its file)" in line


def test_another_posting_is_found_in_the_chain_even_long_after() -> None:
    story = Story()
    odd: Record = (LOG[1][0], LOG[1][1] + 1, LOG[1][2])
    for server in story.servers:
        server.comparison.decide([LOG[0], odd if server.name == "n2" else LOG[1]])
        server.apply_up_to(20)
    limit_rows(story, 1)
    story.ask(20)
    [line] = story.wrong["n2"]
    assert "its postings" in line


def limit_rows(story: Story, rows_max: int) -> None:
    """Have the leader ask for so few rows at a time."""
    send = story.leader.send_report

    def limited(report: PeerReport) -> None:
        send(replace(report, rows_max=rows_max) if isinstance(report, CheckLedger) else report)

    receive = story.leader.comparison.receive
    story.leader.send_report = limited  # type: ignore[method-assign]
    story.leader.comparison.receive = lambda message: receive(  # type: ignore[method-assign]
        replace(message, rows_max=rows_max) if isinstance(message, CheckLedger) else message
    )


def test_rows_are_read_in_pieces_that_come_round_to_all_of_them() -> None:
    story = Story()
    for server in story.servers:
        server.apply_up_to(len(LOG))
    limit_rows(story, 10)
    story.servers[1].change("update reversal set original = 'x'")  # changes nothing
    story.servers[1].change("update receipt set actor = 'eve' where request_id = 'o1'")  # the last of all
    rounds = 0
    while not story.wrong:
        story.ask(len(LOG))
        rounds += 1
        assert rounds < 20
    assert list(story.wrong) == ["n2"]
    assert rounds > 5


def test_two_that_differ_without_a_third_are_told_and_neither_is_called_wrong() -> None:
    story = Story()
    story.servers[1].change("update balance set amount = 1 where account = 'main'")
    silent = story.servers.pop(2)
    story.compare(3)
    assert story.reported == [], "a third may still tell"
    story.compare(3)
    assert story.wrong == {}
    for server in story.servers:
        [line] = server.comparison.alarms
        assert line.startswith("two ledgers differ as of entry 3 (the rows of its file)")
    story.servers.append(silent)
    story.compare(4)
    assert list(story.wrong) == ["n2"]


def test_the_votes_of_learners_do_not_count() -> None:
    story = Story(5)
    story.voters = ("n1", "n2", "n3")
    for server in story.servers[2:]:
        server.change("update balance set amount = 1 where account = 'main'")
    story.compare(3)
    assert set(story.wrong) == {"n3", "n4", "n5"}, "n1 and n2 are two of three voters"


def test_what_was_decided_before_a_restart_is_not_compared_and_the_rest_is() -> None:
    story = Story()
    for server in story.servers:
        server.apply_up_to(6)
    reopened = story.servers[1]
    reopened.ledger.write()
    reopened.ledger._decisions = type(reopened.ledger._decisions)(6)  # as a restart leaves it
    story.compare(8)
    assert story.wrong == {}
    reopened.change("update balance set amount = 1 where account = 'ann'")
    story.compare(9)
    assert list(story.wrong) == ["n2"]


def test_an_alarm_ends_once_the_two_agree_again_and_a_while_later() -> None:
    story = Story()
    story.servers[2].change("update balance set amount = amount + 1 where account = 'main'")
    story.compare(3)
    assert story.leader.comparison.alarms
    story.servers[2].change("update balance set amount = amount - 1 where account = 'main'")
    story.compare(4)
    assert story.leader.comparison.alarms
    story.now_s += ALARM_S
    story.compare(5)
    assert story.leader.comparison.alarms == []
    assert len(story.leader.reported) == 1


def test_no_more_than_a_bounded_number_of_indexes_is_remembered() -> None:
    story = Story()
    for index in range(INDEXES_KEPT_MAX + 20):
        for sender in ("n2", "n3"):
            story.leader.comparison.receive(replace(FIRST, sender=sender, index=index))
    assert len(story.leader.comparison._told) == INDEXES_KEPT_MAX


def first_hash() -> LedgerHash:
    story = Story()
    story.compare(1)
    [told] = [report for report in story.leader.sent if isinstance(report, LedgerHash)]
    return told


FIRST = first_hash()
