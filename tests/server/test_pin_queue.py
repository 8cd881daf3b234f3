"""The queue for hashing PINs: its bounds, and whose turn it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from threading import Event, Thread

import pytest

from atm.server.security.pin_queue import PinQueue, PinQueueFull
from tests.support.server_parts import DEADLINE_S, wait_until


class Guests:
    """Threads that each take some turns of a queue; `served` is in the order of the turns."""

    def __init__(self, queue: PinQueue) -> None:
        self.queue = queue
        self.served: list[str] = []
        self._threads: list[Thread] = []

    def come(self, name: str, turns: int) -> None:
        """Return once the thread waits for its first turn."""
        waiting = len(self.queue._waiting)
        thread = Thread(target=self._take, args=(name, turns), daemon=True)
        thread.start()
        self._threads.append(thread)
        wait_until(lambda: len(self.queue._waiting) > waiting)

    def _take(self, name: str, turns: int) -> None:
        for _ in range(turns):
            with self.queue.turn():
                self.served.append(name)

    def leave(self) -> None:
        for thread in self._threads:
            thread.join(DEADLINE_S)
        assert not any(thread.is_alive() for thread in self._threads)


@pytest.fixture
def guests() -> Iterator[Guests]:
    guests = Guests(PinQueue(at_once_max=1))
    yield guests
    guests.leave()


def test_between_two_turns_of_one_thread_every_other_that_waits_has_its_own(guests: Guests) -> None:
    """So whoever asks for one thing is served after at most one of each other connection."""
    with guests.queue.turn():
        guests.come("greedy", 5)
        guests.come("other", 3)
        guests.come("modest", 1)
    guests.leave()
    assert guests.served[:3] == ["greedy", "other", "modest"]
    assert sorted(guests.served[3:]) == ["greedy"] * 4 + ["other"] * 2


def test_a_turn_is_passed_on_when_its_block_fails(guests: Guests) -> None:

    def fail() -> None:
        with guests.queue.turn():
            guests.come("next", 1)
            raise MemoryError

    with pytest.raises(MemoryError):
        fail()
    guests.leave()
    assert guests.served == ["next"]
    with guests.queue.turn():
        pass


def test_so_many_have_a_turn_at_once_and_no_more() -> None:
    queue = PinQueue(at_once_max=2)
    third = Event()

    def take() -> None:
        with queue.turn():
            third.set()

    with queue.turn():
        with queue.turn():
            thread = Thread(target=take, daemon=True)
            thread.start()
            wait_until(lambda: len(queue._waiting) == 1)
            assert not third.is_set()
        assert third.wait(DEADLINE_S)
    thread.join(DEADLINE_S)


def test_places_are_bounded_and_given_back() -> None:
    queue = PinQueue(requests_max=3)
    with ExitStack() as places:
        for name in "abc":
            places.enter_context(queue.place({name}))
        with pytest.raises(PinQueueFull), queue.place({"d"}):
            pass
        assert queue.requests == 3
    assert queue.requests == 0
    with queue.place({"d"}):
        assert queue.requests == 1


def test_a_flood_against_one_account_leaves_room_for_the_others() -> None:
    queue = PinQueue(requests_max=10, account_requests_max=2)
    with queue.place({"victim"}), queue.place({"victim", "ann"}):
        for names in ({"victim"}, {"bob", "victim"}):
            with pytest.raises(PinQueueFull), queue.place(names):
                pass
        with queue.place({"ann"}), queue.place({"bob"}):
            assert queue.requests == 4
    with queue.place({"victim"}), queue.place({"victim"}):
        assert queue.requests == 2


def test_a_place_is_given_back_when_its_block_fails() -> None:
    queue = PinQueue(requests_max=1, account_requests_max=1)
    for _ in range(3):
        with pytest.raises(MemoryError), queue.place({"ann"}):
            raise MemoryError
    assert queue.requests == 0
    assert not queue._of_account
