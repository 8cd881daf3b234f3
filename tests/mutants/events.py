"""Planted defects of what nodes tell about themselves: the recorder, its files, who may read them."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

CORE = "tests/raft/test_events.py::"
RECORDER = "tests/events/test_recorder.py::"
FLIGHT = "tests/server/test_flight_file.py::"

EVENTS = (
    Mutant(
        name="refused for the wrong reason",
        what="a vote that was given to another is said to be refused for the candidate's log",
        edits=(
            Edit(
                "Raft._why_no_vote",
                "request_.term == self.term and self.voted_for not in (None, request_.sender)",
                "False",
            ),
        ),
        caught_by=CORE + "test_a_vote_is_granted_or_refused_with_the_reason",
    ),
    Mutant(
        name="late vote told as counted",
        what="an answer to an earlier campaign is told as a vote of this one",
        edits=(
            Edit(
                "Raft._handle_request_vote_response",
                "self._report_answer(response_, self._role, counted=response_.granted and asked_)",
                "self._report_answer(response_, self._role, counted=response_.granted)",
            ),
        ),
        caught_by=CORE + "test_a_refused_and_a_late_vote_do_not_count",
    ),
    Mutant(
        name="entries kept in the ring",
        what="the recorder keeps appends with all that is in them: secrets, and any number of bytes",
        edits=(
            Edit(
                "_light",
                "_without_entries(message_, len(entries_)) if entries_ else message_",
                "message_",
            ),
        ),
        caught_by=RECORDER + "test_the_ring_keeps_no_entry_alive",
    ),
    Mutant(
        name="roles among the messages",
        what="under load a change of role is pushed out of the ring within a second",
        edits=(
            Edit(
                "FlightRecorder.on_core_event",
                "self._note_rare(CORE, event_)",
                "self._note_busy(CORE, event_)",
            ),
        ),
        caught_by=RECORDER + "test_a_flood_of_messages_pushes_out_no_change_of_role",
    ),
    Mutant(
        name="lost events not counted",
        what="a reader that comes too late takes what is left for everything",
        edits=(Edit("page_of", "last_ - after_ - len(wanted_)", "0"),),
        caught_by=RECORDER + "test_a_reader_that_comes_too_late_is_told_how_much_it_missed",
    ),
    Mutant(
        name="failing disk hides the failure",
        what="a node that cannot write its last events ends by that error, and not by its own",
        edits=(Edit("dump", "Exception", "ZeroDivisionError"),),
        caught_by=FLIGHT + "test_a_disk_that_fails_is_told_and_nothing_is_raised",
    ),
    Mutant(
        name="cursor outlives a restart",
        what="who reads on after a restart does not see how the node began",
        edits=(Edit("EventSource.reply", "request_.recorder in (0, header_.recorder)", "True"),),
        caught_by="tests/server/test_events.py::test_a_cursor_of_before_a_restart_gives_everything_since_the_start",
    ),
)
