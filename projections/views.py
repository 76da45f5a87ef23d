"""The read models as readers get them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from events.breaker import BreakerState
from events.content import Kept
from events.session_events import Totals


class View(BaseModel):
    """Base of every read model: frozen."""

    model_config = ConfigDict(frozen=True)


class BreakerView(View):
    """A breaker as of its last transition. `since` is None while it has never moved.

    `rejected` counts what it turned away up to then: whoever turns away counts, and says
    so with the transition, since an event for each would let callers fill the log.
    """

    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    rejected: int = 0
    next_attempt: datetime | None = None
    since: datetime | None = None


class NodeView(View):
    """What a node's pool said last of its launch breaker: None when it had stopped.

    `position` is of that event.
    """

    node: str
    launches: BreakerView | None
    position: int


class SessionView(View):
    """A session as its events tell it. `state` is the inner state, `word` the one outside."""

    user: str
    bot: str
    session: str
    state: str
    word: str
    wanted: bool
    linked: bool
    starts: BreakerView
    page: BreakerView
    phone: str | None
    lid: str | None
    push_name: str | None
    reason: str | None
    error: str | None
    attempt: int
    deadline: datetime | None
    percent: int
    node: str | None
    created: datetime
    updated: datetime
    since: datetime
    last_activity: datetime
    ready_since: datetime | None
    totals: Totals
    version: int
    position: int


class QrView(View):
    """The code to scan right now. A credential: never logged."""

    code: str
    attempt: int
    expires: datetime


class MessageView(View):
    """One message of a session's history.

    `status` is queued, sent, delivered, read, played, failed, expired or
    unresolved for what goes out, and received for what comes in. `media` is its
    file, and `media_at` the time from which it is kept.
    """

    message: str | None
    wa_id: str | None
    key: str | None
    direction: Literal["in", "out"]
    chat: str
    sender: str | None
    author: str | None
    body: str
    type: str
    status: str
    ack: int
    reason: str | None
    push_name: str | None
    at: datetime
    position: int
    media: Kept | None = None
    media_at: datetime | None = None


class ProjectionHealth(View):
    """How far the read models follow the log."""

    projection: str
    position: int
    lag: int | None
    updated: datetime | None
    stopped: str | None
