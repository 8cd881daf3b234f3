"""`python -m atm.office`: see main.py."""

import sys

from atm.programs import atm_ledger

if __name__ == "__main__":
    sys.exit(atm_ledger())
