"""How long customers wait when very many holds are due at the same time.

    python -m bench.due_holds [--holds 35000] [--nodes 3]

Holds are placed so that all are due within some 50 ms. One client credits meanwhile, one credit after
another. Printed are the longest time between two of its acknowledgements before the holds are due, and from
then on until all have ended; how long that took; and how many terms were used (0: no election).
"""

from __future__ import annotations

import argparse
import socket
import time
from itertools import pairwise
from threading import Event, Thread

from atm.client import Client
from atm.ledger.commands import ACTIVE_HOLDS_MAX, Credit, Hold, Open
from atm.local_cluster import LocalCluster
from atm.wire.client_messages import Reply, decode_client_reply
from atm.wire.codec import encode
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, FrameReader, frame
from bench.cluster import fresh_cluster

AT_ONCE = 250  # requests in flight while the holds are placed
PLACED_PER_S = 1_000  # at least: the holds are due when all are surely placed
ENDED_WITHIN_S = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.due_holds",
        description="Measure the longest wait when many holds are due at once.",
    )
    parser.add_argument("--holds", type=int, default=35_000, help="default: %(default)s")
    parser.add_argument("--nodes", type=int, default=3, help="default: %(default)s")
    options = parser.parse_args()
    with fresh_cluster(options.nodes) as cluster, Client(cluster.cluster, timeout=60.0) as client:
        leader = cluster.wait_for_leader()
        due_us = place(cluster, leader, options.holds)
        term = _term(cluster)
        acknowledged, ended_s = _credit_until_ended(client, due_us, options.holds)
        terms = _term(cluster) - term
    before = [later - earlier for earlier, later in pairwise(acknowledged) if later * 1e6 < due_us]
    after = [later - earlier for earlier, later in pairwise(acknowledged) if later * 1e6 >= due_us]
    print(
        f"{options.holds} holds: longest wait before they were due {max(before) * 1e3:.0f} ms, "
        f"then {max(after) * 1e3:.0f} ms"
    )
    print(f"ended within {ended_s:.1f} s; {terms} further terms")


def place(cluster: LocalCluster, leader: str, holds: int) -> int:
    """Place `holds` holds of one cent, all due at about the time that is returned, in microseconds."""
    with socket.create_connection(cluster.cluster.nodes[leader].client.pair) as sock:
        reader = FrameReader(CLIENT_FRAME_BYTES_MAX)
        accounts = _accounts(holds)
        for account in accounts:
            _ask(sock, reader, [encode(Open(id=f"open-{account}", account=account))])
            money = Credit(id=f"money-{account}", account=account, amount=ACTIVE_HOLDS_MAX)
            [paid] = _ask(sock, reader, [encode(money)])
        due_us = paid.time_us + int(1e6 * (5 + holds / PLACED_PER_S))
        now_us = paid.time_us
        for first in range(0, holds, AT_ONCE):
            expires_ms = (due_us - now_us) // 1000
            numbers = range(first, min(first + AT_ONCE, holds))
            asked = [
                encode(
                    Hold(
                        id=f"h{number}",
                        account=accounts[number // ACTIVE_HOLDS_MAX],
                        amount=1,
                        expires_ms=expires_ms,
                    )
                )
                for number in numbers
            ]
            placed = _ask(sock, reader, asked)
            assert {each.outcome for each in placed} == {"ok"}, placed[0]
            now_us = max(each.time_us for each in placed)
    return due_us


def _ask(sock: socket.socket, reader: FrameReader, requests: list[bytes]) -> list[Reply]:
    sock.sendall(b"".join(map(frame, requests)))
    replies: list[Reply] = []
    while len(replies) < len(requests):
        for payload in reader.feed(sock.recv(65536)):
            reply = decode_client_reply(payload)
            assert isinstance(reply, Reply), reply
            replies.append(reply)
    return replies


def _accounts(holds: int) -> list[str]:
    return [f"holder-{number}" for number in range(-(-holds // ACTIVE_HOLDS_MAX))]


def _credit_until_ended(client: Client, due_us: int, holds: int) -> tuple[list[float], float]:
    """Return when each credit was acknowledged, and how long after `due_us` nothing was held any more."""
    acknowledged: list[float] = []
    stop = Event()

    def credit() -> None:
        while not stop.is_set():
            client.credit("main", 1)
            acknowledged.append(time.time())

    thread = Thread(target=credit)
    while time.time() * 1e6 < due_us - 2_000_000:
        time.sleep(0.01)
    thread.start()
    try:
        while time.time() * 1e6 < due_us + 1e6 * ENDED_WITHIN_S:
            time.sleep(0.25)
            seen = map(client.query, _accounts(holds))
            if time.time() * 1e6 > due_us and all(each.balance == each.available for each in seen):
                break
        else:
            raise SystemExit(f"after {ENDED_WITHIN_S:.0f} s some holds have not ended")
        ended_s = time.time() - due_us / 1e6
    finally:
        stop.set()
        thread.join()
    return acknowledged, ended_s


def _term(cluster: LocalCluster) -> int:
    status = cluster.status(cluster.wait_for_leader())
    assert status is not None
    return status.term


if __name__ == "__main__":
    main()
