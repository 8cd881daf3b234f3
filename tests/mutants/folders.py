"""Planted defects of what surrounds the log: a node's folder, and the teller's journal."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

FOLDER = "atm/storage/data_folder.py"
FOLDER_TESTS = "tests/storage/test_data_folder.py::"
JOURNAL = "atm/teller/request_journal.py"
JOURNAL_TEST = (
    "tests/teller/test_journal.py::"
    "test_the_request_survives_a_power_cut_of_the_tellers_machine_before_it_is_sent"
)

FOLDERS = (
    Mutant(
        name="store of a peer overwritten",
        what="a server that came back with an empty disk is counted again after the second hello",
        file=FOLDER,
        edits=(("            if known is not None:\n", "            if known == store:\n"),),
        caught_by=FOLDER_TESTS + "test_a_peers_first_store_is_remembered_for_good",
    ),
    Mutant(
        name="folder's owner not synced",
        what="a power cut leaves an empty node.json, and a node that never starts again",
        file=FOLDER,
        edits=(("        os.fsync(file.fileno())\n", ""),),
        caught_by=FOLDER_TESTS + "test_whose_a_folder_is_survives_a_power_cut_once_the_folder_is_open",
    ),
    Mutant(
        name="store of a peer not synced",
        what="a peer's store is forgotten in a power cut, and an empty disk is taken for its first one",
        file=FOLDER,
        edits=(
            ("    fresh.replace(path)\n    OsDisk().sync_folder(path.parent)\n", "    fresh.replace(path)\n"),
        ),
        caught_by=FOLDER_TESTS + "test_a_peers_store_survives_a_power_cut_before_the_peer_is_let_in",
    ),
    Mutant(
        name="data folder's name not synced",
        what="a power cut takes the folder with all that was promised in it",
        file=FOLDER,
        edits=(("            OsDisk().sync_folder(self.path.parent)  # first", "            pass  # first"),),
        caught_by=FOLDER_TESTS + "test_whose_a_folder_is_survives_a_power_cut_once_the_folder_is_open",
    ),
    Mutant(
        name="data folder's name synced after its owner",
        what="a node that is killed in between never again syncs the name of its folder",
        file=FOLDER,
        edits=(
            ("            OsDisk().sync_folder(self.path.parent)  # first", "            pass  # first"),
            (
                "            write_durably(path, _encoded(mine))\n",
                "            write_durably(path, _encoded(mine))\n"
                "            OsDisk().sync_folder(self.path.parent)\n",
            ),
        ),
        caught_by=FOLDER_TESTS + "test_a_folder_that_has_an_owner_has_its_own_name_for_good",
    ),
    Mutant(
        name="new folders above not synced",
        what="a data_dir that was made with its parents vanishes in a power cut",
        file=FOLDER,
        edits=(
            (
                "            OsDisk().make_folder(self.path)\n",
                "            self.path.mkdir(parents=True, exist_ok=True)\n",
            ),
        ),
        caught_by=FOLDER_TESTS + "test_whose_a_folder_is_survives_a_power_cut_once_the_folder_is_open",
    ),
    Mutant(
        name="file named before its bytes are synced",
        what="a power cut leaves the name and not the content",
        file=FOLDER,
        edits=(
            (
                "        os.fsync(file.fileno())\n    fresh.replace(path)\n",
                "        fresh.replace(path)\n        os.fsync(file.fileno())\n",
            ),
        ),
        caught_by=FOLDER_TESTS + "test_a_peers_store_survives_a_power_cut_before_the_peer_is_let_in",
    ),
    Mutant(
        name="journal's entry not synced",
        what="after a power cut the teller cannot ask again for what it sent",
        file=JOURNAL,
        edits=(
            (
                "                os.fsync(descriptor)\n                unfinished",
                "                unfinished",
            ),
        ),
        caught_by=JOURNAL_TEST,
    ),
    Mutant(
        name="journal's entry named before it is synced",
        what="a power cut leaves an entry without content, which nobody can settle",
        file=JOURNAL,
        edits=(
            (
                "                os.fsync(descriptor)\n                unfinished.rename(path)\n",
                "                unfinished.rename(path)\n                os.fsync(descriptor)\n",
            ),
        ),
        caught_by=JOURNAL_TEST,
    ),
    Mutant(
        name="journal's names not synced",
        what="a power cut takes the entry's name, and the request is forgotten",
        file=JOURNAL,
        edits=(("                _sync_folder(self._folder)\n", ""),),
        caught_by=JOURNAL_TEST,
    ),
    Mutant(
        name="journal's own folder not synced",
        what="a power cut takes a new journal with its first entry",
        file=JOURNAL,
        edits=(("            _sync_folder(path.parent)\n", "            pass\n"),),
        caught_by=JOURNAL_TEST,
    ),
    Mutant(
        name="folder of all nodes not synced",
        what="a power cut takes the folder that bin/run made for all nodes, and all their money",
        file="atm/local_cluster.py",
        edits=(
            (
                "        OsDisk().make_folder(path.parent / name)",
                "        path.parent.mkdir(parents=True, exist_ok=True)",
            ),
        ),
        caught_by="tests/test_local_cluster.py::test_the_folder_of_all_nodes_survives_a_power_cut",
    ),
)
