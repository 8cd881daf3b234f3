"""A server that was removed and added again leads, and another one comes to its removal in the log first."""

from __future__ import annotations

from atm.wire.client_messages import TransferLeadership
from tests.simulation.script import Script


def test_the_only_voter_is_not_ended_by_the_word_of_a_learner_that_lags() -> None:
    """Nobody else had the log, and the line said that its folder is no longer needed. Seed 21097."""
    script = Script()
    script.remove("5000")
    script.add("5000")
    script.promote("5000")
    script.remove("5001")
    script.remove("5002")
    script.add("5002")
    script.stop("5000")
    script.start("5000")  # the entry that names it is from before this start
    script.wait_until(lambda: script.has_the_log_of("5000", "5002"), "5002 catches up")
    script.simulation._calm_down()


def test_a_voter_that_lags_lets_in_the_leader_that_was_added_again() -> None:
    """Each of the two needs the other for a majority."""
    script = Script()
    script.add("5003")
    script.promote("5003")
    script.stop("5002")
    script.remove("5000")
    script.add("5000")
    script.promote("5000")
    script.remove("5003")
    script.ask(TransferLeadership(id="transfer", node="5000"))
    script.start("5002")
    script.wait_until(lambda: script.server("5002").core.leader == "5000", "5002 follows 5000", looks=100)
    assert script.server("5002").core.last_index < script.committed
    script.stop("5001")
    script.wait_until(lambda: script.has_the_log_of("5000", "5002"), "5002 catches up")
    script.simulation._calm_down()
