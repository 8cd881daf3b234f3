"""What the page calls: one function for all, with JSON in and out; the page knows no Python object."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import apsw
from msgspec import json, to_builtins

from lessons.commit.race import FAULTS, ProtocolName
from lessons.commit.race import run as run_race
from lessons.defects import DEFECTS, mutant_of, planted
from lessons.frames import Frame
from lessons.playground import Playground
from lessons.seeds import run_seed
from lessons.stories import STORIES, play

FRAMES_PER_POST = 200
ACTS = ("kill", "power_cut", "start", "pause", "cut", "isolate", "mend", "credit", "debit", "query")
Post = Callable[[str], None]


class Lessons:
    """The state behind one page: at most one playground."""

    def __init__(self) -> None:
        self._playground: Playground | None = None
        self._frames: list[Frame] = []
        self.diff = ""  # of the planted defect

    def call(self, request: str, post: Post) -> str:
        """Do what `request`, a JSON object with `do` and its arguments, asks for; return the result as JSON.

        Frames are passed to `post` as JSON arrays while it runs.
        """
        arguments: dict[str, Any] = json.decode(request)
        name = arguments.pop("do")
        do: Callable[..., Any] = getattr(self, f"do_{name}")
        self._frames.clear()

        def take(frame: Frame) -> None:
            self._frames.append(frame)
            if len(self._frames) >= FRAMES_PER_POST:
                self._flush(post)

        self._take = take
        started_s = perf_counter()
        result = do(**arguments)
        self._flush(post)
        return json.encode({"result": result, "seconds": perf_counter() - started_s}).decode()

    def _pass_on(self, frame: Frame) -> None:
        """Pass a frame to whichever call is under way: a playground outlives the one that began it."""
        self._take(frame)

    def _flush(self, post: Post) -> None:
        if self._frames:
            post(json.encode(self._frames).decode())
            self._frames.clear()

    # -- what the page may ask for ------------------------------------------------------------------------

    def do_about(self) -> dict[str, Any]:
        return {
            "python": platform.python_version(),
            "sqlite": apsw.sqlite_lib_version(),
            "stories": [{"name": s.name, "title": s.title, "about": s.about} for s in STORIES],
            "defects": [{**to_builtins(d), "what": ""} for d in DEFECTS],
            "faults": list(FAULTS),
        }

    def do_seed(self, seed: int, frames: bool = True) -> Any:
        """Run a seed; the verdict, and the planted defect as a diff."""
        return {**to_builtins(run_seed(seed, self._take if frames else None)), "diff": self.diff}

    def do_seeds(self, first: int, last: int) -> dict[str, Any]:
        """Run seeds without showing them; how many, and how long they took."""
        started_s = perf_counter()
        digests = [run_seed(seed).digest for seed in range(first, last + 1)]
        return {"digests": digests, "seconds": perf_counter() - started_s}

    def do_explain(self, name: str) -> str:
        """What is wrong because of a defect, in a sentence."""
        return mutant_of(name).what

    def do_story(self, name: str) -> Any:
        """Play a story; its scenes with their times."""
        return play(name, self._take)

    def do_race(self, protocol: ProtocolName, fault: str) -> Any:
        """Run a commit protocol under a fault; how it went."""
        return run_race(protocol, fault, self._take)

    def do_playground(self, luck: int = 1) -> Sequence[str]:
        """Begin a new playground, just before its first election; the servers' names."""
        self._playground = Playground(luck, self._pass_on)
        self._playground.until_campaign()
        return self._playground.names

    def do_act(self, what: str, args: Sequence[Any] = (), advance_us: int = 0) -> dict[str, Any]:
        """Make a fault or a request in the playground, if `what` is not "", and let time pass; its state."""
        playground = self._playground
        assert playground is not None, "the page begins a playground first"
        if what:
            assert what in ACTS
            getattr(playground, what)(*args)
        playground.advance(advance_us)
        return {"now_us": playground.now_us, "leader": playground.leader(), "broken": playground.broken}


LESSONS = Lessons()


def call(request: str, post: Post) -> str:
    """See `Lessons.call`."""
    return LESSONS.call(request, post)


__all__ = ["LESSONS", "call", "planted"]
