"""The gateway as a process: `python -m gateway`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import gc
import signal
import socket
import sys
from collections.abc import Generator

import structlog
import uvicorn
import uvloop

from events import logging
from events.settings import BadSettings, Settings, load
from gateway.app import create_app
from gateway.auth import admin_key

log = structlog.get_logger()

FAREWELL = 3
"""Seconds that open requests get to end after SIGTERM; a request for a QR code may wait for 30."""


class CannotListen(Exception):
    """The address cannot be listened on. Says which variable is to blame."""


def main() -> int:
    """Serve until a signal; return the exit status."""
    argparse.ArgumentParser(
        prog="python -m gateway",
        description="Serve HTTP and WebSocket for everyone who does not speak NATS.",
        epilog="Configured by the environment: HOST, PORT, API_KEY, NATS_URL, NATS_PASSWORD, "
        "REDIS_HOST, REDIS_PORT, REDIS_PASSWORD, CORS_ORIGINS, SEND_WAIT, LOG_LEVEL, LOG_JSON. "
        "NATS and Redis may come later: until then the answer is 503.",
    ).parse_args()
    try:
        settings = load()
        logging.configure(settings, "gateway")
        listener = listen(settings)
        key = admin_key(settings)
    except BadSettings as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 2
    except CannotListen as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"gateway: {error.filename or 'DATA_DIR'}: {error.strerror}\n")
        return 1
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, key, listener))
    return 0


def listen(settings: Settings) -> socket.socket:
    """Open the socket first, so that a port in use is said before anything starts."""
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        return socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(
                f"{where} is in use by another program; set PORT to a free one"
            ) from None
        raise CannotListen(f"{where}: {error.strerror or error}; look at HOST and PORT") from None


async def serve(settings: Settings, key: str, listener: socket.socket) -> None:
    """Serve on a socket until SIGTERM or SIGINT."""
    app = create_app(settings, key)
    config = uvicorn.Config(
        app,
        # uvicorn's choice by itself fails at import beside websockets < 11.
        ws="wsproto",
        ws_max_size=65_536,
        # Access is logged by our own middleware: uvicorn's lines hold the query.
        access_log=False,
        log_config=None,
        log_level="warning",
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=FAREWELL,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.end)
    port = listener.getsockname()[1]
    log.info("gateway.listening", host=settings.host, port=port)
    # What is there now stays: walking over it again and again is what the
    # slowest requests were waiting for.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    await server.serve(sockets=[listener])
    log.info("gateway.ended")


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling, which ends the process by the signal again."""

    def end(self) -> None:
        """Stop; told twice, at once."""
        self.force_exit = self.should_exit
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to us."""
        yield


if __name__ == "__main__":
    sys.exit(main())
