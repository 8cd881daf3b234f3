"""The bank of the fake nodes, with all its rules: a ledger in memory, without servers between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import cast

import msgspec

from atm.ledger.commands import (
    Command,
    Expire,
    LedgerReceipt,
    LevelRaise,
    LogCommand,
    Read,
    ReadResult,
)
from atm.ledger.ledger import Ledger
from atm.wire.request_decoding import decode_client_request
from tests.support.entries import logged
from tests.support.fake_node import FakeBank, Map

OPENED_US = 1_795_341_600_000_000  # 2026-11-22 10:00:00
SECOND_US = 1_000_000


class LedgerBank(FakeBank):
    """Decides requests in the order in which they come, one a second of the bank's time; PINs stay plain."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(":memory:")
        self.time_us = OPENED_US
        self.before: dict[str, Callable[[], object]] = {}  # what happens once, before such a request
        self._entry = threading.Lock()

    def decide(self, request: Map) -> Map:
        happening = self.before.pop(request["op"], None)
        if happening is not None:
            happening()
        with self._entry:
            self.requests.append(request)
            asked = decode_client_request(msgspec.msgpack.encode(request))
            assert isinstance(asked, Command | Read)
            answer: LedgerReceipt | ReadResult | None
            answer = self.ledger.view(asked, self.time_us) if isinstance(asked, Read) else self._apply(asked)
            return cast(Map, msgspec.to_builtins(answer))

    def end_holds(self, after_s: int) -> None:
        """Let time pass, and end the holds that are due."""
        with self._entry:
            self.time_us += after_s * SECOND_US
            self._apply(Expire())

    def raise_level(self) -> None:
        """Go on at feature level 2."""
        with self._entry:
            self.time_us += SECOND_US
            self.ledger.apply([(self.ledger.applied_index + 1, self.time_us, LevelRaise(2))])

    def _apply(self, command: LogCommand) -> LedgerReceipt | None:
        self.time_us += SECOND_US
        (receipt,) = self.ledger.apply([(self.ledger.applied_index + 1, self.time_us, logged(command))])
        return receipt
