"""Somebody who takes webhooks, and at times does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.services import free_port


@dataclass(frozen=True)
class Got:
    """One request, as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def frame(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def text(self) -> str:
        """The text of the message that it tells of."""
        return self.frame["payload"]["message"]["body"]


Answering = Callable[[Got], web.Response | Awaitable[web.Response] | None]
"""What to answer, at once or later; None: nothing at all, until the caller gives up."""


def takes(_: Got) -> web.Response:
    return web.Response(status=200)


def fails(_: Got) -> web.Response:
    return web.Response(status=500)


def hangs(_: Got) -> None:
    return None


@dataclass
class Receiver:
    """An HTTP server. `got` is every request, `taken` those answered with 2xx."""

    port: int = field(default_factory=free_port)
    answers: Answering = takes
    got: list[Got] = field(default_factory=list)
    taken: list[Got] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    _runner: web.AppRunner | None = None
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def start(self) -> None:
        self._over.clear()
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    async def stop(self) -> None:
        if self._runner is not None:
            self._over.set()
            await self._runner.cleanup()
            self._runner = None

    async def until(self, count: int, seconds: float = 20) -> None:
        """Wait until so many events were taken, whatever came twice."""
        await self.when(lambda: len(self.texts) >= count, seconds)

    async def when(self, true: Callable[[], bool], seconds: float = 20) -> None:
        """Wait until something is true."""
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.01)

    @property
    def texts(self) -> list[str]:
        """The messages taken, in the order in which each came first."""
        return list(dict.fromkeys(one.text for one in self.taken))

    async def _take(self, request: web.Request) -> web.StreamResponse:
        got = Got(dict(request.headers), await request.read())
        self.got.append(got)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            answer = self.answers(got)
            if isinstance(answer, Awaitable):
                answer = await answer
            if answer is None:
                await self._over.wait()
                answer = web.Response(status=500)
            elif 200 <= answer.status < 300:
                self.taken.append(got)
            return answer
        finally:
            self.under_way -= 1


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Listen, and stop."""
    receiver = Receiver()
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()
