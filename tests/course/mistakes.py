"""Mistakes that students make, each as a change of one place in `solved.py`."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

SOLVED = Path(__file__).with_name("solved.py")


class Mistake(Struct, frozen=True):
    """`stage` is where it must be caught, and `promise` what it is told to break; `seed` shows it."""

    name: str
    stage: int
    promise: str
    right: str
    wrong: str
    seed: int = 0

    def text(self) -> str:
        """Return the solution with this mistake."""
        text = SOLVED.read_text(encoding="utf-8")
        assert text.count(self.right) == 1, self.name
        return text.replace(self.right, self.wrong)


MISTAKES = (
    Mistake(
        "votes twice",
        1,
        "a vote is kept in its term",
        "free = self.voted_for in (None, request.sender)",
        "free = True",
        seed=1,
    ),
    Mistake(
        "timeouts are not drawn",
        1,
        "a leader is elected",
        "self.timeout = self.random(self.config.election_ticks_min, self.config.election_ticks_max)",
        "self.timeout = self.config.election_ticks_min",
    ),
    Mistake(
        "heartbeats do not reset the timeout",
        1,
        "a leader keeps its term",
        "request.sender)\n            self.reset_timer()",
        "request.sender)",
    ),
    Mistake(
        "a higher term is not adopted",
        1,
        "a leader is elected",
        "self.follow(message.term, None)",
        "pass",
    ),
    Mistake(
        "half is a majority",
        1,
        "election safety",
        "return 2 * count > len(self.config.peers) + 1",
        "return 2 * count >= len(self.config.peers)",
        seed=1,
    ),
    Mistake(
        "a vote leaves before it is saved",
        1,
        "a candidate's own vote is durable before it asks",
        "messages_after_sync=outbox",
        "messages=outbox",
    ),
    Mistake(
        "a candidate's log is not checked",
        2,
        "leader completeness",
        "up_to_date = (request.last_log_term, request.last_log_index) >= own",
        "up_to_date = bool(own)",
        seed=1,
    ),
    Mistake(
        "only the lengths of logs are compared",
        2,
        "leader completeness",
        "up_to_date = (request.last_log_term, request.last_log_index) >= own",
        "up_to_date = request.last_log_index >= own[1]",
        seed=3,
    ),
    Mistake(
        "entries of an old term are committed by count",
        2,
        "commit only by an entry of the current term",
        "self.is_majority(copies) and self.term_at(index) == self.term",
        "self.is_majority(copies)",
        seed=1,
    ),
    Mistake(
        "no consistency check",
        2,
        "log matching",
        "success = self.has(request.prev_log_index, request.prev_log_term)",
        "success = request.prev_log_index <= len(self.log)",
        seed=2,
    ),
    Mistake(
        "an old append cuts the log",
        2,
        "a committed entry is durable on a majority",
        "        if self.has(entry.index, entry.term):\n            return\n",
        "",
        seed=4,
    ),
    Mistake(
        "the end of the own log is acknowledged",
        2,
        "only what was sent is acknowledged",
        "match_index += len(request.entries)\n",
        "match_index = len(self.log)\n",
        seed=2,
    ),
    Mistake(
        "a refused follower gets no earlier entry",
        2,
        "commands are committed",
        "elif response.match_index >= self.match_index[peer]:",
        "elif False:",
        seed=1,
    ),
    Mistake(
        "a restart forgets the vote",
        3,
        "a vote is kept in its term",
        "self.voted_for: NodeId | None = hard_state.voted_for",
        "self.voted_for: NodeId | None = None",
        seed=7,
    ),
    Mistake(
        "a restart forgets the log",
        3,
        "a candidate tells where its log ends",
        "self.log: list[Entry] = list(entries)",
        "self.log: list[Entry] = []",
        seed=1,
    ),
)
