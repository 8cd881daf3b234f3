"""A node that carries PINs over one at a time, slowly: `python -m tests.cluster.slow_keeper NODE …`."""

from __future__ import annotations

import sys

from atm import local_cluster
from atm.server.group import pepper_keeper

PAUSE_S = 0.15

if __name__ == "__main__":
    pepper_keeper.PAUSE_S, pepper_keeper.ACCOUNTS_AT_ONCE = PAUSE_S, 1
    sys.exit(local_cluster._run_node())
