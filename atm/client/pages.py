"""Page after page of what is read in pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from msgspec.structs import replace

from atm.client.receipt import Receipt, new_request_id
from atm.ledger.commands import Page

AnyPage = TypeVar("AnyPage", bound=Page)


def following(request: AnyPage, found: Receipt) -> AnyPage | None:
    """Return the request for the page after the one that was found, None if that was the last."""
    if found.next is None:
        return None
    return replace(request, id=new_request_id(), **{request.cursor: found.next})


def pages(ask: Callable[[Page], Receipt], request: Page) -> Iterator[Receipt]:
    """Yield the page that is asked for and all that follow it; a refusal is yielded, too, and is the last."""
    asked: Page | None = request
    while asked is not None:
        found = ask(asked)
        yield found
        asked = following(asked, found)
