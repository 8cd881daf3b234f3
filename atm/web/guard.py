"""What each request must pass before it is served, and the headers of each answer.

The web server acts with the rights of its own certificate, or of the machine. So nobody but its own pages may
make a browser use it: requests that other sites cause are refused, and so are names that a stranger's DNS
points to this machine. Programs (curl, scripts) send none of a browser's headers and are served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from atm.web.answers import problem
from atm.web.pages import WebPage

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
READING = frozenset({"GET", "HEAD"})
POLICY: Mapping[str, str] = {
    "default-src": "'self'",
    "img-src": "'self' data:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class Guard:
    """Wraps an application; see above."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str], pages: Sequence[WebPage] = ()) -> None:
        """Serve these host names only (without ports)."""
        self._app = app
        self._hosts = hosts
        self._policy = policy_of({})
        self._policies = {page.path: policy_of(page.sources) for page in pages}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or serve with the headers that protect a page."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = MutableHeaders(raw=list(HEADERS_RAW))
        headers["content-security-policy"] = self._policy_at(scope["path"])
        if scope["path"].startswith("/api/"):
            headers["cache-control"] = "no-store"

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = MutableHeaders(scope=message)
                for name, value in headers.items():
                    sent.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope["method"], scope["path"], Headers(scope=scope))
        if refusal is None:
            await self._app(scope, receive, send_guarded)
        else:
            code, detail = refusal
            await problem(code, detail)(scope, receive, send_guarded)

    def _refusal(self, method: str, path: str, headers: Headers) -> tuple[str, str] | None:
        """Return why the request is not served: a problem's code, and a line; None if it is."""
        host = headers.get("host", "")
        if host_of(host) not in self._hosts:
            return "wrong_host", f"This server is not called {host[:100]!r}: start it with --host NAME"
        site = headers.get("sec-fetch-site")
        changes = method not in READING
        if site in {"cross-site", "same-site"} and (changes or path.startswith("/api/")):
            return "cross_site", "This request was caused by another site"
        origin = headers.get("origin")
        if origin is not None and origin_of(origin) != host.lower() and (changes or path.startswith("/api/")):
            return "cross_site", f"This request was caused by a page of {origin[:100]!r}"
        return None

    def _policy_at(self, path: str) -> str:
        return self._policies.get("/" + path.split("/")[1], self._policy)


HEADERS_RAW = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


def policy_of(further: Mapping[str, str]) -> str:
    """Return the content security policy, with further sources by directive."""
    policy = dict(POLICY)
    for directive, sources in further.items():
        policy[directive] = f"{policy.get(directive, policy['default-src'])} {sources}"
    return "; ".join(f"{directive} {sources}" for directive, sources in policy.items())


def host_of(host: str) -> str | None:
    """Return the name in a Host header, in small letters and without its port; None if there is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def origin_of(origin: str) -> str | None:
    """Return the host and port in an Origin header, None if it has none (such as "null")."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in {"http", "https"} else None
