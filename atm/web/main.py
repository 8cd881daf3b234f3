"""bin/web: serves the bank's pages and its API over HTTP. docs/web.md explains it."""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from atm.checkout import checkout, command_here
from atm.command_line import (
    OneLineParser,
    add_certificate,
    add_config,
    add_version,
    complain,
    interruptible,
    program_name,
)
from atm.config import Address, ConfigError, default_config, parse_address
from atm.files import keep_private
from atm.local_faults import FaultClient

PROGRAM: Final = "web"
DEFAULT_LISTEN: Final = Address("localhost", 8080)
FAILED, USAGE = 1, 2
NICENESS = 5  # beside servers of the bank, those come first
NEEDED = ("starlette", "uvicorn")


class CannotListen(Exception):
    """`str()` is a line for people."""


def main(argv: Sequence[str] | None = None, *, faults: FaultClient | None = None) -> int:
    """Serve until SIGINT or SIGTERM; return the exit code. Only bin/run gives `faults`."""
    options = _options(argv)
    keep_private()
    program = program_name(PROGRAM)
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        complain(program, f"it needs {' and '.join(missing)}: {_how_to_install()}")
        return USAGE
    try:
        refusal = _refusal(options)
        if refusal:
            complain(program, refusal)
            return USAGE
        return _serve(options, faults)
    except ConfigError as error:
        complain(program, str(error))
        return USAGE
    except CannotListen as error:
        complain(program, str(error))
        return FAILED


def _serve(options: argparse.Namespace, faults: FaultClient | None) -> int:
    from atm.web.app import create_app  # noqa: PLC0415 - with the extra [web] only
    from atm.web.bank import Bank  # noqa: PLC0415
    from atm.web.guard import LOOPBACK_HOSTS  # noqa: PLC0415
    from atm.web.serving import serve  # noqa: PLC0415

    config: Path = options.config or default_config()
    bank = Bank(config, cert=options.cert, key=options.key, user_header=options.user_header)
    listener = listen(options.listen)
    hosts = LOOPBACK_HOSTS | {name.lower() for name in options.host} | {options.listen.host.lower()}
    port = listener.getsockname()[1]
    os.nice(NICENESS)
    print(f"The bank is at http://{Address(options.listen.host, port)}/", flush=True)
    serve(create_app(bank, hosts=hosts, faults=faults), listener)
    return 0


def listen(address: Address) -> socket.socket:
    """Return a socket that listens; raise `CannotListen`."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            *address.pair, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with contextlib.ExitStack() as until_it_listens:
            listener = until_it_listens.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen(128)
            until_it_listens.pop_all()
    except OSError as error:
        raise CannotListen(
            f"cannot listen on {address}: {error.strerror}. Give another address with --listen"
        ) from error
    return listener


def _refusal(options: argparse.Namespace) -> str | None:
    """Return why it does not start: a line for people."""
    if not options.insecure and not _is_loopback(options.listen.host):
        return (
            f"whoever reaches {options.listen} could do with the bank what this server may, and see it all "
            "on the way: listen on localhost behind a proxy that does TLS and asks who it is "
            "(docs/web.md), or say --insecure"
        )
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _how_to_install() -> str:
    if checkout() is None:
        return "pip install 'atm-raft[web]'"
    return f"start it as {command_here('web')}, which installs what it needs"


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = OneLineParser(
        prog=program_name(PROGRAM),
        description="Serve the bank's pages, and its API for programs, over HTTP.",
        epilog="It serves until SIGINT or SIGTERM. Exit codes: 0 stopped, 1 it cannot listen there, 2 wrong "
        "usage or configuration.",
        allow_abbrev=False,
    )
    add_version(parser)
    add_config(parser)
    parser.add_argument(
        "--listen",
        type=_address,
        default=DEFAULT_LISTEN,
        metavar="HOST:PORT",
        help=f"where (default: {DEFAULT_LISTEN}); port 0 takes a free one",
    )
    add_certificate(parser)
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name by which browsers know this server, such as that of the proxy in front; may be repeated",
    )
    parser.add_argument(
        "--user-header",
        default="",
        metavar="NAME",
        help="the header in which the proxy in front names the end user, as X-Remote-User",
    )
    parser.add_argument(
        "--insecure", action="store_true", help="listen on an address that is not this machine's alone"
    )
    return parser.parse_args(argv)


def _address(text: str) -> Address:
    try:
        if text.endswith(":0"):
            return Address(parse_address(f"{text}1").host, 0)
        return parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(interruptible(main))
