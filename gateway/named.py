"""The session that a path names by its id."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path

from events.subjects import SessionId
from gateway.callers import Who
from gateway.ids import SessionKey
from gateway.parts import Use

OfPath = Annotated[SessionKey, Path(alias="id")]


async def _session(session_id: OfPath, parts: Use, caller: Who) -> SessionId:
    view = await parts.directory.by_id(session_id, caller)
    return SessionId(view.user, view.bot)


There = Annotated[SessionId, Depends(_session)]
"""The route need not look whether the session exists (404), and whether it is the caller's."""
