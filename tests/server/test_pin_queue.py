"""The queue for hashing PINs: its bounds, and whose turn it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Event, Thread

import pytest

from atm.server.security.pin_queue import RECENT_S, PinQueue, PinQueueFull
from tests.support.server_parts import DEADLINE_S, wait_until


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Guests:
    """Threads that each take some turns of a queue; `served` is in the order of the turns."""

    def __init__(self, clock: Clock, *, requests_max: int = 64) -> None:
        self.queue = PinQueue(at_once_max=1, requests_max=requests_max, clock=clock)
        self.served: list[str] = []
        self.refused: list[str] = []
        self._threads: list[Thread] = []

    def come(self, name: str, turns: int = 1, *, owner: str = "all") -> None:
        """Return once the thread waits for its first turn, about the account `name`."""
        waiting = set(self.queue._waiting)
        thread = Thread(target=self._take, args=(name, turns, owner), daemon=True)
        thread.start()
        self._threads.append(thread)
        wait_until(lambda: bool(self.queue._waiting.keys() - waiting))

    def _take(self, name: str, turns: int, owner: str) -> None:
        try:
            with self.queue.place(owner, {name}) as queued:
                for _ in range(turns):
                    with self.queue.turn(queued):
                        self.served.append(name)
        except PinQueueFull:
            self.refused.append(name)

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """Let nobody have a turn within the context."""
        with self.queue.place("nobody", {"none"}) as queued, self.queue.turn(queued):
            yield

    def serve(self, name: str, *, owner: str = "all") -> None:
        """Serve one turn at once."""
        with self.queue.place(owner, {name}) as queued, self.queue.turn(queued):
            pass

    def leave(self) -> None:
        for thread in self._threads:
            thread.join(DEADLINE_S)
        assert not any(thread.is_alive() for thread in self._threads)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guests(clock: Clock) -> Iterator[Guests]:
    guests = Guests(clock)
    yield guests
    guests.leave()
    assert guests.queue.requests == 0


def test_between_two_turns_of_one_thread_every_other_that_waits_has_its_own(guests: Guests) -> None:
    """So whoever asks for one thing is served after at most one of each other connection."""
    with guests.held_up():
        guests.come("greedy", 5)
        guests.come("other", 3)
        guests.come("modest", 1)
    guests.leave()
    assert guests.served[:3] == ["greedy", "other", "modest"]
    assert sorted(guests.served[3:]) == ["greedy"] * 4 + ["other"] * 2


def test_an_owner_that_floods_waits_behind_its_own_requests_and_nobody_else_does(guests: Guests) -> None:
    with guests.held_up():
        for number in range(6):
            guests.come(f"flood{number}", owner="eve")
        guests.come("ann1", owner="ann")
        guests.come("bob", owner="bob")
        guests.come("ann2", owner="ann")
    guests.leave()
    first, *rest = guests.served
    assert first == "flood0", "all are equal at first"
    assert rest == ["ann1", "bob", "flood1", "ann2", "flood2", "flood3", "flood4", "flood5"]


def test_turns_are_forgotten_after_a_while(guests: Guests, clock: Clock) -> None:
    for _ in range(3):
        guests.serve("ann", owner="ann")
    clock.now_s += RECENT_S
    with guests.held_up():
        guests.come("ann", owner="ann")
        guests.come("bob", owner="bob")
    guests.leave()
    assert guests.served == ["ann", "bob"]
    clock.now_s += RECENT_S
    guests.serve("ann")
    assert len(guests.queue._recent) <= 1
    assert guests.queue._turns_of_owner.total() <= 1


@pytest.fixture
def few_places(clock: Clock) -> Iterator[Guests]:
    guests = Guests(clock, requests_max=3)
    yield guests
    guests.leave()
    assert guests.queue.requests == 0


def test_with_no_place_left_whoever_would_be_served_last_gives_way_to_who_would_be_before(
    few_places: Guests,
) -> None:
    for name in ("flood0", "flood1"):
        few_places.serve(name)
    with few_places.held_up():
        few_places.come("flood0")
        few_places.come("flood1")
        few_places.come("customer", owner="ann")
        wait_until(lambda: few_places.refused == ["flood1"])
        assert few_places.queue.requests == 3
    few_places.leave()
    assert few_places.served == ["customer", "flood0"]


def test_with_no_place_left_nobody_gives_way_to_an_equal(few_places: Guests) -> None:
    with few_places.held_up():
        few_places.come("one")
        few_places.come("two")
        with pytest.raises(PinQueueFull):
            few_places.serve("three")
    few_places.leave()
    assert few_places.served == ["one", "two"]


def test_whose_pin_is_being_hashed_gives_way_to_nobody(clock: Clock) -> None:
    queue = PinQueue(at_once_max=1, requests_max=1, clock=clock)
    with (
        queue.place("eve", {"flood"}) as queued,
        queue.turn(queued),
        pytest.raises(PinQueueFull),
        queue.place("ann", {"ann"}),
    ):
        pass
    with queue.place("ann", {"ann"}) as queued, queue.turn(queued):
        pass


def test_a_turn_is_passed_on_when_its_block_fails(guests: Guests) -> None:

    def fail() -> None:
        with guests.held_up():
            guests.come("next", 1)
            raise MemoryError

    with pytest.raises(MemoryError):
        fail()
    guests.leave()
    assert guests.served == ["next"]
    guests.serve("another")


def test_so_many_have_a_turn_at_once_and_no_more() -> None:
    queue = PinQueue(at_once_max=2)
    third = Event()

    def turn(name: str) -> ExitStack:
        stack = ExitStack()
        stack.enter_context(queue.turn(stack.enter_context(queue.place("all", {name}))))
        return stack

    def take() -> None:
        with turn("third"):
            third.set()

    with turn("first"):
        with turn("second"):
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
            places.enter_context(queue.place("all", {name}))
        with pytest.raises(PinQueueFull), queue.place("all", {"d"}):
            pass
        assert queue.requests == 3
    assert queue.requests == 0
    with queue.place("all", {"d"}):
        assert queue.requests == 1


def test_a_flood_against_one_account_leaves_room_for_the_others() -> None:
    queue = PinQueue(requests_max=10, account_requests_max=2)
    with queue.place("all", {"victim"}), queue.place("all", {"victim", "ann"}):
        for names in ({"victim"}, {"bob", "victim"}):
            with pytest.raises(PinQueueFull), queue.place("all", names):
                pass
        with queue.place("all", {"ann"}), queue.place("all", {"bob"}):
            assert queue.requests == 4
    with queue.place("all", {"victim"}), queue.place("all", {"victim"}):
        assert queue.requests == 2


def test_a_place_is_given_back_when_its_block_fails() -> None:
    queue = PinQueue(requests_max=1, account_requests_max=1)
    for _ in range(3):
        with pytest.raises(MemoryError), queue.place("all", {"ann"}):
            raise MemoryError
    assert queue.requests == 0
