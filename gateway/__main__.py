"""The gateway as a process: `python -m gateway`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys

import structlog
import uvloop

from events import collector, logging
from events.settings import BadSettings, Settings, load
from gateway.app import create_app
from gateway.auth import admin_key
from gateway.server import CannotListen, Server, listen
from gateway.webhooks.cipher import BadKey, Cipher

log = structlog.get_logger()


def main() -> int:
    """Serve until a signal; return the exit status."""
    argparse.ArgumentParser(
        prog="python -m gateway",
        description="Serve HTTP and WebSocket for everyone who does not speak NATS.",
        epilog="Configured by the environment: HOST, PORT, API_KEY, NATS_URL, NATS_PASSWORD, "
        "REDIS_URL, REDIS_HOST, REDIS_PORT, REDIS_PASSWORD, CORS_ORIGINS, SEND_WAIT, WEBHOOK_*, "
        "LOG_LEVEL, LOG_JSON. "
        "NATS and Redis may come later: until then the answer is 503.",
    ).parse_args()
    try:
        settings = load()
        logging.configure(settings, "gateway")
        listener = listen(settings)
        key = admin_key(settings)
        Cipher.open(settings)
    except BadSettings as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 2
    except (CannotListen, BadKey) as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"gateway: {error.filename or 'DATA_DIR'}: {error.strerror}\n")
        return 1
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, key, listener))
    return 0


async def serve(settings: Settings, key: str, listener: socket.socket) -> None:
    """Serve on a socket until SIGTERM or SIGINT."""
    server = Server(create_app(settings, key))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.end)
    port = listener.getsockname()[1]
    log.info("gateway.listening", host=settings.host, port=port)
    collector.spare()
    await server.serve(sockets=[listener])
    log.info("gateway.ended")


if __name__ == "__main__":
    sys.exit(main())
