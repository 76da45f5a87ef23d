"""`wa drain`: empties a node, and shows how far it is."""

from __future__ import annotations

from urllib.parse import quote

from events.bar import bar
from events.clock import pause
from gateway.cli.service import CannotDo, Service

PAUSE = 0.5
"""Seconds between looks."""


def drain(service: Service, node: str, patience: float) -> int:
    """Wait until the node has no session left; how many it had. Raises CannotDo."""
    path = f"/api/nodes/{quote(node, safe='')}/drain"
    waited = 0.0
    with service.http() as http, bar("drain") as advance:
        total = left = _left(service.call(http, "POST", path).get("left"))
        advance(0, total)
        while left:
            if waited > patience:
                raise CannotDo(f"{left} sessions are still on {node}; it goes on by itself")
            pause(PAUSE)
            waited += PAUSE
            left = _left(service.call(http, "POST", path).get("left"))
            advance(total - left, total)
    return total


def _left(told: object) -> int:
    return told if isinstance(told, int) else 0
