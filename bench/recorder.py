"""What the flight recorder costs a leader: `python -m bench.recorder`.

Prints, for rounds of replication of several sizes among five servers, the microseconds of a processor that
all notes of such a round take, by the round and by the credit, and the bytes that a full ring holds. Nothing
is sent or synced: this is what the recorder adds to an iteration, and not how long one takes.
"""

from __future__ import annotations

import time
import tracemalloc

from tabulate import tabulate

from atm.events.recorder import BUSY_MAX, FlightRecorder
from atm.ledger.commands import Credit, LedgerReceipt, Outcome
from atm.raft import AppendEntries, AppendEntriesResponse, Entry, EntryKind, HardState, Outgoing, Ready, Role
from atm.server.group.inbox import PendingRequest
from atm.wire.codec import encode
from atm.wire.log_entries import command_data

PEERS = ("5001", "5002", "5003", "5004")
SIZES = (1, 16, 64, 256)
ROUNDS, TRIES = 5_000, 7


class Nobody:
    """Where no reply goes."""

    def reply(self, number: int, payload: bytes) -> None: ...


class Round:
    """What a leader handles in one round of replication of `size` credits, from the entry at `first` on."""

    def __init__(self, size: int, first: int) -> None:
        credits = [
            Credit(id=f"1M8NJBEW3D10SX{first + place:06}", account="ann", amount=5) for place in range(size)
        ]
        self.arrived = [PendingRequest(Nobody(), 1, each, encode(each), "local") for each in credits]
        entries = tuple(
            Entry(
                index=first + place,
                term=3,
                time_us=first + place,
                kind=EntryKind.COMMAND,
                data=command_data("local", encode(each)),
            )
            for place, each in enumerate(credits)
        )
        append = AppendEntries(
            sender="5000",
            term=3,
            prev_log_index=first - 1,
            prev_log_term=3,
            entries=entries,
            leader_commit=first - 1,
            round=7,
        )
        state = HardState(term=3, voted_for="5000", commit_index=first + size - 1)
        messages = tuple(Outgoing(peer, append) for peer in PEERS)
        self.answers = [
            AppendEntriesResponse(
                sender=peer,
                term=3,
                success=True,
                match_index=first + size - 1,
                conflict_index=0,
                conflict_term=0,
                round=7,
            )
            for peer in PEERS
        ]
        self.sends = Ready(
            messages=messages, hard_state=state, entries=entries, role=Role.LEADER, leader="5000"
        )
        self.applies = Ready(hard_state=state, committed=entries, role=Role.LEADER, leader="5000")
        self.receipts = [
            LedgerReceipt(
                id=each.id,
                outcome=Outcome.OK,
                balance=5,
                available=5,
                log_index=first + place,
                time_us=first + place,
            )
            for place, each in enumerate(credits)
        ]

    def note(self, recorder: FlightRecorder) -> None:
        """Note all of it, as two iterations of the run loop and what they perform do."""
        recorder.on_messages(())
        recorder.on_requests(self.arrived)
        recorder.on_ready(self.sends)
        recorder.on_saved(self.sends)
        recorder.on_reads(self.sends)
        recorder.on_messages(self.answers)
        recorder.on_ready(self.applies)
        recorder.on_saved(self.applies)
        recorder.on_applied(self.applies, self.receipts)
        recorder.on_reads(self.applies)


def main() -> None:
    """Measure, and print."""
    rows = []
    for size in SIZES:
        rounds = [Round(size, 1 + size * number) for number in range(50)]
        best = min(_seconds(rounds) for _ in range(TRIES)) / ROUNDS * 1e6
        rows.append((size, best, best / size, _ring_bytes(size) / 2**20))
    print(
        tabulate(
            rows,
            headers=["credits a round", "µs a round", "µs a credit", "MiB of a full ring"],
            floatfmt=".2f",
        )
    )


def _seconds(rounds: list[Round]) -> float:
    recorder = FlightRecorder("5000", time.monotonic_ns)
    started = time.process_time()
    for number in range(ROUNDS):
        rounds[number % len(rounds)].note(recorder)
    return time.process_time() - started


def _ring_bytes(size: int) -> int:
    """Return what the recorder keeps alive once nobody else holds the rounds."""
    recorder = FlightRecorder("5000", time.monotonic_ns)
    tracemalloc.start()
    for number in range(BUSY_MAX):
        Round(size if number > BUSY_MAX - 1200 else 1, 1 + size * number).note(recorder)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held


if __name__ == "__main__":
    main()
