"""Planted defects of what /learn is served from."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

ASSETS = "tests/lessons/test_assets.py::"

LEARN = (
    Mutant(
        name="assets of any contents kept",
        what="whatever a registry or a mirror sends is served to browsers as Python",
        edits=(Edit("learn.fetch:_adopt", "found_ != asset_.sha256", "False"),),
        caught_by=f"{ASSETS}test_a_file_with_other_contents_is_not_kept",
    ),
    Mutant(
        name="damaged assets left as they are",
        what="a file of the right size with other contents is never brought anew",
        edits=(Edit("learn.assets:damaged", "sha256_of(path_) != asset_.sha256", "False"),),
        caught_by=f"{ASSETS}test_a_damaged_file_is_brought_anew",
    ),
    Mutant(
        name="archive by the places of its files",
        what="equal sources make other archives in each checkout",
        edits=(
            Edit(
                "learn.bundle:sources",
                "zipfile.ZipInfo(path_.relative_to(root_).as_posix(), MOMENT)",
                "zipfile.ZipInfo(path_.as_posix(), MOMENT)",
            ),
        ),
        caught_by=f"{ASSETS}test_equal_sources_make_equal_archives_with_all_that_runs",
    ),
)
