"""Which web pages may call: one rule for CORS and for WebSockets, which CORS does not cover."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from events.settings import Settings
from gateway.auth import refuse
from gateway.problems import Problem

LOCALHOST = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"


@dataclass(frozen=True, slots=True)
class Origins:
    """Origins by name, and as a pattern."""

    listed: tuple[str, ...]
    pattern: str | None

    @classmethod
    def of(cls, settings: Settings) -> Origins:
        """Read `CORS_ORIGINS`; the sandbox lets in every page of this machine."""
        listed = (origin.strip() for origin in settings.cors_origins.split(","))
        return cls(tuple(filter(None, listed)), LOCALHOST if settings.sandbox_url else None)

    def allow(self, origin: str) -> bool:
        """Tell whether the pages of an origin may call."""
        if "*" in self.listed or origin in self.listed:
            return True
        return self.pattern is not None and re.fullmatch(self.pattern, origin) is not None


class Pages:
    """ASGI middleware: no page opens a WebSocket that it could not call by HTTP.

    A browser opens one from any page to anywhere, and says only from which.
    """

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "websocket" else Headers()
        origin = headers.get("origin")
        ours = origin is not None and urlsplit(origin).netloc == headers.get("host")
        if origin is None or ours or self._origins.allow(origin):
            await self._app(scope, receive, send)
            return
        detail = "Pages of this origin may not connect; CORS_ORIGINS lists those that may."
        await refuse(Problem(403, "wrong_origin", detail), scope, receive, send)
