"""The log: append with a fence, read, follow. Everything true is in here.

One integer is lock and fencing token at once. Every event of a session is
guarded by the tail of its session family: a new owner's first append moves
that tail, and every later write of the old owner is refused by the broker.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from events import codec
from events.envelope import Envelope


class LogError(Exception):
    """The log could not do what was asked."""


class Conflict(LogError):
    """The guard's tail moved: somebody else wrote. For a session: another owner exists."""

    def __init__(self, subject: str, expected: int, found: int) -> None:
        super().__init__(f"{subject}: expected tail {expected}, found {found}")
        self.expected = expected
        self.found = found


class Unknown(LogError):
    """Whether the event is stored could not be learnt in time. Neither success nor failure."""


class LogAway(LogError):
    """The broker cannot be reached, or answers that it cannot serve now."""


class Hole(LogError):
    """A reader missed something on the wire and must start again from its position."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Append only if the last event matching `family` has this stream sequence (0: none)."""

    family: str
    tail: int


@dataclass(frozen=True, slots=True)
class Stored:
    """An event with its place: `position` is its sequence in the stream."""

    position: int
    subject: str
    stored_at: datetime
    raw: bytes

    @property
    def envelope(self) -> Envelope:
        """The wrapper; raises codec.Undecodable."""
        return codec.decode(self.raw)


class Log(Protocol):
    """What the service needs of its log. Both versions pass the same contract tests."""

    async def append(
        self, subject: str, event: Envelope, guard: Guard, ttl: float | None = None
    ) -> int:
        """Store an event once and return its position.

        `ttl` is in seconds. Raises Conflict (the guard moved) or Unknown (the
        outcome could not be learnt within half the duplicate window; asking
        later would store it twice).
        """
        ...

    async def tail(self, family: str) -> int:
        """Return the position of the last event that matches, 0 for none. Raises LogAway."""
        ...

    async def last(self, family: str) -> Envelope | None:
        """Return the last event that matches, or None. Raises LogAway, codec.Undecodable."""
        ...

    def read(
        self, filters: Sequence[str], start: int = 1, since: datetime | None = None
    ) -> AsyncIterator[Stored]:
        """Read what matches up to now, from a position or a time. Raises LogAway, Hole."""
        ...

    def follow(self, filters: Sequence[str], start: int) -> AsyncIterator[Stored | None]:
        """Read from a position and go on for ever; None marks each moment of having caught up.

        Raises Hole or LogAway when the stream of events is cut: start again
        from the last position. With a `start` beyond the end nothing comes until the
        log gets there: who follows a log that may be another one has to look at its tail.
        """
        ...
