"""The one way to connect to NATS."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypedDict

import structlog
from nats import errors as nats_errors
from nats.aio.client import Client
from nats.js import errors as js_errors

from events.settings import Role, Settings

log = structlog.get_logger()

AWAY = (js_errors.Error, nats_errors.Error, OSError, TimeoutError)
"""What nats-py raises when the broker is not there, refuses, or does not answer in time."""

Closed = Callable[[], Awaitable[None]]


class NoBroker(Exception):
    """NATS cannot be reached, or refuses this role. Says where and what to do."""


class BrokerAway(Exception):
    """NATS is not there, or does not answer in time."""


class Connection(Client):
    """A connection that tells when it is there again after it was lost."""

    def __init__(self) -> None:
        super().__init__()
        self._back = asyncio.Event()

    def back(self) -> asyncio.Event:
        """Return what is set the next time that it is there again after it was lost."""
        return self._back

    def renew(self) -> None:
        """Tell whoever waits for it that it is there again."""
        back, self._back = self._back, asyncio.Event()
        back.set()


async def connect(
    settings: Settings,
    role: Role,
    *,
    name: str,
    closed: Closed | None = None,
    reconnected: Closed | None = None,
    patience: float | None = None,
) -> Connection:
    """Connect as a role; reconnects for ever once it was connected.

    `closed` runs when the connection is closed for good, which this side never
    wants: it should end the process. `reconnected` runs when it is there again:
    what was asked of the broker before may be forgotten. `patience` is how many seconds
    the first connection may take (None: for ever). Raises NoBroker.
    """
    url = settings.nats_url or f"nats://127.0.0.1:{settings.nats_port}"

    client, last = Connection(), "no answer"

    async def on_error(error: Exception) -> None:
        nonlocal last
        last = str(error) or type(error).__name__
        log.debug("nats.error", role=role, error=type(error).__name__)

    async def on_disconnect() -> None:
        log.warning("nats.disconnected", role=role)

    async def on_reconnect() -> None:
        log.info("nats.reconnected", role=role)
        client.renew()
        if reconnected is not None:
            await reconnected()

    async def on_closed() -> None:
        if closed is not None:
            await closed()

    connecting = client.connect(
        url.split(","),
        name=name,
        error_cb=on_error,
        disconnected_cb=on_disconnect,
        reconnected_cb=on_reconnect,
        closed_cb=on_closed,
        **_options(settings, role),
    )
    try:
        await asyncio.wait_for(connecting, patience)
    except AWAY as error:
        raise NoBroker(f"NATS at {_bare(url)} as {role}: {last}") from error
    return client


class _Options(TypedDict):
    user: str | None
    password: str | None
    max_reconnect_attempts: int
    reconnect_time_wait: int
    connect_timeout: int
    ping_interval: int
    max_outstanding_pings: int
    pending_size: int
    inbox_prefix: bytes


def _options(settings: Settings, role: Role) -> _Options:
    """Say who connects, and how the connection is to behave."""
    password = settings.nats_password.get_secret_value() if settings.nats_password else None
    return {
        "user": role if password else None,
        "password": password,
        # The default gives up after 60 attempts: minutes of outage would be for ever.
        "max_reconnect_attempts": -1,
        # It sleeps for as long; that it may be a fraction is missing in its annotation.
        "reconnect_time_wait": 0.5,  # pyright: ignore[reportReturnType]
        "connect_timeout": 3,
        "ping_interval": 5,
        "max_outstanding_pings": 2,
        # A publish that is buffered while disconnected could land long after
        # its caller gave up, so nothing is buffered.
        "pending_size": 0,
        "inbox_prefix": f"_INBOX_{role}".encode(),
    }


def _bare(url: str) -> str:
    """Drop credentials from URLs before they are shown."""
    return ", ".join(one.rsplit("@", 1)[-1].removeprefix("nats://") for one in url.split(","))
