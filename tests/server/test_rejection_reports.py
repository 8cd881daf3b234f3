"""Lies are said: at once, and as long as they go on; but a flood of them makes no flood of lines."""

from __future__ import annotations

from atm.raft.rejection import Rejection, Violation
from atm.server.group.rejection_reports import SAY_AGAIN_S, RejectionReports


def test_each_kind_of_each_peer_is_said_at_once_and_then_now_and_then() -> None:
    now_s, lines = 100.0, list[str]()
    refusals = RejectionReports(lambda: now_s, lines.append)
    for sender in ("n2", "n3"):
        for lie in Violation:
            for number in range(50):
                refusals.say(Rejection(sender=sender, violation=lie, what=f"{lie.value} {number}"))
    assert lines == [
        f"dropped a message of node {s}: {lie.value} 0" for s in ("n2", "n3") for lie in Violation
    ]
    lines.clear()
    now_s += SAY_AGAIN_S
    refusals.say(Rejection(sender="n2", violation=Violation.TERM, what="again"))
    assert lines == ["dropped a message of node n2: again (and 49 like it since the last line)"]
    now_s += SAY_AGAIN_S
    refusals.say(Rejection(sender="n2", violation=Violation.TERM, what="again"))
    assert lines[1:] == ["dropped a message of node n2: again"]
