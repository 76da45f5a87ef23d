"""Reading the read models. Implementation follows; these signatures are what readers use."""

from __future__ import annotations

from typing import Protocol

from events.subjects import SessionId
from projections.views import MessageView, ProjectionHealth, QrView, SessionView


class ReadModelsAway(Exception):
    """Redis cannot be reached or does not answer in time."""


class ReadModels(Protocol):
    """What the gateway reads. Every call raises ReadModelsAway."""

    async def session(self, session: SessionId) -> SessionView | None:
        """Look up a session by its two halves."""
        ...

    async def by_joined(self, joined: str) -> SessionId | None:
        """Find which pair an outside id belongs to. The id is never split."""
        ...

    async def sessions(self, user: str | None = None) -> list[SessionView]:
        """List all sessions, or one user's, oldest first."""
        ...

    async def qr(self, session: SessionId) -> QrView | None:
        """Return the code that is valid now, if there is one."""
        ...

    async def message(self, session: SessionId, message: str) -> MessageView | None:
        """Look up a message this service sent by its idempotency key."""
        ...

    async def history(
        self, session: SessionId, limit: int, before: int | None = None
    ) -> list[MessageView]:
        """List the newest messages first; `before` is a position to page on from."""
        ...

    async def health(self) -> list[ProjectionHealth]:
        """Tell how far each projection is; lag counts events, None if the log is away."""
        ...

    async def ping(self) -> float:
        """Measure a round trip to Redis, in seconds."""
        ...
