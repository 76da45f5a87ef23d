"""What a run is to be: how many users, for how long, how much of everything."""

from __future__ import annotations

from dataclasses import dataclass

from events.subjects import SessionId


@dataclass(frozen=True, slots=True)
class Plan:
    """Times in seconds. A user is greedy if it is to exceed its quota once."""

    users: int = 100
    duration: float = 600.0
    rate: float = 10.0
    """Messages that each user sends in a minute, and is sent."""

    looks: float = 2.0
    """Times a minute that each user reads its session's status, and its history."""

    bursts: float = 60.0
    """Between two moments in which a fifth of all users send at once; 0: none."""

    churn: float = 30.0
    """Between two sessions that are created, linked and deleted; 0: none."""

    kills: int | None = None
    """Browsers that are killed, evenly over the time; None: three in ten minutes."""

    greedy: float = 0.05
    """Share of users that exceed their quota."""

    idle: float = 20.0
    """How long linked and silent sessions are watched before the load; 0: not at all."""

    restart: bool = True
    """Whether the service is restarted afterwards."""

    def session(self, number: int) -> SessionId:
        """Name a user's session."""
        return SessionId(f"user{number}", "bot")

    @property
    def limited(self) -> int:
        """How many users are greedy."""
        return min(self.users, max(1, round(self.users * self.greedy))) if self.greedy else 0

    @property
    def killed(self) -> int:
        """How many browsers are killed. A shorter run with as many would be a worse day."""
        return max(1, round(3 * self.duration / 600)) if self.kills is None else self.kills

    @property
    def variables(self) -> dict[str, str]:
        """What the service is told: room for these users and one more; all else by default."""
        return {"MAX_SESSIONS": str(self.users + 1), "LOG_LEVEL": "warning"}
