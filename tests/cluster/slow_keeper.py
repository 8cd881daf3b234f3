"""A node that carries PINs over one at a time, slowly: `python -m tests.cluster.slow_keeper NODE …`.

`--of-lanes`: on PostgreSQL, still more slowly.
"""

from __future__ import annotations

import sys

from atm import local_cluster
from atm.server.group import pepper_keeper

PAUSE_S = 0.15
PAUSE_OF_LANES_S = 0.5  # several carry theirs over at once

if __name__ == "__main__":
    pepper_keeper.PAUSE_S, pepper_keeper.ACCOUNTS_AT_ONCE = PAUSE_S, 1
    if "--of-lanes" in sys.argv:
        sys.argv.remove("--of-lanes")
        pepper_keeper.PAUSE_S = PAUSE_OF_LANES_S
    sys.exit(local_cluster._run_node())
