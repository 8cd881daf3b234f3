"""Planted defects of the record of what is asked of the servers."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

ADMINISTRATION = "tests/server/test_administration.py::"
NOTES = "tests/server/test_deed_notes.py::"
ROLES = "tests/ledger/test_roles.py::"
ROUTER = "tests/server/test_request_router.py::"
SOURCE = "tests/server/test_backup_source.py::"

DEEDS = (
    Mutant(
        name="members changed by nobody",
        what="the entry of a change does not say who asked for it",
        edits=(
            Edit(
                "Administration.decide",
                "self_._core.change_membership(planned_.members, now_us_, deed_)",
                "self_._core.change_membership(planned_.members, now_us_)",
            ),
        ),
        caught_by=ADMINISTRATION + "test_the_entry_of_a_change_says_who_asked_for_what",
    ),
    Mutant(
        name="change of members not recorded",
        what="who asked for a change is in the log and not in the ledger",
        edits=(Edit("Ledger.decide", "isinstance(entry_, MembershipChange) and ...", "False"),),
        caught_by=ROLES + "test_a_change_of_the_members_is_a_deed_by_its_own_entry",
    ),
    Mutant(
        name="change of members judged once more",
        what="the record says that a change was refused, which is in use",
        edits=(
            Edit(
                "rules:record_change",
                "_recorded(unit_, logged_, logged_.command, OK)",
                "_recorded(unit_, logged_, logged_.command, "
                "OK if allowed(logged_, logged_.command.deed, unit_.role_changes) else Outcome.NOT_ALLOWED)",
            ),
        ),
        caught_by=ROLES + "test_a_change_of_the_members_is_a_deed_by_its_own_entry",
    ),
    Mutant(
        name="deed noted for who was revoked",
        what="who lost the role ahead of the note takes the backup",
        edits=(Edit("rules:decide", "allowed(logged_, command_.deed, ...)", "True"),),
        caught_by=ROLES + "test_what_is_asked_of_the_servers_is_a_deed_without_a_receipt",
    ),
    Mutant(
        name="deed in a table that is not there",
        what="a lying leader's note below feature level 2 stops every server",
        edits=(Edit("rules:_recorded", "unit_.feature_level < DEEDS_LEVEL", "False"),),
        caught_by=ROLES + "test_below_level_2_no_role_can_be_changed_and_no_deed_is_recorded",
    ),
    Mutant(
        name="leadership handed over unseen",
        what="a transfer begins before it is recorded",
        edits=(Edit("RequestRouter._record_handing", "level_ < NoteDeed.level or ...", "True"),),
        caught_by=ADMINISTRATION + "test_leadership_is_handed_over_only_once_it_is_recorded_who_asked_for_it",
    ),
    Mutant(
        name="transfer noted for who was revoked",
        what="the note says not_allowed, and leadership is handed over",
        edits=(
            Edit(
                "RequestRouter._end_changes", "receipt_ is not None and receipt_.outcome is not OK", "False"
            ),
        ),
        caught_by=ADMINISTRATION + "test_who_was_revoked_ahead_of_the_record_hands_nothing_over",
    ),
    Mutant(
        name="transfer forgotten between note and deed",
        what="who asked a leader that went between the two gets no answer",
        edits=(Edit("RequestRouter._follow", "self_._refuse(...)", "pass"),),
        caught_by=ADMINISTRATION + "test_a_transfer_whose_leader_goes_between_record_and_deed_is_not_begun",
    ),
    Mutant(
        name="no snapshot on full disks",
        what="what would make room is refused for want of room",
        edits=(
            Edit(
                "RequestRouter._propose",
                "commands_ = [each_ for each_ in commands_ if isinstance(each_.request, NoteDeed)]",
                "commands_ = []",
            ),
        ),
        caught_by=ROUTER + "test_a_deed_is_recorded_also_when_disks_are_full_since_a_snapshot_makes_room",
    ),
    Mutant(
        name="done though not recorded",
        what="a server without a leader gives a backup, and nobody will know",
        edits=(Edit("DeedNotes.refusal", "not roles_", "True"),),
        caught_by=NOTES + "test_what_cannot_be_recorded_is_not_done_unless_nobody_has_a_certificate",
    ),
    Mutant(
        name="note of a revoked one not read",
        what="a server does what its note says is not allowed",
        edits=(Edit("DeedNotes.not_recorded", "reply_.outcome is OK", "True"),),
        caught_by=NOTES + "test_who_was_revoked_ahead_of_the_note_is_refused",
    ),
    Mutant(
        name="next backup unseen",
        what="of all the backups on one connection the first is recorded",
        edits=(Edit("BackupSource.reply", "reader_.begins = isinstance(...)", "reader_.begins = True"),),
        caught_by=SOURCE + "test_each_backup_is_recorded_once_before_anything_is_read_for_it",
    ),
    Mutant(
        name="backup given though not recorded",
        what="the place of a backup that was refused is kept, and gives",
        edits=(
            Edit(
                "BackupSource.reply",
                "if refusal_ is not None:\n    self_.release(owner_)\n    return encode(refusal_)",
                "if refusal_ is not None:\n    return encode(refusal_)",
            ),
        ),
        caught_by=SOURCE + "test_a_backup_that_cannot_be_recorded_gets_nothing_and_keeps_no_place",
    ),
    Mutant(
        name="a refused backup is one",
        what="whoever may take no backup silences the alarm that there is none",
        edits=(
            Edit("UnitOfWork.last_backup_us", "(op_, outcome_) == BACKUP_BEGUN", "op_ == BACKUP_BEGUN[0]"),
        ),
        caught_by=ROLES + "test_the_last_backup_that_was_begun_is_known_and_after_a_restart_too",
    ),
    Mutant(
        name="a restart forgets the backups",
        what="after a restart of all servers there seems to be no backup",
        edits=(Edit("Ledger._begin", "self._rows.last_backup_us() if has_level_2_ else None", "None"),),
        caught_by=ROLES + "test_the_last_backup_that_was_begun_is_known_and_after_a_restart_too",
    ),
)
