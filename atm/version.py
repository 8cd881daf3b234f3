"""Which release this is, and what it speaks and understands; docs/upgrade.md says when to change what."""

from __future__ import annotations

from typing import Final

RELEASE: Final = "1.1.0"

# Versions of what servers say to each other: two of them speak the highest that both know.
PROTOCOL_MIN: Final = 3
PROTOCOL_MAX: Final = 3

# What may stand in the log. A cluster begins at level 1; a committed entry raises it, to what all its members
# know, and it never falls.
FEATURE_LEVEL_MAX: Final = 1
