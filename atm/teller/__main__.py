"""`python -m atm.teller` is bin/atm."""

import sys

from atm.programs import atm

if __name__ == "__main__":
    sys.exit(atm())
