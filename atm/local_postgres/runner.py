"""Runs one PostgreSQL server that ends with its starter: `python runner.py UID GID FOLDER COMMAND…`.

The standard input is the starter's pipe. When that closes, the starter has ended: then the server is stopped
at once, and FOLDER removed, and the folder around it with the last one; an empty FOLDER is none. UID and GID
are whom the server runs as; empty is the user of this process. Prints the server's process id, as one line.

It imports nothing but the standard library: a server starts no faster than this does.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path


def main() -> int:
    """Run the server to its end; return its exit code."""
    uid, gid, folder, *command = sys.argv[1:]
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        start_new_session=True,
        user=int(uid) if uid else None,
        group=int(gid) if gid else None,
        extra_groups=[] if uid else None,
    )
    print(server.pid, flush=True)
    abandoned = threading.Event()
    threading.Thread(target=_watch_starter, args=(server, abandoned), daemon=True).start()
    exit_code = server.wait()
    if abandoned.is_set() and folder:
        shutil.rmtree(folder, ignore_errors=True)
        parent = Path(folder).parent
        if not any(each.is_dir() for each in parent.iterdir()):
            shutil.rmtree(parent, ignore_errors=True)
    return exit_code


def _watch_starter(server: subprocess.Popen[bytes], abandoned: threading.Event) -> None:
    os.read(0, 1)
    abandoned.set()
    server.send_signal(signal.SIGQUIT)
    server.send_signal(signal.SIGCONT)


if __name__ == "__main__":
    sys.exit(main())
