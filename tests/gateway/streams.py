"""A client of server-sent events for tests: reads the format as the standard says."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.gateway.conftest import Running


@dataclass
class Event:
    """What a browser would dispatch, and the id it would come back with."""

    name: str
    last_id: str
    data: dict[str, Any]


@dataclass
class Stream:
    """One stream; `last_id`, `retry` and `comments` are what a browser keeps or drops."""

    response: httpx.Response
    last_id: str = ""
    retry: int | None = None
    comments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lines = self.response.aiter_lines()

    async def event(self, timeout: float = 5) -> Event:
        """Return the next event; raises StopAsyncIteration at the end, TimeoutError."""
        name, data = "message", list[str]()
        async with asyncio.timeout(timeout):
            while True:
                line = await anext(self._lines)
                match line.partition(":")[0], line.partition(":")[2].removeprefix(" "):
                    case "", _ if not line:
                        if data:
                            return Event(name, self.last_id, json.loads("\n".join(data)))
                        name = "message"
                    case "", comment:
                        self.comments.append(comment)
                    case "id", value:
                        self.last_id = value
                    case "event", value:
                        name = value
                    case "data", value:
                        data.append(value)
                    case "retry", value:
                        self.retry = int(value)
                    case unknown:
                        raise AssertionError(unknown)

    async def events(self, count: int, timeout: float = 5) -> list[Event]:
        return [await self.event(timeout) for _ in range(count)]


@contextlib.asynccontextmanager
async def watching(
    running: Running, headers: dict[str, str] | None = None, **query: object
) -> AsyncIterator[Stream]:
    """Open `/api/events` with a query, and read it."""
    params = {name: str(value) for name, value in query.items()}
    async with running.http.stream(
        "GET", "/api/events", params=params, headers=headers or {}
    ) as response:
        assert response.status_code == 200, await response.aread()
        yield Stream(response)
