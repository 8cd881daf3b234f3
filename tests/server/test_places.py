"""Who has a place at a port, and who gives way to a newcomer."""

from __future__ import annotations

import pytest

from atm.identity import LOCAL_IDENTITY, Identity, Role
from atm.server.clients.client_places import ClientPlaces
from atm.server.net import places as module
from atm.server.net.places import Place, Places, owner_of
from atm.wire.client_messages import Status
from tests.support.server_parts import query


class Clock:
    """Goes on by a second with each look, so that nobody is too new to give way."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


class Port:
    """Places whose connections end when they are told to, unless `hangs`."""

    def __init__(self, count_max: int, of_one_max: int | None = None) -> None:
        self.places = Places(count_max, of_one_max=of_one_max, clock=Clock())
        self.ended: list[Place] = []
        self.activity: dict[Place, int | None] = {}
        self.hangs = False

    def come(self, owner: str) -> Place:
        place = self.places.take(owner)
        assert place is not None
        assert place.bind(lambda: self._end(place), lambda: self.activity.get(place, 0))
        return place

    def _end(self, place: Place) -> None:
        self.ended.append(place)
        if not self.hangs:
            place.leave()


def test_a_newcomer_takes_the_place_of_the_oldest_that_has_shown_nothing() -> None:
    port = Port(2)
    first, second, third = (port.come("10.0.0.1") for _ in range(3))
    assert port.ended == [first]
    second.keep()
    port.come("10.0.0.1")
    assert port.ended == [first, third]


def test_who_is_kept_gives_way_to_nobody() -> None:
    port = Port(2)
    for _ in range(2):
        port.come("10.0.0.1").keep()
    assert port.places.take("10.0.0.2") is None
    assert port.ended == []


def test_a_place_that_was_given_back_is_another_s_and_not_counted_twice() -> None:
    port = Port(1)
    place = port.come("10.0.0.1")
    place.keep()
    for _ in range(2):
        place.leave()
    port.come("10.0.0.2").keep()
    assert port.places.take("10.0.0.3") is None


def test_whoever_has_most_new_connections_loses_one_of_these_first() -> None:
    port = Port(4)
    other = port.come("10.0.0.1")
    crowd = [port.come("10.0.0.66") for _ in range(3)]
    for _ in range(10):
        port.come("10.0.0.66")
    assert other not in port.ended
    assert port.ended[:3] == crowd
    assert len(port.ended) == 10


def test_new_connections_from_one_address_are_bounded_but_not_from_the_own_machine() -> None:
    port = Port(10, of_one_max=2)
    first = port.come("10.0.0.66")
    for _ in range(2):
        port.come("10.0.0.66")
    assert port.ended == [first]
    for _ in range(6):
        port.come("127.0.0.1")
    assert port.ended == [first]


def test_a_connection_that_lost_its_place_before_its_thread_began_is_told_so() -> None:
    places = Places(1, clock=Clock())
    early = places.take("10.0.0.1")
    assert places.take("10.0.0.1") is not None
    assert early is not None
    assert not early.bind(lambda: None)
    early.keep()
    assert places.take("10.0.0.1") is not None, "a place that is lost cannot be kept"


def test_no_more_give_way_than_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them still has a thread and a descriptor."""
    monkeypatch.setattr(module, "ENDING_S", 0.01)
    port = Port(1)
    port.hangs = True
    for _ in range(module.ENDING_MAX + 1):
        port.come("10.0.0.1")
    assert port.places.take("10.0.0.1") is None
    port.ended[0].leave()
    assert port.places.take("10.0.0.1") is not None


def test_room_is_made_by_a_new_connection_or_not_at_all() -> None:
    port = Port(5)
    port.come("10.0.0.1").keep()
    assert not port.places.make_room()
    stranger = port.come("10.0.0.1")
    assert port.places.make_room()
    assert port.ended == [stranger]


# -- connections that were used -------------------------------------------------------------------------


def used(port: Port, owner: str) -> Place:
    place = port.come(owner)
    place.keep()
    return place


def test_the_connection_that_was_used_longest_ago_gives_way_if_none_is_new() -> None:
    port = Port(3)
    busy, idle, active = (used(port, "10.0.0.1") for _ in range(3))
    port.activity = {busy: None, idle: 1, active: 1}
    port.places.look()
    port.activity[active] = 2
    used(port, "10.0.0.2")
    assert port.ended == [idle]
    port.activity[active] = 3
    assert port.places.take("10.0.0.2") is None, "the others were in use"


def test_idle_connections_of_whoever_has_most_give_way_first() -> None:
    port = Port(4)
    other = used(port, "10.0.0.1")
    crowd = [used(port, "10.0.0.66") for _ in range(3)]
    port.places.look()
    for _ in range(3):
        port.places.look()
        port.come("10.0.0.66").keep()
    assert other not in port.ended
    assert port.ended == crowd


def test_one_owner_has_no_more_than_its_share_and_displaces_its_own() -> None:
    port = Port(10, of_one_max=2)
    first, second = (used(port, "10.0.0.66") for _ in range(2))
    assert port.places.take("10.0.0.66") is None
    port.activity[first] = None
    port.places.look()
    port.places.look()
    third = port.come("10.0.0.66")
    assert port.ended == [second]
    assert port.places.give_to(third, "identity ann")
    assert port.places.give_to(port.come("10.0.0.66"), "identity ann")
    late = port.come("10.0.0.67")
    assert port.places.give_to(late, "identity ann"), "the oldest new one of hers gives way"
    assert port.ended == [second, third]


def test_who_has_come_to_life_keeps_his_place() -> None:
    port = Port(1)
    port.hangs = True
    place = used(port, "10.0.0.1")
    port.places.look()
    newcomer = port.come("10.0.0.2")
    assert place.lost
    assert place.regain()
    assert not place.lost
    assert not place.regain(), "it has it already"
    newcomer.leave()
    port.activity[place] = None
    assert port.places.take("10.0.0.3") is None


def test_who_stays_new_for_too_long_loses_his_place() -> None:
    places = Places(5, new_s_max=2.5, clock=Clock())
    ended: list[str] = []
    for number in range(2):
        place = places.take("10.0.0.1")
        assert place is not None
        place.bind(lambda number=number: ended.append(str(number)))  # type: ignore[misc]
    places.look()
    assert ended == []
    places.look()
    assert ended == ["0"]


def test_an_operator_gets_in_by_what_he_asks_or_by_who_he_is() -> None:
    places = ClientPlaces(1)
    taken, reserved = places.take("10.0.0.1"), None
    assert taken is not None
    taken.bind(lambda: None)
    taken.keep()
    reserved = places.take("10.0.0.1")
    assert reserved is not None
    assert places.may_ask(taken, LOCAL_IDENTITY, query("q"))
    assert not places.may_ask(reserved, LOCAL_IDENTITY, query("q"))
    assert places.may_ask(reserved, LOCAL_IDENTITY, Status(id="s"))
    assert places.may_ask(reserved, Identity("olga", frozenset({Role.OPERATOR})), query("q"))
    assert not places.may_ask(reserved, Identity("tom", frozenset({Role.TELLER})), query("q"))


@pytest.mark.parametrize(
    ("host", "owner"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
    ],
)
def test_a_connection_counts_for_its_address_or_its_network(host: str, owner: str) -> None:
    assert owner_of(host) == owner
