"""Planted defects of the run loop: which thread runs it, what wakes it, and what takes long."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

INBOX_TESTS = "tests/server/test_inbox.py::"
NODE_TESTS = "tests/server/test_run_loop.py::"
CONNECTION_TESTS = "tests/server/test_client_connection.py::"

RUN_LOOP = (
    Mutant(
        name="two iterations at once",
        what="two reading threads run the loop at the same time",
        edits=(Edit("Inbox.put", "if mine_: self._idle = False", "pass"),),
        caught_by=INBOX_TESTS + "test_many_threads_never_run_two_iterations_at_once_and_lose_nothing",
    ),
    Mutant(
        name="tick forgotten",
        what="the run loop waits for a reading thread, and is not woken when that one ends",
        edits=(Edit("Inbox.end_inline", "more_ or self._loop_waits or ...", "more_ or ..."),),
        caught_by=INBOX_TESTS + "test_a_tick_that_is_due_during_an_inline_iteration_runs_next",
    ),
    Mutant(
        name="failed iteration swallowed",
        what="a node goes on after its disk failed in an iteration of a reading thread",
        edits=(Edit("RunLoop._run_inline", "self._failure, more_ = error_, True", "more_ = True"),),
        caught_by=NODE_TESTS
        + "test_what_an_inline_iteration_raises_ends_the_loop_and_not_the_reading_thread",
    ),
    Mutant(
        name="node runs on without its reader",
        what="the reader has stopped, and the node does not end",
        edits=(Edit("Reader._run", "self._on_failure(error_)", "pass"),),
        caught_by="tests/server/test_reader.py::test_a_source_that_fails_ends_all_reading_and_is_reported",
    ),
    Mutant(
        name="gathered inputs put twice",
        what="gathered inputs come to the node again with the next round",
        edits=(
            Edit(
                "Inbox.put_gathered",
                "mail_, self.gathered = self.gathered, Inputs()",
                "mail_ = self.gathered",
            ),
        ),
        caught_by=INBOX_TESTS + "test_what_is_gathered_during_the_iteration_of_its_round_belongs_to_the_next",
    ),
    Mutant(
        name="PINs overtaken",
        what="a request overtakes the one with a PIN before it on the same connection",
        edits=(Edit("ClientConnection._take", "self._jobs_given != self._jobs_done", "False"),),
        caught_by=CONNECTION_TESTS + "test_requests_behind_one_with_a_pin_come_after_it",
    ),
    Mutant(
        name="socket closed while it is read",
        what="a connection that fails is still registered, and the next under its number ends all reading",
        edits=(Edit("ClientConnection.run_jobs", "while jobs_.get() is not None: pass", "pass"),),
        caught_by=CONNECTION_TESTS
        + "test_a_job_that_fails_ends_the_connection_but_the_socket_stays_until_it_is_no_longer_read",
    ),
)
