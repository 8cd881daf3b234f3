"""One suite for both clients: an `AsyncClient` that is waited for takes the place of a `Client`."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, ParamSpec

from atm.client import AsyncClient, Client

P = ParamSpec("P")
Connect = Callable[..., Client]


class Awaited:
    """Has the operations of an `AsyncClient`, which runs in an event loop of its own thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._client = AsyncClient(*args, **kwargs)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def __enter__(self) -> Awaited:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Close the client and end its loop."""
        self._wait(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            result = found(*args, **kwargs)
            if inspect.iscoroutine(result):
                return self._wait(result)
            if isinstance(result, AsyncIterator):
                return _iterate(result, self._wait)
            return self._sharing(result) if isinstance(result, AsyncClient) else result

        return call

    def _wait(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _sharing(self, client: AsyncClient) -> Awaited:
        other = object.__new__(Awaited)
        other._client, other._loop, other._thread = client, self._loop, self._thread
        return other


def _iterate(items: AsyncIterator[Any], wait: Callable[[Any], Any]) -> Any:
    async def following() -> Any:
        return await anext(items)

    while True:
        try:
            yield wait(following())
        except StopAsyncIteration:
            return


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a test of a coroutine."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


async def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds, at most 30 seconds, while other tasks go on."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)
