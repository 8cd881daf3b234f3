"""Customers' requests and replies, checked: exactly once, and linearizable.

Every answer carries, or is decided at, an index of the log. So it is enough to compare the order of
indices with real time: what was called after something else was answered must come behind it.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, get_args

from msgspec import Struct, field, msgpack

from atm.ledger.commands import Command, Read
from atm.wire.client_messages import decode_client_reply
from atm.wire.codec import encode
from tests.simulation.bank_model import TOMBSTONE, BankModel, contents, said_besides
from tests.simulation.bank_views import Answer, ends_of_day, view
from tests.support.checks import require

READS = get_args(Read)
COMMANDS = get_args(Command)
END_US = 2**62  # when every lock of a PIN has ended
FAULTS = {"busy", "unavailable", "unknown"}
NOT_DONE = {"busy", "unavailable"}  # what these promise of one try


class RequestRecord(Struct):
    """One request with its contents, however often it was sent."""

    request: Command | Read
    floor: int  # what had been answered when it was first called
    tries: int = 0
    not_done: int = 0  # tries that were answered as certainly not done
    read_at: dict[bytes, int] = field(default_factory=dict)  # the lowest index at which each answer was true


class History:
    """All requests of a run, by their encoded contents."""

    def __init__(self, model: BankModel) -> None:
        self.answered_index = 0  # the highest index in any reply
        self.outcomes: Counter[str] = Counter()
        self._model = model
        self._asked: dict[bytes, RequestRecord] = {}
        self._reads: dict[str, RequestRecord] = {}
        self._floors: dict[str, int] = {}  # of each id, when it was first called with whatever contents

    def record_call(self, request: Command | Read) -> bytes:
        """A customer sends `request`, maybe not for the first time; return its encoding."""
        payload = encode(request)
        asked = self._asked.setdefault(payload, RequestRecord(request, self.answered_index))
        asked.tries += 1
        self._floors.setdefault(request.id, self.answered_index)
        if isinstance(request, READS):
            self._reads[request.id] = asked
        return payload

    def decided(self, server: str, decided_index: int, payload: bytes) -> None:
        """`server`, whose ledger has decided so far, answers or hands on an answer; reads are judged here."""
        answer = msgpack.decode(payload)
        asked = self._reads.get(answer["id"])
        if answer["outcome"] in FAULTS or answer.get("leader") != server:
            return
        if asked is None:
            decided = answer["log_index"] <= decided_index
            require(decided, "what is answered has been decided", (server, answer, decided_index))
            return
        require(
            decided_index >= asked.floor, "no read is stale", (server, answer, decided_index, asked.floor)
        )
        if payload in asked.read_at:
            return  # judged when it was made: the next leader's answer comes back through the stopping one
        assert isinstance(asked.request, READS)
        # The log does not say when a read was answered: by then, a lock of a PIN may have ended or not, and
        # after it the day whose wrong PINs count.
        moments_us = [0, END_US, *ends_of_day(self._model, asked.request, decided_index)]
        expected = [view(self._model, asked.request, decided_index, now_us) for now_us in moments_us]
        if expected[0].get("asked", {}).get("details"):
            answer["asked"]["details"] = json.loads(answer["asked"]["details"])
        told = any(_agrees(answer, {**each, "leader": server}, expected) for each in expected)
        require(told, "a read tells what the log says", (server, decided_index, answer, expected))
        asked.read_at[payload] = min(asked.read_at.get(payload, decided_index), decided_index)

    def receive_reply(self, payload: bytes, answer_payload: bytes) -> str:
        """Check a reply that the sender of `payload` received; return its outcome."""
        decode_client_reply(answer_payload)
        asked, answer = self._asked[payload], msgpack.decode(answer_payload)
        outcome: str = answer["outcome"]
        require(answer["id"] == asked.request.id, "each request gets its own answer", (asked, answer))
        tag = asked.request.__struct_config__.tag
        self.outcomes[outcome if outcome in FAULTS else f"{tag} {outcome}"] += 1
        if outcome in FAULTS:
            asked.not_done += outcome in NOT_DONE
        elif isinstance(asked.request, READS):
            require(answer_payload in asked.read_at, "an answer was decided by someone", answer)
            self.answered_index = max(self.answered_index, asked.read_at[answer_payload])
        else:
            assert isinstance(asked.request, COMMANDS)
            self._judge_receipt(asked, asked.request, answer)
        return outcome

    def judge_promises(self) -> None:
        """At the end: each try is in the log at most once, and not at all if certainly not done."""
        for payload, asked in self._asked.items():
            copies, allowed = self._model.copies[payload], asked.tries - asked.not_done
            require(copies <= allowed, "what was certainly not done was not done", (asked, copies))
        strangers = self._model.copies.keys() - self._asked.keys()
        require(not strangers, "only what was asked is done", strangers)

    def _judge_receipt(self, asked: RequestRecord, command: Command, answer: dict[str, Any]) -> None:
        index = answer["log_index"]
        require(index <= len(self._model.decisions), "only committed commands are answered", (asked, answer))
        amounts = (answer.get("balance"), answer.get("available"))
        found = (command.id, answer["outcome"], *amounts, index, answer["time_us"], said_besides(answer))
        require(found in self._model.given, "the answer is what the log decided", (asked, answer))
        first, decision = self._model.first[command.id]
        floor = asked.floor
        if first == TOMBSTONE:
            require(found == decision, "what was reversed before it came is declined", (asked, answer))
            floor = 0  # it was decided when the reversal was
        elif self._model.same(command.id, first, contents(command)):
            require(found == decision, "a repeated id gets its first receipt", (asked, answer, decision))
            floor = self._floors[command.id]
        else:
            require(answer["outcome"] == "id_reused", "other contents under a used id are refused", answer)
        require(index > floor, "writes are linearizable", (asked, answer))
        self.answered_index = max(self.answered_index, index)


def _agrees(answer: Answer, expected: Answer, others: list[Answer]) -> bool:
    """Return whether it is what was expected; a list of accounts may have each as any of `others` has it.

    Of what waits for an approval, the oldest may be too old by then.
    """
    if "approvals" in expected:
        listed, apart = answer.get("approvals", []), {"approvals": None, "next": None}
        same = listed == expected["approvals"][: len(listed)] and "next" not in answer
        return answer == expected or (same and {**answer, **apart} == {**expected, **apart})
    if "accounts" not in expected:
        return answer == expected
    choices = zip(*(each["accounts"] for each in others), strict=True)
    listed = answer.get("accounts", [])
    same = len(listed) == len(expected["accounts"]) and all(map(lambda a, c: a in c, listed, choices))
    return same and {**answer, "accounts": None} == {**expected, "accounts": None}
