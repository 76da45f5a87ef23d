"""`wa top`: the service at a glance, again and again."""

from __future__ import annotations

import httpx
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.live import Live

from events.clock import pause, stopwatch, utc_now
from gateway.cli.board import Board, Look, Open, Pool, Standing
from gateway.cli.service import CannotDo, Service

PATIENCE = 10.0
"""Seconds until a look has failed."""

_SESSIONS = TypeAdapter(list[Standing])
_BREAKERS = TypeAdapter(list[Open])


def top(service: Service, console: Console, interval: float) -> None:
    """Show it until Ctrl-C; once and no more where nobody watches. Raises CannotDo."""
    board = Board(service.url)
    with service.http(PATIENCE) as http:
        board.take(look(service, http))
        if not console.is_terminal:
            console.print(board.render(utc_now()))
            return
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(board.render(utc_now(), console.height), refresh=True)
                pause(interval)
                try:
                    board.take(look(service, http))
                except CannotDo as away:
                    board.miss(str(away))


def look(service: Service, http: httpx.Client) -> Look:
    """Ask the gateway how everything stands; raises CannotDo."""
    pool = service.call(http, "GET", "/api/sessions/stats")
    sessions = service.call(http, "GET", "/api/sessions").get("sessions")
    breakers = service.call(http, "GET", "/api/breakers").get("breakers")
    try:
        return Look(
            at=stopwatch(),
            pool=Pool.model_validate(pool),
            sessions=_SESSIONS.validate_python(sessions),
            breakers=_BREAKERS.validate_python(breakers),
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CannotDo(f"{service.url} is of another version: {where} {first['msg']}") from None
