"""Requests as clients of all kinds spell them, brought to the one form that routes know."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

ENDLESS = "/api/events"
"""What has no end has no head either: its answer would never be over."""

STARTING = "/api/qr/"
"""To get a code starts its session, and a head must change nothing (RFC 9110, 9.2.1)."""


def has_head(path: str) -> bool:
    """Tell whether what is got from a path may be asked for its head."""
    return path != ENDLESS and not path.startswith(STARTING)


class Spelling:
    """ASGI middleware: a slash at the end of a path is dropped, and HEAD is a GET.

    Services of this kind that run on Express take both. The server itself leaves
    the body out where the client asked for the head only.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            # A copy: the server looks at its own to know how to answer.
            scope = {**scope, "path": _path(scope["path"])}
            if scope.get("method") == "HEAD" and has_head(scope["path"]):
                scope["method"] = "GET"
        await self._app(scope, receive, send)


def _path(path: str) -> str:
    # Socket.IO's own address ends in a slash, which some of its clients leave out.
    if path in {"/socket.io", "/socket.io/"}:
        return "/socket.io/"
    return path[:-1] if len(path) > 1 and path.endswith("/") else path
