"""What goes out and comes in over HTTP, in the names that clients know."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StringConstraints,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from events.session import State
from gateway.chat_ids import Phone, To
from gateway.ids import Id, SessionKey, given
from gateway.problems import without_addresses
from projections.views import QrView, SessionView

LONGEST_MESSAGE = 65_536


def instant(at: datetime) -> str:
    """Write a time as JavaScript does: `2026-01-31T12:00:00.000Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Wire(BaseModel):
    """Base: camelCase outside, frozen, deaf to fields it does not know."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore"
    )


def number(chat: str | None) -> str | None:
    """Return the digits of an account's chat id: a phone number is no chat."""
    return None if chat is None else chat.partition("@")[0].partition(":")[0]


# --- in -----------------------------------------------------------------------


def _given(field: str) -> dict[str, JsonValue]:
    """Describe an object that has a field, and not as null or empty."""
    return {"required": [field], "properties": {field: {"not": {"enum": [None, ""]}}}}


def _message(value: object) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("bad_message", "must be text")
    if not value.strip():
        raise PydanticCustomError("bad_message", "must not be empty")
    if len(value) > LONGEST_MESSAGE:
        rule = f"must be at most {LONGEST_MESSAGE:,} characters"
        raise PydanticCustomError("too_long", "{rule}", {"rule": rule})
    try:
        value.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("bad_message", "must be valid Unicode text") from None
    return value


# What the document says of it; the rule itself is above.
_Words = Annotated[str, StringConstraints(pattern=r"\S", max_length=LONGEST_MESSAGE)]

Text = Annotated[
    str,
    BeforeValidator(_message, json_schema_input_type=_Words),
    Field(description=f"1 to {LONGEST_MESSAGE:,} characters.", examples=["Hello"]),
]


class Pair(Wire):
    """A user and one of the user's bots."""

    user_id: Id
    plubot_id: Id


class CreateBody(Pair):
    """A session to create."""

    force_new: StrictBool | None = Field(
        default=None, description="Drop the link and start over; null is false."
    )


class PhoneBody(Wire):
    """A phone to link by a code that is typed into it."""

    phone_number: Phone


class MessageBody(Wire):
    """A text to send."""

    to: To
    message: Text
    options: dict[str, JsonValue] | None = Field(
        default=None, description="Kept for later; not read."
    )


class SendBody(MessageBody):
    """A text to send through a session, or through a user's least loaded ready one."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [_given("sessionId"), _given("userId")]},
    )

    # Clients that name one of the two leave the other empty rather than out.
    session_id: Annotated[
        SessionKey | None,
        BeforeValidator(given, json_schema_input_type=SessionKey | Literal[""] | None),
    ] = None
    user_id: Annotated[
        Id | None, BeforeValidator(given, json_schema_input_type=Id | Literal[""] | None)
    ] = None


# --- out ----------------------------------------------------------------------


class SessionMetrics(Wire):
    """Numbers of a session; `uptime` in seconds since it became ready."""

    messages_received: int
    messages_sent: int
    messages_failed: int
    reconnections: int
    uptime: int
    last_error: str | None


class SessionDTO(Wire):
    """A session as clients see it."""

    session_id: str
    user_id: str
    plubot_id: str
    status: str
    state: str
    is_ready: bool
    is_authenticated: bool
    needs_reconnection: bool
    created_at: str
    updated_at: str
    last_activity: str
    qr: str | None = None
    qr_data_url: str | None = None
    connection_state: str
    phone_number: str | None
    push_name: str | None
    reason: str | None
    error: str | None
    since: str = Field(description="Since when it is in this state.")
    attempt: int = Field(description="Starts in a row that did not come through.")
    next_attempt: str | None = Field(description="When it is started again by itself.")
    node: str | None
    breaker: str
    metrics: SessionMetrics


# WhatsApp's own words for a connection, which clients of this kind know.
_CONNECTION: dict[State, str] = {
    State.READY: "CONNECTED",
    State.PAIRING: "UNPAIRED",
    State.LOGGED_OUT: "UNPAIRED",
    State.PARKED: "CONFLICT",
    State.OFFLINE: "TIMEOUT",
    State.REGISTERED: "OPENING",
    State.QUEUED: "OPENING",
    State.STARTING: "OPENING",
    State.AUTHENTICATED: "OPENING",
}
NEEDS_RECONNECTION = frozenset(
    {State.SUSPENDED, State.PARKED, State.RESTING, State.STOPPED, State.LOGGED_OUT}
)
"""States that a session does not leave by itself, or not soon."""

TRIED_AGAIN = frozenset({State.BACKING_OFF, State.SUSPENDED})
"""States whose deadline is that of the next start."""


def session_dto(
    view: SessionView, now: datetime, qr: QrView | None = None, picture: str | None = None
) -> SessionDTO:
    """Show a session."""
    state = State(view.state)
    error = without_addresses(view.error) if view.error else None
    return SessionDTO(
        session_id=view.session,
        user_id=view.user,
        plubot_id=view.bot,
        status=view.word,
        state=view.state,
        is_ready=state is State.READY,
        is_authenticated=view.linked,
        needs_reconnection=state in NEEDS_RECONNECTION,
        created_at=instant(view.created),
        updated_at=instant(view.updated),
        last_activity=instant(view.last_activity),
        qr=qr.code if qr else None,
        qr_data_url=picture,
        connection_state=_CONNECTION.get(state, "CLOSED"),
        phone_number=number(view.phone),
        push_name=view.push_name,
        reason=view.reason,
        error=error,
        since=instant(view.since),
        attempt=view.attempt,
        next_attempt=instant(view.deadline) if view.deadline and state in TRIED_AGAIN else None,
        node=view.node,
        breaker=view.starts.state,
        metrics=SessionMetrics(
            messages_received=view.totals.received,
            messages_sent=view.totals.sent,
            messages_failed=view.totals.failed,
            reconnections=view.totals.reconnections,
            uptime=uptime(view, now),
            last_error=error,
        ),
    )


def uptime(view: SessionView, now: datetime) -> int:
    """Tell for how many seconds a session has been ready; 0 if it is not."""
    if view.ready_since is None or State(view.state) is not State.READY:
        return 0
    return max(0, int((now - view.ready_since).total_seconds()))


Json = dict[str, Any]
"""A JSON object on its way out, past which nothing is looked at any more."""
