"""Whom webhooks and files by URL may call: an address is looked at when it is connected to.

A name that was looked up, checked, and looked up again for the connection could
answer differently the second time (DNS rebinding). So the connection is made here
to the very address that was checked; TLS still asks for the name of the URL.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import cast
from urllib.parse import urlsplit

import httpcore

from events.settings import Settings, allowed_networks

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

METADATA = frozenset(
    ip_address(written)
    for written in ("169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254")
)
"""Where clouds hand out credentials. Some lie in networks that people do open."""

LONGEST_URL = 2_048

_NAT64 = ip_network("64:ff9b::/96")
_NOWHERE = tuple(ip_network(written) for written in ("192.88.99.0/24", "fec0::/10", "3fff::/20"))
"""Relays and sites of old, and examples (RFC 7526, 3879, 9637), which Python 3.11 calls global."""


class Forbidden(httpcore.ConnectError):
    """The host has no address that may be called."""


class Reachable:
    """Which addresses may be called."""

    def __init__(self, allowed: Iterable[Network] = ()) -> None:
        self._allowed = tuple(allowed)

    @classmethod
    def by(cls, settings: Settings) -> Reachable:
        """Read `WEBHOOK_ALLOW_PRIVATE`; in the sandbox loopback is open as well."""
        sandbox = LOOPBACK if settings.sandbox_url else ()
        return cls((*allowed_networks(settings.webhook_allow_private), *sandbox))

    def __contains__(self, address: Address) -> bool:
        meant = _meant(address)
        opened = [network for network in self._allowed if meant in network]
        if meant in METADATA:
            # Opened only by name: a network that merely contains it was not meant so.
            return any(network.num_addresses == 1 for network in opened)
        return bool(opened) or _is_public(meant)

    def allows_host(self, host: str) -> bool:
        """Tell whether a host may be called, as far as its writing tells: names are let by."""
        try:
            return ip_address(host.strip("[]")) in self
        except ValueError:
            local = host.rstrip(".").lower()
            return (
                not (local == "localhost" or local.endswith(".localhost"))
                or IPv4Address("127.0.0.1") in self
            )


def _is_public(address: Address) -> bool:
    if any(address in network for network in _NOWHERE):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _meant(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one only wraps."""
    if not isinstance(address, IPv6Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or (int(address) >> 32 == 0 and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def bad_url(url: str, reachable: Reachable) -> str | None:
    """Name the rule that a URL breaks, as far as can be told before it is called."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "must be a URL"
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        return "must be a URL with http or https and a host"
    if len(url) > LONGEST_URL or not all("!" <= char <= "~" for char in url):
        return f"must be at most {LONGEST_URL:,} printable ASCII characters without blanks"
    if parts.username is not None or parts.password is not None:
        return "must not hold a user or a password"
    if not reachable.allows_host(parts.hostname):
        return (
            "must be a public address; private and loopback ones are open only to who runs "
            "this service, with WEBHOOK_ALLOW_PRIVATE"
        )
    return None


async def system_resolver(host: str, port: int) -> list[str]:
    """Ask the machine's resolver; raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(place[0]) for *_, place in found]


class Guarded(httpcore.AsyncNetworkBackend):
    """Connects to addresses that may be called, and to no other."""

    def __init__(self, reachable: Reachable, resolve: Resolve = system_resolver) -> None:
        self._reachable = reachable
        self._resolve = resolve
        # Its module offers a stand-in without methods where anyio is missing.
        self._plain = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect; raises Forbidden, httpcore.ConnectError and httpcore.ConnectTimeout."""
        try:
            found = await self._resolve(host, port)
        except (OSError, UnicodeError):
            raise httpcore.ConnectError("the host is not known") from None
        addresses = [ip_address(written) for written in found]
        failure: Exception = Forbidden("the host has no address that this service may call")
        for address in addresses:
            if address in self._reachable:
                try:
                    return await self._plain.connect_tcp(
                        str(address), port, timeout, local_address, socket_options
                    )
                except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                    failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: a URL names no socket of this machine."""
        raise Forbidden("local sockets are not called")

    async def sleep(self, seconds: float) -> None:
        """Wait, for httpcore's own retries."""
        await asyncio.sleep(seconds)
