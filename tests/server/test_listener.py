"""Why a listener cannot listen, in a line that says what to do."""

from __future__ import annotations

import pytest

from atm.config import Address
from atm.server.net.connection import Connection
from atm.server.net.listener import AddressUnavailable, Listener


@pytest.mark.parametrize(
    ("host", "line"),
    [
        ("192.0.2.7", "cannot listen on 192.0.2.7:5000: this machine does not have that address"),
        ("no-such-host.invalid", r"cannot listen on no-such-host.invalid:5000: .*Check the address"),
    ],
)
def test_an_address_that_is_not_of_this_machine_is_not_called_a_taken_port(host: str, line: str) -> None:
    with pytest.raises(AddressUnavailable, match=line):
        Listener[Connection](Address(host, 5000), connections_max=1, report=print, verbose=False)
