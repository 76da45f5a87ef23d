"""What a session's mailbox takes."""

from __future__ import annotations

from dataclasses import dataclass

from actors.browser import protocol as b
from actors.inbox import Asked, Delivered, Pending
from actors.memory import Cost
from actors.sending import Tried
from actors.timers import Rang
from actors.vault.vault import Restored, Saved
from events import session_events as e
from events.breaker import Try
from events.content import Kept
from events.session_events import SessionCommand

UnlinkingCommand = e.Logout | e.Delete | e.Reset
"""What may drop a link, which WhatsApp is to be told of first."""


@dataclass(frozen=True, slots=True)
class Boot:
    """Begin a life: read, claim, listen, and run if the session should."""


@dataclass(frozen=True, slots=True)
class Commanded:
    """A command from the control queue."""

    delivered: Delivered


@dataclass(frozen=True, slots=True)
class Told:
    """A command from the pool, on behalf of whoever is behind `cause`."""

    command: SessionCommand
    delivered: Delivered


@dataclass(frozen=True, slots=True)
class Brought:
    """A send from the outbox queue."""

    delivered: Delivered


@dataclass(frozen=True, slots=True)
class SlotFree:
    """The pool lets this session launch a browser."""


@dataclass(frozen=True, slots=True)
class Sighted:
    """Something was seen in the page of a life."""

    life: int
    sighting: b.Sighting


@dataclass(frozen=True, slots=True)
class Answered:
    """What a call into the page came to: a status, or an error."""

    life: int
    status: b.PageStatus | Exception | None


@dataclass(frozen=True, slots=True)
class Weighed:
    """What the browser of a life costs; None if it could not be measured."""

    life: int
    cost: Cost | None


@dataclass(frozen=True, slots=True)
class Replied:
    """A question was answered; whether the page did its part is news for the breaker."""

    life: int
    call: Try
    page_works: bool | None


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What the page holds since the watermark, as one reading of it found."""

    life: int
    reading: int
    messages: list[b.MessageSeen] | Exception


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of the media of a message that is to be recorded."""

    life: int
    wa_id: str
    kept: Kept


@dataclass(frozen=True, slots=True)
class Unlinking:
    """The log-out that a command asked for has ended, well or not."""

    command: UnlinkingCommand
    delivered: Delivered
    error: Exception | None


@dataclass(frozen=True, slots=True)
class Overdue:
    """Sends wait in the queue while the session is not ready: expire what is due."""

    pending: list[Pending] | None = None


@dataclass(frozen=True, slots=True)
class Preserved:
    """What a snapshot of the profile came to."""

    outcome: Saved | Exception


@dataclass(frozen=True, slots=True)
class BroughtBack:
    """A lost profile was restored before a launch."""

    restored: Restored


@dataclass(frozen=True, slots=True)
class Yield:
    """Another node has the session: let go of everything, and write nothing."""


@dataclass(frozen=True, slots=True)
class Doubted:
    """Another node may have had the session for a while: the log tells."""


@dataclass(frozen=True, slots=True)
class AccountTaken:
    """Another session has the phone account by now."""


@dataclass(frozen=True, slots=True)
class Halt:
    """The session shall go on elsewhere, or later: close, say so, and stop."""


OfBrowser = Sighted | Answered | CaughtUp | Fetched | Weighed | Replied
"""News that belongs to one life of the browser."""

Message = (
    Boot
    | Commanded
    | Told
    | Brought
    | SlotFree
    | Sighted
    | Answered
    | CaughtUp
    | Fetched
    | Weighed
    | Replied
    | Unlinking
    | Rang
    | Overdue
    | Preserved
    | BroughtBack
    | Yield
    | Doubted
    | AccountTaken
    | Halt
    | Tried
    | Asked
)
