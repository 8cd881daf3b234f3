"""What the simulated operator does of itself, as a careful one would."""

from __future__ import annotations

from atm.wire.client_messages import MoveMember
from tests.simulation.script import Script


def test_a_server_is_started_where_it_is_announced_although_no_answer_said_that_it_is() -> None:
    """Else, with an old cluster.ini elsewhere, two servers may not find each other. Seed 50125."""
    script = Script()
    script.ask(MoveMember(id="move", node="5000", peer="n5000:2", client="n5000:1002"))
    assert script.server("5000").place == 1
    script.simulation._calm_down()
    assert script.server("5000").place == 2
