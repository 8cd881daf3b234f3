"""A voter was down when another one got a vote with its new data folder, and does not know that it counts."""

from __future__ import annotations

from atm.wire.client_messages import TransferLeadership
from tests.simulation.script import Script


def test_a_voter_that_lags_elects_a_server_whose_new_folder_its_log_does_not_name() -> None:
    """Two of three have the entry with that vote, and one of them fails: the other two are a majority."""
    script = Script()
    script.remove("5000")
    script.add("5000")
    script.ask(TransferLeadership(id="transfer", node="5001"))
    script.wait_until(lambda: script.has_the_log_of("5001", "5000"), "5000 catches up")
    script.stop("5002")
    script.promote("5000")
    script.wait_until(lambda: script.has_the_log_of("5001", "5000"), "5000 votes again")
    script.stop("5001")
    script.start("5002")
    script.wait_until(lambda: script.has_the_log_of("5000", "5002"), "5002 elects 5000")
    script.start("5001")
    script.simulation._calm_down()
