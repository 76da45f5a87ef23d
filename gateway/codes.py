"""QR codes: the one that is there, or the next one to come."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import ValidationError

from events.asks import QrAnswer
from events.clock import utc_now
from events.live import Qr
from events.session import AT_REST, State
from events.session_events import Blocked, QrExhausted, Ready, RefreshQr, Suspended
from events.subjects import SessionId
from gateway.asks import Asks
from gateway.commands import Commands, Published, refusal
from gateway.directory import Directory
from gateway.lifecycle import Lifecycle
from gateway.outcomes import Heard, Listener, Outcomes
from gateway.problems import Problem
from projections.read import ReadModels
from projections.views import QrView, SessionView

WAIT = 30.0
"""Seconds that a request waits for a code."""


@dataclass(frozen=True, slots=True)
class Linked:
    """No code, because the session is linked and ready."""

    phone: str | None


class Codes:
    """Raises Problem, BrokerAway and ReadModelsAway."""

    def __init__(
        self,
        *,
        reads: ReadModels,
        directory: Directory,
        lifecycle: Lifecycle,
        commands: Commands,
        outcomes: Outcomes,
        asks: Asks,
    ) -> None:
        self._reads = reads
        self._directory = directory
        self._lifecycle = lifecycle
        self._commands = commands
        self._outcomes = outcomes
        self._asks = asks

    async def current(self, view: SessionView) -> QrView | None:
        """Return the code on the page of a session, if there is one and it is known here."""
        # Only then: the code of an earlier start may still be in Redis.
        if State(view.state) is not State.PAIRING:
            return None
        return await self._reads.qr(SessionId(view.user, view.bot))

    async def get(
        self, session: SessionId, pay: Callable[[], Awaitable[None]] | None = None
    ) -> QrView | Linked:
        """Return the code, or the next one; starts the session if nothing runs there.

        A start makes a new code, so it is paid for first; a code that is there is free.
        """
        with self._outcomes.listen(session) as listener:
            view = await self._directory.view(session)
            if view is None or State(view.state) in AT_REST:
                _may_start(view)
                if pay is not None:
                    await pay()
                view = (await self._lifecycle.create(session)).view
            match State(view.state):
                case State.READY:
                    return Linked(view.phone)
                case State.BLOCKED:
                    raise Problem(409, "blocked", "WhatsApp blocked this account.")
                case State.SUSPENDED:
                    raise suspended(view)
                case State.PAIRING:
                    code = await self._reads.qr(session) or await self._from_owner(session)
                    if code is not None:
                        return code
                case _:
                    pass
            # What was said while NATS was away is missed by the listener alone.
            found = await _next(listener, WAIT) or await self._reads.qr(session)
        if found is None:
            raise _late()
        return found

    async def refresh(self, session: SessionId) -> QrView | Linked:
        """Have WhatsApp show a new code, and return it."""
        view = await self._directory.existing(session)
        before = await self.current(view)
        with self._outcomes.listen(session) as listener:
            command = await self._commands.tell(session, RefreshQr())
            found = await _next(listener, WAIT, before, command)
        if found is None:
            raise _late()
        return found

    async def _from_owner(self, session: SessionId) -> QrView | None:
        """Ask the page itself, where the read models have lost the code."""
        try:
            answer = QrAnswer.model_validate(await self._asks.ask(session, "qr"))
        except (Problem, ValidationError):
            return None
        return QrView(code=answer.code, attempt=answer.attempt, expires=answer.expires)


def _may_start(view: SessionView | None) -> None:
    """Raise the Problem of a session that rests on purpose with its link kept."""
    if view is not None and view.linked:
        raise Problem(
            409,
            "linked",
            f"The session is linked and {view.word}; reconnect it, there is no code to scan.",
        )


def suspended(view: SessionView) -> Problem:
    """Say that the breaker is open, and until when."""
    left = None if view.deadline is None else (view.deadline - utc_now()).total_seconds()
    return _suspended(left)


def _suspended(left: float | None) -> Problem:
    detail = "The session failed too often in a row; it is tried again in a while."
    return Problem(503, "suspended", detail, retry_after=None if left is None else max(1.0, left))


def _late() -> Problem:
    return Problem(408, "no_code", "No QR code came in time; ask again.")


async def _next(
    listener: Listener,
    wait: float,
    before: QrView | None = None,
    command: Published | None = None,
) -> QrView | Linked | None:
    """Wait for a code other than `before`, or for a reason why there will be none."""

    def news(heard: Heard) -> QrView | Linked | Problem | None:
        match heard.payload:
            case Qr() as qr if before is None or qr.code != before.code:
                return QrView(code=qr.code, attempt=qr.attempt, expires=qr.expires)
            case Ready() as ready:
                return Linked(ready.phone)
            case Suspended() as told:
                return _suspended((told.until - utc_now()).total_seconds())
            case Blocked():
                return Problem(409, "blocked", "WhatsApp blocked this account.")
            case QrExhausted():
                return Problem(408, "qr_exhausted", "Nobody scanned the codes; ask again.")
            case _:
                return None if command is None else refusal(heard, command)

    found = await listener.until(news, wait)
    if isinstance(found, Problem):
        raise found
    return found
