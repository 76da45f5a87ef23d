"""The outermost layer: every request is logged and counted, and no exception gets out."""

from __future__ import annotations

import re
import time

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from events.traces import where
from gateway.instruments import Instruments
from gateway.problems import Problem

log = structlog.get_logger()

_PERSONAL = re.compile(r"/(numbers|ids|chats)/[^/]+")


class Access:
    """ASGI middleware. The query is never logged: it may hold `api_key`."""

    def __init__(self, app: ASGIApp, instruments: Instruments) -> None:
        self._app = app
        self._instruments = instruments

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0
        self._instruments.began()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except ClientDisconnect:
            log.debug("http.client_gone", path=path_of(scope))
        except Exception as error:  # noqa: BLE001 - the edge: it becomes an answer
            # Only what and where: the text of an exception may quote a request.
            log.error("http.failed", path=path_of(scope), at=where(error))  # noqa: TRY400 - a trace would quote its text
            if not status and scope["type"] == "http":
                problem = Problem(500, "internal", "Something went wrong on our side.")
                await problem.response()(scope, receive, noted)
        finally:
            method = scope.get("method", "WS")
            seconds = time.perf_counter() - started
            self._instruments.served(method, _template(scope), status, seconds)
            log.info(
                "http.served",
                method=method,
                path=path_of(scope),
                status=status,
                seconds=round(seconds, 4),
            )


def path_of(scope: Scope) -> str:
    """Return the path without what stands for somebody's phone: numbers, contacts and chats."""
    return _PERSONAL.sub(r"/\1/…", scope["path"])


def _template(scope: Scope) -> str:
    """Return the route as it is written in the code: paths hold ids, and are without number."""
    return str(getattr(scope.get("route"), "path", "none"))
