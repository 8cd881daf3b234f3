"""Planted defects of the teller, the client and the office that no test had noticed at first."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

CONNECTION_TESTS = "tests/client/test_connections.py::"
JOURNAL_TESTS = "tests/teller/test_journal.py::"
PIN_TESTS = "tests/teller/test_pins.py::"
DAY_TESTS = "tests/teller/test_days.py::"
WORD_TESTS = "tests/teller/test_words.py::"
RETRYING_TESTS = "tests/client/test_retrying.py::"

TELLER = (
    Mutant(
        name="references kept for the next person",
        what="after a logout `receipt` shows the last person's receipt",
        edits=(Edit("SessionState.forget_requests", "self.references.clear()", "pass"),),
        caught_by=PIN_TESTS + "test_the_next_person_is_not_shown_the_last_receipt",
    ),
    Mutant(
        name="hold kept by an idle session",
        what="the next person at an idle teller pays out the last person's hold",
        edits=(Edit("Teller.log_out_if_idle", "self.state.forget_requests()", "pass"),),
        caught_by=PIN_TESTS + "test_an_idle_session_forgets_the_hold_of_its_person",
    ),
    Mutant(
        name="logged in after a wrong PIN",
        what="a failed login leaves the session logged in with the PIN from before",
        edits=(Edit("PinChecks.log_in", "self._identity.log_out()", "pass"),),
        caught_by=PIN_TESTS + "test_after_a_wrong_pin_the_session_is_logged_out",
    ),
    Mutant(
        name="idle time never restarted",
        what="a session is logged out 120 seconds after its start, however busy it is",
        edits=(Edit("Teller.execute", "self._identity.note_use()", "pass"),),
        caught_by=PIN_TESTS + "test_each_command_restarts_the_idle_time",
    ),
    Mutant(
        name="interrupted for ever",
        what="after one Ctrl-C the teller says `Interrupted` when the bank is not available",
        edits=(Edit("Teller.serve", "self._runner.interrupted = False", "pass"),),
        caught_by="tests/teller/test_faults.py::test_after_ctrl_c_a_bank_that_is_not_available_is_called_so",
    ),
    Mutant(
        name="settled before it is shown",
        what="a teller that cannot print an outcome says that nothing is in doubt",
        edits=(Edit("RequestRunner.change", "self._unsettled.append(unsettled_)\nraise", "raise"),),
        caught_by="tests/teller/test_terminal.py::"
        "test_an_outcome_that_could_not_be_shown_is_5_and_is_told_by_the_next_teller",
    ),
    Mutant(
        name="another cluster's request kept locked",
        what="while a teller runs, no teller of another cluster settles that cluster's requests",
        edits=(
            Edit(
                "RequestJournal._adopt",
                "if pending_.cluster != self._cluster:\n    os.close(descriptor_)\n    return None",
                "if pending_.cluster != self._cluster:\n    return None",
            ),
        ),
        caught_by=JOURNAL_TESTS + "test_a_request_for_another_cluster_is_not_kept_from_its_tellers",
    ),
    Mutant(
        name="settled request adopted",
        what="a request that another teller has just settled is sent again, and shown twice",
        edits=(Edit("request_journal:_open_and_lock", "os.fstat(descriptor_).st_nlink == 0", "False"),),
        caught_by=JOURNAL_TESTS + "test_a_request_that_another_teller_settles_meanwhile_is_not_sent_again",
    ),
    Mutant(
        name="unfinished file left on a full disk",
        what="each request that cannot be stored takes a little more of a full disk",
        edits=(Edit("RequestJournal.write", "unfinished_.unlink(missing_ok=True)", "pass"),),
        caught_by=JOURNAL_TESTS + "test_a_full_disk_only_costs_the_journal",
    ),
    Mutant(
        name="longest line refused",
        what="a line of just the length that is allowed is refused",
        edits=(Edit("language:parse", "len(line_) > LINE_CHARS_MAX", "len(line_) >= LINE_CHARS_MAX"),),
        caught_by="tests/teller/test_transcript.py::test_the_longest_line_is_read_and_one_that_is_longer_is_refused",
    ),
    Mutant(
        name="typed text kept after Ctrl-C",
        what="what was typed before an idle logout comes back when it was cleared",
        edits=(
            Edit(
                "Keyboard.lines",
                "try: ...\nexcept KeyboardInterrupt:\n    typed_ = ''\n    continue\n"
                "except IdleTimeout: ...\nexcept EOFError: ...",
                "try: ...\nexcept KeyboardInterrupt:\n    continue\n"
                "except IdleTimeout: ...\nexcept EOFError: ...",
            ),
        ),
        caught_by="tests/teller/test_terminal.py::test_ctrl_c_clears_what_was_typed_before_the_logout",
    ),
    Mutant(
        name="meant command not named",
        what="a mistyped command is refused without a word about the right one",
        edits=(Edit("language:_unknown", "name_.isalpha()", "False"),),
        caught_by="tests/teller/test_transcript.py::test_of_a_mistyped_command_the_one_that_was_meant_is_named",
    ),
    Mutant(
        name="refused connection used again",
        what="a request is sent on a connection that the server is closing, and its outcome is unknown",
        edits=(Edit("RetryingSender._try", "answer_ is not None and answer_.id", "answer_ is not None"),),
        caught_by=CONNECTION_TESTS + "test_a_connection_is_not_used_again_after_a_refusal_of_all_of_it",
    ),
    Mutant(
        name="in flight after an answer",
        what="a request that every server refused is called unknown after Ctrl-C",
        edits=(Edit("Attempt.steps", "self.in_flight = False", "pass"),),
        caught_by=CONNECTION_TESTS
        + "test_an_interrupt_between_two_tries_says_that_a_refused_request_is_not_done",
    ),
    Mutant(
        name="idle connections without a bound",
        what="a client keeps a connection for each of its threads that ever asked at once",
        edits=(
            Edit(
                "Pool.release",
                "not self._closed and len(idle_) < IDLE_CONNECTIONS_MAX",
                "not self._closed",
            ),
        ),
        caught_by=CONNECTION_TESTS + "test_idle_connections_are_bounded_and_the_others_are_closed",
    ),
    Mutant(
        name="connections in use for ever",
        what="a client's memory grows with each connection that it ever made",
        edits=(Edit("Pool.release", "self._in_use.discard(connection_)", "pass"),),
        caught_by=CONNECTION_TESTS + "test_idle_connections_are_bounded_and_the_others_are_closed",
    ),
    Mutant(
        name="connection kept after the close",
        what="a closed client keeps open the connections that were in use",
        edits=(Edit("Pool.release", "not self._closed and bounded_", "bounded_"),),
        caught_by=CONNECTION_TESTS + "test_a_connection_that_is_released_after_the_close_is_closed",
    ),
    Mutant(
        name="slow dials never given more time",
        what="a client gives up each connection just before a far server would have accepted it",
        edits=(Edit("Attempt._judged", "self.timeouts += time.monotonic() >= until_", "pass"),),
        caught_by=RETRYING_TESTS + "test_servers_that_do_not_let_connect_are_given_more_time_with_each_try",
    ),
    Mutant(
        name="unknown told twice",
        what="a program is called again and again for one unknown outcome",
        edits=(
            Edit(
                "Attempt._note_unknown",
                "self._changes_something and not self.may_be_done",
                "self._changes_something",
            ),
        ),
        caught_by=RETRYING_TESTS + "test_an_unknown_outcome_is_told_once_however_many_answers_are_lost",
    ),
    Mutant(
        name="failure remembered after an answer",
        what="a server that is back is asked after one that is still down",
        edits=(Edit("Route.note_answer", "self._last_failure[node_] = 0", "pass"),),
        caught_by=RETRYING_TESTS
        + "test_a_node_that_answered_since_it_failed_is_asked_before_one_that_did_not",
    ),
    Mutant(
        name="loan without the debt",
        what="an import stops at an account that is overdrawn twice",
        edits=(Edit("Replay._book_overdraft", "max(line_.amount, -line_.debit_balance)", "line_.amount"),),
        caught_by="tests/office/test_replay.py::"
        "test_the_loan_covers_the_cash_and_the_debt_that_there_is_already",
    ),
    Mutant(
        name="ledger compared with none passes",
        what="the books are called right although one ledger was compared with no other",
        edits=(Edit("office.verify:_incomplete", "[*report_.missing, *alone_]", "[*report_.missing]"),),
        caught_by="tests/office/test_comparison.py::test_a_ledger_that_shares_no_index_is_alone",
    ),
    Mutant(
        name="day after the last",
        what="an export of a log whose time has come to the calendar's end fails",
        edits=(Edit("office.books:_day", "min(day_, LAST_DAY)", "day_"),),
        caught_by="tests/office/test_books.py::test_the_last_day_of_the_calendar_has_an_assertion_behind_it",
    ),
    Mutant(
        name="PIN behind another word shown",
        what="a PIN behind `withdraw 5` is kept in the history",
        edits=(Edit("language:_show_pin", "command_named(name_)", "command_named('')"),),
        caught_by=WORD_TESTS + "test_a_pin_behind_another_word_is_refused_as_behind_the_first",
    ),
    Mutant(
        name="form taken for a command",
        what="`limit bob <amount>`, typed as help shows it, takes the daily limit off",
        edits=(
            Edit(
                "forms:_is_said",
                'not word_.startswith("<") and word_.lower() in alternatives_',
                "word_.lower() in alternatives_",
            ),
        ),
        caught_by=WORD_TESTS + "test_a_form_that_is_typed_as_it_stands_is_no_command",
    ),
    Mutant(
        name="decimal comma taken for a separator",
        what="`1,23` is paid in as 123",
        edits=(Edit("_THOUSANDS", "r'[1-9][0-9]{0,2}(?:,[0-9]{3})+'", "r'[1-9][0-9]{0,2}(?:,[0-9]+)+'"),),
        caught_by=WORD_TESTS + "test_a_separator_that_could_mean_something_else_is_refused_in_words",
    ),
    Mutant(
        name="prompt without the account",
        what="at three windows a teller cannot tell whose account each is about",
        edits=(Edit("keyboard:prompt_for", "account_ == MAIN", "True"),),
        caught_by="tests/teller/test_terminal.py::test_the_prompt_says_whose_account_it_is_unless_it_is_main",
    ),
    Mutant(
        name="old request carried out",
        what="a debit that never arrived is carried out a month later, when its customer has left",
        edits=(Edit("RequestRunner._settled", "time.time() - unsettled_.since_s > RESEND_S_MAX", "False"),),
        caught_by=JOURNAL_TESTS
        + "test_a_request_of_another_day_that_never_arrived_is_cancelled_and_not_carried_out",
    ),
    Mutant(
        name="old request only forgotten",
        what="a request that was called cancelled is carried out when it arrives after all",
        edits=(
            Edit(
                "RequestRunner._cancelled",
                "cancelled_ = self._send(Reverse(id=new_request_id(), original=unsettled_.command.id))",
                "cancelled_ = self._look_up(unsettled_.command)",
            ),
        ),
        caught_by=JOURNAL_TESTS
        + "test_a_request_of_another_day_that_never_arrived_is_cancelled_and_not_carried_out",
    ),
    Mutant(
        name="taken back and called done",
        what="a request that arrived late and was reversed is called done",
        edits=(Edit("RequestRunner._settled_as", "found_.reversed_by is not None", "False"),),
        caught_by=JOURNAL_TESTS
        + "test_a_request_of_another_day_that_arrives_between_the_two_questions_is_taken_back",
    ),
    Mutant(
        name="id with slashes as a path",
        what="a reference of a script names a file outside of the journal",
        edits=(Edit("request_journal:_file_name", 'quote(command_.id, safe="")', "command_.id"),),
        caught_by=JOURNAL_TESTS + "test_the_same_id_again_is_the_same_request_and_is_done_once",
    ),
    Mutant(
        name="asked again and cancelled",
        what="a request of last month that is asked for again under its id is cancelled",
        edits=(Edit("RequestRunner._take_unsettled", "unsettled_.command == command_", "False"),),
        caught_by=JOURNAL_TESTS
        + "test_the_same_id_again_after_a_month_is_carried_out_as_somebody_wants_it_now",
    ),
    Mutant(
        name="piped commands always done",
        what="a script that pipes its commands is told that all were done",
        edits=(Edit("Teller.serve", "DONE if interactive_ else highest_", "DONE"),),
        caught_by="tests/teller/test_scripts.py::test_piped_commands_end_with_the_highest_of_their_codes",
    ),
    Mutant(
        name="lines with PINs not counted",
        what="the line that a script stopped at is told with a wrong number",
        edits=(
            Edit(
                "teller.main:_lines_of",
                "typed_ if is_stdin_ else ...",
                "NumberedLines(typed_) if is_stdin_ else ...",
            ),
        ),
        caught_by="tests/teller/test_scripts.py::test_a_line_number_counts_the_lines_with_pins",
    ),
    Mutant(
        name="no progress",
        what="while the bank is looked for nothing is printed, and people type again",
        edits=(Edit("Output.waiting", "self._progress is None", "True"),),
        caught_by="tests/teller/test_terminal.py::"
        "test_after_half_a_second_of_silence_a_terminal_says_that_the_bank_is_waited_for",
    ),
    Mutant(
        name="progress left on the screen",
        what="an answer is printed behind the progress, on its line",
        edits=(Edit("Progress._erase", "self._terminal.write(...)", "pass"),),
        caught_by="tests/teller/test_terminal.py::"
        "test_after_half_a_second_of_silence_a_terminal_says_that_the_bank_is_waited_for",
    ),
    Mutant(
        name="stopped without its echo",
        what="after Ctrl-Z the shell shows nothing that is typed",
        edits=(
            Edit(
                "echo:_stopped_by",
                """
                termios.tcsetattr(descriptor_, termios.TCSANOW, before_)
                if callable(outer_):
                    ...
                else:
                    ...
                """,
                """
                if callable(outer_):
                    ...
                else:
                    ...
                """,
            ),
        ),
        caught_by="tests/teller/test_terminal.py::"
        "test_ctrl_z_stops_the_teller_and_the_shell_gets_its_echo_back",
    ),
    Mutant(
        name="a failed read called unknown",
        what="a script that could not read a balance is told that something may have happened",
        edits=(Edit("teller.main:_cut_off", "UNKNOWN if in_doubt_ else INPUT_OUTPUT_FAILED", "UNKNOWN"),),
        caught_by="tests/teller/test_terminal.py::test_a_full_output_gets_one_line",
    ),
    Mutant(
        name="interrupted and called not done",
        what="a script that was interrupted with a request under way is told that nothing was changed",
        edits=(Edit("Teller.serve", "UNKNOWN if self.in_doubt else INTERRUPTED", "INTERRUPTED"),),
        caught_by="tests/teller/test_faults.py::test_ctrl_c_during_a_request_says_what_is_known",
    ),
    Mutant(
        name="days found one posting off",
        what="a statement up to a day lists the first posting of the next one",
        edits=(Edit("cursor_after", "high_ = line_.posting", "high_ = line_.posting + 1"),),
        caught_by=DAY_TESTS + "test_the_place_of_a_day_is_found_wherever_it_is",
    ),
    Mutant(
        name="statement of days without the PIN",
        what="who asks for days sees an account's postings without a login",
        edits=(Edit("AccountViews.days", "self._pins.require_login('days')", "pass"),),
        caught_by=DAY_TESTS + "test_more_than_a_page_of_a_day_is_listed_and_a_pin_guards_it",
    ),
    Mutant(
        name="formula in the CSV of a statement",
        what="a reference that a script chose runs in the spreadsheet of a teller",
        edits=(Edit("tables:_csv_cell", "safe_cell(text_)", "text_"),),
        caught_by=DAY_TESTS + "test_csv_is_for_programs_and_no_cell_is_a_formula",
    ),
    Mutant(
        name="large amount moved unasked",
        what="a key that was held down too long is booked at once",
        edits=(Edit("Confirmations._refuse_amount", "amount_ > above_", "False"),),
        caught_by=DAY_TESTS + "test_above_the_limit_that_is_set_a_person_is_asked_and_a_script_is_not",
    ),
    Mutant(
        name="completion without commands",
        what="a shell offers nothing behind -c",
        edits=(Edit("shell_completion:_words_behind", "name_ == _COMMANDS", "False"),),
        caught_by="tests/teller/test_shell_completion.py::test_every_option_and_command_is_in_it",
    ),
    Mutant(
        name="holds of everybody",
        what="a customer's list of holds has those of others, and some that have ended",
        edits=(
            Edit("Inquiries._holds", "(request_.account, request_.after_hold or '', ...)", "('bob', '', 9)"),
        ),
        caught_by="tests/teller/test_holds.py::test_the_active_holds_of_the_account_are_listed",
    ),
)
