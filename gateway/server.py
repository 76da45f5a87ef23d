"""How the gateway is served: uvicorn's settings, the socket it listens on, and the end."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Generator

import uvicorn
from fastapi import FastAPI

from events.settings import Settings
from gateway.parts import Parts

FAREWELL = 3
"""Seconds that open requests get to end after SIGTERM; a request for a QR code may wait for 30."""

LARGEST_FRAME = 65_536
"""Bytes that a WebSocket may say at once. Clients have next to nothing to say."""

PING = 20.0
"""Seconds between pings of a WebSocket, and until one that does not answer is closed."""

STALLED = 30_000
"""Milliseconds after which the kernel drops a peer that takes nothing."""


KEEP = 75
"""Seconds for which an idle connection is kept. Longer than clients and balancers do, who would
else send a request into a connection that is just being closed."""


class CannotListen(Exception):
    """The address cannot be listened on. Says which variable is to blame."""


def listen(settings: Settings) -> socket.socket:
    """Open the socket first, so that a port in use is said before anything starts."""
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(
                f"{where} is in use by another program; set PORT to a free one"
            ) from None
        raise CannotListen(f"{where}: {error.strerror or error}; look at HOST and PORT") from None
    # Closing waits for what is still to be sent, for ever where the other side has
    # stopped reading; ASGI knows no abort. Connections inherit this from the listener.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED)
    return listener


class Server(uvicorn.Server):
    """uvicorn without its own signal handling, which ends the process by the signal again."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(_configuration(app))
        self._parts: Parts = app.state.parts

    def end(self) -> None:
        """Stop; told twice, at once."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Send those who watch away first: nothing else would end their connections."""
        self._parts.feed.end()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to us."""
        yield


def _configuration(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        # uvicorn's choice by itself fails at import beside websockets < 11.
        ws="wsproto",
        ws_max_size=LARGEST_FRAME,
        ws_ping_interval=PING,
        ws_ping_timeout=PING,
        # Its windows would be most of what an idle connection costs.
        ws_per_message_deflate=False,
        # Access is logged by our own middleware: uvicorn's lines hold the query.
        access_log=False,
        log_config=None,
        log_level="warning",
        lifespan="on",
        server_header=False,
        timeout_keep_alive=KEEP,
        timeout_graceful_shutdown=FAREWELL,
    )
