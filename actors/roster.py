"""Who is registered: the fold that decides the limits. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from events.pool import CreateRefusal, CreateRefused
from events.subjects import SessionId


@dataclass(slots=True)
class Roster:
    """Sessions registered and not removed, as of `tail`, the last `registered` anywhere."""

    max_sessions: int
    max_per_user: int
    sessions: dict[SessionId, int] = field(default_factory=dict[SessionId, int])
    creates: dict[SessionId, str] = field(default_factory=dict[SessionId, str])
    joined: dict[str, SessionId] = field(default_factory=dict[str, SessionId])
    tail: int = 0
    read_to: int = 0

    def apply(self, session: SessionId, kind: str, position: int, cause: str | None = None) -> None:
        """Fold a `registered`, which a create caused, or a `removed`."""
        self.read_to = max(self.read_to, position)
        if kind == "registered":
            self.tail = max(self.tail, position)
            self.sessions[session] = position
            self.creates[session] = cause or ""
            self.joined[session.joined] = session
        elif self.sessions.get(session, position) < position:
            del self.sessions[session], self.creates[session]
            del self.joined[session.joined]

    def refusal(self, session: SessionId) -> CreateRefused | None:
        """Why a new session cannot be registered now, or None."""
        held = self.joined.get(session.joined)
        if held is not None and held != session:
            return _refused(session, "id_taken", "another pair of ids joins to the same id")
        per_user = Counter(s.user for s in self.sessions)
        if per_user[session.user] >= self.max_per_user:
            return _refused(
                session,
                "user_limit",
                f"the user has {self.max_per_user} sessions, which is the limit",
            )
        if len(self.sessions) >= self.max_sessions:
            return _refused(session, "pool_full", f"all {self.max_sessions} sessions are in use")
        return None


def _refused(session: SessionId, reason: CreateRefusal, detail: str) -> CreateRefused:
    return CreateRefused(user=session.user, bot=session.bot, reason=reason, detail=detail)
