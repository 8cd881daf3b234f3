"""Servers' messages with absurd numbers, decoded as from the wire, stepped through the core and its log.

Here a server may break the protocol in any way: it can lead two terms at once. All is refused as `Malformed`
when it is decoded, or dropped and reported, or survived: no exception, in the core, in the encoding of its
answers, or in the log on disk. And whatever was said, there is room for the next campaign.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from random import Random
from types import TracebackType

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from atm.raft.checked import CheckedRaft
from atm.raft.config import RaftConfig
from atm.raft.log import Log
from atm.raft.messages import HardState, Outgoing, RaftMessage
from atm.raft.raft import Raft
from atm.raft.term_limit import TERM_MAX
from atm.storage.log_file import LogFile
from atm.wire.codec import Malformed, encode
from atm.wire.peer_messages import decode_peer_message
from tests.support.sim_disk import SimDisk

CONFIG = RaftConfig(node_id="n1", peers=("n2", "n3"), election_ticks_min=10, election_ticks_max=20)

# Mostly numbers that fit together, so that messages are believed, and now and then one that cannot be.
_small = st.integers(0, 6)
_absurd = st.sampled_from(
    [-(2**63), -5, -1, 2**31, 2**53, 2**62, 2**63 - 2, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1]
)
_numbers = _small | _small | _small | _absurd
_senders = st.sampled_from(["n2", "n3", "n2", "n3", "n1", "nobody", ""])
_configurations = st.lists(
    st.tuples(st.sampled_from(["n1", "n2", "n3", "nobody"]), st.booleans()),
    min_size=1,
    max_size=4,
    unique_by=lambda member: member[0],
).map(lambda members: (3, msgspec.msgpack.encode([members])))
_kinds_and_data = st.tuples(st.integers(0, 4), st.binary(max_size=5)) | _configurations | _configurations
_entries = st.lists(
    st.tuples(_numbers, _numbers, _numbers, _numbers, st.just(1), st.binary(max_size=5)), max_size=3
)
_appends_that_fit = st.builds(
    lambda sender, term, all_entries, commit: (
        *(3, sender, term, 0, 0),
        [(1 + k, term, 1 + k, kind, 1, data) for k, (kind, data) in enumerate(all_entries)],
        *(commit, 0),
    ),
    st.sampled_from(["n2", "n3", "nobody"]),
    st.integers(1, 6),
    st.lists(_kinds_and_data, max_size=4),
    _small,
)
_hashes = st.sampled_from(["", "0f" * 32, "0F", "0f" * 33])
_snapshots = st.tuples(
    _numbers, _small, _numbers, _numbers, _hashes, _hashes, st.binary(max_size=5), st.text(max_size=5)
)
_messages = st.one_of(
    st.tuples(st.just(1), _senders, _numbers, _numbers, _numbers, st.booleans()),
    st.tuples(st.just(1), _senders, _numbers, _numbers, _numbers, st.booleans(), st.booleans()),
    st.tuples(st.just(2), _senders, _numbers, st.booleans(), st.booleans()),
    st.tuples(st.just(3), _senders, _numbers, _numbers, _numbers, _entries, _numbers, _numbers),
    _appends_that_fit,
    st.tuples(st.just(4), _senders, _numbers, st.booleans(), _numbers, _numbers, _numbers, _numbers),
    st.tuples(st.just(5), _senders, _numbers, _snapshots, _numbers),
    st.tuples(st.just(6), _senders, _numbers, _numbers, st.booleans(), _numbers),
    st.tuples(st.just(7), _senders, _numbers),
)
_ticks = st.integers(1, 25)
_bytes = _messages.map(msgspec.msgpack.encode)

Event = int | bytes  # so many ticks of time, or a message


class Core:
    """One server of three, with its log on a disk in memory."""

    name = "core"
    inputs: SearchStrategy[list[Event]] = st.lists(_bytes | _ticks, min_size=1, max_size=12)

    def __enter__(self) -> Core:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is kept outside memory."""

    def saved(self) -> list[list[Event]]:
        return []

    def attempt(self, given: list[Event]) -> str:
        disk = SimDisk(Random(0))
        with closing(LogFile(Path("/data/n1"), disk=disk)) as log:
            raft = CheckedRaft(
                CONFIG, hard_state=HardState(), log=Log(), applied_index=0, random=Random(0).randint
            )
            self._refused = malformed = 0
            for event in given:
                try:
                    self._take(raft, event)
                    self._perform(raft, log)
                except Malformed:
                    malformed += 1
            held = (log.hard_state, log.tail(1))
        with closing(LogFile(Path("/data/n1"), disk=disk)) as again:
            assert (again.hard_state.term, again.hard_state.voted_for) == (held[0].term, held[0].voted_for)
            assert again.tail(1) == held[1]
        assert held[0].term <= TERM_MAX, "the next campaign would not decode"
        if self._refused:
            return "a violation refused"
        return "survived" if malformed < len(given) else "malformed"

    def finish(self) -> None:
        """Nothing can be left behind."""

    def _take(self, raft: Raft, event: Event) -> None:
        if isinstance(event, int):
            for _ in range(event):
                raft.tick()
            return
        message = decode_peer_message(event)
        assert isinstance(message, RaftMessage)
        self._refused += raft.step(message) is not None

    def _perform(self, raft: Raft, log: LogFile) -> None:
        while (ready := raft.ready()) is not None:
            self._send(ready.messages)
            log.save(ready.hard_state, ready.entries)
            self._send(ready.messages_after_sync)
            raft.advance(ready)
            if ready.install is not None:
                raft.install_failed(ready.install)  # nothing can be fetched of what was made up

    def _send(self, outgoing: tuple[Outgoing, ...]) -> None:
        for each in outgoing:
            decode_peer_message(encode(each.message))
