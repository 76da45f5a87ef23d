"""What reaches an actor from outside, and what it can do with it.

A command stays in the work queue until its receipt says that it is done, so
the queue is the list of what is pending.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from events.asks import Query, Question
from events.envelope import Envelope
from events.live import LiveNotice
from events.session_events import SessionCommand
from events.subjects import SessionId


class Receipt(Protocol):
    """The right to settle one delivered command. The first word counts. Any thread."""

    def done(self) -> None:
        """It is carried out, and its outcome is on the log."""
        ...

    def later(self, delay: float) -> None:
        """Bring it again in `delay` seconds."""
        ...

    def dead(self, reason: str) -> None:
        """It can never be carried out: keep it with the dead letters."""
        ...


@dataclass(frozen=True, slots=True)
class Delivered:
    """A command, the subject it came on, and the right to settle it.

    Permissions are about the subject; what the envelope says of itself is the sender's word.
    """

    subject: str
    envelope: Envelope
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and the way to answer it. `reply` takes encoded answers, from any thread."""

    query: Query
    question: Question
    reply: Callable[[bytes], None]


class Inbox(Protocol):
    """The open ear of one session. Commands come one at a time, in order."""

    def gate(self, is_open: bool) -> None:
        """Let sends through, or hold them in the queue. Any thread."""
        ...

    def close(self) -> None:
        """Hear nothing more. Any thread."""
        ...


class Wire(Protocol):
    """All that a node does on NATS besides the log. Both versions are used in tests."""

    async def open_inbox(
        self,
        session: SessionId,
        control: Callable[[Delivered], None],
        sends: Callable[[Delivered], None],
        asked: Callable[[Asked], None],
    ) -> Inbox:
        """Listen for a session, anew: what an earlier owner had in hand is delivered again."""
        ...

    async def open_creates(self, create: Callable[[Delivered], None]) -> Inbox:
        """Take part in the shared queue of creates."""
        ...

    async def open_node(self, node: str, drain: Callable[[Callable[[bytes], None]], None]) -> None:
        """Hear what is asked of a node: `drain` gets the way to answer."""
        ...

    async def forward(self, session: SessionId, command: SessionCommand, create: Envelope) -> None:
        """Put what a create asks of a session that exists into its queue, under the create's id.

        Raises what the broker raises; doing it again does no harm.
        """
        ...

    async def notice(self, session: SessionId, notice: LiveNotice) -> None:
        """Tell whoever listens now. Best effort: nothing is stored, nothing is raised."""
        ...

    async def waiting(self) -> dict[SessionId, int]:
        """Sessions that have commands in the queue, with their number."""
        ...

    async def pending_sends(self, session: SessionId) -> list[Pending]:
        """Every send in a session's queue, oldest first, without taking any."""
        ...

    async def discard(self, position: int) -> None:
        """Take one command out of the queue: its outcome is on the log."""
        ...

    async def bury(self, session: SessionId, reason: str) -> list[str]:
        """Move all commands of a session that does not exist to the dead letters; their ids."""
        ...

    async def place(self) -> int:
        """Return where the work queue ends now, over all sessions."""
        ...

    async def forget(self, session: SessionId, place: int, position: int) -> None:
        """Remove a session's queues up to a place, and its message events up to a position."""
        ...


@dataclass(frozen=True, slots=True)
class Pending:
    """A command in the queue, with its place there."""

    position: int
    envelope: Envelope
