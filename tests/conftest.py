"""What all tests share: how hypothesis looks for examples."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("atm", deadline=None, print_blob=True)  # a busy machine is no failure
settings.load_profile("atm")
