"""Planted defects of the first start: which file is read, the pepper, the addresses, the signals."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

MAIN_TESTS = "tests/server/test_main.py::"
CONFIG_TESTS = "tests/test_config.py::"
LISTENER_TESTS = "tests/server/test_listener.py::"

INSTALL = (
    Mutant(
        name="a pepper on each machine",
        what="each of five machines makes a secret of its own, and they refuse each other",
        edits=(
            Edit(
                "Server._open_storage",
                "self_._cluster.is_on_one_machine and not folder_.knows_a_pepper",
                "not folder_.knows_a_pepper",
            ),
        ),
        caught_by=MAIN_TESTS + "test_no_pepper_is_made_where_others_have_other_hosts",
    ),
    Mutant(
        name="a lost pepper is replaced",
        what="a new secret lies ready to be copied over the right one",
        edits=(
            Edit(
                "Server._open_storage",
                "self_._cluster.is_on_one_machine and not folder_.knows_a_pepper",
                "self_._cluster.is_on_one_machine",
            ),
        ),
        caught_by=MAIN_TESTS + "test_a_new_node_makes_no_pepper_where_another_has_used_one",
    ),
    Mutant(
        name="an empty log keeps its first pepper",
        what="the right pepper is refused on a server that has sealed nothing yet",
        edits=(
            Edit(
                "DataFolder.check_pepper",
                "self_.owner.pepper is None or log_is_empty_",
                "self_.owner.pepper is None",
            ),
        ),
        caught_by=MAIN_TESTS + "test_a_node_whose_log_is_empty_takes_another_pepper",
    ),
    Mutant(
        name="any pepper will do",
        what="a server with another secret starts on its log, and every PIN is wrong there",
        edits=(
            Edit(
                "DataFolder.check_pepper",
                "self_.owner.pepper is None or log_is_empty_",
                "True or log_is_empty_",
            ),
        ),
        caught_by=MAIN_TESTS
        + "test_another_pepper_than_before_ends_with_a_line_and_the_old_one_is_taken_again",
    ),
    Mutant(
        name="loopback not noticed",
        what="a server listens at 127.0.1.1, hears nobody, and says nothing",
        edits=(Edit("check_reachable", "is_loopback(resolved_) and ...", "False"),),
        caught_by=LISTENER_TESTS
        + "test_a_name_that_means_the_loopback_here_is_refused_where_others_are_elsewhere",
    ),
    Mutant(
        name="bank on one machine refused for its name",
        what="a bank whose servers all share a name for the loopback does not start",
        edits=(Edit("check_reachable", "any(other_.peer.host != host_ for other_ in others_)", "True"),),
        caught_by=LISTENER_TESTS + "test_other_addresses_are_left_alone",
    ),
    Mutant(
        name="listens where it is advertised only",
        what="listen_client is read and not used",
        edits=(
            Edit(
                "Server._make_client_server",
                "self_._node.listen_client or self_._node.client",
                "self_._node.client",
            ),
        ),
        caught_by=MAIN_TESTS + "test_a_node_listens_where_it_is_told",
    ),
    Mutant(
        name="peers' port listens where it is advertised only",
        what="listen_peer is read and not used",
        edits=(
            Edit(
                "Server._make_peer_server", "self_._node.listen_peer or self_._node.peer", "self_._node.peer"
            ),
        ),
        caught_by=MAIN_TESTS + "test_a_node_listens_where_it_is_told",
    ),
    Mutant(
        name="hang-up ends a server",
        what="a program that rotates logs ends the server without a line",
        edits=(Edit("_stop_on_signals", "signal.signal(signal.SIGHUP, ...)", "pass"),),
        caught_by=MAIN_TESTS + "test_signals_for_reloading_and_rotating_end_nothing",
    ),
    Mutant(
        name="ATM_CONFIG is not looked at",
        what="commands work on another bank than the one that the environment names",
        edits=(Edit("found_config", "if named_:\n    return Path(named_)", "pass"),),
        caught_by=CONFIG_TESTS
        + "test_the_file_is_that_of_the_environment_else_this_folders_else_the_checkouts",
    ),
    Mutant(
        name="atm-run asks no environment",
        what="a bank of one's own is started in place of the one that is named",
        edits=(
            Edit(
                "run:main",
                "options_.config or found_config()",
                "options_.config",
            ),
        ),
        caught_by="tests/test_run.py::test_the_file_of_the_environment_is_used_before_a_bank_of_ones_own",
    ),
    Mutant(
        name="any folder is a checkout",
        what="an installed package reads a cluster.ini among packages, and names commands that are not there",
        edits=(Edit("checkout", "root_ if a_.exists() else None", "root_"),),
        caught_by=CONFIG_TESTS + "test_an_installed_package_has_no_file_of_its_own",
    ),
    Mutant(
        name="commands go by their names in a checkout",
        what="whoever installed the package is told to run what is not there",
        edits=(Edit("command_here", "checkout() is None", "False"),),
        caught_by="tests/test_checkout.py::test_where_the_package_is_installed_they_are_the_console_scripts",
    ),
)
