"""Figures of the Raft paper as stories: the product's core, scripted step by step, with a text at each.

The servers are those of `tests/raft/network.py`, which checks the promises of Figure 3 after every step. A
story's time is only for the eye: a message flies for `FLIGHT_US`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from atm.raft.messages import HardState, NodeId, RaftMessage, RequestVote
from atm.raft.ready import Ready, Role
from lessons.core_mirror import Cause, CoreMirror
from lessons.frames import TURN, Event, Flight, Frame
from lessons.wording import kind_of, message_text
from tests.raft.network import Envelope, Network
from tests.raft.server import Server

FLIGHT_US = 60_000
BETWEEN_US = 20_000
TICKS_MAX = 200
FIVE = ("S1", "S2", "S3", "S4", "S5")


class Scene(Struct, frozen=True):
    """One step of a story: the text, and what happens."""

    text: str
    do: Callable[[Stage], object] = lambda stage: None


class Story(Struct, frozen=True):
    name: str
    title: str
    about: str
    scenes: Sequence[Scene]
    servers: Sequence[NodeId] = FIVE
    logs: Mapping[NodeId, Sequence[int]] = {}  # by the terms of their entries
    term: int = 0  # that all servers have reached
    limits: Mapping[str, Any] = {}


class ScenePlayed(Struct, frozen=True):
    """A scene's text, and its time in the frames."""

    text: str
    begin_us: int
    end_us: int


