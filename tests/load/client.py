"""The gateway as a client sees it; each request is noted with how long it took."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.load.diary import Diary, Request

PATIENCE = 30.0
"""Seconds until a client takes an answer for lost."""

LOST = 0
"""Status of a request that had no answer."""


class Client:
    """Asks the gateway. Never raises: no answer is status 0."""

    def __init__(self, url: str, key: str, diary: Diary) -> None:
        self._diary = diary
        # One client stands for all users: what it costs is no part of what is measured.
        self.http = aiohttp.ClientSession(
            url,
            headers={"x-api-key": key},
            timeout=aiohttp.ClientTimeout(PATIENCE),
            connector=aiohttp.TCPConnector(limit=0),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.http.close()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        route: str,
        session: str,
        body: dict[str, Any] | None = None,
        refusable: bool = False,
        key: str = "",
    ) -> Request:
        """Ask once, and note it under the route's name."""
        at, began = self._diary.now, time.perf_counter()
        try:
            async with self.http.request(method, path, json=body) as answer:
                await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError):
            status = LOST
        took = time.perf_counter() - began
        request = Request(route, session, at, took, status, refusable=refusable, key=key)
        self._diary.requests.append(request)
        return request
