"""Planted defects of the queue for hashing PINs, of what is hashed, and of the lock."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

QUEUE_TESTS = "tests/server/test_pin_queue.py::"
SERVICE_TESTS = "tests/server/test_pin_service.py::"
FLOOD_TESTS = "tests/server/test_pin_flood.py::"
CONNECTION_TESTS = "tests/server/test_client_connection.py::"
LOCK_TESTS = "tests/ledger/test_pin_lock.py::"
RULE_TESTS = "tests/ledger/test_account_pins.py::"

PINS = (
    Mutant(
        name="busy at once",
        what="a flood that finds no place asks again at once, and each time the account is looked up",
        edits=(Edit("PinService.seal", "self._sleep(BUSY_AFTER_S)", "pass"),),
        caught_by=SERVICE_TESTS + "test_what_finds_no_place_in_the_queue_is_busy_and_not_at_once",
    ),
    Mutant(
        name="the last comer is served first",
        what="a flood of PINs keeps everybody else waiting",
        edits=(
            Edit(
                "PinQueue._pass_on",
                "min(self._waiting, key=self._rank)",
                "max(reversed(self._waiting), key=self._rank)",
            ),
        ),
        caught_by=QUEUE_TESTS + "test_between_two_turns_of_one_thread_every_other_that_waits_has_its_own",
    ),
    Mutant(
        name="turns by connection alone",
        what="who floods by many connections is served many times as often as a customer",
        edits=(Edit("PinQueue._rank", "self._turns_of_owner[request_.owner]", "0"),),
        caught_by=QUEUE_TESTS
        + "test_an_owner_that_floods_waits_behind_its_own_requests_and_nobody_else_does",
    ),
    Mutant(
        name="turns never forgotten",
        what="who was served much yesterday waits behind all others, and memory grows",
        edits=(Edit("PinQueue._pass_on", "self._forget_old_turns()", "pass"),),
        caught_by=QUEUE_TESTS + "test_turns_are_forgotten_after_a_while",
    ),
    Mutant(
        name="places kept by a flood",
        what="a customer is told `busy` as long as a flood has all places",
        edits=(Edit("PinQueue._displace_one_for", "self._rank(last_) <= self._rank(newcomer_)", "True"),),
        caught_by=QUEUE_TESTS
        + "test_with_no_place_left_whoever_would_be_served_last_gives_way_to_who_would_be_before",
    ),
    Mutant(
        name="equals displace each other",
        what="a crowd of equals throws one another out, and none is served",
        edits=(
            Edit(
                "PinQueue._displace_one_for",
                "self._rank(last_) <= self._rank(newcomer_)",
                "self._rank(last_) < self._rank(newcomer_)",
            ),
        ),
        caught_by=QUEUE_TESTS + "test_with_no_place_left_nobody_gives_way_to_an_equal",
    ),
    Mutant(
        name="turns of nobody",
        what="all share one owner's turns, whoever asks",
        edits=(
            Edit("ClientConnection._seal_and_put", "'' if self.place is None else self.place.owner", "''"),
        ),
        caught_by=CONNECTION_TESTS
        + "test_turns_to_hash_a_pin_are_those_of_the_identity_or_address_that_asks",
    ),
    Mutant(
        name="asker lost before the queue",
        what="all share one owner's turns, whoever asks",
        edits=(
            Edit(
                "PinService.seal",
                """
                self._sealer.seal(
                    request_, owner=owner_, not_compared=names_, generations=known_, new=new_, wanted=wanted_
                )
                """,
                """
                self._sealer.seal(
                    request_, owner="", not_compared=names_, generations=known_, new=new_, wanted=wanted_
                )
                """,
            ),
        ),
        caught_by=SERVICE_TESTS + "test_the_turn_is_that_of_who_asks",
    ),
    Mutant(
        name="places without a bound for one account",
        what="a flood against one account takes all places",
        edits=(
            Edit(
                "PinQueue.place",
                "any(self._requests_about(name_) >= self._account_requests_max for name_ in accounts_)",
                "False",
            ),
        ),
        caught_by=QUEUE_TESTS + "test_a_flood_against_one_account_leaves_room_for_the_others",
    ),
    Mutant(
        name="PINs hashed for clients that have gone",
        what="a flood goes on for as long as its queue lasts when the attacker has left",
        edits=(Edit("PinSealer._sealed", "not wanted_()", "False"),),
        caught_by=FLOOD_TESTS + "test_who_asks_for_one_thing_is_served_after_one_job_of_each_other_at_most",
    ),
    Mutant(
        name="a PIN not hashed in a mixed cluster",
        what="a server of release 1.1 counts a right PIN as a guess",
        edits=(Edit("PinService.seal", "self._feature_level() >= LOOK_UP_LEVEL", "True"),),
        caught_by=SERVICE_TESTS
        + "test_below_the_level_that_knows_it_every_pin_is_hashed_and_nothing_looked_up",
    ),
    Mutant(
        name="PINs of locked accounts hashed",
        what="whoever has locked an account can go on to keep the processors busy",
        edits=(Edit("compares", 'found_.pin == "locked"', "False"),),
        caught_by=SERVICE_TESTS + "test_a_pin_is_hashed_where_the_bank_would_compare_or_set_it",
    ),
    Mutant(
        name="a PIN that was not hashed counts as a guess",
        what="a customer whose PIN was set a moment ago is told that it is wrong",
        edits=(Edit("Account.check_pin", "pin_ == NOT_HASHED", "False"),),
        caught_by=RULE_TESTS
        + "test_a_pin_that_was_not_hashed_and_would_be_compared_or_set_is_not_decided_and_counts_nothing",
    ),
    Mutant(
        name="a PIN that was not hashed is set",
        what="an account gets a PIN that nobody knows",
        edits=(Edit("decide_pin", "command_.pin == NOT_HASHED", "False"),),
        caught_by=RULE_TESTS
        + "test_a_pin_that_was_not_hashed_and_would_be_compared_or_set_is_not_decided_and_counts_nothing",
    ),
    Mutant(
        name="requests behind a PIN without a bound",
        what="a connection takes as much memory as it likes",
        edits=(
            Edit(
                "ClientConnection._take",
                "waits_ and waiting_bytes_ + size_bytes_ > WAITING_BYTES_MAX",
                "False",
            ),
        ),
        caught_by=CONNECTION_TESTS + "test_what_waits_behind_a_pin_is_bounded_by_bytes_and_the_rest_is_busy",
    ),
    Mutant(
        name="a batch of any number of PINs",
        what="one small request keeps a processor busy for seconds",
        edits=(Edit("has_pin", "len(set(pins_)) > BATCH_PINS_MAX", "False"),),
        caught_by=FLOOD_TESTS + "test_a_batch_of_five_pins_is_refused_before_one_is_hashed",
    ),
    Mutant(
        name="the lock does not grow",
        what="an attacker gets a guess a minute, for ever",
        edits=(Edit("_count_wrong", "FIRST_LOCK_US << min(doublings_, DOUBLINGS_MAX)", "FIRST_LOCK_US"),),
        caught_by=LOCK_TESTS
        + "test_the_third_wrong_pin_in_a_row_locks_for_a_minute_and_each_further_one_for_twice_as_long",
    ),
    Mutant(
        name="unlock begins the count anew",
        what="two guesses and an unlock, in a loop, try every PIN",
        edits=(
            Edit(
                "pin_lock:unlock",
                "account_.locked_until_us = 0",
                "account_.locked_until_us = account_.wrong_pins = 0",
            ),
        ),
        caught_by=LOCK_TESTS
        + "test_unlock_ends_the_present_lock_and_takes_nothing_off_the_next_and_only_three_times_a_day",
    ),
    Mutant(
        name="unlocked as often as asked",
        what="an operator who unlocks in a loop gives a guess each time",
        edits=(Edit("pin_lock:unlock", "account_.unlocks_today >= UNLOCKS_A_DAY", "False"),),
        caught_by=LOCK_TESTS
        + "test_unlock_ends_the_present_lock_and_takes_nothing_off_the_next_and_only_three_times_a_day",
    ),
    Mutant(
        name="wrong PINs of a day not counted",
        what="two guesses between any two logins of the customer go on for ever",
        edits=(Edit("_count_wrong", "account_.wrong_today += 1", "pass"),),
        caught_by=LOCK_TESTS + "test_the_tenth_wrong_pin_of_a_day_locks_whatever_was_in_between",
    ),
    Mutant(
        name="lock not written",
        what="a lock is forgotten at a restart",
        edits=(Edit("withdrawals:check_pin", "unit_.change_lock(account_)", "pass"),),
        caught_by="tests/simulation/test_bank_model.py::"
        "test_the_ledger_and_the_model_live_through_a_day_alike",
    ),
    Mutant(
        name="what is typed ahead is shown",
        what="a PIN that was typed before it was asked for stands on the screen",
        edits=(
            Edit(
                "_mode",
                "changed_[3] | termios.ECHO if on_ else changed_[3] & ~termios.ECHO",
                "changed_[3]",
            ),
        ),
        caught_by="tests/teller/test_terminal.py::test_a_pin_that_is_typed_ahead_is_not_shown",
    ),
)
