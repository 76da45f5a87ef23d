"""What an owner says of its page, and how that is shown over HTTP."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from gateway.answers import Answer
from gateway.wire import Wire, instant

# --- as the owner says it ---------------------------------------------------------


class _Found(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class FoundChat(_Found):
    """A chat of the page."""

    id: str
    name: str | None
    unread: int
    group: bool
    at: datetime | None


class FoundMessage(_Found):
    """A message of the page."""

    wa_id: str
    key: str
    chat: str
    sender: str
    author: str | None
    from_me: bool
    kind: str
    body: str
    at: datetime
    ack: int
    push_name: str | None = None
    quoted: str | None = None


class FoundGroup(_Found):
    """A group of the page."""

    id: str
    name: str | None
    members: list[str]


class FoundNumber(_Found):
    """Whether a number is on WhatsApp, and its id there."""

    exists: bool
    id: str | None


class FoundAddresses(_Found):
    """Both addresses of a contact."""

    phone: str | None
    lid: str | None


# --- as clients see it -------------------------------------------------------------


class ChatDTO(Wire):
    """A chat; `timestamp` is that of its last message."""

    id: str
    name: str | None
    unread_count: int
    is_group: bool
    timestamp: str | None

    @classmethod
    def of(cls, found: FoundChat) -> ChatDTO:
        """Show a chat."""
        return cls(
            id=found.id,
            name=found.name,
            unread_count=found.unread,
            is_group=found.group,
            timestamp=found.at and instant(found.at),
        )


class SeenMessageDTO(Wire):
    """A message as WhatsApp keeps it; `messageId` is the bare id, `key` the full one."""

    message_id: str
    key: str
    chat_id: str
    sender: str = Field(serialization_alias="from")
    author: str | None
    from_me: bool
    type: str
    body: str
    timestamp: str
    ack: int
    push_name: str | None
    quoted: str | None

    @classmethod
    def of(cls, found: FoundMessage) -> SeenMessageDTO:
        """Show a message."""
        return cls(
            message_id=found.wa_id,
            key=found.key,
            chat_id=found.chat,
            sender=found.sender,
            author=found.author,
            from_me=found.from_me,
            type=found.kind,
            body=found.body,
            timestamp=instant(found.at),
            ack=found.ack,
            push_name=found.push_name,
            quoted=found.quoted,
        )


class GroupDTO(Wire):
    """A group; members by phone id where WhatsApp tells it, by LID otherwise."""

    id: str
    name: str | None
    members: list[str]

    @classmethod
    def of(cls, found: FoundGroup) -> GroupDTO:
        """Show a group."""
        return cls(id=found.id, name=found.name, members=found.members)


class ChatsAnswer(Answer):
    """Chats, newest first."""

    session_id: str
    chats: list[ChatDTO]
    total: int


class MessagesAnswer(Answer):
    """The last messages of a chat, oldest first."""

    session_id: str
    chat_id: str
    messages: list[SeenMessageDTO]
    total: int


class GroupsAnswer(Answer):
    """Groups, by id."""

    session_id: str
    groups: list[GroupDTO]
    total: int


class NumberAnswer(Answer):
    """Whether a number is on WhatsApp; `id` is where to write to if it is."""

    session_id: str
    number: str
    exists: bool
    id: str | None


class AddressesAnswer(Answer):
    """Both ids of a contact; null is one that WhatsApp does not tell."""

    session_id: str
    id: str
    phone: str | None
    lid: str | None
