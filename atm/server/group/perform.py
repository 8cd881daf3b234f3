"""The order of effects: what a server does about a `Ready`, and in which order.

Written against interfaces, so that the simulation runs this very function over a simulated network and disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec.structs import replace

from atm.events.recorder import FlightRecorder
from atm.ledger.commands import LedgerReceipt
from atm.ledger.ledger import Record
from atm.raft import CatchUp, ConfirmedRead, Entry, HardState, Outgoing, Ready
from atm.storage.log_index import LogBase

CATCH_UP_BYTES_MAX = 256 * 1024


class DurableLog(Protocol):
    """What `perform` needs of the log's file."""

    def save(self, hard_state: HardState, entries: Sequence[Entry]) -> None:
        """Make term, vote and entries durable before returning; raise if that failed."""

    def reset(self, base: LogBase) -> None:
        """Empty the log durably; it goes on after `base`."""

    def read_entries(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        """Return saved entries from `first` on: at least one, up to `last` or `bytes_max`."""


class Network(Protocol):
    """What `perform` needs of the links to the other servers."""

    def send(self, outgoing: Sequence[Outgoing]) -> None:
        """Send now what can be sent, without waiting; the rest may be lost."""


class StateMachine(Protocol):
    """What `perform` needs of the ledger: it decides commands in memory."""

    def decide(self, records: Sequence[Record]) -> list[LedgerReceipt | None]:
        """Apply in memory, and return the receipt of each; the file need not be written yet."""


class ResultSink(Protocol):
    """Where results go: the router, which knows the request that waits for each."""

    def on_committed(self, committed: Sequence[Entry], receipts: Sequence[LedgerReceipt | None]) -> None:
        """Reply to the requests that these committed entries were proposed for."""

    def answer_reads(self, reads: Sequence[ConfirmedRead]) -> None:
        """Reply to these reads from the ledger as it is now."""

    def drop_reads(self, read_ids: Sequence[int]) -> None:
        """Refuse these reads: this node no longer leads."""


class ValidatedEntries(Protocol):
    """The entries that were validated when they came into the log, decoded."""

    def record(self, entry: Entry) -> Record:
        """Return an entry as the ledger applies it."""


def perform(
    ready: Ready,
    log: DurableLog,
    network: Network,
    ledger: StateMachine,
    clients: ResultSink,
    validator: ValidatedEntries,
    recorder: FlightRecorder,
) -> None:
    """Do what the core wants done, in the order that `Ready` states; `install` is left to the caller.

    No reply waits for the ledger's file: what was decided follows from the log, and the log is durable.
    """
    recorder.on_ready(ready)
    network.send(_at_once(ready, log))  # a leader replicates while its own disk syncs (thesis 10.2.1)
    if ready.reset_log is not None:
        start = ready.reset_log
        log.reset(LogBase(start.index, start.term, start.time_us, installed=True))
    log.save(ready.hard_state, ready.entries)
    network.send(ready.messages_after_sync)  # promises only once they are durable
    recorder.on_saved(ready)
    if ready.committed:
        receipts = ledger.decide([validator.record(entry) for entry in ready.committed])
        clients.on_committed(ready.committed, receipts)
        recorder.on_applied(ready, receipts)
    clients.answer_reads(ready.reads)
    recorder.on_reads(ready)
    clients.drop_reads(ready.dropped_reads)


def _at_once(ready: Ready, log: DurableLog) -> Sequence[Outgoing]:
    if not ready.catch_ups:
        return ready.messages
    return (*ready.messages, *(_from_disk(catch_up, log) for catch_up in ready.catch_ups))


def _from_disk(catch_up: CatchUp, log: DurableLog) -> Outgoing:
    first = catch_up.append.prev_log_index + 1
    entries = log.read_entries(first, catch_up.last_index, CATCH_UP_BYTES_MAX)
    assert entries, f"no entry at {first}"
    assert entries[0].index == first, f"the log answered {entries[0].index} for {first}"
    return Outgoing(catch_up.to, replace(catch_up.append, entries=tuple(entries)))
