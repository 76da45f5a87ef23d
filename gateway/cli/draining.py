"""`wa drain`: empties a node, and shows how far it is."""

from __future__ import annotations

from urllib.parse import quote

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from events.clock import pause
from gateway.cli.service import CannotDo, Service

PAUSE = 0.5
"""Seconds between looks."""


def drain(service: Service, node: str, patience: float, console: Console) -> int:
    """Wait until the node has no session left; how many it had. Raises CannotDo."""
    path = f"/api/nodes/{quote(node, safe='')}/drain"
    bar = Progress(
        TextColumn("drain"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )
    waited = 0.0
    with service.http() as http, bar:
        total = left = _left(service.call(http, "POST", path).get("left"))
        task = bar.add_task("drain", total=total)
        while left:
            if waited > patience:
                raise CannotDo(f"{left} sessions are still on {node}; it goes on by itself")
            pause(PAUSE)
            waited += PAUSE
            left = _left(service.call(http, "POST", path).get("left"))
            bar.update(task, completed=total - left)
    return total


def _left(told: object) -> int:
    return told if isinstance(told, int) else 0
