"""`python -m atm.teller` is bin/atm."""

import sys

from atm.teller.main import main

sys.exit(main())
