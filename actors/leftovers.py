"""What a removed session leaves: its queues, its messages, its media."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from nats.js.errors import APIError

from actors.pool_messages import Forgotten, Leaving
from actors.session_parts import SessionParts
from events import subjects
from events.connection import AWAY
from events.log import LogAway
from events.media import MediaAway

T = TypeVar("T")

BUSY = 503
"""The broker's word for: not now."""

AGAIN = 1.0
"""Seconds until a clean-up is tried again that found no broker."""


def clear(own: SessionParts) -> None:
    """Delete all of it in the background, and tell the pool when nothing is left to wait for.

    The pool hears of it at once as well: what is deleted goes by the session's id, which
    somebody may ask for again meanwhile.
    """
    over = threading.Event()
    own.tell_pool(Leaving(own.identity, over))

    wire, media, log = own.node.wire, own.node.media, own.node.log
    removed, family = own.recorder.position, subjects.session_family(own.identity)

    async def clean_up() -> None:
        # Taken at once: another node may register the id anew, and what comes for it then stays.
        names = await _insist(lambda: media.names(own.identity))
        place = await _insist(wire.place)
        anew = await _insist(lambda: log.tail(family)) != removed
        await own.life.over()
        if await _insist(lambda: log.tail(subjects.session_claims(own.identity))) > removed:
            return  # The lease ran out meanwhile; all that goes by the id is somebody's by now.
        await _insist(lambda: wire.forget(own.identity, 0 if anew else place, removed))
        await _insist(lambda: media.forget(names))

    async def _insist(step: Callable[[], Coroutine[Any, Any, T]]) -> T:
        while True:
            try:
                return await step()
            except (MediaAway, LogAway, *AWAY) as error:
                if isinstance(error, APIError) and error.code != BUSY:
                    raise  # It says no, and will again.
                own.log.info("session.leftovers_wait", error=type(error).__name__)
                await asyncio.sleep(AGAIN)

    def ended() -> None:
        over.set()
        own.tell_pool(Forgotten(own.identity))

    def failed(error: Exception) -> None:
        own.log.error("session.leftovers", error=type(error).__name__)
        ended()

    own.node.loop.run(clean_up(), then=lambda _: ended(), failed=failed)
