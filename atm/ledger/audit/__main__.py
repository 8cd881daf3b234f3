"""`python -m atm.ledger.audit LEDGER.DB`."""

from __future__ import annotations

import sys

from atm.ledger.audit.auditing import main

sys.exit(main())
