"""Starts a command by its name in `atm.programs`; Ctrl-C ends it without a traceback from here on.

Run with `-S`: the modules of the site take longer to load than all that comes before the first line here. The
program itself takes the signal back once it can say something about it.
"""

import _signal  # the part of `signal` that loads nothing

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # in the background it is ignored
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

import site
import sys

site.main()

from atm import programs  # noqa: E402 - it is found only now

sys.exit(getattr(programs, sys.argv.pop(1))())
