"""Request bodies: how large they may be, and that they are read as JSON."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.problems import Problem

LARGEST = 1_000_000
"""Bytes. A text of 65,536 characters is at most 786,432, each written as two \\u escapes."""


class Bodies:
    """ASGI middleware: counts what comes, whatever Content-Length says."""

    def __init__(self, app: ASGIApp, largest: int = LARGEST) -> None:
        self._app = app
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = MutableHeaders(scope=scope)
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self._largest:
            # Unread: the server closes the connection instead of taking it all in.
            await self._too_large().response()(scope, receive, send)
            return
        # Everything here speaks JSON; `curl -d` and a bare fetch() say otherwise.
        headers["content-type"] = "application/json"
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._largest:
                raise self._too_large()
            return message

        await self._app(scope, counted, send)

    def _too_large(self) -> Problem:
        return Problem(413, "too_large", f"The body is larger than {self._largest:,} bytes.")
