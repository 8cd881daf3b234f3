"""Which lane an account belongs to."""

from __future__ import annotations

import hashlib


def lane_of(account: str, lanes: int) -> int:
    """Return the lane of an account; the same for ever, as the number of lanes never changes."""
    if lanes == 1:
        return 0
    return int.from_bytes(hashlib.sha256(account.encode()).digest()[:8]) % lanes
