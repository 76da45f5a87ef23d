"""The projections as a process: `python -m projections`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys

import structlog
import uvloop
from nats.js import JetStreamContext

from events import collector, connection, logging, subjects
from events.connection import AWAY
from events.jetstream_log import JetStreamLog
from events.log import LogAway
from events.redis import connect
from events.settings import BadSettings, Settings, load
from projections.cancelling import cancel
from projections.projector import Projector
from projections.qr import QrCodes
from projections.turn import in_turn, lease_of

log = structlog.get_logger()

FIRST_CONNECTION = 60.0
"""Seconds that NATS may take to be there at the start."""


def main() -> int:
    """Run until a signal; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m projections",
        description="Project the events of the log into the read models in Redis.",
        epilog="Configured by the environment: NATS_URL, NATS_PASSWORD, REDIS_URL, REDIS_HOST, "
        "REDIS_PORT, REDIS_PASSWORD, PROJECTOR_LEASE, MESSAGE_DAYS, LOG_LEVEL, LOG_JSON.",
    )
    parser.parse_args()
    try:
        settings = load()
    except BadSettings as error:
        sys.stderr.write(f"projections: {error}\n")
        return 2
    logging.configure(settings, "projections")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(serve(settings))
    except connection.NoBroker as error:
        sys.stderr.write(f"projections: {error}\n")
        return 1


async def serve(settings: Settings) -> int:
    """Project until SIGTERM or SIGINT (0), or until NATS closes for good (1)."""
    ended, lost = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)

    async def closed() -> None:
        if not ended.is_set():
            lost.set()
            ended.set()

    client = await connection.connect(
        settings, "projector", name="projections", closed=closed, patience=FIRST_CONNECTION
    )
    redis = connect(settings)
    js = client.jetstream()
    projector = Projector(
        JetStreamLog(js, dedupe_window=settings.dedupe_window, back=client.back),
        redis,
        settings,
        identity=lambda: identity(js),
    )
    codes = QrCodes(client, redis)
    work = {asyncio.create_task(in_turn(lease_of(js, settings), projector.run, codes.run))}
    until = asyncio.create_task(ended.wait())
    collector.spare()
    log.info("projections.started")
    try:
        done, _ = await asyncio.wait({*work, until}, return_when=asyncio.FIRST_COMPLETED)
        for task in done & work:
            task.result()  # It does not end by itself: this raises what ended it.
    finally:
        await cancel(until, *work)
        ended.set()
        with contextlib.suppress(*AWAY):
            await client.close()
        await redis.aclose()
    log.info("projections.ended")
    return 1 if lost.is_set() else 0


async def identity(js: JetStreamContext) -> str:
    """Name the log by the birth of its stream: positions of another one mean other events."""
    try:
        held = await js.stream_info(subjects.EVENTS)
    except AWAY as error:
        raise LogAway(str(error) or type(error).__name__) from error
    if held.created is None:
        raise LogAway("the stream does not tell its birth")
    return held.created.isoformat()


if __name__ == "__main__":
    sys.exit(main())
