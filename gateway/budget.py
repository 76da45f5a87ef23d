"""What one request spends of its user's quotas, and the headers that tell of it."""

from __future__ import annotations

import math
from typing import Annotated, cast

from fastapi import Depends
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from events.clock import utc_now
from gateway.quotas import Family, Quotas, family_of, too_many
from gateway.windows import Level, Verdict, Window


class Budget:
    """Made for each request. `free`: it repeats one that was paid for."""

    def __init__(self, quotas: Quotas, family: Family | None) -> None:
        self._quotas = quotas
        self._family: Family | None = family
        self._verdict: Verdict | None = None
        self.user: str | None = None
        self.free = False

    async def take(self, family: Family, user: str, *more: Window) -> None:
        """Spend one of a user's quota, and one of `more`.

        Raises Problem 429 if there is no room in one of the windows (then nothing is
        spent), and 503 if nobody can tell.
        """
        self._family, self.user = family, user
        if self.free:
            return
        self._verdict = await self._quotas.take(family, user, *more)
        if not self._verdict.allowed:
            raise too_many(user, self._verdict)

    async def headers(self) -> dict[str, str]:
        """Return the headers of the answer; none on a route without limits."""
        if self._family is None or not self._quotas.windows(self._family):
            return {}
        if self._verdict is not None:
            return _headers(self._verdict.levels, refused=not self._verdict.allowed)
        if self.user is not None:
            return _headers(await self._quotas.look(self._family, self.user))
        # Nobody was named: what somebody would have who asked for nothing yet.
        return _headers(tuple(Level(window) for window in self._quotas.windows(self._family)))


def _headers(levels: tuple[Level, ...], *, refused: bool = False) -> dict[str, str]:
    """Write `X-RateLimit-*`, and draft-ietf-httpapi-ratelimit-headers, which tells each window."""
    first = levels[0]
    remaining, free = first.remaining, first.free
    if refused:
        # When it was the burst that is full, "59 remaining" would send the client right back.
        remaining, free = 0, max(level.free for level in levels if not level.remaining)
    policies = ", ".join(
        f'"{x.window.name}";q={x.window.amount};w={x.window.seconds}' for x in levels
    )
    rest = ", ".join(
        f'"{level.window.name}";r={level.remaining};t={math.ceil(level.free)}' for level in levels
    )
    return {
        "X-RateLimit-Limit": str(first.window.amount),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(math.ceil(utc_now().timestamp() + free)),
        "RateLimit-Policy": policies,
        "RateLimit": rest,
    }


class Budgets:
    """ASGI middleware: a budget for each request, and its headers on each answer."""

    def __init__(self, app: ASGIApp, quotas: Quotas) -> None:
        self._app = app
        self._quotas = quotas

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        budget = Budget(self._quotas, family_of(scope["method"], scope["path"]))
        scope.setdefault("state", {})["budget"] = budget

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in (await budget.headers()).items():
                    headers[name] = value
            await send(message)

        await self._app(scope, receive, told)


async def budget_of(request: Request) -> Budget:
    """Return the budget of a request. Not a plain function: that would run on another thread."""
    return cast("Budget", request.state.budget)


Spend = Annotated[Budget, Depends(budget_of)]
"""What a route writes to spend something."""
