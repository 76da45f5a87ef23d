"""Which web pages may call: one rule for CORS and for WebSockets, which CORS does not cover."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
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


class Cors(CORSMiddleware):
    """Starlette's CORS, which refuses as everything else here does: with a problem."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer what a browser asks before a page may call."""
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        # Its words go; the headers by which browsers and caches judge stay.
        told = {
            name: value
            for name, value in answer.headers.items()
            if name not in {"content-type", "content-length"}
        }
        return Problem(answer.status_code, *self._wrong(request_headers), headers=told).response()

    def _wrong(self, asked: Headers) -> tuple[str, str]:
        if not self.is_allowed_origin(asked["origin"]):
            detail = "Pages of this origin may not call; CORS_ORIGINS lists those that may."
            return "wrong_origin", detail
        if asked["access-control-request-method"] not in self.allow_methods:
            return "wrong_method", f"Pages may call with {', '.join(self.allow_methods)} only."
        return "private_network", "Pages of a public network may not call into a private one."


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
