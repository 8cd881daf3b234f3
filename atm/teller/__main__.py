"""`python -m atm.teller` is bin/atm."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # the imports take a while: Ctrl-C ends them without a traceback


def run() -> int:
    """Run the teller; Ctrl-C is its own from its first line to its exit code."""
    from atm.teller.main import main  # noqa: PLC0415 - not before Ctrl-C is harmless

    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = main()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    return code


if __name__ == "__main__":
    sys.exit(run())
