"""The QR code that a page shows: told live and held while it is valid, never stored."""

from __future__ import annotations

from collections.abc import Callable

from actors.session_parts import SessionParts
from events import live
from events.session import State
from events.session_facts import CodeShown
from events.session_rules import is_typing


class Codes:
    """One session's code. Used on the session's own thread only."""

    def __init__(self, own: SessionParts, note: Callable[[CodeShown], None]) -> None:
        self.shown: live.Qr | None = None
        self._own, self._note = own, note

    def show(self, code: str, ttl: float) -> None:
        """Take the code on the page, valid for `ttl` seconds."""
        if self.shown is not None and self.shown.code == code:
            return
        self._note(CodeShown(ttl))
        state = self._own.state
        if state.state is State.PAIRING and state.deadline is not None:
            self.shown = live.Qr(code=code, attempt=state.qr_attempt, expires=state.deadline)
            self._own.tell_live(self.shown)

    @property
    def may_change(self) -> bool:
        """Whether the page may show another: a new one would void the one that is being typed."""
        state = self._own.state
        return state.state is State.PAIRING and not is_typing(state, self._own.node.clock.now())

    def forget(self) -> None:
        """Let go of a code that is of no use any more."""
        self.shown = None
