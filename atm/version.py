"""Release, protocol versions and feature level; docs/upgrade.md says when to change which."""

from __future__ import annotations

from typing import Final

RELEASE: Final = "1.2.0"

# Versions of the protocol between servers: two of them use the highest that both know.
PROTOCOL_MIN: Final = 3
PROTOCOL_MAX: Final = 4

# What the log may contain. A cluster begins at level 1; a committed entry raises the level to what all
# members know; it never falls.
FEATURE_LEVEL_MAX: Final = 2
