"""How long no client is served after a leader dies, measured at every survivor at once."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable, Iterator, Sequence

from bench.load import Connection
from bench.systems.system import NotStarted
from bench.work import HOT_ACCOUNT, Kind

PROBE_S = 0.01  # each survivor is asked for another write this often: the result is no finer
GIVE_UP_S = 30.0


class _Probe:
    """Asks one survivor again and again, on a new connection when the old one breaks."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._asked_s: list[float] = []

    def fileno(self) -> int:
        return self._connection.fileno() if self._connection else -1

    def ask(self) -> None:
        with self._reconnecting():
            if self._connection is None:
                self._connection, self._asked_s = self._connect(), []
            self._asked_s.append(time.monotonic())
            self._connection.send([(Kind.CREDIT, HOT_ACCOUNT)])

    def acknowledged(self) -> list[float]:
        """Return when what is acknowledged now was asked for; refusals count as no answer."""
        with self._reconnecting():
            if self._connection is not None:
                numbers = self._connection.receive()
                self._connection.refused.clear()
                return [self._asked_s[number] for number in numbers]
        return []

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    @contextlib.contextmanager
    def _reconnecting(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self.close()
            self._connection = None


def outage_ms(survivors: Sequence[Callable[[], Connection]], kill: Callable[[], None]) -> float:
    """Return the time from `kill` to the first acknowledgement of a write that was asked for after it.

    Any survivor will do. Kills only once each of them serves; raise `NotStarted` if none does for too long.
    """
    probes = [_Probe(connect) for connect in survivors]
    try:
        unserved = set(probes)
        for probe, _ in _answers(probes):
            unserved.discard(probe)
            if not unserved:
                break
        killed_s = time.monotonic()
        kill()
        for _, asked_s in _answers(probes):
            if asked_s >= killed_s:
                break
        return (time.monotonic() - killed_s) * 1000
    finally:
        for probe in probes:
            probe.close()


def _answers(probes: Sequence[_Probe]) -> Iterator[tuple[_Probe, float]]:
    """Ask on and on; yield, as writes are acknowledged, who was asked and when."""
    give_up_s = time.monotonic() + GIVE_UP_S
    ask_s = 0.0
    while (now_s := time.monotonic()) < give_up_s:
        if now_s >= ask_s:
            ask_s = now_s + PROBE_S
            for probe in probes:
                probe.ask()
        open_ones = [probe for probe in probes if probe.fileno() >= 0]
        ready, _, _ = select.select(open_ones, [], [], max(0.0, ask_s - time.monotonic()))
        for probe in ready:
            for asked_s in probe.acknowledged():
                yield probe, asked_s
    raise NotStarted(f"no write was acknowledged within {GIVE_UP_S:g} s")
