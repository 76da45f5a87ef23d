"""The QR code of now, from `wa.live` to Redis with its own expiry. Never logged."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime
from pathlib import Path

import structlog
from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from events import codec
from events.backoff import Backoff
from events.clock import utc_now
from events.live import Qr
from events.redis import AWAY, Redis
from events.subjects import BadToken, SessionId
from projections import keys
from projections.entries import milliseconds

log = structlog.get_logger()

ALL_CODES = f"wa.live.*.*.{Qr.kind}"
RETRY = Backoff(first=0.1, most=2.0)


class QrCodes:
    """Writes each code as it is told; the projector forgets it when pairing ends."""

    def __init__(self, client: Client, redis: Redis) -> None:
        self._client = client
        script = Path(__file__).with_name("apply_qr.lua").read_text()
        self._apply = redis.register_script(script)
        self._told: dict[SessionId, tuple[datetime, Qr]] = {}
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Listen and write until cancelled. While Redis is away the newest code waits."""
        listening = await self._client.subscribe(ALL_CODES, cb=self._hear)
        try:
            await self._write_all()
        finally:
            with contextlib.suppress(nats_errors.Error):
                await listening.unsubscribe()

    async def _hear(self, message: Msg) -> None:
        try:
            _, _, user, bot, _ = message.subject.split(".")
            envelope = codec.decode(message.data)
            notice = codec.payload_of(envelope)
            session = SessionId(user, bot)
        except (codec.Undecodable, BadToken, ValueError):
            log.warning("qr.undecodable", subject=message.subject)
            return
        if isinstance(notice, Qr):
            self._told[session] = (envelope.time, notice)
            self._news.set()

    async def _write_all(self) -> None:
        attempt = 0
        while True:
            await self._news.wait()
            self._news.clear()
            for session, told in list(self._told.items()):
                try:
                    await self._write(session, *told)
                except AWAY as error:
                    attempt += 1
                    log.warning("qr.waiting", error=type(error).__name__)
                    self._news.set()
                    await asyncio.sleep(RETRY.delay(attempt, seed="qr"))
                    break
                attempt = 0
                if self._told.get(session) == told:
                    del self._told[session]

    async def _write(self, session: SessionId, told: datetime, notice: Qr) -> None:
        if notice.expires <= utc_now():
            return
        await self._apply(
            keys=[keys.qr(session)],
            args=[
                notice.code,
                notice.attempt,
                notice.expires.isoformat(),
                milliseconds(told),
                milliseconds(notice.expires),
            ],
        )
