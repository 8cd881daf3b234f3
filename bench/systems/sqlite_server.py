"""The server of the `sqlite` system; its argument is a folder. Prints its port and serves.

Tellers' connections, inbox and ledger are those of a node; where a node agrees with others, this one
commits. It ends when its standard input does.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from pathlib import Path
from threading import Lock

from atm.config import Address
from atm.events.event import Header
from atm.events.recorder import FlightRecorder
from atm.ledger.commands import Command, LedgerReceipt, LoggedCommand, Read
from atm.ledger.database import FULL
from atm.ledger.ledger import Ledger, Record
from atm.server.clients.auditor import Auditor
from atm.server.clients.backup_source import BackupSource
from atm.server.clients.client_server import ClientServer
from atm.server.clients.deed_notes import DeedNotes
from atm.server.clients.event_source import EventSource
from atm.server.clients.pin_service import PinService
from atm.server.group.inbox import Inbox, PendingRequest
from atm.server.logger.logger import Collected, Logger
from atm.server.net.reader import Reader
from atm.server.security.peppers import read_peppers
from atm.server.security.pins import PinSealer
from atm.wire.client_messages import Reply
from atm.wire.codec import encode

IDLE_S = 0.05


class Clerk:
    """Does what the run loop, the request router and the log of a node do together."""

    def __init__(self, folder: Path) -> None:
        path = folder / "ledger.db"
        self._ledger = Ledger(path, synchronous=FULL)  # here no log makes up for what a power cut takes
        self._lock = Lock()  # guards the inbox
        self._inbox = Inbox(self._lock)
        sealer = PinSealer(read_peppers(folder / "pepper.key"))
        self._auditor = Auditor("sqlite", path)
        self._reader = Reader(self._inbox.put_gathered, self._fail)
        self._tellers = ClientServer(
            Address("127.0.0.1", 0),
            self._inbox,
            self._reader,
            PinService(
                sealer,
                self._inbox,
                feature_level=lambda: self._ledger.cluster.feature_level,
                pepper=lambda: self._ledger.pepper,
            ),
            self._auditor,
            BackupSource(folder),
            DeedNotes("sqlite", self._inbox, lambda: 0, lambda: 0),  # it has no log to record them in
            EventSource(FlightRecorder("sqlite", time.monotonic_ns), lambda: Header(node="sqlite")),
            take_snapshot=lambda: (0, "there is no log to cut"),
            logger=Logger(Collected(lambda record: _report(record.msg), logging.WARNING)),
        )
        self._stopping = False
        self.port = self._tellers.port

    def stop(self) -> None:
        """Let `run` return soon."""
        self._stopping = True

    def _fail(self, error: BaseException) -> None:
        _report(f"nothing is read any more: {error!r}")
        self.stop()

    def run(self) -> None:
        """Serve until `stop`."""
        self._reader.start()
        self._tellers.start()
        while not self._stopping:
            self._inbox.sleep(IDLE_S)
            with self._lock:
                inputs = self._inbox.drain()
            self._commit(inputs.commands)
            for pending in inputs.queries:
                assert isinstance(pending.request, Read)
                _answer(pending, self._ledger.view(pending.request))
            self._tellers.flush()
            self._tellers.retry()
        self._tellers.close()
        self._reader.close()
        self._auditor.close()
        self._ledger.close()

    def _commit(self, commands: list[PendingRequest]) -> None:
        first, now_us = self._ledger.applied_index + 1, time.time_ns() // 1000
        records: list[Record] = []
        for index, pending in enumerate(commands, first):
            assert isinstance(pending.request, Command)
            records.append((index, now_us, LoggedCommand(pending.actor, pending.request)))
        for pending, receipt in zip(commands, self._ledger.apply(records), strict=True):
            assert receipt is not None
            _answer(pending, receipt)


def _answer(pending: PendingRequest, decided: LedgerReceipt) -> None:
    pending.channel.reply(pending.number, encode(Reply.of(decided)))


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _stop_with_stdin(clerk: Clerk) -> None:
    os.read(0, 1)
    clerk.stop()


def main() -> None:
    """Serve until the standard input ends."""
    clerk = Clerk(Path(sys.argv[1]))
    threading.Thread(target=_stop_with_stdin, args=(clerk,), daemon=True).start()
    print(clerk.port, flush=True)
    clerk.run()


if __name__ == "__main__":
    main()
