"""Planted defects of files that must survive a power cut."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

TESTS = "tests/test_files.py::"

FILES = (
    Mutant(
        name="part of a write taken for the whole",
        what="a file is cut off where the disk was nearly full, and said to be whole",
        edits=(
            Edit(
                "write_and_sync",
                "while unwritten_: unwritten_ = unwritten_[os.write(descriptor_, unwritten_) :]",
                "os.write(descriptor_, unwritten_)",
            ),
        ),
        caught_by=TESTS + "test_a_write_that_takes_only_a_part_is_gone_on_with",
    ),
    Mutant(
        name="new file's name not synced",
        what="a power cut takes the pepper that PINs have been sealed with",
        edits=(Edit("create_durably", "sync_folder(...)", "pass"),),
        caught_by=TESTS + "test_a_file_is_created_under_another_name_synced_linked_and_its_folder_synced",
    ),
    Mutant(
        name="new file linked before it is synced",
        what="of servers that start at once, one reads a pepper that a power cut empties",
        edits=(
            Edit(
                "create_durably",
                """
                write_and_sync(descriptor_, content_)
                with contextlib.suppress(FileExistsError):
                    os.link(unfinished_, path_)
                """,
                """
                with contextlib.suppress(FileExistsError):
                    os.link(unfinished_, path_)
                write_and_sync(descriptor_, content_)
                """,
            ),
        ),
        caught_by=TESTS + "test_a_creation_that_fails_at_any_call_leaves_nothing_or_the_whole",
    ),
    Mutant(
        name="folders above not synced",
        what="a data_dir that was made with its parents vanishes in a power cut",
        edits=(Edit("files:make_folder", "sync_folder(...)", "pass"),),
        caught_by=TESTS + "test_folders_above_are_durable_and_the_folder_itself_once_its_parent_is_synced",
    ),
)
