"""`python -m atm.admin`: see main.py."""

import sys

from atm.admin.main import main

if __name__ == "__main__":
    sys.exit(main())
