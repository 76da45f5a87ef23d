"""What the page says, read: JSON in, typed facts out, everything checked.

The page is WhatsApp's code with ours beside it: what comes from there is input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from actors.browser.protocol import (
    AckSeen,
    Addresses,
    Chat,
    Group,
    Loading,
    LoggedOut,
    MessageSeen,
    PageStatus,
    QrIdle,
    QrShown,
    Sighting,
    StateSeen,
)


class _Notice(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Loading(_Notice):
    kind: Literal["loading"]
    percent: Annotated[int, Field(ge=0, le=100)]
    message: str

    def sighting(self) -> Sighting:
        return Loading(self.percent, self.message)


class _Qr(_Notice):
    kind: Literal["qr"]
    code: str
    ttl: float
    painted: bool = False

    def sighting(self) -> Sighting:
        return QrShown(self.code, self.ttl, self.painted)


class _QrIdle(_Notice):
    kind: Literal["qr_idle"]

    def sighting(self) -> Sighting:
        return QrIdle()


class _State(_Notice):
    kind: Literal["state"]
    status: PageStatus

    def sighting(self) -> Sighting:
        return StateSeen(self.status)


class _LoggedOut(_Notice):
    kind: Literal["logged_out"]
    reason: str

    def sighting(self) -> Sighting:
        return LoggedOut(self.reason)


class _Message(_Notice):
    kind: Literal["message"]
    message: MessageSeen

    def sighting(self) -> Sighting:
        return self.message


class _Ack(_Notice):
    kind: Literal["ack"]
    wa_id: str
    key: str
    chat: str
    ack: int

    def sighting(self) -> Sighting:
        return AckSeen(self.wa_id, self.key, self.chat, self.ack)


_AnyNotice = Annotated[
    _Loading | _Qr | _QrIdle | _State | _LoggedOut | _Message | _Ack,
    Field(discriminator="kind"),
]
_NOTICE: TypeAdapter[_AnyNotice] = TypeAdapter(_AnyNotice)
_MESSAGE = TypeAdapter(MessageSeen)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A notice that is not what it should be: where, and why. Never its content."""

    where: str
    problem: str


def read_notice(text: str) -> Sighting | Unreadable:
    """Read what the page told."""
    try:
        return _NOTICE.validate_json(text).sighting()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        return Unreadable(".".join(map(str, first["loc"])), first["type"])


def read_messages(items: list[Any]) -> tuple[list[MessageSeen], int]:
    """Read what can be read of many messages, and count what cannot."""
    found: list[MessageSeen] = []
    for item in items:
        try:
            found.append(_MESSAGE.validate_python(item))
        except ValidationError:
            continue
    return found, len(items) - len(found)


class Reply(BaseModel):
    """A call's answer: its value, a refusal for good, or a failure before anything was done."""

    model_config = ConfigDict(frozen=True)

    value: Any = None
    refused: str | None = None
    failed: str | None = None
    detail: str = ""


STATUS = TypeAdapter(PageStatus)
MAYBE_MESSAGE: TypeAdapter[MessageSeen | None] = TypeAdapter(MessageSeen | None)
MESSAGES: TypeAdapter[list[Any]] = TypeAdapter(list[Any])
COUNT = TypeAdapter(int)
CHATS = TypeAdapter(list[Chat])
GROUPS = TypeAdapter(list[Group])
ADDRESSES = TypeAdapter(Addresses)
MAYBE_TEXT: TypeAdapter[str | None] = TypeAdapter(str | None)
TEXT = TypeAdapter(str)
NOTHING = TypeAdapter(None)
