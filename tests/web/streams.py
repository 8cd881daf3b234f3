"""The stream of postings, read event by event."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit


class Stream:
    """A stream that is read event by event, as a browser does."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self.cursor = ""

    def next(self) -> Any:
        """Return the next event's data."""
        fields: dict[str, str] = {}
        while True:
            line = self.line()
            if not line:
                self.cursor = fields.get("id", self.cursor)
                if "data" in fields:
                    return json.loads(fields["data"])
                fields = {}
                continue
            name, _, value = line.partition(": ")
            fields[name] = value

    def mark(self) -> str:
        """Return the cursor that the stream begins with."""
        while not (line := self.line()).startswith("id: "):
            pass
        return line.removeprefix("id: ")

    def line(self) -> str:
        """Return the next line, without its end."""
        return self._response.readline().decode().rstrip("\n")


@contextmanager
def stream(url: str, query: str = "", **headers: str) -> Iterator[Stream]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request("GET", f"/api/v1/events{query}", headers=headers)
    response = connection.getresponse()
    assert (response.status, response.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    try:
        yield Stream(response)
    finally:
        response.close()
        connection.close()
