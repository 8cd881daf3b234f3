"""One server of an exam: the student's core, its disk, and what is told and checked of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, cast

from msgspec import convert, to_builtins

from atm.raft import messages as m
from atm.raft.configurations import founding_configuration
from atm.raft.messages import Entry, HardState, NodeId, Outgoing, RaftMessage
from atm.raft.raft import Raft
from atm.raft.ready import Ready, Role
from course.interface import Core, MakeCore, RaftConfig
from tests.simulation.fuse import Died, Fuse
from tests.support.checks import Checks, Violation, require
from tests.support.store import Store

if TYPE_CHECKING:
    from course.exam import Exam

READIES_MAX = 200  # that one call may lead to
_KEPT = "the interface is kept"


class CoreFailed(Exception):
    """The student's code raised `error` in `method`."""

    def __init__(self, node: NodeId, method: str, error: BaseException) -> None:
        super().__init__(node, method, error)
        self.node, self.method, self.error = node, method, error


class _Seen:
    """What the checks read of a core: they were made for the project's own."""

    def __init__(self, names: tuple[NodeId, ...]) -> None:
        self.configuration = (0, founding_configuration(names))
        self.role, self.term, self.commit_index = Role.FOLLOWER, 0, 0


class Server:
    """`up` unless it was killed; `paused` while nothing reaches it."""

    def __init__(self, name: NodeId, exam: Exam, make: MakeCore, config: RaftConfig) -> None:
        self.name = name
        self.store = Store()
        self.fuse = Fuse()
        self.paused = False
        self.pauses = 0
        self.applied: list[Entry] = []
        self.role, self.term, self.commit_index = Role.FOLLOWER, 0, 0
        self._exam = exam
        self._seen = _Seen(exam.plan.names)
        self._make, self._config = make, config
        self._core: Core | None = None
        self._starts = 0
        self._waiting: list[RaftMessage] = []  # came while it was paused
        self._told_match = 0
        self._told_sent: dict[NodeId, int] = {}

    @property
    def up(self) -> bool:
        return self._core is not None

    @property
    def runs(self) -> bool:
        return self.up and not self.paused

    @property
    def leads(self) -> bool:
        return self.up and self.role is Role.LEADER

    @property
    def _checks(self) -> Checks:
        return self._exam.checks

    def start(self) -> None:
        """Start with what is on the disk."""
        self._starts += 1
        saved = self.store.hard_state
        chance = Random(f"{self._exam.plan.luck}/{self.name}/{self._starts}")
        self.applied = []
        self._checks.restarted(self.name, 0)
        if self._starts > 1:
            vote = f"a vote for {saved.voted_for}" if saved.voted_for else "no vote"
            log = self._log_text(self.store.entries)
            self.tell(f"starts again from its disk: term {saved.term}, {vote}, {log}.")
        self.role, self.term, self.commit_index = Role.FOLLOWER, saved.term, 0
        self._core = self._called(
            "__init__",
            lambda: self._make(
                self._config,
                hard_state=saved,
                entries=tuple(self.store.entries),
                random=chance.randint,
            ),
        )
        self._work()

    def kill(self) -> None:
        """All but the disk is lost."""
        self._core = None
        self.paused = False
        self._waiting.clear()
        self.fuse.put_out()
        self.tell("is killed: it keeps what was saved.")

    def pause(self) -> int:
        """Handle nothing; return which pause this is, for `resume`."""
        self.paused = True
        self.pauses += 1
        self.tell("is paused.")
        return self.pauses

    def resume(self, pause: int) -> None:
        """Handle what came meanwhile, unless that pause is over already."""
        if not self.paused or pause != self.pauses:
            return
        self.paused = False
        self.tell("goes on.")
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            self.step(message)

    def step(self, message: RaftMessage) -> None:
        if self.paused:
            self._waiting.append(message)
        elif self._core is not None:
            core = self._core
            self._do("step", lambda: core.step(message))

    def tick(self) -> None:
        if self.runs and self._core is not None:
            self._do("tick", self._core.tick)

    def propose(self, data: bytes) -> None:
        """A client asks this server, which takes itself for the leader."""
        if not (self.runs and self.role is Role.LEADER and self._core is not None):
            return
        core, now_us = self._core, self._exam.now_us
        self.tell(f"is asked for {data.decode()!r} by a client, as leader of term {self.term}.")
        self._do("propose", lambda: core.propose([data], now_us))

    def tell(self, what: str) -> None:
        self._exam.tell(f"{self.name} {what}")

    # -- one call, and the work that it leads to ---------------------------------------------------

    def _do(self, method: str, call: Callable[[], object]) -> None:
        self._called(method, call)
        self._look()
        self._work()

    def _called(self, method: str, call: Callable[[], Any]) -> Any:
        self._exam.calling = f"`{method}` of {self.name}"
        try:
            result = call()
        except (Exception, SystemExit) as error:
            raise CoreFailed(self.name, method, error) from error
        self._exam.calling = ""  # if the time is up meanwhile, it still says where
        return result

    def _work(self) -> None:
        """Do each `Ready`; the server dies on the way if its fuse has burnt down."""
        try:
            for _ in range(READIES_MAX):
                if self._core is None:
                    return
                ready = self._called("ready", self._core.ready)
                if ready is None:
                    return
                self._perform(self._sound(ready))
        except Died:
            self.kill()
            self._exam.died(self)
            return
        raise Violation(
            f"`ready` of {self.name} returned work {READIES_MAX} times in a row", "the core comes to rest"
        )

    def _perform(self, ready: Ready) -> None:
        try:
            self._do_all_of(ready)
        except Violation:
            self.tell(f"was to do this: {_work_text(ready)}.")
            raise

    def _do_all_of(self, ready: Ready) -> None:
        self._checks.ready(self.name, ready)
        self.fuse.burn()
        self._send(ready.messages)
        self.fuse.burn()
        self._save(ready)
        self.fuse.burn()
        self._send(ready.messages_after_sync)
        self.fuse.burn()
        self._checks.applied(self.name, ready.committed)
        self.applied += ready.committed
        if ready.committed:
            self.tell(f"applies {_span(ready.committed)}.")
        self.fuse.burn()
        core = self._core
        assert core is not None
        self._called("advance", lambda: core.advance(ready))
        self._look()

    def _save(self, ready: Ready) -> None:
        if ready.entries:
            replaced = self.store.last_index - ready.entries[0].index + 1
            besides = f", in place of {replaced} that it had" if replaced > 0 else ""
            self.tell(f"saves {_span(ready.entries)}{besides}.")
        self.store.save(ready.hard_state, ready.entries)
        self._checks.saved(self.name)

    def _send(self, outgoing: Sequence[Outgoing]) -> None:
        self._tell_of(outgoing)
        self._checks.sent(self.name, outgoing)
        for out in outgoing:
            if isinstance(out.message, m.RequestVote) and not out.message.pre_vote:
                self._check_candidate(out.message)
            self._exam.send(self.name, out)

    def _check_candidate(self, request: m.RequestVote) -> None:
        """What a candidate tells of its log is what is on its disk, as it has just saved."""
        ends = (self.store.last_index, self.store.term_at(self.store.last_index))
        told = (request.last_log_index, request.last_log_term)
        detail = (
            f"{self.name} says entry {told[0]} of term {told[1]}, and has entry {ends[0]} of term {ends[1]}"
        )
        require(told == ends, "a candidate tells where its log ends", detail)

    def _look(self) -> None:
        """Check what the core shows now, and tell what has changed."""
        assert self._core is not None
        core = self._core
        role, term, commit_index = self._called("role", lambda: (core.role, core.term, core.commit_index))
        if [type(role), type(term), type(commit_index)] != [Role, int, int]:
            shown = f"{role!r:.40}, {term!r:.40}, {commit_index!r:.40}"
            raise Violation(f"role, term and commit_index of {self.name} are {shown}", _KEPT)
        if (role, term) != (self.role, self.term):
            about = "becomes leader of" if role is Role.LEADER else f"is a {role.value} in"
            self.tell(f"{about} term {term}.")
            self._told_match = 0
            self._told_sent.clear()
        if commit_index > self.commit_index:
            by = ", as leader" if role is Role.LEADER else ""
            self.tell(f"takes entries up to {commit_index} for committed{by}.")
        self.role, self.term, self.commit_index = role, term, commit_index
        seen = self._seen
        seen.role, seen.term, seen.commit_index = role, term, commit_index
        self._checks.stepped(self.name, cast(Raft, seen))

    def _sound(self, ready: Any) -> Ready:
        """Return `ready` if it is one that can be performed; a student's may hold anything."""
        if not isinstance(ready, Ready):
            raise Violation(f"`ready` of {self.name} returned {ready!r:.80}", _KEPT)
        entries: list[Any] = [*ready.entries, *ready.committed]
        outgoing: list[Any] = [*ready.messages, *ready.messages_after_sync]
        for value, kind in ((ready.hard_state, HardState), *((entry, Entry) for entry in entries)):
            if not _is_sound(value, kind):
                raise Violation(
                    f"{self.name} saves or applies {value!r:.120}, which is no {kind.__name__}", _KEPT
                )
        for out in outgoing:
            if not (isinstance(out, Outgoing) and out.to in self._exam.servers):
                raise Violation(f"{self.name} sends {out!r:.120}, which is no Outgoing to a server", _KEPT)
            if not _is_sound(out.message, RaftMessage):
                raise Violation(f"{self.name} sends a message of wrong types: {out.message!r:.200}", _KEPT)
            if out.message.sender != self.name:
                raise Violation(f"{self.name} sends in the name of {out.message.sender!r:.40}", _KEPT)
        indexes = [entry.index for entry in ready.entries]
        if indexes:
            gapless = indexes == list(range(indexes[0], indexes[0] + len(indexes)))
            if not (gapless and 0 < indexes[0] <= self.store.last_index + 1):
                detail = f"{self.name} saves the entries {indexes} behind entry {self.store.last_index}"
                raise Violation(f"{detail}: there must be no gap", _KEPT)
        return ready

    def _tell_of(self, outgoing: Sequence[Outgoing]) -> None:
        """Tell what is sent, to several servers in one sentence; repeats and heartbeats are left out."""
        told: dict[str, list[NodeId]] = {}
        for out in outgoing:
            sentence = self._about(out)
            if sentence:
                told.setdefault(sentence, []).append(out.to)
        for sentence, to in told.items():
            self.tell(sentence.replace("{to}", " ".join(to)))

    def _about(self, out: Outgoing) -> str:
        """Return what a message says, of `{to}`, or ""."""
        message = out.message
        match message:
            case m.RequestVote(pre_vote=False):
                ends = _end(message.last_log_index, message.last_log_term)
                return f"asks {{to}} for votes in term {message.term}; its log {ends}."
            case m.RequestVoteResponse(granted=True, pre_vote=False):
                return f"votes for {{to}} in term {message.term}; its own log {self._own_end()}."
            case m.RequestVoteResponse(granted=False, pre_vote=False):
                saved = self.store.hard_state
                voted = f"has voted for {saved.voted_for}" if saved.voted_for else "has not voted"
                return (
                    f"refuses its vote to {{to}}: it is in term {saved.term}, {voted}; "
                    f"its own log {self._own_end()}."
                )
            case m.AppendEntries() if message.entries:
                last = message.entries[-1].index
                if last <= self._told_sent.get(out.to, 0):
                    return ""
                self._told_sent[out.to] = last
                return f"sends {_span(message.entries)} to {{to}}, behind entry {message.prev_log_index}."
            case m.AppendEntriesResponse(success=True) if message.match_index > self._told_match:
                self._told_match = message.match_index
                return f"tells {{to}} that their logs agree up to entry {message.match_index}."
            case m.AppendEntriesResponse(success=False):
                return (
                    f"refuses what {{to}} sent behind entry {message.match_index}: it is in term {self.term}."
                )
            case _:
                return ""

    def _own_end(self) -> str:
        return _end(self.store.last_index, self.store.term_at(self.store.last_index) or 0)

    @staticmethod
    def _log_text(entries: Sequence[Entry]) -> str:
        terms = " ".join(str(entry.term) for entry in entries[-10:])
        return (
            f"a log of {len(entries)} (terms{' …' if len(entries) > 10 else ''} {terms})"
            if entries
            else "no log"
        )