class Stage(Network):
    """The scripted network, whose every step is a frame."""

    def __init__(self, story: Story, take: Callable[[Frame], None]) -> None:
        self.time_us = 0
        self._take = take
        self._mirrors = {name: CoreMirror(name) for name in story.servers}
        self._events: list[Event] = []
        self._sent: list[Flight] = []
        self._flights: dict[int, tuple[int, int]] = {}  # number and arrival, by the envelope's identity
        self._arrived: list[tuple[int, str]] = []
        self._cuts: list[tuple[NodeId, NodeId]] = []
        self._number = 0
        terms = {name: HardState(term=story.term) for name in story.servers} if story.term else None
        super().__init__(story.servers, logs=story.logs, hard_states=terms, **story.limits)
        for name, server in self.servers.items():
            self._mirrors[name].follow_log(server.core, server.store.entries)
        self.show()

    # -- what the scenes do -------------------------------------------------------------------------------

    def campaign(self, name: NodeId) -> None:
        """Time passes for `name` alone, until its election timeout has."""
        for _ in range(TICKS_MAX):
            self.tick([name])
            if any(isinstance(x.message, RequestVote) and x.sender == name for x in self.in_flight):
                return
        raise AssertionError(f"{name} does not campaign")

    def heartbeat(self, name: NodeId) -> None:
        """Time passes for the leader `name` alone, until it has sent a heartbeat."""
        before = len(self.in_flight)
        for _ in range(TICKS_MAX):
            self.tick([name])
            if len(self.in_flight) > before:
                return

    def catch_up(self, leader: NodeId) -> None:
        """The heartbeats of `leader` bring all others up to date."""
        while any(server.core.commit_index < self[leader].last_index for server in self.alive):
            self.heartbeat(leader)
            self.all_quiet()

    def wave(self, waves: int = 1) -> None:
        """All that is in flight arrives; with more waves also the answers, and theirs."""
        for _ in range(waves):
            for _ in range(len(self.in_flight)):
                self.deliver_one()

    def between(self, sender: NodeId, to: NodeId) -> None:
        """What `sender` has sent to `to` arrives before all else."""
        for envelope in [x for x in self.in_flight if (x.sender, x.to) == (sender, to)]:
            self.in_flight.remove(envelope)
            self.in_flight.appendleft(envelope)
            self.deliver_one()

    def drop(self, sender: NodeId | None = None, to: NodeId | None = None) -> None:
        """What is in flight, from there and to there, is lost."""
        gone: list[Envelope] = [
            x for x in self.in_flight if sender in (None, x.sender) and to in (None, x.to)
        ]
        for envelope in gone:
            self.in_flight.remove(envelope)
        self.time_us += BETWEEN_US
        self.show(gone=[(number, "lost") for number in map(self._landed, gone)])

    def all_quiet(self) -> None:
        """Messages arrive until none is in flight."""
        while self.in_flight:
            self.deliver_one()

    def note(self, kind: str, node: NodeId, text: str, why: str = "") -> None:
        self._events.append(Event(kind, node, text, why, TURN))

    # -- the network, watched ---------------------------------------------------------------------------

    def tick(self, names: Iterable[NodeId], ticks: int = 1) -> None:
        for _ in range(ticks):
            for name in names:
                if self.servers[name].raft is not None:
                    self._watched(name, "tick", self[name].tick)
                    self.work(name)
                    self.show()

    def submit(self, name: NodeId, *commands: bytes) -> int:
        self.time_us += BETWEEN_US
        for command in commands:
            self._events.append(Event("request", name, f"A client asks {name}: {command.decode()}"))
        first_index = self[name].last_index + 1
        self._watched(name, "propose", lambda: self[name].propose(list(commands), self.now_us))
        self.work(name)
        self.show()
        return first_index

    def inject(self, to: NodeId, message: RaftMessage) -> None:
        self._watched(to, message, lambda: self[to].step(message))
        self.work(to)
        self.show(gone=self._arrived)
        self._arrived = []

    def deliver_one(self) -> None:
        envelope = self.in_flight[0]
        number, due_us = self._flights[id(envelope)]
        self.time_us = max(self.time_us + 1_000, due_us)
        delivered = len(self.delivered)
        self._arrived = [(self._landed(envelope), "arrived")]
        super().deliver_one()
        if len(self.delivered) == delivered:
            self.show(gone=[(number, "lost")])

    def crash(self, *names: NodeId) -> None:
        super().crash(*names)
        self.time_us += BETWEEN_US
        for name in names:
            self.note("died", name, f"{name} dies", "what it had saved stays")
        self.show()

    def restart(self, *names: NodeId, applied_index: int | None = None) -> None:
        super().restart(*names, applied_index=applied_index)
        if self._number:  # not at the very beginning
            self.time_us += BETWEEN_US
            for name in names:
                self.note("started", name, f"{name} starts again")
            self.show()

    def isolate(self, *group: NodeId) -> None:
        super().isolate(*group)
        self.time_us += BETWEEN_US
        self.note("fault", "", f"The links between {', '.join(group)} and the others are cut")
        self.show()

    def heal(self) -> None:
        super().heal()
        self.time_us += BETWEEN_US
        self.show()

    def _perform(self, server: Server, ready: Ready) -> None:
        self._watched(server.name, "sync", lambda: super(Stage, self)._perform(server, ready))

    def _watched(self, name: NodeId, cause: Cause, do: Callable[[], object]) -> None:
        core, mirror = self[name], self._mirrors[name]
        mirror.before(core)
        do()
        self._events += mirror.after(core, cause)

    def _send(self, server: Server, outgoing: Sequence[Any]) -> None:
        before = len(self.in_flight)
        super()._send(server, outgoing)
        for envelope in list(self.in_flight)[before:]:
            self._number += 1
            due_us = self.time_us + FLIGHT_US
            self._flights[id(envelope)] = (self._number, due_us)
            granted = getattr(envelope.message, "granted", None)
            kind, text = kind_of(envelope.message), message_text(envelope.message)
            self._sent.append(
                Flight(self._number, envelope.sender, envelope.to, kind, text, due_us, granted=granted)
            )

    def _landed(self, envelope: Envelope) -> int:
        return self._flights.pop(id(envelope))[0]

    def show(self, gone: Sequence[tuple[int, str]] = ()) -> None:
        """Make a frame of what has happened and changed."""
        nodes: dict[str, dict[str, Any]] = {}
        for name, server in self.servers.items():
            down = {"up": False, "role": "down", "votes": [], "match": {}}
            fields = down if server.raft is None else self._mirrors[name].fields(server.raft)
            changes = self._mirrors[name].take_changes(fields)
            if changes:
                nodes[name] = changes
        cuts = sorted(self.lost)
        frame = Frame(
            time_us=self.time_us,
            events=self._events,
            nodes=nodes,
            sent=self._sent,
            gone=list(gone),  # type: ignore[arg-type]
            cuts=cuts if cuts != self._cuts else None,
        )
        if frame.is_empty:
            return
        self._cuts, self._events, self._sent = cuts, [], []
        self._take(frame)


def play(name: str, take: Callable[[Frame], None]) -> list[ScenePlayed]:
    """Play a story; pass its frames on, and return its scenes with their times."""
    (story,) = [each for each in STORIES if each.name == name]
    stage = Stage(story, take)
    played: list[ScenePlayed] = []
    for scene in story.scenes:
        begin_us = stage.time_us
        scene.do(stage)
        played.append(ScenePlayed(scene.text, begin_us, stage.time_us))
        stage.time_us += BETWEEN_US
    return played


