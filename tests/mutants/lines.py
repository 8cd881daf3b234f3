"""Planted defects of what a server tells its operator."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

LINE_TESTS = "tests/server/test_lines.py::"
ELECTION_TESTS = "tests/server/test_election_lines.py::"

LINES = (
    Mutant(
        name="a stranger's newline",
        what="a name with a newline in it forges a line, or hides one",
        edits=(Edit("escaped", "char_ if ... else ...", "char_"),),
        caught_by=LINE_TESTS + "test_a_stranger_cannot_forge_a_line",
    ),
    Mutant(
        name="a line of any length",
        what="a pipe that several programs write to gets torn lines",
        edits=(Edit("LineFormatter.format", "len(line_.encode()) < LINE_BYTES_MAX", "True"),),
        caught_by=LINE_TESTS + "test_whatever_a_stranger_sends_is_one_line_of_bounded_length",
    ),
    Mutant(
        name="lines without a bound",
        what="a pipe that nobody reads fills the memory of the server",
        edits=(Edit("LineWriter.put", "self._queue.qsize() >= self._queued_max", "False"),),
        caught_by=LINE_TESTS + "test_a_pipe_that_nobody_reads_makes_nobody_wait_and_what_is_lost_is_counted",
    ),
    Mutant(
        name="lines left out are not counted",
        what="who reads the lines takes a flood for a few tries",
        edits=(Edit("RateLimit.admit", "window_.left_out += 1", "pass"),),
        caught_by=LINE_TESTS + "test_an_event_has_so_many_lines_a_minute_and_hides_no_other",
    ),
    Mutant(
        name="the file that was renamed",
        what="after a rotation the lines go to the file that is compressed next",
        edits=(Edit("RotatedFile.prepare", "self.reopen()", "pass"),),
        caught_by=LINE_TESTS + "test_a_file_that_is_renamed_or_cut_is_written_to_all_the_same",
    ),
    Mutant(
        name="who refused in another campaign",
        what="a server is said to have refused a vote that it was not asked for",
        edits=(Edit("ElectionLines._tell_role", "self._refused.clear()", "pass"),),
        caught_by=ELECTION_TESTS + "test_who_refused_in_an_earlier_campaign_has_not_refused_in_this_one",
    ),
    Mutant(
        name="unreached at each try",
        what="a server that is away for a day is told of twice a second",
        edits=(Edit("Link._note_down", "self._down_s = None", "pass"),),
        caught_by="tests/server/test_peer_server.py::test_a_peer_that_is_not_reached_for_a_while_is_told_of_once",
    ),
    Mutant(
        name="each piece of a snapshot is told",
        what="an operator reads that a snapshot was sent while most of it was not",
        edits=(Edit("SnapshotServer._serve", "isinstance(answer_, SnapshotChunk) and answer_.end", "True"),),
        caught_by="tests/server/test_snapshot_fetch.py::test_the_last_piece_of_a_snapshot_is_told_and_no_other",
    ),
    Mutant(
        name="turned away unheard",
        what="nobody learns who has all the connections",
        edits=(Edit("Listener.process_request", "self._tell_no_place(...)", "pass"),),
        caught_by="tests/server/test_listener.py::test_who_finds_no_place_is_told_to_the_operator",
    ),
)
