"""`python -m atm.web`: see main.py."""

import sys

from atm.programs import atm_web

if __name__ == "__main__":
    sys.exit(atm_web())
