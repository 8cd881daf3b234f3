"""Planted defects of the change of the pepper."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

RULES = "tests/ledger/test_pepper.py::"
KEEPER = "tests/server/test_pepper_keeper.py::"
WATCH = "tests/server/test_pepper_watch.py::"
SECRETS = "tests/server/test_peppers.py::"
SERVICE = "tests/server/test_pin_service.py::"
CHANGE = "tests/server/test_pepper_change.py::"
HANDSHAKE = "tests/server/test_handshake.py::"
BACKUP = "tests/admin/test_backup_pepper.py::"
LANE = "tests/server/test_lane_pepper.py::"
ROUTES = "tests/server/test_lane_routes.py::"

PEPPERS = (
    Mutant(
        name="seals of two peppers compared",
        what="a PIN that was carried over while its request was under way counts as a guess",
        edits=(Edit("Account.check_pin", "generation_of(pin_) != generation_of(self.pin)", "False"),),
        caught_by=RULES + "test_what_is_sealed_for_another_pepper_is_no_guess_and_leaves_the_lock_as_it_was",
    ),
    Mutant(
        name="a new PIN for an old pepper",
        what="an account is sealed for the old pepper for ever, behind the leader's back",
        edits=(Edit("decide_pin", "generation_of(command_.pin) != unit_.pepper.generation", "False"),),
        caught_by=RULES + "test_a_new_pin_is_set_for_the_current_pepper_only",
    ),
    Mutant(
        name="a late entry takes a newer seal back",
        what="a PIN that its customer has just set is replaced by the one before",
        edits=(
            Edit(
                "reseal",
                "generation_of(account_.pin) < command_.generation == generation_of(seal_)",
                "True",
            ),
        ),
        caught_by=RULES + "test_a_new_pin_is_set_for_the_current_pepper_only",
    ),
    Mutant(
        name="an older pepper made current",
        what="who knows the old secret opens what is sealed from then on",
        edits=(Edit("decide_rotation", "command_.generation <= current_.generation", "False"),),
        caught_by=RULES + "test_only_a_newer_pepper_becomes_current_and_from_feature_level_2_on",
    ),
    Mutant(
        name="a pepper at feature level 1",
        what="a server of release 1.1 has no table for it, and stops",
        edits=(Edit("decide_rotation", "unit_.feature_level < command_.level", "False"),),
        caught_by=RULES + "test_only_a_newer_pepper_becomes_current_and_from_feature_level_2_on",
    ),
    Mutant(
        name="a digest of an old seal comes late",
        what="a set_pin that was under way and is refused leaves what the old pepper opens, for ever",
        edits=(Edit("requests:_digest", "generation_of(pin_) < generation_", "False"),),
        caught_by=RULES
        + "test_a_new_pin_that_comes_late_and_is_refused_leaves_no_digest_for_the_older_pepper",
    ),
    Mutant(
        name="digests of old seals kept",
        what="who knows the old pepper tries PINs on the receipts for ever",
        edits=(Edit("reseal", "unit_.change_asked(...)", "pass"),),
        caught_by=RULES + "test_the_books_forget_what_they_kept_of_an_older_seal_in_receipts",
    ),
    Mutant(
        name="digests forgotten in memory only",
        what="a restart, or another server, has what the books were to forget",
        edits=(Edit("UnitOfWork.change_asked", "self.changed_asked[...] = asked_", "pass"),),
        caught_by=RULES + "test_what_is_forgotten_in_the_unit_of_work_that_kept_it_is_forgotten_on_the_disk",
    ),
    Mutant(
        name="a set_pin that comes again is another one",
        what="a customer whose answer was lost across the change is told that the id was used",
        edits=(Edit("same_contents", "generation_of(digests_[0]) != generation_of(digests_[1])", "False"),),
        caught_by=RULES + "test_a_set_pin_that_is_repeated_after_the_change_gets_its_first_receipt",
    ),
    Mutant(
        name="lost peppers stay current",
        what="a bank that was restored without them does not start",
        edits=(Edit("begin_epoch", "with_members_ and not peppers_known_", "False"),),
        caught_by=RULES + "test_a_bank_that_lost_its_peppers_begins_with_a_first_one_and_no_pin_is_right",
    ),
    Mutant(
        name="rotated before all know it",
        what="a member can check no PIN",
        edits=(
            Edit(
                "pepper_keeper:check_rotation",
                "lacking_ = ', '.join(...)\nif lacking_:\n    raise Refused(...)",
                "pass",
            ),
        ),
        caught_by=KEEPER + "test_it_is_refused_with_the_names_of_those_who_do_not_know_it",
    ),
    Mutant(
        name="rotated while leadership is handed over",
        what="the leader ends itself: no entry can be proposed then",
        edits=(Edit("RequestRouter._rotate", "self._core.transferring is not None", "False"),),
        caught_by=KEEPER + "test_it_is_refused_while_leadership_is_handed_over",
    ),
    Mutant(
        name="another pepper of the same line taken for it",
        what="a member seals with a secret of its own, and every PIN is wrong there",
        edits=(Edit("pepper_keeper:_lack_of", "known_ == (request_.pepper,)", "known_"),),
        caught_by=KEEPER + "test_it_is_refused_with_the_names_of_those_who_do_not_know_it",
    ),
    Mutant(
        name="the next leader goes on where another one was",
        what="accounts whose entry was lost with the leader keep their old seals",
        edits=(
            Edit(
                "PepperKeeper.look",
                "(self_._pass.term, self_._pass.generation) != (self_._core.term, current_.generation)",
                "self_._pass.generation != current_.generation",
            ),
        ),
        caught_by=KEEPER + "test_another_leader_and_a_newer_pepper_begin_from_the_start",
    ),
    Mutant(
        name="carrying over without a pause",
        what="customers wait for it",
        edits=(Edit("PepperKeeper.look", "self_._clock() < self_._not_before_s", "False"),),
        caught_by=KEEPER + "test_it_goes_in_small_steps_one_at_a_time_with_a_pause_between",
    ),
    Mutant(
        name="done before all is carried over",
        what="old seals stay in the books, which say that there is none",
        edits=(
            Edit(
                "next_reseal",
                "at_.account = pins_[-1][0] if len(pins_) == ACCOUNTS_AT_ONCE else None",
                "at_.account = None",
            ),
        ),
        caught_by=KEEPER + "test_it_goes_in_small_steps_one_at_a_time_with_a_pause_between",
    ),
    Mutant(
        name="a file without what is in use taken",
        what="a wrong copy makes every PIN of a server wrong",
        edits=(
            Edit(
                "PepperWatch._read",
                "not now_.begins_as(before_) or not now_.knows(self_._current())",
                "False",
            ),
        ),
        caught_by=WATCH
        + "test_a_file_that_does_not_begin_with_what_is_in_use_is_one_line_and_nothing_changes",
    ),
    Mutant(
        name="the name of a pepper says nothing of those before",
        what="a file with a wrong line in the middle passes for the right one",
        edits=(Edit("peppers:_names", '"name" if not names_ else ...', '"name"'),),
        caught_by=SECRETS + "test_a_name_tells_a_pepper_and_all_before_it_from_others",
    ),
    Mutant(
        name="a step of the chain left out",
        what="a PIN that was set before two changes is wrong",
        edits=(
            Edit(
                "Peppers.carried",
                "self_._secrets[generation_of(seal_):generation_]",
                "self_._secrets[generation_ - 1 : generation_]",
            ),
        ),
        caught_by=SECRETS + "test_a_seal_is_carried_over_step_by_step_or_at_once_to_the_same",
    ),
    Mutant(
        name="sealed with a pepper that is not the bank's",
        what="a server with a wrong file counts right PINs as guesses",
        edits=(Edit("PinService._knows", "self_._sealer.peppers.knows(current_)", "True"),),
        caught_by=SERVICE + "test_a_server_that_does_not_know_the_pepper_says_so_and_counts_no_guess",
    ),
    Mutant(
        name="the new PIN sealed as the old one",
        what="no PIN can be changed while accounts wait to be carried over",
        edits=(
            Edit(
                "PinSealer.seal",
                "peppers_.carried(first_[account_, pin_], new_ if is_new_ else known_)",
                "peppers_.carried(first_[account_, pin_], known_)",
            ),
        ),
        caught_by=SERVICE
        + "test_a_pin_is_sealed_for_the_pepper_of_its_account_and_a_new_one_for_the_current",
    ),
    Mutant(
        name="a server without the current pepper starts",
        what="an old copy of the file is noticed when customers complain",
        edits=(Edit("Server._open_storage", "if lacking_:\n    raise PepperRefused(...)", "pass"),),
        caught_by=CHANGE
        + "test_what_is_current_in_the_books_and_not_in_the_file_is_refused_at_the_start_and_never_made",
    ),
    Mutant(
        name="let in without the current pepper",
        what="a server that joins checks no PIN, and nobody is told",
        edits=(Edit("Handshake.reason_to_refuse", "current_.name not in hello_.further_peppers", "False"),),
        caught_by=HANDSHAKE
        + "test_files_of_which_one_has_a_newer_pepper_are_compatible_until_that_is_current",
    ),
    Mutant(
        name="a backup of an older pepper file",
        what="the file that is kept for the day of need opens no PIN",
        edits=(
            Edit(
                "_opens",
                "(manifest_.current_pepper or manifest_.pepper) in peppers_.names",
                "True",
            ),
        ),
        caught_by=BACKUP + "test_a_file_without_the_current_pepper_is_not_kept_and_all_lines_come_back",
    ),
    Mutant(
        name="a lane that does not follow the pepper",
        what="PINs are set for the older pepper behind those that were carried over, and stay so",
        edits=(Edit("LaneLedger.follow", "pepper_.generation > self._pepper.generation", "False"),),
        caught_by=LANE + "test_a_writer_that_follows_takes_no_pin_for_an_older_pepper_nor_does_the_next_one",
    ),
    Mutant(
        name="a followed pepper not noted",
        what="the next writer of the lane, which has not seen lane 0, takes PINs for the older pepper again",
        edits=(Edit("LaneLedger.decide", "unit_.change_pepper(...)", "pass"),),
        caught_by=LANE + "test_a_writer_that_follows_takes_no_pin_for_an_older_pepper_nor_does_the_next_one",
    ),
    Mutant(
        name="the next writer of a lane goes on where another one was",
        what="accounts whose step was lost with the writer keep their old seals",
        edits=(
            Edit(
                "CarryingOver.next",
                "(self._pass.term, self._pass.generation) != (ledger_.epoch, ledger_.pepper.generation)",
                "self._pass.generation != ledger_.pepper.generation",
            ),
        ),
        caught_by=LANE + "test_each_writer_carries_its_lane_over_from_the_beginning",
    ),
    Mutant(
        name="one lane's PINs called all",
        what="an administrator calls a stolen pepper worthless while a lane still has seals of it",
        edits=(
            Edit(
                "routes:_pepper",
                "None if pending_ else home_.pepper.carried_index",
                "home_.pepper.carried_index",
            ),
        ),
        caught_by=ROUTES + "test_a_pepper_is_carried_over_once_it_is_in_every_lane",
    ),
    Mutant(
        name="a server on PostgreSQL without the current pepper starts",
        what="it takes lanes, and no other server links to it: their accounts are not served",
        edits=(Edit("LaneServer._assemble", "if lacking_:\n    raise PepperRefused(lacking_)", "pass"),),
        caught_by="tests/cluster/test_pepper_on_postgresql.py::"
        "test_a_server_that_is_down_or_has_another_file_keeps_the_old_pepper_current",
    ),
)
