"""Plain HTTP to bin/web, as curl would do it."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """An answer that was read whole."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        """What the body says."""
        return json.loads(self.body)


def ask(url: str, method: str = "GET", path: str = "/", body: object = None, **headers: str) -> Answer:
    """Send one request. In `headers` _ stands for -; a body that is no bytes is sent as JSON."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    if data is not None:
        sent.setdefault("content-type", "application/json")
    try:
        connection.request(method, path, body=data, headers=sent)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def put(url: str, request_id: str, body: object, **headers: str) -> Answer:
    """Put a command."""
    return ask(url, "PUT", f"/api/v1/requests/{request_id}", body, **headers)
