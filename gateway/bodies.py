"""Request bodies: how large they may be, and that they are read as JSON."""

from __future__ import annotations

import asyncio

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.problems import Problem

PATIENCE = 20.0
"""Seconds until the next piece of a body has to be there: nobody holds a request open for ever."""

LARGEST = 1_000_000
"""Bytes. A text of 65,536 characters is at most 786,432, each written as two \\u escapes."""


class Bodies:
    """ASGI middleware: counts what comes, whatever Content-Length says."""

    def __init__(self, app: ASGIApp, largest: int = LARGEST, file: int = 0) -> None:
        """`file` is what a request that carries a file may hold beyond `largest`, in bytes."""
        self._app, self._file = app, file
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = MutableHeaders(scope=scope)
        is_form = scope["path"].endswith("/messages/media")
        largest = self._largest
        if is_form:
            largest += self._file
        elif scope["path"].endswith("/messages/file"):
            # In base64, three bytes are four characters.
            largest += self._file * 4 // 3
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > largest:
            # Unread: the server closes the connection instead of taking it all in.
            await self._too_large(largest).response()(scope, receive, send)
            return
        if headers.get("content-encoding", "identity").lower() != "identity":
            # Never unpacked: a few bytes of it may hold gigabytes.
            await _packed().response()(scope, receive, send)
            return
        # All else here speaks JSON; `curl -d` and a bare fetch() say otherwise.
        if not is_form:
            headers["content-type"] = "application/json"
        taken, more = 0, True

        async def counted() -> Message:
            nonlocal taken, more
            if not more:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), PATIENCE)
            except TimeoutError:
                detail = f"Nothing more of the body came within {PATIENCE:g} s."
                raise Problem(408, "slow_body", detail) from None
            more = message.get("more_body", False)
            taken += len(message.get("body", b""))
            if taken > largest:
                raise self._too_large(largest)
            return message

        await self._app(scope, counted, send)

    def _too_large(self, largest: int) -> Problem:
        return Problem(413, "too_large", f"The body is larger than {largest:,} bytes.")


def _packed() -> Problem:
    detail = "Bodies are read as they are; send this one without Content-Encoding."
    return Problem(415, "packed", detail, headers={"Accept-Encoding": "identity"})
