"""The load program: closed, counted, and loud about refusals."""

from __future__ import annotations

import time

import pytest

from bench.load import NotAcknowledged, Result, drive
from bench.work import Work
from tests.bench.fakes import EchoConnection


def test_each_connection_keeps_exactly_the_asked_number_under_way() -> None:
    made: list[EchoConnection] = []

    def connect() -> EchoConnection:
        made.append(EchoConnection())
        return made[-1]

    result = drive(connect, Work("credits", 3, depth=4), range(3), warm_up_s=0.0, seconds=0.05)
    assert [connection.under_way_max for connection in made] == [4, 4, 4]
    assert all(len(connection.asked) > 4 for connection in made)
    assert 0 < result.acknowledged <= sum(len(connection.asked) for connection in made)
    assert len(result.latencies_s) == result.acknowledged
    assert result.cpu_s > 0


def test_what_was_acknowledged_in_the_warm_up_is_not_counted() -> None:
    connection = EchoConnection()
    result = drive(lambda: connection, Work("credits", 1), range(1), warm_up_s=0.2, seconds=0.001)
    assert result.acknowledged < len(connection.asked) / 2


def test_the_meter_is_read_after_the_warm_up_and_at_the_end() -> None:
    began_s = time.monotonic()
    read_s: list[float] = []

    def meter() -> float:
        read_s.append(time.monotonic() - began_s)
        return float(len(read_s))

    result = drive(EchoConnection, Work("credits", 2), range(2), warm_up_s=0.2, seconds=0.5, meter=meter)
    assert result.servers_s == 1.0
    assert 0.2 <= read_s[0] < read_s[1]
    assert len(read_s) == 2


def test_what_was_sent_again_in_the_warm_up_is_not_counted() -> None:
    class Retrying(EchoConnection):
        def receive(self) -> list[int]:
            self.retried = len(self.asked)
            return super().receive()

    made: list[Retrying] = []

    def connect() -> Retrying:
        made.append(Retrying())
        return made[-1]

    result = drive(connect, Work("credits", 1), range(1), warm_up_s=0.2, seconds=0.5)
    assert 0 < result.retried < made[0].retried


def test_a_refusal_ends_the_measurement_in_its_own_words() -> None:
    with pytest.raises(NotAcknowledged, match="busy: not now"):
        drive(lambda: EchoConnection(refuse_at=20), Work("credits", 1), range(1), warm_up_s=0.0, seconds=5.0)


def test_percentiles_are_of_what_was_seen() -> None:
    result = Result(acknowledged=100, seconds=2.0, latencies_s=[number / 1000 for number in range(100)])
    assert (result.percentile_ms(0.5), result.percentile_ms(0.99)) == (50.0, 99.0)
    assert result.per_second == 50.0
    assert Result().percentile_ms(0.5) == 0.0
    assert Result().per_second == 0.0


def test_no_more_is_sent_than_the_rate_allows() -> None:
    made: list[EchoConnection] = []

    def connect() -> EchoConnection:
        made.append(EchoConnection())
        return made[-1]

    result = drive(connect, Work("credits", 4), range(4), warm_up_s=0.0, seconds=0.3, per_second=100.0)
    asked = sum(len(connection.asked) for connection in made)
    assert 4 <= asked <= 31
    assert 0 < result.acknowledged <= asked


def test_what_a_stall_kept_from_being_asked_was_late_too() -> None:
    class Stalling(EchoConnection):
        def receive(self) -> list[int]:
            if len(self.asked) == 1:
                time.sleep(0.2)  # the stall itself: the program is not waiting for anything here
            return super().receive()

    result = drive(Stalling, Work("credits", 1), range(1), warm_up_s=0.0, seconds=0.3, per_second=100.0)
    late = [latency_s for latency_s in result.latencies_s if latency_s > 0.05]
    assert len(late) > 10, "each that was due within the stall"