def _is_sound(value: object, kind: Any) -> bool:
    """Return whether all that `value` holds is of the types that its class says: nothing has checked that."""
    try:
        decoded: object = convert(to_builtins(value), kind)
    except (ValueError, TypeError):
        return False
    return decoded == value


def _end(index: int, term: int) -> str:
    return f"ends at entry {index} of term {term}" if index else "is empty"


def _span(entries: Sequence[Entry]) -> str:
    """Return in words which entries these are."""
    first, last = entries[0], entries[-1]
    if len(entries) == 1:
        return f"entry {first.index} of term {first.term}"
    terms = f"term {first.term}" if first.term == last.term else f"terms {first.term} to {last.term}"
    return f"entries {first.index} to {last.index} of {terms}"


def _work_text(ready: Ready) -> str:
    """Return in words what a `Ready` asks for."""
    saved = ready.hard_state
    vote = f"a vote for {saved.voted_for}" if saved.voted_for else "no vote"
    sent = [f"{type(out.message).__name__} to {out.to}" for out in ready.messages]
    later = [f"{type(out.message).__name__} to {out.to}" for out in ready.messages_after_sync]
    parts = [
        f"send {', '.join(sent)}" if sent else "",
        f"save term {saved.term} with {vote}" + (f" and {_span(ready.entries)}" if ready.entries else ""),
        f"then send {', '.join(later)}" if later else "",
        f"apply {_span(ready.committed)}" if ready.committed else "",
    ]
    return "; ".join(part for part in parts if part)
