"""What the gateway is made of, wired together once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from events.log import Stored
from events.settings import Settings
from gateway.asks import Asks
from gateway.broker import Broker, BrokerLog
from gateway.browsers import Browsers
from gateway.codes import Codes
from gateway.commands import Commands
from gateway.directory import Directory
from gateway.downloads import Downloads
from gateway.feed import Feed
from gateway.frames import Told
from gateway.instruments import Instruments
from gateway.keyring import Keyring
from gateway.lifecycle import Lifecycle
from gateway.outcomes import Outcomes
from gateway.quotas import Quotas
from gateway.recall import Recall
from gateway.sending import Sender
from gateway.strangers import Strangers
from gateway.trends import Trends
from gateway.uploads import Uploads
from gateway.webhooks.cipher import Cipher
from gateway.webhooks.service import Webhooks
from gateway.windows import SharedWindows
from projections.read import ReadModels, RedisReadModels


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a route may use."""

    settings: Settings
    reads: ReadModels
    broker: Broker
    keyring: Keyring
    outcomes: Outcomes
    directory: Directory
    lifecycle: Lifecycle
    codes: Codes
    sender: Sender
    asks: Asks
    feed: Feed
    uploads: Uploads
    downloads: Downloads
    browsers: Browsers
    recall: Recall
    instruments: Instruments
    trends: Trends
    quotas: Quotas
    strangers: Strangers
    webhooks: Webhooks


def assemble(settings: Settings, key: str, reads: ReadModels | None) -> Parts:
    """Wire the parts; nothing connects yet. `key` is the first admin key, `reads` may be a fake.

    Raises BadKey and OSError for the key of the webhooks' secrets.
    """
    broker = Broker(settings)
    reads = reads or RedisReadModels.open(settings, BrokerLog(broker))
    outcomes = Outcomes()
    instruments, trends = Instruments(), Trends()
    broker.on_connect(outcomes.attach)
    commands = Commands(broker)
    directory = Directory(reads, outcomes)
    lifecycle = Lifecycle(directory, commands, outcomes)
    asks = Asks(broker)
    codes = Codes(
        reads=reads,
        directory=directory,
        lifecycle=lifecycle,
        commands=commands,
        outcomes=outcomes,
        asks=asks,
    )

    def seen(stored: Stored, told: Told | None, began: float) -> None:
        instruments.saw(stored, told, began)
        trends.take(stored, told)

    sender = Sender(settings, reads, directory, commands, outcomes, instruments.stages)
    return Parts(
        settings=settings,
        reads=reads,
        broker=broker,
        keyring=Keyring(broker, key),
        outcomes=outcomes,
        directory=directory,
        lifecycle=lifecycle,
        codes=codes,
        sender=sender,
        asks=asks,
        uploads=Uploads(settings, broker),
        downloads=Downloads(settings),
        feed=Feed(
            settings=settings,
            broker=broker,
            outcomes=outcomes,
            directory=directory,
            codes=codes,
            seen=seen,
        ),
        browsers=Browsers(settings, outcomes),
        recall=Recall(broker),
        instruments=instruments,
        trends=trends,
        quotas=Quotas(settings, SharedWindows(settings)),
        strangers=Strangers(settings, reads),
        webhooks=Webhooks(
            settings,
            broker,
            directory,
            sender,
            cipher=Cipher.open(settings),
            count=instruments.delivered,
        ),
    )


def parts_of(connection: HTTPConnection) -> Parts:
    """Return the parts of the application that serves a connection."""
    return cast("Parts", connection.app.state.parts)


async def _parts(connection: HTTPConnection) -> Parts:
    # FastAPI calls plain functions on another thread: three of them were a quarter of a send.
    return parts_of(connection)


Use = Annotated[Parts, Depends(_parts)]
"""What a route writes to get the parts."""