def _all(*steps: Callable[[Stage], object]) -> Callable[[Stage], None]:
    def do(stage: Stage) -> None:
        for step in steps:
            step(stage)

    return do


FIGURE_2 = Story(
    "figure_2",
    "Figure 2: an election, and a payment",
    "How five servers find a leader, and what happens to a request until it is done on all of them.",
    [
        Scene(
            "Five servers start. Each is a follower in term 0 and waits for a leader. Each has drawn an election timeout of its own."
        ),
        Scene(
            "The timeout of S1 passes first. Before it raises the term, it asks who would vote for it: that is the "
            "pre-vote of Ongaro's thesis. A server that was only cut off for a while disturbs nobody like this.",
            lambda s: s.campaign("S1"),
        ),
        Scene(
            "None of the others hears a leader, and no log is newer than that of S1: they would vote for it.",
            lambda s: s.wave(),
        ),
        Scene(
            "A majority would: S1 is now a candidate in term 1. It has voted for itself, and has saved that before "
            "it asks the others for their real votes.",
            lambda s: s.wave(),
        ),
        Scene(
            "Each server votes once per term, for the first that asks. It saves its vote before it answers.",
            lambda s: s.wave(),
        ),
        Scene(
            "With the votes of three of five S1 leads term 1. It begins the term with an entry of its own, and sends "
            "it to all.",
            lambda s: s.wave(),
        ),
        Scene("The followers append the entry, save it, and say so.", lambda s: s.wave()),
        Scene("Once a majority has saved it, the entry is committed, and S1 applies it.", lambda s: s.wave()),
        Scene(
            "A client asks for a credit. The leader appends it to its own log, and sends it while its own disk syncs.",
            lambda s: s.submit("S1", b"credit 5"),
        ),
        Scene(
            "The followers append it behind the entry that the leader names. That check keeps all logs equal.",
            lambda s: s.wave(),
        ),
        Scene(
            "A majority has saved it: it is committed, and the client is answered. Nothing can undo it now.",
            lambda s: s.wave(),
        ),
        Scene(
            "The followers learn of the commit with the next message of the leader, and apply the entry to their ledgers.",
            _all(lambda s: s.heartbeat("S1"), lambda s: s.wave(2)),
        ),
        Scene("The leader dies.", lambda s: s.crash("S1")),
        Scene(
            "The next election: S2 has all that is committed, so it may win. One whose log were older would not get "
            "the votes of a majority.",
            _all(
                lambda s: s.tick(["S3", "S4", "S5"], 30), lambda s: s.campaign("S2"), lambda s: s.all_quiet()
            ),
        ),
        Scene(
            "S1 starts again. It finds the higher term, follows S2, and gets what it lacks.",
            _all(lambda s: s.restart("S1"), lambda s: s.catch_up("S2")),
        ),
    ],
)

FIGURE_7 = Story(
    "figure_7",
    "Figure 7: logs that differ in every way",
    "Six followers whose logs lack entries of the leader's, or have others. S1 is at the top of the figure; a to f "
    "are as in the paper.",
    [
        Scene(
            "The boxes are entries by their terms. a and b lack entries; c and d have more; e and f have entries of "
            "old terms that were never committed. Such logs come from leaders that died at the wrong moment."
        ),
        Scene(
            "S1 campaigns in term 8. c and d have newer logs and do not vote for it; the others do.",
            _all(lambda s: s.campaign("S1"), lambda s: s.wave(4)),
        ),
        Scene(
            "S1 leads term 8, and sends each follower what follows its own last entry.", lambda s: s.wave()
        ),
        Scene(
            "Where that does not fit, the follower refuses, and says where its log begins to differ. The leader goes "
            "back by whole terms, not by single entries.",
            lambda s: s.wave(2),
        ),
        Scene(
            "Entries that conflict with the leader's are removed, and its own take their place. None of them was "
            "committed: a committed entry is on a majority, and no server without it can win.",
            _all(lambda s: s.all_quiet(), lambda s: s.heartbeat("S1"), lambda s: s.all_quiet()),
        ),
        Scene(
            "All logs are equal, and the leader never removed an entry of its own.",
            _all(lambda s: s.heartbeat("S1"), lambda s: s.all_quiet()),
        ),
    ],
    servers=("S1", "a", "b", "c", "d", "e", "f"),
    logs={
        "S1": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6),
        "a": (1, 1, 1, 4, 4, 5, 5, 6, 6),
        "b": (1, 1, 1, 4),
        "c": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
        "d": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
        "e": (1, 1, 1, 4, 4, 4, 4),
        "f": (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
    },
    term=7,
)

