"""Webhooks in the names that clients know: what comes in, and what is shown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from gateway.addresses import LONGEST_URL
from gateway.answers import Answer
from gateway.ids import SessionKey, given
from gateway.webhooks import signing
from gateway.webhooks.endpoint import EVENTS, Endpoint
from gateway.webhooks.letters import Kept
from gateway.webhooks.progress import Delivered, Progress, Stopped, Totals
from gateway.webhooks.redrive import Driven
from gateway.wire import Wire, instant

# --- in -----------------------------------------------------------------------


def _event(value: object) -> str:
    if isinstance(value, str) and (value == "*" or value in EVENTS):
        return value
    known = ", ".join(sorted(EVENTS))
    raise PydanticCustomError("bad_event", "must be * or one of {known}", {"known": known})


def _secret(value: object) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("bad_secret", "must be text")
    try:
        return signing.checked(value)
    except signing.BadSecret as error:
        raise PydanticCustomError("bad_secret", "{rule}", {"rule": str(error)}) from None


def _all(value: object) -> object:
    """Take the doors' way of asking for all events for a list."""
    return ["*"] if value == "*" else value


def _any(value: object) -> object:
    """Take the doors' way of asking for all sessions, or nothing, for no session."""
    return None if value == "*" else given(value)


_Event = Annotated[
    str, BeforeValidator(_event), Field(json_schema_extra={"enum": ["*", *sorted(EVENTS)]})
]
_Secret = Annotated[str, Field(json_schema_extra={"pattern": signing.PATTERN})]

_Events = Annotated[list[_Event], Field(min_length=1)]
_Chosen = Annotated[str, BeforeValidator(_secret, json_schema_input_type=_Secret)]


class WebhookBody(Wire):
    """Where to post, and what."""

    url: str = Field(
        min_length=1, max_length=LONGEST_URL, examples=["https://example.org/whatsapp"]
    )
    events: Annotated[
        _Events, BeforeValidator(_all, json_schema_input_type=_Events | Literal["*"])
    ] = Field(
        description="Names as on the live feed, or `*`. Codes are shown there only.",
        examples=[["message-received", "session-ready"]],
    )
    secret: Annotated[
        _Chosen | None, BeforeValidator(given, json_schema_input_type=_Secret | Literal[""] | None)
    ] = Field(
        default=None,
        description=f"Signs what is posted; {signing.RULE}. One is made where none is given; "
        "a new one signs beside the old one for a day.",
    )
    session: Annotated[
        SessionKey | None,
        BeforeValidator(_any, json_schema_input_type=SessionKey | Literal["*", ""] | None),
    ] = Field(default=None, description="This session only; `*` or nothing for all.")


# --- out ----------------------------------------------------------------------


class RecentDTO(Wire):
    """What became of one event lately."""

    id: str
    position: int
    event: str
    session: str
    status: str = Field(description="delivered, failing, dead")
    attempts: int
    last_error: str | None
    http_status: int | None
    reply: str | None
    timestamp: str

    @classmethod
    def of(cls, one: Delivered) -> RecentDTO:
        """Show a delivery."""
        return cls(
            id=one.id,
            position=one.position,
            event=one.event,
            session=one.session,
            status=one.status,
            attempts=one.attempts,
            last_error=one.error,
            http_status=one.code,
            reply=one.replied,
            timestamp=instant(one.at),
        )


class StoppedDTO(Wire):
    """A session whose events the endpoint does not take at the moment."""

    session: str
    failures: int
    failing_since: str | None
    next_attempt: str | None
    last_error: str | None

    @classmethod
    def of(cls, dotted: str, lane: Stopped) -> StoppedDTO:
        """Show a lane that fails."""
        return cls(
            session=_joined(dotted),
            failures=lane.failures,
            failing_since=_instant(lane.since),
            next_attempt=_instant(lane.due),
            last_error=lane.error,
        )


class WebhookDTO(Wire):
    """An endpoint. Its secret is never shown again."""

    name: str
    user_id: str | None
    url: str
    events: list[str]
    session: str | None
    created_at: str
    updated_at: str
    position: int | None = Field(description="Up to here the log was read for it.")
    totals: Totals
    failing: list[StoppedDTO]

    @classmethod
    def of(cls, endpoint: Endpoint, progress: Progress | None) -> WebhookDTO:
        """Show an endpoint, and how far it is."""
        lanes = {} if progress is None else progress.lanes
        return cls(
            name=endpoint.name,
            user_id=endpoint.user,
            url=endpoint.url,
            events=list(endpoint.events),
            session=endpoint.session,
            created_at=instant(endpoint.created),
            updated_at=instant(endpoint.updated),
            position=None if progress is None else progress.position,
            totals=Totals() if progress is None else progress.totals,
            failing=[
                StoppedDTO.of(dotted, lane)
                for dotted, lane in sorted(lanes.items())
                if lane.failures
            ],
        )


class WebhookAnswer(Answer):
    """An endpoint; `secret` only where it was made by this very call."""

    data: WebhookDTO
    secret: str | None = None


class WebhooksAnswer(Answer):
    """Endpoints."""

    webhooks: list[WebhookDTO]
    total: int


class DeliveriesAnswer(Answer):
    """What became of events lately, the newest first."""

    deliveries: list[RecentDTO]


class LetterDTO(Wire):
    """An event that was not delivered. `reason`: gave_up, or overflow."""

    id: int
    event_id: str
    event: str
    session: str
    position: int
    reason: str
    attempts: int
    last_error: str | None
    timestamp: str

    @classmethod
    def of(cls, kept: Kept) -> LetterDTO:
        """Show a dead letter."""
        letter = kept.letter
        return cls(
            id=kept.number,
            event_id=letter.event_id,
            event=letter.event,
            session=_joined(letter.session),
            position=letter.position,
            reason=letter.reason,
            attempts=letter.attempts,
            last_error=letter.error,
            timestamp=instant(letter.at),
        )


class LettersAnswer(Answer):
    """Dead letters, in the order of their events."""

    dead: list[LetterDTO]
    total: int


class DrivenDTO(Wire):
    """A dead letter that was to be delivered again. `outcome`: delivered, failed, gone, left."""

    id: int
    event_id: str
    outcome: str
    error: str | None


class DrivenAnswer(Answer):
    """How delivering again went."""

    delivered: int
    remaining: int
    results: list[DrivenDTO]

    @classmethod
    def of(cls, driven: Sequence[Driven]) -> DrivenAnswer:
        """Show how each letter went."""
        return cls(
            delivered=sum(one.outcome == "delivered" for one in driven),
            remaining=sum(one.outcome in {"failed", "left"} for one in driven),
            results=[
                DrivenDTO(
                    id=one.letter.number,
                    event_id=one.letter.letter.event_id,
                    outcome=one.outcome,
                    error=one.error,
                )
                for one in driven
            ],
        )


def _joined(dotted: str) -> str:
    return dotted.replace(".", "-")


def _instant(at: datetime | None) -> str | None:
    return None if at is None else instant(at)
