"""An old copy of a data folder is put back, and is started again before those meet it who can know."""

from __future__ import annotations

import pytest

from tests.simulation.script import Script


@pytest.mark.parametrize("unmet_starts", [0, 1, 5])
def test_an_old_copy_has_no_vote_however_often_it_was_started_before_it_is_met(unmet_starts: int) -> None:
    """What it and the leader had committed was not on the only other server, which it elected. Seed 21217."""
    script = Script()
    script.wait_until(lambda: script.committed > 1, "there is service")
    script.stop("5000")
    script.server("5000").storage.take_copy()
    script.start("5000")
    script.wait_until(lambda: all(script.has_seen(by, "5000") for by in ("5001", "5002")), "it is seen")
    script.stop("5002")
    enough = script.committed + 5
    script.wait_until(lambda: script.committed >= enough, "two of three go on")
    script.stop("5001")
    script.stop("5000")
    script.server("5000").restore()
    for _ in range(unmet_starts):
        script.start("5000")
        script.stop("5000")
    script.start("5000")
    script.start("5002")
    script.wait_until(lambda: script.server("5000").fired["old copy found"] > 0, "it gives its vote up")
    script.start("5001")
    script.simulation._calm_down()


def test_a_copy_is_put_back_only_where_each_other_server_can_know() -> None:
    script = Script()
    script.stop("5002")
    script.stop("5000")
    script.server("5000").storage.take_copy()
    script.start("5000")
    script.wait_until(lambda: script.has_seen("5001", "5000"), "one has seen it")
    assert not script.server("5000").has_old_copy
    script.start("5002")
    script.wait_until(lambda: script.has_seen("5002", "5000"), "both have seen it")
    assert script.server("5000").has_old_copy
