"""`python -m atm.office`: see main.py."""

import sys

from atm.office.main import main

if __name__ == "__main__":
    sys.exit(main())
