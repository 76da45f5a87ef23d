"""Loopback ports: a free one, or who sits on the one that was asked for."""

from __future__ import annotations

import random
import socket
from collections import deque
from collections.abc import Collection
from pathlib import Path

import psutil

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 12_000

PROMISES = 64
"""Ports that a process has been given last and that no other one is given."""

_promised: deque[socket.socket] = deque()


class InUse(Exception):
    """A configured port is taken. Says which variable and, if it can be told, by whom."""


def free_port(besides: Collection[object] = ()) -> int:
    """Return a loopback port that nobody listens on, and none of those."""
    # Not one of those that the kernel gives to outgoing connections: a client that
    # redials a dead server's port would sooner or later be given that very port,
    # connect to itself, and keep the server from ever coming back.
    below = _first_outgoing()
    for _ in range(200):
        port = random.randrange(_LOWEST, below)  # noqa: S311 - a choice, not a secret
        if port not in besides and promise(port) and is_free(port):
            return port
    raise InUse("no free port on this machine's loopback")


def promise(port: int) -> bool:
    """Take a port before it is listened on; false if a process of ours was just given it.

    Between the look and the listening another one may look as well. The name goes
    with the process, or once this one was given as many others.
    """
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0wa-sessions.port.{port}")
    except OSError:
        name.close()
        return False
    _promised.append(name)
    while len(_promised) > PROMISES:
        _promised.popleft().close()
    return True


def claim(
    variable: str, port: int, host: str = "127.0.0.1", besides: Collection[object] = ()
) -> int:
    """Return `port` if it is free, a free one for 0; raise InUse naming the variable."""
    if port == 0:
        return free_port(besides)
    if not is_free(port, host):
        raise InUse(f"{variable}={port} is in use{_by(port)}: set {variable} to another port")
    return port


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether one may listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do, or a port whose last connection lingers would look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _by(port: int) -> str:
    """Name the process that listens, where the kernel tells us."""
    try:
        for held in psutil.net_connections("tcp"):
            # An unbound socket has an empty address.
            local: int | None = getattr(held.laddr, "port", None)
            if held.status == psutil.CONN_LISTEN and local == port and held.pid:
                return f" by {psutil.Process(held.pid).name()} (process {held.pid})"
    except (psutil.Error, OSError):
        # Other people's processes are not ours to see; the port is still taken.
        return ""
    return ""


def _first_outgoing() -> int:
    try:
        return max(_LOWEST + 1_000, int(_RANGE.read_text().split()[0]))
    except (OSError, ValueError, IndexError):
        return 32_768
