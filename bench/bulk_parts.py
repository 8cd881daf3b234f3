"""What each step of a submitted command costs: processor time, each step in a loop of its own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from atm.client.receipt import receipt_of
from atm.client.request_rules import check_request
from atm.ledger.commands import LOCAL, Command, LedgerReceipt, LoggedCommand
from atm.ledger.ledger import Ledger, Record
from atm.raft import Entry, EntryKind, HardState
from atm.storage.log_format import encode_batch
from atm.wire.client_messages import Reply, decode_client_reply
from atm.wire.codec import encode
from atm.wire.framing import LENGTH_BYTES, frame
from atm.wire.log_entries import command_data, decode_command
from atm.wire.request_decoding import decode_client_request

MARK = bytes(8)
BATCH = 250  # commands of a round of replication
FIRST_US = 1_700_000_000_000_000

Parts = dict[str, float]  # microseconds a command


class _Clock:
    """Adds up what steps take."""

    def __init__(self) -> None:
        self.parts: Parts = {}

    @contextmanager
    def step(self, name: str, count: int) -> Iterator[None]:
        started_s = time.process_time()
        yield
        spent_us = (time.process_time() - started_s) * 1e6
        self.parts[name] = self.parts.get(name, 0.0) + spent_us / count


def parts_of(openings: list[Command], commands: list[Command]) -> Parts:
    """Return what each step costs a command; `openings` are applied before and not measured."""
    clock, count = _Clock(), len(commands)
    with clock.step("client: check", count):
        for command in commands:
            check_request(command)
    with clock.step("client: encode, frame", count):
        frames = [frame(encode(command)) for command in commands]
    payloads = [each[LENGTH_BYTES:] for each in frames]
    with clock.step("leader: decode the request", count):
        for payload in payloads:
            decode_client_request(payload)
    with clock.step("leader: make the entry", count):
        data = [command_data(LOCAL, payload) for payload in payloads]
    state = HardState(term=1, voted_for=None, commit_index=0)
    with clock.step("every server: encode the log's batch", count):
        entries = [
            Entry(index=number, term=1, time_us=FIRST_US + number, kind=EntryKind.COMMAND, data=each)
            for number, each in enumerate(data, 1)
        ]
        for first in range(0, count, BATCH):
            encode_batch(MARK, 0, 1, state, entries[first : first + BATCH])
    with clock.step("every server: decode the entry", count):
        logged = [decode_command(each) for each in data]
    receipts = _apply(clock, [LoggedCommand(LOCAL, each) for each in openings], logged)
    with clock.step("leader: encode the reply", count):
        replies = [encode(Reply.of(receipt, "n1")) for receipt in receipts]
    with clock.step("client: decode the reply", count):
        decoded = [decode_client_reply(reply) for reply in replies]
    with clock.step("client: receipt", count):
        for command, reply in zip(commands, decoded, strict=True):
            assert isinstance(reply, Reply)
            receipt_of(command, reply)
    return clock.parts


def _apply(clock: _Clock, openings: list[LoggedCommand], logged: list[LoggedCommand]) -> list[LedgerReceipt]:
    receipts: list[LedgerReceipt] = []
    with (
        tempfile.TemporaryDirectory(prefix="atm-bench-") as folder,
        closing(Ledger(Path(folder, "ledger.db"))) as ledger,
    ):
        ledger.apply(_records(1, openings))
        for first in range(0, len(logged), BATCH):
            batch = _records(len(openings) + 1 + first, logged[first : first + BATCH])
            with clock.step("every server: decide", len(logged)):
                decided = ledger.decide(batch)
            with clock.step("every server: write the ledger", len(logged)):
                ledger.write()
            receipts += [receipt for receipt in decided if receipt is not None]
    return receipts


def _records(first_index: int, logged: list[LoggedCommand]) -> list[Record]:
    return [(index, FIRST_US + index, command) for index, command in enumerate(logged, first_index)]
