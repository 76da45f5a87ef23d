"""A DevTools connection on pyppeteer: the one place that knows its ways.

pyppeteer is untyped, and lets itself be broken in three ways that are kept out
here. An exception in an event handler ends its receive loop, and every later
call hangs. So does a late answer to a call that was cancelled. And a connection
that could not be opened spins in `send`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import structlog
from pyppeteer.connection import (  # pyright: ignore[reportMissingTypeStubs]  # it has none
    Connection as PyppeteerConnection,
)
from pyppeteer.errors import (  # pyright: ignore[reportMissingTypeStubs]  # it has none
    NetworkError,
)
from websockets.exceptions import WebSocketException
from websockets.legacy.client import connect

from actors.browser.protocol import PageGone, PageTimeout

log = structlog.get_logger()

# It logs every frame, messages and codes included, and errors we turn into our own.
logging.getLogger("pyppeteer").setLevel(logging.CRITICAL)

Params = Mapping[str, Any]
Handler = Callable[[dict[str, Any]], None]


class ProtocolError(Exception):
    """Chromium answered a call with an error."""


class _Pipe(Protocol):
    """What is used of pyppeteer's Connection."""

    _ws: contextlib.nullcontext[Any]
    _recv_fut: asyncio.Task[None]

    def send(self, method: str, params: Params) -> asyncio.Future[dict[str, Any] | None]: ...
    def on(self, event: str, f: Callable[[dict[str, Any]], None]) -> object: ...
    async def dispose(self) -> None: ...


class Wire:
    """One connection to one DevTools target."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe
        # Done when the target is known to be dead; what it holds says why.
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        pipe._recv_fut.add_done_callback(self._on_end)  # pyright: ignore[reportPrivateUsage]

    @classmethod
    async def open(cls, endpoint: str, timeout: float) -> Wire:
        """Connect. Raises PageGone when nobody answers there, PageTimeout."""
        try:
            # On loopback compressing costs 1.4 ms a call and saves nothing. There
            # are no pings: a stopped page must not look like a broken connection.
            async with asyncio.timeout(timeout):
                socket = await connect(
                    endpoint,
                    compression=None,
                    max_size=None,
                    ping_interval=None,
                    close_timeout=1,
                )
        except TimeoutError as error:
            raise PageTimeout(f"no connection to the browser within {timeout:g} s") from error
        except (OSError, WebSocketException) as error:
            raise PageGone(f"no connection to the browser: {error}") from error
        pipe = cast("_Pipe", PyppeteerConnection(endpoint, asyncio.get_running_loop()))
        # Its receive loop has not run yet: give it the socket that is open.
        pipe._ws = contextlib.nullcontext(socket)  # pyright: ignore[reportPrivateUsage]
        await asyncio.sleep(0)
        return cls(pipe)

    def on(self, event: str, handler: Handler) -> None:
        """Hear an event. What a handler raises is logged, and the connection lives on."""

        def heard(params: dict[str, Any]) -> None:
            try:
                handler(params)
            except Exception:
                log.exception("browser.handler_failed", event_name=event)

        self._pipe.on(event, heard)

    async def call(self, method: str, params: Params, timeout: float) -> dict[str, Any]:
        """Call and wait for the answer; the call itself is never cancelled.

        Raises ProtocolError, PageTimeout after the deadline, and PageGone as
        soon as the target is known to be dead. A late answer falls to the ground.
        """
        if self.lost.done():
            raise PageGone(self.lost.result())
        try:
            answer = self._pipe.send(method, params)
        except ConnectionError as error:
            raise PageGone(str(error)) from error
        answer.add_done_callback(_let_fall)
        await asyncio.wait(
            {answer, self.lost}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        if not answer.done():
            if self.lost.done():
                raise PageGone(self.lost.result())
            raise PageTimeout(f"{method} was not answered within {timeout:g} s")
        try:
            result = answer.result()
        except NetworkError as error:
            if self.lost.done() or "Target closed" in str(error):
                raise PageGone(str(error)) from error
            raise ProtocolError(str(error)) from error
        if result is None:
            raise PageGone("the connection closed while the call was written")
        return result

    def say(self, method: str) -> bool:
        """Send without waiting, to a target that was given up as well; tells whether it went."""
        try:
            answer = self._pipe.send(method, {})
        except ConnectionError:
            return False
        answer.add_done_callback(_let_fall)
        return True

    def lose(self, why: str) -> None:
        """Give the target up: every pending and every later call ends in PageGone."""
        if not self.lost.done():
            self.lost.set_result(why)

    def _on_end(self, loop: asyncio.Task[None]) -> None:
        if not loop.cancelled() and (error := loop.exception()):
            log.error("browser.connection_broke", error=repr(error))
        self.lose("the connection to the browser closed")

    async def close(self) -> None:
        """Disconnect; never raises."""
        self.lose("the connection was closed")
        # `dispose` waits for a browser to say good-bye, which a stopped one never does.
        with contextlib.suppress(Exception):
            await self._pipe.dispose()


def _let_fall(answer: asyncio.Future[dict[str, Any] | None]) -> None:
    """Look at a late error, or asyncio complains that nobody did."""
    if not answer.cancelled():
        answer.exception()
