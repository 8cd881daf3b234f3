"""`python -m atm.admin`: see main.py."""

import sys

from atm.programs import atm_admin

if __name__ == "__main__":
    sys.exit(atm_admin())
