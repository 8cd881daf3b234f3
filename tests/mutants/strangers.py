"""Planted defects of what keeps strangers out of files, memory, spreadsheets and the teller."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

FOLDER_TESTS = "tests/storage/test_private_folder.py::"
CERTS_TESTS = "tests/admin/test_certs.py::"
TELLER_TEST = "tests/teller/test_false_server.py::test_no_field_of_a_reply_ends_the_teller_with_a_traceback"

STRANGERS = (
    Mutant(
        name="loose files stay loose",
        what="after an upgrade from 1.1 any user of the machine still reads all balances and stops the node",
        edits=(Edit("private_folder:tighten", "path_.chmod(...)", "pass"),),
        caught_by=FOLDER_TESTS + "test_all_that_others_had_rights_to_is_the_owners_alone_afterwards",
    ),
    Mutant(
        name="another user's folder is used",
        what="whoever owns the data folder reads and changes the books of the bank",
        edits=(Edit("private_folder:tighten", "_check_owner(path_, status_)", "pass"),),
        caught_by=FOLDER_TESTS + "test_what_another_user_owns_is_refused_and_nothing_is_changed",
    ),
    Mutant(
        name="a new data folder as the umask has it",
        what="a node that is started with a loose umask shows its files",
        edits=(Edit("data_folder:_locked", "0o600", "0o644"),),
        caught_by=FOLDER_TESTS + "test_a_new_data_folder_is_its_owners_alone_whatever_the_umask",
    ),
    Mutant(
        name="core dumps",
        what="a crash writes PINs and the pepper to a disk",
        edits=(Edit("forbid_core_dumps", "resource.setrlimit(...)", "pass"),),
        caught_by="tests/server/test_core_dumps.py::test_the_limit_is_zero_and_the_memory_is_closed",
    ),
    Mutant(
        name="a pepper that others read",
        what="the pepper that every user of the machine knows is used without a word",
        edits=(Edit("read_peppers", "_check_mode(path_)", "pass"),),
        caught_by="tests/server/test_pins.py::test_a_pepper_that_other_users_can_read_is_refused",
    ),
    Mutant(
        name="a formula in the export",
        what="a request id of a customer runs in the auditor's spreadsheet",
        edits=(Edit("safe_cell", "_FORMULA.match(text_)", "_QUOTED.match(text_)"),),
        caught_by="tests/office/test_books.py::test_no_cell_of_a_csv_export_is_a_formula_to_a_spreadsheet",
    ),
    Mutant(
        name="any reply taken for an answer",
        what="a false server ends the teller by the answer to another question",
        edits=(Edit("receipt_of", "kind_of(...) if is_ok_ else Refusal", "Accepted if is_ok_ else Refusal"),),
        caught_by=TELLER_TEST,
    ),
    Mutant(
        name="details that are no JSON",
        what="a false server ends the teller by the details of a lookup",
        edits=(Edit("decode_client_reply", "decode_details(...)", "pass"),),
        caught_by=TELLER_TEST,
    ),
    Mutant(
        name="a teller's certificate is a server's",
        what="a teller with a port of his own is taken for a server and is told PINs",
        edits=(Edit("new_certificate", "holder_.is_node", "True"),),
        caught_by=CERTS_TESTS + "test_openssl_trusts_what_is_issued_for_its_own_end_of_a_connection_only",
    ),
    Mutant(
        name="any certificate in the folder is renewed",
        what="whoever may write a file there gets the role of his choice, signed by the bank",
        edits=(
            Edit(
                "CertsFolder._to_renew",
                "not any(is_signed_by(certificate_, each_) for each_ in self_.authorities())",
                "False",
            ),
        ),
        caught_by=CERTS_TESTS + "test_one_that_is_not_what_it_seems_is_not_renewed_and_the_others_neither",
    ),
    Mutant(
        name="certificate named before its key",
        what="a kill leaves a new certificate with the old key, for good",
        edits=(
            Edit(
                "CertsFolder._write_pair",
                """
                rename_durably(staged_key_, self_.path / key_name_)
                rename_durably(staged_certificate_, self_.path / certificate_name_)
                """,
                """
                rename_durably(staged_certificate_, self_.path / certificate_name_)
                rename_durably(staged_key_, self_.path / key_name_)
                """,
            ),
        ),
        caught_by=CERTS_TESTS
        + "test_a_kill_at_any_call_leaves_the_old_or_the_new_and_the_next_command_goes_on",
    ),
)
