"""A message as clients see it, and the file that may come with it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Self
from urllib.parse import quote

from pydantic import Field

from events.clock import utc_now
from events.content import Kept
from gateway.wire import Wire, instant
from projections.views import MessageView


class Attachment(Wire):
    """What a message says of its file; all of it null where there is none."""

    mimetype: str | None = None
    filename: str | None = None
    size: int | None = Field(default=None, description="Bytes.")
    caption: str | None = None
    media_url: str | None = Field(
        default=None,
        description="Path of this gateway that gives the file out; null where it is not kept.",
    )

    @classmethod
    def of(cls, session: str, file: Kept | None, caption: str) -> Self:
        """Describe a file; `session` is the joined id."""
        if file is None:
            return cls()
        return cls(
            mimetype=file.mime,
            filename=file.name,
            size=file.size,
            caption=caption,
            media_url=None if file.object is None else media_url(session, file.object),
        )


def media_url(session: str, stored: str) -> str:
    """Return the path of a file of a session, given its name in the object store."""
    return f"/api/sessions/{session}/media/{quote(stored.rpartition('/')[2])}"


class MessageDTO(Attachment):
    """A message of a session's history."""

    id: str | None
    message_id: str | None
    command_key: str | None
    key: str | None
    direction: str
    from_me: bool
    chat_id: str
    sender: str | None = Field(serialization_alias="from")
    to: str | None
    author: str | None
    body: str
    type: str
    status: str
    ack: int
    reason: str | None
    push_name: str | None
    timestamp: str
    position: int


def message_dto(view: MessageView, session: str, media_days: float) -> MessageDTO:
    """Show a message; `session` is the joined id, and its file is kept for `media_days`."""
    out = view.direction == "out"
    attached = Attachment.of(session, view.media, view.body)
    return MessageDTO(
        id=view.wa_id,
        message_id=view.wa_id,
        command_key=view.message,
        key=view.key,
        direction=view.direction,
        from_me=out,
        chat_id=view.chat,
        sender=view.sender,
        to=view.chat if out else None,
        author=view.author,
        body=view.body,
        type=view.type,
        status=view.status,
        ack=view.ack,
        reason=view.reason,
        push_name=view.push_name,
        timestamp=instant(view.at),
        position=view.position,
        mimetype=attached.mimetype,
        filename=attached.filename,
        size=attached.size,
        caption=attached.caption,
        media_url=attached.media_url if _is_kept(view.media_at, media_days) else None,
    )


def _is_kept(since: datetime | None, days: float) -> bool:
    return since is not None and utc_now() < since + timedelta(days=days)
