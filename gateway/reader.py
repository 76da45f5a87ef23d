"""One reader at a door: frames go out until it leaves, falls behind or is sent away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

import structlog
from starlette.websockets import WebSocketDisconnect

from gateway import frames
from gateway.broker import BrokerAway
from gateway.feed import View
from gateway.frames import Frame
from gateway.keyring import KeyLost
from gateway.line import Over, TooSlow
from gateway.tasks import end

log = structlog.get_logger()

PATIENCE = 20.0
"""Seconds that one frame may take to leave."""

FAREWELL = 1.0
"""Seconds to say why. To someone who does not read, nothing can be said any more."""

Write = Callable[[str, str, Frame], Awaitable[None]]
"""Takes the name, the JSON and the frame itself."""


@dataclass(frozen=True, slots=True)
class Dismissed:
    """Why a reader is sent away, and the position with which it may come back."""

    reason: Literal["too_slow", "broker_away", "restart", "key_revoked", "key_expired"]
    detail: str
    since: int | None = None

    def frame(self, session: str) -> Frame:
        """Say so in a frame."""
        return frames.dropped(session, self.reason, self.detail, self.since)


def dismissed(error: BaseException | None, since: int | None = None) -> Dismissed | None:
    """Tell why reading ended; None if the reader left, raises what is a mistake of ours."""
    back = "come back" if since is None else f"come back with since={since}"
    match error:
        case TooSlow() | TimeoutError():
            return Dismissed("too_slow", f"too slow; {back}", since)
        case BrokerAway():
            return Dismissed("broker_away", f"the log is away; {back}", since)
        case Over():
            return Dismissed("restart", f"the gateway ends; {back}", since)
        case KeyLost():
            return Dismissed(error.reason, str(error), since)
        case WebSocketDisconnect() | None:
            return None
        case _:
            raise error


async def first(*waiting: Coroutine[None, None, None]) -> BaseException | None:
    """Run until one of them ends, and end the others; return what the last of them raised."""
    tasks = [asyncio.create_task(one) for one in waiting]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended = await end(*tasks)
    return next((error for error in reversed(ended) if error is not None), None)


async def hand_over(
    view: View,
    write: Write,
    *,
    gone: Coroutine[None, None, None],
    lost: Coroutine[None, None, None],
    door: str,
) -> Dismissed | None:
    """Write frames until `gone` returns; tell why the reader was sent away, None if it left.

    `lost` raises KeyLost when the reader's key is worth nothing any more.
    """
    why = dismissed(await first(gone, _send(view, write), lost), view.position)
    if why is not None:
        log.info("reader.dismissed", door=door, session=view.watch.session, reason=why.reason)
        if why.reason == "too_slow":
            view.dropped()
    return why


async def _send(view: View, write: Write) -> None:
    async with aclosing(view.frames()) as told:
        async for frame in told:
            face = frame.under(view.watch.names)
            if face is not None:
                async with asyncio.timeout(PATIENCE):
                    await write(*face, frame)
