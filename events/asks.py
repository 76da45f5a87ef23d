"""Questions to a session's owner: core NATS request and reply on `wa.ask.<user>.<bot>.<query>`."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal, get_args

from pydantic import JsonValue

from events.envelope import Payload

Query = Literal[
    "qr",
    "status",
    "chats",
    "messages",
    "check-number",
    "seen",
    "typing",
    "screenshot",
    "pairing-code",
    "groups",
    "addresses",
    "media",
]
QUERIES: tuple[Query, ...] = get_args(Query)


class Question(Payload):
    """The body of a question; each query reads the fields it needs."""

    chat: str | None = None
    number: str | None = None
    message: str | None = None
    limit: int = 50
    typing: bool = True


class AskError(Payload):
    """Why there is no answer. `status` is the HTTP status that says the same."""

    reason: str
    detail: str
    status: int


class Answer(Payload):
    """Either `data` or `error`. Bytes (a screenshot) travel as base64."""

    kind: ClassVar[str] = "answer"

    data: dict[str, JsonValue] | list[JsonValue] | None = None
    error: AskError | None = None


class PairingCode(Payload):
    """A code that links the phone it is typed into. A credential: never logged."""

    code: str
    expires: datetime | None = None


class QrAnswer(Payload):
    """The code on the page right now."""

    code: str
    attempt: int
    expires: datetime
