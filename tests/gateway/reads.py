"""Read models in memory: folded from the events that the scripted node appends."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime

from events.envelope import Envelope
from events.live import Qr
from events.message import (
    ACK_OF,
    Delivered,
    Expired,
    Failed,
    MessageEvent,
    Played,
    Read,
    Received,
    Sending,
    Sent,
    Unresolved,
)
from events.session import Session, State, evolve
from events.session_events import Ready, SessionEvent
from events.subjects import SessionId
from projections.read import ReadModelsAway, page, starts
from projections.views import MessageView, NodeView, ProjectionHealth, QrView, SessionView


@dataclass
class FakeReads:
    """A small stand-in for Redis. `lag` holds back what was applied, `away` takes it all away."""

    away: bool = False
    frozen: bool = False
    views: dict[SessionId, SessionView] = field(default_factory=dict)
    codes: dict[SessionId, QrView] = field(default_factory=dict)
    messages: dict[SessionId, dict[str, MessageView]] = field(default_factory=dict)
    pools: list[NodeView] = field(default_factory=list)
    projections: list[ProjectionHealth] = field(default_factory=list)
    _folded: dict[SessionId, Session] = field(default_factory=dict)
    _held: list[tuple[float, SessionId, SessionView | None]] = field(default_factory=list)
    lag: float = 0.0

    def apply(self, session: SessionId, event: SessionEvent, envelope: Envelope, at: int) -> None:
        state = evolve(self._folded.get(session, Session()), event, envelope.time)
        self._folded[session] = state
        was = self.views.get(session)
        view = _view(session, state, was, envelope.time, at, isinstance(event, Ready))
        if self.frozen:
            return
        if self.lag:
            self._held.append((time.monotonic() + self.lag, session, view))
            return
        self._show(session, view)

    def _show(self, session: SessionId, view: SessionView | None) -> None:
        if view is None or view.state == State.REMOVED:
            self.views.pop(session, None)
            self.messages.pop(session, None)
        else:
            self.views[session] = view

    def apply_message(
        self, session: SessionId, event: MessageEvent, at: datetime, position: int
    ) -> None:
        here = self.messages.setdefault(session, {})
        match event:
            case Sending():
                here[event.message] = _out(event.message, event.to, at, position, "queued", 0)
            case Sent():
                here[event.message] = _out(
                    event.message, event.chat, event.at, position, "sent", event.ack, event
                )
            case Failed():
                here[event.message] = _out(
                    event.message, event.to, at, position, "failed", 0, reason=event.reason
                )
            case Expired():
                here[event.message] = _out(event.message, event.to, at, position, "expired", 0)
            case Unresolved():
                here[event.message] = _out(event.message, event.to, at, position, "unresolved", 0)
            case Received():
                here[event.key] = MessageView(
                    message=None,
                    wa_id=event.wa_id,
                    key=event.key,
                    direction="in",
                    chat=event.chat,
                    sender=event.sender,
                    author=event.author,
                    body=event.body,
                    type=event.type,
                    status="received",
                    ack=0,
                    reason=None,
                    push_name=event.push_name,
                    at=event.at,
                    position=position,
                    media=event.media,
                    media_at=at,
                )
            case Delivered() | Read() | Played():
                if event.message in here:
                    new = {"status": event.kind, "ack": ACK_OF[event.kind]}
                    here[event.message] = here[event.message].model_copy(update=new)

    def show_code(self, session: SessionId, qr: Qr) -> None:
        self.codes[session] = QrView(code=qr.code, attempt=qr.attempt, expires=qr.expires)

    def _here(self) -> None:
        if self.away:
            raise ReadModelsAway
        due = [held for held in self._held if held[0] <= time.monotonic()]
        for held in due:
            self._held.remove(held)
            self._show(held[1], held[2])

    # --- the protocol -----------------------------------------------------------

    async def session(self, session: SessionId) -> SessionView | None:
        self._here()
        return self.views.get(session)

    async def by_joined(self, joined: str) -> SessionId | None:
        self._here()
        return next((s for s in self.views if s.joined == joined), None)

    async def sessions(self, user: str | None = None) -> list[SessionView]:
        self._here()
        found = [v for v in self.views.values() if user in {None, v.user}]
        return sorted(found, key=lambda view: view.created)

    async def nodes(self) -> list[NodeView]:
        self._here()
        return self.pools

    async def qr(self, session: SessionId) -> QrView | None:
        self._here()
        return self.codes.get(session)

    async def message(self, session: SessionId, message: str) -> MessageView | None:
        self._here()
        return self.messages.get(session, {}).get(message)

    async def history(
        self, session: SessionId, limit: int, before: int | None = None
    ) -> list[MessageView]:
        self._here()
        found = [
            m for m in self.messages.get(session, {}).values() if not before or m.position < before
        ]
        return sorted(found, key=lambda m: -m.position)[:limit]

    async def health(self) -> list[ProjectionHealth]:
        self._here()
        return self.projections

    async def ping(self) -> float:
        self._here()
        return 0.0005


def _view(
    session: SessionId,
    state: Session,
    was: SessionView | None,
    at: datetime,
    position: int,
    became_ready: bool,
) -> SessionView:
    return SessionView(
        user=session.user,
        bot=session.bot,
        session=session.joined,
        state=state.state.value,
        word=state.word,
        wanted=state.wanted,
        linked=state.linked,
        starts=starts(state),
        page=page(state),
        phone=state.phone,
        lid=state.lid,
        push_name=state.push_name,
        reason=state.reason,
        error=state.error,
        attempt=state.failures,
        deadline=state.deadline,
        percent=state.percent,
        node="node-1",
        created=was.created if was else at,
        updated=at,
        since=state.since or at,
        last_activity=at,
        ready_since=at if became_ready else (was.ready_since if was else None),
        totals=state.totals,
        version=state.version,
        position=position,
    )


def _out(
    message: str,
    chat: str,
    at: datetime,
    position: int,
    status: str,
    ack: int,
    sent: Sent | None = None,
    reason: str | None = None,
) -> MessageView:
    return MessageView(
        message=message,
        wa_id=sent.wa_id if sent else None,
        key=sent.key if sent else None,
        direction="out",
        chat=chat,
        sender=None,
        author=None,
        body="",
        type="chat",
        status=status,
        ack=ack,
        reason=reason,
        push_name=None,
        at=at,
        position=position,
    )
