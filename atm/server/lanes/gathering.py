"""The replies of several lanes to what one request asks of them."""

from __future__ import annotations

from collections.abc import Callable

from atm.wire.client_messages import ErrorReply, Reply, decode_client_reply
from atm.wire.codec import Malformed


class Gathering:
    """The `ReplyChannel` of so many questions, numbered from 0. Only within an iteration."""

    def __init__(self, asked: int, then: Callable[[Gathering], None], deadline_s: float) -> None:
        """`then` is called once, when all have been answered."""
        self.deadline_s = deadline_s
        self._asked, self._then = asked, then
        self._answers: dict[int, Reply | ErrorReply] = {}

    def reply(self, number: int, payload: bytes) -> None:
        """Keep the reply to a question."""
        self._answers[number] = _decoded(payload)
        if len(self._answers) == self._asked:
            self._then(self)

    def give_up(self) -> None:
        """Wait no longer: what comes from now on is of no use."""
        self._asked = -1

    def replies(self) -> dict[int, Reply]:
        """Return what lanes have answered, by the number of the question, in its order."""
        found = sorted(self._answers.items())
        return {number: answer for number, answer in found if isinstance(answer, Reply)}

    def faults(self) -> list[ErrorReply]:
        """Return what was said in place of an answer."""
        return [answer for _, answer in sorted(self._answers.items()) if isinstance(answer, ErrorReply)]


def _decoded(payload: bytes) -> Reply | ErrorReply:
    try:
        answer = decode_client_reply(payload)
    except Malformed as error:
        return ErrorReply(id="", outcome="unknown", message=f"a lane's answer is none: {error}")
    if isinstance(answer, Reply | ErrorReply):
        return answer
    return ErrorReply(id="", outcome="unknown", message="a lane's answer is none")
