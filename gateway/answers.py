"""Shapes of the answers, and how errors are described in the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.responses import Response

from events.clock import utc_now
from gateway.message_answers import MessageDTO
from gateway.problems import title
from gateway.wire import SessionDTO, Wire, instant

SECRET = {"Cache-Control": "no-store"}
"""On every answer that holds a QR code: it is a credential."""


def placed(position: int | None) -> dict[str, str]:
    """Return the header with the place in the log up to which an answer tells, if it is known.

    Whoever watches the live feed since then misses nothing.
    """
    return {"X-Position": str(position)} if position else {}


PLACED: dict[str, Any] = {
    "headers": {
        "X-Position": {
            "description": "The live feed since this position misses nothing.",
            "schema": {"type": "integer"},
            "example": 1042,
        }
    }
}


def answer(body: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Write an answer. Not through FastAPI, which would check our own models once more."""
    return Response(
        body.model_dump_json(by_alias=True), status, headers, media_type="application/json"
    )


def now() -> str:
    """Return the `timestamp` of an answer."""
    return instant(utc_now())


class Answer(Wire):
    """Base of what goes well."""

    success: Literal[True] = True
    timestamp: str = Field(default_factory=now)


class SessionAnswer(Answer):
    """A session."""

    data: SessionDTO


class CreateAnswer(SessionAnswer):
    """A session that was created, or was there; with its QR code if there is one."""

    status: str
    session_id: str
    qr: str | None = None
    qr_data_url: str | None = None


class Pagination(Wire):
    """Which part of a list this is."""

    page: int
    limit: int
    total: int
    pages: int
    has_more: bool


class SessionsAnswer(Answer):
    """A list of sessions; `total` counts all that match."""

    sessions: list[SessionDTO]
    total: int
    pagination: Pagination


class StatusAnswer(Answer):
    """The short form of a session."""

    exists: Literal[True] = True
    session_id: str
    status: str
    state: str
    phone_number: str | None
    last_activity: str
    is_ready: bool
    is_authenticated: bool
    needs_reconnection: bool


class DoneAnswer(Answer):
    """A command was carried out, or (202) accepted."""

    session_id: str
    status: str


class QrAnswer(Answer):
    """A code to scan."""

    session_id: str
    status: str = "waiting_qr"
    qr: str
    qr_code: str
    qr_data_url: str
    attempt: int
    expires_at: str


class PairingCodeAnswer(Answer):
    """A code to type into the phone: Linked devices, Link with phone number instead."""

    session_id: str
    code: str
    expires_at: str | None


class LinkedAnswer(Answer):
    """No code, because the session is linked."""

    session_id: str
    status: str = "ready"
    phone_number: str | None


class Sent(Wire):
    """How a message stands; `messageId` and `ack` are known once it is sent."""

    session_id: str
    message_id: str | None
    command_id: str
    key: str | None
    idempotency_key: str
    status: str
    timestamp: str
    ack: int


class SendAnswer(Sent):
    """A message that was sent, or (202) accepted."""

    success: Literal[True] = True


class SentAnswer(Answer):
    """The same, wrapped."""

    data: Sent


class HistoryAnswer(Answer):
    """Messages, newest first."""

    session_id: str
    messages: list[MessageDTO]
    total: int
    next_before: int | None = Field(
        default=None, description="Pass as `before` for the next older messages."
    )


class SearchAnswer(HistoryAnswer):
    """Messages that hold a text, newest first."""

    complete: bool = Field(
        description="Whether all was searched that the log holds; else `nextBefore` goes on."
    )


# --- for the document -----------------------------------------------------------

_SAYS: dict[int, str] = {
    400: "plubotId must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -.",
    401: "An API key is needed: send it as x-api-key.",
    403: "This key may not do this.",
    404: "There is no session user-1-bot-1.",
    408: "No QR code came in time; ask again.",
    409: "The session is waiting_qr; it cannot send now.",
    413: "The body is larger than 1,000,000 bytes.",
    422: "to is not a number on WhatsApp.",
    429: "Too many commands wait for this session already.",
    503: "The message broker is away; try again.",
    504: "The URL did not give the file within 20 s.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the errors of a route, each with an example."""
    return {
        status: {
            "description": title(status),
            "content": {
                "application/problem+json": {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "example": _example(status),
                }
            },
        }
        for status in (*statuses, 401, 403)
    }


def _no_status() -> dict[int | str, dict[str, Any]]:
    said = errors(404)[404]
    content = said["content"]["application/problem+json"]
    shape = {
        "type": "object",
        "required": ["success", "exists", "status", "error"],
        "properties": {
            "success": {"const": False},
            "exists": {"const": False},
            "status": {"const": "not_found"},
            "error": {"type": "string"},
        },
    }
    example = content["example"] | {"exists": False, "status": "not_found"}
    told = {"schema": shape, "example": example}
    return {404: said | {"content": {"application/problem+json": told}}}


def _example(status: int) -> dict[str, Any]:
    example: dict[str, Any] = {
        "type": "about:blank",
        "title": title(status),
        "status": status,
        "detail": _SAYS[status],
        "success": False,
        "error": _SAYS[status],
    }
    return example | ({"retryAfter": 2000} if status in {429, 503} else {})


NO_STATUS = _no_status()
"""The status of a session that is not there: `status` is a word in it, not a number."""
