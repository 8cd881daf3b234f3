"""Lies are said: at once, and as long as they go on; but a flood of them makes no flood of lines."""

from __future__ import annotations

from atm.raft.rejection import Rejection, Violation
from atm.server.group.rejection_reports import REPORT_AGAIN_S, RejectionReports


def test_each_violation_of_each_peer_is_reported_at_once_and_then_at_intervals() -> None:
    now_s, lines = 100.0, list[str]()
    reports = RejectionReports(lambda: now_s, lines.append)
    for sender in ("n2", "n3"):
        for violation in Violation:
            for number in range(50):
                reports.report(
                    Rejection(sender=sender, violation=violation, what=f"{violation.value} {number}")
                )
    assert lines == [
        f"dropped a message of node {s}: {violation.value} 0" for s in ("n2", "n3") for violation in Violation
    ]
    lines.clear()
    now_s += REPORT_AGAIN_S
    reports.report(Rejection(sender="n2", violation=Violation.TERM, what="again"))
    assert lines == ["dropped a message of node n2: again (and 49 like it since the last line)"]
    now_s += REPORT_AGAIN_S
    reports.report(Rejection(sender="n2", violation=Violation.TERM, what="again"))
    assert lines[1:] == ["dropped a message of node n2: again"]
