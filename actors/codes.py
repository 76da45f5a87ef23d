"""The QR code that a page shows: told live and held while it is valid, never stored."""

from __future__ import annotations

from collections.abc import Callable

from actors.browser.protocol import QrShown
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
        self._seen: QrShown | None = None

    def show(self, code: QrShown) -> None:
        """Take the code on the page. Told twice it is one; how long it is good may be new."""
        before = self._seen if self._seen is not None and self._seen.ref == code.ref else None
        if before is not None and before.ttl == code.ttl:
            return
        self._note(CodeShown(code.ttl, known=before is not None))
        state = self._own.state
        if state.state is State.PAIRING and state.deadline is not None:
            self._seen = code
            self.shown = live.Qr(code=code.code, attempt=state.qr_attempt, expires=state.deadline)
            self._own.tell_live(self.shown)

    @property
    def may_change(self) -> bool:
        """Whether the page may show another: a new one would void the one that is being typed."""
        state = self._own.state
        return state.state is State.PAIRING and not is_typing(state, self._own.node.clock.now())

    def forget(self) -> None:
        """Let go of a code that is of no use any more."""
        self.shown = self._seen = None
