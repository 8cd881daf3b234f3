"""Planted defects of what surrounds the log: a node's folder, and the teller's journal."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

FOLDER_TESTS = "tests/storage/test_data_folder.py::"
JOURNAL_TEST = (
    "tests/teller/test_journal.py::"
    "test_the_request_survives_a_power_cut_of_the_tellers_machine_before_it_is_sent"
)

FOLDERS = (
    Mutant(
        name="store of a peer overwritten",
        what="a server that came back with an empty disk is counted again after the second hello",
        edits=(
            Edit(
                "DataFolder.register_peer_store",
                "if known_ is not None: return known_ == store_",
                "if known_ == store_: return True",
            ),
        ),
        caught_by=FOLDER_TESTS + "test_a_peers_first_store_is_remembered_for_good",
    ),
    Mutant(
        name="folder's owner not synced",
        what="a power cut leaves an empty node.json, and a node that never starts again",
        edits=(Edit("write_and_sync", "os.fsync(descriptor_)", "pass"),),
        caught_by=FOLDER_TESTS + "test_the_owner_of_a_folder_survives_a_power_cut_once_the_folder_is_open",
    ),
    Mutant(
        name="store of a peer not synced",
        what="a peer's store is forgotten in a power cut, and an empty disk is taken for its first one",
        edits=(Edit("rename_durably", "sync_folder(...)", "pass"),),
        caught_by=FOLDER_TESTS + "test_a_peers_store_survives_a_power_cut_before_the_peer_is_let_in",
    ),
    Mutant(
        name="data folder's name not synced",
        what="a power cut takes the folder with all that was promised in it",
        edits=(Edit("DataFolder._open", "sync_folder(...)", "pass"),),
        caught_by=FOLDER_TESTS + "test_the_owner_of_a_folder_survives_a_power_cut_once_the_folder_is_open",
    ),
    Mutant(
        name="data folder's name synced after its owner",
        what="a node that is killed in between never again syncs the name of its folder",
        edits=(
            Edit(
                "DataFolder._open",
                "sync_folder(folder_); write_durably(...)",
                "write_durably(...); sync_folder(folder_)",
            ),
        ),
        caught_by=FOLDER_TESTS + "test_a_folder_that_has_an_owner_has_its_own_name_for_good",
    ),
    Mutant(
        name="new folders above not synced",
        what="a data_dir that was made with its parents vanishes in a power cut",
        edits=(
            Edit(
                "DataFolder.__init__",
                "make_folder(folder_)",
                "folder_.mkdir(parents=True, exist_ok=True)",
            ),
        ),
        caught_by=FOLDER_TESTS + "test_the_owner_of_a_folder_survives_a_power_cut_once_the_folder_is_open",
    ),
    Mutant(
        name="file named before its bytes are synced",
        what="a power cut leaves the name and not the content",
        edits=(
            Edit(
                "write_durably",
                """
                try:
                    write_and_sync(descriptor_, content_)
                    ...
                finally:
                    ...
                rename_durably(unfinished_, path_)
                """,
                """
                rename_durably(unfinished_, path_)
                try:
                    write_and_sync(descriptor_, content_)
                    ...
                finally:
                    ...
                """,
            ),
        ),
        caught_by=FOLDER_TESTS + "test_a_peers_store_survives_a_power_cut_before_the_peer_is_let_in",
    ),
    Mutant(
        name="journal's entry not synced",
        what="after a power cut the teller cannot ask again for what it sent",
        edits=(Edit("RequestJournal.write", "write_and_sync(file_, content_)", "os.write(file_, content_)"),),
        caught_by=JOURNAL_TEST,
    ),
    Mutant(
        name="journal's entry named before it is synced",
        what="a power cut leaves an entry without content, which no teller can settle",
        edits=(
            Edit(
                "RequestJournal.write",
                "write_and_sync(file_, content_); rename_durably(unfinished_, path_)",
                "rename_durably(unfinished_, path_); write_and_sync(file_, content_)",
            ),
        ),
        caught_by=JOURNAL_TEST,
    ),
    Mutant(
        name="journal's names not synced",
        what="a power cut takes the entry's name, and the request is forgotten",
        edits=(
            Edit(
                "RequestJournal.write", "rename_durably(unfinished_, path_)", "os.replace(unfinished_, path_)"
            ),
        ),
        caught_by=JOURNAL_TEST,
    ),
    Mutant(
        name="journal's own folder not synced",
        what="a power cut takes a new journal with its first entry",
        edits=(Edit("RequestJournal.__init__", "sync_folder(...)", "pass"),),
        caught_by=JOURNAL_TEST,
    ),
    Mutant(
        name="folder of all nodes not synced",
        what="a power cut takes the folder that bin/run made for all nodes, and all their money",
        edits=(
            Edit(
                "LocalCluster.start",
                "make_folder(folder_)",
                "folder_.mkdir(parents=True, exist_ok=True)",
            ),
        ),
        caught_by="tests/test_local_cluster.py::test_the_folder_of_all_nodes_survives_a_power_cut",
    ),
)
