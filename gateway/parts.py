"""What the gateway is made of, wired together once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from events.settings import Settings
from gateway.asks import Asks
from gateway.broker import Broker
from gateway.codes import Codes
from gateway.commands import Commands
from gateway.directory import Directory
from gateway.lifecycle import Lifecycle
from gateway.outcomes import Outcomes
from gateway.sending import Sender
from projections.read import ReadModels


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a route may use."""

    settings: Settings
    reads: ReadModels
    broker: Broker
    outcomes: Outcomes
    directory: Directory
    lifecycle: Lifecycle
    codes: Codes
    sender: Sender
    asks: Asks


def assemble(settings: Settings, reads: ReadModels) -> Parts:
    """Wire the parts; nothing connects yet."""
    broker = Broker(settings)
    outcomes = Outcomes()
    broker.on_connect(outcomes.attach)
    commands = Commands(broker)
    directory = Directory(reads, outcomes)
    lifecycle = Lifecycle(directory, commands, outcomes)
    asks = Asks(broker)
    return Parts(
        settings=settings,
        reads=reads,
        broker=broker,
        outcomes=outcomes,
        directory=directory,
        lifecycle=lifecycle,
        codes=Codes(
            reads=reads,
            directory=directory,
            lifecycle=lifecycle,
            commands=commands,
            outcomes=outcomes,
            asks=asks,
        ),
        sender=Sender(settings, reads, directory, commands, outcomes),
        asks=asks,
    )


def _of(connection: HTTPConnection) -> Parts:
    return cast("Parts", connection.app.state.parts)


Use = Annotated[Parts, Depends(_of)]
"""What a route writes to get the parts."""
