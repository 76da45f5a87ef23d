"""`wa rebuild`: the read models anew, beside those that are read meanwhile."""

from __future__ import annotations

from events.bar import bar
from events.connection import NoBroker, connect
from events.jetstream_log import JetStreamLog
from events.log import LogError
from events.redis import AWAY
from events.redis import connect as connect_redis
from gateway.cli.service import CannotDo, broker_and_redis
from projections import rebuild as rebuilding


async def run() -> int:
    """Build the read models anew and return how many events were read; raises CannotDo."""
    settings = broker_and_redis()
    try:
        client = await connect(settings, "ops", name="wa-rebuild", patience=5)
    except NoBroker as error:
        raise CannotDo(f"{error}. Is the service running? Else set NATS_URL") from None
    redis = connect_redis(settings)
    try:
        with bar("rebuild") as advance:
            log = JetStreamLog(client.jetstream())
            count = await rebuilding.rebuild(log, redis, settings, advance)
    except rebuilding.RebuildFailed as error:
        raise CannotDo(f"{error}; the read models are as they were") from None
    except AWAY as error:
        raise CannotDo(f"Redis: {error}; the read models are as they were") from None
    except LogError as error:
        raise CannotDo(f"the log: {error}; the read models are as they were") from None
    finally:
        await redis.aclose()
        await client.close()
    return count
