"""What a removed session leaves: its queues, its messages, its media."""

from __future__ import annotations

from actors.pool_messages import Forgotten
from actors.session_parts import SessionParts


def clear(own: SessionParts) -> None:
    """Delete all of it in the background, and tell the pool when nothing is left to wait for."""

    async def clean_up() -> None:
        await own.life.over()
        await own.node.wire.forget(own.identity)
        await own.node.media.forget(own.identity)

    def failed(error: Exception) -> None:
        own.log.error("session.leftovers", error=type(error).__name__)
        own.tell_pool(Forgotten(own.identity))

    own.node.loop.run(
        clean_up(), then=lambda _: own.tell_pool(Forgotten(own.identity)), failed=failed
    )
