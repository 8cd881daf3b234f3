"""How often one client may ask."""

from __future__ import annotations

import pytest

from atm.server.clients import rates as module
from atm.server.clients.rates import TELL_AGAIN_S, Rates


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def allowed(rates: Rates, owner: str, tries: int) -> int:
    return sum(rates.of(owner).allows() for _ in range(tries))


def test_a_client_may_ask_so_often_a_second_and_twice_as_often_at_once() -> None:
    clock = Clock()
    rates = Rates(10, clock)
    assert allowed(rates, "ann", 50) == 20
    clock.now_s += 0.5
    assert allowed(rates, "ann", 50) == 5
    clock.now_s += 3600
    assert allowed(rates, "ann", 50) == 20


def test_all_connections_of_a_client_have_one_rate_and_other_clients_theirs() -> None:
    rates = Rates(10, Clock())
    assert allowed(rates, "ann", 50) == 20
    assert allowed(rates, "bob", 50) == 20
    assert allowed(rates, "ann", 1) == 0


def test_the_rate_of_whoever_came_last_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_MAX", 2)
    rates = Rates(1, Clock())
    first, second = rates.of("ann"), rates.of("bob")
    assert rates.of("ann") is first
    rates.of("cas")
    assert rates.of("ann") is first
    assert rates.of("bob") is not second


def test_a_client_that_is_refused_is_told_of_once_a_minute() -> None:
    now_s, told = [0.0], list[str]()
    rate = Rates(1, lambda: now_s[0], lambda owner, refusal: told.append(owner)).of("ann")
    for _ in range(50):
        rate.allows()
    assert told == ["ann"]
    now_s[0] = TELL_AGAIN_S
    for _ in range(50):
        rate.allows()
    assert told == ["ann", "ann"]
