"""Starts the installed commands, so that Ctrl-C ends each without a traceback from the first line here on.

Only they import this module: it gives the signal its default action, which ends a program at once; a shell
tells that as 130. Once a program is loaded, it can say something about Ctrl-C, and takes the signal back.
"""

import _signal  # type: ignore[import-not-found]  # the part of `signal` that loads nothing

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # in the background it is ignored
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

import gc
from importlib import import_module


def _run(module: str) -> int:
    gc.disable()  # what is being loaded is no garbage: to look for it takes a tenth of a short command
    main = import_module(module).main
    gc.freeze()  # nor will it be: it is not looked at later either
    gc.enable()
    code: int = import_module("atm.command_line").interruptible(main)
    return code


def atm() -> int:
    """Run the teller."""
    return _run("atm.teller.main")


def atm_admin() -> int:
    """Run what operators of servers have."""
    return _run("atm.admin.main")


def atm_ledger() -> int:
    """Run the back office."""
    return _run("atm.office.main")


def atm_node() -> int:
    """Run one node."""
    return _run("atm.server.main")


def atm_run() -> int:
    """Run a bank on this machine, and the teller."""
    return _run("atm.run")


def atm_web() -> int:
    """Serve the bank's pages and its API."""
    return _run("atm.web.main")
