"""The lines of one node as [log] of cluster.ini wants them, and has them again at SIGHUP."""

from __future__ import annotations

import logging
import os
import sys
from io import UnsupportedOperation
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TextIO

from atm.config import Cluster, ConfigError, LogConfig, load
from atm.server.logger.formats import FORMATTERS
from atm.server.logger.line_writer import Descriptor, LineWriter, Output, RotatedFile
from atm.server.logger.logger import EventRecord, Logger
from atm.server.logger.rate_limit import RateLimit


class NoLogFile(Exception):
    """The file of [log] cannot be opened; `str()` of it is one line for people."""


class NodeLog(logging.Handler):
    """What a node tells its operator. Open from construction to `close`; raises `NoLogFile`."""

    def __init__(self, cluster: Cluster, node: str) -> None:
        self._node = node
        output = self._open(cluster.log)  # first: a handler that was begun is closed at the process's end
        super().__init__()
        self._path = cluster.path
        self._limit = RateLimit()  # guarded by the handler's own lock
        self.logger = Logger(self)
        self._apply(cluster.log)
        self._writer = LineWriter(output, lost_line=self._lost_line, due=self._write_due)
        self._asked: SimpleQueue[bool] = SimpleQueue()  # whether to go on; a signal handler may put
        self._thread = Thread(target=self._read_when_asked, name="log settings", daemon=True)
        self._thread.start()

    def read_again(self) -> None:
        """Open the file again, and read what [log] says; a signal handler may call it."""
        self._asked.put(True)

    def close(self) -> None:
        """Write what waits, unless nobody takes it. A second call does nothing."""
        if self._thread.is_alive():
            self._asked.put(False)
            self._thread.join()
            self._write_left_out()
            self._writer.close()
        super().close()

    def fatal(self, event: str, message: str) -> None:
        """Tell why the node ends: also on stderr, where whoever started it looks, if there is a file."""
        self._write_left_out()  # so that this is the last line
        self.logger.error(event, message)
        if self._config.file is not None:
            writer = LineWriter(Descriptor(descriptor_of(sys.stderr)), lost_line=self._lost_line)
            writer.put(self._line(EventRecord(logging.ERROR, event, message, {}, "", 0)))
            writer.close()

    def _write_left_out(self) -> None:
        self.acquire()
        try:
            for record in self._limit.rest():
                self._put(record)
        finally:
            self.release()

    def emit(self, record: logging.LogRecord) -> None:
        assert isinstance(record, EventRecord)
        for each in self._limit.admit(record):
            self._put(each)

    def _put(self, record: EventRecord) -> None:
        self._writer.put(self._line(record))

    def _line(self, record: EventRecord) -> bytes:
        return f"{self.format(record)}\n".encode()

    def _write_due(self) -> float | None:
        """Say how many lines were left out in the minutes that are over; return when there are the next."""
        self.acquire()
        try:
            for record in self._limit.over():
                self._put(record)
            return self._limit.over_in_s()
        finally:
            self.release()

    def _lost_line(self, count: int) -> bytes:
        message = f"{count} lines could not be written here: nobody read them in time, or the disk was full"
        return self._line(EventRecord(logging.WARNING, "lines.lost", message, {"count": count}, "", 0))

    # -- settings ------------------------------------------------------------------------------------------

    def _apply(self, config: LogConfig) -> None:
        self._config = config
        self.setLevel(config.level.upper())
        self.setFormatter(FORMATTERS[config.format](self._node))

    def _open(self, config: LogConfig) -> Output:
        path = config.file_of(self._node)
        if path is None:
            return Descriptor(descriptor_of(sys.stderr))
        try:
            return RotatedFile(path, lambda error: self._not_opened(path, error))
        except OSError as error:
            raise NoLogFile(
                f"the file {path} of [log] cannot be opened: {error.strerror or error}. Let this user write "
                "there, or change the file in cluster.ini"
            ) from error

    def _not_opened(self, path: Path, error: OSError) -> None:
        self.logger.about("the file", 1).error(
            "log.file_unusable",
            f"the file {path} of [log] cannot be opened again: {error.strerror or error}. Lines go to the "
            "file that was opened before, wherever it is now",
            path=str(path),
        )

    def _read_when_asked(self) -> None:
        while self._asked.get():
            try:
                config = load(self._path).log
                if config.file == self._config.file:
                    self._writer.reopen()
                else:
                    self._writer.write_to(self._open(config))
            except (ConfigError, NoLogFile) as error:
                self._writer.reopen()
                self.logger.warning("log.settings_unusable", f"{error}. The log goes on as before")
                continue
            self._apply(config)
            self.logger.info(
                "log.settings_read",
                f"cluster.ini was read again for [log]: level {config.level}, format {config.format}",
                log_level=config.level,
                log_format=config.format,
            )


def descriptor_of(stream: TextIO | None) -> int | None:
    """Return the descriptor of stdout or stderr; None if the process was started without, or has no more."""
    try:
        return None if stream is None else os.dup(stream.fileno())
    except (OSError, ValueError, UnsupportedOperation):
        return None
