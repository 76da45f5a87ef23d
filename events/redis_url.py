"""Where Redis is: one server, a cluster, or the master that Sentinels name. Pure.

    redis://[user:password@]host[:port][/database]
    redis+cluster://[user:password@]host:port,host:port
    redis+sentinel://[user:password@]host:port,host:port/service

`rediss` in place of `redis` is TLS. Redis itself registered the first form only; the
other two are those of `limits` and of `redis-sentinel-url`, the most common way to say
in one variable what takes several addresses, and limits is what counts requests here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote, urlsplit

RULE = (
    "must be redis://HOST:PORT, redis+cluster://HOST:PORT,HOST:PORT or "
    "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE, with rediss for TLS"
)

Host = tuple[str, int]
Kind = Literal["server", "cluster", "sentinel"]


@dataclass(frozen=True, slots=True)
class Server:
    """One server, and the number of a database on it."""

    host: Host
    database: int = 0


@dataclass(frozen=True, slots=True)
class Cluster:
    """Some servers of a cluster; they tell of the others."""

    hosts: tuple[Host, ...]


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Who is asked which server is the master of a service."""

    hosts: tuple[Host, ...]
    service: str


@dataclass(frozen=True, slots=True)
class Address:
    """Where Redis is and how to get in."""

    where: Server | Cluster | Sentinels
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False

    @property
    def kind(self) -> Kind:
        """Say what there is, in a word."""
        match self.where:
            case Server():
                return "server"
            case Cluster():
                return "cluster"
            case Sentinels():
                return "sentinel"

    @property
    def service(self) -> str | None:
        """What the Sentinels call the master; an address is not told outside, and this is none."""
        return self.where.service if isinstance(self.where, Sentinels) else None

    def __str__(self) -> str:
        """Say where, without credentials."""
        match self.where:
            case Server(host):
                return _written(host)
            case Cluster(hosts):
                return f"the cluster of {', '.join(map(_written, hosts))}"
            case Sentinels(hosts, service):
                return f"{service}, as named by {', '.join(map(_written, hosts))}"


def parse(url: str) -> Address:
    """Read a URL; raises ValueError, which names the rule and no part of the URL."""
    scheme, _, rest = url.partition("://")
    place, _, path = rest.partition("/")
    credentials, _, hosts = place.rpartition("@")
    user, _, password = credentials.partition(":")
    base, _, kind = scheme.partition("+")
    if base not in {"redis", "rediss"}:
        raise ValueError(RULE)
    return Address(
        _where(kind, hosts, unquote(path)),
        user=unquote(user) or None,
        password=unquote(password) or None,
        tls=base == "rediss",
    )


def _where(kind: str, hosts: str, path: str) -> Server | Cluster | Sentinels:
    match kind:
        case "" if "," not in hosts and (path.isdecimal() or not path):
            return Server(_host(hosts, 6379), int(path or 0))
        case "cluster" if path in {"", "0"}:  # A cluster has no other database.
            return Cluster(tuple(_host(host, 6379) for host in hosts.split(",")))
        case "sentinel" if path and "/" not in path:
            return Sentinels(tuple(_host(host, 26379) for host in hosts.split(",")), path)
        case _:
            raise ValueError(RULE)


def _host(written: str, port: int) -> Host:
    parts = urlsplit(f"//{written.strip()}")
    try:
        host, said = parts.hostname, parts.port
    except ValueError:
        raise ValueError(RULE) from None
    if not host or parts.path or parts.query or parts.fragment:
        raise ValueError(RULE)
    return host, said or port


def _written(host: Host) -> str:
    name, port = host
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
