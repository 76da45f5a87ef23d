"""The timers of one actor: each rings as a message, and only the latest counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from events.clock import Cancel, Clock


@dataclass(frozen=True, slots=True)
class Rang:
    """A timer fired; `turn` tells whether it is still the current one of its name."""

    name: str
    turn: int


class Timers:
    """Named timers; setting one again replaces it, so there is one of each by construction."""

    def __init__(self, clock: Clock, tell: Callable[[Rang], None]) -> None:
        self._clock, self._tell = clock, tell
        self._set: dict[str, tuple[int, Cancel]] = {}
        self._turn = 0

    def ring(self, name: str, delay: float) -> None:
        """Ring `name` in `delay` seconds instead of whenever it was to ring before."""
        self.silence(name)
        self._turn += 1
        turn = self._turn
        self._set[name] = (turn, self._clock.after(delay, lambda: self._tell(Rang(name, turn))))

    def silence(self, name: str) -> None:
        """Do not ring `name`."""
        _, cancel = self._set.pop(name, (0, None))
        if cancel is not None:
            cancel()

    def silence_all(self) -> None:
        """Ring nothing any more."""
        for name in list(self._set):
            self.silence(name)

    def is_current(self, rang: Rang) -> bool:
        """Whether this ring is not of a timer that was replaced; it counts once."""
        turn, _ = self._set.get(rang.name, (0, None))
        if turn != rang.turn:
            return False
        del self._set[rang.name]
        return True