FIGURE_8 = Story(
    "figure_8",
    "Figure 8: a majority is not enough",
    "Why a leader commits an entry of an older term only together with one of its own.",
    [
        Scene(
            "S1 has led term 2, and its entry 2 is on S1 and S2 alone. Then S5 led term 3 for a moment, and has an "
            "entry 2 of its own that no other server has."
        ),
        Scene(
            "S1 leads again, in term 4: S2, S3 and S4 vote for it.",
            _all(lambda s: s.isolate("S5"), lambda s: s.campaign("S1"), lambda s: s.wave(4)),
        ),
        Scene(
            "Its first message reaches S3 alone. S3 lacks the entry before it, and gets that one, entry 2 of term 2, too.",
            _all(
                lambda s: s.drop("S1", "S2"),
                lambda s: s.drop("S1", "S4"),
                lambda s: s.drop("S1", "S5"),
                lambda s: s.between("S1", "S3"),
                lambda s: s.between("S3", "S1"),
                lambda s: s.between("S1", "S3"),
                lambda s: s.drop("S1"),
            ),
        ),
        Scene(
            "Entry 2 of term 2 is now on S1, S2 and S3: a majority. The leader learns it, and yet does not commit the "
            "entry, since it is of an older term. Watch: no commit mark moves.",
            _all(lambda s: s.between("S3", "S1"), lambda s: s.drop()),
        ),
        Scene("That is right. S1 dies.", _all(lambda s: s.crash("S1"), lambda s: s.heal())),
        Scene(
            "S5 may win: the last entry of its log is of term 3, which is newer than the term 2 of the others.",
            _all(
                lambda s: s.tick(["S2", "S3", "S4"], 30),
                lambda s: _until_leader(s, "S5"),
                lambda s: s.all_quiet(),
            ),
        ),
        Scene(
            "It replaces entry 2 everywhere. Had the entry been committed and a customer been told so, the money would "
            "be gone now. With an entry of term 4 on a majority, S5 could not have won."
        ),
    ],
    logs={"S1": (1, 2), "S2": (1, 2), "S3": (1,), "S4": (1,), "S5": (1, 3)},
    term=3,
    limits={"batch_entries_max": 1},
)

SPLIT_VOTE = Story(
    "split_vote",
    "The split vote",
    "Two servers campaign at once, and neither wins. Random timeouts end that.",
    [
        Scene("Four servers, so that votes can be split evenly."),
        Scene(
            "The timeouts of S1 and S2 pass at the same moment.",
            _all(lambda s: s.campaign("S1"), lambda s: s.campaign("S2")),
        ),
        Scene(
            "A pre-vote promises nothing: S3 and S4 would vote for either, so both become candidates of term 1.",
            _all(
                lambda s: s.between("S1", "S3"),
                lambda s: s.between("S1", "S4"),
                lambda s: s.between("S2", "S3"),
                lambda s: s.between("S2", "S4"),
                lambda s: s.drop("S1", "S2"),
                lambda s: s.drop("S2", "S1"),
                lambda s: s.wave(),
            ),
        ),
        Scene(
            "S3 is first asked by S1, and S4 by S2. Each votes once per term.",
            _all(lambda s: s.between("S1", "S3"), lambda s: s.between("S2", "S4")),
        ),
        Scene("Two votes each, of the three that are needed: nobody leads term 1.", lambda s: s.all_quiet()),
        Scene(
            "Each draws a new timeout. That of S2 passes first this time, and it campaigns alone: it leads term 2.",
            _all(lambda s: s.campaign("S2"), lambda s: s.all_quiet()),
        ),
    ],
    servers=("S1", "S2", "S3", "S4"),
)

STORIES = (FIGURE_2, FIGURE_7, FIGURE_8, SPLIT_VOTE)


def _until_leader(stage: Stage, name: NodeId) -> None:
    """`name` campaigns, as often as it takes to learn the newest term, until it leads."""
    for _ in range(5):
        if stage[name].role is Role.LEADER:
            return
        stage.campaign(name)
        stage.all_quiet()
    assert stage[name].role is Role.LEADER, stage
