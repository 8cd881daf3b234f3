"""Waits for a learner until the leader takes it for a voter, and says how far it is."""

from __future__ import annotations

import time

from atm.admin.task import NOT_AVAILABLE, REFUSED, NotDone, Task
from atm.client.errors import OutcomeUnknown, Unavailable
from atm.client.node_status import DOWN, ClusterStatus
from atm.client.receipt import new_request_id
from atm.command_line import printable
from atm.wire.client_messages import PromoteMember

POLL_S = 0.5
SAID_EVERY_S = 10.0  # while nothing changes
SILENT_S_MAX = 600.0  # without `--timeout`: time to start a node by hand


class CatchingUp:
    """One wait. `again` is the command that goes on with it."""

    def __init__(self, task: Task, name: str, again: str) -> None:
        self._task = task
        self._name = name
        self._again = again
        self._started = self._answered = time.monotonic()
        self._said: tuple[float, str] = (0.0, "")

    def until_voter(self) -> None:
        """Ask for the promotion until the leader agrees; raise `NotDone` when it takes too long."""
        while True:
            why_not = self._promote()
            if why_not is None:
                return
            status = self._task.client.status()
            self._say(f"{self._progress(status)} ({why_not})")
            self._give_up_in_time(why_not)
            time.sleep(POLL_S)

    def _promote(self) -> str | None:
        """Ask for the promotion; return why it is not done, None if it is."""
        try:
            reply = self._task.client.change(PromoteMember(id=new_request_id(), node=self._name))
        except (OutcomeUnknown, Unavailable) as error:
            return str(error)
        if reply.outcome == "ok":
            return None
        found = self._task.client.members()
        row = next((row for row in found.members if row.node == self._name), None)
        if row is None:
            raise NotDone(
                REFUSED, f"{self._name} is no member any more: another administrator has removed it"
            )
        return None if row.voter else printable(reply.message)

    def _progress(self, status: ClusterStatus) -> str:
        node = status.node(self._name)
        if node is None or node.role == DOWN:
            return f"{self._name} does not answer"
        self._answered = time.monotonic()
        if node.missing is not None:
            return f"{self._name} {node.missing}"
        committed = max((each.commit_index or 0 for each in status.nodes), default=0)
        return f"{self._name} has {node.applied_index or 0:,} of {committed:,} entries"

    def _say(self, line: str) -> None:
        """Print a line that is new, or old and some time ago."""
        when, said = self._said
        if line != said or time.monotonic() > when + SAID_EVERY_S:
            self._task.progress(line)
            self._said = (time.monotonic(), line)

    def _give_up_in_time(self, why_not: str) -> None:
        now, limit_s = time.monotonic(), self._task.timeout_s
        if limit_s is None and now < self._answered + SILENT_S_MAX:
            return
        if limit_s is not None and now < self._started + limit_s:
            return
        raise NotDone(
            NOT_AVAILABLE,
            f"{self._name} is no voter yet: {why_not}. It is a learner, which goes on catching up. To go on: "
            f"{self._again}",
        )
