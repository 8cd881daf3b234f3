"""The measured outage: from the kill to the first write that was asked for after it and acknowledged."""

from __future__ import annotations

import time

import pytest

from bench.systems import outage
from bench.systems.outage import outage_ms
from bench.systems.system import NotStarted
from tests.bench.fakes import EchoConnection

DEAD_S = 0.15


class Survivor:
    """Serves; is silent for a while from the kill on, or refuses, or cuts connections; then serves again."""

    def __init__(self, while_dead: str) -> None:
        self._while_dead = while_dead
        self.killed_s = float("inf")
        self.connections = 0

    def kill(self) -> None:
        self.killed_s = time.monotonic()

    @property
    def dead(self) -> bool:
        return self.killed_s <= time.monotonic() < self.killed_s + DEAD_S

    def connect(self) -> Connection:
        self.connections += 1
        if self.dead and self._while_dead == "cuts":
            raise ConnectionRefusedError
        return Connection(self)

    def answer(self, connection: Connection, numbers: list[int]) -> list[int]:
        if not self.dead:
            return numbers
        match self._while_dead:
            case "refuses":
                connection.refused.append("unavailable: no leader")
            case "cuts":
                raise ConnectionError("cut")
        return []


class Connection(EchoConnection):
    def __init__(self, survivor: Survivor) -> None:
        super().__init__()
        self._survivor = survivor

    def receive(self) -> list[int]:
        return self._survivor.answer(self, super().receive())


@pytest.mark.parametrize("while_dead", ["is silent", "refuses", "cuts"])
def test_an_outage_lasts_until_a_later_write_is_acknowledged(while_dead: str) -> None:
    survivor = Survivor(while_dead)
    measured_ms = outage_ms([survivor.connect, survivor.connect], survivor.kill)
    assert DEAD_S * 1000 <= measured_ms < 5000
    assert (survivor.connections > 2) == (while_dead == "cuts")


class Late(EchoConnection):
    """Acknowledges each write only when it has the next one too."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[int] = []

    def receive(self) -> list[int]:
        held, self._held = self._held, super().receive()
        return held


def test_an_acknowledgement_of_what_was_asked_for_before_the_kill_ends_no_outage() -> None:
    connection = Late()
    asked_at_the_kill = []
    outage_ms([lambda: connection], lambda: asked_at_the_kill.append(len(connection.asked)))
    assert len(connection.asked) >= asked_at_the_kill[0] + 2


def test_nobody_is_killed_before_every_survivor_serves() -> None:
    slow, quick = Survivor("is silent"), Survivor("is silent")
    slow.kill()
    served_s = slow.killed_s + DEAD_S

    def kill() -> None:
        assert time.monotonic() >= served_s
        quick.kill()

    assert outage_ms([slow.connect, quick.connect], kill) >= 0


def test_an_outage_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "GIVE_UP_S", 0.05)
    monkeypatch.setattr("tests.bench.test_outage.DEAD_S", 60.0)
    survivor = Survivor("refuses")
    with pytest.raises(NotStarted, match="no write was acknowledged"):
        outage_ms([survivor.connect], survivor.kill)
