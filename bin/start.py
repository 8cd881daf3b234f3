"""Starts a program as `python -m` does, but Ctrl-C ends it without a traceback from its first moment on.

Run with `-S`: the modules of the site take longer to load than all that comes before the first line here. The
program itself takes the signal back once it can say something about it.
"""

import _signal  # the part of `signal` that loads nothing

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # in the background it is ignored
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

import runpy
import site
import sys

site.main()
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
