"""Planted defects of bin/admin, and of the status that it and the teller show."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

MEMBERSHIP_TESTS = "tests/admin/test_membership.py::"
STATUS_TESTS = "tests/admin/test_status.py::"
LOG_TESTS = "tests/admin/test_log.py::"
DOCTOR_TESTS = "tests/admin/test_doctor.py::"
CLUSTER_TESTS = "tests/client/test_cluster_status.py::"
LOG_READER_TESTS = "tests/storage/test_read_only_log.py::"

ADMIN = (
    Mutant(
        name="status ends well without a bank",
        what="a script that asks for the status goes on although nothing can be booked",
        edits=(Edit("table_reports:servers", "DONE if cluster_.available else NOT_AVAILABLE", "DONE"),),
        caught_by="tests/teller/test_scripts.py::test_status_ends_with_3_if_nodes_answer_and_none_leads_a_majority",
    ),
    Mutant(
        name="any leader is a bank",
        what="a leader that is cut off from the others counts as an available bank",
        edits=(Edit("ask_all", "leader_ is not None and (a_ or b_ or c_)", "leader_ is not None"),),
        caught_by=CLUSTER_TESTS + "test_a_leader_that_steps_down_meanwhile_is_not_believed",
    ),
    Mutant(
        name="learners count for a majority",
        what="the bank is called available while its voters are down",
        edits=(
            Edit(
                "node_status:_voters",
                "[m_.node for m_ in members_ if m_.voter]",
                "[m_.node for m_ in members_]",
            ),
        ),
        caught_by=CLUSTER_TESTS + "test_a_learner_counts_for_no_majority",
    ),
    Mutant(
        name="followers of another term counted",
        what="a leader that was replaced without knowing it counts the new one's followers for itself",
        edits=(Edit("_leads_on", "(again_.role, again_.term) == (LEADER, leader_.term)", "True"),),
        caught_by=CLUSTER_TESTS + "test_a_leader_that_steps_down_meanwhile_is_not_believed",
    ),
    Mutant(
        name="only the file's nodes",
        what="a member that was added later is missing from status and health",
        edits=(Edit("node_status:ask_all", "further_ = _not_reached(...)", "further_ = {}"),),
        caught_by=CLUSTER_TESTS + "test_members_that_the_file_does_not_name_are_asked_too",
    ),
    Mutant(
        name="lost vote not seen",
        what="health calls a bank healthy that has a server without its vote: it accumulates over a year",
        edits=(Edit("cluster_health:_reasons", "node_.voter is False", "False"),),
        caught_by=STATUS_TESTS + "test_what_weakens_the_bank_is_exit_code_1",
    ),
    Mutant(
        name="health waits for the dead",
        what="a server that hangs keeps the check of every five minutes waiting",
        edits=(Edit("node_status:STATUS_TIMEOUT_S", "STATUS_TIMEOUT_S = 1.0", "STATUS_TIMEOUT_S = 5.0"),),
        caught_by=STATUS_TESTS + "test_nodes_that_hang_or_are_gone_are_told_within_two_seconds",
    ),
    Mutant(
        name="voter removed without yes",
        what="a slip of the finger takes a voter away",
        edits=(Edit("membership:remove", "row_.voter and not yes_", "False"),),
        caught_by=MEMBERSHIP_TESTS + "test_a_voter_is_removed_only_with_yes",
    ),
    Mutant(
        name="add begins anew",
        what="a repeated add asks for a member that is there, and is refused instead of going on",
        edits=(Edit("membership:add", "row_ = _row(found_, name_)", "row_ = None"),),
        caught_by=MEMBERSHIP_TESTS + "test_an_add_that_was_broken_off_goes_on_when_it_is_repeated",
    ),
    Mutant(
        name="refusal taken for done",
        what="what the leader refuses is told as done",
        edits=(Edit("membership:change", 'reply_.outcome != "ok"', "False"),),
        caught_by=MEMBERSHIP_TESTS + "test_what_the_leader_refuses_is_told_with_its_reason",
    ),
    Mutant(
        name="address of another member",
        what="two members get one address, and one of them is never reached",
        edits=(Edit("_require_unused", "address_ in (row_.peer, row_.client)", "False"),),
        caught_by=MEMBERSHIP_TESTS + "test_nonsense_is_refused_in_one_line_and_changes_nothing",
    ),
    Mutant(
        name="oldest list of members",
        what="a server that was cut off tells who the members were",
        edits=(Edit("AdminClient.members", "max(found_, key=by_)", "min(found_, key=by_)"),),
        caught_by=MEMBERSHIP_TESTS + "test_the_list_of_the_node_that_applied_most_is_shown",
    ),
    Mutant(
        name="list older than the change",
        what="add says that somebody removed the member that it has just added",
        edits=(Edit("AdminClient.members", "answer_.index >= self._index", "True"),),
        caught_by=MEMBERSHIP_TESTS + "test_a_list_that_is_older_than_an_acknowledged_change_is_not_believed",
    ),
    Mutant(
        name="busy bank told as one that is down",
        what="an administrator looks for servers that do not run, and all of them do",
        edits=(
            Edit("AdminClient._fault", "Unavailable(told_) if told_ else ...", "fault_of(self._distrust)"),
        ),
        caught_by="tests/client/test_admin_client.py::test_it_tells_why_a_bank_that_is_there_takes_nothing",
    ),
    Mutant(
        name="PIN in the log's listing",
        what="bin/admin log prints sealed PINs",
        edits=(Edit("_without_pins", "HIDDEN if name_ in PINS and value_ else value_", "value_"),),
        caught_by=LOG_TESTS + "test_json_has_minor_units_and_no_pin",
    ),
    Mutant(
        name="looking opens for writing",
        what="whoever looks into a log needs the right to change it, and a slip could",
        edits=(Edit("_ReadOnlyDisk.open", "os.O_RDONLY | os.O_CLOEXEC", "os.O_RDWR | os.O_CLOEXEC"),),
        caught_by=LOG_READER_TESTS + "test_the_files_need_not_be_writable",
    ),
    Mutant(
        name="replaced entries shown",
        what="the listing has entries that a later leader replaced",
        edits=(
            Edit(
                "ReadOnlyLog._entries_of",
                "decode_entries(*found_)[: len(self._index.indexes(batch_))]",
                "decode_entries(*found_)",
            ),
        ),
        caught_by=LOG_READER_TESTS + "test_entries_that_were_replaced_are_not_seen",
    ),
    Mutant(
        name="clocks apart by the delay",
        what="doctor warns of clocks that only a slow network makes look apart",
        edits=(Edit("clock_findings", "apart_s_ - a_ - b_ > CLOCK_S_MAX", "apart_s_ > CLOCK_S_MAX"),),
        caught_by=DOCTOR_TESTS + "test_clocks_are_told_only_if_they_are_certainly_apart",
    ),
    Mutant(
        name="init overwrites",
        what="init in the folder of a bank replaces its cluster.ini",
        edits=(
            Edit("new_cluster:run", "each_.exists() or each_.is_symlink()", "False"),
            Edit("new_cluster:_create", "a_ | b_ | os.O_EXCL | c_", "a_ | b_ | c_"),
        ),
        caught_by="tests/admin/test_init.py::test_nothing_is_overwritten",
    ),
)
